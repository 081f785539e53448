"""`llmring stats`, `export` and `receipts reconcile` as a user types them, on a ledger as a router leaves it."""

import csv
import json
import sqlite3
from contextlib import closing
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from llmring.receipts.building import Attempted, Facts
from llmring.refs import ModelRef
from tests.cli.terminal import Terminal
from tests.receipts.attempts import NOON, attempted, writer_at
from tests.receipts.ledgers import file_place

CLAUDE = ModelRef("anthropic", "claude-haiku-4-5")
COST = Decimal("0.000228")
"""Of every attempt that has a price."""


def written(directory: Path, *ended: Attempted) -> None:
    with closing(writer_at(file_place(directory))) as writer:
        writer.take(ended)
        assert writer.flush()


@pytest.fixture
def ledger(bare: Terminal) -> Path:
    """Four calls: an answer, a failover, a stream that was left, and on the next day a model without a price."""
    bare.variables["LLMRING_RECEIPTS"] = "ledger.db"
    late = NOON + timedelta(hours=11)
    written(
        bare.directory,
        attempted(call="1", tenant="acme"),
        attempted(call="2", outcome="ServerFault", answered=None, usage=None, request_id="req_0"),
        attempted(2, call="2", model=CLAUDE, request_id="req_2"),
        attempted(call="3", outcome="left", answered=None, kind="stream", request_id="req_3"),
        attempted(call="4", alias="<script>alert(1)</script>", ended_at=late, facts=Facts, request_id="req_4"),
    )
    return bare.directory / "ledger.db"


def stats(terminal: Terminal, *arguments: str) -> dict[str, Any]:
    ended = terminal.run("stats", "--json", *arguments)
    assert ended.code == 0, ended.err
    told: dict[str, Any] = ended.json()
    return told


def test_stats_sums_calls_attempts_tokens_and_dollars(bare: Terminal, ledger: Path) -> None:
    told = stats(bare)
    total = told["total"]
    counted = {name: total[name] for name in ("calls", "attempts", "answered", "failed", "left", "failovers")}
    assert counted == {"calls": 4, "attempts": 5, "answered": 3, "failed": 1, "left": 1, "failovers": 1}
    assert (total["cost_usd"], total["unpriced"], total["unpriced_answers"]) == (str(3 * COST), 2, 1)
    assert total["lower_bounds"] == 1
    assert (total["tokens"]["total_input_tokens"], total["tokens"]["output_tokens"]) == (4800, 320)
    assert told["unpriced_why"] == {"no_usage": 1, "model_not_in_registry": 1}
    assert 0.8 < total["latency"]["median_seconds"] < 0.825
    assert [group["alias"] for group in told["groups"]] == ["fast", "<script>alert(1)</script>"]


def test_what_a_router_has_done_is_summed(terminal: Terminal) -> None:
    terminal.variables["LLMRING_RECEIPTS"] = "ledger.db"
    assert terminal.run("chat", "hello", "--model", "summarizer").code == 0
    assert terminal.run("chat", "hello", "--model", "broken").code == 1
    answered, failed = stats(terminal)["groups"]
    assert (answered["alias"], answered["calls"], answered["answered"]) == ("summarizer", 1, 1)
    assert (failed["alias"], failed["calls"], failed["calls_answered"]) == ("broken", 1, 0)
    assert Decimal(answered["cost_usd"]) > 0 == Decimal(failed["cost_usd"])
    assert failed["unpriced"] == failed["attempts"] == failed["failed"] > 0


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("model", {"openai:gpt-4o-mini": 4, "anthropic:claude-haiku-4-5": 1}),
        ("day", {"2026-08-01": 5}),
        ("tenant", {"acme": 1, None: 4}),
        ("profile", {"default": 5}),
    ],
)
def test_stats_by(bare: Terminal, ledger: Path, by: str, expected: dict[str | None, int]) -> None:
    assert {group[by]: group["attempts"] for group in stats(bare, "--by", by)["groups"]} == expected


def test_days_are_those_of_the_time_zone(bare: Terminal, ledger: Path) -> None:
    told = stats(bare, "--by", "day", "--timezone", "Asia/Tokyo")
    assert [(group["day"], group["attempts"]) for group in told["groups"]] == [("2026-08-01", 4), ("2026-08-02", 1)]
    assert stats(bare, "--since", "2026-08-02", "--timezone", "Asia/Tokyo")["total"]["attempts"] == 1
    assert stats(bare, "--until", "2026-08-01", "--timezone", "Asia/Tokyo")["total"]["attempts"] == 4
    assert stats(bare, "--since", "2026-08-01T12:00", "--until", "2026-08-01T12:01")["total"]["attempts"] == 4


