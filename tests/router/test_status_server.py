"""What a router shows to `llmring status`: through which socket, and that nobody at it holds up the router."""

import logging
import os
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import trio

from llmring import __version__
from llmring.errors import ConfigError
from llmring.router.opening import open_router
from llmring.router.router import Router
from llmring.router.status_directory import listen, sockets
from llmring.router.status_server import CLIENT_SECONDS, MOST_CLIENTS, StatusServer, open_server
from llmring.status import ProcessStatus
from llmring.testing import ScriptedProvider, answer
from tests.router.world import lockfile

Clock = trio.testing.MockClock

LARGE = b"x" * (8 << 20)
"""More than the system keeps for a client that does not read."""


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path


@asynccontextmanager
async def shown(status: bool | Path | str | None = True) -> AsyncGenerator[Router]:
    provider = ScriptedProvider({"first": [answer("ok")]})
    async with open_router(lockfile(), connect=provider, jitter=lambda: 0.0, status=status) as router:
        yield router


async def read(path: Path) -> bytes:
    async with await trio.open_unix_socket(str(path)) as stream:
        return b"".join([bytes(piece) async for piece in stream])


async def connected(stack: AsyncExitStack, path: Path) -> trio.SocketStream:
    """A client that does nothing more, until the stack is closed."""
    return await stack.enter_async_context(await trio.open_unix_socket(str(path)))


def own(number: int = 1) -> str:
    return f"{os.getpid()}{f'-{number}' if number > 1 else ''}.sock"


async def test_whoever_connects_is_told_the_status_of_the_moment(runtime: Path, autojump_clock: Clock) -> None:
    async with shown() as router:
        for chats in range(2):
            told = msgspec.json.decode(await read(runtime / "llmring" / own()), type=ProcessStatus)
            assert (told.pid, told.version) == (os.getpid(), __version__)
            assert Path(told.lockfile) == Path.cwd() / "test.lock"
            assert told.router == router.status()
            assert sum(route.asked for route in told.router.routes) == chats
            await router.chat("alone", "a secret prompt")
        data = await read(runtime / "llmring" / own())
    assert b"secret" not in data
    assert b"key-a" not in data


async def test_the_socket_is_this_users_alone_and_goes_with_the_router(runtime: Path) -> None:
    directory = runtime / "llmring"
    async with shown():
        assert directory.stat().st_mode & 0o777 == 0o700
        assert (directory / own()).stat().st_mode & 0o777 == 0o600
        assert [path.name for path in directory.iterdir()] == [own()]
    assert list(directory.iterdir()) == []


async def test_a_second_router_of_a_process_has_a_name_of_its_own(runtime: Path) -> None:
    async with shown():
        async with shown():
            assert sockets(runtime / "llmring") == dict.fromkeys(
                [runtime / "llmring" / own(), runtime / "llmring" / own(2)], os.getpid()
            )
        assert list(sockets(runtime / "llmring")) == [runtime / "llmring" / own()]


async def test_the_socket_of_a_dead_process_with_this_id_is_replaced(runtime: Path) -> None:
    listener, path = listen(runtime / "llmring")
    listener.close()
    assert path.name == own()
    async with shown():
        assert (await read(runtime / "llmring" / own())).startswith(b"{")


@pytest.mark.parametrize(
    ("variable", "argument", "is_shown"),
    [
        (None, None, False),
        ("off", None, False),
        ("on", None, True),
        ("ON", None, True),
        ("on", False, False),
        ("off", True, True),
    ],
)
async def test_a_router_is_shown_only_where_that_is_asked_for(
    runtime: Path, monkeypatch: pytest.MonkeyPatch, variable: str | None, argument: bool | None, is_shown: bool
) -> None:
    if variable is not None:
        monkeypatch.setenv("LLMRING_STATUS", variable)
    async with shown(argument):
        assert (runtime / "llmring").exists() is is_shown


