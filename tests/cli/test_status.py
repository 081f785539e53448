"""`llmring status` as a user types it, against processes that run routers and against sockets that lie."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from llmring import __version__
from llmring.cli.status import remarks, rows
from llmring.refs import ModelRef
from llmring.status import LimitStatus, ProcessStatus, ReceiptsStatus, RouterStatus, RouteStatus
from tests.cli.terminal import KEY, Terminal, command, environment

PROGRAM = """
import sys
from pathlib import Path
import trio
from llmring import open_router
from llmring.lockfile import parse_lockfile
from llmring.testing import ScriptedProvider, answer, status

LOCKFILE = '''
[[profiles.default.bindings]]
alias = "chain"
models = ["openai:first", "anthropic:second"]
[providers.openai]
requests_per_minute = 60
'''

async def main():
    script = {"first": [status(429, retry_after=600)], "second": [answer("ok", after=0.01)]}
    keys = {"OPENAI_API_KEY": "sim-secret-key", "ANTHROPIC_API_KEY": "sim-secret-key"}
    lockfile = parse_lockfile(LOCKFILE, Path("/project/llmring.lock"))
    connect = ScriptedProvider(script)
    async with open_router(lockfile, connect=connect, keys=keys, jitter=lambda: 0.0) as router:
        await router.chat("chain", "hello")
        print("asked", flush=True)
        await trio.to_thread.run_sync(sys.stdin.readline)

trio.run(main)
"""

NONE = (
    "no running process shows its router: open it with open_router(status=True), or start the process with "
    "LLMRING_STATUS=on"
)


@pytest.fixture(autouse=True)
def directory(bare: Terminal) -> Path:
    """Where the sockets are; not there yet."""
    bare.variables["XDG_RUNTIME_DIR"] = str(bare.directory)
    return bare.directory / "llmring"


@contextmanager
def program(terminal: Terminal, status: str = "on") -> Generator[subprocess.Popen[bytes]]:
    """A process with a router, which has been asked once and waits."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=terminal.directory,
        env=environment({**terminal.variables, "LLMRING_STATUS": status}),
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"asked\n"
            yield process
            process.communicate(b"\n", timeout=60)
        finally:
            process.kill()


def test_a_running_process_is_shown_with_all_its_models(bare: Terminal) -> None:
    with program(bare) as process:
        ended = bare.run("status")
    assert (ended.code, ended.err) == (0, "")
    head, heads, first, second = ended.out.splitlines()
    assert head.startswith(f"-c (process {process.pid}), for 0:")
    assert head.endswith(f", /project/llmring.lock, llmring {__version__}")
    assert heads.split("  ")[0] == "model"
    assert "anthropic:second  ready " in first
    assert "0 (0/64)" in first
    assert "openai:first      busy 59" in second
    assert "s: requests limit" in second
    assert re.search(r"requests \d+/60 a minute, shared, held 59", second)


def test_each_key_has_a_row_with_the_name_of_its_variable_and_groups_are_named() -> None:
    def route(key: str | None) -> RouteStatus:
        limits = [
            LimitStatus(dimension="requests", amount=60.0, level=12.5, period_seconds=60.0, group="large"),
            LimitStatus(dimension="tokens", amount=9e3, level=9e3, period_seconds=60.0, shared=True),
        ]
        return RouteStatus(
            model=ModelRef("openai", "first"),
            key=key,
            readiness="ready",
            why="",
            wait_seconds=0.0,
            breaker="closed",
            limits=tuple(limits),
            in_line=0,
            in_flight=0,
            connections=0,
            most_connections=64,
            expected_output_tokens=0.0,
            seconds=None,
        )

    told = rows([route("KEY_A"), route("KEY_B"), route(None)])
    assert [row[0] for row in told if row[0]] == ["openai:first (KEY_A)", "openai:first (KEY_B)", "openai:first"]
    assert [row[3] for row in told[:2]] == [
        "requests 12/60 a minute, group large",
        "tokens 9,000/9,000 a minute, shared",
    ]


def test_json_has_every_value(bare: Terminal) -> None:
    with program(bare) as process:
        told = bare.run("status", "--json").json()
    assert told["problems"] == []
    (one,) = told["processes"]
    assert set(one) == {"pid", "program", "version", "started_at", "lockfile", "router"}
    assert (one["pid"], one["version"], one["lockfile"]) == (process.pid, __version__, "/project/llmring.lock")
    routes = {route["model"]["provider"]: route for route in one["router"]["routes"]}
    assert routes["openai"]["readiness"] == "busy"
    assert 590 < routes["openai"]["wait_seconds"] <= 600
    (limit,) = routes["openai"]["limits"]
    assert (limit["dimension"], limit["amount"], limit["shared"]) == ("requests", 60.0, True)


