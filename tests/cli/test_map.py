"""`llmring map` as a user types it."""

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cli.terminal import KEY, Terminal, command, environment


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows))
    return path


def read(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_row_has_its_line_in_the_output(terminal: Terminal) -> None:
    rows = [{"prompt": f"number {number}", "id": f"id-{number}"} for number in range(1, 51)]
    write(terminal.directory / "in.jsonl", *rows)
    ended = terminal.run("map", "summarizer", "in.jsonl", "-o", "out.jsonl")
    assert (ended.code, ended.out) == (0, "")
    answers = {row["row"]: row for row in read(terminal.directory / "out.jsonl")}
    assert sorted(answers) == list(range(1, 51))
    for number, answer in answers.items():
        assert answer["id"] == f"id-{number}"
        assert answer["content"].startswith(f"echo: number {number} ")
        assert answer["cost_status"] == "priced"
    assert "50 of 50 rows answered" in ended.err
    assert not (terminal.directory / "out.jsonl.part").exists()


def test_an_unreadable_row_is_an_error_row_and_the_others_go_on(terminal: Terminal) -> None:
    bad = ["not json\n", {"neither": 1}, {"prompt": "a", "messages": []}, {"messages": [{"role": "nobody"}]}, 7]
    write(terminal.directory / "in.jsonl", json.dumps("good") + "\n", "\n", *bad, {"prompt": "good too", "id": None})
    ended = terminal.run("map", "summarizer", "in.jsonl", "--ordered")
    assert ended.code == 1
    assert [(row["row"], "error" in row) for row in ended.lines()] == [
        (1, False),
        (3, True),
        (4, True),
        (5, True),
        (6, True),
        (7, True),
        (8, False),
    ]
    assert ended.lines()[1]["error"]["message"].startswith("line 3: ")
    assert ended.lines()[6]["id"] is None
    assert "5 x InvalidRequest" in ended.err


def test_a_row_may_set_its_own_options(terminal: Terminal) -> None:
    chat = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 2, "temperature": 0}
    write(terminal.directory / "in.jsonl", chat, "\n", {"prompt": "hello"})
    rows = terminal.run("map", "summarizer", "in.jsonl", "--ordered", "--max-tokens", "3", "-q").lines()
    assert [row["content"] for row in rows] == ["echo: he", "echo: hello "]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        # As Python spells a byte of the command line that is no UTF-8.
        (("--tenant", "caf\udce9"), r"Error: tenant must be text that UTF-8 can spell, not 'caf\udce9'"),
        (("--adopt", "run-1=msgbatch_01"), "Error: adopt names batches that were lost, and they are read with mode="),
        (("--weight", "0"), "Error: weight must be a number above 0, not 0.0"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_sent(
    terminal: Terminal, options: tuple[str, ...], why: str
) -> None:
    write(terminal.directory / "in.jsonl", "hello")
    ended = terminal.run("map", "summarizer", "in.jsonl", "-o", "out.jsonl", *options)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(why)
    assert sorted(path.name for path in terminal.directory.glob("*.jsonl*")) == ["in.jsonl"]


def test_rows_are_known_in_a_journal_by_their_column(terminal: Terminal) -> None:
    """Edited prompts keep their answers; a row that has no name of its own is an error row, the others go on."""
    settings = ("--ordered", "--max-tokens", "3", "--key", "name", "--checkpoint", "run.jsonl", "-q")
    begun = ("map", "summarizer", "in.jsonl", *settings)
    write(terminal.directory / "in.jsonl", {"prompt": "hello", "name": "a"}, {"prompt": "ho", "name": 2})
    assert terminal.run(*begun).code == 0
    bad = [{"prompt": "x"}, '"a text"\n', {"prompt": "x", "name": None}]
    write(terminal.directory / "in.jsonl", {"prompt": "new", "name": 2}, *bad, {"prompt": "other", "name": "a"})
    ended = terminal.run(*begun)
    assert ended.code == 1
    assert [row.get("content") for row in ended.lines()] == ["echo: ho and", None, None, None, "echo: hello "]
    assert "--key: 'name' must be text or a whole number" in ended.lines()[1]["error"]["message"]
    (terminal.directory / "in.csv").write_text("text,name\nlast,a\n")
    ended = terminal.run("map", "summarizer", "in.csv", "-p", "{text}", *settings)
    assert [row["content"] for row in ended.lines()] == ["echo: hello "]
    (terminal.directory / "in.csv").write_text("text\nlast\n")
    ended = terminal.run("map", "summarizer", "in.csv", "-p", "{text}", *settings)
    assert (ended.code, ended.out) == (2, "")
    assert "in.csv has no column 'name'; it has 'text'" in ended.err


@pytest.mark.parametrize(("choice", "code", "rows"), [("yield", 1, 2), ("skip", 1, 0), ("raise", 1, 0)])
def test_what_a_failed_row_is_may_be_said(terminal: Terminal, choice: str, code: int, rows: int) -> None:
    write(terminal.directory / "in.jsonl", '"one"\n', '"two"\n')
    ended = terminal.run("map", "broken", "in.jsonl", "--on-error", choice, "--timeout", "20")
    assert (ended.code, len(ended.lines())) == (code, rows)


BAD = {"prompt": "ok", "max_tokens": -5}
WRONG = "max_tokens must be at least 1, not -5"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--on-error", "raise"], f"Error: line 4: {WRONG}"),
        (["--max-failures", "0"], f"after 1 failed rows; the last: line 4: {WRONG}"),
    ],
)
def test_what_ends_a_run_says_which_row_it_was(terminal: Terminal, arguments: list[str], message: str) -> None:
    write(terminal.directory / "in.jsonl", '"one"\n', "\n", "  \n", BAD, '"two"\n')
    ended = terminal.run("map", "summarizer", "in.jsonl", "-o", "out.jsonl", *arguments)
    assert (ended.code, ended.out) == (1, "")
    assert message in ended.err
    assert "rows answered" in ended.err


