"""Telemetry of the command line: over OTLP to a receiver that decodes the official protobuf, and into a file."""

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from llmring.sim.process import Simulator
from tests.cli.collector import Collector, collector, plain
from tests.cli.terminal import KEY, Terminal, command, environment

CANARY = "canary-of-the-prompt"

FAILING = """
[[profiles.default.bindings]]
alias = "failing"
models = ["openai:fault-status_500", "anthropic:claude-haiku-4-5"]

[[profiles.default.bindings]]
alias = "hanging"
models = ["openai:traced+hang"]
"""


@pytest.fixture
def otlp(terminal: Terminal) -> Iterator[Collector]:
    """A collector that the terminal's environment names."""
    lockfile = terminal.directory / "llmring.lock"
    lockfile.write_text(FAILING + lockfile.read_text())
    with collector() as found:
        terminal.variables["OTEL_EXPORTER_OTLP_ENDPOINT"] = found.url
        yield found


def _stats(simulator: Simulator) -> str:
    with urllib.request.urlopen(f"{simulator.url}/__stats") as reply:
        text: bytes = reply.read()
        return text.decode()


def spans_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_failover_arrives_as_a_call_with_two_attempts(terminal: Terminal, otlp: Collector) -> None:
    ended = terminal.run("chat", CANARY, "-m", "failing")
    assert (ended.code, ended.err) == (0, "")
    (call,) = otlp.named("llmring.chat failing")
    assert (call.kind, call.parent_span_id) == (Span.SPAN_KIND_INTERNAL, b"")
    attempts = sorted(otlp.below(call), key=lambda span: span.start_time_unix_nano)
    assert [one.name for one in attempts] == ["chat fault-status_500", "chat claude-haiku-4-5"]
    assert [one.kind for one in attempts] == [Span.SPAN_KIND_CLIENT] * 2
    assert [one.status.code for one in attempts] == [Status.STATUS_CODE_ERROR, Status.STATUS_CODE_UNSET]
    assert [one.status.message for one in attempts] == ["", ""]
    failed, answered = (plain(one.attributes) for one in attempts)
    assert (failed["error.type"], failed["http.response.status_code"]) == ("ServerFault", 500)
    assert answered["gen_ai.provider.name"] == "anthropic"
    assert answered["gen_ai.usage.input_tokens"] > 0
    assert plain(call.attributes)["llmring.cost_usd"] > 0
    assert set(otlp.scopes) == {("llmring", "https://opentelemetry.io/schemas/1.41.1")}
    assert {resource["service.name"] for resource in otlp.resources} == {"llmring"}
    assert {"gen_ai.client.operation.duration", "gen_ai.client.token.usage", "llmring.failovers"} <= otlp.metrics


def test_a_stream_arrives_with_the_time_of_its_first_text(terminal: Terminal, otlp: Collector) -> None:
    assert terminal.run("chat", CANARY, "-m", "summarizer", "--stream").code == 0
    (call,) = otlp.named("llmring.stream summarizer")
    (attempt,) = otlp.below(call)
    found = plain(attempt.attributes)
    assert found["gen_ai.request.stream"] is True
    seconds = (attempt.end_time_unix_nano - attempt.start_time_unix_nano) / 1e9
    assert 0 < found["gen_ai.response.time_to_first_chunk"] <= seconds
    assert "gen_ai.client.operation.time_to_first_chunk" in otlp.metrics


