"""Key files: their owner's alone, made once, replaced without a moment in which no key fits the ledger."""

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from llmring.errors import ReceiptError
from llmring.receipts.keys import (
    KeySet,
    encode_key_set,
    key_for,
    make_key,
    next_path,
    prepare_next,
    read_key,
    read_or_make_key,
    read_public_keys,
    take_next,
)
from tests.receipts.samples import KEY, OTHER_KEY


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "signing.key"


def test_a_key_is_made_on_first_use_for_its_owner_alone(path: Path) -> None:
    key = read_or_make_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert read_or_make_key(path).key_id == key.key_id
    assert not make_key(path)
    assert [file.name for file in path.parent.iterdir()] == ["signing.key"]


def test_processes_that_make_a_key_together_use_one(path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from llmring.receipts.keys import read_or_make_key;"
        "sys.stdin.readline(); print(read_or_make_key(Path(sys.argv[1])).key_id)"
    )
    makers = [
        subprocess.Popen(
            [sys.executable, "-c", program, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(6)
    ]
    for maker in makers:
        assert maker.stdin is not None
        maker.stdin.write("go\n")
        maker.stdin.flush()
    assert len({maker.communicate(timeout=60)[0] for maker in makers}) == 1
    assert [file.name for file in path.parent.iterdir()] == ["signing.key"]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_key_that_others_may_read_is_refused(path: Path, mode: int) -> None:
    read_or_make_key(path)
    path.chmod(mode)
    with pytest.raises(ReceiptError, match="may be read by others: `chmod 600"):
        read_key(path)


def test_what_is_no_key_is_refused_without_being_shown(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("canary")
    path.chmod(0o600)
    with pytest.raises(ReceiptError, match="not an Ed25519 private key") as raised:
        read_or_make_key(path)
    assert "canary" not in str(raised.value)
    with pytest.raises(ReceiptError, match="cannot read the key"):
        read_key(path.parent)


def test_a_key_that_cannot_be_written_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ReceiptError, match="cannot write the key"):
        make_key(tmp_path / "file" / "signing.key")


def test_a_key_gives_way_and_no_step_leaves_the_ledger_without_one(path: Path) -> None:
    first = read_or_make_key(path)
    second = prepare_next(path)
    assert prepare_next(path).key_id == second.key_id
    assert key_for(path, first.key_id).key_id == first.key_id
    # The ledger has been told, and the process died.
    assert key_for(path, second.key_id).key_id == second.key_id
    assert read_key(path).key_id == second.key_id
    assert not next_path(path).exists()
    third = prepare_next(path)
    take_next(path)
    assert key_for(path, third.key_id).key_id == third.key_id
    assert key_for(path, "another").key_id == third.key_id


def test_a_ledger_with_entries_makes_no_new_key(path: Path) -> None:
    with pytest.raises(ReceiptError, match="cannot read the key"):
        key_for(path, "kid")
    assert not path.exists()


def test_public_keys_are_read_as_they_are_published() -> None:
    both = KeySet(keys=(KEY.public, OTHER_KEY.public), current_key_id=OTHER_KEY.key_id)
    text = json.dumps(encode_key_set(both))
    assert read_public_keys(text.encode()) == both
    assert KEY.raw().hex() not in text and '"d"' not in text
    for one in (KEY.public.pem(), json.dumps(KEY.public.jwk()), KEY.public.jwk()["x"]):
        assert read_public_keys(one.encode()).keys == (KEY.public,)


@pytest.mark.parametrize("wrong", ['{"keys":[]}', '{"keys":1}', '{"kty":"EC","crv":"P-256","x":"a"}', "nothing", "{"])
def test_what_is_no_set_of_keys_is_refused(wrong: str) -> None:
    with pytest.raises(ReceiptError, match="public key"):
        read_public_keys(wrong.encode())
