"""Trees and proofs of every size up to 70, against RFC 6962's own definition."""

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as some

from llmring.errors import ReceiptError
from llmring.receipts.merkle import (
    EMPTY,
    Frontier,
    consistency_proof,
    extends,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_from,
    root_of,
)

SIZES = range(1, 71)
LEAVES = [leaf_hash(b"%d" % number) for number in range(70)]


def defined_root(payloads: Sequence[bytes]) -> bytes:
    """RFC 6962, 2.1, word for word."""
    size = len(payloads)
    if size == 0:
        return hashlib.sha256(b"").digest()
    if size == 1:
        return hashlib.sha256(b"\x00" + payloads[0]).digest()
    k = 1
    while k * 2 < size:
        k *= 2
    return hashlib.sha256(b"\x01" + defined_root(payloads[:k]) + defined_root(payloads[k:])).digest()


def test_roots_are_those_of_certificate_transparency() -> None:
    """The reference implementation's test vectors (google/certificate-transparency, merkletree/merkle_tree_test.cc)."""
    payloads = [
        bytes.fromhex(text)
        for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
    ]
    expected = {
        1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    }
    for size, root in expected.items():
        assert root_of([leaf_hash(one) for one in payloads[:size]]).hex() == root
    assert root_of([]) == EMPTY


@pytest.mark.parametrize("size", SIZES)
def test_a_root_is_as_it_is_defined(size: int) -> None:
    assert root_of(LEAVES[:size]) == defined_root([b"%d" % number for number in range(size)])


@pytest.mark.parametrize("size", SIZES)
def test_every_leaf_is_proved_and_at_its_own_place_only(size: int) -> None:
    leaves = LEAVES[:size]
    root = root_of(leaves)
    for index in range(size):
        path = inclusion_proof(leaves, index)
        assert root_from(leaves[index], index, size, path) == root
        for other in {index - 1, index + 1, size}:
            assert root_from(leaves[index], other, size, path) != root
        assert root_from(LEAVES[(index + 1) % 70], index, size, path) != root
        assert root_from(leaves[index], index, size, [*path, root]) != root
        if path:
            assert root_from(leaves[index], index, size, path[:-1]) != root
            assert root_from(leaves[index], index, size, [bytes(32), *path[1:]]) != root


def test_a_leaf_that_is_not_there_has_no_proof() -> None:
    for index in (-1, 3):
        with pytest.raises(ReceiptError, match="no entry"):
            inclusion_proof(LEAVES[:3], index)


@given(some.integers(0, 70), some.integers(0, 70))
def test_a_frontier_goes_on_where_it_was_written_down(first: int, size: int) -> None:
    frontier = Frontier()
    for leaf in LEAVES[: min(first, size)]:
        frontier.append(leaf)
    resumed = Frontier.decode(frontier.size, frontier.encode())
    for leaf in LEAVES[min(first, size) : size]:
        resumed.append(leaf)
    assert resumed.root() == root_of(LEAVES[:size])


@pytest.mark.parametrize(("size", "data"), [(1, b""), (2, bytes(64)), (1, bytes(31)), (0, bytes(32))])
def test_a_frontier_that_cannot_be_is_refused(size: int, data: bytes) -> None:
    with pytest.raises(ReceiptError, match="frontier"):
        Frontier.decode(size, data)


def defined_consistency(size: int, payloads: Sequence[bytes], *, is_whole: bool = True) -> list[bytes]:
    """RFC 6962, 2.1.2, word for word: SUBPROOF(m, D[n], b)."""
    if size == len(payloads):
        return [] if is_whole else [defined_root(payloads)]
    k = 1
    while k * 2 < len(payloads):
        k *= 2
    if size <= k:
        return [*defined_consistency(size, payloads[:k], is_whole=is_whole), defined_root(payloads[k:])]
    return [*defined_consistency(size - k, payloads[k:], is_whole=False), defined_root(payloads[:k])]


