"""Our own codecs against the simulator's batches, over real sockets: rows come back as they would online."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

import pytest
import trio

from llmring.chat import ChatRequest, Completion
from llmring.codecs.batch import Batch, BatchCodec, BatchPage, BatchRow, BatchStatus, Unanswered
from llmring.codecs.capabilities import Model
from llmring.codecs.codec import Codec, HttpCall, HttpReply, NextCall
from llmring.codecs.google.batches import GoogleBatches
from llmring.codecs.openai.responses import ResponsesCodec
from llmring.errors import BadRequest, ProviderError, ServerFault
from llmring.prompts import to_messages
from llmring.providers.transport import Connection, HttpxConnect
from llmring.providers.wires import WIRES
from llmring.sim.process import Simulator
from tests.sim.calls import Caller


def _api(kind: str) -> tuple[BatchCodec, Codec, str, str]:
    """How a format hands in batches and chats, the end of its base URL, and a model."""
    match kind:
        case "anthropic":
            wire, base, model = WIRES["anthropic"], "", "claude-sim"
        case "google" | "google_file":
            wire, base, model = WIRES["google"], "", "gemini-sim"
        case _:
            wire, base, model = WIRES["openai"], "/v1", "gpt-sim"
    assert wire.batches is not None
    batches = GoogleBatches(most_inline_bytes=1) if kind == "google_file" else wire.batches
    return batches, ResponsesCodec() if kind == "responses" else wire.chat, base, model


class Desk:
    """Hands in batches with one key at one provider of the simulator."""

    def __init__(self, connection: Connection, batches: BatchCodec, chat: Codec, model: str) -> None:
        self.batches = batches
        self.chat = chat
        self.model = model
        self._connection = connection

    async def send(self, call: HttpCall) -> HttpReply:
        """The whole reply. Raises what the chat codec makes of a refusal."""
        reply = await self._connection.open(call)
        body = b""
        while piece := await reply.receive():
            body += piece
        await reply.aclose()
        whole = HttpReply(status=reply.status, headers=reply.headers, body=body)
        if whole.status >= 300:
            raise self.chat.classify(whole)
        return whole

    def row(self, key: str, prompt: str, model: str | None = None) -> BatchRow:
        request = ChatRequest(model="a", messages=to_messages(prompt))
        return BatchRow(key=key, call=self.chat.encode(request, Model(name=model or self.model), stream=False))

    async def submit(self, batch: Batch) -> BatchStatus:
        following: BatchStatus | NextCall = NextCall(call=self.batches.submit(batch))
        while isinstance(following, NextCall):
            following = self.batches.read(await self.send(following.call), batch)
        return following

    async def wait(self, batch: BatchStatus) -> BatchStatus:
        while not batch.is_over:
            batch = self.batches.read_status(await self.send(self.batches.poll(batch.id)))
        return batch

    async def results(self, over: BatchStatus, keys: tuple[str, ...]) -> dict[str, HttpReply | Unanswered]:
        found: dict[str, HttpReply | Unanswered] = {}
        for call in self.batches.results(over):
            reply, reader = await self._connection.open(call), self.batches.open_results(over, keys)
            assert reply.status == 200
            while piece := await reply.receive():
                found.update((result.key, result.outcome) for result in reader.feed(piece))
            found.update((result.key, result.outcome) for result in reader.close())
            await reply.aclose()
            assert reader.unread == 0
        return found

    async def find(self, tag: str) -> list[BatchStatus]:
        found: list[BatchStatus] = []
        call = self.batches.find()
        while call is not None:
            page: BatchPage = self.batches.read_found(await self.send(call), tag)
            found += page.batches
            call = self.batches.find(page.next) if page.next is not None else None
        return found


@asynccontextmanager
async def open_desk(caller: Caller, kind: str, provider: str = "default") -> AsyncGenerator[Desk]:
    batches, chat, base, model = _api(kind)
    url = f"{caller.simulator.url}/{provider}{base}"
    connection = HttpxConnect()(url, dict(chat.auth(caller.key)))
    try:
        yield Desk(connection, batches, chat, model)
    finally:
        with trio.CancelScope(shield=True):
            await connection.aclose()


KINDS = ["openai", "responses", "anthropic", "google", "google_file"]
every_kind = pytest.mark.parametrize("kind", KINDS)


@every_kind
async def test_answers_of_a_batch_are_those_of_online_calls(caller: Caller, kind: str) -> None:
    async with open_desk(caller, kind) as desk:
        rows = tuple(desk.row(f"row-{at}", f"hello number {at}") for at in range(5))
        made = await desk.submit(Batch(rows=rows, tag="run-1"))
        assert made.state == "running" and not made.results
        over = await desk.wait(made)
        assert (over.id, over.state, over.counts.total, over.counts.succeeded) == (made.id, "ended", 5, 5)
        results = await desk.results(over, tuple(row.key for row in rows))
        assert sorted(results) == [row.key for row in rows]
        for row in rows:
            outcome = results[row.key]
            assert isinstance(outcome, HttpReply)
            batched, online = desk.chat.decode(outcome), desk.chat.decode(await desk.send(row.call))
            assert _said(batched) == _said(online)


def _said(completion: Completion) -> Mapping[str, object]:
    """All but what names one reply."""
    return {
        "content": completion.content,
        "finish": completion.finish_reason,
        "usage": completion.usage,
        "model": completion.served_model,
    }


@every_kind
async def test_rows_fail_expire_and_are_cancelled_on_their_own(caller: Caller, kind: str) -> None:
    async with open_desk(caller, kind, "expiring") as desk:
        model = f"{desk.model}+status_500"
        rows = tuple(desk.row(f"row-{at}", "hello", model) for at in range(4))
        over = await desk.wait(await desk.submit(Batch(rows=rows, tag="run-1")))
        assert over.state == ("expired" if kind in ("openai", "responses") else "ended")
        results = await desk.results(over, tuple(row.key for row in rows))
        assert results["row-3"] == "expired"
        failed = [outcome for outcome in results.values() if isinstance(outcome, HttpReply)]
        assert [type(desk.chat.classify(outcome)) for outcome in failed] == [ServerFault] * 3


@every_kind
async def test_a_wrong_row_is_the_error_that_it_is_online(caller: Caller, kind: str) -> None:
    async with open_desk(caller, kind) as desk:
        row = desk.row("wrong", "hello")
        empty = HttpCall(path=row.call.path, body=b'{"model":"%s"}' % desk.model.encode(), headers=row.call.headers)
        over = await desk.wait(await desk.submit(Batch(rows=(BatchRow(key="wrong", call=empty),), tag="run-1")))
        outcome = (await desk.results(over, ("wrong",)))["wrong"]
        assert isinstance(outcome, HttpReply)
        with pytest.raises(BadRequest) as online:
            await desk.send(empty)
        batched = desk.chat.classify(outcome)
        assert (type(batched), batched.status, str(batched)) == (BadRequest, online.value.status, str(online.value))


@every_kind
async def test_a_cancelled_batch_is_over_soon(caller: Caller, kind: str) -> None:
    async with open_desk(caller, kind, "cancelling") as desk:
        made = await desk.submit(Batch(rows=(desk.row("a", "hello"), desk.row("b", "hello")), tag="run-1"))
        await desk.send(desk.batches.cancel(made.id))
        over = await desk.wait(made)
        assert over.state == "cancelled"
        outcomes = set((await desk.results(over, ("a", "b"))).values())
        assert outcomes == (set() if kind.startswith("google") else {"cancelled"})


@every_kind
async def test_a_batch_whose_id_was_lost_is_found_again_where_there_are_tags(caller: Caller, kind: str) -> None:
    async with open_desk(caller, kind) as desk:
        # More than a page of them.
        made = [await desk.submit(Batch(rows=(desk.row("a", "hello"),), tag=f"run-{at}")) for at in range(22)]
        found = await desk.find("run-0")
        assert [one.id for one in found] == ([] if kind == "anthropic" else [made[0].id])
        assert await desk.find("run-99") == []


@every_kind
async def test_what_is_discarded_is_gone(caller: Caller, kind: str) -> None:
    async with open_desk(caller, kind) as desk:
        rows = (desk.row("a", "hello"),)
        over = await desk.wait(await desk.submit(Batch(rows=rows, tag="run-1")))
        for call in desk.batches.discard(over):
            await desk.send(call)
        for call in desk.batches.results(over):
            with pytest.raises(ProviderError) as raised:
                await desk.send(call)
            assert raised.value.status == 404 or kind == "google_file"


async def test_openais_batch_that_cannot_be_read_fails_as_a_whole(caller: Caller) -> None:
    async with open_desk(caller, "openai") as desk:
        rows = (desk.row("a", "hello"), desk.row("b", "hello", "another-model"))
        over = await desk.wait(await desk.submit(Batch(rows=rows, tag="run-1")))
        assert over.state == "failed" and isinstance(over.error, BadRequest) and not desk.batches.results(over)


async def test_a_thousand_rows_are_one_batch(caller: Caller, simulator: Simulator) -> None:
    async with open_desk(caller, "anthropic", "few") as desk:
        rows = tuple(desk.row(f"row-{at}", f"hello {at}") for at in range(1000))
        over = await desk.wait(await desk.submit(Batch(rows=rows, tag="run-1")))
        assert len(await desk.results(over, tuple(row.key for row in rows))) == 1000
    cell = caller.cell("few", "claude-sim")
    assert (cell.batch_rows, cell.received) == ({"answered": 1000}, 0)
