"""Spans and metrics of calls on virtual time, as a program with an SDK gets them."""

import json
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes as official
from opentelemetry.semconv._incubating.metrics import gen_ai_metrics as official_metrics
from opentelemetry.semconv.attributes import error_attributes, http_attributes, server_attributes
from opentelemetry.semconv.schemas import Schemas
from opentelemetry.trace import SpanKind, StatusCode

from llmring.chat import Message, Tool, ToolCall
from llmring.codecs.codec import HttpCall
from llmring.errors import AllModelsFailed, RouterClosed, StreamBroken
from llmring.providers.transport import Connection, Reply
from llmring.router.streaming import ChatStream
from llmring.telemetry import semconv
from llmring.testing import ScriptedProvider, Step, answer, cut, hang, no_connection, status
from tests.router.observed import attributes, is_child, observed, watched
from tests.router.test_map_batches import ALONE, MODEL, BatchProvider, Said
from tests.router.world import CHAIN

Clock = trio.testing.MockClock

LIMITED = CHAIN.replace('"TEST_KEY_A"', '"TEST_KEY_A"\nmax_in_flight = 1\nrequests_per_minute = 60')


async def read(stream: ChatStream) -> str:
    async with stream:
        return "".join([chunk.content async for chunk in stream])


def test_the_conventions_names_are_the_official_ones() -> None:
    ours = {value for name, value in vars(semconv).items() if isinstance(value, str) and name.isupper()}
    modules = (official, official_metrics, error_attributes, http_attributes, server_attributes)
    known = {value for module in modules for value in vars(module).values() if isinstance(value, str)}
    theirs = {name for name in ours if name.partition(".")[0] in ("gen_ai", "error", "http", "server")}
    assert len(theirs) > 25
    assert theirs <= known
    assert Schemas.V1_41_1.value == semconv.SCHEMA_URL


def test_the_conventions_words_for_providers_are_the_official_ones() -> None:
    assert set(semconv.PROVIDERS.values()) <= {known.value for known in official.GenAiProviderNameValues}


def test_every_name_that_leaves_is_explained() -> None:
    page = (Path(__file__).parents[2] / "docs" / "telemetry.md").read_text()
    names = {value for name, value in vars(semconv).items() if isinstance(value, str) and name.isupper()}
    assert {name for name in names if "." in name and f"`{name}`" not in page} == {semconv.VERSION}


async def test_a_call_is_a_span_and_its_attempt_one_below(autojump_clock: Clock) -> None:
    script = {"first": [answer("{}", after=2, input_tokens=7, output_tokens=3, served_model="first-2026")]}
    async with watched(script) as (router, seen):
        await router.chat("chain", "hi", max_tokens=9, temperature=0.5, response_format="json")
    call, (attempt,) = seen.call(), seen.attempts()
    assert (call.name, call.parent, call.status.status_code) == ("llmring.chat chain", None, StatusCode.UNSET)
    assert attributes(call) == {
        "llmring.operation": "chat",
        "llmring.alias": "chain",
        "llmring.priority": "interactive",
        "llmring.model": "openai:first",
        "llmring.attempts": 1,
        "llmring.failovers": 0,
        "llmring.waited_seconds": 0.0,
        "llmring.cost_status": "model_not_in_registry",
        "llmring.input_tokens": 7,
        "llmring.output_tokens": 3,
        "llmring.decisions": ("0.000 s go openai:first: answered",),
    }
    assert (attempt.name, attempt.kind, attempt.status.status_code) == ("chat first", SpanKind.CLIENT, StatusCode.UNSET)
    assert is_child(attempt, call)
    found = attributes(attempt)
    assert found.pop("gen_ai.response.id")
    assert found == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "first",
        "gen_ai.request.max_tokens": 9,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.output.type": "json",
        "gen_ai.response.model": "first-2026",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 3,
        "server.address": "api.openai.com",
        "server.port": 443,
        "http.response.status_code": 200,
        "llmring.alias": "chain",
        "llmring.model": "openai:first",
        "llmring.attempt.number": 1,
        "llmring.waited_seconds": 0.0,
    }


