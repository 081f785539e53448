"""Whatever is done to a chain is found, and named by the entry that it was done to."""

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some

from llmring.receipts.chain import audit
from llmring.receipts.checking import Held, check, joined
from llmring.receipts.checkpoint import sign_checkpoint
from llmring.receipts.merkle import leaf_hash, root_of
from llmring.receipts.receipt import payload, payload_type, read
from llmring.receipts.signing import sign
from tests.receipts.chains import (
    AT,
    KEYS,
    LEDGER,
    chain_of,
    checkpoint_of,
    deeds,
    handover,
    judged,
    link,
    name,
)
from tests.receipts.samples import FULL, KEY, OTHER_KEY

SIZE = 12
CHAIN = chain_of(SIZE)
CHECKPOINT = checkpoint_of(CHAIN)
places = some.integers(0, SIZE - 1)


def test_a_whole_chain_has_no_findings() -> None:
    found = judged(CHAIN, checkpoint_of(CHAIN[:5]), CHECKPOINT)
    assert (found.findings, found.checkpoints, found.signers) == ((), 2, (KEY.key_id,))
    assert found.root == root_of([leaf_hash(one.payload) for one in CHAIN]).hex()
    assert judged([]).findings == ()


@given(places, some.sampled_from(["payload", "signature"]), some.integers(0, 10**6), some.integers(1, 255))
def test_a_flipped_byte_is_found_and_its_receipt_named(place: int, part: str, byte: int, flip: int) -> None:
    data = bytearray(getattr(CHAIN[place], part))
    data[byte % len(data)] ^= flip
    chain = [*CHAIN]
    chain[place] = msgspec.structs.replace(CHAIN[place], **{part: bytes(data)})
    found = judged(chain, CHECKPOINT)
    assert [(one.deed, one.sequence, one.position, one.receipt_id) for one in found.findings] == [
        ("altered", place, place, f"p{place}")
    ]
    assert found.root is None


@given(some.sets(places, min_size=1, max_size=SIZE - 1))
def test_removed_receipts_are_named(gone: set[int]) -> None:
    left = [one for number, one in enumerate(CHAIN) if number not in gone]
    found = judged(left, CHECKPOINT)
    named = [number for one in found.findings for number in range(one.sequence or 0, (one.last or 0) + 1)]
    assert named == sorted(gone)
    tail = [number for number in gone if all(later in gone for later in range(number, SIZE))]
    assert {one.deed for one in found.findings} == (
        ({"cut off"} if tail else set()) | ({"removed"} if len(tail) < len(gone) else set())
    )


@given(some.integers(0, SIZE - 1))
def test_a_tail_that_was_cut_off_shows_against_a_checkpoint(size: int) -> None:
    found = judged(CHAIN[:size], CHECKPOINT).findings
    assert [(one.deed, one.sequence, one.last) for one in found] == [("cut off", size, SIZE - 1)]
    assert judged(CHAIN[:size]).findings == ()
    assert judged(CHAIN[:size], size=SIZE).findings == found


@given(places, places)
def test_a_moved_receipt_is_named(origin: int, target: int) -> None:
    chain = [*CHAIN]
    chain.insert(target, chain.pop(origin))
    found = deeds(chain, CHECKPOINT)
    if origin == target:
        assert found == []
    elif abs(origin - target) == 1:
        assert found in ([("moved", origin)], [("moved", target)])
    else:
        assert found == [("moved", origin)]


@given(some.permutations(range(SIZE)))
def test_no_order_but_the_true_one_passes(order: list[int]) -> None:
    found = deeds([CHAIN[number] for number in order], CHECKPOINT)
    assert {deed for deed, _ in found} == ({"moved"} if order != list(range(SIZE)) else set())


@given(places, some.integers(0, SIZE))
def test_a_receipt_that_was_put_in_is_named(copied: int, target: int) -> None:
    forged = msgspec.structs.replace(CHAIN[copied], payload=CHAIN[copied].payload.replace(b'"0.1"', b'"0.2"'))
    found = judged([*CHAIN[:target], forged, *CHAIN[target:]], CHECKPOINT).findings
    if target < SIZE:
        assert [(one.deed, one.position) for one in found] == [("added", target)]
    else:
        assert [(one.deed, one.position) for one in found] == [("altered", target)]
    again = judged([*CHAIN[:target], CHAIN[copied], *CHAIN[target:]], CHECKPOINT).findings
    assert [(one.deed, one.sequence) for one in again] == [("added", copied)]


def test_one_of_another_ledger_does_not_belong() -> None:
    entry = read(CHAIN[3].payload_type, CHAIN[3].payload)
    foreign = msgspec.structs.replace(entry, ledger="another")
    chain = [*CHAIN[:3], sign(KEY, payload_type(foreign), payload(foreign)), *CHAIN[4:]]
    found = judged(chain).findings
    assert [(one.deed, one.sequence, one.what) for one in found] == [("altered", 3, "it is of another ledger, another")]
    bare = sign(KEY, payload_type(FULL), payload(msgspec.structs.replace(FULL, key_id=KEY.key_id)))
    assert [one.what for one in judged([*CHAIN, bare]).findings] == ["it is of no ledger"]


