"""Files at Gemini: what is called, in which order, and how replies are read."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmring.codecs.codec import FileBody, FilesCodec, HttpCall, HttpReply, LocalFile, NextCall, StoredFile
from llmring.codecs.google.files import POLL_SECONDS, GoogleFiles
from llmring.errors import BadReply, Overloaded, ProviderError
from llmring.parts import ProviderFile
from tests.codecs.payloads import body_of

CODEC: FilesCodec = GoogleFiles()
PDF = LocalFile(path=Path("/a/b.pdf"), name="b.pdf", media_type="application/pdf", size=1234)
URI = "https://generativelanguage.googleapis.com/v1beta/files/abc"
FILE = {
    "name": "files/abc",
    "displayName": "b.pdf",
    "mimeType": "application/pdf",
    "sizeBytes": "1234",
    "expirationTime": "2026-11-23T10:00:00.123456789Z",
    "uri": URI,
    "state": "ACTIVE",
}


def reply(body: Any = None, **headers: str) -> HttpReply:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpReply(status=200, headers=names, body=b"" if body is None else msgspec.json.encode(body))


def read(body: Any = None, **headers: str) -> StoredFile | NextCall:
    return CODEC.read(reply(body, **headers), PDF)


def test_an_upload_begins_with_what_will_come() -> None:
    call = CODEC.upload(PDF)
    assert (call.method, call.path) == ("POST", "/upload/v1beta/files")
    assert dict(call.headers) == {
        "content-type": "application/json",
        "x-goog-upload-protocol": "resumable",
        "x-goog-upload-command": "start",
        "x-goog-upload-header-content-length": "1234",
        "x-goog-upload-header-content-type": "application/pdf",
    }
    assert body_of(call) == {"file": {"displayName": "b.pdf"}}


def test_the_bytes_go_to_the_address_that_the_reply_names() -> None:
    url = "https://generativelanguage.googleapis.com/upload/v1beta/files?upload_id=1&upload_protocol=resumable"
    assert read(x_goog_upload_url=url, x_goog_upload_status="active") == NextCall(
        call=HttpCall(
            path=url,
            body=FileBody(path=PDF.path, name="b.pdf", media_type="application/pdf"),
            headers=(
                ("content-length", "1234"),
                ("x-goog-upload-offset", "0"),
                ("x-goog-upload-command", "upload, finalize"),
            ),
        )
    )


def test_a_file_is_stored_until_it_expires() -> None:
    stored = StoredFile(
        file=ProviderFile(id="files/abc", uri=URI, media_type="application/pdf"),
        expires_at=datetime(2026, 11, 23, 10, 0, 0, 123456, tzinfo=UTC),
    )
    assert read({"file": FILE}, x_goog_upload_status="final", x_goog_upload_url="https://a/") == stored
    assert read(FILE) == stored


@pytest.mark.parametrize("time", ["soon", "2026-11-23T10:00:00", None])
def test_a_time_that_cannot_be_compared_is_none(time: str | None) -> None:
    stored = read(FILE | {"expirationTime": time})
    assert isinstance(stored, StoredFile)
    assert stored.expires_at is None


def test_a_file_is_asked_for_until_it_has_been_processed() -> None:
    again = NextCall(call=HttpCall(path="/v1beta/files/abc", method="GET"), after=POLL_SECONDS)
    assert read({"file": FILE | {"state": "PROCESSING"}}) == again
    assert read(FILE | {"state": "PROCESSING"}) == again


def test_a_file_that_cannot_be_processed_is_a_bad_reply() -> None:
    with pytest.raises(BadReply, match="could not be processed"):
        read(FILE | {"state": "FAILED", "error": {"code": 3, "message": "no frames"}})


@pytest.mark.parametrize("body", [{}, {"file": {}}, {"file": FILE | {"uri": None}}, {"file": FILE | {"name": ""}}])
def test_a_reply_without_a_file_is_a_bad_reply(body: Any) -> None:
    with pytest.raises(BadReply, match="names no file"):
        read(body)


def test_a_start_without_an_address_is_a_bad_reply() -> None:
    with pytest.raises(BadReply):
        read(x_goog_upload_status="active")


def test_an_error_in_a_good_reply_is_that_error() -> None:
    with pytest.raises(Overloaded):
        read({"error": {"code": 503, "message": "busy", "status": "UNAVAILABLE"}})


def test_a_file_is_deleted_by_its_name() -> None:
    assert CODEC.delete(ProviderFile(id="files/abc")) == HttpCall(path="/v1beta/files/abc", method="DELETE")
    assert CODEC.most_bytes == 2 * 1024**3


@given(st.binary(max_size=100))
def test_any_bytes_raise_nothing_but_our_errors(data: bytes) -> None:
    for body in (data, b'{"file":' + data + b"}"):
        try:
            CODEC.read(HttpReply(status=200, headers={}, body=body), PDF)
        except ProviderError as error:
            str(error)
