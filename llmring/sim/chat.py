"""What happens to one request that a model answers, from its key to the end of its reply.

The order is the providers': key, request, model, forced refusals, what the request refers to, limits, then the
reply and the faults on it. So every fault but the refusals has been charged to the key's limits, as a provider
charges a request that it then fails to answer.
"""

import asyncio

import msgspec

from llmring.sim.delivery import Delivery
from llmring.sim.exchange import BodyTooLarge, ClientGone, Exchange
from llmring.sim.faults import REFUSALS, Fault
from llmring.sim.limits import Refused
from llmring.sim.outcome import forced, said, struck
from llmring.sim.provider import Provider
from llmring.sim.stats import Cell, Stats
from llmring.sim.wire import Ask, Dialect, Headers, Operation, Problem, Rejected

_UNREAD_MODEL = "-"


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """The endpoint a request came to: whose, how it speaks, and the path behind the version with its query."""

    provider: Provider
    dialect: Dialect
    operation: Operation
    target: str


async def serve_chat(exchange: Exchange, place: Place, stats: Stats) -> None:
    """Answer, and count. Never raises for what a client did."""
    key, body = place.dialect.key(exchange.headers), b""
    try:
        body = await exchange.body()
        asked = _read(exchange, place, key, body)
    except BodyTooLarge:
        asked = Problem(kind="too_large_body")
    except ClientGone:
        return
    now = asyncio.get_running_loop().time()
    cell = stats.begin(place.provider.name, key, asked.model or _UNREAD_MODEL, now)
    try:
        if isinstance(asked, Problem):
            await _refuse(exchange, place.dialect, cell, asked, place.dialect.identify())
        else:
            await _answer(exchange, place, cell, key, asked, body)
    except ClientGone:
        cell.cancelled += 1
    finally:
        cell.in_flight -= 1


def _read(exchange: Exchange, place: Place, key: str, body: bytes) -> Ask | Problem:
    problem = place.provider.key_problem(key)
    if problem is not None:
        return problem
    try:
        return place.operation.read(exchange.headers, body, place.target)
    except Rejected as rejected:
        return rejected.problem
    except RecursionError:
        return Problem(kind="bad_json", detail="nested too deeply")


async def _answer(exchange: Exchange, place: Place, cell: Cell, key: str, ask: Ask, body: bytes) -> None:
    provider, dialect = place.provider, place.dialect
    fault = struck(provider, ask, body, asyncio.get_running_loop().time())
    if isinstance(fault, Problem):
        await _refuse(exchange, dialect, cell, fault, dialect.identify())
        return
    if fault is not None:
        cell.count_fault(fault.kind)
        if fault.kind != "drip":
            await exchange.pause(fault.seconds or 0.0)
        if fault.kind in REFUSALS:
            await _refuse(exchange, dialect, cell, forced(fault, ask, body), dialect.identify())
            return
    found = provider.memory.resolve(ask, key, asyncio.get_running_loop().time())
    if isinstance(found, Problem):
        await _refuse(exchange, dialect, cell, found, dialect.identify())
        return
    await _admit(exchange, place, cell, key, found, fault)


async def _admit(exchange: Exchange, place: Place, cell: Cell, key: str, ask: Ask, fault: Fault | None) -> None:
    provider, dialect = place.provider, place.dialect
    limits = provider.limits(key)
    refused = await limits.admit(ask.input_tokens)
    # As at the real ones: the headers tell the moment of admission, however long the reply takes.
    headers = dialect.identify()
    if provider.config.headers:
        headers += dialect.limit_headers(limits.levels())
    if refused is not None:
        cell.count_refused(refused.dimension)
        await _refuse(exchange, dialect, cell, _over_limit(refused, ask), headers)
        return
    cell.input_tokens += ask.input_tokens
    delivery = Delivery(
        exchange=exchange,
        dialect=dialect,
        operation=place.operation,
        ask=ask,
        answer=said(provider, key, ask, asyncio.get_running_loop().time()),
        headers=headers,
        seconds_per_token=provider.config.seconds_per_token,
    )
    try:
        await exchange.pause(provider.latency_seconds())
        status = delivery.status(fault)
        if status is not None:
            cell.count_status(status)
        await delivery.send(fault)
    finally:
        limits.charge_output(delivery.sent_tokens)
        cell.output_tokens += delivery.sent_tokens
    if ask.store and fault is None:
        provider.memory.keep_reply(ask, key, delivery.answer, place.operation.whole(ask, delivery.answer))


async def _refuse(exchange: Exchange, dialect: Dialect, cell: Cell, problem: Problem, headers: Headers) -> None:
    failure = dialect.failure(problem)
    cell.count_status(failure.status)
    await exchange.answer(
        failure.status, [(b"content-type", b"application/json"), *headers, *failure.headers], failure.body
    )


def _over_limit(refused: Refused, ask: Ask) -> Problem:
    return Problem(
        kind="never_fits" if refused.wait_seconds is None else "rate_limited",
        model=ask.model,
        refused=refused,
        requested_tokens=refused.requested,
        retry_after=refused.wait_seconds,
    )
