"""Merkle trees over hashes of entries, as RFC 6962 (Certificate Transparency) has them. Pure.

    leaf = SHA-256(0x00 || payload)        node = SHA-256(0x01 || left || right)

A tree of n leaves is split at the largest power of two below n, so a tree that only grows keeps its left parts: what
is needed to go on is a `Frontier` of at most 64 hashes, and a receipt is proved by one hash for each level.
"""

import hashlib
from collections.abc import Sequence

from llmring.errors import ReceiptError

HASH_BYTES = 32
EMPTY = hashlib.sha256(b"").digest()
"""The root of a tree without leaves."""


def leaf_hash(payload: bytes) -> bytes:
    """The hash of an entry: in the tree, and in the next entry's `previous`."""
    return hashlib.sha256(b"\x00" + payload).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier:
    """A growing tree, as the roots of its whole parts, the largest first: one for each bit of its size."""

    def __init__(self, size: int = 0, roots: Sequence[bytes] = ()) -> None:
        if len(roots) != size.bit_count() or any(len(root) != HASH_BYTES for root in roots):
            raise ReceiptError(f"no frontier of {size} leaves: {len(roots)} hashes")
        self.size = size
        self._roots = list(roots)

    @classmethod
    def decode(cls, size: int, data: bytes) -> "Frontier":
        """From the bytes that `encode` gave. Raises ReceiptError."""
        return cls(size, [data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)])

    def encode(self) -> bytes:
        return b"".join(self._roots)

    def append(self, leaf: bytes) -> None:
        """Add a leaf's hash."""
        root, size = leaf, self.size
        while size & 1:
            root = node_hash(self._roots.pop(), root)
            size >>= 1
        self._roots.append(root)
        self.size += 1

    def root(self) -> bytes:
        """The root of the whole tree."""
        if not self._roots:
            return EMPTY
        *others, root = self._roots
        for left in reversed(others):
            root = node_hash(left, root)
        return root


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The root over hashes of leaves."""
    frontier = Frontier()
    for leaf in leaves:
        frontier.append(leaf)
    return frontier.root()


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The hashes that lead from leaf `index` to the root over `leaves` (RFC 6962, 2.1.1), the lowest first.

    Raises ReceiptError where there is no such leaf.
    """
    size = len(leaves)
    if not 0 <= index < size:
        raise ReceiptError(f"there is no entry {index} in a tree of {size}")
    path: list[bytes] = []
    low, high = 0, size
    while high - low > 1:
        split = low + _split(high - low)
        if index < split:
            path.append(root_of(leaves[split:high]))
            high = split
        else:
            path.append(root_of(leaves[low:split]))
            low = split
    return path[::-1]


def root_from(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """The root that a proof leads to (RFC 9162, 2.1.3.2); None for a path that fits no tree of `size` leaves."""
    if not 0 <= index < size:
        return None
    at, last, root = index, size - 1, leaf
    for one in path:
        if last == 0:
            return None
        if at & 1 or at == last:
            root = node_hash(one, root)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            root = node_hash(root, one)
        at, last = at >> 1, last >> 1
    return root if last == 0 else None


def consistency_proof(leaves: Sequence[bytes], old_size: int) -> list[bytes]:
    """The hashes that show the tree over `leaves` to begin with the one over their first `old_size` (RFC 6962, 2.1.2),
    the lowest first: at most two for each level. None are needed for a tree of the same size.

    Raises ReceiptError where the older tree is empty, which proves nothing, or is larger.
    """
    size = len(leaves)
    if not 0 < old_size <= size:
        raise ReceiptError(f"a tree of {size} entries does not begin with one of {old_size}")
    path: list[bytes] = []
    low, high, is_whole = 0, size, True
    # Down to the largest part of the older tree that ends where it does; `is_whole`, while that may be all of it.
    while low + (rest := old_size - low) < high:
        split = low + _split(high - low)
        if rest <= split - low:
            path.append(root_of(leaves[split:high]))
            high = split
        else:
            path.append(root_of(leaves[low:split]))
            low, is_whole = split, False
    if not is_whole:
        path.append(root_of(leaves[low:high]))
    return path[::-1]


def extends(old_size: int, old_root: bytes, size: int, root: bytes, path: Sequence[bytes]) -> bool:
    """Whether `path` shows that the tree of `size` leaves begins with the one of `old_size` (RFC 9162, 2.1.4.2)."""
    if not 0 < old_size <= size:
        return False
    if old_size == size:
        return not path and old_root == root
    at, last = old_size - 1, size - 1
    # A whole tree is its own part of the larger one, and not told.
    rest = list(path) if old_size & at else [old_root, *path]
    while at & 1:
        at, last = at >> 1, last >> 1
    if not rest:
        return False
    old = new = rest[0]
    for one in rest[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            old, new = node_hash(one, old), node_hash(one, new)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            new = node_hash(new, one)
        at, last = at >> 1, last >> 1
    return last == 0 and old == old_root and new == root


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1
