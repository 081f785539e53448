"""Batches at Gemini: what is called, in which order, and how replies are read."""

from typing import Any

import msgspec
import pytest

from llmring.codecs.batch import Batch, BatchCounts, BatchPage, BatchRow, BatchState, BatchStatus
from llmring.codecs.codec import HttpCall, NextCall
from llmring.codecs.google.batches import GoogleBatches
from llmring.codecs.google.codec import GoogleCodec
from llmring.codecs.google.files import POLL_SECONDS
from llmring.errors import (
    AuthFailed,
    BadReply,
    BadRequest,
    InvalidRequest,
    Overloaded,
    ProviderError,
    RateLimited,
    ServerFault,
)
from tests.codecs.batching import IN_FILE, OVER, batch, inlined, lines, read_results, reply
from tests.codecs.payloads import SPLITS, body_of

CODEC = GoogleBatches()
CHAT = GoogleCodec()
OPERATION = {
    "name": "batches/b",
    "metadata": {
        "displayName": "run-1",
        "batchStats": {"requestCount": "3", "successfulRequestCount": "2", "failedRequestCount": "1"},
        "state": "BATCH_STATE_PENDING",
        "name": "batches/b",
    },
}


def status(state: str = "PENDING", **fields: Any) -> BatchStatus:
    metadata = OPERATION["metadata"]
    assert isinstance(metadata, dict)
    return CODEC.read_status(reply(OPERATION | {"metadata": metadata | {"state": f"BATCH_STATE_{state}"}} | fields))


def test_a_small_batch_is_handed_in_with_one_call() -> None:
    handed_in = batch(CHAT, "a", "b")
    call = CODEC.submit(handed_in)
    assert (call.method, call.path) == ("POST", "/v1beta/models/m-1:batchGenerateContent")
    assert body_of(call) == {
        "batch": {
            "displayName": "run-1",
            "inputConfig": {
                "requests": {
                    "requests": [{"request": body_of(row.call), "metadata": {"key": row.key}} for row in handed_in.rows]
                }
            },
        }
    }
    assert CODEC.read(reply(OPERATION), handed_in) == status()


def test_a_large_batch_is_uploaded_waited_for_and_then_made() -> None:
    codec, handed_in = GoogleBatches(most_inline_bytes=10), batch(CHAT, "a", "b")
    start = codec.submit(handed_in)
    assert start.path == "/upload/v1beta/files" and body_of(start) == {"file": {"displayName": "run-1"}}
    address = "https://generativelanguage.googleapis.com/upload/x?upload_id=1"
    upload = codec.read(reply({}, x_goog_upload_url=address, x_goog_upload_status="active"), handed_in)
    assert isinstance(upload, NextCall) and upload.call.path == address
    assert isinstance(upload.call.body, bytes)
    sizes = {name: value for name, value in start.headers if "length" in name}
    assert sizes == {"x-goog-upload-header-content-length": str(len(upload.call.body))}
    assert [msgspec.json.decode(line) for line in upload.call.body.split(b"\n")] == [
        {"key": row.key, "request": body_of(row.call)} for row in handed_in.rows
    ]
    file = {"name": "files/f", "state": "PROCESSING"}
    waits = codec.read(reply({"file": file}, x_goog_upload_status="final", x_goog_upload_url=address), handed_in)
    assert waits == NextCall(call=HttpCall(path="/v1beta/files/f", method="GET"), after=POLL_SECONDS)
    made = codec.read(reply(file | {"state": "ACTIVE"}), handed_in)
    assert isinstance(made, NextCall)
    assert made.call.path == "/v1beta/models/m-1:batchGenerateContent"
    assert body_of(made.call) == {"batch": {"displayName": "run-1", "inputConfig": {"fileName": "files/f"}}}
    assert codec.read(reply(OPERATION), handed_in) == status()
    with pytest.raises(BadReply, match="could not be processed"):
        codec.read(reply(file | {"state": "FAILED"}), handed_in)


def test_calls_of_another_method_are_refused() -> None:
    stream = BatchRow(key="a", call=HttpCall(path="/v1beta/models/m:streamGenerateContent?alt=sse", body=b"{}"))
    with pytest.raises(InvalidRequest, match="of calls of generateContent"):
        CODEC.submit(Batch(rows=(stream,), tag="t"))


def test_a_status_tells_counts_and_tag() -> None:
    counts = BatchCounts(total=3, succeeded=2, errored=1)
    assert status() == BatchStatus(id="batches/b", state="running", tag="run-1", counts=counts)


STATES: list[tuple[str, BatchState]] = [
    ("UNSPECIFIED", "running"),
    ("PENDING", "running"),
    ("RUNNING", "running"),
    ("SUCCEEDED", "ended"),
    ("FAILED", "failed"),
    ("CANCELLED", "cancelled"),
    ("EXPIRED", "expired"),
]


@pytest.mark.parametrize(("told", "state"), STATES)
def test_states_are_read_by_their_last_word(told: str, state: BatchState) -> None:
    assert status(told).state == state
    assert status(told, metadata={"state": f"JOB_STATE_{told}"}).state == state
    assert (status(told).error is not None) == (state == "failed")


def test_results_are_in_the_batch_or_in_a_file() -> None:
    inside = status("SUCCEEDED", done=True, response=inlined())
    assert CODEC.results(inside) == (HttpCall(path="/v1beta/batches/b", method="GET"),)
    there = "/download/v1beta/files/f:download?alt=media"
    outside = status("SUCCEEDED", done=True, response={"responsesFile": "files/f"})
    assert CODEC.results(outside) == (HttpCall(path=there, method="GET"),)
    told_once = status(metadata={"state": "BATCH_STATE_SUCCEEDED", "output": {"responsesFile": "files/f"}})
    assert CODEC.results(told_once) == CODEC.results(outside)
    assert CODEC.results(status("EXPIRED", done=True, error={"code": 4, "message": "late"})) == ()


