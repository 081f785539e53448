"""`llmring receipts` as a user types it, on what the other commands have left in the ledger."""

import json
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from llmring.receipts.merkle import Frontier
from tests.cli.terminal import KEY, Terminal
from tests.receipts import strangers
from tests.receipts.attempts import attempted, writer_at
from tests.receipts.ledgers import file_place
from tests.receipts.samples import KEY as SIGNING_KEY


@pytest.fixture
def ledger(terminal: Terminal) -> Path:
    """Three answers and the attempts of a call that failed."""
    terminal.variables["LLMRING_RECEIPTS"] = "ledger.db"
    (terminal.directory / "in.jsonl").write_text("".join(f'"the prompt canary {number}"\n' for number in range(3)))
    assert terminal.run("map", "summarizer", "in.jsonl", "-q").code == 0
    assert terminal.run("chat", "the prompt canary", "--model", "broken").code == 1
    return terminal.directory / "ledger.db"


def receipts(terminal: Terminal) -> list[dict[str, Any]]:
    """The oldest first."""
    found: list[dict[str, Any]] = terminal.run("receipts", "list", "--json").json()["receipts"]
    return found[::-1]


def edited(ledger: Path, statement: str) -> None:
    with closing(sqlite3.connect(ledger)) as other:
        other.execute(statement)
        other.commit()


def head_of_all(ledger: Path) -> tuple[str, str]:
    """The last hash and the frontier of the entries that are there."""
    tree = Frontier()
    with closing(sqlite3.connect(ledger)) as other:
        hashes: list[bytes] = [row[0] for row in other.execute("SELECT hash FROM entries ORDER BY sequence")]
    for one in hashes:
        tree.append(one)
    return hashes[-1].hex(), tree.encode().hex()


def test_calls_leave_receipts_without_a_word_of_them(terminal: Terminal, ledger: Path) -> None:
    found = receipts(terminal)
    assert [one["outcome"] for one in found[:3]] == ["answered"] * 3
    assert {one["outcome"] for one in found[3:]} == {"ServerFault"}
    assert {one["alias"] for one in found} == {"summarizer", "broken"}
    data = b"".join(file.read_bytes() for file in terminal.directory.glob("ledger.db*"))
    assert b"canary" not in data and KEY.encode() not in data
    assert stat.S_IMODE((terminal.directory / "signing.key").stat().st_mode) == 0o600
    text = terminal.run("receipts", "list", "-n", "2")
    assert text.out.splitlines()[0].split() == ["time", "receipt", "alias", "model", "outcome", "tokens", "cost"]
    assert text.out.endswith(f"2 of {len(found)} entries\n")


def test_a_whole_ledger_verifies(terminal: Terminal, ledger: Path) -> None:
    ended = terminal.run("receipts", "verify")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith(f"✅ {len(receipts(terminal))} entries are as they were signed, 0 checkpoints hold\n")
    assert "No --key was given" in ended.out
    (terminal.directory / "keys.json").write_text(terminal.run("receipts", "keys").out)
    assert "No --key" not in terminal.run("receipts", "verify", "--key", "keys.json").out


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        (
            "UPDATE entries SET payload = replace(payload, 'answered', 'AnsWered') WHERE sequence = 1",
            "altered: entry 1",
        ),
        ("UPDATE entries SET sequence = 99 WHERE sequence = 4", "moved: entry 4"),
        ("DELETE FROM entries WHERE sequence = 1", "removed: entry 1: not there"),
        ("DELETE FROM entries WHERE sequence > 1", "cut off: entries 2 to"),
        ("UPDATE entries SET sequence = -1 WHERE sequence = 2", "moved: entry 2"),
    ],
)
def test_what_was_done_to_a_ledger_is_named(terminal: Terminal, ledger: Path, statement: str, told: str) -> None:
    edited(ledger, statement)
    ended = terminal.run("receipts", "verify")
    assert ended.code == 1
    assert told in ended.err
    assert "❌" in ended.out
    assert terminal.run("receipts", "verify", "--json").json()["findings"]


