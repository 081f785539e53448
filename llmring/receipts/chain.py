"""The chain as a whole: which entries were altered, removed, moved, added, signed again, or cut off its end. Pure.

Every entry says its number and the hash of the one before, under its signature. So what was done to a ledger by
somebody without its key shows in the numbers; what was done by somebody with it, in the hashes, and against a
checkpoint that somebody else keeps.
"""

from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import pairwise
from typing import Literal

import msgspec

from llmring.errors import ReceiptError
from llmring.receipts.beside import wrong_keys, wrong_sizes
from llmring.receipts.checking import NONE, Checked
from llmring.receipts.checkpoint import Checkpoint, verify_checkpoint
from llmring.receipts.head import differences, recomputed
from llmring.receipts.merkle import HASH_BYTES, Frontier
from llmring.receipts.signing import PublicKey, Signed
from llmring.receipts.store import Standing

MOST_NAMED = 1_000_000
"""Of missing entries in a row."""

Deed = Literal["altered", "removed", "moved", "added", "signed again", "cut off", "key", "checkpoint", "head"]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What was done, to which entry. `sequence` is its number in the chain where it is known, `position` where it was
    found, from 0; `last` the last of several in a row."""

    deed: Deed
    what: str
    sequence: int | None = None
    last: int | None = None
    position: int | None = None
    receipt_id: str | None = None

    def __str__(self) -> str:
        if self.sequence is None and self.position is None:
            return f"{self.deed}: {self.what}"
        if self.sequence is None:
            place = f" the entry at position {self.position}"
        elif self.last is None or self.last == self.sequence:
            place = f" entry {self.sequence}"
        else:
            place = f" entries {self.sequence} to {self.last}"
        name = f" ({self.receipt_id})" if self.receipt_id is not None else ""
        return f"{self.deed}:{place}{name}: {self.what}"


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """What a chain was found to be. `root` is of the tree over all its entries, None where something is wrong."""

    entries: int
    findings: tuple[Finding, ...]
    root: str | None
    checkpoints: int
    """Those that hold."""
    signers: tuple[str, ...]
    """The keys, in the order they signed."""
    closed: int = 0
    """Receipts whose salts were deleted: nobody can open their digests."""


def audit(
    found: Checked,
    keys: Mapping[str, PublicKey],
    trusted: Collection[str],
    checkpoints: Sequence[Signed],
    size: int | None = None,
    ledger: str | None = None,
    stands: Standing | None = None,
) -> Audit:
    """Judge a chain. `keys` are all that may have signed, `trusted` those that may have signed its beginning: others
    must have been handed over to. `size` is how many entries there should be, where that is known. Checkpoints are to
    be of `ledger`, where that is given. The head of the ledger that `stands` so must be that of its entries."""
    findings, said = _read_checkpoints(checkpoints, keys, ledger)
    expected = max([size or 0, *(one.size for one in said)])
    findings += _order(found, expected)
    findings += _links(found)
    signers, strangers = _signers(found, frozenset(trusted))
    findings += strangers
    tree, held = None, 0
    if not any(finding.deed != "checkpoint" for finding in findings):
        tree, wrong = _tree(found, said)
        findings += wrong
        held = len(said) - len(wrong)
    foreign = [one for one in said if one.key_id not in (signers or trusted)]
    findings += [
        Finding(
            deed="key", what=f"the checkpoint of {one.size} entries is signed by {one.key_id}, no key of the ledger"
        )
        for one in foreign
    ]
    findings += [_at(found, "altered", what, position) for position, what in sorted(found.beside.items())]
    if stands is not None:
        findings += [Finding(deed="checkpoint", what=what) for what in wrong_sizes(stands)]
        if tree is not None:
            findings += [Finding(deed="key", what=what) for what in wrong_keys(stands.keys, found)]
        true = recomputed(stands.head, found, tree, stands.checkpoints)
        findings += [Finding(deed="head", what=what) for what in differences(stands.head, true)]
    return Audit(
        entries=len(found),
        findings=tuple(findings),
        root=tree.root().hex() if tree is not None and not findings else None,
        checkpoints=held if not foreign else 0,
        signers=signers,
        closed=found.closed,
    )


def _read_checkpoints(
    checkpoints: Sequence[Signed], keys: Mapping[str, PublicKey], ledger: str | None
) -> tuple[list[Finding], list[Checkpoint]]:
    findings: list[Finding] = []
    said: list[Checkpoint] = []
    for signed in checkpoints:
        try:
            one = verify_checkpoint(signed, keys)
        except ReceiptError as error:
            findings.append(Finding(deed="checkpoint", what=str(error)))
            continue
        if ledger in (None, one.ledger):
            said.append(one)
        else:
            findings.append(Finding(deed="checkpoint", what=f"it is of another ledger, {one.ledger}"))
    return findings, sorted(said, key=lambda one: one.size)


def _order(found: Checked, expected: int) -> list[Finding]:
    """By the numbers that were signed: what is not there, not in its place, or there and never was."""
    count = len(found)
    if not found.faults and not found.misplaced and all(map(int.__eq__, found.sequences, range(count))):
        return _cut_off(count, expected)
    findings: list[Finding] = []
    good = [position for position in range(count) if position not in found.faults]
    kept = _increasing([found.sequences[position] for position in good])
    standing = [good[index] for index in kept]
    there = {found.sequences[position] for position in standing}
    for position in sorted(set(good) - set(standing)):
        is_copy = found.sequences[position] in there
        there.add(found.sequences[position])
        what = f"it stands at position {position}, " + ("a second time" if is_copy else "out of its order")
        findings.append(_at(found, "added" if is_copy else "moved", what, position))
    misplaced = sorted(found.misplaced.intersection(standing))
    findings += [_at(found, "moved", "it is kept under another number", position) for position in misplaced]
    findings += _between(found, there, standing, expected)
    return findings


def _between(found: Checked, there: AbstractSet[int], standing: Sequence[int], expected: int) -> list[Finding]:
    """Between each two entries that stand in their places: the numbers that are missing, and what cannot be trusted."""
    findings: list[Finding] = []
    edges = [(-1, -1), *((position, found.sequences[position]) for position in standing), (len(found), -1)]
    for (low, before), (high, after) in pairwise(edges):
        is_end = high == len(found)
        broken = [position for position in range(low + 1, high) if position in found.faults]
        top = max([expected, before + 1 + len(broken), *(number + 1 for number in there)]) if is_end else after
        # A number may be anything that its signer liked.
        missing = [number for number in range(before + 1, min(top, before + 1 + MOST_NAMED)) if number not in there]
        matched = _matched(found, broken, missing)
        taken = set(matched.values())
        for position in broken:
            sequence = matched.get(position)
            deed: Deed = "added" if sequence is None else "altered"
            findings.append(
                Finding(
                    deed=deed,
                    what=found.faults[position],
                    sequence=sequence,
                    position=position,
                    receipt_id=found.names[position],
                )
            )
        for first, last in _runs([number for number in missing if number not in taken]):
            if is_end and last == top - 1:
                findings += _cut_off(first, top)
            else:
                findings.append(Finding(deed="removed", what="not there", sequence=first, last=last))
    return findings


def _matched(found: Checked, broken: Sequence[int], missing: Sequence[int]) -> dict[int, int]:
    """Which of the missing numbers an entry that cannot be trusted has in all likelihood: the one it claims; else, in
    their order, what is left."""
    matched: dict[int, int] = {}
    left = dict.fromkeys(missing)
    for position in broken:
        if found.sequences[position] in left:
            matched[position] = found.sequences[position]
            del left[found.sequences[position]]
    return matched | dict(zip([one for one in broken if one not in matched], left, strict=False))


def _cut_off(count: int, expected: int) -> list[Finding]:
    if count >= expected:
        return []
    what = f"there should be {expected} entries"
    return [Finding(deed="cut off", what=what, sequence=count, last=expected - 1)]


def _links(found: Checked) -> list[Finding]:
    """By the hashes: neighbours that are both as they were signed, and were not signed one after the other."""
    if not found.faults and found.previous == NONE + found.hashes[:-HASH_BYTES]:
        return []
    places = {
        found.sequences[position]: position for position in reversed(range(len(found))) if position not in found.faults
    }
    findings: list[Finding] = []
    for number, position in sorted(places.items()):
        before = places.get(number - 1)
        if before is None and number > 0:
            continue
        own = _hash(found.previous, position)
        if own != (NONE if before is None else _hash(found.hashes, before)):
            what = "it is not chained to the one before: one of the two was signed again, by the holder of the key"
            findings.append(_at(found, "signed again", what, position))
    return findings


def _signers(found: Checked, trusted: frozenset[str]) -> tuple[tuple[str, ...], list[Finding]]:
    """Who signed, one after the other; and entries of a key that was not the ledger's by then."""
    findings: list[Finding] = []
    current, signers = "", []
    for position, signer in enumerate(found.signers):
        if position in found.faults:
            continue
        if not current:
            if signer not in trusted:
                what = f"it is signed by {signer}, which is none of the keys that are trusted"
                findings.append(_at(found, "key", what, position))
            current = signer
            signers.append(signer)
        elif signer != current:
            findings.append(_at(found, "key", f"it is signed by {signer}, and the key was {current}", position))
        handover = found.handovers.get(position)
        if handover is not None and signer == current:
            current = handover.to_key_id
            signers.append(current)
    return tuple(signers), findings