ROWS: tuple[dict[str, Any], ...] = (
    {"response": {"responseId": "1"}, "metadata": {"key": "a"}},
    {"error": {"code": 3, "message": "Invalid."}, "metadata": {"key": "b"}},
    {"error": {"code": 4, "message": "late"}, "metadata": {"key": "c"}},
    {"error": {"code": 1, "message": "stopped"}, "metadata": {"key": "d"}},
)


@pytest.mark.parametrize("size", SPLITS)
@pytest.mark.parametrize("in_file", [True, False])
def test_rows_are_replies_or_the_reason_why_there_is_none(size: int, *, in_file: bool) -> None:
    if in_file:
        of_file = [{**row, "metadata": None, "key": row["metadata"]["key"]} for row in ROWS]
        data, where = lines(*of_file), IN_FILE
    else:
        data, where = msgspec.json.encode(OPERATION | {"response": inlined(*ROWS)}), OVER
    found = read_results(CODEC.open_results(where, list("abcd")), data, size)
    assert (found["a"].status, found["a"].body) == (200, b'{"responseId":"1"}')
    assert found["b"].status == 400 and type(CHAT.classify(found["b"])) is BadRequest
    assert (found["c"], found["d"]) == ("expired", "cancelled")


ERRORS: list[tuple[int, type[ProviderError], int]] = [
    (3, BadRequest, 400),
    (8, RateLimited, 429),
    (13, ServerFault, 500),
    (14, Overloaded, 503),
    (429, RateLimited, 429),
    (503, Overloaded, 503),
    (99, ServerFault, 500),
]


@pytest.mark.parametrize(("code", "error", "wanted"), ERRORS)
def test_errors_have_the_status_they_have_online(code: int, error: type[ProviderError], wanted: int) -> None:
    data = lines({"key": "a", "error": {"code": code, "message": "no"}})
    outcome = read_results(CODEC.open_results(IN_FILE, ["a"]), data)["a"]
    assert outcome.status == wanted and type(CHAT.classify(outcome)) is error


def _without_keys(*names: str) -> bytes:
    return msgspec.json.encode(OPERATION | {"response": inlined(*({"response": {"id": name}} for name in names))})


def test_results_without_keys_are_taken_in_their_order_when_none_is_missing() -> None:
    found = read_results(CODEC.open_results(OVER, ["x", "y"]), _without_keys("1", "2"))
    assert {key: outcome.body for key, outcome in found.items()} == {"x": b'{"id":"1"}', "y": b'{"id":"2"}'}


def test_results_without_keys_belong_to_nobody_when_one_is_missing() -> None:
    reader = CODEC.open_results(OVER, ["x", "y", "z"])
    assert read_results(reader, _without_keys("1", "2")) == {}
    assert reader.unread == 2


def test_one_key_is_enough_not_to_guess_the_others() -> None:
    rows: tuple[dict[str, Any], ...] = ({"response": {}, "metadata": {"key": "y"}}, {"response": {}})
    reader = CODEC.open_results(OVER, ["x", "y"])
    assert list(read_results(reader, msgspec.json.encode(OPERATION | {"response": inlined(*rows)}))) == ["y"]
    assert reader.unread == 1


def test_a_batch_that_is_not_over_holds_no_results() -> None:
    with pytest.raises(BadReply, match="no results"):
        read_results(CODEC.open_results(OVER, ["a"]), msgspec.json.encode(OPERATION))


def test_a_batch_that_failed_says_why() -> None:
    failed = status("FAILED", done=True, error={"code": 8, "message": "Resource has been exhausted."})
    assert type(failed.error) is RateLimited
    assert type(status("FAILED").error) is ServerFault


def test_a_batch_is_polled_cancelled_and_discarded_by_its_name() -> None:
    assert CODEC.poll("batches/b") == HttpCall(path="/v1beta/batches/b", method="GET")
    assert CODEC.cancel("batches/b") == HttpCall(path="/v1beta/batches/b:cancel")
    over = BatchStatus(id="batches/b", state="ended", inputs=("files/i",), results=("files/o",))
    assert [call.path for call in CODEC.discard(over)] == [
        "/v1beta/files/i",
        "/v1beta/files/o",
        "/v1beta/batches/b",
    ]


def test_a_batch_whose_id_was_lost_is_found_by_its_tag() -> None:
    assert CODEC.find() == HttpCall(path="/v1beta/batches?pageSize=20", method="GET")
    assert CODEC.find("t=") == HttpCall(path="/v1beta/batches?pageSize=20&pageToken=t%3D", method="GET")
    other = {"name": "batches/c", "metadata": {"displayName": "run-2"}}
    page = CODEC.read_found(reply({"operations": [other, OPERATION], "nextPageToken": "t="}), "run-1")
    assert page == BatchPage(batches=(status(),), next="t=")
    assert CODEC.read_found(reply({}), "run-1") == BatchPage(batches=())


def test_an_error_in_a_200_is_that_error_and_no_batch_a_bad_reply() -> None:
    with pytest.raises(AuthFailed):
        CODEC.read_status(reply({"error": {"code": 401, "message": "no", "status": "UNAUTHENTICATED"}}))
    with pytest.raises(BadReply, match="names no batch"):
        CODEC.read_status(reply({"done": True}))
