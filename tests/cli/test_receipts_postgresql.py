"""`llmring receipts` on a ledger in PostgreSQL, as a user types it."""

import json

import pytest

from bench.postgresql import PASSWORD, Server
from tests.cli.terminal import Ended, Terminal

SPELLED = "the-password-canary"


@pytest.fixture
def url(terminal: Terminal, postgresql: Server) -> str:
    """Of a ledger with three answers; nothing that a command has said shows the password."""
    url = postgresql.new_database()
    terminal.variables |= {"LLMRING_RECEIPTS": url, "XDG_DATA_HOME": str(terminal.directory / "data")}
    for _ in range(3):
        assert run(terminal, "chat", "the prompt canary", "--model", "summarizer").code == 0
    return url


def run(terminal: Terminal, *arguments: str) -> Ended:
    ended = terminal.run(*arguments)
    assert PASSWORD not in ended.out + ended.err and SPELLED not in ended.out + ended.err
    return ended


def test_a_ledger_in_a_database_is_listed_verified_and_shown(terminal: Terminal, url: str) -> None:
    found = run(terminal, "receipts", "list", "--json").json()
    assert (found["entries"], {one["outcome"] for one in found["receipts"]}) == (3, {"answered"})
    ended = run(terminal, "receipts", "verify")
    assert (ended.code, ended.out.startswith("✅ 3 entries are as they were signed")) == (0, True)
    del terminal.variables["LLMRING_RECEIPTS"]
    assert run(terminal, "receipts", "verify", url).out == ended.out
    assert run(terminal, "receipts", "verify", "--ledger", url).out == ended.out
    name = found["receipts"][0]["receipt_id"]
    assert run(terminal, "receipts", "show", name, "--ledger", url).json()["receipt_id"] == name
    assert (terminal.directory / "data" / "llmring" / "signing.key").exists()


def test_a_ledger_in_a_database_is_proved_and_handed_out(terminal: Terminal, url: str) -> None:
    name = run(terminal, "receipts", "list", "--json").json()["receipts"][1]["receipt_id"]
    assert run(terminal, "receipts", "checkpoint", "-o", "kept.json").code == 0
    assert run(terminal, "receipts", "verify", "--checkpoint", "kept.json").code == 0
    assert run(terminal, "receipts", "prove", name, "-o", "proof.json").code == 0
    assert run(terminal, "receipts", "export", "-o", "out.jsonl").code == 0
    (terminal.directory / "keys.json").write_text(run(terminal, "receipts", "keys").out)
    for file in ("proof.json", "out.jsonl"):
        assert run(terminal, "receipts", "verify", file, "--key", "keys.json").code == 0


def test_the_key_of_a_database_is_handed_over(terminal: Terminal, url: str) -> None:
    made = run(terminal, "receipts", "keygen", "--rotate", "--json").json()
    assert run(terminal, "chat", "hello", "--model", "summarizer").code == 0
    told = run(terminal, "receipts", "verify", "--json").json()
    assert (told["findings"], told["signers"]) == ([], [made["replaced"], made["key_id"]])


def test_a_key_that_signs_a_file_too_is_not_handed_over_in_the_database_alone(terminal: Terminal, url: str) -> None:
    terminal.variables["LLMRING_RECEIPTS"] = "on"
    assert run(terminal, "chat", "hello", "--model", "summarizer").code == 0
    ended = run(terminal, "receipts", "keygen", "--rotate", "--ledger", url)
    assert (ended.code, "signs the ledger" in ended.err) == (2, True)
    assert run(terminal, "receipts", "verify", "--ledger", url).code == 0


def test_a_database_without_a_ledger_and_one_that_is_away_are_one_line(terminal: Terminal, postgresql: Server) -> None:
    empty = postgresql.new_database()
    ended = run(terminal, "receipts", "list", "--ledger", empty)
    assert (ended.code, "there is no ledger postgresql:///ledger_" in ended.err) == (1, True)
    ended = run(terminal, "receipts", "list", "--ledger", f"postgresql://a:{SPELLED}@127.0.0.1:1/b", "-n", "1")
    assert (ended.code, ended.err.count("\n"), "postgresql://127.0.0.1:1/b" in ended.err) == (1, 1, True)
    wrong = json.dumps(run(terminal, "receipts", "list", "--ledger", f"postgresql://a:{SPELLED}/b").err)
    assert "the URL cannot be read" in wrong