def test_stats_for_people_say_what_the_dollars_leave_out(bare: Terminal, ledger: Path) -> None:
    ended = bare.run("stats")
    heads, first, second, total, *_ = ended.out.splitlines()
    assert heads.split() == [
        *("alias", "calls", "attempts", "answered", "failed", "left", "failovers", "input", "output"),
        *("cost", "unpriced", "median", "p95"),
    ]
    assert first.split()[:3] == ["fast", "3", "4"] and "≥ $0.000684  1 " in first
    assert second.startswith("<script>alert(1)</script>") and "$" not in second
    assert total.split()[:3] == ["total", "4", "5"]
    assert "2 attempts without a price are not in the cost, 1 of them answered" in ended.out
    assert "1 answer broke off" in ended.out
    assert ended.err == ""


def test_stats_draws(bare: Terminal, ledger: Path) -> None:
    drawn = bare.run("stats", "--plot").out
    assert [line for line in drawn.splitlines() if line.startswith("Cost by")] == [
        "Cost by day",
        "Cost by alias",
        "Cost by model",
    ]
    bare.variables["PYTHONIOENCODING"] = "ascii"
    assert "####" in bare.run("stats", "--plot").out


def test_stats_writes_a_page_in_the_place_of_another_only_when_told_to(bare: Terminal, ledger: Path) -> None:
    ended = bare.run("stats", "-o", "page.html")
    assert (ended.code, ended.err) == (0, "wrote page.html\n")
    page = (bare.directory / "page.html").read_text()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page and "<script" not in page
    refused = bare.run("stats", "-o", "page.html")
    assert (refused.code, "--force to replace it" in refused.err) == (2, True)
    (bare.directory / "page.html").write_text("old")
    assert bare.run("stats", "-o", "page.html", "--force", "--json").json()["total"]["calls"] == 4
    assert (bare.directory / "page.html").read_text().startswith("<!doctype html>")
    assert {path.name for path in bare.directory.iterdir() if "page" in path.name} == {"page.html"}


def test_a_gap_is_told_of(bare: Terminal, ledger: Path) -> None:
    def unknown() -> Facts:
        raise OSError

    written(bare.directory, attempted(call="5", facts=unknown), attempted(call="6"))
    assert stats(bare)["missing"] == 1
    assert "1 attempt has no receipt: the ledger has a gap" in bare.run("stats").out
    assert "1 attempt has no receipt: the ledger has a gap" in bare.run("export").err


def rows(path: Path) -> list[dict[str, Any]]:
    """Of an export, whatever its form."""
    match path.suffix:
        case ".json":
            found: list[dict[str, Any]] = json.loads(path.read_text())["receipts"]
        case ".jsonl":
            found = [json.loads(line) for line in path.read_text().splitlines()]
        case ".csv":
            with path.open(newline="") as lines:
                found = list(csv.DictReader(lines))
        case _:
            found = pyarrow.parquet.read_table(path).to_pylist()
    return found


def test_every_form_of_an_export_has_the_same_rows(bare: Terminal, ledger: Path) -> None:
    found = {}
    for form in ("json", "jsonl", "csv", "parquet"):
        ended = bare.run("export", "-o", f"all.{form}")
        assert (ended.code, ended.out) == (0, f"✅ Exported 5 receipts to all.{form}\n")
        found[form] = rows(bare.directory / f"all.{form}")
    assert found["json"] == found["jsonl"]
    for name, kind in (("csv", str), ("parquet", Decimal)):
        assert [list(one) for one in found[name]] == [list(one) for one in found["json"]]
        for one, plain in zip(found[name], found["json"], strict=True):
            assert one["receipt_id"] == plain["receipt_id"]
            if plain["total_cost"] is not None:
                assert isinstance(one["total_cost"], kind)
                assert Decimal(one["total_cost"]) == Decimal(plain["total_cost"]) == COST
            else:
                assert one["total_cost"] in (None, "")
    first, *_ = found["json"]
    shown = bare.run("receipts", "show", first["receipt_id"]).json()
    assert {name: first[name] for name in ("signature", "sequence", "tenant", "request_digest")} == {
        name: shown[name] for name in ("signature", "sequence", "tenant", "request_digest")
    }
    assert [one["cost_is_lower_bound"] for one in found["csv"]] == ["false", "", "false", "true", ""]