async def test_a_failover_is_a_span_for_every_attempt_with_what_it_met(autojump_clock: Clock) -> None:
    refused = status(429, retry_after=20, headers={"x-request-id": "req-1"})
    async with watched({"first": [refused], "second": [answer()]}) as (router, seen):
        await router.chat("chain", "hi")
    call, attempts = seen.call(), seen.attempts()
    assert [one.name for one in attempts] == ["chat first", "chat second"]
    assert all(is_child(one, call) for one in attempts)
    first, second = map(attributes, attempts)
    assert attempts[0].status.status_code is StatusCode.ERROR
    assert attempts[0].status.description is None
    assert (first["error.type"], first["http.response.status_code"]) == ("RateLimited", 429)
    assert (first["llmring.request_id"], first["llmring.attempt.sent"]) == ("req-1", True)
    assert (first["llmring.attempt.number"], second["llmring.attempt.number"]) == (1, 2)
    assert "error.type" not in second
    assert (second["gen_ai.provider.name"], second["server.address"]) == ("anthropic", "api.anthropic.com")
    assert attributes(call)["llmring.failovers"] == 1
    assert attributes(call)["llmring.decisions"] == (
        "0.000 s go openai:first: RateLimited",
        "0.000 s go anthropic:second: answered",
    )
    (failover,) = seen.points("llmring.failovers")
    assert failover.value == 1
    assert dict(failover.attributes) == {
        "llmring.alias": "chain",
        "llmring.from": "openai:first",
        "llmring.to": "anthropic:second",
        "error.type": "RateLimited",
    }
    (refusal,) = seen.points("llmring.refusals")
    assert (refusal.value, refusal.attributes["gen_ai.request.model"]) == (1, "first")


async def test_an_answer_that_does_not_fit_is_asked_for_again_within_the_call(autojump_clock: Clock) -> None:
    async with watched({"first": [answer("no JSON"), answer("{}")]}) as (router, seen):
        await router.chat("alone", "hi", response_format="json")
    call, attempts = seen.call(), seen.attempts()
    assert [attributes(one)["llmring.attempt.number"] for one in attempts] == [1, 2]
    assert all(is_child(one, call) for one in attempts)
    assert attributes(call)["llmring.failovers"] == 0
    assert attributes(call)["llmring.input_tokens"] == 20
    assert attributes(call)["llmring.decisions"][1].startswith("again")


async def test_what_was_never_sent_says_so(autojump_clock: Clock) -> None:
    async with watched({"first": [no_connection()], "second": [answer()]}) as (router, seen):
        await router.chat("chain", "hi")
    first = attributes(seen.attempts()[0])
    assert (first["error.type"], first["llmring.attempt.sent"]) == ("ConnectFailed", False)
    assert "http.response.status_code" not in first


async def test_a_failed_call_has_its_class_and_no_text(autojump_clock: Clock) -> None:
    async with watched({"first": [status(500, error={"message": "said by them"})]}) as (router, seen):
        with pytest.raises(AllModelsFailed):
            await router.chat("alone", "hi")
    call = seen.call()
    assert (call.status.status_code, call.status.description) == (StatusCode.ERROR, None)
    assert attributes(call)["error.type"] == "AllModelsFailed"
    assert [attributes(one)["error.type"] for one in seen.attempts()] == ["ServerFault", "ServerFault"]
    assert not any("exception" in event.name for span in seen.finished() for event in span.events)
    assert not any("said by them" in span.to_json() for span in seen.finished())
    (point,) = seen.points("llmring.call.duration")
    assert point.attributes["error.type"] == "AllModelsFailed"


async def test_a_wait_in_line_is_told_with_the_limit_that_binds(autojump_clock: Clock) -> None:
    text = LIMITED.replace("max_in_flight = 1\n", "").replace("= 60", "= 1")
    async with watched({"first": [answer()]}, text) as (router, seen):
        await router.chat("alone", "hi")
        seen.spans.clear()
        await router.chat("alone", "hi")
    began, ended = seen.call().events
    assert (began.name, dict(began.attributes or {})) == (
        "llmring.wait.began",
        {"llmring.models": ("openai:first",), "llmring.limits": ("requests",)},
    )
    told: dict[str, Any] = dict(ended.attributes or {})
    waited = told.pop("llmring.waited_seconds")
    assert ended.name == "llmring.wait.ended"
    assert told == {"llmring.model": "openai:first", "llmring.limit": "requests"}
    assert 50 < waited < 70
    assert attributes(seen.call())["llmring.waited_seconds"] == pytest.approx(waited)
    assert attributes(seen.attempts()[0])["llmring.waited_seconds"] == pytest.approx(waited)
    (point,) = seen.points("llmring.queue.wait")
    assert (point.count, point.sum) == (2, pytest.approx(waited))


