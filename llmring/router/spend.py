"""What a map may spend: dollars spent, dollars reserved, and a cap that the two together never pass. Pure.

    reserve  before a request is sent, what it may cost at the most
    settle   when it has ended, what it did cost; unknown: what it may have cost

Whatever the order of these, spent + reserved <= cap, as long as nothing costs more than was reserved for it.
"""

import itertools
from decimal import Decimal

import msgspec

from llmring.chat import ChatRequest
from llmring.codecs.capabilities import Capabilities
from llmring.pricing import Prices, price
from llmring.providers.estimate import Counting, most_input_tokens
from llmring.providers.fit import most_output_tokens
from llmring.usage import Usage

_ZERO = Decimal(0)


class Most(msgspec.Struct, frozen=True, kw_only=True):
    """What one request may use at the most. `output_tokens` None: nothing bounds them."""

    input_tokens: int
    output_tokens: int | None
    caches: bool

    def usd(self, prices: Prices | None) -> Decimal | None:
        """What it may cost; None where a price or the bound is unknown."""
        if prices is None or self.output_tokens is None:
            return None
        # Each token at the dearest rate that it may have: only one of these comes, but which is told afterwards.
        inputs = [Usage(input_tokens=self.input_tokens)]
        if self.caches:
            inputs += [Usage(cache_write_5m_tokens=self.input_tokens), Usage(cache_write_1h_tokens=self.input_tokens)]
        outputs = [Usage(output_tokens=self.output_tokens), Usage(reasoning_tokens=self.output_tokens)]
        costs = [price(one + other, prices) for one in inputs for other in outputs]
        return max((cost.total for cost in costs if cost is not None), default=None)


def most(request: ChatRequest, capabilities: Capabilities, counting: Counting) -> Most:
    """What `request` may use at a model."""
    # What a model has been seen to refuse is not sent, and `extra_params` may set anything.
    unbounded = "max_tokens" in capabilities.refused or bool(request.extra_params)
    bounded = msgspec.structs.replace(request, max_tokens=None) if unbounded else request
    output = most_output_tokens(bounded, capabilities)
    return Most(
        input_tokens=most_input_tokens(request, counting),
        output_tokens=None if output is None else output * (request.n or 1),
        caches=_caches(request),
    )


def _caches(request: ChatRequest) -> bool:
    """Whether anything asks to be kept, which some providers bill more than plain input."""
    if request.cache is not None or request.extra_params:
        return True
    parts = [part for message in request.messages for part in message.parts]
    marked = (*request.messages, *request.tools, *parts)
    return any(one.cache is not None for one in marked)


class Spend:
    """Dollars. `spent` may pass the cap only when a provider charges more than was thought possible."""

    def __init__(self, cap: Decimal) -> None:
        self.cap = cap
        self.spent = _ZERO
        self.reserved = _ZERO
        self._numbers = itertools.count()
        self._open: dict[int, Decimal] = {}

    @property
    def under_way(self) -> int:
        """How many reservations are open: what they do not need comes back."""
        return len(self._open)

    def fits(self, usd: Decimal) -> bool:
        return self.spent + self.reserved + usd <= self.cap

    def reserve(self, usd: Decimal) -> int | None:
        """Set `usd` aside, and return the number to settle it by; None when it does not fit."""
        if not self.fits(usd):
            return None
        number = next(self._numbers)
        self._open[number] = usd
        self.reserved += usd
        return number

    def held(self, number: int) -> Decimal:
        """What is set aside under a number."""
        return self._open[number]

    def settle(self, number: int, usd: Decimal) -> None:
        """It did cost `usd`; the rest of the reservation is free. Once a number."""
        self.reserved -= self._open.pop(number)
        self.spent += usd
