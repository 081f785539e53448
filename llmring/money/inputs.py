"""How many tokens the input of one request may have at the most. Pure.

Every byte of text is a token, more than which it cannot have; an image is the largest that its provider's rule makes of
any. What cannot be measured here, a document or what lies elsewhere, may be all that a model reads. Never an estimate:
those are of providers/estimate.py.
"""

from binascii import a2b_base64

import msgspec

from llmring.chat import ChatRequest, JSONSchema, Message
from llmring.codecs.google.parts import type_of
from llmring.lockfile.providers import Kind
from llmring.parts import AudioPart, DocumentPart, ImagePart, Inline, Link, Part, ProviderFile, TextPart
from llmring.providers.images import Family, most_image_tokens

_REQUEST_TOKENS = 16
_MESSAGE_TOKENS = 8
"""What providers put around a conversation and its messages, in which "hi" is 7 to 11 tokens."""

_TEMPLATE_TOKENS = 256
"""The system message that servers of open models add of their own: gpt-oss about 70, Llama 3 about 25."""

_TOOLS_TOKENS = 600
"""The most that a provider adds of its own where there are tools or a schema: Anthropic 264 to 530
(https://platform.claude.com/docs/en/agents-and-tools/tool-use/overview, "Pricing"), ours for JSON less."""

_PIECE_TOKENS = 16
"""Around each tool, each call of one and each part of a message."""

_SCHEMA_TIMES = 2
"""A schema grows where it is fitted to what a provider enforces: lists of required names, nulls."""

_TEXT_TYPES = frozenset({"application/json", "application/xml", "application/x-yaml", "application/toml"})

_READ_FOR_A_FEE: frozenset[Kind] = frozenset({"openrouter", "mistral"})
"""Who bill the pages of a document besides its tokens (https://openrouter.ai/docs/guides/overview/multimodal/pdfs,
https://docs.mistral.ai/capabilities/document_ai/document_qna)."""

_ELSEWHERE = (b'"file_id"', b'"fileUri"', b'"file_url"', b'"image_url"', b'"inlineData"', b'"source":{')
"""Of a turn as its provider spelled it: that there is more in it than text."""


class Inputs(msgspec.Struct, frozen=True, kw_only=True):
    """`tokens` are the most of what is measured. `unseen` names something that is not, and `apart` something that is
    billed at rates of its own, which no registry has; None: there is none."""

    tokens: int
    unseen: str | None = None
    apart: str | None = None

    def __add__(self, other: "Inputs") -> "Inputs":
        return Inputs(
            tokens=self.tokens + other.tokens,
            unseen=self.unseen or other.unseen,
            apart=self.apart or other.apart,
        )


def inputs(request: ChatRequest, family: Family, kind: Kind) -> Inputs:
    """The most of `request`, whose registered files are parts already (`Files.shown`), at a server of `kind`."""
    found = Inputs(tokens=_REQUEST_TOKENS + (_TEMPLATE_TOKENS if family == "other" else 0))
    for message in request.messages:
        found += _message(message, family, kind)
    for tool in request.tools:
        size = _bytes(f"{tool.name}{tool.description or ''}") + _SCHEMA_TIMES * _encoded(tool.parameters)
        found += Inputs(tokens=size + _PIECE_TOKENS)
    wanted = request.response_format
    if isinstance(wanted, JSONSchema):
        size = _bytes(f"{wanted.name}{wanted.description or ''}") + _SCHEMA_TIMES * _encoded(wanted.schema)
        found += Inputs(tokens=size)
    if request.tools or wanted is not None:
        found += Inputs(tokens=_TOOLS_TOKENS)
    if request.extra_params:
        found += Inputs(tokens=_encoded(request.extra_params))
    if request.files:
        found += Inputs(tokens=0, unseen="a file")
    if request.cache is not None and request.cache.content is not None:
        found += Inputs(tokens=0, unseen="what was cached earlier")
    return found


def _message(message: Message, family: Family, kind: Kind) -> Inputs:
    found = Inputs(tokens=_MESSAGE_TOKENS + _bytes(message.text) + _bytes(message.tool_call_id or ""))
    for call in message.tool_calls:
        found += Inputs(tokens=_bytes(call.id + call.name + call.arguments) + _PIECE_TOKENS)
    if isinstance(message.content, tuple):
        for part in message.content:
            found += _part(part, family, kind)
    if message.native is not None:
        spelled = msgspec.json.encode(message.native.items)
        more = next((key for key in _ELSEWHERE if key in spelled), None)
        found += Inputs(tokens=len(spelled), unseen="an earlier answer with files" if more is not None else None)
    return found


def _part(part: Part, family: Family, kind: Kind) -> Inputs:
    """What a part has besides the text of its message."""
    around = Inputs(tokens=_PIECE_TOKENS)
    match part:
        case TextPart():
            return around
        case AudioPart():
            return around + Inputs(tokens=0, apart="audio")
        case ImagePart():
            return around + (_sound(part, family) or _image(part, family))
        case DocumentPart():
            named = Inputs(tokens=_bytes(part.name or ""))
            return around + named + (_sound(part, family) or _document(part, kind))


def _sound(part: ImagePart | DocumentPart, family: Family) -> Inputs | None:
    """Gemini takes video and audio wherever it takes a file, by its type; what has none may be that."""
    media_type = _media_type(part)
    if media_type.startswith(("audio/", "video/")):
        return Inputs(tokens=0, apart=media_type.partition("/")[0])
    if family == "google" and not media_type:
        return Inputs(tokens=0, apart="a file of unknown type, which may be audio or video,")
    return None


def _media_type(part: ImagePart | DocumentPart) -> str:
    """In small letters; empty where it is not known."""
    found: str | None = None
    if isinstance(part.source, Inline | ProviderFile):
        found = part.source.media_type
    elif isinstance(part.source, Link):
        found = type_of(part.source.url)
    return (found or "").partition(";")[0].strip().lower()


def _image(part: ImagePart, family: Family) -> Inputs:
    tokens = most_image_tokens(part, family)
    return Inputs(tokens=0, unseen="an image") if tokens is None else Inputs(tokens=tokens)


def _document(part: DocumentPart, kind: Kind) -> Inputs:
    media_type = _media_type(part)
    if isinstance(part.source, Inline) and (media_type.startswith("text/") or media_type in _TEXT_TYPES):
        return Inputs(tokens=_text_bytes(part.source.data))
    if kind in _READ_FOR_A_FEE:
        return Inputs(tokens=0, apart="the pages of a document")
    return Inputs(tokens=0, unseen="a document")


def _text_bytes(base64: str) -> int:
    """Of a text as it is sent: what is not UTF-8 becomes a sign of three bytes."""
    try:
        return len(a2b_base64(base64).decode(errors="replace").encode())
    except ValueError:
        # Refused before it is sent.
        return len(base64)


def _bytes(text: str) -> int:
    return len(text.encode(errors="replace"))


def _encoded(value: object) -> int:
    return 0 if value is None else len(msgspec.json.encode(value))
