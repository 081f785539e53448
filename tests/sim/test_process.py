"""Starting and ending the simulator's process."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
import trio

from llmring.sim.config import ProviderConfig, SimConfig
from llmring.sim.process import SimulatorFailed, open_simulator, running_simulator

_COMMAND = [sys.executable, "-m", "llmring.sim"]
_ROOT = Path(__file__).resolve().parents[2]


def _wait_for_end(connection: socket.socket) -> None:
    """The simulator closes its connections when it ends."""
    with connection, contextlib.suppress(ConnectionResetError):
        assert connection.recv(1) == b""


def _ended(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=_ROOT, timeout=60)


def _connected(url: str) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=20)


async def test_a_trio_program_opens_a_simulator_for_a_block() -> None:
    config = SimConfig(providers={"mine": ProviderConfig(reply_tokens=3)})
    async with open_simulator(config) as simulator, httpx2.AsyncClient() as client:
        reply = await client.post(
            simulator.openai_url("mine") + "/chat/completions",
            headers={"authorization": "Bearer k"},
            json={"model": "m", "messages": [{"role": "user", "content": "hi"}]},
        )
        assert reply.json()["usage"]["completion_tokens"] == 3
    with pytest.raises(ProcessLookupError):
        os.kill(simulator.pid, 0)


async def test_cancelling_the_block_ends_the_simulator() -> None:
    opened: list[int] = []
    with trio.CancelScope() as scope:
        async with open_simulator() as simulator:
            opened.append(simulator.pid)
            scope.cancel()
            await trio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    with pytest.raises(ProcessLookupError):
        os.kill(opened[0], 0)


def test_blocking_code_runs_a_simulator_for_a_block() -> None:
    with running_simulator() as simulator:
        assert httpx2.get(f"{simulator.url}/__health").status_code == 200
    with pytest.raises(ProcessLookupError):
        os.kill(simulator.pid, 0)


async def test_a_simulator_that_cannot_start_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SimulatorFailed):
        async with open_simulator(tmp_path / "absent.toml"):
            raise AssertionError("it started")
    with pytest.raises(SimulatorFailed), running_simulator(tmp_path / "absent.toml"):
        raise AssertionError("it started")


def test_a_wrong_configuration_ends_with_code_2_and_names_the_field(tmp_path: Path) -> None:
    file = tmp_path / "sim.toml"
    file.write_text("[providers.openai]\nrequests_per_minute = -1\n")
    ended = _ended([*_COMMAND, "--config", str(file)])
    assert (ended.returncode, ended.stdout) == (2, "")
    assert f"{file}: providers.openai.requests_per_minute: " in ended.stderr


def test_an_address_in_use_ends_with_code_1() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = _ended([*_COMMAND, "--port", port])
    assert ended.returncode == 1 and port in ended.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_even_while_a_request_hangs(number: signal.Signals) -> None:
    with subprocess.Popen(_COMMAND, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=_ROOT) as process:
        assert process.stdout is not None and process.stderr is not None
        announced = json.loads(process.stdout.readline())
        assert announced["pid"] == process.pid
        connection = _connected(announced["url"])
        body = b'{"model":"fault-hang","messages":[{"role":"user","content":"x"}]}'
        connection.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer k\r\n"
            b"content-length: %d\r\n\r\n%b" % (len(body), body)
        )
        process.send_signal(number)
        _wait_for_end(connection)
        assert process.wait(30) == 0
        assert (process.stdout.read(), process.stderr.read()) == (b"", b"")


def test_it_ends_with_its_standard_input_when_told_to_watch_it() -> None:
    command = [*_COMMAND, "--watch-stdin"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=_ROOT) as process:
        assert process.stdin is not None and process.stdout is not None
        assert "url" in json.loads(process.stdout.readline())
        process.stdin.close()
        assert process.wait(30) == 0


def test_it_never_outlives_a_killed_parent() -> None:
    parent = (
        "import os, signal\n"
        "from llmring.sim.process import running_simulator\n"
        "with running_simulator() as simulator:\n"
        "    print(simulator.url, flush=True)\n"
        "    input()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    command = [sys.executable, "-c", parent]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=_ROOT) as process:
        assert process.stdin is not None and process.stdout is not None
        url = process.stdout.readline().decode().strip()
        connection = _connected(url)
        process.stdin.write(b"\n")
        process.stdin.flush()
        _wait_for_end(connection)
        assert process.wait(30) == -signal.SIGKILL


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("llmring.sim.process", ("asyncio", "aiolimiter", "uvicorn")),
        ("llmring.sim.server", ("llmring.router", "llmring.providers", "llmring.chat", "trio", "httpx2")),
    ],
)
def test_the_simulator_stands_apart(module: str, absent: tuple[str, ...]) -> None:
    program = f"import sys, {module}; print([name for name in {absent!r} if name in sys.modules])"
    ended = _ended([sys.executable, "-c", program])
    assert ended.stdout == "[]\n", ended.stderr
