"""The ASGI application: which path is what, and the `/__` endpoints that control and observe the simulator.

*      /{provider}/...   what the provider serves, see routes.py (also without the prefix: provider "default")
GET    /__stats     counters          DELETE /__stats     start counting anew
POST   /__control   {"provider": "...", "fault": {...}}   DELETE /__control   forget the faults added so
GET    /__health
"""

import asyncio

import msgspec

from llmring.sim.chat import Place, serve_chat
from llmring.sim.config import SimConfig, SimConfigError, parse_fault
from llmring.sim.desk import serve_desk
from llmring.sim.exchange import BodyTooLarge, ClientGone, Exchange, Receive, Scope, Send, Transports
from llmring.sim.provider import Provider
from llmring.sim.routes import find_route, split_path
from llmring.sim.stats import Stats
from llmring.sim.wire import Headers, Problem

_JSON: Headers = [(b"content-type", b"application/json")]


class App:
    """Made inside the running loop whose clock it uses."""

    def __init__(self, config: SimConfig, transports: Transports) -> None:
        self._providers = {name: Provider(name, one) for name, one in config.providers.items()}
        self._stats = Stats(asyncio.get_running_loop().time())
        self._transports = transports

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        exchange = Exchange(scope, receive, send, self._transports)
        split = split_path(exchange.path)
        try:
            if split is not None:
                await self._serve(exchange, *split)
            else:
                await self._own(exchange)
        except ClientGone:
            return

    async def _serve(self, exchange: Exchange, name: str, path: str) -> None:
        provider = self._providers.get(name)
        route = find_route(exchange.method, path, exchange.headers)
        target = path.partition("/")[2]
        if provider is not None and route.operation is not None:
            full = f"{target}?{exchange.query}" if exchange.query else target
            place = Place(provider=provider, dialect=route.dialect, operation=route.operation, target=full)
            await serve_chat(exchange, place, self._stats)
        elif provider is not None and route.desk is not None:
            await serve_desk(exchange, provider, route.dialect, route.desk, target, self._stats)
        else:
            where = f"{exchange.method} {exchange.path}"
            if provider is None:
                where += f"; providers here: {', '.join(sorted(self._providers))}"
            failure = route.dialect.failure(Problem(kind="unknown_path", detail=where))
            await exchange.answer(failure.status, _JSON, failure.body)

    async def _own(self, exchange: Exchange) -> None:
        now = asyncio.get_running_loop().time()
        match exchange.method, exchange.path:
            case "GET", "/__health":
                await _say(exchange, 200, {"ok": True})
            case "GET", "/__stats":
                await _say(exchange, 200, self._stats.report(now))
            case "DELETE", "/__stats":
                self._stats.reset()
                await _say(exchange, 200, {"ok": True})
            case "POST", "/__control":
                await self._add_fault(exchange)
            case "DELETE", "/__control":
                for provider in self._providers.values():
                    provider.faults.clear()
                await _say(exchange, 200, {"ok": True})
            case _:
                await _say(exchange, 404, {"error": f"nothing at {exchange.method} {exchange.path}"})

    async def _add_fault(self, exchange: Exchange) -> None:
        try:
            name, fault = parse_fault(await exchange.body())
        except (SimConfigError, BodyTooLarge) as error:
            await _say(exchange, 400, {"error": str(error) or "the body is too large"})
            return
        provider = self._providers.get(name)
        if provider is None:
            await _say(exchange, 404, {"error": f"no provider {name!r}; providers here: {sorted(self._providers)}"})
            return
        provider.faults.add(fault, asyncio.get_running_loop().time())
        await _say(exchange, 200, {"ok": True})


async def _say(exchange: Exchange, status: int, value: object) -> None:
    await exchange.answer(status, _JSON, msgspec.json.encode(value))