@given(places)
def test_one_that_the_holder_of_the_key_signed_again_breaks_the_links(place: int) -> None:
    entry = read(CHAIN[place].payload_type, CHAIN[place].payload)
    changed = msgspec.structs.replace(entry, total_cost="0")
    chain = [*CHAIN]
    chain[place] = sign(KEY, payload_type(changed), payload(changed))
    found = deeds(chain, CHECKPOINT)
    # Of the newest only a checkpoint tells.
    assert found == ([("signed again", place + 1)] if place + 1 < SIZE else [("checkpoint", None)])


def test_a_history_that_was_written_anew_fails_against_a_checkpoint() -> None:
    anew = chain_of(SIZE, cost="0.05")
    assert judged(anew).findings == ()
    found = judged(anew, CHECKPOINT)
    assert [str(one) for one in found.findings] == [
        f"checkpoint: the first {SIZE} entries are not those of {AT}: they were signed again"
    ]
    assert (found.root, found.checkpoints) == (None, 0)


def test_a_key_that_was_handed_over_to_signs_from_then_on() -> None:
    receipts = [msgspec.structs.replace(FULL, receipt_id=name(number)) for number in range(3)]
    chain = link(receipts, after=link([*receipts, handover(OTHER_KEY)]), key=OTHER_KEY)
    found = judged(chain, checkpoint_of(chain, OTHER_KEY))
    assert (found.findings, found.signers) == ((), (KEY.key_id, OTHER_KEY.key_id))
    late = link(receipts, after=link([*receipts, handover(OTHER_KEY)]), key=KEY)
    assert deeds(late) == [("key", 4), ("key", 5), ("key", 6)]


def test_a_key_that_nobody_handed_over_to_is_named() -> None:
    receipts = [msgspec.structs.replace(FULL, receipt_id=name(number)) for number in range(3)]
    taken_over = link(receipts, after=CHAIN, key=OTHER_KEY)
    assert deeds(taken_over) == [("key", SIZE), ("key", SIZE + 1), ("key", SIZE + 2)]
    assert deeds(link(receipts, key=OTHER_KEY)) == [("key", 0)]
    assert deeds(link([handover(OTHER_KEY)], after=taken_over[: SIZE + 1], key=OTHER_KEY)) == [
        ("key", SIZE),
        ("key", SIZE + 1),
    ]


def test_a_checkpoint_that_is_not_the_ledgers_is_named() -> None:
    found = judged(CHAIN, checkpoint_of(CHAIN, OTHER_KEY))
    assert [one.deed for one in found.findings] == ["key"]
    torn = msgspec.structs.replace(CHECKPOINT, signature=bytes(64))
    assert [str(one) for one in judged(CHAIN, torn).findings] == [
        "checkpoint: the checkpoint of 12 entries: the signature does not fit"
    ]
    other = sign_checkpoint(KEY, "another", SIZE, bytes(32), AT)
    assert [one.what for one in judged(CHAIN, other).findings] == ["it is of another ledger, another"]
    assert deeds(CHAIN, CHAIN[0]) == [("checkpoint", None)]


@pytest.mark.parametrize(
    ("held", "what"),
    [
        ({"receipt_id": "rcpt_x"}, "id"),
        ({"timestamp": "2026"}, "time"),
        ({"hash": bytes(32)}, "hash"),
    ],
)
def test_what_is_kept_beside_an_entry_must_be_what_was_signed(held: dict[str, object], what: str) -> None:
    found = check([msgspec.structs.replace(Held(CHAIN[0]), **held)], KEYS, LEDGER)
    assert found.faults == {0: f"it is kept under another {what} than was signed"}


@given(some.lists(some.integers(0, SIZE), max_size=3))
def test_batches_are_one_chain(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), SIZE]
    broken = [*CHAIN[:4], msgspec.structs.replace(CHAIN[4], signature=bytes(64)), *CHAIN[5:]]
    parts = [check((Held(one) for one in broken[low:high]), KEYS, LEDGER) for low, high in pairwise(edges)]
    found = audit(joined(parts), KEYS, [KEY.key_id], [CHECKPOINT])
    assert [(one.deed, one.sequence) for one in found.findings] == [("altered", 4)]


def test_a_number_without_bound_is_no_trap() -> None:
    entry = read(CHAIN[1].payload_type, CHAIN[1].payload)
    far = msgspec.structs.replace(entry, sequence=2**53 - 1)
    found = judged([CHAIN[0], sign(KEY, payload_type(far), payload(far))]).findings
    assert [one.deed for one in found] == ["removed"]


def test_a_finding_says_where_and_what() -> None:
    told = [str(one) for one in judged([*CHAIN[:2], *CHAIN[5:]]).findings]
    assert told == ["removed: entries 2 to 4: not there"]
    altered = msgspec.structs.replace(CHAIN[1], signature=bytes(64))
    assert [str(one) for one in judged([CHAIN[0], altered, *CHAIN[2:]]).findings] == [
        "altered: entry 1 (p1): the signature does not fit"
    ]
