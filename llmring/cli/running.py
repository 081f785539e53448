"""From a click command into trio and back: one exception comes out, with the exit code it stands for."""

import os
import sys
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import click
import trio

from llmring.config import BUNDLED_LOCKFILE, find_lockfile, read_settings
from llmring.errors import ConfigError, LLMRingError
from llmring.lockfile import Lockfile, read_lockfile
from llmring.refs import is_model_ref

Result = TypeVar("Result")


class Failed(click.ClickException):
    """An error of ours as the user sees it: one line, no traceback."""

    def __init__(self, error: LLMRingError) -> None:
        super().__init__(str(error))
        self.error = error

    @property
    def code(self) -> int:
        """2 where the setup is wrong and nothing was sent, else 1."""
        return 2 if isinstance(self.error, ConfigError) else 1


@contextmanager
def failing_cleanly() -> Generator[None]:
    """Raises Failed for our errors, of what is done before trio runs and after."""
    try:
        yield
    except LLMRingError as error:
        raise Failed(error) from error


def run_trio(work: Callable[[], Awaitable[Result]]) -> Result:
    """Run `work`. Raises Failed for our errors, and what stands alone in a group as itself (Ctrl-C above all)."""
    try:
        return trio.run(work)
    except LLMRingError as error:
        raise Failed(error) from error
    except BaseExceptionGroup as group:
        alone = single(group)
        if isinstance(alone, LLMRingError):
            raise Failed(alone) from group
        raise alone from group


def single(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What a group stands for: Ctrl-C if that is in it, else its only member, else the group itself."""
    interrupts, _ = group.split(KeyboardInterrupt)
    if interrupts is not None:
        return KeyboardInterrupt()
    first, *others = group.exceptions
    if others:
        return group
    return single(first) if isinstance(first, BaseExceptionGroup) else first


def open_lockfile(argument: str | None) -> Lockfile:
    """The lockfile that the command line, the environment and this directory lead to. Raises ConfigError."""
    return read_lockfile(find_lockfile(argument, read_settings(), Path.cwd()))


def check_is_ours(lockfile: Lockfile, model: str) -> None:
    """Say that there is no lockfile, where only the bundled one was found and does not bind `model`."""
    if lockfile.path != BUNDLED_LOCKFILE or is_model_ref(model):
        return
    if any(model in profile.bindings for profile in lockfile.profiles.values()):
        return
    raise ConfigError(
        f"no lockfile to find {model!r} in: there is no ./llmring.lock, and neither --lockfile nor "
        "LLMRING_LOCKFILE_PATH names one. Make one with `llmring lock init`, or name a model outright: "
        "openai:gpt-4o-mini"
    )


def note(text: str) -> None:
    """Say something that is not the answer. Nobody left to hear it is no reason to end what is paid for."""
    try:
        click.echo(text, err=True)
    except OSError:
        # What stands in the buffer would fail once more at exit, as exit code 120.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def stderr_is_terminal() -> bool:
    return sys.stderr.isatty()
