"""How large is a request before it is sent? Pure.

Input is a quarter of its characters: what OpenAI itself charges at admission (735 of 735 recorded replies). Output is
learned for each model, because reserving the caller's `max_tokens` costs a batch up to 166 % of its time.
"""

import math

import msgspec

from llmring.chat import ChatRequest
from llmring.codecs.capabilities import Capabilities
from llmring.providers.regime import Estimate

CHARACTERS_PER_TOKEN = 4

COLD_OUTPUT_TOKENS = 256.0
"""Assumed until a model has answered once."""

_WEIGHT = 0.05
"""Of the newest answer in the mean: about the last 40 answers count."""

_CONFIDENT_AFTER = 20


def input_tokens(request: ChatRequest) -> float:
    """Estimated tokens of messages and tools."""
    characters = sum(
        len(message.text) + sum(len(call.name) + len(call.arguments) for call in message.tool_calls)
        for message in request.messages
    )
    if request.tools:
        characters += len(msgspec.json.encode(request.tools))
    return float(max(1, math.ceil(characters / CHARACTERS_PER_TOKEN)))


def context_problem(request: ChatRequest, capabilities: Capabilities) -> str | None:
    """What speaks against sending `request` to a model, with numbers; None when nothing is known to."""
    needed, most_in = input_tokens(request), capabilities.max_input_tokens
    if most_in is not None and needed > most_in:
        return f"Estimated input tokens ({needed:.0f}) exceeds model input limit ({most_in})"
    most_out = capabilities.max_output_tokens
    if most_out is not None and request.max_tokens is not None and request.max_tokens > most_out:
        return f"Requested max tokens ({request.max_tokens}) exceeds model output limit ({most_out})"
    return None


class OutputEstimate:
    """A running mean of a model's output, one standard deviation on top while few answers are known."""

    __slots__ = ("_count", "_mean", "_variance")

    def __init__(self) -> None:
        self._count = 0
        self._mean = COLD_OUTPUT_TOKENS
        self._variance = 0.0

    @property
    def tokens(self) -> float:
        doubt = math.sqrt(self._variance) if self._count < _CONFIDENT_AFTER else 0.0
        return max(1.0, self._mean + doubt)

    def add(self, output_tokens: float) -> None:
        if self._count == 0:
            self._mean = output_tokens
        else:
            weight = max(_WEIGHT, 1.0 / (self._count + 1))
            step = output_tokens - self._mean
            self._mean += weight * step
            self._variance = (1.0 - weight) * (self._variance + weight * step * step)
        self._count += 1


def estimate(request: ChatRequest, output: OutputEstimate) -> Estimate:
    """What `request` is expected to use; the output never more than the caller's `max_tokens`."""
    bound = float(request.max_tokens) if request.max_tokens is not None else math.inf
    expected = min(output.tokens, bound)
    return Estimate(
        input_tokens=input_tokens(request),
        output_tokens=expected,
        max_output_tokens=bound if math.isfinite(bound) else expected,
    )
