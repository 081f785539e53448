"""What one request may cost at the most: every byte a token, and the longest answer, at the dearest rates. Pure."""

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from llmring.chat import ChatRequest
from llmring.codecs.capabilities import Capabilities
from llmring.pricing import Prices, RuledPrices, for_texts, is_dearer, price
from llmring.providers.estimate import Counting, most_input_tokens
from llmring.providers.fit import most_output_tokens
from llmring.usage import Usage

_EXTRA_TOKENS = 8
"""What a provider may put around a text that it makes a vector of."""


_UNBILLED = frozenset(
    {
        "logit_bias",
        "max_completion_tokens",
        "max_output_tokens",
        "max_tokens",
        "min_p",
        "mirostat",
        "repeat_penalty",
        "repetition_penalty",
        "safetySettings",
        "safety_identifier",
        "safety_settings",
        "store",
        "stop_sequences",
        "temperature",
        "top_a",
        "top_k",
        "top_p",
        "typical_p",
        "verbosity",
    }
)
"""Of `extra_params`, what changes neither the model nor the rate nor the number of answers; their length is then taken
for the longest that the model gives."""


class Most(msgspec.Struct, frozen=True, kw_only=True):
    """What one request may use at the most. `output_tokens` None: nothing bounds them."""

    input_tokens: int
    output_tokens: int | None
    caches: bool

    def usd(self, prices: Prices | None) -> Decimal | None:
        """What it may cost; None where a price or the bound is unknown."""
        if prices is None or self.output_tokens is None:
            return None
        # Each token at the dearest rate that it may have: only one of these comes, but which is told afterwards. A rate
        # that the list does not have is another's, and need not be worked out.
        inputs = [Usage(input_tokens=self.input_tokens)]
        if self.caches or _writes_unasked(prices):
            if prices.cache_write_5m is not None:
                inputs.append(Usage(cache_write_5m_tokens=self.input_tokens))
            if prices.cache_write_1h is not None:
                inputs.append(Usage(cache_write_1h_tokens=self.input_tokens))
        outputs = [Usage(output_tokens=self.output_tokens)]
        if prices.output_thinking is not None:
            outputs.append(Usage(reasoning_tokens=self.output_tokens))
        costs = [price(one + other, prices) for one in inputs for other in outputs]
        return max((cost.total for cost in costs if cost is not None), default=None)


def _writes_unasked(prices: Prices) -> bool:
    """Whether the provider keeps input in its cache of its own accord, and bills that."""
    return isinstance(prices, RuledPrices) and any(one.cache_write is not None for one in prices.rule.surcharges)


def unbounded(request: ChatRequest, prices: Prices | None) -> str | None:
    """What a request asks for that may cost more than is known here; None: nothing."""
    if prices is not None and is_dearer(prices, request.service_tier):
        return f"service tier {request.service_tier!r} has no price in the registry"
    extra = next((name for name in request.extra_params if name not in _UNBILLED), None)
    if extra is not None:
        return f"extra_params[{extra!r}] may change what it bills: set the request's own field, or leave it out"
    return None


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


def most_of_texts(texts: Sequence[str], prices: Prices | None) -> Decimal | None:
    """What vectors of `texts` may cost; None where no price is known."""
    billed = for_texts(prices)
    tokens = sum(len(text.encode(errors="replace")) + _EXTRA_TOKENS for text in texts)
    parts = price(Usage(input_tokens=tokens), billed) if billed is not None else None
    return parts.total if parts is not None else None
