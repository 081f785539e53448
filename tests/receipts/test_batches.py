"""Batch receipts: what many receipts come to, bound by a root; verified by strangers and against the ledger."""

import json
from collections.abc import Sequence
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some

from llmring.errors import ReceiptError, SignatureInvalid
from llmring.receipts import BatchReceipt, PublicKey, Receipt, ReceiptGenerator, ReceiptSigner
from llmring.receipts.batch_proof import against_ledger, prove_in_batch, verify_batch, verify_in_batch
from llmring.receipts.batch_receipt import Selection
from llmring.receipts.batching import tally_selected
from llmring.receipts.receipt import BATCH_RECEIPT, RECEIPT, Gap, payload, read
from llmring.receipts.signing import Signed, encode_envelope, sign, verifies
from tests.receipts import strangers
from tests.receipts.chains import AT, KEYS, LEDGER, chain_of, deeds, link, name
from tests.receipts.samples import FULL, KEY, OTHER_KEY, receipts

SIZE = 9
ALIASES = ("fast", "größte ⭐", "summarizer")
COSTS = ("0.1", "0.20", None)


def one(number: int) -> Receipt:
    return msgspec.structs.replace(
        FULL,
        receipt_id=name(number),
        alias=ALIASES[number % 3],
        model=f"m{number % 2}",
        call=f"c{number // 2}",
        total_cost=COSTS[number % 3],
        timestamp=f"2026-08-{number + 1:02}T12:00:00.000000Z",
    )


def gap(day: int) -> Gap:
    moment = f"2026-08-{day:02}T12:00:00.000000Z"
    return Gap(
        llmring_gap=1,
        missing=5,
        began_at=moment,
        ended_at=moment,
        why="the disk is full",
        timestamp=moment,
        ledger="",
        sequence=0,
        key_id="",
    )


CHAIN = link([*(one(number) for number in range(5)), gap(5), *(one(number) for number in range(5, SIZE))])
ALL = Selection(entries_from=0, entries_before=len(CHAIN))


def batch_of(selection: Selection = ALL, chain: Sequence[Signed] = CHAIN) -> BatchReceipt:
    return msgspec.structs.replace(
        tally_selected(chain, selection).batch(name(99), AT, selection), ledger=LEDGER, key_id=KEY.key_id
    )


def signed_batch(batch: BatchReceipt) -> Signed:
    return sign(KEY, BATCH_RECEIPT, payload(batch))


def test_totals_are_those_of_the_receipts() -> None:
    batch = batch_of()
    found = batch.batch_summary
    assert (found.receipts, found.calls, found.total_tokens, found.without_cost) == (SIZE, 5, SIZE * 1280, 3)
    assert found.total_cost == "0.9"
    assert (found.start_date[:10], found.end_date[:10]) == ("2026-08-01", "2026-08-09")
    assert {alias: totals.receipts for alias, totals in found.by_alias.items()} == dict.fromkeys(ALIASES, 3)
    assert found.by_alias["summarizer"].total_cost == "0"
    assert {model: totals.receipts for model, totals in found.by_model.items()} == {"openai:m0": 5, "openai:m1": 4}
    assert batch.missing == 5


@given(some.lists(receipts, min_size=1, max_size=6))
def test_a_stranger_works_out_the_same_root_and_sums(made: list[Receipt]) -> None:
    money = {"input_cost": "0.05", "output_cost": "0.05", "total_cost": "0.1"}
    tokens = {"prompt_tokens": 1, "completion_tokens": 0}
    made = [msgspec.structs.replace(given, total_tokens=number, **money, **tokens) for number, given in enumerate(made)]
    batch = ReceiptGenerator(ReceiptSigner(KEY)).generate_batch_receipt(made, "for them", ["a", "b"])
    envelope = encode_envelope(sign(KEY, BATCH_RECEIPT, payload(batch)))
    told = strangers.opens(envelope, KEY.public.jwk())
    assert strangers.opens(envelope, OTHER_KEY.public.jwk()) is None
    bodies = [strangers.canonical(json.loads(payload(given))).encode() for given in made]
    assert told["root"] == strangers.root([strangers.leaf(body) for body in bodies])
    assert Decimal(told["batch_summary"]["total_cost"]) == Decimal("0.1") * len(made)
    assert told["batch_summary"]["total_tokens"] == sum(range(len(made)))
    assert strangers.canonical(told).encode() == payload(batch)
    assert (told["description"], told["tags"]) == ("for them", ["a", "b"])
    assert ReceiptSigner.verify_receipt(batch, KEY.public)
    assert not ReceiptSigner.verify_receipt(batch, OTHER_KEY.public)