def test_the_rows_of_a_map_arrive_as_traces_with_a_link_to_it(terminal: Terminal, otlp: Collector) -> None:
    rows = "\n".join(json.dumps(f"{CANARY} {number}") for number in range(20))
    assert terminal.run("map", "summarizer", "-", stdin=rows).code == 0
    (run,) = otlp.named("llmring.map summarizer")
    found = otlp.named("llmring.map_row summarizer")
    assert plain(run.attributes)["llmring.map.answered"] == len(found) == 20
    assert len({row.trace_id for row in found} | {run.trace_id}) == 21
    assert all([link.span_id for link in row.links] == [run.span_id] for row in found)
    assert all(len(otlp.below(row)) == 1 for row in found)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_what_ctrl_c_cuts_off_arrives_too(terminal: Terminal, otlp: Collector, simulator: Simulator) -> None:
    trace = terminal.directory / "spans.jsonl"
    running = subprocess.Popen(
        command("chat", CANARY, "-m", "hanging", "--trace", str(trace)),
        cwd=terminal.directory,
        env=environment(terminal.variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    while "traced+hang" not in _stats(simulator):
        assert running.poll() is None
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=30)
    assert running.returncode == 130
    (call,) = otlp.named("llmring.chat hanging")
    (attempt,) = otlp.below(call)
    assert plain(call.attributes)["error.type"] == plain(attempt.attributes)["error.type"] == "KeyboardInterrupt"
    assert {span["name"] for span in spans_of(trace)} == {"llmring.chat hanging", "chat traced+hang"}


@pytest.mark.parametrize(
    "variable", [None, "LLMRING_TRACE_CONTENT", "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"]
)
def test_no_byte_that_leaves_holds_the_key_nor_unasked_the_prompt(
    terminal: Terminal, otlp: Collector, variable: str | None
) -> None:
    if variable is not None:
        terminal.variables[variable] = "true"
    trace = terminal.directory / "spans.jsonl"
    rows = json.dumps(CANARY)
    for alias in ("summarizer", "failing", "broken"):
        terminal.run("chat", CANARY, "-m", alias, "-s", "canary-of-the-system", "--trace", str(trace))
        terminal.run("chat", CANARY, "-m", alias, "--stream", "--trace", str(trace))
        terminal.run("map", alias, "-", "--trace", str(trace), stdin=rows)
    sent = b"".join([*otlp.bodies, trace.read_bytes()])
    assert len(otlp.spans) > 12
    assert KEY.encode() not in sent
    assert (CANARY.encode() in sent) is (variable is not None)
    assert (b"canary-of-the-system" in sent) is (variable is not None)


def test_a_traced_command_writes_a_line_for_every_span(terminal: Terminal) -> None:
    trace = terminal.directory / "spans.jsonl"
    assert terminal.run("chat", "hi", "-m", "summarizer", "--trace", str(trace)).code == 0
    attempt, call = spans_of(trace)
    assert (attempt["kind"], call["kind"]) == ("client", "internal")
    assert (attempt["trace_id"], attempt["parent_id"]) == (call["trace_id"], call["span_id"])
    assert call["attributes"]["llmring.decisions"][0].endswith("go openai:gpt-4o-mini: answered")
    assert 0 < attempt["seconds"] <= call["seconds"]
    assert terminal.run("chat", "hi", "-m", "summarizer", "--trace", str(trace)).code == 0
    assert len(spans_of(trace)) == 4


def test_a_trace_that_cannot_be_written_ends_with_2_before_anything_is_sent(terminal: Terminal) -> None:
    ended = terminal.run("chat", "hi", "-m", "summarizer", "--trace", str(terminal.directory))
    assert (ended.code, ended.out) == (2, "")
    assert "--trace" in ended.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is full")
def test_a_full_disk_costs_the_trace_and_not_the_answer(terminal: Terminal) -> None:
    ended = terminal.run("chat", "hi", "-m", "summarizer", "--trace", "/dev/full")
    assert (ended.code, ended.out[:8]) == (0, "echo: hi")
    assert ended.err.count("no space left") == 1


def test_a_sdk_that_is_switched_off_cannot_trace(terminal: Terminal) -> None:
    terminal.variables["OTEL_SDK_DISABLED"] = "true"
    ended = terminal.run("map", "summarizer", "-", "--trace", "spans.jsonl", stdin='"hi"')
    assert ended.code == 2
    assert "OTEL_SDK_DISABLED" in ended.err


@pytest.mark.parametrize("traced", [False, True])
def test_without_the_extra_only_a_trace_that_is_asked_for_is_refused(terminal: Terminal, traced: bool) -> None:
    (terminal.directory / "sitecustomize.py").write_text("import sys\nsys.modules['opentelemetry.sdk'] = None\n")
    terminal.variables["PYTHONPATH"] = f"{terminal.directory}:{environment({})['PYTHONPATH']}"
    terminal.variables["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://127.0.0.1:9"
    ended = terminal.run("chat", "hi", "-m", "summarizer", *(["--trace", "spans.jsonl"] if traced else []))
    if traced:
        assert (ended.code, ended.out) == (2, "")
        assert "pip install 'llmring[otel]'" in ended.err
    else:
        assert (ended.code, ended.err) == (0, "")


def test_another_protocol_is_said_to_be_unspoken(terminal: Terminal, otlp: Collector) -> None:
    terminal.variables["OTEL_EXPORTER_OTLP_PROTOCOL"] = "grpc"
    ended = terminal.run("chat", "hi", "-m", "summarizer")
    assert ended.code == 0
    assert "not as grpc" in ended.err
    assert otlp.bodies == []


def test_a_collector_that_does_not_answer_costs_seconds_not_the_answer(terminal: Terminal) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        terminal.variables["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        ended = terminal.run("chat", "hi", "-m", "summarizer")
        assert ended.code == 0
        assert ended.out.startswith("echo: hi")
        assert time.monotonic() - began < 20.0
