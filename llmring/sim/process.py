"""Runs a simulator as a process of its own for as long as a `with` block lasts, from trio or from blocking
code.

The child gets a pipe as its standard input and ends when that pipe does, so it never outlives a killed
parent. It is ended by its process id. Needs trio and the standard library only; imports nothing of asyncio.
"""

import json
import selectors
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO

import msgspec
import trio

from llmring.sim.config import SimConfig

_END_SECONDS = 5.0


class Simulator(msgspec.Struct, frozen=True, kw_only=True):
    """A simulator that listens."""

    url: str
    pid: int

    def openai_url(self, provider: str = "default") -> str:
        """The base URL an OpenAI client wants for this provider."""
        return f"{self.url}/{provider}/v1"

    def anthropic_url(self, provider: str = "default") -> str:
        """The base URL an Anthropic client wants for this provider."""
        return f"{self.url}/{provider}"

    def google_url(self, provider: str = "default") -> str:
        """The base URL a Gemini client wants for this provider; the client adds the version."""
        return f"{self.url}/{provider}"

    def ollama_url(self, provider: str = "default") -> str:
        """The host an Ollama client wants for this provider."""
        return f"{self.url}/{provider}"


class SimulatorFailed(Exception):
    """The process ended, or stayed silent, before it listened. What it had to say went to standard error."""


@asynccontextmanager
async def open_simulator(
    config: SimConfig | Path | None = None, *, start_seconds: float = 20.0
) -> AsyncIterator[Simulator]:
    """Start a simulator, wait until it listens, end it with the block. A path names a TOML or JSON file."""
    with _command(config) as command:
        process = await trio.lowlevel.open_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            yield _parsed(await _announcement(process, start_seconds))
        finally:
            with trio.CancelScope(shield=True):
                await _end(process)


async def _announcement(process: trio.Process, seconds: float) -> bytes:
    line = b""
    assert process.stdout is not None  # it was asked for
    with trio.move_on_after(seconds):
        while not line.endswith(b"\n"):
            part = await process.stdout.receive_some()
            if not part:
                break
            line += part
    return line


async def _end(process: trio.Process) -> None:
    process.terminate()
    with trio.move_on_after(_END_SECONDS) as patience:
        await process.wait()
    if patience.cancelled_caught:
        process.kill()
        await process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            await pipe.aclose()


@contextmanager
def running_simulator(config: SimConfig | Path | None = None, *, start_seconds: float = 20.0) -> Iterator[Simulator]:
    """As open_simulator, for blocking code. Must not be used inside an event loop: it blocks the thread."""
    with _command(config) as command:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            assert process.stdout is not None  # it was asked for
            yield _parsed(_first_line(process.stdout, start_seconds))
        finally:
            _end_blocking(process)


def _first_line(stdout: IO[bytes], seconds: float) -> bytes:
    with selectors.DefaultSelector() as selector:
        selector.register(stdout, selectors.EVENT_READ)
        # The line is short and written at once, so that something to read is the line.
        return stdout.readline() if selector.select(seconds) else b""


def _end_blocking(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def _parsed(line: bytes) -> Simulator:
    try:
        announced = json.loads(line)
    except ValueError:
        raise SimulatorFailed("the simulator did not start; its own messages are on standard error") from None
    return msgspec.convert(announced, Simulator)


@contextmanager
def _command(config: SimConfig | Path | None) -> Iterator[list[str]]:
    """The command line, and the file it names, which exists as long as the block."""
    command = [sys.executable, "-m", "llmring.sim", "--watch-stdin"]
    if config is None:
        yield command
    elif isinstance(config, Path):
        yield [*command, "--config", str(config)]
    else:
        with tempfile.TemporaryDirectory(prefix="llmring-sim-") as folder:
            file = Path(folder, "config.json")
            file.write_bytes(msgspec.json.encode(config))
            yield [*command, "--config", str(file)]
