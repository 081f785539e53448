"""Proofs: a receipt, the way to a checkpoint's root, and nothing else, for somebody without the ledger."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some

from llmring.errors import ReceiptError, SignatureInvalid
from llmring.receipts.checkpoint import (
    CHECKPOINT,
    encode_extension,
    encode_proof,
    read_checkpoint,
    sign_checkpoint,
    verify_extension,
    verify_proof,
)
from llmring.receipts.merkle import consistency_proof, inclusion_proof, leaf_hash
from llmring.receipts.receipt import read
from llmring.receipts.signing import PrivateKey, Signed, sign
from tests.receipts import strangers
from tests.receipts.chains import AT, KEYS, LEDGER, chain_of, checkpoint_of
from tests.receipts.samples import KEY, OTHER_KEY

CHAIN = chain_of(7)
LEAVES = [leaf_hash(one.payload) for one in CHAIN]


def proof_of(index: int) -> bytes:
    return encode_proof(CHAIN[index], index, inclusion_proof(LEAVES, index), checkpoint_of(CHAIN))


@pytest.mark.parametrize("index", range(7))
def test_a_receipt_is_proved_without_its_ledger(index: int) -> None:
    entry, said = verify_proof(proof_of(index), KEYS)
    assert entry == read(CHAIN[index].payload_type, CHAIN[index].payload)
    assert said.size == 7
    told = json.loads(proof_of(index))
    assert strangers.opens(json.dumps(told["checkpoint"]), KEY.public.jwk())["root"] == said.root


@given(some.integers(0, 10**6), some.integers(1, 255))
def test_no_byte_of_a_proof_can_change(place: int, flip: int) -> None:
    data = bytearray(proof_of(2))
    data[place % len(data)] ^= flip
    try:
        entry, said = verify_proof(bytes(data), KEYS)
    except ReceiptError:
        return
    # White space, or another spelling of the same hexadecimal digit or base64.
    assert (entry, said) == verify_proof(proof_of(2), KEYS)


def changed(**fields: Any) -> bytes:
    return json.dumps({**json.loads(proof_of(2)), **fields}).encode()


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"index": 3}, "not what the checkpoint is about"),
        ({"path": []}, "not in the tree"),
        ({"path": ["zz"]}, "not a proof"),
        ({"path": ["00"]}, "no hash of 64"),
        ({"path": ["AB" * 32]}, "no hash of 64"),
        ({"llmring_proof": 2}, "version 2"),
        ({"entry": json.loads(proof_of(3))["entry"]}, "not what the checkpoint is about"),
        ({"checkpoint": json.loads(proof_of(2))["entry"]}, "not a checkpoint"),
    ],
)
def test_a_proof_of_something_else_is_refused(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(ReceiptError, match=why):
        verify_proof(changed(**fields), KEYS)


def test_only_keys_that_are_trusted_prove_anything() -> None:
    with pytest.raises(SignatureInvalid, match="none of the keys that are trusted"):
        verify_proof(proof_of(2), {OTHER_KEY.key_id: OTHER_KEY.public})


@pytest.mark.parametrize("spoilt", [b"[]", b'{"llmring_checkpoint":1}', checkpoint_of(CHAIN).payload + b" "])
def test_what_is_no_checkpoint_is_refused(spoilt: bytes) -> None:
    with pytest.raises(ReceiptError, match="checkpoint"):
        read_checkpoint(sign(KEY, CHECKPOINT, spoilt))
    newer = checkpoint_of(CHAIN).payload.replace(b'"llmring_checkpoint":1', b'"llmring_checkpoint":9')
    with pytest.raises(ReceiptError, match="version 9"):
        read_checkpoint(msgspec.structs.replace(checkpoint_of(CHAIN), payload=newer))
    assert isinstance(checkpoint_of(CHAIN), Signed)


sizes = some.integers(1, 7).flatmap(lambda size: some.tuples(some.integers(1, size), some.just(size)))


def extension_of(old: int, size: int = 7, signer: PrivateKey = KEY) -> bytes:
    path = consistency_proof(LEAVES[:size], old)
    return encode_extension(checkpoint_of(CHAIN[:old]), checkpoint_of(CHAIN[:size], signer), path)


@given(sizes)
def test_a_checkpoint_is_proved_to_go_on_from_an_older_one_without_the_ledger(both: tuple[int, int]) -> None:
    old, size = both
    before, after = verify_extension(extension_of(old, size), KEYS)
    assert (before.size, after.size) == (old, size)
    assert before == verify_extension(extension_of(old, size, OTHER_KEY), KEYS, [checkpoint_of(CHAIN[:old])])[0]


@given(sizes)
def test_a_stranger_follows_the_same_proof(both: tuple[int, int]) -> None:
    told = json.loads(extension_of(*both))
    old, new = (strangers.opens(json.dumps(told[name]), KEY.public.jwk()) for name in ("old", "new"))
    assert strangers.goes_on(old["size"], old["root"], new["size"], new["root"], told["path"])
    assert not strangers.goes_on(old["size"], old["root"], new["size"], "00" * 32, told["path"])


@given(sizes, some.integers(0, 10**6), some.integers(1, 255))
def test_no_byte_of_an_extension_can_change(both: tuple[int, int], place: int, flip: int) -> None:
    data = bytearray(extension_of(*both))
    data[place % len(data)] ^= flip
    try:
        found = verify_extension(bytes(data), KEYS)
    except ReceiptError:
        return
    # White space, or another spelling of the same base64.
    assert found == verify_extension(extension_of(*both), KEYS)


def test_a_history_that_was_written_anew_does_not_go_on_from_the_one_that_was_kept() -> None:
    anew = chain_of(7, cost="0.05")
    leaves = [leaf_hash(one.payload) for one in anew]
    kept = checkpoint_of(CHAIN[:3])
    own = encode_extension(checkpoint_of(anew[:3]), checkpoint_of(anew), consistency_proof(leaves, 3))
    assert verify_extension(own, KEYS)[1].size == 7
    with pytest.raises(ReceiptError, match="not the one that was kept"):
        verify_extension(own, KEYS, [kept])
    with pytest.raises(ReceiptError, match="does not go on from the one of 3"):
        verify_extension(encode_extension(kept, checkpoint_of(anew), consistency_proof(leaves, 3)), KEYS, [kept])


def test_an_extension_is_of_one_ledger_forwards_and_signed() -> None:
    new, old = checkpoint_of(CHAIN), checkpoint_of(CHAIN[:3])
    path = consistency_proof(LEAVES, 3)
    for wrong, why in [
        (encode_extension(new, old, path), "does not go on"),
        (encode_extension(old, sign_checkpoint(KEY, "another", 7, bytes(32), AT), path), "of two ledgers"),
        (encode_extension(old, new, []), "does not go on"),
        (encode_extension(old, CHAIN[0], path), "not a checkpoint"),
        (encode_extension(old, new, path).replace(b'extension":1', b'extension":2'), "version 2"),
        (b"{}", "not a proof"),
    ]:
        with pytest.raises(ReceiptError, match=why):
            verify_extension(wrong, KEYS)
    with pytest.raises(SignatureInvalid, match="none of the keys that are trusted"):
        verify_extension(extension_of(3), {OTHER_KEY.key_id: OTHER_KEY.public})
    short = sign_checkpoint(KEY, LEDGER, 7, b"short", AT)
    with pytest.raises(ReceiptError, match="its root is no hash"):
        verify_extension(encode_extension(old, short, path), KEYS)
