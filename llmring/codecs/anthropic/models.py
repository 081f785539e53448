"""Anthropic's list of models. Pure.

Format: https://docs.claude.com/en/api/models-list.
"""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from llmring.codecs.anthropic.faults import VERSION, classify
from llmring.codecs.codec import HttpCall, HttpReply, ModelPage
from llmring.codecs.replies import is_set, read_json, read_time, request_id
from llmring.errors import BadReply
from llmring.live import LiveModel

_NAMES: Mapping[str, str] = {"image_input": "vision", "pdf_input": "pdf", "structured_outputs": "json_schema"}
"""Capabilities that the registry has a name for."""


class _Model(msgspec.Struct):
    id: str | None = None
    display_name: str | None = None
    created_at: str | None = None
    lifecycle: str | None = None
    max_input_tokens: int | None = None
    max_tokens: int | None = None
    capabilities: dict[str, Any] | None = None


class _Reply(msgspec.Struct):
    data: list[_Model] | None = None
    has_more: bool | None = None
    last_id: str | None = None
    error: msgspec.Raw = msgspec.Raw()


_REPLY = msgspec.json.Decoder(_Reply)


class AnthropicModels(msgspec.Struct, frozen=True):
    """The codec. Retired models, which the list remembers, are left out.

    Capabilities have the registry's names where it has one; what lies inside of one is named by its path
    ("effort.xhigh", "thinking.types.adaptive").
    """

    def encode(self, page: str | None) -> HttpCall:
        after = f"&after_id={quote(page, safe='')}" if page is not None else ""
        return HttpCall(path=f"/v1/models?limit=1000{after}", method="GET", headers=(VERSION,))

    def decode(self, reply: HttpReply) -> ModelPage:
        found = read_json(_REPLY, reply.body, status=reply.status, request_id=request_id(reply.headers))
        if is_set(found.error):
            raise classify(reply)
        if found.data is None:
            raise BadReply("the reply lists no models", status=reply.status, request_id=request_id(reply.headers))
        models = tuple(_live(model.id, model) for model in found.data if model.id and model.lifecycle != "retired")
        return ModelPage(models=models, next=(found.last_id or None) if found.has_more else None)


def _live(name: str, model: _Model) -> LiveModel:
    created = read_time(model.created_at)
    return LiveModel(
        id=name,
        display_name=model.display_name or None,
        # An unknown day is told as the epoch.
        created=created if created is not None and created.year > 1970 else None,
        max_input_tokens=model.max_input_tokens,
        max_output_tokens=model.max_tokens,
        capabilities=frozenset(_supported(model.capabilities or {})),
    )


def _supported(tree: Mapping[str, Any], path: str = "", levels: int = 4) -> Iterator[str]:
    """The names of what is supported. A part of what is not supported is not either."""
    for name, value in tree.items():
        if isinstance(value, dict) and value.get("supported") is not False:
            if value.get("supported"):
                yield path + (_NAMES.get(name, name) if not path else name)
            if levels > 1:
                yield from _supported(value, f"{path}{name}.", levels - 1)
