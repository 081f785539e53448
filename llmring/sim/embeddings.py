"""Embeddings: the vectors, and the endpoints of OpenAI, Gemini and Ollama that answer with them.

A vector has length one and depends on its text alone; a shorter one of the same text is the beginning of the
longer one, scaled. Vectors of different texts are unrelated, however alike the texts are.
"""

import base64
import hashlib
import math
import random
import struct
from collections.abc import Mapping
from typing import TypeVar

import msgspec

from llmring.sim.google_request import decoded, model_of
from llmring.sim.wire import Answer, Ask, Problem, Rejected, tokens_in

_MOST_TEXTS = 2048
_MOST_DIMENSIONS = 4096
_OPENAI_DIMENSIONS = 1536
_GOOGLE_DIMENSIONS = 3072
_OLLAMA_DIMENSIONS = 768

_T = TypeVar("_T")


def vector(text: str, dimensions: int) -> list[float]:
    chance = random.Random(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
    values = [chance.gauss(0.0, 1.0) for _ in range(dimensions)]
    length = math.sqrt(sum(value * value for value in values)) or 1.0
    return [value / length for value in values]


def _vectors(ask: Ask) -> list[list[float]]:
    return [vector(text, ask.dimensions) for text in ask.texts]


def _ask(model: str, texts: list[str], dimensions: int, echo: Mapping[str, object] | None = None) -> Ask:
    if not 1 <= dimensions <= _MOST_DIMENSIONS:
        raise _invalid("dimensions", f"Invalid value for 'dimensions': must be between 1 and {_MOST_DIMENSIONS}.")
    return Ask(
        model=model,
        input_tokens=sum(tokens_in(len(text)) for text in texts),
        prompt="",
        after_tool_result=False,
        tools=(),
        tool_choice="none",
        named_tool="",
        parallel_tools=False,
        max_tokens=None,
        stops=(),
        reply_schema=None,
        stream=False,
        stream_usage=False,
        texts=tuple(texts),
        dimensions=dimensions,
        echo=echo or {},
    )


def _invalid(parameter: str, message: str) -> Rejected:
    return Rejected(Problem(kind="bad_field", parameter=parameter, detail=message))


def _converted(value: object, kind: type[_T]) -> _T:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise _invalid("", f"Invalid type: {error}") from error


def _parsed(body: bytes, kind: type[_T]) -> _T:
    try:
        return _converted(msgspec.json.decode(body), kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Rejected(Problem(kind="bad_json", detail=str(error))) from error


class _OpenAIRequest(msgspec.Struct):
    model: str | None = None
    input: str | list[str | int | list[int]] | None = None
    dimensions: int | None = None
    encoding_format: str | None = None


class OpenAIEmbeddings:
    """POST /v1/embeddings: text, tokens, or lists of either."""

    def read(self, _headers: Mapping[bytes, bytes], body: bytes, _target: str = "") -> Ask:
        request = _parsed(body, _OpenAIRequest)
        for field in ("model", "input"):
            if getattr(request, field) is None:
                raise Rejected(Problem(kind="missing_field", detail=field))
        texts = _texts(request.input or "")
        if not texts or not all(texts) or len(texts) > _MOST_TEXTS:
            raise _invalid("input", f"'$.input' is invalid: 1 to {_MOST_TEXTS} texts are expected, none of them empty.")
        if request.encoding_format not in (None, "float", "base64"):
            raise _invalid("encoding_format", "Invalid value for 'encoding_format': 'float' and 'base64' are known.")
        dimensions = _OPENAI_DIMENSIONS if request.dimensions is None else request.dimensions
        return _ask(request.model or "", texts, dimensions, {"base64": request.encoding_format == "base64"})

    def whole(self, ask: Ask, _answer: Answer, *, finished: bool = True) -> bytes:
        spell = _base64 if ask.echo["base64"] else list[float]
        data = [
            {"object": "embedding", "index": index, "embedding": spell(values)}
            for index, values in enumerate(_vectors(ask))
        ]
        usage = {"prompt_tokens": ask.input_tokens, "total_tokens": ask.input_tokens}
        return msgspec.json.encode({"object": "list", "data": data, "model": ask.model, "usage": usage})


def _texts(given: str | list[str | int | list[int]]) -> list[str]:
    """Tokens are written out; a list of numbers is one text."""
    if isinstance(given, str):
        return [given]
    if given and isinstance(given[0], int):
        return [str(given)]
    return [one if isinstance(one, str) else str(one) for one in given]


def _base64(values: list[float]) -> str:
    """Little-endian float32."""
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()


class _GooglePart(msgspec.Struct):
    text: str = ""


class _GoogleContent(msgspec.Struct):
    parts: list[_GooglePart] = []


class _GoogleConfig(msgspec.Struct, rename="camel"):
    output_dimensionality: int | None = None


class _GoogleRequest(msgspec.Struct, rename="camel"):
    content: _GoogleContent | None = None
    output_dimensionality: int | None = None
    embed_content_config: _GoogleConfig | None = None

    def dimensions(self) -> int:
        config = self.embed_content_config or _GoogleConfig()
        return self.output_dimensionality or config.output_dimensionality or _GOOGLE_DIMENSIONS


class _GoogleBatch(msgspec.Struct):
    requests: list[_GoogleRequest] = []


class GoogleEmbeddings:
    """POST /v1beta/models/{m}:embedContent and :batchEmbedContents."""

    def read(self, _headers: Mapping[bytes, bytes], body: bytes, target: str = "") -> Ask:
        batch = ":batchEmbedContents" in target
        tree = decoded(body)
        requests = _converted(tree, _GoogleBatch).requests if batch else [_converted(tree, _GoogleRequest)]
        if not requests or any(one.content is None for one in requests):
            raise _invalid("", "* EmbedContentRequest.content: content is not specified")
        texts = ["".join(part.text for part in one.content.parts) for one in requests if one.content is not None]
        return _ask(model_of(target), texts, requests[0].dimensions(), {"batch": batch})

    def whole(self, ask: Ask, _answer: Answer, *, finished: bool = True) -> bytes:
        embeddings = [{"values": values} for values in _vectors(ask)]
        told: dict[str, object] = {"embeddings": embeddings} if ask.echo["batch"] else {"embedding": embeddings[0]}
        details = [{"modality": "TEXT", "tokenCount": ask.input_tokens}]
        usage = {"promptTokenCount": ask.input_tokens, "promptTokenDetails": details}
        return msgspec.json.encode({**told, "usageMetadata": usage})


class _OllamaRequest(msgspec.Struct):
    model: str = ""
    input: str | list[str] | None = None
    #: Of the older /api/embeddings.
    prompt: str = ""
    dimensions: int | None = None


class OllamaEmbeddings:
    """POST /api/embed, and the older /api/embeddings."""

    def read(self, _headers: Mapping[bytes, bytes], body: bytes, target: str = "") -> Ask:
        request = _parsed(body, _OllamaRequest)
        if not request.model:
            raise Rejected(Problem(kind="missing_field", detail="model"))
        single = target.startswith("embeddings")
        given = request.prompt if single else request.input
        texts = [given] if isinstance(given, str) else given or []
        return _ask(request.model, texts or [""], request.dimensions or _OLLAMA_DIMENSIONS, {"single": single})

    def whole(self, ask: Ask, _answer: Answer, *, finished: bool = True) -> bytes:
        vectors = _vectors(ask)
        if ask.echo["single"]:
            return msgspec.json.encode({"embedding": vectors[0]})
        told = {"model": ask.model, "embeddings": vectors, "prompt_eval_count": ask.input_tokens}
        return msgspec.json.encode({**told, "total_duration": 1_000_000, "load_duration": 500_000})