def test_several_processes_are_all_shown_or_the_one_that_is_named(bare: Terminal) -> None:
    with program(bare) as one, program(bare) as other, program(bare, "off") as hidden:
        both = bare.run("status").out
        assert f"(process {one.pid})" in both
        assert f"\n\n-c (process {max(one.pid, other.pid)})" in both
        assert f"(process {hidden.pid})" not in both
        named = bare.run("status", "--pid", str(other.pid)).out
        assert f"(process {other.pid})" in named
        assert f"(process {one.pid})" not in named
        gone = bare.run("status", "--pid", str(hidden.pid))
    assert gone.code == 1
    assert f"there is no process {hidden.pid} that shows its router" in gone.err


def test_nobody_to_show_is_an_error_that_says_how_a_process_allows_it(bare: Terminal) -> None:
    ended = bare.run("status")
    assert (ended.code, ended.out, ended.err) == (1, "", f"Error: {NONE}\n")
    ended = bare.run("status", "--json")
    assert (ended.code, ended.json()["error"]) == (1, {"type": "LLMRingError", "message": NONE})


def test_what_a_killed_process_left_behind_is_removed(bare: Terminal, directory: Path) -> None:
    with program(bare) as living, program(bare) as killed:
        killed.kill()
        killed.wait(60)
        assert len(list(directory.iterdir())) == 2
        ended = bare.run("status")
        assert [path.name for path in directory.iterdir()] == [f"{living.pid}.sock"]
        assert f"(process {killed.pid})" not in ended.out
        assert (ended.code, ended.err) == (0, "")
    assert list(directory.iterdir()) == []


def test_the_directory_that_the_variable_names_is_looked_at(bare: Terminal) -> None:
    elsewhere = str(bare.directory / "elsewhere")
    with program(bare, elsewhere) as process:
        assert bare.run("status").code == 1
        bare.variables["LLMRING_STATUS"] = elsewhere
        assert f"(process {process.pid})" in bare.run("status").out
    bare.variables["LLMRING_STATUS"] = "onn"
    ended = bare.run("status")
    assert ended.code == 2
    assert "must be on, off or the absolute path of a directory, not 'onn'" in ended.err


def test_a_directory_that_others_may_enter_is_not_trusted(bare: Terminal, directory: Path) -> None:
    directory.mkdir()
    directory.chmod(0o755)
    ended = bare.run("status", "--json")
    assert ended.code == 1
    assert ended.err == f"Error: {directory}: open to other users: its mode must be 700\n"
    assert ended.json()["error"]["message"] == f"{directory}: open to other users: its mode must be 700"


