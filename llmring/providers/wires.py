"""Which codecs speak to which kind of provider. A new wire format is entered here."""

from collections.abc import Mapping

import msgspec

from llmring.codecs.anthropic.batches import AnthropicBatches
from llmring.codecs.anthropic.codec import AnthropicCodec
from llmring.codecs.anthropic.files import AnthropicFiles
from llmring.codecs.anthropic.models import AnthropicModels
from llmring.codecs.batch import BatchCodec
from llmring.codecs.capabilities import Capabilities, SchemaSupport
from llmring.codecs.codec import Codec, EmbeddingsCodec, FilesCodec, ModelsCodec
from llmring.codecs.google.batches import GoogleBatches
from llmring.codecs.google.codec import GoogleCodec
from llmring.codecs.google.embeddings import GoogleEmbeddings
from llmring.codecs.google.files import GoogleFiles
from llmring.codecs.google.models import GoogleModels
from llmring.codecs.ollama.codec import OllamaCodec
from llmring.codecs.ollama.embeddings import OllamaEmbeddings
from llmring.codecs.ollama.models import OllamaModels
from llmring.codecs.openai import dialect as openai_dialect
from llmring.codecs.openai.batches import OpenAIBatches
from llmring.codecs.openai.chat import OpenAICodec
from llmring.codecs.openai.dialect import Dialect
from llmring.codecs.openai.embeddings import OpenAIEmbeddings
from llmring.codecs.openai.files import OpenAIFiles
from llmring.codecs.openai.models import OpenAIModels
from llmring.codecs.openai.responses import ResponsesCodec
from llmring.lockfile.providers import Kind


class Wire(msgspec.Struct, frozen=True, kw_only=True):
    """How a kind of provider is spoken to. None: it has no such thing.

    `reasoning`, where it is there, is for models whose capabilities say `responses`. `schema` is the best that the
    server does for JSON by a schema, whatever its models could.
    """

    chat: Codec
    reasoning: Codec | None = None
    embeddings: EmbeddingsCodec | None = None
    models: ModelsCodec | None = None
    files: FilesCodec | None = None
    batches: BatchCodec | None = None
    schema: SchemaSupport = "native"
    json_mode: bool = True
    object_roots: bool = False

    def codec(self, capabilities: Capabilities) -> Codec:
        """The codec for a model's chat calls."""
        return self.reasoning if self.reasoning is not None and capabilities.responses else self.chat

    def bounded(self, capabilities: Capabilities) -> Capabilities:
        """A model's capabilities behind this server."""
        schema = capabilities.schema if self.schema == "native" else self.schema
        return msgspec.structs.replace(
            capabilities, schema=schema, json_mode=self.json_mode, object_roots=self.object_roots
        )


# Nothing is known of how much a server takes at once: what the smallest of them do.
_EMBEDDINGS = OpenAIEmbeddings(most_texts=128, most_tokens=16_000, encoded=False)
_MISTRAL_EMBEDDINGS = msgspec.structs.replace(_EMBEDDINGS, dimensions_field="output_dimension")


def _compatible(dialect: Dialect, embeddings: EmbeddingsCodec | None = _EMBEDDINGS) -> Wire:
    schema: SchemaSupport = "native" if dialect.schemas else "json" if dialect.json_mode else "prompt"
    return Wire(
        chat=OpenAICodec(dialect),
        embeddings=embeddings,
        models=OpenAIModels(),
        schema=schema,
        json_mode=dialect.json_mode,
        object_roots=dialect.strict_schemas,
    )


WIRES: Mapping[Kind, Wire] = {
    "openai": Wire(
        chat=OpenAICodec(),
        reasoning=ResponsesCodec(),
        embeddings=OpenAIEmbeddings(),
        models=OpenAIModels(),
        files=OpenAIFiles(),
        batches=OpenAIBatches(),
        object_roots=True,
    ),
    "openai-responses": Wire(chat=ResponsesCodec(), embeddings=_EMBEDDINGS, models=OpenAIModels(), object_roots=True),
    "openai-compatible": _compatible(openai_dialect.COMPATIBLE),
    "anthropic": Wire(
        chat=AnthropicCodec(),
        models=AnthropicModels(),
        files=AnthropicFiles(),
        batches=AnthropicBatches(),
        json_mode=False,
    ),
    "google": Wire(
        chat=GoogleCodec(),
        embeddings=GoogleEmbeddings(),
        models=GoogleModels(),
        files=GoogleFiles(),
        batches=GoogleBatches(),
    ),
    "ollama": Wire(chat=OllamaCodec(), embeddings=OllamaEmbeddings(), models=OllamaModels()),
    "azure": _compatible(openai_dialect.AZURE, OpenAIEmbeddings()),
    "groq": _compatible(openai_dialect.GROQ),
    "mistral": _compatible(openai_dialect.MISTRAL, _MISTRAL_EMBEDDINGS),
    "deepseek": _compatible(openai_dialect.DEEPSEEK),
    "openrouter": _compatible(openai_dialect.OPENROUTER),
    "together": _compatible(openai_dialect.TOGETHER),
    "xai": _compatible(openai_dialect.XAI),
    "vllm": _compatible(openai_dialect.VLLM),
    "lmstudio": _compatible(openai_dialect.LMSTUDIO),
    "llamacpp": _compatible(openai_dialect.LLAMACPP),
}


def wire(kind: Kind, api_version: str | None = None) -> Wire:
    """How `kind` is spoken to; `api_version` is Azure's, for its older addresses."""
    if api_version is None:
        return WIRES[kind]
    return _compatible(msgspec.structs.replace(openai_dialect.AZURE, api_version=api_version))
