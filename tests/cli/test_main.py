"""The command line as a whole: what it loads, how it ends, and its help in the documentation."""

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from llmring import __version__
from llmring.cli.main import COMMANDS, root
from tests.cli.terminal import Terminal, command, environment

ROOT = Path(__file__).parents[2]


def test_help_lists_every_command_and_loads_no_event_loop(bare: Terminal) -> None:
    program = (
        "import sys; from llmring.cli.main import run; code = run(['--help']);"
        "print(sorted({'trio', 'httpx2', 'msgspec', 'opentelemetry', 'rich'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, cwd=bare.directory, env=environment({}), check=True
    )
    for name in ("chat", "map", "sim", "demo"):
        assert re.search(rf"^  {name} ", done.stdout.decode(), re.MULTILINE)
    assert done.stderr.decode().strip() == "[]"


def test_the_version_is_the_packages(bare: Terminal) -> None:
    assert bare.run("--version").out == f"llmring, version {__version__}\n"


def test_a_reader_that_goes_away_is_no_traceback(terminal: Terminal) -> None:
    rows = "".join(f'"row {number}"\n' for number in range(2000))
    (terminal.directory / "in.jsonl").write_text(rows)
    process = subprocess.Popen(
        command("map", "summarizer", "in.jsonl", "-q"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=terminal.directory,
        env=environment(terminal.variables),
    )
    assert process.stdout is not None and process.stderr is not None
    try:
        process.stdout.readline()
        process.stdout.close()
        process.wait(60)
        said = process.stderr.read().decode()
    finally:
        process.stderr.close()
        if process.poll() is None:
            process.kill()
            process.wait()
    assert process.returncode == 1
    assert "Traceback" not in said
    assert "Exception ignored" not in said


def every_command() -> list[str]:
    """Those of groups as two words."""
    names: list[str] = []
    for name in COMMANDS:
        command = root.get_command(click.Context(root), name)
        assert command is not None, name
        names += (
            [f"{name} {inner}" for inner in command.list_commands(click.Context(command))]
            if isinstance(command, click.Group)
            else [name]
        )
    return names


@pytest.mark.parametrize("name", every_command())
def test_the_documentation_shows_the_help_as_it_is(bare: Terminal, name: str) -> None:
    """`scripts/help` writes it."""
    bare.variables["COLUMNS"] = "100"
    assert f"```\n{bare.run(*name.split(), '--help').out}```" in (ROOT / "docs" / "cli.md").read_text()


def test_the_simulator_names_a_wrong_configuration(bare: Terminal) -> None:
    (bare.directory / "sim.toml").write_text("[providers.x]\nrequests_per_minutes = 5\n")
    ended = bare.run("sim", "--config", "sim.toml")
    assert ended.code == 2
    assert "requests_per_minutes" in ended.err


def test_the_demo_loses_nothing_and_ends_by_itself(bare: Terminal) -> None:
    ended = bare.run("demo", "--rows", "200", "--quiet")
    assert ended.code == 0
    assert "200 of 200 rows answered" in ended.out
    assert "lost: 0" in ended.out
    assert "the simulator counted: 200 answered, 0 refused" in ended.out
