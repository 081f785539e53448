"""Lists of models as OpenAI and those who speak its format send them."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmring.codecs.codec import HttpCall, HttpReply, ModelPage, ModelsCodec
from llmring.codecs.openai.models import OpenAIModels
from llmring.errors import AuthFailed, BadReply, ProviderError
from llmring.live import LiveModel

CODEC: ModelsCodec = OpenAIModels()


def read(body: Any) -> ModelPage:
    return CODEC.decode(HttpReply(status=200, headers={}, body=msgspec.json.encode(body)))


def test_the_list_is_asked_for_in_one_call() -> None:
    assert CODEC.encode(None) == HttpCall(path="/models", method="GET")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            {"id": "gpt-4o", "object": "model", "created": 1715367049, "owned_by": "system"},
            LiveModel(id="gpt-4o", created=datetime(2024, 5, 10, 18, 50, 49, tzinfo=UTC)),
        ),
        (
            {
                "id": "mistral-small",
                "name": "mistral-small",
                "max_context_length": 32768,
                "capabilities": {"completion_chat": True, "function_calling": True, "vision": False},
            },
            LiveModel(
                id="mistral-small",
                display_name="mistral-small",
                max_input_tokens=32768,
                capabilities=frozenset({"function_calling"}),
            ),
        ),
        (
            {"id": "llama", "context_window": 131072, "max_completion_tokens": 8192, "active": True},
            LiveModel(id="llama", max_input_tokens=131072, max_output_tokens=8192),
        ),
        ({"id": "opt", "max_model_len": 2048}, LiveModel(id="opt", max_input_tokens=2048)),
        ({"id": "odd", "created": "now", "context_length": "long", "architecture": 1}, LiveModel(id="odd")),
        ({"id": "far", "created": 1e300, "context_length": -1}, LiveModel(id="far")),
    ],
    ids=["openai", "mistral", "groq", "vllm", "odd", "far"],
)
def test_a_model_is_read_with_what_its_provider_tells(given: dict[str, Any], expected: LiveModel) -> None:
    assert read({"object": "list", "data": [given, {"id": None}]}) == ModelPage(models=(expected,))


def test_together_sends_the_bare_list() -> None:
    body = [{"id": "x/y", "display_name": "Y", "created": 0, "context_length": 8192, "type": "chat"}]
    assert read(body).models == (LiveModel(id="x/y", display_name="Y", max_input_tokens=8192),)


def test_what_is_no_list_is_a_bad_reply_and_an_error_is_that_error() -> None:
    with pytest.raises(BadReply):
        read({"object": "list"})
    with pytest.raises(AuthFailed):
        read({"error": {"message": "no", "code": 401}})


@given(st.binary(max_size=100))
def test_any_bytes_raise_nothing_but_our_errors(data: bytes) -> None:
    for body in (data, b'{"data":' + data + b"}", b"[{" + data + b"}]"):
        try:
            CODEC.decode(HttpReply(status=200, headers={}, body=body))
        except ProviderError as error:
            str(error)
