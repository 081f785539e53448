"""How large is a request before it is sent? Pure.

Text is counted in tokens where its vocabulary is known, and as a quarter of its characters elsewhere; images and
documents by their provider's published rule. Against OpenAI's limits a quarter of the characters counts always, for
that is what OpenAI itself charges at admission (735 of 735 recorded replies). Output is learned for each model, because
reserving the caller's `max_tokens` costs a batch up to 166 % of its time.
"""

import math

import msgspec

from llmring.chat import ChatRequest, JSONSchema, Message
from llmring.codecs.capabilities import Capabilities
from llmring.parts import AudioPart, DocumentPart, ImagePart, Inline, Part, RegisteredFile, TextPart
from llmring.providers.images import Family, document_tokens, image_tokens
from llmring.providers.memory import MOST_COUNTED, KeptOutput, weight
from llmring.providers.regime import Estimate
from llmring.providers.tokens import CHARACTERS_PER_TOKEN, count_tokens

MESSAGE_TOKENS = 4
"""What a message costs besides its text (https://github.com/openai/openai-cookbook, "How to count tokens")."""

AUDIO_TOKENS_PER_SECOND = 32
AUDIO_BYTES_PER_SECOND = 16_000
"""Gemini's price of a second (https://ai.google.dev/gemini-api/docs/tokens), and a usual second of MP3."""

COLD_OUTPUT_TOKENS = 256.0
"""Assumed until a model has answered once."""

_WEIGHT = 0.05
"""Of the newest answer in the mean: about the last 40 answers count."""

_CONFIDENT_AFTER = 20


class Counting(msgspec.Struct, frozen=True, kw_only=True):
    """How a model's input is counted: in which vocabulary, by whose rule its images, and whether text counts by
    characters whatever the vocabulary."""

    vocabulary: str | None = None
    family: Family = "other"
    by_characters: bool = True

    def text(self, text: str) -> float:
        return len(text) / CHARACTERS_PER_TOKEN if self.by_characters else count_tokens(text, self.vocabulary)


def input_tokens(request: ChatRequest, counting: Counting = Counting()) -> float:  # noqa: B008 - immutable
    """Estimated tokens of messages, tools and files."""
    tokens = sum(_message_tokens(message, counting) for message in request.messages)
    for tool in request.tools:
        tokens += counting.text(f"{tool.name}{tool.description or ''}{_json_text(tool.parameters)}")
    if isinstance(request.response_format, JSONSchema):
        tokens += counting.text(_json_text(request.response_format.schema))
    for file_id in request.files:
        tokens += _part_tokens(DocumentPart(source=RegisteredFile(id=file_id)), counting)
    return float(max(1, math.ceil(tokens)))


def _message_tokens(message: Message, counting: Counting) -> float:
    tokens = counting.text(message.text) + (0 if counting.by_characters else MESSAGE_TOKENS)
    for call in message.tool_calls:
        tokens += counting.text(call.name + call.arguments)
    if isinstance(message.content, tuple):
        tokens += sum(_part_tokens(part, counting) for part in message.content)
    return tokens


def _part_tokens(part: Part, counting: Counting) -> float:
    """What a part costs besides the text of its message."""
    match part:
        case TextPart():
            return 0.0
        case ImagePart():
            return image_tokens(part, counting.family)
        case DocumentPart():
            return document_tokens(part, counting.family)
        case AudioPart():
            return _audio_tokens(part)


def _audio_tokens(part: AudioPart) -> float:
    size = len(part.source.data) * 3 / 4 if isinstance(part.source, Inline) else 60 * AUDIO_BYTES_PER_SECOND
    return size / AUDIO_BYTES_PER_SECOND * AUDIO_TOKENS_PER_SECOND


def _json_text(value: object) -> str:
    return "" if value is None else msgspec.json.encode(value).decode()


def context_problem(request: ChatRequest, capabilities: Capabilities, counting: Counting) -> str | None:
    """What speaks against sending `request` to a model, with numbers; None when nothing is known to."""
    exact = msgspec.structs.replace(counting, by_characters=False)
    needed, most_in = input_tokens(request, exact), capabilities.max_input_tokens
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

    def memory(self) -> KeptOutput | None:
        """None while no answer has come."""
        if self._count == 0:
            return None
        return KeptOutput(count=min(self._count, MOST_COUNTED), mean=self._mean, variance=self._variance)

    def recall(self, kept: KeptOutput, age_seconds: float) -> None:
        """Begin with what an earlier process has kept, so long ago: old answers count for fewer."""
        self._count = int(kept.count * weight(age_seconds))
        self._mean, self._variance = kept.mean, kept.variance


def estimate(request: ChatRequest, output: OutputEstimate, counted_tokens: float) -> Estimate:
    """What `request`, of so many tokens, is expected to use; the output never more than the caller's `max_tokens`."""
    bound = float(request.max_tokens) if request.max_tokens is not None else math.inf
    expected = min(output.tokens, bound)
    return Estimate(
        input_tokens=counted_tokens,
        output_tokens=expected,
        max_output_tokens=bound if math.isfinite(bound) else expected,
    )
