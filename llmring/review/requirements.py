"""Whether a model is what a binding asks of its models, by the registry. Pure."""

from llmring.lockfile.constraints import Requirements
from llmring.registry.catalog import ModelFacts, blended_usd


def failings(facts: ModelFacts, required: Requirements) -> tuple[str, ...]:
    """What speaks against the model, in words; empty when nothing does. What the registry does not say speaks against
    it too: a requirement that cannot be checked does not hold."""
    return (*_context(facts, required), *_cost(facts, required), *_capabilities(facts, required))


def _context(facts: ModelFacts, required: Requirements) -> tuple[str, ...]:
    least, given = required.min_context, facts.max_input_tokens
    if least is None or (given is not None and given >= least):
        return ()
    if given is None:
        return (f"the registry does not say how much input it takes (min_context {least:,})",)
    return (f"takes {given:,} tokens of input, less than min_context {least:,}",)


def _cost(facts: ModelFacts, required: Requirements) -> tuple[str, ...]:
    most, given = required.max_cost, blended_usd(facts)
    if most is None or (given is not None and given <= most):
        return ()
    if given is None:
        return (f"the registry has no price of it (max_cost {most:f})",)
    return (f"costs ${given.normalize():f} per million tokens, more than max_cost {most:f}",)


def _capabilities(facts: ModelFacts, required: Requirements) -> tuple[str, ...]:
    lacking = [name for name in required.supports if name not in facts.capabilities]
    return (f"does not support {', '.join(lacking)}",) if lacking else ()
