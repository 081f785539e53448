"""The list of models from `/models`, with what each provider adds to it. Pure.

OpenAI tells little more than names. OpenRouter, Mistral, Groq, Together and vLLM also tell limits and abilities, each
under its own names; all of them are read wherever they stand. Together sends the bare list.
"""

from datetime import UTC, datetime
from typing import Any

import msgspec

from llmring.codecs.codec import HttpCall, HttpReply, ModelPage
from llmring.codecs.openai.faults import classify
from llmring.codecs.replies import is_set, read_json, request_id
from llmring.errors import BadReply
from llmring.live import LiveModel


class _Model(msgspec.Struct):
    """Of any type: one odd model spoils no list."""

    id: Any = None
    created: Any = None
    name: Any = None  # OpenRouter
    display_name: Any = None  # Together
    context_length: Any = None  # OpenRouter, Together
    context_window: Any = None  # Groq
    max_context_length: Any = None  # Mistral
    max_model_len: Any = None  # vLLM
    max_completion_tokens: Any = None  # Groq
    top_provider: Any = None  # OpenRouter
    architecture: Any = None  # OpenRouter
    supported_parameters: Any = None  # OpenRouter
    capabilities: Any = None  # Mistral


class _List(msgspec.Struct):
    data: list[_Model] | None = None
    error: msgspec.Raw = msgspec.Raw()


_LIST: msgspec.json.Decoder[_List | list[_Model]] = msgspec.json.Decoder(_List | list[_Model])

_ABILITIES = {
    # OpenRouter's kinds of input and parameters.
    "image": "vision",
    "audio": "audio",
    "file": "documents",
    "tools": "function_calling",
    "tool_choice": "tool_choice",
    "parallel_tool_calls": "parallel_tool_calls",
    "response_format": "json_mode",
    "structured_outputs": "json_schema",
    "reasoning": "reasoning",
    "logprobs": "logprobs",
    # Mistral's.
    "function_calling": "function_calling",
    "vision": "vision",
}
"""Their words for what a model can do, and ours."""


class OpenAIModels(msgspec.Struct, frozen=True):
    """A ModelsCodec. The list is one page."""

    def encode(self, page: str | None) -> HttpCall:
        return HttpCall(path="/models", method="GET")

    def decode(self, reply: HttpReply) -> ModelPage:
        """Read a 2xx reply. Raises BadReply, or the error that its body carries."""
        asked = request_id(reply.headers)
        found = read_json(_LIST, reply.body, status=reply.status, request_id=asked)
        if isinstance(found, _List):
            if is_set(found.error):
                raise classify(reply)
            if found.data is None:
                raise BadReply("the reply holds no list of models", status=reply.status, request_id=asked)
            found = found.data
        return ModelPage(models=tuple(_model(model) for model in found if _text(model.id)))


def _model(model: _Model) -> LiveModel:
    top = model.top_provider if isinstance(model.top_provider, dict) else {}
    windows = (model.context_length, model.context_window, model.max_context_length, model.max_model_len)
    return LiveModel(
        id=model.id,
        display_name=_text(model.display_name) or _text(model.name),
        created=_time(model.created),
        max_input_tokens=next((n for n in map(_number, windows) if n is not None), None),
        max_output_tokens=_number(model.max_completion_tokens) or _number(top.get("max_completion_tokens")),
        capabilities=frozenset(_ABILITIES[word] for word in _words(model) if word in _ABILITIES),
    )


def _words(model: _Model) -> set[str]:
    architecture = model.architecture if isinstance(model.architecture, dict) else {}
    lists = (architecture.get("input_modalities"), model.supported_parameters)
    words = {word for found in lists if isinstance(found, list) for word in found if isinstance(word, str)}
    flags = model.capabilities if isinstance(model.capabilities, dict) else {}
    return words | {word for word, able in flags.items() if able is True}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _time(value: Any) -> datetime | None:
    """Seconds since 1970. Servers that do not know say 0."""
    if not isinstance(value, int | float) or not value:
        return None
    try:
        return datetime.fromtimestamp(value, UTC)
    except (OverflowError, ValueError, OSError):
        return None
