"""From what a codec read to what the caller gets: who answered, after which attempts, for how much. Pure."""

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from llmring.chat import ChatResponse, Completion
from llmring.errors import Attempt
from llmring.pricing import Prices, cost_of, least_tier
from llmring.refs import ModelRef
from llmring.registry.catalog import Catalog
from llmring.usage import Cost, Usage, total


def cost(catalog: Catalog, model: ModelRef, usages: Sequence[Usage], service_tier: str | None = None) -> Cost:
    """The price of `usages` at `model`, each of one request, by the catalog; `service_tier` is the one that served."""
    prices = catalog.prices(model)
    return cost_of(usages, prices, known=catalog.get(model) is not None, service_tier=service_tier)


def embedding_cost(catalog: Catalog, model: ModelRef, usages: Sequence[Usage]) -> Cost:
    """The price of vectors: of their input alone, so that a list need not say what output costs."""
    prices = catalog.prices(model)
    if prices is not None and prices.output is None:
        prices = msgspec.structs.replace(prices, output=Decimal(0))
    return cost_of(usages, prices, known=catalog.get(model) is not None)


def least_cost(
    catalog: Catalog, model: ModelRef, usage: Usage | None, told: str | None = None, asked: str | None = None
) -> Cost:
    """What an answer that broke off costs at least, of the service tier that was told or, till then, asked for."""
    tier = least_tier(catalog.prices(model), told, asked)
    return cost(catalog, model, () if usage is None else (usage,), tier).at_least()


def priced(attempts: Sequence[Attempt], catalog: Catalog, answers: Sequence[Cost] = ()) -> tuple[Attempt, ...]:
    """The attempts, each with its own cost where one is known. `answers`: of those that answered, in order."""
    answered = [attempt for attempt in attempts if attempt.sent and attempt.error is None]
    # An answer whose usage was not told has no cost, and then it is not known whose these are.
    costs = iter(answers if len(answers) == len(answered) else ())
    found: list[Attempt] = []
    for attempt in attempts:
        known = None
        if attempt.error is not None and attempt.error.usage is not None:
            known = least_cost(catalog, attempt.model, attempt.error.usage, attempt.error.service_tier)
        elif attempt.sent and attempt.error is None:
            known = next(costs, None)
        found.append(attempt if known is None else msgspec.structs.replace(attempt, cost=known))
    return tuple(found)


def calculated(catalog: Catalog, response: ChatResponse) -> dict[str, Decimal | None] | None:
    """What an answer cost by kind of token, and the prices per million that it was billed by; None when unknown.

    `input_cost` contains `long_context_input_cost`. A price is what the tokens of its kind cost, by their number: of a
    long prompt that of its tier, of flex or a batch its share; of several answers at different prices their average.
    Where there were no such tokens it is the list's, None where the list does not say.
    """
    parts, usd, used = response.cost.breakdown, response.cost.usd, response.usage or Usage()
    if parts is None or usd is None:
        return None
    prices = catalog.prices(response.model) or Prices()
    # Two names for reading from a cache.
    read = used.cache_read_tokens, parts.cache_read
    billed = {
        "input": (used.input_tokens, parts.input),
        "output": (used.output_tokens, parts.output),
        "cached_input": read,
        "cache_read": read,
        "cache_write_5m": (used.cache_write_5m_tokens, parts.cache_write_5m),
        "cache_write_1h": (used.cache_write_1h_tokens, parts.cache_write_1h),
        "output_thinking": (used.reasoning_tokens, parts.reasoning),
    }
    return {
        "input_cost": parts.input,
        "output_cost": parts.output,
        "cache_read_cost": parts.cache_read,
        "cache_write_cost_5m": parts.cache_write_5m,
        "cache_write_cost_1h": parts.cache_write_1h,
        "cache_write_cost_other": parts.cache_write_other,
        "long_context_input_cost": parts.long_context_input,
        "reasoning_cost": parts.reasoning,
        "total_cost": usd,
        **{
            f"cost_per_million_{kind}": cost.scaleb(6) / tokens if tokens else getattr(prices, kind)
            for kind, (tokens, cost) in billed.items()
        },
    }


def usages(completion: Completion) -> tuple[Usage, ...]:
    """Of every answer that was paid for, the one that counts last."""
    return completion.earlier if completion.usage is None else (*completion.earlier, completion.usage)


def answer(
    completion: Completion, model: ModelRef, alias: str, attempts: Sequence[Attempt], catalog: Catalog
) -> ChatResponse:
    """One whole answer."""
    used = usages(completion)
    whole = cost(catalog, model, used, completion.service_tier)
    if len(used) == 1:
        each = [whole]
    else:
        each = [cost(catalog, model, (usage,), completion.service_tier) for usage in used]
    return ChatResponse(
        content=completion.content,
        model=model,
        alias=alias,
        finish_reason=completion.finish_reason,
        raw_finish_reason=completion.raw_finish_reason,
        tool_calls=completion.tool_calls,
        refusal=completion.refusal,
        parsed=completion.parsed,
        reasoning=completion.reasoning,
        native=completion.turn,
        logprobs=completion.logprobs,
        choices=completion.choices,
        notes=completion.notes,
        service_tier=completion.service_tier,
        usage=total(used),
        cost=whole,
        served_model=completion.served_model,
        response_id=completion.response_id,
        request_id=completion.request_id,
        attempts=priced(attempts, catalog, each),
    )
