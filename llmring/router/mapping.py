"""Rows of a map online, as the router sees them: what an input asks, of whom, and the call itself. The run that has it
done is map/run.py; rows in batches are batching.py.
"""

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from llmring.chat import ChatRequest, ChatResponse
from llmring.errors import InvalidRequest
from llmring.money.budgets import Budgets
from llmring.money.payment import Payment
from llmring.pricing import Prices
from llmring.prompts import ChatOptions, to_request
from llmring.providers.route import Route
from llmring.refs import ModelRef
from llmring.router.account import Account
from llmring.router.calls import Calls
from llmring.router.dispatcher import Dispatcher
from llmring.router.journey import Terms
from llmring.router.map.batch_plan import Way
from llmring.router.map.given import RowCalls
from llmring.router.map.rows import Input
from llmring.router.map.span import MapSpan
from llmring.router.options import check
from llmring.router.paying import batch_payment
from llmring.telemetry.spans import Call

Chat = Callable[[ChatRequest, str | None, Call, Terms], Awaitable[ChatResponse]]
"""One call, of a profile, as `chat` makes it."""


class Rows:
    """Of one map. Its public methods are the RowCalls. `way` is where a request can be handed in for a batch; `options`
    are those of every input that is no request itself."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        calls: Calls,
        chat: Chat,
        told: MapSpan,
        way: Callable[[ChatRequest], Way | None],
        prices: Callable[[ModelRef], Prices | None],
        budgets: Budgets | None,
        alias: str,
        profile: str | None,
        terms: Terms,
        options: ChatOptions,
    ) -> None:
        self._dispatcher = dispatcher
        self._calls = calls
        self._chat = chat
        self._told = told
        self._way = way
        self._prices = prices
        self._budgets = budgets
        self._alias = alias
        self._profile = profile
        self._terms = terms
        self._options = options

    def prepare(self, item: Input) -> ChatRequest:
        """What an input asks. Raises InvalidRequest, ConfigError."""
        if isinstance(item, InvalidRequest):
            raise item
        request = item if isinstance(item, ChatRequest) else to_request(self._alias, item, **self._options)
        check(request)
        return self._dispatcher.completed(request, self._profile)

    def models(self, request: ChatRequest) -> Sequence[ModelRef]:
        """All that may answer it, once each. Raises ConfigError."""
        routes = self._dispatcher.routes(request.model, self._profile)
        return list(dict.fromkeys(route.ref for route in routes))

    def routes(self, request: ChatRequest) -> Sequence[Route]:
        """Those that may be asked as far as the map spills. Raises ConfigError."""
        return self._dispatcher.routes(request.model, self._profile, self._terms.spill)

    def chain(self) -> tuple[tuple[Route, ...], bool]:
        """The routes of the map's own alias, and whether one is used only when nothing can go to those before it.
        Raises ConfigError."""
        spill = self._terms.spill
        return (
            self._dispatcher.routes(self._alias, self._profile, spill),
            self._dispatcher.in_turn(self._alias, self._profile, spill),
        )

    async def send(self, request: ChatRequest, account: Account | None) -> ChatResponse:
        """Ask. Raises what `chat` raises, and CalledBack."""
        with self._told.row("map_row", request.model) as call, self._calls.step():
            paid = self._terms if account is None else msgspec.structs.replace(self._terms, account=account)
            return await self._chat(request, self._profile, call, paid)

    async def prepay(self, request: ChatRequest) -> Payment | None:
        """The money for it in a batch, set aside from the budgets. Raises what `chat` raises of money."""
        if self._budgets is None or not self._budgets.are_set:
            return None
        way = self._way(request)
        if way is None:
            return None
        profile = self._dispatcher.profile_name(self._profile)
        scope = self._dispatcher.scope(profile, request.model, self._terms)
        worker = self._dispatcher.crew(way.route.ref.provider).first
        payment = batch_payment(self._budgets, scope, way.route, worker, self._prices, request)
        await payment.prepay()
        return payment

    def calls_of(self) -> RowCalls:
        admission = self._terms.admission
        assert admission is not None, "a map may be stopped"
        return RowCalls(
            prepare=self.prepare,
            models=self.models,
            routes=self.routes,
            send=self.send,
            prepay=self.prepay,
            admission=admission,
        )