def test_an_export_goes_to_standard_output_unless_a_file_is_named(bare: Terminal, ledger: Path) -> None:
    told = bare.run("export", "--since", "2026-08-01T13:00").json()
    assert [one["alias"] for one in told["receipts"]] == ["<script>alert(1)</script>"]
    assert told["exported_at"].endswith("Z")
    assert len(bare.run("export", "--format", "jsonl").lines()) == 5
    assert bare.run("export", "--format", "csv", "-o", "-").out.startswith("receipt_id,timestamp,")


def test_what_is_in_the_way_of_an_export_stays(bare: Terminal, ledger: Path) -> None:
    assert bare.run("export", "-o", "all.csv").code == 0
    before = (bare.directory / "all.csv").read_bytes()
    with closing(sqlite3.connect(ledger)) as other:
        other.execute("UPDATE entries SET payload = '{}' WHERE sequence = 3")
        other.commit()
    ended = bare.run("export", "-o", "all.csv", "--force")
    assert (ended.code, ended.out) == (1, "")
    assert "not a receipt" in ended.err
    assert (bare.directory / "all.csv").read_bytes() == before
    assert [path.name for path in bare.directory.iterdir() if "all" in path.name] == ["all.csv"]
    assert "entry 3 of the ledger: not a receipt" in bare.run("stats").err