def test_a_checkpoint_that_was_kept_shows_a_tail_that_was_cut_off(terminal: Terminal, ledger: Path) -> None:
    count = len(receipts(terminal))
    assert terminal.run("receipts", "checkpoint", "-o", "kept.json").code == 0
    assert terminal.run("receipts", "verify", "--checkpoint", "kept.json").code == 0
    edited(ledger, f"DELETE FROM entries WHERE sequence = {count - 1}")
    edited(ledger, "DELETE FROM checkpoints")
    edited(ledger, f"UPDATE ledger SET size = {count - 1}")
    careless = terminal.run("receipts", "verify")
    told = [line.split()[:2] for line in careless.err.splitlines()]
    assert told == [["head:", "last:"], ["head:", "frontier:"], ["head:", "checkpoint_size:"]]
    last, frontier = head_of_all(ledger)
    edited(ledger, f"UPDATE ledger SET last = x'{last}', frontier = x'{frontier}', checkpoint_size = 0")
    assert terminal.run("receipts", "verify").code == 0
    ended = terminal.run("receipts", "verify", "--checkpoint", "kept.json")
    assert (ended.code, f"cut off: entry {count - 1}: there should be {count} entries" in ended.err) == (1, True)


def test_a_receipt_is_shown_and_verified_by_itself(terminal: Terminal, ledger: Path) -> None:
    name = receipts(terminal)[1]["receipt_id"]
    shown = terminal.run("receipts", "show", name)
    assert shown.json()["signature"].startswith("ed25519:")
    (terminal.directory / "one.json").write_text(shown.out)
    envelope = terminal.run("receipts", "show", name, "--envelope").out
    (terminal.directory / "envelope.json").write_text(envelope)
    key = terminal.run("receipts", "keys").json()["keys"][0]
    assert strangers.opens(envelope, key)["receipt_id"] == name
    for file in ("one.json", "envelope.json"):
        ended = terminal.run("receipts", "verify", file)
        assert (ended.code, ended.out) == (0, f"✅ Receipt {name} is VALID\n   Algorithm: Ed25519\n")
    forged = {**shown.json(), "total_tokens": 1}
    (terminal.directory / "one.json").write_text(json.dumps(forged))
    ended = terminal.run("receipts", "verify", "one.json")
    assert (ended.code, "is INVALID" in ended.out) == (1, True)
    (terminal.directory / "theirs.pem").write_text(SIGNING_KEY.public.pem())
    assert terminal.run("receipts", "verify", "envelope.json", "--key", "theirs.pem").code == 1
    openings = terminal.run("receipts", "show", name, "--openings").json()
    assert {len(bytes.fromhex(text)) for text in openings.values()} == {32}


def test_openings_are_held_against_the_digests_where_the_texts_are_given(bare: Terminal) -> None:
    bare.variables["LLMRING_RECEIPTS"] = "ledger.db"
    with closing(writer_at(file_place(bare.directory))) as writer:
        writer.take([attempted()])
        assert writer.flush()
    (name,) = (one["receipt_id"] for one in receipts(bare))
    said = {"content": "the-answer-canary", "finish_reason": "stop"}
    asked = {"model": "fast", "messages": [{"role": "user", "content": "the-prompt-canary"}]}
    (bare.directory / "request.json").write_text(json.dumps(asked))
    (bare.directory / "response.json").write_text(json.dumps(said))
    (bare.directory / "none.json").write_text("hello")
    show = ("receipts", "show", name, "--openings")
    assert "not held against the digests" in bare.run(*show).err
    held = bare.run(*show, "--request", "request.json", "--response", "response.json")
    assert (held.code, held.err, held.json()) == (0, "", bare.run(*show).json())
    for file, told in (("response.json", "is not the request of"), ("none.json", "is no JSON"), ("x", "cannot read x")):
        other = bare.run(*show, "--request", file)
        assert (other.code, other.out, told in other.err) == (1 if file == "response.json" else 2, "", True)
    assert bare.run("receipts", "show", name, "--request", "request.json").code == 2
    ledger = bare.directory / "ledger.db"
    edited(ledger, "UPDATE entries SET salt = randomblob(32)")
    other = bare.run(*show, "--request", "request.json")
    assert (other.code, other.out, "or its salt is not as it was written" in other.err) == (1, "", True)
    edited(ledger, "UPDATE entries SET salt = x'00'")
    other = bare.run(*show)
    assert (other.code, other.out, "its salt is not as it was written" in other.err) == (1, "", True)
    edited(ledger, "UPDATE entries SET salt = NULL")
    other = bare.run(*show)
    assert (other.code, other.out, "its salt was deleted" in other.err) == (1, "", True)
    assert "1 receipt has no salt any more" in bare.run("receipts", "verify").out


