"""Signatures: strangers verify them, forgeries and degenerate keys fail, secrets are never shown."""

import base64
import json
import pickle
import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from hypothesis import given
from hypothesis import strategies as some

from llmring.errors import ReceiptError, SignatureInvalid
from llmring.receipts import PublicKey, Receipt, ReceiptGenerator, ReceiptSigner
from llmring.receipts.receipt import GAP, RECEIPT, payload
from llmring.receipts.signing import decode_envelope, encode_envelope, pae, sign, spelled, unspelled, verifies
from tests.receipts import strangers
from tests.receipts.samples import FULL, KEY, OTHER_KEY, receipts

SIGNED = sign(KEY, RECEIPT, payload(FULL))
SIGNER = ReceiptSigner(KEY)

# The points of order 1, 2, 4 and 8, and spellings of two of them that are not reduced.
SMALL_ORDER = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]


def test_the_encoding_is_that_of_the_specification() -> None:
    """https://github.com/secure-systems-lab/dsse/blob/v1.0.0/protocol.md, "Test Vectors"."""
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
    assert pae("ä", b"") == b"DSSEv1 2 \xc3\xa4 0 "


@given(receipts)
def test_a_stranger_verifies_every_envelope(receipt: Receipt) -> None:
    envelope = encode_envelope(sign(KEY, RECEIPT, payload(receipt)))
    assert strangers.opens(envelope, KEY.public.jwk()) == json.loads(payload(receipt))
    assert strangers.opens(envelope, OTHER_KEY.public.jwk()) is None
    assert verifies(KEY.public, decode_envelope(envelope))