def _tree(found: Checked, said: Sequence[Checkpoint]) -> tuple[Frontier, list[Finding]]:
    """The tree over all entries; and checkpoints, by their sizes, whose root is another one."""
    findings: list[Finding] = []
    frontier = Frontier()
    waiting = list(said)
    for number in range(len(found) + 1):
        while waiting and waiting[0].size == number:
            one = waiting.pop(0)
            if frontier.root().hex() != one.root:
                what = f"the first {one.size} entries are not those of {one.timestamp}: they were signed again"
                findings.append(Finding(deed="checkpoint", what=what))
        if number < len(found):
            frontier.append(_hash(found.hashes, number))
    return frontier, findings


def _hash(hashes: bytes, position: int) -> bytes:
    return hashes[position * HASH_BYTES : (position + 1) * HASH_BYTES]


def _at(found: Checked, deed: Deed, what: str, position: int) -> Finding:
    return Finding(
        deed=deed, what=what, sequence=found.sequences[position], position=position, receipt_id=found.names[position]
    )


def _increasing(numbers: Sequence[int]) -> list[int]:
    """The indexes of a longest increasing part: as few as can be are called moved."""
    ends: list[int] = []
    places: list[int] = []
    before: list[int] = []
    for index, number in enumerate(numbers):
        at = bisect_left(ends, number)
        before.append(places[at - 1] if at else -1)
        if at == len(ends):
            ends.append(number)
            places.append(index)
        else:
            ends[at], places[at] = number, index
    chosen: list[int] = []
    index = places[-1] if places else -1
    while index >= 0:
        chosen.append(index)
        index = before[index]
    return chosen[::-1]


def _runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Numbers that follow one another, by the first and the last."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1] = runs[-1][0], number
        else:
            runs.append((number, number))
    return runs
