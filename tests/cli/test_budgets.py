"""`llmring budgets`, and budgets in the commands that spend them."""

import json
from pathlib import Path

import msgspec
import pytest

from llmring.cli.status import budget_text
from llmring.status import BudgetStatus
from tests.cli.terminal import Terminal

BUDGETS = """
[budgets.daily]
limit = "0.50"
per = "day"

[budgets.tenants]
tenant = "*"
limit = 2
per = "month"

[budgets.once]
alias = "summarizer"
limit = 1
per = "run"
"""


@pytest.fixture
def lockfile(terminal: Terminal) -> Path:
    terminal.variables["LLMRING_RECEIPTS"] = "ledger.db"
    path = terminal.directory / "llmring.lock"
    path.write_text(path.read_text() + BUDGETS)
    return path


def test_what_was_spent_is_shown_without_a_running_process(terminal: Terminal, lockfile: Path) -> None:
    before = terminal.run("budgets", "--json").json()["budgets"]
    assert [(one["budget"], one["spent_usd"]) for one in before] == [("daily", "0"), ("once", None)]
    (terminal.directory / "in.jsonl").write_text("".join(f'"prompt {number}"\n' for number in range(3)))
    assert terminal.run("map", "summarizer", "in.jsonl", "--max-tokens", "50", "-q").code == 0
    daily, tenants, once = terminal.run("budgets", "--json").json()["budgets"]
    assert 0 < float(daily["spent_usd"]) < 0.01
    assert (daily["held_usd"], tenants["tenant"], tenants["spent_usd"]) == ("0", "", daily["spent_usd"])
    assert (once["alias"], once["spent_usd"], once["resets_at"]) == ("summarizer", None, None)
    text = terminal.run("budgets").out.splitlines()
    assert text[0].split() == ["budget", "of", "per", "limit", "spent", "held", "left", "begins", "anew"]
    assert text[1].split()[:4] == ["daily", "everything", "day", "$0.500000"]


def test_a_refused_call_is_one_line_that_says_when_there_is_money_again(terminal: Terminal, lockfile: Path) -> None:
    lockfile.write_text(lockfile.read_text().replace('limit = "0.50"', "limit = 0"))
    ended = terminal.run("chat", "hello", "--model", "summarizer", "--max-tokens", "50")
    assert ended.code == 1
    assert "budget 'daily' of $0 a day: $0 spent" in ended.err
    assert "begins anew at" in ended.err


def test_a_lockfile_without_budgets_says_so(terminal: Terminal) -> None:
    terminal.variables["LLMRING_RECEIPTS"] = "ledger.db"
    ended = terminal.run("budgets")
    assert (ended.code, "has no budgets" in ended.out) == (0, True)
    assert json.loads(terminal.run("budgets", "--json").out)["budgets"] == []


def test_a_status_line_of_a_budget() -> None:
    told = {"name": "daily", "limit_usd": "25", "spent_usd": "1.2", "reserved_usd": "0.3", "per": "day"}
    one = msgspec.convert({**told, "resets_at": "2026-11-22T00:00:00Z", "tenant": "acme", "waiting": 2}, BudgetStatus)
    assert budget_text(one) == (
        "budget daily, tenant 'acme': $1.200000 of $25 a day spent, $0.300000 reserved, 2 waiting; begins anew "
        "2026-11-22 00:00 UTC"
    )


def test_when_a_budget_begins_anew_is_told_by_the_clocks_of_its_zone(terminal: Terminal, lockfile: Path) -> None:
    lockfile.write_text(lockfile.read_text().replace('per = "day"', 'per = "day"\ntimezone = "Asia/Tokyo"'))
    daily = terminal.run("budgets").out.splitlines()[1]
    assert daily.endswith("00:00 Asia/Tokyo")
    assert terminal.run("budgets", "--json").json()["budgets"][0]["resets_at"].endswith("T00:00:00+09:00")
    ended = terminal.run("chat", "hello", "--model", "summarizer", "--max-tokens", "50")
    assert ended.code == 0
    assert float(terminal.run("budgets", "--json").json()["budgets"][0]["spent_usd"]) > 0
