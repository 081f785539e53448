"""Vectors in OpenAI's embeddings format: base64 and numbers, in the order of the texts."""

import struct
from base64 import b64encode
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmring.codecs.codec import EmbeddingsCodec, HttpReply
from llmring.codecs.openai.embeddings import OpenAIEmbeddings
from llmring.errors import BadReply, ProviderError, QuotaExhausted
from llmring.usage import Usage
from tests.codecs.payloads import body_of

CODEC: EmbeddingsCodec = OpenAIEmbeddings()
FLOATS = st.floats(width=32, allow_nan=False)


def reply(body: Any) -> HttpReply:
    return HttpReply(status=200, headers={"x-request-id": "r"}, body=msgspec.json.encode(body))


def spelled(*numbers: float) -> str:
    return b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def test_the_texts_are_sent_in_one_request() -> None:
    call = CODEC.encode(("a", "b"), "m", None)
    assert call.path == "/embeddings"
    assert body_of(call) == {"model": "m", "input": ["a", "b"], "encoding_format": "base64"}


@pytest.mark.parametrize("field", ["dimensions", "output_dimension"])
def test_dimensions_go_by_the_name_the_provider_has_for_them(field: Any) -> None:
    assert body_of(OpenAIEmbeddings(dimensions_field=field).encode(("a",), "m", 256))[field] == 256


def test_the_bounds_are_openais() -> None:
    assert (CODEC.most_texts, CODEC.most_tokens) == (2048, 300_000)


@pytest.mark.parametrize("vectors", [[spelled(1.0, 0.5), spelled(2.0, -0.25)], [[1, 0.5], [2, -0.25]]])
@pytest.mark.parametrize("indexes", [[0, 1], [None, None], [0, 0]])
def test_vectors_are_read_from_base64_and_numbers(vectors: list[Any], indexes: list[Any]) -> None:
    data = [{"index": index, "embedding": vector} for index, vector in zip(indexes, vectors, strict=True)]
    got = CODEC.decode(reply({"data": data, "model": "m-2", "usage": {"prompt_tokens": 5, "total_tokens": 5}}))
    assert got.vectors == ((1.0, 0.5), (2.0, -0.25))
    assert got.usage == Usage(input_tokens=5)
    assert (got.served_model, got.request_id) == ("m-2", "r")


@given(st.lists(st.lists(FLOATS, min_size=1, max_size=4), min_size=1, max_size=6), st.randoms())
def test_the_order_of_the_texts_is_restored(vectors: list[list[float]], random: Any) -> None:
    data = [{"index": index, "embedding": spelled(*vector)} for index, vector in enumerate(vectors)]
    random.shuffle(data)
    assert CODEC.decode(reply({"data": data})).vectors == tuple(tuple(vector) for vector in vectors)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([{"index": 0, "embedding": [[0.1], [0.2]]}], "a vector for each token.*pooling"),
        ([{"index": 0, "embedding": "AAAA"}], "cut short"),
        ([{"index": 0, "embedding": "?"}], "base64|incorrect"),
        ([{"index": 1, "embedding": [1.0]}, {"index": 3, "embedding": [1.0]}], "numbered wrongly"),
        ([], "no vectors"),
        (None, "no vectors"),
    ],
)
def test_what_is_no_list_of_vectors_is_a_bad_reply(data: Any, message: str) -> None:
    with pytest.raises(BadReply, match=f"(?i){message}") as caught:
        CODEC.decode(reply({"data": data}))
    assert caught.value.request_id == "r"


def test_an_error_in_a_200_is_that_error() -> None:
    with pytest.raises(QuotaExhausted):
        CODEC.decode(reply({"error": {"message": "no", "type": "insufficient_quota"}}))


@given(st.binary(max_size=100))
def test_any_bytes_raise_nothing_but_our_errors(data: bytes) -> None:
    for body in (data, b'{"data":[{"embedding":"' + data + b'"}]}', b'{"data":[{"embedding":' + data + b"}]}"):
        try:
            CODEC.decode(HttpReply(status=200, headers={}, body=body))
        except ProviderError as error:
            str(error)
