"""Vectors for texts: in as many requests as the provider's maximum asks for, all to one model.

The model that answers the first request answers all of them: vectors of two models cannot be compared.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence

import msgspec
import trio

from llmring.codecs.codec import EmbeddingsCodec
from llmring.embeddings import Embeddings
from llmring.errors import Attempt, InvalidRequest, LLMRingError, Unsupported
from llmring.providers.fairness import Flow
from llmring.providers.route import Permit
from llmring.providers.worker import ProviderWorker
from llmring.refs import ModelRef
from llmring.router.dispatcher import Dispatcher
from llmring.router.going import go
from llmring.router.journey import Journey, Send, Terms
from llmring.telemetry.spans import Call
from llmring.trace import Source
from llmring.usage import Usage

CHARACTERS_PER_TOKEN = 4
AT_ONCE = 16
"""Requests of one call under way at a time; the provider's limits are kept beside that."""


class Embedded(msgspec.Struct, frozen=True, kw_only=True):
    """All vectors in order, and how they were had."""

    vectors: tuple[tuple[float, ...], ...]
    model: ModelRef
    usages: tuple[Usage, ...]
    """Of each request; empty when the provider left one out."""
    served_model: str | None
    attempts: tuple[Attempt, ...]
    trace: Source
    """Of the first request."""


Record = Callable[[Journey, Embeddings | None], None]
"""Is told of every request that has ended, with its vectors where there are any."""


def check_texts(texts: Sequence[str]) -> tuple[str, ...]:
    """Raises InvalidRequest for what is not a list of texts."""
    if isinstance(texts, str):
        raise InvalidRequest("texts is a list of texts, not one text")
    if not isinstance(texts, Iterable):
        raise InvalidRequest(f"texts is a list of texts, not {type(texts).__name__}")
    given: Sequence[object] = texts
    for number, text in enumerate(given, 1):
        if not isinstance(text, str) or not text:
            raise InvalidRequest(f"text {number} is {'empty' if text == '' else f'a {type(text).__name__}'}")
    if not texts:
        raise InvalidRequest("there are no texts")
    return tuple(texts)


def batches(texts: Sequence[str], codec: EmbeddingsCodec) -> list[tuple[str, ...]]:
    """The texts in order, in parts that one request may hold; a text is never divided."""
    parts: list[tuple[str, ...]] = []
    part: list[str] = []
    tokens = 0
    for text in texts:
        needed = len(text) // CHARACTERS_PER_TOKEN + 1
        if part and (len(part) == codec.most_texts or tokens + needed > codec.most_tokens):
            parts.append(tuple(part))
            part, tokens = [], 0
        part.append(text)
        tokens += needed
    return [*parts, tuple(part)]


async def embed(
    dispatcher: Dispatcher,
    alias: str,
    texts: tuple[str, ...],
    dimensions: int | None,
    profile: str | None,
    deadline: float,
    call: Call,
    record: Record,
    flow: Flow,
) -> Embedded:
    """Embed `texts` at the first model of `alias` that answers. Raises what `Dispatcher.go` raises."""

    divided: dict[tuple[int, int], list[tuple[str, ...]]] = {}

    def parts_at(worker: ProviderWorker) -> list[tuple[str, ...]]:
        codec = worker.embeddings()
        bounds = (codec.most_texts, codec.most_tokens)
        if bounds not in divided:
            divided[bounds] = batches(texts, codec)
        return divided[bounds]

    async def send_first(worker: ProviderWorker, permit: Permit, journey: Journey) -> Embeddings:
        parts = parts_at(worker)
        journey.part = 1 if len(parts) > 1 else None
        return await _send(worker, permit, journey, parts[0], dimensions)

    def first_part(worker: ProviderWorker) -> tuple[str, ...]:
        try:
            return parts_at(worker)[0]
        except Unsupported:
            return ()

    journey = dispatcher.embedding(alias, profile, deadline, first_part, call, Terms(flow=flow))
    first = await _go(journey, send_first, record)
    parts = parts_at(journey.workers[journey.index])
    ref = journey.route.ref
    read: list[Embeddings] = [first] * len(parts)
    attempts: list[Attempt] = list(journey.plan.attempts)

    async def embed_part(index: int) -> None:
        patient = Terms(flow=flow, patient=True, payer=alias)
        rest = dispatcher.embedding(str(ref), profile, deadline, lambda _: parts[index], call, patient)
        rest.origin, rest.part = journey, index + 1

        async def send(worker: ProviderWorker, permit: Permit, journey: Journey) -> Embeddings:
            return await _send(worker, permit, journey, parts[index], dimensions)

        read[index] = await _go(rest, send, record)
        attempts.extend(rest.plan.attempts)

    await _all(embed_part, range(1, len(parts)))
    told = tuple(part.usage for part in read if part.usage is not None)
    return Embedded(
        vectors=tuple(vector for part in read for vector in part.vectors),
        model=ref,
        usages=told if len(told) == len(read) else (),
        served_model=first.served_model,
        attempts=tuple(attempts),
        trace=journey.trace,
    )


async def _go(journey: Journey, send: Send[Embeddings], record: Record) -> Embeddings:
    try:
        part = await go(journey, send)
    except BaseException:
        record(journey, None)
        raise
    record(journey, part)
    return part


async def _send(
    worker: ProviderWorker, permit: Permit, journey: Journey, texts: Sequence[str], dimensions: int | None
) -> Embeddings:
    seconds = journey.plan.attempt_seconds(journey.index, trio.current_time())
    journey.texts = texts
    embeddings = await worker.embed(permit, texts, dimensions, seconds)
    if journey.attempt is not None:
        journey.attempt.answered(embeddings)
    return embeddings


async def _all(work: Callable[[int], Awaitable[None]], indexes: range) -> None:
    """Do `work` for every index, some at once. Raises the first error as it is, after the others were cut off."""
    failed: list[LLMRingError] = []
    slots = trio.CapacityLimiter(AT_ONCE)
    async with trio.open_nursery() as nursery:

        async def one(index: int) -> None:
            try:
                async with slots:
                    await work(index)
            except LLMRingError as error:
                failed.append(error)
                nursery.cancel_scope.cancel()

        for index in indexes:
            nursery.start_soon(one, index)
    if failed:
        raise failed[0]
