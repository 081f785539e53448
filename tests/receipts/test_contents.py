"""Digests of content: they bind it, tell nothing of it, and are opened one by one."""

import hashlib
import hmac
from typing import Any

import msgspec
import pytest

from llmring.chat import ChatRequest, Completion, JSONSchema, Message, ToolCall
from llmring.embeddings import Embeddings
from llmring.parts import ImagePart, Inline, TextPart
from llmring.receipts.contents import (
    digest,
    is_opened,
    opening,
    request_bytes,
    request_digest,
    response_bytes,
    response_digest,
)
from llmring.usage import Usage

SALT = bytes(range(32))
ASKED = ChatRequest(model="fast", messages=(Message(role="user", content="hello"),), temperature=0.7)


def test_only_what_is_set_counts() -> None:
    assert request_bytes(ASKED) == (
        b'{"messages":[{"content":"hello","role":"user"}],"model":"fast","temperature":0.7}'
    )
    loose = msgspec.structs.replace(ASKED, response_format=JSONSchema(schema={"default": None}, strict=False))
    assert b'{"schema":{"default":null},"strict":false,"type":"json_schema"}' in request_bytes(loose)
    parts = (TextPart(text="a"), ImagePart(source=Inline(media_type="image/png", data="aGk=")))
    assert (
        b'[{"text":"a","type":"text"},{"source":{"data":"aGk=","media_type":"image/png","type":"inline"},"type":"image"}]'
        in request_bytes(msgspec.structs.replace(ASKED, messages=(Message(role="user", content=parts),)))
    )


def test_a_provider_s_own_words_are_no_part_of_an_answer() -> None:
    first = Completion(content="hi", finish_reason="stop", request_id="a", usage=Usage(output_tokens=1))
    assert response_bytes(first) == b'{"content":"hi","finish_reason":"stop"}'
    called = Completion(
        content="", finish_reason="tool_calls", tool_calls=(ToolCall(id="1", name="f", arguments="{}"),)
    )
    assert response_bytes(called) == (
        b'{"content":"","finish_reason":"tool_calls","tool_calls":[{"arguments":"{}","id":"1","name":"f"}]}'
    )


def test_anybody_checks_an_opening_with_hmac() -> None:
    key = hmac.new(SALT, b"request", hashlib.sha256).digest()
    assert opening(SALT, "request") == key
    assert request_digest(ASKED, SALT) == hmac.new(key, request_bytes(ASKED), hashlib.sha256).hexdigest()


def test_an_opening_of_the_request_opens_no_answer() -> None:
    answered = Completion(content="hi", finish_reason="stop")
    assert response_digest(answered, SALT) != digest(opening(SALT, "request"), response_bytes(answered))
    assert request_digest(ASKED, SALT) != request_digest(ASKED, SALT[::-1])


def test_vectors_are_hashed_number_by_number() -> None:
    vectors = Embeddings(vectors=((1.0, 0.5), (0.25, -1.0)))
    head = b'{"dimensions":[2,2],"vectors":2}\n'
    assert response_bytes(vectors).startswith(head)
    assert len(response_bytes(vectors)) == len(head) + 4 * 8
    assert request_bytes(("a", "b")) == b'["a","b"]'


def test_an_opening_is_held_against_what_was_said() -> None:
    told, key = request_digest(ASKED, SALT) or "", opening(SALT, "request")
    asked: dict[str, Any] = {"model": "fast", "messages": [{"role": "user", "content": "hello"}], "temperature": 0.7}
    assert is_opened(told, key, asked)
    assert is_opened(told, key, {**asked, "max_tokens": None})
    assert not is_opened(told, key, {**asked, "temperature": 0.8})
    # What no digest is of is not said to be.
    assert not is_opened(told, key, {**asked, "promise": "a million"})
    assert not is_opened(told, key, {**asked, "messages": [{**asked["messages"][0], "promise": "a million"}]})
    assert not is_opened(told, opening(SALT[::-1], "request"), asked)
    answered = Completion(content="hi", finish_reason="stop", request_id="a")
    told, key = response_digest(answered, SALT) or "", opening(SALT, "response")
    said = {"content": "hi", "finish_reason": "stop"}
    assert is_opened(told, key, said)
    assert is_opened(told, key, {**said, "refusal": None})
    assert not is_opened(told, key, {**said, "request_id": "b"})
    assert not is_opened(told, key, msgspec.to_builtins(answered))
    vectors = Embeddings(vectors=((1.0, 0.5), (0.25, -1.0)))
    told = response_digest(vectors, SALT) or ""
    assert is_opened(told, key, [[1, 0.5], [0.25, -1]])
    assert not is_opened(told, key, [[1, 0.5], [0.25, 2**70]])
    assert not is_opened(told, key, {"x": float("nan")})


@pytest.mark.parametrize("value", [2**60, float("nan")])
def test_what_has_no_canonical_form_has_no_digest(value: object) -> None:
    assert request_digest(msgspec.structs.replace(ASKED, extra_params={"x": value}), SALT) is None