async def test_a_stream_ends_with_its_last_text_and_knows_when_the_first_came(autojump_clock: Clock) -> None:
    script = {"first": [answer("a", "b", "c", each=2)]}
    async with watched(script) as (router, seen), router.stream("chain", "hi") as stream:
        async for chunk in stream:
            # Nothing of ours is current where the reader works.
            assert trace.get_current_span() is trace.INVALID_SPAN, chunk
        assert len(seen.finished()) == 2
    call, (attempt,) = seen.call(), seen.attempts()
    assert call.name == "llmring.stream chain"
    assert is_child(attempt, call)
    found = attributes(attempt)
    assert found["gen_ai.request.stream"] is True
    assert found["gen_ai.response.time_to_first_chunk"] == pytest.approx(2)
    assert found["gen_ai.usage.output_tokens"] == 5
    assert "error.type" not in found
    (first,) = seen.points("gen_ai.client.operation.time_to_first_chunk")
    assert first.sum == pytest.approx(2)
    (duration,) = seen.points("gen_ai.client.operation.duration")
    assert duration.sum >= 6


async def test_a_stream_that_is_cut_and_begins_again_elsewhere_has_two_attempts(autojump_clock: Clock) -> None:
    async with watched({"first": [cut("par")], "second": [answer("whole")]}) as (router, seen):
        assert await read(router.stream("chain", "hi", on_break="restart")) == "parwhole"
    broken, whole = seen.attempts()
    assert attributes(broken)["error.type"] == "TransportBroken"
    assert attributes(broken)["http.response.status_code"] == 200
    assert "error.type" not in attributes(whole)
    assert is_child(whole, seen.call())
    assert attributes(seen.call())["llmring.model"] == "anthropic:second"


async def test_a_stream_that_breaks_for_good_is_a_failed_call(autojump_clock: Clock) -> None:
    async with watched({"first": [cut("par")]}) as (router, seen):
        with pytest.raises(StreamBroken):
            await read(router.stream("alone", "hi"))
    assert attributes(seen.call())["error.type"] == "StreamBroken"
    assert [attributes(one)["error.type"] for one in seen.attempts()] == ["TransportBroken"]


async def test_leaving_a_stream_is_no_error(autojump_clock: Clock) -> None:
    script = {"first": [answer("a", "b", each=1)]}
    async with watched(script) as (router, seen), router.stream("alone", "hi") as stream:
        await anext(stream)
    (attempt,) = seen.attempts()
    assert attributes(attempt)["llmring.stream.left"] is True
    assert attempt.status.status_code is seen.call().status.status_code is StatusCode.UNSET


async def test_what_the_reader_raises_is_no_error_of_the_stream(autojump_clock: Clock) -> None:
    async def stumble(stream: ChatStream) -> None:
        async with stream:
            await anext(stream)
            raise ZeroDivisionError

    async with watched({"first": [answer("a", "b", each=1)]}) as (router, seen):
        with pytest.raises(ZeroDivisionError):
            await stumble(router.stream("alone", "hi"))
    assert seen.call().status.status_code is StatusCode.UNSET


@pytest.mark.parametrize("way", ["chat", "stream", "embed"])
async def test_a_cancelled_call_ends_its_spans(autojump_clock: Clock, way: str) -> None:
    async with watched({"first": [hang()]}) as (router, seen):
        with trio.move_on_after(5) as scope:
            if way == "chat":
                await router.chat("alone", "hi")
            elif way == "stream":
                await read(router.stream("alone", "hi"))
            else:
                await router.embed("alone", ["hi"])
        assert scope.cancelled_caught or way != "chat"
    assert len(seen.attempts()) == 1
    assert attributes(seen.call())["error.type"] in ("Cancelled", "AllModelsFailed", "DeadlineReached")
    assert all(span.end_time is not None for span in seen.finished())


async def test_a_stream_that_is_cancelled_between_two_texts_ends_its_spans(autojump_clock: Clock) -> None:
    async with watched({"first": [cut("a", ending="silent")]}) as (router, seen):
        with trio.move_on_after(5):
            await read(router.stream("alone", "hi"))
    assert attributes(seen.call())["error.type"] == "Cancelled"
    assert attributes(seen.attempts()[0])["error.type"] == "Cancelled"


