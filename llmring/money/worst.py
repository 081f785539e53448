"""What one request may cost at the most: the longest input and answer that it may have, at the dearest rates. Pure.

The one notion of it: budgets and maps reserve it, and `router.estimate` tells it.
"""

import re
from collections.abc import Sequence
from decimal import Decimal

import msgspec

from llmring.billing import USUAL
from llmring.chat import ChatRequest
from llmring.codecs.capabilities import Capabilities, Model
from llmring.lockfile.providers import Kind
from llmring.money.inputs import Inputs, inputs
from llmring.pricing import Prices, RuledPrices, for_texts, is_dearer, price
from llmring.providers.fit import most_output_tokens
from llmring.providers.images import Family
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


_SEARCHING = re.compile(r".*-search-preview.*|.*:online|(?:.*/)?sonar.*|(?:.*/)?compound.*")
"""Models that search the web unasked, which is billed by the search (https://openai.com/api/pricing,
https://openrouter.ai/docs/features/web-search, https://docs.perplexity.ai/guides/pricing,
https://console.groq.com/docs/compound)."""


class Most(msgspec.Struct, frozen=True, kw_only=True):
    """What one request may use at the most, all its answers together, and cost. `unbounded` says what may cost more
    than is known here, and what to do about it; None: nothing. None elsewhere: nothing bounds it, or no price is known.
    """

    input_tokens: int | None
    output_tokens: int | None
    usd: Decimal | None
    unbounded: str | None = None


def most(request: ChatRequest, model: Model, family: Family, kind: Kind, prices: Prices | None) -> Most:
    """What `request`, with its registered files shown, may use and cost at a model behind a server of `kind`."""
    found = inputs(request, family, kind)
    input_tokens = _input_tokens(found, model.capabilities)
    output_tokens = _output_tokens(request, model.capabilities)
    why = _unbounded(request, model.name, found, prices)
    if why is None and input_tokens is None:
        why = (
            f"{found.unseen} may be as long as all that the model reads, and the registry does not say how much that "
            "is: send its text, or use a model of known size"
        )
    if why is None and output_tokens is None:
        why = "an answer may have any length: set max_tokens"
    usd = None
    if why is None and prices is not None and input_tokens is not None and output_tokens is not None:
        usd = _usd(input_tokens, output_tokens, prices, caches=_caches(request))
    return Most(input_tokens=input_tokens, output_tokens=output_tokens, usd=usd, unbounded=why)


def _input_tokens(found: Inputs, capabilities: Capabilities) -> int | None:
    if found.unseen is None:
        return found.tokens
    # What is published as the most input is mostly the context window less the longest answer.
    most_in, most_out = capabilities.max_input_tokens, capabilities.max_output_tokens
    return None if most_in is None or most_out is None else max(found.tokens, most_in + most_out)


def _output_tokens(request: ChatRequest, capabilities: Capabilities) -> int | None:
    # What a model has been seen to refuse is not sent, and `extra_params` may set anything.
    is_open = "max_tokens" in capabilities.refused or bool(request.extra_params)
    bounded = msgspec.structs.replace(request, max_tokens=None) if is_open else request
    output = most_output_tokens(bounded, capabilities)
    return None if output is None else output * (request.n or 1)


def _unbounded(request: ChatRequest, model: str, found: Inputs, prices: Prices | None) -> str | None:
    """What a request asks for that has no price here."""
    if prices is not None and is_dearer(prices, request.service_tier):
        return f"service tier {request.service_tier!r} has no price in the registry"
    extra = next((name for name in request.extra_params if name not in _UNBILLED), None)
    if extra is not None:
        return f"extra_params[{extra!r}] may change what it bills: set the request's own field, or leave it out"
    if found.apart is not None:
        return f"{found.apart} is billed at rates that the registry does not have: leave it out, or send text"
    if _SEARCHING.fullmatch(model):
        return "it searches the web by itself, which is billed by the search: use a model that does not"
    return None


def _usd(input_tokens: int, output_tokens: int, prices: Prices, *, caches: bool) -> Decimal | None:
    """None where a price is unknown."""
    # Each token at the dearest rate that it may have: only one of these comes, but which is told afterwards. A rate
    # that the list does not have is another's, and need not be worked out.
    given = [Usage(input_tokens=input_tokens)]
    if caches or _writes_unasked(prices):
        if prices.cache_write_5m is not None:
            given.append(Usage(cache_write_5m_tokens=input_tokens))
        if prices.cache_write_1h is not None:
            given.append(Usage(cache_write_1h_tokens=input_tokens))
    answered = [Usage(output_tokens=output_tokens)]
    if prices.output_thinking is not None:
        answered.append(Usage(reasoning_tokens=output_tokens))
    costs = [price(one + other, prices) for one in given for other in answered]
    return max((cost.total for cost in costs if cost is not None), default=None)


def _writes_unasked(prices: Prices) -> bool:
    """Whether the provider keeps input in its cache of its own accord, and bills that, as far as is known."""
    if not isinstance(prices, RuledPrices) or prices.rule is USUAL:
        return True
    return any(one.cache_write is not None for one in prices.rule.surcharges)


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
