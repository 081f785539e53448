"""`llmring receipts` on a ledger in PostgreSQL, as a user types it."""

import json
from contextlib import closing
from datetime import timedelta

import pytest

from bench.postgresql import PASSWORD, Server
from llmring.config import LedgerPlace
from tests.cli.terminal import Ended, Terminal
from tests.receipts.attempts import NOON, attempted, writer_at
from tests.receipts.ledgers import database_place, file_place, spelled

SPELLED = "the-password-canary"


@pytest.fixture
def url(terminal: Terminal, postgresql: Server) -> str:
    """Of a ledger with three answers; nothing that a command has said shows the password."""
    url = postgresql.new_database()
    terminal.variables |= {"LLMRING_RECEIPTS": url, "XDG_DATA_HOME": str(terminal.directory / "data")}
    for _ in range(3):
        assert run(terminal, "chat", "the prompt canary", "--model", "summarizer").code == 0
    return url


def written(place: LedgerPlace) -> None:
    """Three attempts, the same in every ledger, and a gap."""
    with closing(writer_at(place)) as writer:
        writer.take([attempted(call="1", tenant="acme"), attempted(call="2", request_id="req_2"), attempted(call="3")])
        assert writer.flush()
        writer.lost(2, NOON, "a test")
        writer.take([attempted(call="4", alias="other", request_id="req_4", ended_at=NOON + timedelta(days=1))])
        assert writer.flush()


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


BILL = """\
generation_id,created_at,cost_total,tokens_prompt,tokens_completion,model_permaslug
req_2,2026-08-01 12:00:00,0.000228,1200,80,openai/gpt-4o-mini
req_9,2026-08-01 12:00:00,0.5,1200,80,openai/gpt-4o-mini
"""


def test_reports_of_a_database_are_those_of_a_file(terminal: Terminal, postgresql: Server) -> None:
    database, file = database_place(postgresql.new_database(), terminal.directory), file_place(terminal.directory)
    for place in (database, file):
        written(place)
    (terminal.directory / "bill.csv").write_text(BILL)
    commands = (
        ("stats", "--json"),
        ("stats", "--json", "--since", "2026-08-02"),
        ("receipts", "reconcile", "bill.csv", "--provider", "openai", "--json"),
    )
    for command in commands:
        found, told = (run(terminal, *command, "--ledger", spelled(place)) for place in (database, file))
        assert (found.code, found.out) == (told.code, told.out), (command, found.err)
        assert found.out.startswith("{"), command
    exported = (
        run(terminal, "export", "--until", "2026-08-01", "--ledger", spelled(place)) for place in (database, file)
    )
    rows, others = (
        [(one["alias"], one["total_cost"], one["timestamp"]) for one in ended.json()["receipts"]] for ended in exported
    )
    assert len(rows) == 3 and rows == others


def test_a_batch_of_a_database_is_signed_proved_and_worked_out_again(terminal: Terminal, url: str) -> None:
    name = run(terminal, "receipts", "list", "--json").json()["receipts"][1]["receipt_id"]
    assert run(terminal, "receipts", "preview", "--json").json()["batch_summary"]["receipts"] == 3
    made = run(terminal, "receipts", "generate", "--tag", "all", "-o", "batch.dsse", "--json").json()
    assert made["batch_summary"]["receipts"] == 3
    assert run(terminal, "receipts", "verify", "batch.dsse", "--json").json()["recomputed"] is True
    assert run(terminal, "receipts", "prove", name, "--batch", made["receipt_id"], "-o", "proof.json").code == 0
    assert run(terminal, "receipts", "verify", "proof.json").code == 0
    assert run(terminal, "chat", "hello", "--model", "summarizer").code == 0
    assert run(terminal, "receipts", "preview", "--since-last", "--json").json()["batch_summary"]["receipts"] == 1


def test_a_database_is_proved_to_have_lost_nothing_since(terminal: Terminal, url: str) -> None:
    assert run(terminal, "receipts", "checkpoint", "-o", "kept.json").code == 0
    assert run(terminal, "chat", "hello", "--model", "summarizer").code == 0
    assert run(terminal, "receipts", "prove", "--since", "kept.json", "-o", "proof.json").code == 0
    ended = run(terminal, "receipts", "verify", "proof.json", "--checkpoint", "kept.json")
    assert (ended.code, "The ledger of 4 entries, which goes on from the one of 3" in ended.out) == (0, True)


def test_budgets_are_kept_and_shown_in_a_database(terminal: Terminal, postgresql: Server) -> None:
    url = postgresql.new_database()
    terminal.variables |= {"LLMRING_RECEIPTS": url, "XDG_DATA_HOME": str(terminal.directory / "data")}
    lockfile = terminal.directory / "llmring.lock"
    lockfile.write_text(lockfile.read_text() + '\n[budgets.daily]\nlimit = "0.50"\nper = "day"\n')
    (before,) = run(terminal, "budgets", "--json").json()["budgets"]
    assert run(terminal, "chat", "hello", "--model", "summarizer", "--max-tokens", "50").code == 0
    told = run(terminal, "budgets", "--json", "--ledger", url).json()
    (after,) = told["budgets"]
    assert (before["spent_usd"], after["held_usd"]) == ("0", "0")
    assert 0 < float(after["spent_usd"]) < 0.01
    assert told["ledger"].startswith("postgresql:///ledger_")
    lockfile.write_text(lockfile.read_text().replace('"0.50"', f'"{after["spent_usd"]}"'))
    ended = run(terminal, "chat", "hello", "--model", "summarizer", "--max-tokens", "50")
    assert (ended.code, "budget 'daily'" in ended.err) == (1, True)


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
