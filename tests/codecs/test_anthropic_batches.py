"""Batches at Anthropic: what is called, and how replies are read."""

from typing import Any

import msgspec
import pytest

from llmring.chat import ChatRequest, Message
from llmring.codecs.anthropic.batches import AnthropicBatches
from llmring.codecs.anthropic.codec import AnthropicCodec
from llmring.codecs.anthropic.faults import VERSION
from llmring.codecs.anthropic.files import BETA
from llmring.codecs.batch import Batch, BatchCodec, BatchCounts, BatchRow, BatchStatus
from llmring.codecs.capabilities import Model
from llmring.codecs.codec import HttpCall, HttpReply
from llmring.errors import BadReply, BadRequest, InvalidRequest, ModelGone, Overloaded, ProviderError, RateLimited
from llmring.parts import DocumentPart, ProviderFile, TextPart
from tests.codecs.batching import OVER, batch, lines, read_results, reply

CODEC = AnthropicBatches()
CHAT = AnthropicCodec()
RESULTS = "https://api.anthropic.com/v1/messages/batches/msgbatch_1/results"
BATCH = {
    "id": "msgbatch_1",
    "type": "message_batch",
    "processing_status": "in_progress",
    "request_counts": {"processing": 5, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0},
    "created_at": "2026-08-19T14:44:51.493319+00:00",
    "expires_at": "2026-08-20T14:44:51.493319+00:00",
    "cancel_initiated_at": None,
    "results_url": None,
}


def status(**fields: Any) -> BatchStatus:
    return CODEC.read_status(reply(BATCH | fields))


def test_a_batch_is_handed_in_with_one_call() -> None:
    handed_in = batch(CHAT, "a", "b")
    call = CODEC.submit(handed_in)
    assert (call.method, call.path) == ("POST", "/v1/messages/batches")
    assert dict(call.headers) == {"content-type": "application/json", "anthropic-version": "2023-06-01"}
    assert isinstance(call.body, bytes)
    assert msgspec.json.decode(call.body) == {
        "requests": [
            {"custom_id": row.key, "params": msgspec.json.decode(row.call.body)}
            for row in handed_in.rows
            if isinstance(row.call.body, bytes)
        ]
    }
    assert CODEC.read(reply(BATCH), handed_in) == status()


def test_what_one_row_needs_a_beta_for_the_batch_needs_it_for() -> None:
    parts = (TextPart(text="what is it"), DocumentPart(source=ProviderFile(id="file_1")))
    request = ChatRequest(model="a", messages=(Message(role="user", content=parts),))
    with_file = BatchRow(key="f", call=CHAT.encode(request, Model(name="m-1"), stream=False))
    headers = CODEC.submit(Batch(rows=(*batch(CHAT, "a").rows, with_file), tag="t")).headers
    assert sorted(headers) == sorted([("content-type", "application/json"), VERSION, BETA])


def test_calls_of_another_endpoint_are_refused() -> None:
    count = BatchRow(key="a", call=HttpCall(path="/v1/messages/count_tokens", body=b"{}"))
    with pytest.raises(InvalidRequest, match="of calls of /v1/messages"):
        CODEC.submit(Batch(rows=(count,), tag="t"))


def test_a_status_counts_rows_and_has_results_when_it_has_ended() -> None:
    assert status().counts == BatchCounts(total=5)
    assert status().expires_at is not None and status().expires_at == status(expires_at=BATCH["expires_at"]).expires_at
    counts = {"processing": 0, "succeeded": 1, "errored": 2, "canceled": 0, "expired": 2}
    ended = status(processing_status="ended", request_counts=counts, results_url=RESULTS)
    assert (ended.state, ended.is_over, ended.tag) == ("ended", True, None)
    assert ended.counts == BatchCounts(total=5, succeeded=1, errored=2, expired=2)
    assert [(call.method, call.path) for call in CODEC.results(ended)] == [
        ("GET", "/v1/messages/batches/msgbatch_1/results")
    ]
    archived = status(processing_status="ended", results_url=None)
    assert CODEC.results(archived) == CODEC.results(status()) == ()


def test_a_batch_that_was_asked_to_stop_is_cancelled_when_it_has() -> None:
    asked = "2026-08-19T15:00:00+00:00"
    assert status(processing_status="canceling", cancel_initiated_at=asked).state == "cancelling"
    stopped = status(processing_status="ended", cancel_initiated_at=asked, results_url=RESULTS)
    assert stopped.state == "cancelled" and stopped.results


def test_lines_are_replies_or_the_reason_why_there_is_none() -> None:
    data = lines(
        {"custom_id": "s", "result": {"type": "succeeded", "message": {"id": "msg_1"}}},
        {"custom_id": "x", "result": {"type": "expired"}},
        {"custom_id": "n", "result": {"type": "canceled"}},
    )
    found = read_results(CODEC.open_results(OVER, list("nsx")), data)
    message = HttpReply(status=200, headers={}, body=b'{"id":"msg_1"}')
    assert found == {"s": message, "x": "expired", "n": "cancelled"}


ERRORS: list[tuple[str, type[ProviderError], int]] = [
    ("invalid_request_error", BadRequest, 400),
    ("rate_limit_error", RateLimited, 429),
    ("overloaded_error", Overloaded, 529),
    ("permission_error", ModelGone, 403),
]


@pytest.mark.parametrize(("word", "error", "code"), ERRORS)
@pytest.mark.parametrize("nested", [True, False])
def test_errors_have_the_status_they_have_online(
    word: str, error: type[ProviderError], code: int, *, nested: bool
) -> None:
    inner = {"type": word, "message": "no"}
    told = {"type": "error", "error": inner, "request_id": "req_1"} if nested else inner
    data = lines({"custom_id": "a", "result": {"type": "errored", "error": told}})
    outcome = read_results(CODEC.open_results(OVER, ["a"]), data)["a"]
    assert outcome.status == code and type(CHAT.classify(outcome)) is error


def test_an_error_of_no_known_form_is_the_providers_fault() -> None:
    data = lines({"custom_id": "a", "result": {"type": "a type to come", "error": 3}})
    outcome = read_results(CODEC.open_results(OVER, ["a"]), data)["a"]
    assert outcome.status == 500


def test_a_batch_is_polled_cancelled_and_discarded_by_its_id() -> None:
    path = "/v1/messages/batches/msgbatch_1"
    assert CODEC.poll("msgbatch_1") == HttpCall(path=path, method="GET", headers=(VERSION,))
    assert CODEC.cancel("msgbatch_1") == HttpCall(path=f"{path}/cancel", headers=(VERSION,))
    assert CODEC.discard(status()) == (HttpCall(path=path, method="DELETE", headers=(VERSION,)),)


def test_a_batch_whose_id_was_lost_cannot_be_found() -> None:
    codec: BatchCodec = CODEC
    assert codec.find() is None
    assert CODEC.read_found(reply({"data": [BATCH]}), "run-1").batches == ()


def test_an_error_in_a_200_is_that_error_and_no_batch_a_bad_reply() -> None:
    with pytest.raises(Overloaded):
        CODEC.read_status(reply({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}))
    with pytest.raises(BadReply, match="names no batch"):
        CODEC.read_status(reply({"type": "message_batch"}))