def test_a_receipt_is_proved_to_somebody_without_the_ledger(terminal: Terminal, bare: Terminal, ledger: Path) -> None:
    name = receipts(terminal)[0]["receipt_id"]
    assert terminal.run("receipts", "prove", name, "-o", "proof.json").code == 0
    (terminal.directory / "keys.json").write_text(terminal.run("receipts", "keys").out)
    ledger.rename(ledger.with_name("gone.db"))
    ended = terminal.run("receipts", "verify", "proof.json", "--key", "keys.json")
    assert (ended.code, f"Receipt {name} is VALID, one of " in ended.out) == (0, True)
    alone = terminal.run("receipts", "verify", "proof.json")
    assert (alone.code, "name the signer's public key with --key" in alone.err) == (2, True)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET hash = zeroblob(32) WHERE sequence = 2",
        "UPDATE entries SET hash = 'abc' WHERE sequence = 2",
        "DELETE FROM entries WHERE sequence = 2",
        "DELETE FROM entries WHERE sequence > 1",
    ],
)
def test_a_ledger_that_was_damaged_proves_nothing(terminal: Terminal, ledger: Path, statement: str) -> None:
    terminal.run("receipts", "checkpoint")
    name = receipts(terminal)[1]["receipt_id"]
    edited(ledger, statement)
    ended = terminal.run("receipts", "prove", name)
    assert (ended.code, ended.out) == (1, "")
    assert "the ledger is not that of its checkpoint" in ended.err


@pytest.mark.parametrize("name", ["verify", "list", "checkpoint"])
def test_a_head_that_cannot_be_read_is_one_line(terminal: Terminal, ledger: Path, name: str) -> None:
    edited(ledger, "UPDATE ledger SET size = 'abc'")
    ended = terminal.run("receipts", name)
    assert (ended.code, ended.err.count("Error: "), "Traceback" in ended.err) == (1, 1, False)
    assert "is damaged: its head cannot be read" in ended.err


def test_a_checkpoint_that_was_kept_is_never_passed_over(terminal: Terminal, ledger: Path) -> None:
    terminal.run("receipts", "checkpoint", "-o", "kept.json")
    name = receipts(terminal)[0]["receipt_id"]
    (terminal.directory / "one.json").write_text(terminal.run("receipts", "show", name).out)
    batch = terminal.run("receipts", "generate", "-o", "batch.dsse", "--json").json()["receipt_id"]
    terminal.run("receipts", "prove", name, "--batch", batch, "-o", "in-batch.json")
    for file in ("one.json", "batch.dsse", "in-batch.json"):
        ended = terminal.run("receipts", "verify", file, "--checkpoint", "kept.json")
        assert (ended.code, ended.out) == (2, "")
        assert f"{file} says nothing of a checkpoint" in ended.err and "`llmring receipts prove ID`" in ended.err
    terminal.run("receipts", "prove", name, "-o", "proof.json")
    assert terminal.run("receipts", "verify", "proof.json", "--checkpoint", "kept.json").code == 0
    terminal.run("receipts", "checkpoint", "-o", "later.json")
    other = terminal.run("receipts", "verify", "proof.json", "--checkpoint", "later.json")
    assert (other.code, other.out, "is not the one that was kept" in other.err) == (1, "", True)


def test_what_is_no_receipt_is_not_called_one(terminal: Terminal, ledger: Path) -> None:
    terminal.run("receipts", "checkpoint", "-o", "kept.json")
    ended = terminal.run("receipts", "verify", "kept.json")
    assert (ended.code, ended.out) == (2, "")
    assert "kept.json is a checkpoint: name it with --checkpoint" in ended.err
    (terminal.directory / "bin").write_bytes(b"\x00\xff")
    assert "bin: neither a ledger nor an export" in terminal.run("receipts", "verify", "bin").err
    terminal.run("chat", "hello", "--model", "summarizer")
    terminal.run("receipts", "prove", "--since", "kept.json", "-o", "proof.json")
    (terminal.directory / "theirs.pem").write_text(SIGNING_KEY.public.pem())
    ended = terminal.run("receipts", "verify", "proof.json", "--key", "theirs.pem")
    assert ended.code == 1
    assert ended.out.startswith("❌ The proof ") and "proof.json is INVALID: " in ended.out


