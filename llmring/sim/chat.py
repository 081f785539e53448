"""What happens to one chat request, from its key to the end of its reply.

The order is the providers': key, request, model, forced refusals, limits, then the reply and the faults on
it. So every fault but status_429, insufficient_quota and context has been charged to the key's limits, as a
provider charges a request that it then fails to answer.
"""

import asyncio
from collections.abc import Mapping

from llmring.sim.delivery import Delivery
from llmring.sim.exchange import BodyTooLarge, ClientGone, Exchange
from llmring.sim.faults import REFUSALS, Fault, named_fault
from llmring.sim.limits import Refused
from llmring.sim.provider import Provider
from llmring.sim.reply import answer
from llmring.sim.stats import Cell, Stats
from llmring.sim.wire import Ask, Headers, Problem, Rejected, Wire

_UNREAD_MODEL = "-"


async def serve_chat(exchange: Exchange, provider: Provider, wire: Wire, stats: Stats) -> None:
    """Answer, and count. Never raises for what a client did."""
    key = wire.key(exchange.headers)
    try:
        asked = _read(wire, provider, key, exchange.headers, await exchange.body())
    except BodyTooLarge:
        asked = Problem(kind="too_large_body")
    except ClientGone:
        return
    now = asyncio.get_running_loop().time()
    cell = stats.begin(provider.name, key, asked.model or _UNREAD_MODEL, now)
    try:
        if isinstance(asked, Problem):
            await _refuse(exchange, wire, cell, asked, wire.identify())
        else:
            await _answer(exchange, provider, wire, cell, key, asked)
    except ClientGone:
        cell.cancelled += 1
    finally:
        cell.in_flight -= 1


def _read(wire: Wire, provider: Provider, key: str, headers: Mapping[bytes, bytes], body: bytes) -> Ask | Problem:
    if not provider.accepts(key):
        return Problem(kind="bad_key" if key else "no_key", detail=_masked(key))
    try:
        return wire.read(headers, body)
    except Rejected as rejected:
        return rejected.problem


async def _answer(exchange: Exchange, provider: Provider, wire: Wire, cell: Cell, key: str, ask: Ask) -> None:
    named = named_fault(ask.model)
    if ask.model.startswith("missing") or named == "unknown":
        await _refuse(exchange, wire, cell, Problem(kind="unknown_model", model=ask.model), wire.identify())
        return
    scheduled = provider.faults.choose(ask.model, asyncio.get_running_loop().time()) if named is None else None
    fault = scheduled if named is None else named
    if fault is not None:
        cell.count_fault(fault.kind)
        if fault.kind != "drip":
            await exchange.pause(fault.seconds or 0.0)
        if fault.kind in REFUSALS:
            await _refuse(exchange, wire, cell, _forced(fault, ask), wire.identify())
            return
    await _admit(exchange, provider, wire, cell, key, ask, fault)


async def _admit(
    exchange: Exchange, provider: Provider, wire: Wire, cell: Cell, key: str, ask: Ask, fault: Fault | None
) -> None:
    limits = provider.limits(key)
    refused = await limits.admit(ask.input_tokens)
    # As at the real ones: the headers tell the moment of admission, however long the reply takes.
    headers = wire.identify()
    if provider.config.headers:
        headers += wire.limit_headers(limits.levels())
    if refused is not None:
        cell.count_refused(refused.dimension)
        await _refuse(exchange, wire, cell, _over_limit(refused, ask), headers)
        return
    cell.input_tokens += ask.input_tokens
    delivery = Delivery(
        exchange=exchange,
        wire=wire,
        ask=ask,
        answer=answer(ask, provider.config.reply_tokens),
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


async def _refuse(exchange: Exchange, wire: Wire, cell: Cell, problem: Problem, headers: Headers) -> None:
    failure = wire.failure(problem)
    cell.count_status(failure.status)
    await exchange.answer(
        failure.status, [(b"content-type", b"application/json"), *headers, *failure.headers], failure.body
    )


def _forced(fault: Fault, ask: Ask) -> Problem:
    match fault.kind:
        case "insufficient_quota":
            return Problem(kind="insufficient_quota", model=ask.model)
        case "context":
            return Problem(kind="context", model=ask.model, requested_tokens=ask.input_tokens)
        case _:
            wait = 1.0 if fault.retry_after is None else fault.retry_after
            refused = Refused(dimension="requests", limit=1, used=1, requested=1, wait_seconds=wait)
            return Problem(kind="rate_limited", model=ask.model, refused=refused, retry_after=wait)


def _over_limit(refused: Refused, ask: Ask) -> Problem:
    return Problem(
        kind="never_fits" if refused.wait_seconds is None else "rate_limited",
        model=ask.model,
        refused=refused,
        requested_tokens=refused.requested,
        retry_after=refused.wait_seconds,
    )


def _masked(key: str) -> str:
    """A key as error messages quote it; a short one not at all."""
    return f"{key[:3]}***{key[-4:]}" if len(key) >= 16 else "***"