async def test_the_directory_may_be_named(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with shown(runtime / "mine"):
        assert (runtime / "mine" / own()).is_socket()
    monkeypatch.setenv("LLMRING_STATUS", str(runtime / "theirs"))
    async with shown(None):
        assert (runtime / "theirs" / own()).is_socket()
    assert not (runtime / "llmring").exists()


@pytest.mark.parametrize("path", ["onn", "./here", "a/b"])
async def test_a_relative_directory_is_refused(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    with pytest.raises(ConfigError, match="LLMRING_STATUS, must be on, off or the absolute path"):
        async with shown(path):
            pass
    monkeypatch.setenv("LLMRING_STATUS", path)
    with pytest.raises(ConfigError, match="LLMRING_STATUS, must be on, off or the absolute path"):
        async with shown(None):
            pass


async def test_a_runtime_directory_that_is_not_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "gone"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    async with shown():
        assert (tmp_path / f"llmring-{os.geteuid()}" / own()).is_socket()


def any_socket(directory: Path) -> bool:
    return any(path.is_socket() for path in directory.rglob("*"))


def foreign(tmp_path: Path) -> Path:
    """A directory of another user: the root's, or one that is given away."""
    if os.geteuid() != 0:
        return Path("/")
    directory = tmp_path / "foreign"
    directory.mkdir(mode=0o700)
    os.chown(directory, 12345, -1)
    return directory


def open_to_others(tmp_path: Path) -> Path:
    directory = tmp_path / "open"
    directory.mkdir()
    directory.chmod(0o755)
    return directory


def linked(tmp_path: Path) -> Path:
    (tmp_path / "target").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "target")
    return tmp_path / "link"


def a_file(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("")
    return tmp_path / "file"


def too_long(tmp_path: Path) -> Path:
    return tmp_path / ("x" * 120)


def nowhere(tmp_path: Path) -> Path:
    return tmp_path / "gone" / "deep"


@pytest.mark.parametrize(
    ("place", "why"),
    [
        (foreign, "belongs to another user"),
        (open_to_others, "open to other users: its mode must be 700"),
        (linked, "not a directory"),
        (a_file, "not a directory"),
        (too_long, "too long"),
        (nowhere, "No such file"),
    ],
)
async def test_where_no_private_socket_can_be_the_router_goes_on_without(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    autojump_clock: Clock,
    place: Callable[[Path], Path],
    why: str,
) -> None:
    directory = place(tmp_path)
    async with shown(directory) as router:
        assert (await router.chat("alone", "hi")).content == "ok"
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warning.startswith(f"the status is not shown: {directory}: ")
    assert why in warning
    assert not any_socket(tmp_path)


async def test_a_system_without_unix_sockets_is_one_warning(
    runtime: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(socket, "AF_UNIX")
    async with shown():
        pass
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        "the status is not shown: this system has no Unix domain sockets"
    ]


async def test_clients_that_do_not_read_are_few_and_lose_their_place(runtime: Path, autojump_clock: Clock) -> None:
    server = open_server(runtime / "llmring", lambda: LARGE)
    assert server is not None
    path = runtime / "llmring" / own()
    async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
        nursery.start_soon(server.run)
        first, *_ = [await connected(stack, path) for _ in range(MOST_CLIENTS)]
        start = trio.current_time()
        # Behind them: once the first of them is given up.
        assert len(await read(path)) == len(LARGE)
        assert trio.current_time() - start == pytest.approx(CLIENT_SECONDS, abs=0.5)
        assert len(b"".join([bytes(piece) async for piece in first])) < len(LARGE)
        nursery.cancel_scope.cancel()


async def test_clients_that_do_not_read_hold_up_no_call(runtime: Path, autojump_clock: Clock) -> None:
    async with shown() as router, AsyncExitStack() as stack:
        for _ in range(MOST_CLIENTS + 3):
            await connected(stack, runtime / "llmring" / own())
        start = trio.current_time()
        assert (await router.chat("alone", "hi")).content == "ok"
        assert trio.current_time() == start


async def test_a_document_that_cannot_be_made_costs_its_client_only(runtime: Path, autojump_clock: Clock) -> None:
    documents = iter([None, b"whole"])

    def document() -> bytes:
        made = next(documents)
        if made is None:
            raise ValueError("a mistake")
        return made

    server = open_server(runtime / "llmring", document)
    assert server is not None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.run)
        assert await read(runtime / "llmring" / own()) == b""
        assert await read(runtime / "llmring" / own()) == b"whole"
        nursery.cancel_scope.cancel()


async def test_a_listener_that_breaks_does_not_end_the_router(runtime: Path, autojump_clock: Clock) -> None:
    listener, path = listen(runtime / "llmring")
    listener.close()
    await StatusServer(listener, path, lambda: b"").run()
    assert list((runtime / "llmring").iterdir()) == []