async def test_vectors_are_one_call_with_a_span_for_every_request(autojump_clock: Clock) -> None:
    vectors = Step(
        body=json.dumps(
            {"data": [{"index": 0, "embedding": [0.5]}], "usage": {"prompt_tokens": 4}, "model": "first"}
        ).encode()
    )
    async with watched({"first": [vectors]}) as (router, seen):
        await router.embed("alone", ["hello"])
    (attempt,) = seen.attempts()
    assert (seen.call().name, attempt.name) == ("llmring.embed alone", "embeddings first")
    assert attributes(attempt)["gen_ai.operation.name"] == "embeddings"
    assert attributes(attempt)["gen_ai.usage.input_tokens"] == 4
    assert is_child(attempt, seen.call())


async def test_a_call_is_below_its_callers_span_and_leaves_it_current(autojump_clock: Clock) -> None:
    seen = observed()
    mine = seen.tracers.get_tracer("mine")
    async with watched({"first": [answer()]}, seen=seen) as (router, _):
        with mine.start_as_current_span("handler") as handler:
            await router.chat("alone", "hi")
            assert await read(router.stream("alone", "hi")) == "ok"
            assert trace.get_current_span() is handler
    handled = seen.finished()[-1]
    calls = [span for span in seen.finished(SpanKind.INTERNAL) if span is not handled]
    assert len(calls) == 2
    assert all(is_child(call, handled) for call in calls)


class Looking:
    """A transport as an instrumented HTTP client is one: it sees which span is current when it is used."""

    def __init__(self, script: Mapping[str, list[Step]]) -> None:
        self._provider = ScriptedProvider(script)
        self.current: list[trace.Span] = []

    def __call__(self, base_url: str, headers: Mapping[str, str]) -> Connection:
        inner, current = self._provider(base_url, headers), self.current

        class Connected:
            async def open(self, call: HttpCall) -> Reply:
                current.append(trace.get_current_span())
                return await inner.open(call)

            async def aclose(self) -> None:
                await inner.aclose()

        return Connected()


@pytest.mark.parametrize("way", ["chat", "stream", "map"])
async def test_an_attempt_is_current_while_it_is_on_the_wire(autojump_clock: Clock, way: str) -> None:
    looking = Looking({"first": [status(500)], "second": [answer()]})
    async with watched({}, connect=looking) as (router, seen):
        if way == "chat":
            await router.chat("chain", "hi")
        elif way == "stream":
            await read(router.stream("chain", "hi"))
        else:
            await router.map("chain", ["hi"]).to_list()
    ids = [span.get_span_context().span_id for span in looking.current]
    assert ids == [context_id(span) for span in seen.attempts()]


def context_id(span: ReadableSpan) -> int:
    found = span.get_span_context()
    assert found is not None
    return found.span_id


async def test_rows_are_traces_of_their_own_with_a_link_to_their_map(autojump_clock: Clock) -> None:
    seen = observed()
    mine = seen.tracers.get_tracer("mine")
    async with watched({"first": [answer(after=1)]}, seen=seen) as (router, _):
        with mine.start_as_current_span("handler"):
            await router.map("alone", ["a", "b", "c"]).to_list()
    spans = {span.name: span for span in seen.finished(SpanKind.INTERNAL)}
    run, handler = spans["llmring.map alone"], spans["handler"]
    rows = [span for span in seen.finished() if span.name == "llmring.map_row alone"]
    assert is_child(run, handler)
    assert (attributes(run)["llmring.map.rows"], attributes(run)["llmring.map.failed"]) == (3, 0)
    assert len(rows) == len({row.context.trace_id for row in rows if row.context}) == 3
    assert all(row.parent is None and row.links[0].context.span_id == context_id(run) for row in rows)
    attempts = seen.attempts()
    assert sorted(one.parent.span_id for one in attempts if one.parent) == sorted(map(context_id, rows))


async def test_a_row_has_no_parent_that_the_reading_of_inputs_left_behind(autojump_clock: Clock) -> None:
    seen = observed()
    mine = seen.tracers.get_tracer("mine")

    def inputs() -> Iterator[str]:
        for text in ("a", "b"):
            # A span that is open, and current in the task that reads, whenever a row is started.
            with mine.start_as_current_span("page"):
                yield text

    async def paged() -> AsyncGenerator[str]:
        for text in inputs():
            await trio.lowlevel.checkpoint()
            yield text

    async with watched({"first": [answer(after=1)]}, seen=seen) as (router, _):
        await router.map("alone", inputs()).to_list()
        await router.map("alone", paged()).to_list()
    rows = [span for span in seen.finished() if span.name == "llmring.map_row alone"]
    assert [row.parent for row in rows] == [None] * 4


