"""Running the command line as a user does: a process, a directory and a clean environment of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

KEY = "sim-secret-key"

LOCKFILE = """
[[profiles.default.bindings]]
alias = "summarizer"
models = ["openai:gpt-4o-mini", "anthropic:claude-haiku-4-5"]

[[profiles.default.bindings]]
alias = "broken"
models = ["openai:fault-status_500"]

[providers.openai]
base_url = "{url}/openai/v1"
api_key_env = "SIM_KEY"

[providers.anthropic]
base_url = "{url}/anthropic"
api_key_env = "SIM_KEY"
"""


class Ended(msgspec.Struct, frozen=True):
    """How a command ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)

    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "llmring", *arguments]


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """No key and no setting of whoever runs the tests."""
    kept = {
        name: os.environ[name] for name in ("PATH", "PYTHONPATH", "SYSTEMROOT", "XDG_RUNTIME_DIR") if name in os.environ
    }
    kept |= {"LLMRING_REGISTRY_REFRESH": "off", "LLMRING_RECEIPTS": "off"}
    return {**kept, "PYTHONPATH": str(Path(__file__).parents[2]), **more}


class Terminal:
    """A directory with, maybe, a lockfile that leads to a simulator."""

    def __init__(self, directory: Path, url: str | None = None) -> None:
        self.directory = directory
        self.variables = {"SIM_KEY": KEY}
        if url is not None:
            (directory / "llmring.lock").write_text(LOCKFILE.format(url=url))

    def run(self, *arguments: str, stdin: str | bytes = "") -> Ended:
        data = stdin.encode() if isinstance(stdin, str) else stdin
        done = subprocess.run(
            command(*arguments),
            input=data,
            capture_output=True,
            cwd=self.directory,
            env=environment(self.variables),
            timeout=60,
            check=False,
        )
        ended = Ended(done.returncode, done.stdout.decode(), done.stderr.decode())
        assert "Traceback" not in ended.err, ended.err
        assert KEY not in ended.out + ended.err
        return ended
