"""Batches at OpenAI: what is called, in which order, and how replies are read."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from llmring.codecs.batch import BatchCounts, BatchPage, BatchState, BatchStatus
from llmring.codecs.codec import HttpCall, HttpReply, NextCall
from llmring.codecs.openai.batches import OpenAIBatches
from llmring.codecs.openai.chat import OpenAICodec
from llmring.codecs.openai.responses import ResponsesCodec
from llmring.errors import BadReply, BadRequest, QuotaExhausted, RateLimited, ServerFault
from llmring.sim.uploads import form
from tests.codecs.batching import OVER, batch, lines, read_results, reply

CODEC = OpenAIBatches()
CHAT = OpenAICodec()
BATCH = {
    "id": "batch_1",
    "object": "batch",
    "status": "validating",
    "input_file_id": "file-in",
    "output_file_id": None,
    "error_file_id": None,
    "expires_at": 1787236874,
    "request_counts": {"total": 3, "completed": 2, "failed": 1},
    "metadata": {"llmring": "run-1", "other": "x"},
}


def status(**fields: Any) -> BatchStatus:
    return CODEC.read_status(reply(BATCH | fields))


@pytest.mark.parametrize(("chat", "url"), [(CHAT, "/v1/chat/completions"), (ResponsesCodec(), "/v1/responses")])
def test_a_file_of_lines_is_uploaded_and_then_made_a_batch(chat: OpenAICodec | ResponsesCodec, url: str) -> None:
    handed_in = batch(chat, "a", "b")
    upload = CODEC.submit(handed_in)
    assert (upload.method, upload.path) == ("POST", "/files")
    assert isinstance(upload.body, bytes)
    headers = {name.encode(): value.encode() for name, value in upload.headers}
    fields, file = form(headers, upload.body)
    assert fields == {"purpose": "batch"} and file is not None
    assert (file.filename, file.media_type) == ("batch.jsonl", "application/jsonl")
    assert [msgspec.json.decode(line) for line in file.data.split(b"\n")] == [
        {"custom_id": row.key, "method": "POST", "url": url, "body": msgspec.json.decode(row.call.body)}
        for row in handed_in.rows
        if isinstance(row.call.body, bytes)
    ]
    made = CODEC.read(reply({"object": "file", "id": "file-in", "status": "processed"}), handed_in)
    assert isinstance(made, NextCall) and made.after == 0
    assert (made.call.method, made.call.path) == ("POST", "/batches")
    assert isinstance(made.call.body, bytes)
    assert msgspec.json.decode(made.call.body) == {
        "input_file_id": "file-in",
        "endpoint": url,
        "completion_window": "24h",
        "metadata": {"llmring": "run-1"},
    }
    assert CODEC.read(reply(BATCH), handed_in) == status()


def test_a_status_tells_counts_times_and_tag() -> None:
    assert status() == BatchStatus(
        id="batch_1",
        state="running",
        tag="run-1",
        counts=BatchCounts(total=3, succeeded=2, errored=1),
        expires_at=datetime.fromtimestamp(1787236874, UTC),
        inputs=("file-in",),
    )
    assert status(metadata=None).tag is None


STATES: list[tuple[str, BatchState]] = [
    ("validating", "running"),
    ("in_progress", "running"),
    ("finalizing", "running"),
    ("a state to come", "running"),
    ("cancelling", "cancelling"),
    ("completed", "ended"),
    ("expired", "expired"),
    ("cancelled", "cancelled"),
]


@pytest.mark.parametrize(("told", "state"), STATES)
def test_results_are_files_once_it_is_over_whatever_ended_it(told: str, state: BatchState) -> None:
    found = status(status=told, output_file_id="file-out", error_file_id="file-err")
    over = state not in ("running", "cancelling")
    assert (found.state, found.is_over) == (state, over)
    assert found.results == (("file-out", "file-err") if over else ())
    assert [call.path for call in CODEC.results(found)] == [f"/files/{name}/content" for name in found.results]
    assert all(call.method == "GET" for call in CODEC.results(found))


def test_a_file_without_a_name_is_none() -> None:
    found = status(status="completed", output_file_id="", error_file_id="file-err")
    assert found.results == ("file-err",)
    assert CODEC.results(status(status="completed")) == ()


def test_a_batch_that_failed_says_why() -> None:
    def failed(**problem: Any) -> BatchStatus:
        return status(status="failed", errors={"object": "list", "data": [problem]})

    broken = failed(code="invalid_json_line", line=3, message="This line is not parseable as valid JSON.", param=None)
    assert broken.state == "failed" and type(broken.error) is BadRequest
    full = failed(code="token_limit_exceeded", message="Enqueued token limit reached for gpt-4o in organization x.")
    assert type(full.error) is RateLimited
    assert type(status(status="failed").error) is ServerFault


def test_lines_are_replies_or_the_reason_why_there_is_none() -> None:
    refusal = {"error": {"message": "no", "type": "invalid_request_error", "code": None}}
    data = lines(
        {"custom_id": "c", "response": {"status_code": 200, "request_id": "req_1", "body": {"id": "x"}}, "error": None},
        {"custom_id": "a", "response": {"status_code": 400, "request_id": "", "body": refusal}, "error": None},
        {"custom_id": "x", "response": None, "error": {"code": "batch_expired", "message": "too late"}},
        {"custom_id": "n", "response": None, "error": {"code": "batch_cancelled", "message": "stopped"}},
        {"custom_id": "t", "response": None, "error": {"code": "request_timeout", "message": "slow"}},
        {"custom_id": "o", "response": None, "error": None},
    )
    found = read_results(CODEC.open_results(OVER, list("acnotx")), data)
    assert found["c"] == HttpReply(status=200, headers={"x-request-id": "req_1"}, body=b'{"id":"x"}')
    assert found["a"].status == 400 and type(CHAT.classify(found["a"])) is BadRequest
    assert (found["x"], found["n"]) == ("expired", "cancelled")
    assert type(CHAT.classify(found["t"])) is ServerFault
    assert type(CHAT.classify(found["o"])) is ServerFault


def test_a_batch_is_polled_cancelled_and_discarded_by_its_names() -> None:
    assert CODEC.poll("batch_1/x") == HttpCall(path="/batches/batch_1%2Fx", method="GET")
    assert CODEC.cancel("batch_1") == HttpCall(path="/batches/batch_1/cancel")
    over = status(status="completed", output_file_id="file-out")
    assert CODEC.discard(over) == (
        HttpCall(path="/files/file-in", method="DELETE"),
        HttpCall(path="/files/file-out", method="DELETE"),
    )


def test_a_batch_whose_id_was_lost_is_found_by_its_tag() -> None:
    assert CODEC.find() == HttpCall(path="/batches?limit=100", method="GET")
    assert CODEC.find("batch_2") == HttpCall(path="/batches?limit=100&after=batch_2", method="GET")
    listed = {"data": [BATCH | {"id": "batch_3", "metadata": None}, BATCH, BATCH | {"id": "batch_2", "metadata": {}}]}
    page = CODEC.read_found(reply(listed | {"has_more": True}), "run-1")
    assert page == BatchPage(batches=(status(),), next="batch_2")
    assert CODEC.read_found(reply(listed | {"has_more": False}), "run-2") == BatchPage(batches=())


def test_an_error_in_a_200_is_that_error_and_no_batch_a_bad_reply() -> None:
    with pytest.raises(QuotaExhausted):
        CODEC.read_status(reply({"error": {"message": "no", "type": "insufficient_quota"}}))
    with pytest.raises(BadReply, match="names no batch"):
        CODEC.read_status(reply({"object": "batch"}))