async def test_rows_keep_the_baggage_of_who_entered_the_map(autojump_clock: Clock) -> None:
    carried: list[object] = []

    class Carrying(Looking):
        def __call__(self, base_url: str, headers: Mapping[str, str]) -> Connection:
            carried.append(baggage.get_baggage("team"))
            return super().__call__(base_url, headers)

    async with watched({}, connect=Carrying({"first": [answer()]})) as (router, _):
        token = context.attach(baggage.set_baggage("team", "search"))
        try:
            await router.map("alone", ["a"]).to_list()
        finally:
            context.detach(token)
    assert carried == ["search"]


async def test_a_row_of_a_batch_is_a_call_that_was_answered_there(autojump_clock: Clock, tmp_path: Path) -> None:
    async with watched({}, ALONE, connect=BatchProvider()) as (router, seen):
        await router.map(MODEL, ["a", "b"], mode="batch", checkpoint=tmp_path / "run.jsonl").to_list()
    (run,) = (span for span in seen.finished() if span.name.startswith("llmring.map "))
    rows = [span for span in seen.finished() if span.name.startswith("llmring.batch_row ")]
    assert [row.links[0].context.span_id for row in rows] == [context_id(run)] * 2
    assert len({row.context.trace_id for row in rows if row.context}) == 2
    assert [attributes(row)["llmring.model"] for row in rows] == [MODEL] * 2
    assert attributes(rows[0])["llmring.cost_usd"] > 0
    attempts = seen.attempts()
    assert all(is_child(one, row) for one, row in zip(attempts, rows, strict=True))
    assert attributes(attempts[0])["llmring.batch"] is True
    assert attributes(attempts[0])["gen_ai.usage.output_tokens"] == 5
    assert {point.attributes["gen_ai.token.type"]: point.sum for point in seen.points("gen_ai.client.token.usage")} == {
        "input": 6,
        "output": 10,
    }
    # Nobody knows how long each of them took.
    assert seen.points("gen_ai.client.operation.duration") == []


async def test_what_is_sent_for_batches_is_a_span_each_below_the_map(autojump_clock: Clock, tmp_path: Path) -> None:
    provider = BatchProvider(looks=2, submits=[Said(529)], polls=[Said(200), Said(0)])
    async with watched({}, ALONE, connect=provider) as (router, seen):
        await router.map(MODEL, ["canary", "b"], mode="batch", checkpoint=tmp_path / "run.jsonl").to_list()
    (run,) = (span for span in seen.finished() if span.name.startswith("llmring.map "))
    errands = seen.errands()
    assert len(errands) == len(provider.calls)
    assert all(is_child(one, run) for one in errands)
    assert [one.name for one in errands] == [
        *["batch submit anthropic"] * 2,
        *["batch look anthropic"] * 3,
        "batch fetch anthropic",
        "batch discard anthropic",
    ]
    refused, taken, looked, broken, *_, fetched, _ = map(attributes, errands)
    assert refused == {
        "llmring.operation": "batch_submit",
        "llmring.provider": "anthropic",
        "llmring.batch.rows": 2,
        "server.address": "api.anthropic.com",
        "server.port": 443,
        "http.response.status_code": 529,
        "error.type": "Overloaded",
    }
    assert (taken["http.response.status_code"], taken["llmring.batch.rows"]) == (200, 2)
    assert looked["llmring.batch.id"] == fetched["llmring.batch.id"] == "msgbatch_0"
    assert broken["error.type"] == "TransportBroken"
    assert "http.response.status_code" not in broken
    assert errands[0].status.description is None
    tag = json.loads(text_of(tmp_path / "run.jsonl").splitlines()[1])["batch"]["tag"]
    assert not any(word in span.to_json() for span in errands for word in ("canary", tag))
    # Rows that are handed out while results are read are not below their reading.
    assert all(span.parent is None for span in seen.finished() if span.name.startswith("llmring.batch_row "))


def text_of(path: Path) -> str:
    return path.read_text()


