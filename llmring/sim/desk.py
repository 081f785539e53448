"""What a provider serves besides answers of a model: lists of models, files, batches, stored replies, caches, counts.

A desk is a function from a request to a reply; it may change the provider's memory and nothing else, and never
waits. Requests here need a key and are counted, under a name in brackets; limits and faults are for models only.
"""

import asyncio
from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl

import msgspec

from llmring.sim.exchange import BodyTooLarge, Exchange
from llmring.sim.provider import Provider
from llmring.sim.stats import Stats
from llmring.sim.wire import Dialect, Headers, Problem, Rejected

_JSON = (b"content-type", b"application/json")


class Request(msgspec.Struct, frozen=True, kw_only=True):
    method: str
    #: Behind the version: "files/file-1/content".
    path: str
    query: Mapping[str, str]
    headers: Mapping[bytes, bytes]
    body: bytes
    key: str
    provider: Provider
    stats: Stats
    #: On the clock of the server's loop.
    now: float
    #: Where the client reached this provider, without the version.
    url: str


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    body: bytes
    status: int = 200
    headers: Headers = msgspec.field(default_factory=lambda: [_JSON])


Desk = Callable[[Request], Reply]


def told(value: object, *, headers: Headers | None = None) -> Reply:
    """A reply in JSON."""
    return Reply(body=msgspec.json.encode(value), headers=[_JSON, *(headers or [])])


def absent(request: Request) -> Rejected:
    """Nothing is served at this path."""
    return Rejected(Problem(kind="unknown_path", detail=f"{request.method} /{request.path}"))


def page(names: list[str], after: str, size: int) -> tuple[list[str], bool]:
    """The names behind one of them ("" for the first ones), and whether there are more."""
    start = names.index(after) + 1 if after in names else 0
    return names[start : start + size], start + size < len(names)


async def serve_desk(
    exchange: Exchange, provider: Provider, dialect: Dialect, desk: Desk, path: str, stats: Stats
) -> None:
    """Answer, and count. Never raises for what a client did but ClientGone."""
    key = dialect.key(exchange.headers)
    cell = stats.begin(provider.name, key, f"({path.partition('/')[0]})", asyncio.get_running_loop().time())
    try:
        reply = await _reply(exchange, provider, dialect, desk, path, key, stats)
        cell.count_status(reply.status)
        await exchange.answer(reply.status, [*reply.headers, *dialect.identify()], reply.body)
    finally:
        cell.in_flight -= 1


async def _reply(
    exchange: Exchange, provider: Provider, dialect: Dialect, desk: Desk, path: str, key: str, stats: Stats
) -> Reply:
    try:
        body = await exchange.body()
    except BodyTooLarge:
        return _failed(dialect, Problem(kind="too_large_body"))
    query = dict(parse_qsl(exchange.query, keep_blank_values=True))
    # The second half of an upload is known by the id that the first one gave.
    problem = None if "upload_id" in query else provider.key_problem(key)
    if problem is not None:
        return _failed(dialect, problem)
    request = Request(
        method=exchange.method,
        path=path,
        query=query,
        headers=exchange.headers,
        body=body,
        key=key,
        provider=provider,
        stats=stats,
        now=asyncio.get_running_loop().time(),
        url=_url(exchange, provider),
    )
    try:
        return desk(request)
    except Rejected as rejected:
        return _failed(dialect, rejected.problem)
    except RecursionError:
        return _failed(dialect, Problem(kind="bad_json", detail="nested too deeply"))


def _failed(dialect: Dialect, problem: Problem) -> Reply:
    failure = dialect.failure(problem)
    return Reply(status=failure.status, headers=[_JSON, *failure.headers], body=failure.body)


def _url(exchange: Exchange, provider: Provider) -> str:
    host = exchange.headers.get(b"host", b"localhost").decode("latin-1")
    prefix = f"/{provider.name}" if exchange.path.startswith(f"/{provider.name}/") else ""
    return f"http://{host}{prefix}"