def test_a_row_that_cannot_be_read_names_its_place_once(terminal: Terminal) -> None:
    write(terminal.directory / "in.jsonl", "\n", "no json\n")
    ended = terminal.run("map", "summarizer", "in.jsonl", "--on-error", "raise", "-q")
    assert ended.err.startswith("Error: line 2: JSON")


def test_a_row_may_have_its_own_time(terminal: Terminal) -> None:
    write(terminal.directory / "in.jsonl", {"prompt": "hello"}, {"prompt": "hello", "timeout": 0.000001})
    settings = ("--top-p", "0.5", "--seed", "3", "--stop", "x", "--stop", "y", "--timeout", "60")
    flow = ("--priority", "interactive", "--tenant", "me", "--weight", "2")
    first, second = terminal.run("map", "summarizer", "in.jsonl", "--ordered", *settings, *flow).lines()
    assert first["content"].startswith("echo: hello ")
    assert "error" in second


@pytest.mark.parametrize("wrong", [("--timeout", "0"), ("--weight", "-1"), ("--priority", "high")])
def test_an_option_that_no_row_could_be_sent_with_ends_with_2(terminal: Terminal, wrong: tuple[str, str]) -> None:
    write(terminal.directory / "in.jsonl", '"one"\n')
    assert terminal.run("map", "summarizer", "in.jsonl", *wrong).code == 2


def test_rows_may_come_on_standard_input(terminal: Terminal) -> None:
    ended = terminal.run("map", "summarizer", "-", "-q", stdin='"one"\n"two"')
    assert (ended.code, ended.err) == (0, "")
    assert sorted(row["row"] for row in ended.lines()) == [1, 2]


def test_failed_rows_are_written_and_end_with_1(terminal: Terminal) -> None:
    write(terminal.directory / "in.jsonl", '"one"\n', '"two"\n')
    ended = terminal.run("map", "broken", "in.jsonl", "-o", "out.jsonl")
    assert ended.code == 1
    assert [row["error"]["type"] for row in read(terminal.directory / "out.jsonl")] == ["AllModelsFailed"] * 2