class FilesProvider(ScriptedProvider):
    """One that takes files, too."""

    def __init__(self, script: Mapping[str, list[Step]]) -> None:
        super().__init__(script)
        self.current: list[trace.Span] = []

    def __call__(self, base_url: str, headers: Mapping[str, str]) -> Connection:  # type: ignore[override]
        inner, current = super().__call__(base_url, headers), self.current

        class Connected:
            async def open(self, call: HttpCall) -> Reply:
                if call.path.startswith("/v1/files"):
                    current.append(trace.get_current_span())
                    return Uploaded()
                return await inner.open(call)

            async def aclose(self) -> None:
                await inner.aclose()

        return Connected()


class Uploaded:
    status = 200
    headers: Mapping[str, str] = {}

    def __init__(self) -> None:
        self._pieces = [b'{"id": "file_1", "size_bytes": 7}']

    async def receive(self) -> bytes:
        await trio.lowlevel.checkpoint()
        return self._pieces.pop() if self._pieces else b""

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


def pdf(directory: Path) -> Path:
    path = directory / "canary.pdf"
    path.write_bytes(b"canary!")
    return path


async def test_an_upload_is_a_span_below_the_attempt_that_needs_it(autojump_clock: Clock, tmp_path: Path) -> None:
    provider = FilesProvider({"second": [answer()]})
    async with watched({}, connect=provider) as (router, seen):
        file_id = router.register_file(pdf(tmp_path))
        await router.chat("anthropic:second", "hi", files=[file_id])
        await router.deregister_file(file_id)
    upload, delete = seen.errands()
    (attempt,) = seen.attempts()
    assert is_child(upload, attempt)
    assert (upload.name, delete.name, delete.parent) == ("file upload anthropic", "file delete anthropic", None)
    assert attributes(upload) == {
        "llmring.operation": "file_upload",
        "llmring.provider": "anthropic",
        "llmring.file.bytes": 7,
        "server.address": "api.anthropic.com",
        "server.port": 443,
        "http.response.status_code": 200,
    }
    assert [span.get_span_context().span_id for span in provider.current] == [context_id(upload), context_id(delete)]
    assert not any("canary" in span.to_json() for span in seen.finished())


async def test_a_row_that_no_batch_answers_is_a_failed_call(autojump_clock: Clock, tmp_path: Path) -> None:
    provider = BatchProvider(submits=[Said(400)])
    async with watched({}, ALONE, connect=provider) as (router, seen):
        await router.map(MODEL, ["a"], mode="batch", checkpoint=tmp_path / "run.jsonl").to_list()
    (row,) = (span for span in seen.finished() if span.name.startswith("llmring.batch_row "))
    assert attributes(row)["error.type"] == "BadRequest"
    assert seen.attempts() == []


async def test_a_closing_router_is_a_failed_call(autojump_clock: Clock) -> None:
    async with watched({"first": [hang()]}) as (router, seen), trio.open_nursery() as nursery:

        async def call() -> None:
            with pytest.raises(RouterClosed):
                await router.chat("alone", "hi", timeout=10_000)

        nursery.start_soon(call)
        await trio.testing.wait_all_tasks_blocked()
        await router._calls.drain(1.0)
    assert attributes(seen.call())["error.type"] == "RouterClosed"


@pytest.mark.parametrize("content", [False, True])
async def test_prompts_and_answers_are_told_only_where_they_are_asked_for(autojump_clock: Clock, content: bool) -> None:
    call = ToolCall(id="c1", name="weigh", arguments='{"of": "canary-argument"}')
    script = {"first": [answer("canary-answer", tool_calls=[call])]}
    messages = [
        Message(role="system", content="canary-system"),
        Message(role="user", content="canary-prompt"),
        Message(role="assistant", tool_calls=(call,)),
        Message(role="tool", tool_call_id="c1", content="canary-result"),
    ]
    tool = Tool(name="weigh", description="canary-tool", parameters={"type": "object"})
    async with watched(script, content=content) as (router, seen):
        await router.chat("alone", messages, tools=[tool])
    told = "".join(span.to_json() for span in seen.finished())
    canaries = [f"canary-{what}" for what in ("system", "prompt", "argument", "result", "answer", "tool")]
    assert [canary in told for canary in canaries] == [content] * len(canaries)
    assert "key-a" not in told
    if content:
        found = attributes(seen.attempts()[0])
        assert json.loads(found["gen_ai.input.messages"])[1:3] == [
            {"role": "user", "parts": [{"type": "text", "content": "canary-prompt"}]},
            {
                "role": "assistant",
                "parts": [{"type": "tool_call", "id": "c1", "name": "weigh", "arguments": {"of": "canary-argument"}}],
            },
        ]
        (said,) = json.loads(found["gen_ai.output.messages"])
        assert (said["parts"][0], said["finish_reason"]) == (
            {"type": "text", "content": "canary-answer"},
            "tool_calls",
        )


