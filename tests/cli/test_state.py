"""What one command has learned, the next one knows: as a user sees it, over real sockets."""

import json
from pathlib import Path

import pytest

from tests.cli.terminal import KEY, Terminal


@pytest.mark.parametrize("variable", ["LLMRING_STATE", "XDG_STATE_HOME", "HOME"])
def test_what_was_learned_is_kept_where_the_environment_says(terminal: Terminal, variable: str) -> None:
    home = terminal.directory / "home"
    terminal.variables[variable] = str(home)
    inside = {"LLMRING_STATE": ".", "XDG_STATE_HOME": "llmring", "HOME": ".local/state/llmring"}[variable]
    for _ in range(2):
        assert terminal.run("chat", "the prompt canary", "--model", "summarizer").code == 0
    text = (home / inside / "limits.json").read_text()
    (entry,) = json.loads(text)["entries"]
    assert entry["provider"] == "openai" and entry["memory"]["output"]["count"] == 2
    assert KEY not in text and "canary" not in text


def test_off_keeps_nothing(terminal: Terminal) -> None:
    terminal.variables |= {"HOME": str(terminal.directory / "home"), "LLMRING_STATE": "off"}
    assert terminal.run("chat", "hello", "--model", "summarizer").code == 0
    assert not Path(terminal.variables["HOME"]).exists()


def test_a_damaged_file_does_not_hinder_a_command(terminal: Terminal) -> None:
    (terminal.directory / "limits.json").write_text("{")
    terminal.variables["LLMRING_STATE"] = str(terminal.directory)
    assert terminal.run("chat", "hello", "--model", "summarizer").code == 0
    assert json.loads((terminal.directory / "limits.json").read_text())["entries"]
