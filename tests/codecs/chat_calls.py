"""Calls in OpenAI's chat completions format, from fields of our own."""

from typing import Any

from llmring.chat import ChatRequest, Note
from llmring.codecs.capabilities import Capabilities, Model
from llmring.codecs.codec import HttpCall
from llmring.codecs.openai.chat import OpenAICodec
from llmring.codecs.openai.dialect import OPENAI, Dialect
from llmring.prompts import to_messages
from tests.codecs.payloads import body_of


def call(
    dialect: Dialect = OPENAI, *, stream: bool = False, refused: frozenset[str] = frozenset(), **fields: Any
) -> HttpCall:
    """The call for a request of these fields, to a model that refuses these parameters."""
    given: dict[str, Any] = {"messages": to_messages("hi"), **fields}
    model = Model(name="m-1", capabilities=Capabilities(refused=refused))
    return OpenAICodec(dialect).encode(ChatRequest(model="a", **given), model, stream=stream)


def encode(dialect: Dialect = OPENAI, **fields: Any) -> dict[str, Any]:
    """The body of that call."""
    return body_of(call(dialect, **fields))


def added(dialect: Dialect = OPENAI, **fields: Any) -> dict[str, Any]:
    """What the fields add to the smallest body."""
    return {name: value for name, value in encode(dialect, **fields).items() if name not in ("model", "messages")}


def notes(dialect: Dialect = OPENAI, **fields: Any) -> tuple[Note, ...]:
    return call(dialect, **fields).notes
