"""ProviderWorker: the actor that owns one provider's connections, limits, breakers and waiting lines.

A request is sent from its caller's own task (`attempt`, `open_stream`); only the waiting lines are served by the
worker's one task (`run`), which sleeps until the exact moment when the next in line can go.
"""

import math
from collections.abc import Callable

import trio

from llmring.chat import ChatRequest, Completion
from llmring.errors import MissingKey
from llmring.providers.budget import Budget
from llmring.providers.codec import HttpReply
from llmring.providers.exchange import Exchange, LiveStream, time_limit
from llmring.providers.known import Endpoint
from llmring.providers.line import Waiter
from llmring.providers.readiness import Ready
from llmring.providers.regime import Charge
from llmring.providers.route import Credential, Permit, Route
from llmring.providers.transport import Connect, Connection
from llmring.refs import ModelRef

CLOSE_SECONDS = 2.0
"""For closing all idle connections at the end."""


class ProviderWorker:
    """One provider. Without `key`, where it needs one, every route is shut and says which variable to set."""

    def __init__(self, endpoint: Endpoint, key: str | None, connect: Connect, random: Callable[[], float]) -> None:
        self.endpoint = endpoint
        self.missing_key: MissingKey | None = None
        budget = Budget(endpoint.limits, trio.current_time())
        self.credential = Credential(budget, endpoint.max_in_flight, random)
        if key is None and endpoint.key_variables:
            self.missing_key = MissingKey(endpoint.name, endpoint.key_variables)
            self.credential.missing = str(self.missing_key)
        auth = endpoint.codec.auth(key) if key is not None else ()
        self._headers = {**endpoint.headers, **dict(auth)}
        self._connect = connect
        self._idle: list[Connection] = []
        self._routes: dict[str, Route] = {}
        self._changed = trio.Event()
        self._retired = False

    def route(self, model: str) -> Route:
        """The route of a model: the same object for the same name."""
        route = self._routes.get(model)
        if route is None:
            ref = ModelRef(self.endpoint.name, model)
            route = Route(ref, self.credential, self.endpoint.regime, self._wake, trio.current_time())
            self._routes[model] = route
        return route

    async def attempt(self, permit: Permit, request: ChatRequest, seconds: float) -> Completion:
        """Send, and read the whole answer within `seconds`. Raises a ProviderError. Settles the permit in any case."""
        exchange = self._exchange(permit)
        try:
            with time_limit(seconds, "answer"):
                reply = await exchange.open(request, stream=False)
                body = await exchange.read()
            completion = exchange.codec.decode(HttpReply(status=reply.status, headers=reply.headers, body=body))
        except BaseException as error:
            await exchange.failed(error)  # noqa: ASYNC102 - shields itself
            raise
        await exchange.succeeded(completion)
        return completion

    async def open_stream(self, permit: Permit, request: ChatRequest, seconds: float) -> LiveStream:
        """Send, and read to the first text within `seconds`. Raises a ProviderError. The caller closes the stream."""
        stream = LiveStream(self._exchange(permit))
        await stream.begin(request, seconds)
        return stream

    async def run(self) -> None:
        """Serve the waiting lines until cancelled; then close the connections."""
        try:
            while True:
                self._changed = trio.Event()
                wake_at = self._serve(trio.current_time())
                if self._retired:
                    await self._close_idle()
                with trio.move_on_at(wake_at):
                    await self._changed.wait()
        finally:
            with trio.move_on_after(CLOSE_SECONDS, shield=True):
                await self._close_idle()

    def retire(self) -> None:
        """No new request will come; those on their way are served, and no connection is kept for later ones."""
        self._retired = True
        self._wake()

    def inherit(self, previous: "ProviderWorker") -> None:
        """Go on where a retired worker of the same provider stands, so that an edit does not refill its limits."""
        if previous.endpoint.base_url != self.endpoint.base_url or previous._headers != self._headers:
            return
        self.credential.budget.inherit(previous.credential.budget, trio.current_time())
        for model, route in previous._routes.items():
            self.route(model).inherit(route)

    def _wake(self) -> None:
        self._changed.set()

    async def _close_idle(self) -> None:
        while self._idle:
            await self._idle.pop().aclose()

    def _serve(self, now: float) -> float:
        """Give permits to all who can go, oldest request first. Returns when to look again, on the trio clock."""
        wake_at = 0.0
        while wake_at == 0.0:
            wake_at = math.inf
            for waiter, charge, route in self._heads():
                if waiter.is_served:
                    continue
                answer = route.room(charge, now)
                if isinstance(answer, Ready):
                    waiter.give(route.take(charge, now))
                    wake_at = 0.0
                elif answer.wait_seconds is None or now + answer.wait_seconds > waiter.deadline:
                    waiter.send_away()
                    wake_at = 0.0
                elif answer.wait_seconds > 0.0:
                    wake_at = min(wake_at, now + answer.wait_seconds)
        return wake_at

    def _heads(self) -> list[tuple[Waiter[Permit], Charge, Route]]:
        """The first in line of every route, oldest request first."""
        heads = [(*head, route) for route in self._routes.values() if (head := route.line.head()) is not None]
        heads.sort(key=lambda place: place[0].number)
        return heads

    def _exchange(self, permit: Permit) -> Exchange:
        connection = self._idle.pop() if self._idle else self._connect(self.endpoint.base_url, self._headers)
        return Exchange(permit, self.endpoint.codec, connection, self._give_back)

    def _give_back(self, connection: Connection, clean: bool) -> None:
        if clean:
            self._idle.append(connection)
