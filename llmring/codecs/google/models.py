"""Gemini's list of models. Pure.

Format: https://ai.google.dev/api/models.
"""

from urllib.parse import quote

import msgspec

from llmring.codecs.codec import HttpCall, HttpReply, ModelPage
from llmring.codecs.google.faults import classify
from llmring.codecs.replies import is_set, read_json, request_id
from llmring.errors import BadReply
from llmring.live import LiveModel


class _Model(msgspec.Struct, rename="camel"):
    name: str | None = None
    display_name: str | None = None
    input_token_limit: int | None = None
    output_token_limit: int | None = None
    supported_generation_methods: list[str] | None = None
    thinking: bool | None = None


class _Reply(msgspec.Struct, rename="camel"):
    models: list[_Model] | None = None
    next_page_token: str | None = None
    error: msgspec.Raw = msgspec.Raw()


_REPLY = msgspec.json.Decoder(_Reply)


class GoogleModels(msgspec.Struct, frozen=True):
    """The codec. A model's capabilities are the methods it serves ("generateContent"), and "thinking"."""

    def encode(self, page: str | None) -> HttpCall:
        token = f"&pageToken={quote(page, safe='')}" if page is not None else ""
        return HttpCall(path=f"/v1beta/models?pageSize=1000{token}", method="GET")

    def decode(self, reply: HttpReply) -> ModelPage:
        found = read_json(_REPLY, reply.body, status=reply.status, request_id=request_id(reply.headers))
        if is_set(found.error):
            raise classify(reply)
        if found.models is None:
            raise BadReply("the reply lists no models", status=reply.status, request_id=request_id(reply.headers))
        models = tuple(_live(model.name, model) for model in found.models if model.name)
        return ModelPage(models=models, next=found.next_page_token or None)


def _live(name: str, model: _Model) -> LiveModel:
    thinking = ("thinking",) if model.thinking else ()
    return LiveModel(
        id=name.removeprefix("models/"),
        display_name=model.display_name or None,
        max_input_tokens=model.input_token_limit,
        max_output_tokens=model.output_token_limit,
        capabilities=frozenset((*(model.supported_generation_methods or ()), *thinking)),
    )
