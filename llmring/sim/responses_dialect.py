"""How OpenAI's Responses API answers errors, where that differs from its other endpoints. Pure."""

import msgspec

from llmring.sim import openai_dialect
from llmring.sim.openai_dialect import identify, key, limit_headers
from llmring.sim.wire import Failure, Problem

__all__ = ["failure", "identify", "key", "limit_headers"]


def failure(problem: Problem) -> Failure:
    """An unknown model is a 400 here, and a long prompt is called input."""
    if problem.kind == "unknown_model":
        told = msgspec.structs.replace(problem, status=400, parameter="model")
        return openai_dialect.failure(told)
    if problem.kind == "context":
        return openai_dialect.failure(msgspec.structs.replace(problem, parameter="input"))
    return openai_dialect.failure(problem)