def test_watching_shows_it_again_until_ctrl_c(bare: Terminal) -> None:
    with (
        program(bare) as process,
        subprocess.Popen(
            command("status", "--watch", "0.1", "--json"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=bare.directory,
            env=environment(bare.variables),
        ) as watching,
    ):
        assert watching.stdout is not None and watching.stderr is not None
        try:
            for _ in range(3):
                (one,) = json.loads(watching.stdout.readline())["processes"]
                assert one["pid"] == process.pid
            watching.send_signal(signal.SIGINT)
            assert watching.wait(60) == 0
            assert watching.stderr.read() == b""
        finally:
            watching.kill()


def test_watching_goes_on_while_there_is_nobody(bare: Terminal) -> None:
    with subprocess.Popen(
        command("status", "--watch", "0.1"),
        stdout=subprocess.PIPE,
        cwd=bare.directory,
        env=environment(bare.variables),
    ) as watching:
        assert watching.stdout is not None
        try:
            assert [watching.stdout.readline().decode() for _ in range(2)] == [f"{NONE}\n"] * 2
        finally:
            watching.kill()


# Sockets that lie.


@pytest.fixture
def liar(directory: Path) -> Iterator[Any]:
    """Says to one client what it is given; with None nothing, for ever."""
    directory.mkdir(mode=0o700)
    sockets: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def say(pid: int, data: bytes | None) -> None:
        listener = socket.socket(socket.AF_UNIX)
        sockets.append(listener)
        listener.bind(str(directory / f"{pid}.sock"))
        listener.listen()

        def serve() -> None:
            client, _ = listener.accept()
            with client:
                client.sendall(data or b"")

        if data is not None:
            threads.append(threading.Thread(target=serve))
            threads[-1].start()

    yield say
    for thread in threads:
        thread.join(60)
    for one in sockets:
        one.close()


HOSTILE = "\x1b]0;owned\x07\x9b2J\x7f\u202e"


def document(text: str) -> bytes:
    """What an honest process says, but for its strings."""
    route: dict[str, Any] = {
        "model": {"provider": text, "model": text},
        "readiness": "shut",
        "why": text,
        "wait_seconds": None,
        "breaker": "open",
        "limits": [],
        "in_line": 3,
        "in_flight": 2,
        "connections": 5,
        "most_connections": 8,
        "expected_output_tokens": 1.0,
        "seconds": 1.5,
    }
    router = {"routes": [route], "lockfile_error": text, "registry": {text: 1}}
    names = {"program": text, "version": text, "lockfile": text, "started_at": "2026-01-01T00:00:00Z"}
    return json.dumps({"pid": 7, "router": router, **names}).encode()


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_nothing_that_a_terminal_obeys_comes_through(bare: Terminal, liar: Any, options: list[str]) -> None:
    liar(7, document(HOSTILE))
    ended = bare.run("status", *options)
    assert (ended.code, ended.err) == (0, "")
    assert not set(HOSTILE) & set(ended.out) - set("0;owned]2J")
    assert "owned" in ended.out


@pytest.mark.parametrize(
    "data",
    [
        b"not json",
        b"{}",
        b"\xff\xfe",
        b"[" * 100_000,
        document("x").replace(b'"shut"', b'"' + json.dumps(HOSTILE).encode()[1:-1] + b'"'),
        document("x").replace(b"00Z", b"00"),
    ],
    ids=["no json", "empty", "no text", "deep", "no word of ours", "a time of nowhere"],
)
def test_what_cannot_be_read_is_said_and_the_others_are_shown(bare: Terminal, liar: Any, data: bytes) -> None:
    liar(7, data)
    liar(8, document("honest").replace(b'"pid": 7', b'"pid": 8'))
    ended = bare.run("status")
    assert (ended.code, ended.out.startswith("honest (process 8)")) == (0, True)
    assert ended.err.startswith("process 7 says what cannot be read")
    assert ended.err.isascii()
    assert ended.err[:-1].isprintable()


def test_a_process_that_does_not_answer_holds_up_nobody_for_long(bare: Terminal, liar: Any) -> None:
    liar(7, None)
    ended = bare.run("status")
    assert (ended.code, ended.err) == (1, "Error: process 7 does not answer\n")


def test_an_answer_without_end_is_cut_off(bare: Terminal, directory: Path) -> None:
    directory.mkdir(mode=0o700)

    def pour(listener: socket.socket) -> None:
        client, _ = listener.accept()
        with client:
            try:
                while True:
                    client.sendall(b" " * (1 << 20))
            except OSError:
                pass

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(directory / "7.sock"))
        listener.listen()
        thread = threading.Thread(target=pour, args=(listener,))
        thread.start()
        ended = bare.run("status")
        thread.join(60)
    assert ended.code == 1
    assert ended.err.startswith("Error: process 7 says what cannot be read")


# `llmring map`


def mapping(terminal: Terminal) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        command("map", "summarizer", "-", "-q"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=terminal.directory,
        env=environment(terminal.variables),
    )
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(b'"one"\n')
    process.stdin.flush()
    assert b"echo: one" in process.stdout.readline()
    return process


@pytest.mark.parametrize(("variable", "is_shown"), [("", True), ("on", True), ("off", False)])
def test_a_map_is_shown_unless_the_variable_forbids_it(terminal: Terminal, variable: str, is_shown: bool) -> None:
    terminal.variables |= {"XDG_RUNTIME_DIR": str(terminal.directory), "LLMRING_STATUS": variable}
    with mapping(terminal) as process:
        ended = terminal.run("status", "--pid", str(process.pid))
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(60) == 0
    assert ended.code == (0 if is_shown else 1)
    if is_shown:
        assert ended.out.startswith(f"llmring (process {process.pid}), for 0:")
        assert re.search(r"^openai:gpt-4o-mini +ready ", ended.out, re.MULTILINE)
        assert KEY not in ended.out
    assert not list((terminal.directory / "llmring").glob("*"))
    assert os.path.exists(terminal.directory / "llmring") is is_shown


def test_receipts_that_are_missing_are_told() -> None:
    def told(receipts: ReceiptsStatus | None) -> list[str]:
        return remarks(
            ProcessStatus(
                pid=1,
                program="program",
                version="1",
                started_at=datetime.now(UTC),
                lockfile="llmring.lock",
                router=RouterStatus(routes=(), lockfile_error=None, registry={}, receipts=receipts),
            )
        )

    nothing = told(None)
    assert told(ReceiptsStatus(waiting=7, missing=0, why="")) == nothing
    assert told(ReceiptsStatus(waiting=16384, missing=1200, why="the ledger x: full")) == [
        "receipts cannot be written: 16,384 are kept until they can, 1,200 attempts have none: the ledger x: full",
        *nothing,
    ]


@pytest.mark.parametrize("seconds", ["nan", "inf", "0"])
def test_watching_takes_seconds_that_end(bare: Terminal, seconds: str) -> None:
    ended = bare.run("status", "--watch", seconds)
    assert (ended.code, ended.out, "'--watch'" in ended.err) == (2, "", True)