def test_a_batch_receipt_by_hand_is_signed_where_there_is_a_key() -> None:
    assert ReceiptGenerator().generate_batch_receipt([FULL]).signature is None
    with pytest.raises(ReceiptError, match="no such receipts"):
        ReceiptGenerator().generate_batch_receipt([])


@pytest.mark.parametrize("cost", ["x", "NaN", "Infinity", "1E+40", "1E-40", "0." + "3" * 40])
def test_a_cost_that_cannot_be_added_is_refused(cost: str) -> None:
    with pytest.raises(ReceiptError, match="a cost is no number"):
        ReceiptGenerator().generate_batch_receipt([msgspec.structs.replace(FULL, total_cost=cost)])


@pytest.mark.parametrize(
    ("selection", "numbers", "missing"),
    [
        (ALL, range(SIZE), 5),
        (Selection(entries_from=2, entries_before=4), [2, 3], 0),
        (Selection(entries_from=0, entries_before=10, since="2026-08-03T12:00:00.000000Z"), range(2, 9), 5),
        (Selection(entries_from=0, entries_before=10, until="2026-08-03T12:00:00.000000Z"), [0, 1], 0),
        (Selection(entries_from=0, entries_before=10, aliases=("größte ⭐",)), [1, 4, 7], 5),
    ],
)
def test_a_selection_is_by_place_time_and_alias(selection: Selection, numbers: Sequence[int], missing: int) -> None:
    batch = batch_of(selection)
    chosen = [signed for signed in CHAIN if read(signed.payload_type, signed.payload) is not None]
    ids = {name(number) for number in numbers}
    leaves = [
        strangers.leaf(signed.payload) for signed in chosen if json.loads(signed.payload).get("receipt_id") in ids
    ]
    assert (batch.batch_summary.receipts, batch.missing) == (len(ids), missing)
    assert batch.root == strangers.root(leaves)
    assert against_ledger(batch, CHAIN) == []


@given(some.integers(0, 10**6), some.integers(1, 255), some.sampled_from(["payload", "signature"]))
def test_no_byte_of_a_batch_receipt_can_change(place: int, flip: int, part: str) -> None:
    signed = signed_batch(batch_of())
    data = bytearray(getattr(signed, part))
    data[place % len(data)] ^= flip
    spoilt = msgspec.structs.replace(signed, **{part: bytes(data)})
    assert not verifies(KEY.public, spoilt)
    with pytest.raises(ReceiptError):
        verify_batch(spoilt, KEYS)


def test_sums_that_do_not_add_up_are_refused_though_they_are_signed() -> None:
    batch = batch_of()
    assert verify_batch(signed_batch(batch), KEYS) == batch
    for change in ({"total_cost": "0.8"}, {"total_tokens": 1}, {"receipts": 8}, {"without_cost": 0}):
        summary = msgspec.structs.replace(batch.batch_summary, **change)
        with pytest.raises(ReceiptError, match="do not add up"):
            verify_batch(signed_batch(msgspec.structs.replace(batch, batch_summary=summary)), KEYS)
    with pytest.raises(ReceiptError, match="not a batch receipt"):
        verify_batch(CHAIN[0], KEYS)
    with pytest.raises(SignatureInvalid, match="none of the keys that are trusted"):
        verify_batch(signed_batch(batch), {OTHER_KEY.key_id: OTHER_KEY.public})


@given(some.integers(0, SIZE), some.sampled_from(["removed", "altered", "moved", "added"]))
def test_a_ledger_that_was_changed_is_not_what_was_signed_for(place: int, deed: str) -> None:
    batch, chain = batch_of(), [*CHAIN]
    if deed == "removed":
        del chain[place]
    elif deed == "altered":
        chain[place] = msgspec.structs.replace(
            chain[place], payload=chain[place].payload.replace(b"2026-08-", b"2026-09-")
        )
    elif deed == "moved":
        chain.insert(place, chain.pop((place + 1) % len(chain)))
    else:
        chain.insert(place, chain[place])
    is_alike = [payload(entry) for entry in map(_read, chain) if isinstance(entry, Receipt)] == [
        payload(entry) for entry in map(_read, CHAIN) if isinstance(entry, Receipt)
    ]
    told = against_ledger(batch, chain)
    assert bool(told) or (is_alike and deed in ("moved", "altered"))
    if told and deed == "removed" and place != 5:
        assert any("root is another one" in line for line in told)
        assert any(line.startswith("its receipts is 9, and the ledger's 8") for line in told)


