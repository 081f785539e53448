"""Ollama's embeddings and its list of models."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmring.codecs.codec import EmbeddingsCodec, HttpCall, HttpReply, ModelPage, ModelsCodec
from llmring.codecs.ollama.embeddings import OllamaEmbeddings
from llmring.codecs.ollama.models import OllamaModels
from llmring.embeddings import Embeddings
from llmring.errors import BadReply, ContextTooLong, ProviderError
from llmring.live import LiveModel
from llmring.usage import Usage
from tests.codecs.payloads import body_of

EMBEDDINGS: EmbeddingsCodec = OllamaEmbeddings()
MODELS: ModelsCodec = OllamaModels()


def reply(body: Any) -> HttpReply:
    return HttpReply(status=200, headers={"x-request-id": "r1"}, body=msgspec.json.encode(body))


def test_texts_are_sent_together_and_not_to_be_cut() -> None:
    call = EMBEDDINGS.encode(["a", "b"], "m", None)
    assert call.path == "/api/embed"
    assert body_of(call) == {"model": "m", "input": ["a", "b"], "truncate": False}
    assert body_of(EMBEDDINGS.encode(["a"], "m", 256))["dimensions"] == 256
    assert (EMBEDDINGS.most_texts, EMBEDDINGS.most_tokens) == (256, 100_000)


def test_vectors_are_read_in_order() -> None:
    body = {"model": "m", "embeddings": [[0.5, 1], [-1.0, 0.25]], "prompt_eval_count": 8, "total_duration": 1}
    assert EMBEDDINGS.decode(reply(body)) == Embeddings(
        vectors=((0.5, 1.0), (-1.0, 0.25)), usage=Usage(input_tokens=8), served_model="m", request_id="r1"
    )
    assert EMBEDDINGS.decode(reply({"embeddings": [[1.0]]})).usage is None


@pytest.mark.parametrize("body", [{}, {"embeddings": []}, {"embeddings": [[1.0], None]}, {"embeddings": [[1.0], []]}])
def test_a_reply_that_lacks_a_vector_is_a_bad_reply(body: Any) -> None:
    with pytest.raises(BadReply, match="vector"):
        EMBEDDINGS.decode(reply(body))


def test_an_error_in_a_good_reply_is_that_error() -> None:
    body = {"error": "the input length exceeds the context length"}
    with pytest.raises(ContextTooLong):
        EMBEDDINGS.decode(reply(body))
    with pytest.raises(ContextTooLong):
        MODELS.decode(reply(body))


def test_models_are_read_from_one_page() -> None:
    assert MODELS.encode(None) == HttpCall(path="/api/tags", method="GET")
    full = {"name": "qwen3:4b", "model": "qwen3:4b", "size": 1, "details": {}, "capabilities": ["completion", "tools"]}
    assert MODELS.decode(reply({"models": [full, {"name": "old:latest"}, {"model": None}]})) == ModelPage(
        models=(
            LiveModel(id="qwen3:4b", capabilities=frozenset({"completion", "tools"})),
            LiveModel(id="old:latest"),
        )
    )
    with pytest.raises(BadReply, match="lists no models"):
        MODELS.decode(reply({}))


@given(st.binary(max_size=60) | st.sampled_from([b"[]", b'{"models":[null]}', b'{"embeddings":[["a"]]}']))
def test_any_bytes_raise_nothing_but_our_errors(data: bytes) -> None:
    for codec in (EMBEDDINGS, MODELS):
        try:
            codec.decode(HttpReply(status=200, headers={}, body=data))
        except ProviderError as error:
            str(error)
