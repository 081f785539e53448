"""Which codecs speak to which kind of provider. A new wire format is entered here."""

from collections.abc import Mapping

import msgspec

from llmring.lockfile_providers import Kind
from llmring.providers.anthropic import AnthropicCodec
from llmring.providers.capabilities import Capabilities
from llmring.providers.codec import Codec, EmbeddingsCodec, FilesCodec, ModelsCodec
from llmring.providers.openai import OpenAICodec


class Wire(msgspec.Struct, frozen=True, kw_only=True):
    """How a kind of provider is spoken to. None: it has no such thing.

    `reasoning`, where it is there, is for models whose capabilities say `responses`.
    """

    chat: Codec
    reasoning: Codec | None = None
    embeddings: EmbeddingsCodec | None = None
    models: ModelsCodec | None = None
    files: FilesCodec | None = None

    def codec(self, capabilities: Capabilities) -> Codec:
        """The codec for a model's chat calls."""
        return self.reasoning if self.reasoning is not None and capabilities.responses else self.chat


_COMPATIBLE = Wire(chat=OpenAICodec(max_tokens_field="max_tokens"))

WIRES: Mapping[Kind, Wire] = {
    "openai": Wire(chat=OpenAICodec()),
    "openai-compatible": _COMPATIBLE,
    "anthropic": Wire(chat=AnthropicCodec()),
}