def _read(signed: Signed) -> object:
    return read(signed.payload_type, signed.payload)


def test_what_is_of_no_ledger_or_has_none_is_said() -> None:
    with pytest.raises(ReceiptError, match="of no ledger"):
        against_ledger(ReceiptGenerator().generate_batch_receipt([FULL]), CHAIN)
    assert against_ledger(batch_of(), []) == ["there are no such receipts in the ledger"]
    with pytest.raises(ReceiptError, match="RFC 8785"):
        against_ledger(batch_of(), [msgspec.structs.replace(CHAIN[0], payload=b" " + CHAIN[0].payload)])


def proof_of(number: int, selection: Selection = ALL) -> bytes:
    return prove_in_batch(name(number), signed_batch(batch_of(selection)), CHAIN)


@pytest.mark.parametrize("number", range(SIZE))
def test_a_receipt_is_proved_to_be_in_a_batch(number: int) -> None:
    receipt, batch = verify_in_batch(proof_of(number), KEYS)
    assert receipt.receipt_id == name(number)
    assert batch == batch_of()


@given(some.integers(0, 10**6), some.integers(1, 255))
def test_no_byte_of_a_batch_s_proof_can_change(place: int, flip: int) -> None:
    data = bytearray(proof_of(2))
    data[place % len(data)] ^= flip
    try:
        found = verify_in_batch(bytes(data), KEYS)
    except ReceiptError:
        return
    # White space, or another spelling of the same base64.
    assert found == verify_in_batch(proof_of(2), KEYS)


def test_a_receipt_that_is_not_in_a_batch_has_no_proof() -> None:
    few = Selection(entries_from=0, entries_before=3)
    with pytest.raises(ReceiptError, match="there is no receipt"):
        proof_of(4, few)
    other = json.loads(proof_of(2, few))
    for fields, why in [
        ({"receipt": json.loads(proof_of(4))["receipt"]}, "is none that the batch receipt"),
        ({"receipt": json.loads(proof_of(1))["receipt"]}, "is not in the batch receipt"),
        ({"index": 1}, "is not in the batch receipt"),
        ({"path": []}, "is not in the batch receipt"),
        ({"path": ["zz"]}, "not a proof"),
        ({"llmring_batch_proof": 2}, "version 2"),
        ({"batch": other["receipt"]}, "not a batch receipt"),
        ({"receipt": other["batch"]}, "not a receipt of one attempt"),
    ]:
        with pytest.raises(ReceiptError, match=why):
            verify_in_batch(json.dumps({**other, **fields}).encode(), KEYS)
    with pytest.raises(SignatureInvalid):
        verify_in_batch(proof_of(2), {OTHER_KEY.key_id: OTHER_KEY.public})
    with pytest.raises(ReceiptError, match="not those that were signed for"):
        prove_in_batch(name(2), signed_batch(batch_of()), CHAIN[1:])
    with pytest.raises(ReceiptError, match="not a batch receipt of a ledger"):
        prove_in_batch(name(2), CHAIN[0], CHAIN)


def test_a_batch_receipt_is_an_entry_like_others() -> None:
    chain = link([batch_of()], after=CHAIN)
    assert deeds(chain) == []
    altered = msgspec.structs.replace(chain[-1], payload=chain[-1].payload.replace(b'"missing":5', b'"missing":0'))
    assert deeds([*chain[:-1], altered]) == [("altered", len(CHAIN))]
    assert deeds(link([one(10)], after=chain)[:-2] + link([one(10)], after=chain)[-1:]) == [("removed", len(CHAIN))]


def test_a_batch_receipt_is_none_of_one_attempt() -> None:
    signed = signed_batch(batch_of())
    assert not verifies(KEY.public, msgspec.structs.replace(signed, payload_type=RECEIPT))
    with pytest.raises(ReceiptError, match="not a receipt"):
        read(RECEIPT, signed.payload)
    with pytest.raises(ReceiptError, match="not a batch receipt"):
        read(BATCH_RECEIPT, chain_of(1)[0].payload)
    with pytest.raises(ReceiptError, match="small order"):
        ReceiptSigner.verify_receipt(batch_of(), bytes(32))
    assert PublicKey(KEY.public.raw) == KEY.public