def test_an_export_is_verified_line_by_line(terminal: Terminal, ledger: Path) -> None:
    terminal.run("receipts", "checkpoint")
    assert terminal.run("receipts", "export", "-o", "out.jsonl").code == 0
    lines = (terminal.directory / "out.jsonl").read_text().splitlines()
    told = terminal.run("receipts", "verify", "out.jsonl", "--json").json()
    assert (told["entries"], told["findings"], told["checkpoints"]) == (len(lines) - 2, [], 1)
    (terminal.directory / "out.jsonl").write_text("\n".join([*lines[:2], *lines[3:]]) + "\n")
    assert "removed: entry 1: not there" in terminal.run("receipts", "verify", "out.jsonl").err
    (terminal.directory / "out.jsonl").write_text("\n".join([*lines[:2], "{}", *lines[3:]]) + "\n")
    assert "altered: entry 1" in terminal.run("receipts", "verify", "out.jsonl").err
    assert terminal.run("receipts", "export", "-o", "out.jsonl").code == 2
    assert "salt" not in "\n".join(lines)


def test_a_key_is_made_and_handed_over(terminal: Terminal, ledger: Path) -> None:
    first = terminal.run("receipts", "keygen", "--json").json()
    assert not first["made"]
    second = terminal.run("receipts", "keygen", "--rotate", "--json").json()
    assert second["replaced"] == first["key_id"] != second["key_id"]
    assert terminal.run("chat", "hello", "--model", "summarizer").code == 0
    told = terminal.run("receipts", "verify", "--json").json()
    assert (told["findings"], told["signers"]) == ([], [first["key_id"], second["key_id"]])
    keys = terminal.run("receipts", "keys").json()
    assert keys["current_key_id"] == second["key_id"]
    assert [key["kid"] for key in keys["keys"]] == told["signers"]
    assert "d" not in keys["keys"][0]
    assert "(hand-over)" in terminal.run("receipts", "list").out


def test_a_key_of_the_environment_is_not_made_here(bare: Terminal) -> None:
    bare.variables |= {"LLMRING_RECEIPTS": "ledger.db", "LLMRING_SIGNING_KEY": SIGNING_KEY.pem()}
    ended = bare.run("receipts", "keygen")
    assert (ended.code, "LLMRING_SIGNING_KEY holds the key" in ended.err) == (2, True)
    del bare.variables["LLMRING_SIGNING_KEY"]
    made = bare.run("receipts", "keygen")
    assert made.out.startswith("✅ Made the key ")
    assert "is in " in bare.run("receipts", "keygen").out
    assert len(bare.run("receipts", "keys").json()["keys"]) == 1


@pytest.mark.parametrize("name", ["list", "verify", "export", "checkpoint"])
def test_a_ledger_that_is_not_there_is_one_line_and_is_not_made(bare: Terminal, name: str) -> None:
    bare.variables["LLMRING_RECEIPTS"] = "nowhere.db"
    ended = bare.run("receipts", name)
    assert ended.code in (1, 2)
    assert "nowhere.db" in ended.err
    assert list(bare.directory.iterdir()) == []


def test_without_a_home_a_ledger_must_be_named(bare: Terminal) -> None:
    ended = bare.run("receipts", "list")
    assert (ended.code, "name a ledger with --ledger" in ended.err) == (2, True)


def test_what_is_no_receipt_is_said_so(terminal: Terminal, ledger: Path) -> None:
    (terminal.directory / "x.json").write_text('{"a": 1}')
    ended = terminal.run("receipts", "verify", "x.json")
    assert (ended.code, "neither a ledger nor an export, a proof or a receipt" in ended.err) == (1, True)
    assert terminal.run("receipts", "show", "rcpt_none").code == 1