def test_openssl_verifies_a_receipt(tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl")
    (tmp_path / "key.pem").write_text(KEY.public.pem())
    (tmp_path / "signed").write_bytes(pae(SIGNED.payload_type, SIGNED.payload))
    (tmp_path / "signature").write_bytes(SIGNED.signature)
    command = [openssl, "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", "key.pem"]
    files = ["-in", "signed", "-sigfile", "signature"]
    done = subprocess.run([*command, *files], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "Signature Verified Successfully"
    (tmp_path / "signed").write_bytes(pae(SIGNED.payload_type, SIGNED.payload + b" "))
    assert subprocess.run([*command, *files], cwd=tmp_path, capture_output=True, check=False).returncode == 1


def test_keys_are_read_and_written_by_others() -> None:
    theirs = load_pem_private_key(KEY.pem().encode(), None)
    assert theirs.private_bytes_raw() == KEY.raw()  # type: ignore[union-attr]  # an Ed25519 key
    public = load_pem_public_key(KEY.public.pem().encode())
    assert isinstance(public, Ed25519PublicKey)
    assert public.public_bytes_raw() == KEY.public.raw


def test_a_key_id_is_its_thumbprint() -> None:
    """RFC 8037, appendix A.3."""
    raw = base64.urlsafe_b64decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo=")
    assert PublicKey(raw).key_id == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_an_envelope_is_that_of_the_specification() -> None:
    read = json.loads(encode_envelope(SIGNED))
    assert set(read) == {"payload", "payloadType", "signatures"}
    assert read["payloadType"] == "application/vnd.llmring.receipt+json"
    assert [set(one) for one in read["signatures"]] == [{"keyid", "sig"}]
    assert read["signatures"][0]["keyid"] == KEY.key_id


@given(some.integers(0, 10**6), some.integers(1, 255))
def test_no_byte_of_a_signed_receipt_can_change(place: int, flip: int) -> None:
    for part in ("payload", "signature"):
        data = bytearray(getattr(SIGNED, part))
        data[place % len(data)] ^= flip
        assert not verifies(KEY.public, msgspec.structs.replace(SIGNED, **{part: bytes(data)}))


def test_a_signature_of_one_kind_is_none_of_another() -> None:
    assert not verifies(KEY.public, msgspec.structs.replace(SIGNED, payload_type=GAP))


def test_a_receipt_s_own_signature_is_the_envelope_s() -> None:
    named = msgspec.structs.replace(FULL, key_id=KEY.key_id)
    whole = msgspec.structs.replace(named, signature=SIGNER.sign_receipt(named))
    assert ReceiptSigner.verify_receipt(whole, KEY.public)
    assert ReceiptSigner.verify_receipt(whole, KEY.public.raw)
    assert whole.signature is not None
    assert unspelled(whole.signature) == sign(KEY, RECEIPT, payload(named)).signature
    assert not ReceiptSigner.verify_receipt(whole, OTHER_KEY.public)
    assert not ReceiptSigner.verify_receipt(named, KEY.public)
    assert not ReceiptSigner.verify_receipt(msgspec.structs.replace(whole, total_cost="0"), KEY.public)
    with pytest.raises(ReceiptError, match="names the key"):
        ReceiptSigner(OTHER_KEY).sign_receipt(named)


def test_a_generated_receipt_verifies() -> None:
    private, public = ReceiptSigner.generate_keypair()
    signer = ReceiptSigner(private)
    receipt = ReceiptGenerator(signer).generate_receipt("a", "p", "l", "openai", "m", None, {"total_cost": "0.10"})
    assert receipt.total_cost == "0.1"
    assert signer.verify_receipt(receipt, public)
    assert signer.verify_receipt(receipt, signer.load_public_key(signer.export_public_key()))
    assert ReceiptSigner(signer.load_private_key(signer.export_private_key())).export_public_key() == public.raw


@pytest.mark.parametrize("point", SMALL_ORDER)
def test_a_key_by_which_anybody_could_sign_is_refused(point: str) -> None:
    with pytest.raises(ReceiptError, match="small order"):
        ReceiptSigner.load_public_key(bytes.fromhex(point))
    with pytest.raises(ReceiptError, match="small order"):
        ReceiptSigner.verify_receipt(msgspec.structs.replace(FULL, signature=spelled(bytes(64))), bytes.fromhex(point))


def test_a_forgery_that_openssl_takes_is_refused() -> None:
    """Under the neutral element every message is signed by R = B * s: with s = 0, by the neutral element itself."""
    neutral = bytes.fromhex(SMALL_ORDER[0])
    Ed25519PublicKey.from_public_bytes(neutral).verify(neutral + bytes(32), b"anything")
    with pytest.raises(ReceiptError, match="small order"):
        PublicKey(neutral)


@pytest.mark.parametrize(
    "wrong", [b"", b"x" * 31, b"x" * 33, "not base64!", "AAAA", "-----BEGIN PUBLIC KEY-----\nAAAA\n"]
)
def test_what_is_no_key_is_refused_without_showing_it(wrong: bytes | str) -> None:
    for load in (ReceiptSigner.load_private_key, ReceiptSigner.load_public_key):
        with pytest.raises(ReceiptError) as raised:
            load(wrong)
        assert "AAAA" not in str(raised.value)
    swapped = KEY.public.pem()
    with pytest.raises(ReceiptError, match="PRIVATE KEY"):
        ReceiptSigner.load_private_key(swapped)


@pytest.mark.parametrize("form", ["raw", "base64url", "base64", "pem", "pem in one line"])
def test_a_key_is_read_in_every_form(form: str) -> None:
    forms: dict[str, bytes | str] = {
        "raw": KEY.raw(),
        "base64url": base64.urlsafe_b64encode(KEY.raw()).decode().rstrip("="),
        "base64": base64.b64encode(KEY.raw()).decode(),
        "pem": KEY.pem(),
        "pem in one line": KEY.pem().replace("\n", "\\n"),
    }
    assert ReceiptSigner.load_private_key(forms[form]).key_id == KEY.key_id


@pytest.mark.parametrize(
    "wrong", [b"", b"[]", b'{"payload":"","payloadType":"x","signatures":[]}', b'{"payload":"?","payloadType":"x"}']
)
def test_what_is_no_envelope_is_refused(wrong: bytes) -> None:
    with pytest.raises(ReceiptError, match="envelope"):
        decode_envelope(wrong)


@pytest.mark.parametrize(
    "text", ["", "ed25519:", "ed25519:????", spelled(bytes(63)), spelled(bytes(64)) + "=", "x" * 86]
)
def test_a_signature_has_one_spelling(text: str) -> None:
    with pytest.raises(SignatureInvalid):
        unspelled(text)


def test_a_private_key_shows_nothing() -> None:
    shown = repr(KEY) + str(KEY)
    assert KEY.raw().hex() not in shown and base64.b64encode(KEY.raw()).decode() not in shown
    with pytest.raises(TypeError):
        pickle.dumps(KEY)
    with pytest.raises(ReceiptError, match="no private key"):
        ReceiptSigner().sign_receipt(FULL)


@pytest.mark.parametrize("key", ["abc", b"0" * 32, KEY.public])
def test_a_signer_is_made_with_a_key_alone(key: Any) -> None:
    with pytest.raises(ReceiptError, match=f"not {type(key).__name__}: ReceiptSigner.load_private_key makes one"):
        ReceiptSigner(key)
