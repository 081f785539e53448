"""Proofs: a receipt, the way to a checkpoint's root, and nothing else, for somebody without the ledger."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some

from llmring.errors import ReceiptError, SignatureInvalid
from llmring.receipts.checkpoint import CHECKPOINT, encode_proof, read_checkpoint, verify_proof
from llmring.receipts.merkle import inclusion_proof, leaf_hash
from llmring.receipts.receipt import read
from llmring.receipts.signing import Signed, sign
from tests.receipts import strangers
from tests.receipts.chains import KEYS, chain_of, checkpoint_of
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
