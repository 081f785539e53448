"""What a model takes, as far as it is known before asking. A value; who fills it is `known`.

What is not known is allowed: a provider's own refusal is better than a wrong guess of ours, and is learned from.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

from llmring.chat import Effort

Reasoning = Literal["unknown", "never", "optional", "default", "always"]
"""Whether a model reasons: we do not know; never; when asked to; unless told not to; in any case."""

Sampling = Literal["taken", "taken without reasoning", "refused"]
"""Whether temperature, top_p and their like are taken."""

SchemaSupport = Literal["native", "tool", "json", "prompt"]
"""How JSON by a schema is had: the format has a field for it; a tool that must be called; JSON mode with the schema in
the prompt; the prompt alone."""

Control = Literal["effort", "budget"]
"""How reasoning is asked for: by a word, or by a number of tokens."""


EFFORT_TOKENS: Mapping[Effort, int] = {
    "none": 0,
    "minimal": 1024,
    "low": 2048,
    "medium": 8192,
    "high": 16_384,
    "xhigh": 24_576,
    "max": 32_768,
}
"""The budget that stands for an effort where a model takes only budgets, and the other way round."""


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """One model. `efforts`, when not empty, are all that it takes. `refused` are fields of ChatRequest, or names of
    the wire, that it does not take. Limits are in tokens.

    `reasoning_allowance` is what to add to an answer's bound for reasoning when the caller named no budget, and
    `least_reasoning_tokens` the smallest budget that it takes. `responses`: at OpenAI it is asked by Responses, not by
    chat completions. `object_roots`: a schema must describe an object.
    """

    reasoning: Reasoning = "unknown"
    controls: frozenset[Control] = frozenset({"effort", "budget"})
    efforts: tuple[Effort, ...] = ()
    sampling: Sampling = "taken"
    schema: SchemaSupport = "native"
    schema_with_tools: bool = True
    json_mode: bool = True
    object_roots: bool = False
    refused: frozenset[str] = frozenset()
    max_input_tokens: int | None = None
    max_output_tokens: int | None = None
    reasoning_allowance: int = 2000
    least_reasoning_tokens: int = 0
    responses: bool = False

    def allowance(self, effort: Effort | None, tokens: int | None) -> int:
        """How many tokens the model may use for reasoning: the caller's budget, or what stands for the effort."""
        if tokens:
            return max(tokens, self.least_reasoning_tokens)
        if effort is not None:
            return max(EFFORT_TOKENS[effort], self.reasoning_allowance)
        return self.reasoning_allowance


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model as its provider's codec needs it: its name there, and what it takes."""

    name: str
    capabilities: Capabilities = Capabilities()