def test_one_receipt_of_many_is_signed_and_worked_out_again(terminal: Terminal, ledger: Path) -> None:
    shown = terminal.run("receipts", "preview", "--alias", "summarizer")
    assert shown.out.startswith("📋 Receipt Preview:\nCertified receipts: 3 of 3 calls\n")
    ended = terminal.run("receipts", "generate", "--alias", "summarizer", "--tag", "june", "-o", "batch.dsse")
    assert ended.out.startswith("✅ Receipt generated successfully!\nReceipt ID: rcpt_")
    key = terminal.run("receipts", "keys").json()["keys"][0]
    told = strangers.opens((terminal.directory / "batch.dsse").read_text(), key)
    assert (told["batch_summary"]["receipts"], told["tags"]) == (3, ["june"])
    name = told["receipt_id"]
    (terminal.directory / "batch.json").write_text(terminal.run("receipts", "show", name).out)
    for file in ("batch.dsse", "batch.json"):
        again = terminal.run("receipts", "verify", file)
        assert (again.code, "Its ledger has these receipts, and they come to this" in again.out) == (0, True)
    assert terminal.run("receipts", "verify").code == 0
    assert "a batch of 3 receipts" in terminal.run("receipts", "list").out
    nothing = terminal.run("receipts", "generate", "--alias", "summarizer", "--since-last")
    assert (nothing.code, "there are no such receipts" in nothing.err) == (1, True)
    assert terminal.run("receipts", "preview", "--since-last", "--json").json()["selection"]["entries_from"] == 0
    (terminal.directory / "keys.json").write_text(terminal.run("receipts", "keys").out)
    edited(ledger, "DELETE FROM entries WHERE sequence = 1")
    wrong = terminal.run("receipts", "verify", "batch.dsse")
    assert (wrong.code, "their root is another one" in wrong.out) == (1, True)
    ledger.rename(ledger.with_name("gone.db"))
    alone = terminal.run("receipts", "verify", "batch.dsse", "--key", "keys.json")
    assert (alone.code, "Its ledger is not here" in alone.out) == (0, True)
    assert not terminal.run("receipts", "verify", "batch.json", "--key", "keys.json", "--json").json()["recomputed"]


def test_what_has_no_price_and_what_broke_off_are_told_apart_from_what_is_paid(bare: Terminal) -> None:
    bare.variables["LLMRING_RECEIPTS"] = "ledger.db"
    with closing(writer_at(file_place(bare.directory))) as writer:
        refused = attempted(2, alias="other", outcome="ServerFault", answered=None, usage=None)
        broken = attempted(3, outcome="StreamBroken", answered=None)
        writer.take([attempted(1), refused, broken])
        assert writer.flush()
    rows = {line.split()[0]: line.split()[3:] for line in bare.run("receipts", "preview").out.splitlines()[-4:]}
    assert rows == {
        "all": ["≥", "$0.000456", "+", "1", "unpriced"],
        "openai:gpt-4o-mini": ["≥", "$0.000456", "+", "1", "unpriced"],
        "fast": ["≥", "$0.000456"],
        "other": ["1", "unpriced"],
    }
    assert bare.run("receipts", "preview", "--json").json()["lower_bounds"] == 1
    listed = bare.run("receipts", "list").out.splitlines()[1:4]
    assert [line.split("  ")[-1].strip() for line in listed] == ["≥ $0.000228", "?", "$0.000228"]
    ended = bare.run("receipts", "generate", "-o", "all.dsse")
    assert "Total cost: ≥ $0.000456 + 1 unpriced\n" in ended.out
    assert "1 of them broke off, and was priced by what was seen of it: the sum is a lower bound\n" in ended.err
    assert bare.run("receipts", "list", "-n", "1").out.splitlines()[1].endswith("$0.000456 + 1 unpriced")
    assert "2,560 tokens, $0.000456 + 1 unpriced\n" in bare.run("receipts", "verify", "all.dsse").out
    assert "Total cost: 1 unpriced\n" in bare.run("receipts", "preview", "--alias", "other").out


