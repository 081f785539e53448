"""From what a codec read to what the caller gets: who answered, after which attempts, for how much. Pure."""

from collections.abc import Sequence

from llmring.chat import ChatResponse, Completion
from llmring.errors import Attempt
from llmring.pricing import cost_of
from llmring.refs import ModelRef
from llmring.registry.catalog import Catalog
from llmring.usage import Cost, Usage, total


def cost(catalog: Catalog, model: ModelRef, usages: Sequence[Usage]) -> Cost:
    """The price of `usages` at `model`, each of one request, by the catalog."""
    return cost_of(usages, catalog.prices(model), known=catalog.get(model) is not None)


def usages(completion: Completion) -> tuple[Usage, ...]:
    """Of every answer that was paid for, the one that counts last."""
    return completion.earlier if completion.usage is None else (*completion.earlier, completion.usage)


def answer(
    completion: Completion, model: ModelRef, alias: str, attempts: Sequence[Attempt], catalog: Catalog
) -> ChatResponse:
    """One whole answer."""
    used = usages(completion)
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
        cost=cost(catalog, model, used),
        served_model=completion.served_model,
        response_id=completion.response_id,
        request_id=completion.request_id,
        attempts=tuple(attempts),
    )
