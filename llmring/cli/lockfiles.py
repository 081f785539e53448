"""What the commands about lockfiles share: which file, which profile, how it is said, in text and in JSON."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click

from llmring.cli.running import Failed
from llmring.config import BUNDLED_LOCKFILE, LOCKFILE_NAME, Located, locate_lockfile, read_settings
from llmring.errors import LLMRingError, LockfileMissing
from llmring.lockfile import Lockfile, read_lockfile

Given = ParamSpec("Given")
Result = TypeVar("Result")

file_option = click.option(
    "-f",
    "--file",
    "--lockfile",
    "file",
    metavar="FILE",
    help="The lockfile. Default: LLMRING_LOCKFILE_PATH, then ./llmring.lock.",
)
profile_option = click.option("--profile", help="Default: LLMRING_PROFILE, then the lockfile's.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def failing(work: Callable[Given, Result], *args: Given.args, **kwargs: Given.kwargs) -> Result:
    """Do `work`; an error of ours becomes one line and its exit code."""
    try:
        return work(*args, **kwargs)
    except LLMRingError as error:
        raise Failed(error) from error


def open_own(argument: str | None) -> tuple[Lockfile, Located]:
    """The lockfile of this project and what led to it. Raises ConfigError where there is only the bundled one."""
    located = locate_lockfile(argument, read_settings(), Path.cwd())
    if located.path == BUNDLED_LOCKFILE:
        raise LockfileMissing(
            Path.cwd() / LOCKFILE_NAME, "no such file: create one with `llmring lock init`, or name one with --file"
        )
    return read_lockfile(located.path), located


def chosen_profile(given: str | None, lockfile: Lockfile) -> tuple[str, str]:
    """The profile that is meant, and who said so."""
    if given is not None:
        return given, "--profile"
    from_environment = read_settings().profile
    if from_environment is not None:
        return from_environment, "LLMRING_PROFILE"
    return lockfile.default_profile, "default_profile"


def today() -> date:
    return datetime.now(UTC).date()


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def shown_chain(models: Sequence[object]) -> str:
    """`first (+ 2 fallbacks)`."""
    first, *others = models
    if not others:
        return str(first)
    return f"{first} (+ {len(others)} fallback{'s' if len(others) > 1 else ''})"
