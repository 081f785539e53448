"""The models that an Ollama server has, or its cloud. Pure.

Format: https://docs.ollama.com/api/tags. It comes in one page.
"""

import msgspec

from llmring.codecs.codec import HttpCall, HttpReply, ModelPage
from llmring.codecs.ollama.faults import classify
from llmring.codecs.replies import is_set, read_json, request_id
from llmring.errors import BadReply
from llmring.live import LiveModel


class _Model(msgspec.Struct):
    name: str | None = None
    model: str | None = None
    capabilities: list[str] | None = None


class _Reply(msgspec.Struct):
    models: list[_Model] | None = None
    error: msgspec.Raw = msgspec.Raw()


_REPLY = msgspec.json.Decoder(_Reply)


class OllamaModels(msgspec.Struct, frozen=True):
    """The codec. A model's capabilities are Ollama's own words ("completion", "tools", "vision", "thinking"), which
    older servers do not tell; when a model was made is not told, only when its file was last changed."""

    def encode(self, page: str | None) -> HttpCall:
        return HttpCall(path="/api/tags", method="GET")

    def decode(self, reply: HttpReply) -> ModelPage:
        found = read_json(_REPLY, reply.body, status=reply.status, request_id=request_id(reply.headers))
        if is_set(found.error):
            raise classify(reply)
        if found.models is None:
            raise BadReply("the reply lists no models", status=reply.status, request_id=request_id(reply.headers))
        return ModelPage(
            models=tuple(
                LiveModel(id=name, capabilities=frozenset(model.capabilities or ()))
                for model in found.models
                if (name := model.model or model.name)
            )
        )
