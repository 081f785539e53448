"""The money of a map's rows: set aside before every attempt, settled after it. Waits where others may give some back.

The arithmetic is that of money/spend.py. Nobody waits here while holding anything: neither a place at a provider nor a
reservation of its own, so that no two wait for one another.
"""

import logging
from collections.abc import Callable, Sequence
from decimal import Decimal

import trio

from llmring.chat import ChatRequest, Completion
from llmring.errors import BudgetExceeded, ConfigError, InvalidRequest, ProviderError
from llmring.money.amounts import to_nanos, to_usd
from llmring.money.payment import MAY_BE_BILLED, chat_usd
from llmring.money.spend import Spend
from llmring.money.worst import most, unbounded
from llmring.pricing import Prices
from llmring.providers.route import Route
from llmring.refs import ModelRef

_LOG = logging.getLogger("llmring")


class Purse:
    """The money of a whole map: `spend`, and the prices of models as they are known now."""

    def __init__(self, cap: Decimal, prices: Callable[[ModelRef], Prices | None]) -> None:
        self.spend = Spend(to_nanos(cap))
        self.prices = prices
        self._changed = trio.Event()
        self._has_warned = False

    def check(self, routes: Sequence[Route]) -> None:
        """Refuse models whose price is unknown. Raises ConfigError that names the first of them."""
        for route in routes:
            prices = self.prices(route.ref)
            if route.credential.missing is None and (prices is None or prices.input is None or prices.output is None):
                raise ConfigError(f"budget: {route.ref} has no price in the registry, so nothing bounds what it costs")

    def most_usd(self, request: ChatRequest, routes: Sequence[Route]) -> dict[ModelRef, Decimal]:
        """What one attempt may cost at each of `routes` that can be asked.

        Raises ConfigError for an unknown price, InvalidRequest for an answer of unknown length, a service tier of
        unknown price or an extra parameter that may be billed.
        """
        self.check(routes)
        usd: dict[ModelRef, Decimal] = {}
        for route in routes:
            if route.credential.missing is None:
                prices = self.prices(route.ref)
                why = unbounded(request, prices)
                if why is not None:
                    raise InvalidRequest(f"budget: nothing bounds what {route.ref} costs: {why}")
                highest = most(request, route.model.capabilities, route.counting).usd(prices)
                if highest is None:
                    raise InvalidRequest(f"budget: nothing bounds an answer of {route.ref}: set max_tokens")
                usd[route.ref] = highest
        return usd

    async def reserve(self, usd: Decimal) -> int:
        """Set `usd` aside, as soon as it is there. Raises BudgetExceeded when nobody is left to give any back."""
        while (number := self.spend.reserve(to_nanos(usd))) is None:
            spend = self.spend
            if spend.under_way == 0:
                raise BudgetExceeded(to_usd(spend.cap), to_usd(spend.spent), to_usd(spend.reserved), usd)
            self._warn(usd)
            await self._changed.wait()
        return number

    def _warn(self, usd: Decimal) -> None:
        """Say once what makes a run slow that could be fast."""
        if not self._has_warned:
            self._has_warned = True
            told = "budget: $%s bounds the rows under way to %d, for the next may cost $%s: max_tokens lowers that"
            _LOG.warning(told, to_usd(self.spend.cap), self.spend.under_way, usd)

    def settle(self, number: int, usd: Decimal) -> None:
        self.spend.settle(number, to_nanos(usd))
        self._changed.set()
        self._changed = trio.Event()


class Account:
    """The money of one row, attempt by attempt."""

    def __init__(self, purse: Purse) -> None:
        self._purse = purse
        self._number: int | None = None
        self._most_usd: dict[ModelRef, Decimal] = {}

    async def reserve(self, request: ChatRequest, routes: Sequence[Route]) -> None:
        """Before an attempt, or the wait for one: have set aside what it may cost at the dearest of `routes`.

        Raises BudgetExceeded, ConfigError, InvalidRequest. Cancelled: nothing is set aside.
        """
        self._most_usd = self._purse.most_usd(request, routes)
        needed = max(self._most_usd.values(), default=Decimal(0))
        if self._number is not None and self._purse.spend.held(self._number) >= to_nanos(needed):
            return
        self.close()
        self._number = await self._purse.reserve(needed)

    def answered(self, completion: Completion, route: Route) -> None:
        """The attempt was answered."""
        usd = chat_usd(completion, self._purse.prices(route.ref))
        self._settle(usd if usd is not None else self._most_usd[route.ref])

    def failed(self, error: BaseException, route: Route) -> None:
        """The attempt failed, or was cut off. What a provider refuses it does not bill, and then the reservation stands
        for the next one; an answer that was begun it may bill whole."""
        status = error.status or 0 if isinstance(error, ProviderError) else 0
        if isinstance(error, ProviderError) and (not error.sent or (status >= 400 and status not in MAY_BE_BILLED)):
            return
        self._settle(self._most_usd[route.ref])

    def paid(self, usd: Decimal | None, model: ModelRef) -> None:
        """The row was answered outside of the online calls, for so much; None: unknown."""
        self._settle(usd if usd is not None else self._most_usd[model])

    def close(self) -> None:
        """Give back what is set aside and was not used."""
        self._settle(Decimal(0))

    def _settle(self, usd: Decimal) -> None:
        if self._number is not None:
            number, self._number = self._number, None
            self._purse.settle(number, usd)
