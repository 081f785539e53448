"""Gemini's embeddings and its list of models."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmring.codecs.codec import EmbeddingsCodec, HttpCall, HttpReply, ModelPage, ModelsCodec
from llmring.codecs.google.embeddings import GoogleEmbeddings
from llmring.codecs.google.models import GoogleModels
from llmring.errors import BadReply, ProviderError, RateLimited
from llmring.live import LiveModel
from llmring.usage import Usage
from tests.codecs.payloads import body_of

EMBEDDINGS: EmbeddingsCodec = GoogleEmbeddings()
MODELS: ModelsCodec = GoogleModels()
ERROR = {"error": {"code": 429, "message": "slow", "status": "RESOURCE_EXHAUSTED"}}


def reply(body: Any) -> HttpReply:
    return HttpReply(status=200, headers={}, body=msgspec.json.encode(body))


@pytest.mark.parametrize("model", ["gemini-embedding-2", "models/gemini-embedding-2"])
def test_each_text_is_a_request_of_the_batch(model: str) -> None:
    call = EMBEDDINGS.encode(["a", "b"], model, None)
    name = "models/gemini-embedding-2"
    assert call.path == "/v1beta/models/gemini-embedding-2:batchEmbedContents"
    assert body_of(call) == {
        "requests": [{"model": name, "content": {"parts": [{"text": text}]}} for text in ("a", "b")]
    }
    sized = body_of(EMBEDDINGS.encode(["a"], model, 768))
    assert sized["requests"][0]["outputDimensionality"] == 768
    assert EMBEDDINGS.most_texts == 100


def test_vectors_are_read_in_order() -> None:
    got = EMBEDDINGS.decode(
        reply(
            {"embeddings": [{"values": [0.5, 1]}, {"values": [-1.0, 0.25]}], "usageMetadata": {"promptTokenCount": 8}}
        )
    )
    assert got.vectors == ((0.5, 1.0), (-1.0, 0.25))
    assert got.usage == Usage(input_tokens=8)
    assert EMBEDDINGS.decode(reply({"embeddings": [{"values": [1.0]}]})).usage is None


@pytest.mark.parametrize("body", [{}, {"embeddings": []}, {"embeddings": [{"values": [1.0]}, {"values": None}]}])
def test_a_reply_that_lacks_a_vector_is_a_bad_reply(body: Any) -> None:
    with pytest.raises(BadReply, match="vector"):
        EMBEDDINGS.decode(reply(body))


def test_models_are_asked_for_by_page() -> None:
    assert MODELS.encode(None) == HttpCall(path="/v1beta/models?pageSize=1000", method="GET")
    assert MODELS.encode("a=/+").path == "/v1beta/models?pageSize=1000&pageToken=a%3D%2F%2B"


def test_models_are_read_with_their_limits_and_methods() -> None:
    full = {
        "name": "models/gemini-2.5-flash",
        "displayName": "Gemini 2.5 Flash",
        "inputTokenLimit": 1048576,
        "outputTokenLimit": 65536,
        "supportedGenerationMethods": ["generateContent", "countTokens"],
        "thinking": True,
    }
    page = MODELS.decode(reply({"models": [full, {"name": "models/b"}, {"name": None}], "nextPageToken": "t"}))
    assert page == ModelPage(
        models=(
            LiveModel(
                id="gemini-2.5-flash",
                display_name="Gemini 2.5 Flash",
                max_input_tokens=1048576,
                max_output_tokens=65536,
                capabilities=frozenset({"generateContent", "countTokens", "thinking"}),
            ),
            LiveModel(id="b"),
        ),
        next="t",
    )
    assert MODELS.decode(reply({"models": [], "nextPageToken": ""})) == ModelPage(models=())
    with pytest.raises(BadReply):
        MODELS.decode(reply({}))


@pytest.mark.parametrize("codec", [EMBEDDINGS, MODELS])
def test_an_error_in_a_good_reply_is_that_error(codec: EmbeddingsCodec | ModelsCodec) -> None:
    with pytest.raises(RateLimited):
        codec.decode(reply(ERROR))


@given(st.binary(max_size=100))
def test_any_bytes_raise_nothing_but_our_errors(data: bytes) -> None:
    for codec in (EMBEDDINGS, MODELS):
        for body in (data, b'{"models":' + data + b"}", b'{"embeddings":[{"values":' + data + b"}]}"):
            try:
                codec.decode(HttpReply(status=200, headers={}, body=body))
            except ProviderError as error:
                str(error)
