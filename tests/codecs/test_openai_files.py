"""Files at OpenAI: one upload, one id, one deletion."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmring.codecs.codec import FileBody, FilesCodec, HttpCall, HttpReply, LocalFile, StoredFile
from llmring.codecs.openai.files import OpenAIFiles
from llmring.errors import BadReply, ProviderError, QuotaExhausted
from llmring.parts import ProviderFile

CODEC: FilesCodec = OpenAIFiles()
FILE = LocalFile(path=Path("a.pdf"), name="a.pdf", media_type="application/pdf", size=3)


def read(body: bytes) -> object:
    return CODEC.read(HttpReply(status=200, headers={}, body=body), FILE)


def test_an_upload_is_one_form_for_the_input_of_models() -> None:
    body = FileBody(
        path=FILE.path, name="a.pdf", media_type="application/pdf", field="file", fields=(("purpose", "user_data"),)
    )
    assert CODEC.upload(FILE) == HttpCall(path="/files", body=body)
    assert CODEC.most_bytes == 512_000_000


def test_a_file_expires_when_that_is_asked_for() -> None:
    body = OpenAIFiles(expires_after=3600).upload(FILE).body
    assert isinstance(body, FileBody)
    assert body.fields[1:] == (("expires_after[anchor]", "created_at"), ("expires_after[seconds]", "3600"))


def test_the_reply_names_the_file_and_when_it_expires() -> None:
    assert read(b'{"id":"file-1","bytes":3}') == StoredFile(file=ProviderFile(id="file-1"))
    expires = datetime(2026, 11, 21, 12, tzinfo=UTC)
    body = b'{"id":"file-1","expires_at":%d}' % expires.timestamp()
    assert read(body) == StoredFile(file=ProviderFile(id="file-1"), expires_at=expires)


def test_what_names_no_file_is_a_bad_reply_and_an_error_is_that_error() -> None:
    with pytest.raises(BadReply):
        read(b'{"object":"file"}')
    with pytest.raises(QuotaExhausted):
        read(b'{"error":{"message":"no","type":"insufficient_quota"}}')


def test_a_file_is_deleted_by_its_id() -> None:
    assert CODEC.delete(ProviderFile(id="file-1/x")) == HttpCall(path="/files/file-1%2Fx", method="DELETE")


@given(st.binary(max_size=60))
def test_any_bytes_raise_nothing_but_our_errors(data: bytes) -> None:
    for body in (data, b'{"id":"a","expires_at":' + data + b"}"):
        try:
            read(body)
        except ProviderError as error:
            str(error)