async def test_metrics_have_the_conventions_buckets(autojump_clock: Clock) -> None:
    async with watched({"first": [answer(after=2, input_tokens=100, output_tokens=20)]}) as (router, seen):
        await router.chat("alone", "hi")
    (duration,) = seen.points("gen_ai.client.operation.duration")
    assert (duration.sum, duration.explicit_bounds) == (pytest.approx(2), semconv.SECONDS_BUCKETS)
    usage = {point.attributes["gen_ai.token.type"]: point for point in seen.points("gen_ai.client.token.usage")}
    assert (usage["input"].sum, usage["output"].sum) == (100, 20)
    assert usage["input"].explicit_bounds == semconv.TOKEN_BUCKETS
    assert (semconv.TOKEN_BUCKETS[0], semconv.TOKEN_BUCKETS[-1]) == (1, 67_108_864)


async def test_the_price_of_an_answer_is_a_number_on_its_span_and_a_sum(autojump_clock: Clock) -> None:
    text = CHAIN.replace("openai:first", "openai:gpt-4o-mini")
    async with watched({"gpt-4o-mini": [answer(input_tokens=1000, output_tokens=100)]}, text) as (router, seen):
        response = await router.chat("alone", "hi")
    assert response.cost.usd is not None
    assert attributes(seen.call())["llmring.cost_usd"] == pytest.approx(float(response.cost.usd))
    (point,) = seen.points("llmring.call.cost")
    assert point.value == pytest.approx(float(response.cost.usd))


async def test_limits_breakers_and_requests_under_way_are_asked_of_the_living_routers(autojump_clock: Clock) -> None:
    async with watched({"first": [answer(), hang()]}, LIMITED) as (router, seen), trio.open_nursery() as nursery:
        await router.chat("alone", "hi")
        nursery.start_soon(router.chat, "alone", "hi")
        await trio.testing.wait_all_tasks_blocked()
        (level,) = seen.points("llmring.limit.level")
        assert 0.9 < level.value < 1.0
        assert dict(level.attributes) == {
            "llmring.model": "openai:first",
            "llmring.dimension": "requests",
            "llmring.shared": True,
        }
        breaker = {point.attributes["llmring.breaker.state"]: point.value for point in seen.points("llmring.breaker")}
        assert breaker == {"closed": 1, "open": 0, "probation": 0, "recovering": 0}
        assert [point.value for point in seen.points("llmring.requests.in_flight")] == [1]
        assert [point.value for point in seen.points("llmring.requests.in_line")] == [0]
        nursery.cancel_scope.cancel()
    assert seen.points("llmring.limit.level") == []


async def test_a_reader_in_another_thread_is_answered_in_the_routers_own() -> None:
    async with watched({"first": [answer()]}, LIMITED) as (router, seen):
        await router.chat("alone", "hi")
        points = await trio.to_thread.run_sync(seen.points, "llmring.limit.level")
        assert [point.attributes["llmring.model"] for point in points] == ["openai:first"]


async def test_a_broken_span_processor_takes_no_room(autojump_clock: Clock) -> None:
    seen = observed()

    class Broken(SpanProcessor):
        def on_start(self, span: Span, parent_context: context.Context | None = None) -> None:
            if span.kind is SpanKind.CLIENT:
                raise ZeroDivisionError

    seen.tracers.add_span_processor(Broken())
    async with watched({"first": [answer()]}, LIMITED, seen=seen) as (router, _):
        with pytest.raises(ZeroDivisionError):
            await router.chat("alone", "hi")
        assert router.status().routes[0].in_flight == 0


def test_the_library_loads_no_sdk_and_sets_no_provider() -> None:
    program = (
        "import sys, llmring.router.opening; from opentelemetry.trace import ProxyTracerProvider, get_tracer_provider;"
        "print([name for name in sys.modules if name.startswith(('opentelemetry.sdk', 'opentelemetry.exporter'))],"
        "isinstance(get_tracer_provider(), ProxyTracerProvider))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[] True\n"