@pytest.mark.parametrize("size", SIZES)
def test_a_tree_is_proved_to_have_grown_out_of_every_smaller_one(size: int) -> None:
    payloads = [b"%d" % number for number in range(size)]
    root = root_of(LEAVES[:size])
    for old in range(1, size + 1):
        path = consistency_proof(LEAVES[:size], old)
        assert path == defined_consistency(old, payloads)
        assert extends(old, root_of(LEAVES[:old]), size, root, path)


def test_consistency_proofs_are_those_of_certificate_transparency() -> None:
    """The worked example of RFC 6962, 2.1.3: seven leaves, and the trees of three, four and six before them."""
    a, b, c, d, e, f, j = LEAVES[:7]
    g, h, i = node_hash(a, b), node_hash(c, d), node_hash(e, f)
    k = node_hash(g, h)
    assert consistency_proof(LEAVES[:7], 3) == [c, d, g, node_hash(i, j)]
    assert consistency_proof(LEAVES[:7], 4) == [node_hash(i, j)]
    assert consistency_proof(LEAVES[:7], 6) == [i, j, k]


grown = some.integers(1, 70).flatmap(lambda size: some.tuples(some.integers(1, size), some.just(size)))


@given(grown, some.integers(0, 70), some.integers(0, 31), some.integers(1, 255))
def test_no_altered_consistency_proof_holds(sizes: tuple[int, int], place: int, byte: int, flip: int) -> None:
    old, size = sizes
    path = consistency_proof(LEAVES[:size], old)
    told = [root_of(LEAVES[:old]), root_of(LEAVES[:size]), *path]
    spoilt = bytearray(told[place % len(told)])
    spoilt[byte] ^= flip
    told[place % len(told)] = bytes(spoilt)
    assert not extends(old, told[0], size, told[1], told[2:])


@given(grown, some.integers(0, 70), some.sampled_from(["left out", "twice", "swapped", "more", "shorter"]))
def test_no_hash_of_a_consistency_proof_is_left_out_or_moved(sizes: tuple[int, int], place: int, how: str) -> None:
    old, size = sizes
    path = consistency_proof(LEAVES[:size], old)
    at = place % len(path) if path else 0
    changed = {
        "left out": path[:at] + path[at + 1 :],
        "twice": [*path[: at + 1], *path[at:]],
        "swapped": [*path[:at], *path[at : at + 2][::-1], *path[at + 2 :]],
        "more": [*path, LEAVES[0]],
        "shorter": path[:-1],
    }[how]
    if changed != path:
        assert not extends(old, root_of(LEAVES[:old]), size, root_of(LEAVES[:size]), changed)


@given(grown, some.integers(0, 71), some.integers(0, 71))
def test_a_consistency_proof_is_of_two_sizes_only(sizes: tuple[int, int], other_old: int, other: int) -> None:
    old, size = sizes
    path = consistency_proof(LEAVES[:size], old)
    before, after = root_of(LEAVES[:old]), root_of(LEAVES[:size])
    if other_old != old:
        assert not extends(other_old, root_of(LEAVES[:other_old]), size, after, path) or (
            path == consistency_proof(LEAVES[:size], other_old)
        )
    if other != size and other <= 70:
        assert not extends(old, before, other, root_of(LEAVES[:other]), path) or (
            path == consistency_proof(LEAVES[:other], old)
        )


@given(grown, some.integers(0, 69))
def test_a_history_that_was_written_anew_has_no_consistency_proof(sizes: tuple[int, int], place: int) -> None:
    """Whatever is proved of the new tree: its older part is not the one that was kept."""
    old, size = sizes
    anew = [*LEAVES[:size]]
    anew[place % old] = leaf_hash(b"another")
    path = consistency_proof(anew, old)
    assert extends(old, root_of(anew[:old]), size, root_of(anew), path)
    assert not extends(old, root_of(LEAVES[:old]), size, root_of(anew), path)


@pytest.mark.parametrize("old", [-1, 0, 4])
def test_a_tree_grows_out_of_nothing_that_is_empty_or_larger(old: int) -> None:
    with pytest.raises(ReceiptError, match="does not begin"):
        consistency_proof(LEAVES[:3], old)
    assert not extends(old, EMPTY, 3, root_of(LEAVES[:3]), [])