def test_a_map_that_would_pass_its_budget_stops_with_what_it_has(terminal: Terminal) -> None:
    write(terminal.directory / "in.jsonl", *[{"prompt": f"number {number}", "max_tokens": 10} for number in range(50)])
    # A row may cost $0.000072 at the second model, and costs some $0.000008 at the first.
    arguments = ("map", "summarizer", "in.jsonl", "-o", "out.jsonl", "--budget", "0.0002")
    ended = terminal.run(*arguments)
    assert ended.code == 1
    assert "the map was stopped at its cap of $0.0002" in ended.err
    assert "rows answered" in ended.err
    paid = read(terminal.directory / "out.jsonl.part")
    assert 0 < len(paid) < 50
    assert sum(float(row["cost_usd"]) for row in paid) <= 0.0002


def test_a_budget_that_no_row_fits_into_says_what_helps(terminal: Terminal) -> None:
    write(terminal.directory / "in.jsonl", '"one"\n')
    ended = terminal.run("map", "summarizer", "in.jsonl", "-o", "out.jsonl", "--budget", "0.001", "-q")
    assert (ended.code, [path.name for path in terminal.directory.glob("out*")]) == (1, [])
    assert "To go on, raise the cap, or give max_tokens" in ended.err


def test_equal_rows_are_asked_once_and_cost_once(terminal: Terminal) -> None:
    write(terminal.directory / "in.jsonl", '"one"\n', '"two"\n', '"one"\n', '"one"\n')
    ended = terminal.run(
        "map", "summarizer", "in.jsonl", "--ordered", "--dedupe", "--spill", "never", "--deadline", "1m"
    )
    assert ended.code == 0
    contents = [row["content"] for row in ended.lines()]
    assert contents[1].startswith("echo: two")
    assert contents[0] == contents[2] == contents[3] != contents[1]
    assert [row.get("duplicate") for row in ended.lines()] == [None, None, True, True]
    assert ["cost_usd" in row for row in ended.lines()] == [True, True, False, False]
    assert "4 of 4 rows answered, 2 rows equal to others" in ended.err


def test_a_map_that_is_out_of_time_says_what_is_not_done(terminal: Terminal) -> None:
    write(terminal.directory / "in.jsonl", *[{"prompt": "x"}] * 3)
    text = (terminal.directory / "llmring.lock").read_text()
    limited = text.replace('api_key_env = "SIM_KEY"', 'api_key_env = "SIM_KEY"\nrequests_per_minute = 1', 1)
    (terminal.directory / "llmring.lock").write_text(limited)
    ended = terminal.run("map", "summarizer", "in.jsonl", "--spill", "never", "--deadline", "3s", "--checkpoint", "run")
    assert ended.code == 1
    assert len(ended.lines()) == 1
    assert "the map was stopped after 3 s: 1 rows are finished, 2 are not done" in ended.err
    assert "the journal run goes on there" in ended.err


def test_an_existing_output_is_not_replaced_unasked(terminal: Terminal) -> None:
    write(terminal.directory / "in.jsonl", '"one"\n')
    out = terminal.directory / "out.jsonl"
    out.write_text("precious\n")
    ended = terminal.run("map", "summarizer", "in.jsonl", "-o", "out.jsonl")
    assert ended.code == 2
    assert "out.jsonl exists already" in ended.err
    assert out.read_text() == "precious\n"
    assert terminal.run("map", "summarizer", "in.jsonl", "-o", "out.jsonl", "--force").code == 0
    assert len(read(out)) == 1