@pytest.mark.parametrize("name", ["generate", "checkpoint"])
def test_nothing_is_signed_where_its_output_is_in_the_way(terminal: Terminal, ledger: Path, name: str) -> None:
    (terminal.directory / "there").write_text("kept")
    for output, told in (("there", "there exists already"), ("no/such", "cannot write no/such"), (".", "a directory")):
        ended = terminal.run("receipts", name, "-o", output)
        assert (ended.code, told in ended.err) == (2, True)
    verified = terminal.run("receipts", "verify", "--json").json()
    assert (verified["entries"], verified["checkpoints"]) == (len(receipts(terminal)), 0)
    assert not [one for one in receipts(terminal) if "batch_summary" in one]
    assert (terminal.directory / "there").read_text() == "kept"
    assert list(terminal.directory.glob("*.part")) == []
    assert terminal.run("receipts", name, "-o", "there", "--force").code == 0


def test_a_batch_receipt_that_is_signed_and_cannot_be_written_is_told_of(terminal: Terminal, ledger: Path) -> None:
    ended = terminal.run("receipts", "generate", "-o", "/dev/full")
    assert (ended.code, "it is signed: `llmring receipts show rcpt_" in ended.err) == (1, True)
    name = ended.err.split("receipts show ")[1].split()[0]
    assert terminal.run("receipts", "show", name, "--envelope").code == 0


def test_a_batch_receipt_is_of_a_time(terminal: Terminal, ledger: Path) -> None:
    assert terminal.run("receipts", "generate", "--until", "2026-01-01").code == 1
    found = terminal.run("receipts", "generate", "--since", "2026-01-01T00:00:00+01:00", "--json").json()
    assert found["selection"]["since"] == "2025-12-31T23:00:00.000000Z"
    # As `llmring stats` has it: the day counts.
    until = terminal.run("receipts", "preview", "--until", "2099-12-31", "--json").json()
    assert until["selection"]["until"] == "2100-01-01T00:00:00.000000Z"
    wrong = terminal.run("receipts", "preview", "--since", "yesterday")
    assert (wrong.code, "'yesterday' is no date" in wrong.err) == (2, True)


def test_a_receipt_that_was_altered_is_not_certified(terminal: Terminal, ledger: Path) -> None:
    edited(ledger, "UPDATE entries SET signature = zeroblob(64) WHERE sequence = 1")
    ended = terminal.run("receipts", "generate")
    assert (ended.code, "entry 1 is not as it was signed" in ended.err) == (1, True)


def test_a_receipt_is_proved_to_be_in_a_batch(terminal: Terminal, ledger: Path) -> None:
    name = receipts(terminal)[1]["receipt_id"]
    batch = terminal.run("receipts", "generate", "--json").json()["receipt_id"]
    assert terminal.run("receipts", "prove", name, "--batch", batch, "-o", "proof.json").code == 0
    ended = terminal.run("receipts", "verify", "proof.json")
    assert (ended.code, f"receipts of the batch receipt {batch}" in ended.out) == (0, True)
    assert terminal.run("receipts", "prove", batch, "--batch", batch).code == 1
    assert terminal.run("receipts", "prove").code == 2


def test_a_ledger_is_proved_to_go_on_from_a_checkpoint(terminal: Terminal, ledger: Path) -> None:
    terminal.run("receipts", "checkpoint", "-o", "kept.json")
    assert terminal.run("chat", "hello", "--model", "summarizer").code == 0
    assert terminal.run("receipts", "prove", "--since", "kept.json", "-o", "proof.json").code == 0
    (terminal.directory / "keys.json").write_text(terminal.run("receipts", "keys").out)
    loose = terminal.run("receipts", "verify", "proof.json", "--key", "keys.json")
    assert (loose.code, "No --checkpoint was given" in loose.out) == (0, True)
    asked = ("receipts", "verify", "proof.json", "--key", "keys.json", "--checkpoint")
    assert terminal.run(*asked, "kept.json").code == 0
    terminal.run("chat", "hello", "--model", "summarizer")
    terminal.run("receipts", "checkpoint", "-o", "later.json")
    assert "not the one that was kept" in terminal.run(*asked, "later.json").err
    edited(ledger, "UPDATE entries SET hash = zeroblob(32) WHERE sequence = 1")
    ended = terminal.run("receipts", "prove", "--since", "kept.json")
    assert (ended.code, "does not go on from the checkpoint" in ended.err) == (1, True)