@pytest.mark.parametrize("name", ["stats", "export"])
def test_a_ledger_that_another_process_is_writing_can_be_read(bare: Terminal, ledger: Path, name: str) -> None:
    with closing(sqlite3.connect(ledger, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("DELETE FROM entries WHERE sequence = 4")
        ended = bare.run(name, *(["--json"] if name == "stats" else []))
        other.execute("ROLLBACK")
    assert ended.code == 0
    told = ended.json()
    assert (told["total"]["attempts"] if name == "stats" else len(told["receipts"])) == 5


BILL = """\
generation_id,created_at,cost_total,tokens_prompt,tokens_completion,model_permaslug
req_1,2026-08-01 12:00:00,0.000228,1200,80,openai/gpt-4o-mini
req_3,2026-08-01 12:00:00,0.020228,1200,80,openai/gpt-4o-mini
req_5,2026-08-01 12:00:00,0.5,1200,80,openai/gpt-4o-mini
"""


def test_a_bill_is_held_against_the_receipts(bare: Terminal, ledger: Path) -> None:
    (bare.directory / "bill.csv").write_text(BILL)
    arguments = ("receipts", "reconcile", "bill.csv", "--provider", "openai")
    ended = bare.run(*arguments)
    assert ended.code == 1
    told = {line.split()[0]: line for line in ended.out.splitlines() if line.startswith("req_")}
    assert "differs" in told["req_3"] and "+$0.0200" in told["req_3"]
    assert "not in the ledger" in told["req_5"] and "not in the file" in told["req_4"]
    assert "req_1" not in told
    assert "❌ The file says $0.5205, the ledger $0.000456: +$0.5200" in ended.out
    told = bare.run(*arguments, "--json").json()
    assert (told["by"], told["same"], told["matches"]) == ("request", 1, False)
    assert (told["differs"], told["not_in_the_ledger"], told["not_in_the_file"]) == (1, 1, 1)
    assert told["difference_usd"] == "0.520000"


def test_what_is_wrong_with_sums_that_agree_is_said(bare: Terminal, ledger: Path) -> None:
    named = ("--provider", "openai", "--map", "day=Day", "--map", "cost=Total")
    (bare.directory / "bill.csv").write_text("Day,Total\n2026-08-01,0.000456\n")
    ended = bare.run("receipts", "reconcile", "bill.csv", *named)
    assert ended.code == 1
    assert ended.out.endswith(
        "❌ The file says $0.000456, the ledger $0.000456, but 1 attempt has no price in the ledger, so what is "
        "billed for it cannot be held against it\n"
    )
    lines = "req_1,2026-08-01,0.000128,,,m\nreq_3,2026-08-01,0.000328,,,m\n"
    (bare.directory / "bill.csv").write_text(BILL.splitlines(keepends=True)[0] + lines)
    ended = bare.run("receipts", "reconcile", "bill.csv", "--provider", "openai", "--tolerance", "0.00005")
    assert ended.out.splitlines()[-1].endswith("and 2 lines differ by more than they may")


def test_a_bill_that_is_right_ends_well(bare: Terminal, ledger: Path) -> None:
    (bare.directory / "bill.csv").write_text("Tag,Modell,Betrag\n2026-08-01,claude-haiku-4-5,0.00\n")
    named = ("--map", "day=Tag", "--map", "model=Modell", "--map", "cost=Betrag")
    ended = bare.run("receipts", "reconcile", "bill.csv", "--provider", "anthropic", *named)
    assert ended.code == 0
    assert "1 line is the same" in ended.out and "✅ The file says $0.00, the ledger $0.000228" in ended.out
    exactly = bare.run("receipts", "reconcile", "bill.csv", "--provider", "anthropic", *named, "--tolerance", "0")
    assert exactly.code == 1
    assert bare.run("receipts", "reconcile", "bill.csv", *named).code == 2


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("stats", "--ledger", "nowhere.db"), 1, "nowhere.db"),
        (("export", "--ledger", "nowhere.db"), 1, "nowhere.db"),
        (("receipts", "reconcile", "bill.csv", "--ledger", "nowhere.db"), 1, "nowhere.db"),
        (("stats", "--ledger", "bill.csv"), 1, "bill.csv: file is not a database"),
        (("stats", "--since", "soon"), 2, "'soon' is no date: write 2026-08-01"),
        (("export", "--until", "2026-02-30"), 2, "'2026-02-30' is no date"),
        (("receipts", "reconcile", "bill.csv", "--until", "7d"), 2, "'7d' is no day"),
        (("stats", "--since", "2026-11-22", "--until", "2026-11-20"), 2, "--since 2026-11-22 is not before --until"),
        (("stats", "--since", "2026-11-22", "--until", "2026-11-21"), 2, "there is no time between the two"),
        (("export", "--since", "12h", "--until", "7d"), 2, "--since 12h is not before --until 7d"),
        (("receipts", "preview", "--since", "12h", "--until", "7d"), 2, "--since 12h is not before --until 7d"),
        (
            ("receipts", "reconcile", "bill.csv", "--since", "2026-08-02", "--until", "2026-08-01"),
            2,
            "there is no day between the two",
        ),
        (("stats", "--until", "9999-12-31"), 2, "'9999-12-31' is beyond the dates that are counted"),
        (("stats", "--timezone", "Mars/Phobos"), 2, "there is no time zone 'Mars/Phobos'"),
        (("stats", "-o", "page.csv"), 2, "page.csv: a report is a page, so name it .html"),
        (("stats", "-o", "no/such/page.html"), 2, "cannot write no/such/page.html: no such file or directory"),
        (("export", "-o", "all.txt"), 2, "all.txt names no format"),
        (("export", "--format", "parquet"), 2, "name a file with -o"),
        (("export", "-o", "."), 2, ". names no format"),
        (("export", "--format", "csv", "-o", "."), 2, ". is a directory"),
        (("receipts", "reconcile", "nothing.csv"), 2, "cannot read nothing.csv: no such file or directory"),
        (("receipts", "reconcile", "."), 2, "cannot read .: is a directory"),
        (("receipts", "reconcile", "ledger.db"), 2, "ledger.db is no CSV file"),
        (("receipts", "reconcile", "bill.csv", "--map", "colour=red"), 2, "'colour=red' is not WHAT=COLUMN"),
        (("receipts", "reconcile", "bill.csv", "--tolerance", "much"), 2, "'much' is no amount of dollars"),
        (("receipts", "reconcile", "bill.csv", "--tolerance", "1e999999"), 2, "'1e999999' is no amount of dollars"),
    ],
)
def test_what_is_wrong_is_one_line(
    bare: Terminal, ledger: Path, arguments: tuple[str, ...], code: int, told: str
) -> None:
    (bare.directory / "bill.csv").write_text(BILL)
    ended = bare.run(*arguments)
    assert (ended.code, ended.out) == (code, "")
    assert told in ended.err
    assert ended.err.count("Error: ") == 1


def test_a_ledger_of_a_later_llmring_is_said_to_be_one(bare: Terminal, ledger: Path) -> None:
    with closing(sqlite3.connect(ledger)) as other:
        other.execute("PRAGMA user_version = 99")
    for arguments in (("stats",), ("export",)):
        ended = bare.run(*arguments)
        assert (ended.code, "is of version 99, and this llmring knows" in ended.err) == (1, True)


def test_a_ledger_without_receipts_is_no_mistake(bare: Terminal, ledger: Path) -> None:
    later = ("--since", "2027-01-01")
    assert bare.run("stats", *later).out.startswith("No receipts in this time.\n")
    assert stats(bare, *later)["total"]["attempts"] == 0
    assert bare.run("export", *later).json()["receipts"] == []
    assert bare.run("export", *later, "--format", "csv").out.count("\n") == 1
    assert bare.run("stats", *later, "-o", "page.html").code == 0
    with closing(sqlite3.connect(ledger)) as other:
        other.execute("DELETE FROM entries")
        other.commit()
    assert bare.run("stats").out == "The ledger holds no receipts.\n"