def test_the_answers_of_a_run_that_did_not_end_are_never_overwritten(terminal: Terminal) -> None:
    write(terminal.directory / "in.jsonl", '"one"\n')
    part = terminal.directory / "out.jsonl.part"
    part.write_text("paid for\n")
    ended = terminal.run("map", "summarizer", "in.jsonl", "-o", "out.jsonl", "--force")
    assert ended.code == 2
    assert "they were paid for" in ended.err
    assert part.read_text() == "paid for\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["summarizer", "in.jsonl", "-o", "no/such/dir/out.jsonl"], "cannot write no/such/dir/out.jsonl"),
        (["summarizer", "in.jsonl", "-o", "."], "is a directory"),
        (["summarizer", "gone.jsonl"], "cannot read gone.jsonl"),
        (["summarizer", "."], "cannot read ."),
        (["sumarizer", "in.jsonl"], "did you mean 'summarizer'?"),
        (["summarizer", "in.jsonl", "--window", "0"], "--window"),
        (["summarizer", "in.jsonl", "--budget", "much"], "'much' is no amount of dollars, such as 5 or 0.50"),
        (["summarizer", "in.jsonl", "--budget", "-1"], "'-1' is no amount of dollars"),
        (["summarizer", "in.jsonl", "--deadline", "3d"], "'3d' is no length of time, such as 90, 90s, 30m or 2h"),
        (["summarizer", "in.jsonl", "--deadline", "0"], "'0' is no length of time"),
        (["summarizer", "in.jsonl", "--spill", "maybe"], "--spill"),
        (["broken", "in.jsonl", "--budget", "1"], "openai:fault-status_500 has no price"),
    ],
)
def test_a_wrong_setup_ends_with_2_before_anything_is_sent(
    terminal: Terminal, arguments: list[str], message: str
) -> None:
    write(terminal.directory / "in.jsonl", '"one"\n')
    ended = terminal.run("map", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err
    assert sorted(path.name for path in terminal.directory.iterdir()) == ["in.jsonl", "llmring.lock"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "j.jsonl", "--checkpoint", "j.jsonl.part"], "the .part of -o and --checkpoint are one file"),
        (["-o", "j.jsonl", "--checkpoint", "./j.jsonl"], "-o and --checkpoint are one file, j.jsonl: give each"),
        (["-o", "in.jsonl", "--force"], "-o and INPUT are one file"),
        (["-o", "link", "--force"], "-o and INPUT are one file"),
        (["-o", "hard", "--force"], "-o and INPUT are one file"),
        (["-o", "in"], "the .part of -o and INPUT are one file"),
        (["--decisions", "in.jsonl"], "--decisions and INPUT are one file"),
        (["--checkpoint", "in.jsonl"], "--checkpoint and INPUT are one file"),
        (["--decisions", "d", "--checkpoint", "d"], "--checkpoint and --decisions are one file, d"),
        (["-o", "llmring.lock", "--force"], "-o and the lockfile are one file"),
        (["--trace", "schema.json", "--schema", "schema.json"], "--trace and --schema are one file"),
    ],
)
def test_no_file_of_a_run_is_two_of_them(terminal: Terminal, arguments: list[str], message: str) -> None:
    source = write(terminal.directory / "in.jsonl", '"one"\n')
    write(terminal.directory / "schema.json", "{}")
    (terminal.directory / "link").symlink_to("in.jsonl")
    (terminal.directory / "hard").hardlink_to(source)
    (terminal.directory / "in.part").symlink_to("in.jsonl")
    before = {path: path.read_bytes() for path in terminal.directory.iterdir()}
    ended = terminal.run("map", "summarizer", "in.jsonl", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err
    assert {path: path.read_bytes() for path in terminal.directory.iterdir()} == before


def test_devices_are_no_files_of_a_run(terminal: Terminal) -> None:
    write(terminal.directory / "in.jsonl", '"one"\n')
    assert terminal.run("map", "summarizer", "in.jsonl", "-o", "/dev/null", "--trace", "/dev/null").code == 0


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_stopped_keeps_what_was_answered(terminal: Terminal, ending: signal.Signals) -> None:
    """Ten rows are answered while standard input stays open for more: then the process is interrupted, or killed."""
    process = subprocess.Popen(
        command("map", "summarizer", "-", "-o", "out.jsonl", "-q"),
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=terminal.directory,
        env=environment({"SIM_KEY": KEY}),
    )
    assert process.stdin is not None and process.stderr is not None
    part = terminal.directory / "out.jsonl.part"
    try:
        process.stdin.write(b"".join(b'"row %d"\n' % number for number in range(10)))
        process.stdin.flush()
        for _ in range(2000):
            if part.exists() and len(part.read_bytes().splitlines()) == 10:
                break
            if process.poll() is not None:
                pytest.fail(f"ended early: {process.stderr.read().decode()}")
            time.sleep(0.02)
        process.send_signal(ending)
        process.stdin.close()
        process.wait(30)
        said = process.stderr.read().decode()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        process.stderr.close()
    assert sorted(row["row"] for row in read(part)) == list(range(1, 11))
    assert not (terminal.directory / "out.jsonl").exists()
    if ending is signal.SIGINT:
        assert process.returncode == 130
        assert "10 rows that were finished are in out.jsonl.part" in said
        assert "Traceback" not in said
