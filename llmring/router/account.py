"""The money of a map's rows: set aside before every attempt, settled after it. Waits where others may give some back.

The arithmetic, and the line of those who wait, are those of a budget that is kept in memory (money/pot.py). Nobody
waits here while holding anything: neither a place at a provider nor a reservation of its own, so that no two wait for
one another.
"""

import logging
from collections.abc import Callable, Sequence
from decimal import Decimal

import trio

from llmring.chat import ChatRequest, Completion
from llmring.errors import BudgetExceeded, ConfigError, ProviderError
from llmring.lockfile.budgets import Budget
from llmring.money.amounts import to_nanos, to_usd
from llmring.money.payment import MAY_BE_BILLED, chat_usd
from llmring.money.periods import RUN
from llmring.money.pot import Pot, Waiting
from llmring.pricing import Prices
from llmring.providers.route import Route
from llmring.refs import ModelRef

_LOG = logging.getLogger("llmring")

_SHORTEST = ChatRequest(model="", messages=(), max_tokens=1)
"""What any model with a price could be paid for."""


class Purse:
    """The money of a whole map: a pot of its own. `most` is what a request may cost at a route, in nano-dollars, and
    raises ConfigError where nothing bounds it; `prices` are those of models as they are known now."""

    def __init__(
        self,
        cap: Decimal,
        most: Callable[[ChatRequest, Route], int],
        prices: Callable[[ModelRef], Prices | None],
    ) -> None:
        budget = Budget(name="map", limit=cap, per="run")
        self.pot = Pot(budget, RUN, "", (None, None, None), holder="", is_shared=False, now=0.0)
        self._most = most
        self.prices = prices
        self._has_warned = False

    def check(self, routes: Sequence[Route]) -> None:
        """Refuse models whose price is unknown. Raises ConfigError that names the first of them."""
        for route in routes:
            if route.credential.missing is None:
                self.bound(_SHORTEST, route)

    def bound(self, request: ChatRequest, route: Route) -> int:
        """What an attempt may cost at the most. Raises ConfigError, InvalidRequest."""
        try:
            return self._most(request, route)
        except ConfigError as error:
            raise type(error)(f"budget: {error}") from None

    async def reserve(self, nanos: int) -> int:
        """Set so much aside, as soon as it is there. Raises BudgetExceeded when nobody can give back enough."""
        pot = self.pot
        while (number := pot.take(nanos, trio.current_time())) is None:
            if pot.is_hopeless(nanos):
                raise BudgetExceeded(to_usd(pot.cap), to_usd(pot.spent), to_usd(pot.reserved), to_usd(nanos))
            self._warn(nanos)
            woken = trio.Event()
            one = Waiting(nanos, woken.set)
            pot.waiting[one] = None
            try:
                await woken.wait()
            except BaseException:
                if pot.waiting.pop(one, one) is one:
                    # It was woken, and does not look: others may.
                    pot.wake()
                raise
        return number

    def _warn(self, nanos: int) -> None:
        """Say once what makes a run slow that could be fast."""
        if not self._has_warned:
            self._has_warned = True
            told = "budget: $%s bounds the rows under way to %d, for the next may cost $%s: max_tokens lowers that"
            _LOG.warning(told, to_usd(self.pot.cap), self.pot.under_way, to_usd(nanos))

    def settle(self, number: int, nanos: int) -> None:
        self.pot.end(number, nanos, trio.current_time())


class Account:
    """The money of one row, attempt by attempt."""

    def __init__(self, purse: Purse) -> None:
        self._purse = purse
        self._number: int | None = None
        self._most: dict[ModelRef, int] = {}

    async def reserve(self, request: ChatRequest, routes: Sequence[Route]) -> None:
        """Before an attempt, or the wait for one: have set aside what it may cost at the dearest of `routes`.

        Raises BudgetExceeded, ConfigError, InvalidRequest. Cancelled: nothing is set aside.
        """
        self._most = {
            route.ref: self._purse.bound(request, route) for route in routes if route.credential.missing is None
        }
        needed = max(self._most.values(), default=0)
        if self._number is not None and self._held >= needed:
            return
        self.close()
        self._number = await self._purse.reserve(needed)

    def covers(self, request: ChatRequest, route: Route) -> bool:
        """Whether what is set aside is enough for an attempt at `route` now: a model may have said meanwhile what it
        does not take, such as a bound of its answer."""
        try:
            most = self._most[route.ref] = self._purse.bound(request, route)
        except ConfigError:
            # Looked at again, and refused there.
            return False
        return self._held >= most

    @property
    def _held(self) -> int:
        return self._purse.pot.held(self._number) if self._number is not None else 0

    def answered(self, completion: Completion, route: Route) -> None:
        """The attempt was answered."""
        self.paid(chat_usd(completion, self._purse.prices(route.ref)), route.ref)

    def failed(self, error: BaseException, route: Route) -> None:
        """The attempt failed, or was cut off. What a provider refuses it does not bill, and then the reservation stands
        for the next one; an answer that was begun it may bill whole."""
        status = error.status or 0 if isinstance(error, ProviderError) else 0
        if isinstance(error, ProviderError) and (not error.sent or (status >= 400 and status not in MAY_BE_BILLED)):
            return
        self._settle(self._most[route.ref])

    def paid(self, usd: Decimal | None, model: ModelRef) -> None:
        """The row was answered for so much, online or in a batch; None: unknown."""
        self._settle(to_nanos(usd) if usd is not None else self._most[model])

    def close(self) -> None:
        """Give back what is set aside and was not used."""
        self._settle(0)

    def _settle(self, nanos: int) -> None:
        if self._number is not None:
            number, self._number = self._number, None
            self._purse.settle(number, nanos)
