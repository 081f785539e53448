"""A worker's calls beside the chat: lists of models, uploads and deletions, on scripted connections."""

from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest
import trio

from llmring.chat import ChatRequest
from llmring.codecs.codec import FileBody, HttpCall
from llmring.errors import AuthFailed, BadReply, MissingKey, ServerFault, Unsupported
from llmring.lockfile.providers import ProviderSettings
from llmring.prompts import to_messages
from llmring.providers.endpoint import endpoint
from llmring.providers.files import Files
from llmring.providers.worker import ProviderWorker

Answers = list[tuple[int, object]]


class Replies:
    """Connections that give these replies in turn, and remember the calls."""

    def __init__(self, *answers: tuple[int, object]) -> None:
        self.answers: Answers = list(answers)
        self.calls: list[HttpCall] = []
        self.open_connections = 0

    def __call__(self, base_url: str, headers: Mapping[str, str]) -> "Connection":
        self.open_connections += 1
        return Connection(self)


class Connection:
    def __init__(self, replies: Replies) -> None:
        self._replies = replies

    async def open(self, call: HttpCall) -> "Reply":
        await trio.lowlevel.checkpoint()
        self._replies.calls.append(call)
        status, body = self._replies.answers.pop(0)
        return Reply(status, msgspec.json.encode(body))

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()
        self._replies.open_connections -= 1


class Reply:
    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self.headers: Mapping[str, str] = {"content-type": "application/json"}
        self._body = body

    async def receive(self) -> bytes:
        await trio.lowlevel.checkpoint()
        body, self._body = self._body, b""
        return body

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


def worker(
    replies: Replies, provider: str = "anthropic", key: str | None = "k", files: Files | None = None
) -> ProviderWorker:
    settings = ProviderSettings(name=provider, base_url="http://127.0.0.1:1")
    return ProviderWorker(endpoint(provider, settings), key, replies, lambda: 0.0, files=files)


async def test_a_list_of_models_is_read_page_by_page() -> None:
    first = {"data": [{"id": "a"}, {"id": "b"}], "has_more": True, "last_id": "b"}
    second = {"data": [{"id": "c"}], "has_more": False, "last_id": "c"}
    replies = Replies((200, first), (200, second))
    models = await worker(replies).live_models(10.0)
    assert [model.id for model in models] == ["a", "b", "c"]
    assert [call.method for call in replies.calls] == ["GET", "GET"]
    assert "after_id=b" in replies.calls[1].path


async def test_a_list_without_an_end_is_left() -> None:
    page = {"data": [{"id": "a"}], "has_more": True, "last_id": "a"}
    replies = Replies(*[(200, page)] * 200)
    assert len(await worker(replies).live_models(10.0)) == 100


@pytest.mark.parametrize(("status", "error"), [(401, AuthFailed), (500, ServerFault)])
async def test_a_refused_list_is_the_providers_error(status: int, error: type[Exception]) -> None:
    replies = Replies((status, {"error": {"message": "no"}}))
    with pytest.raises(error):
        await worker(replies).live_models(10.0)
    assert replies.open_connections == 1, "the connection is kept: its reply was read to the end"


async def test_without_a_key_nothing_is_asked() -> None:
    replies = Replies()
    with pytest.raises(MissingKey, match="ANTHROPIC_API_KEY"):
        await worker(replies, key=None).live_models(10.0)


async def test_what_a_provider_has_not_is_said() -> None:
    await trio.lowlevel.checkpoint()
    with pytest.raises(Unsupported, match="anthropic has no embeddings"):
        worker(Replies()).embeddings()


@pytest.fixture
def pdf(tmp_path: Path) -> Path:
    path = tmp_path / "a.pdf"
    path.write_bytes(b"%PDF")
    return path


STORED = {"id": "file_1", "type": "file", "filename": "a.pdf", "size_bytes": 4}


async def uploaded(replies: Replies, pdf: Path) -> tuple[Files, str]:
    files = Files()
    file_id = files.register(pdf)
    request = ChatRequest(model="a", messages=to_messages("hi"), files=(file_id,))
    await worker(replies, files=files)._with_files(request, "anthropic")
    return files, file_id


async def test_an_upload_is_sent_from_the_file(pdf: Path) -> None:
    replies = Replies((200, STORED))
    await uploaded(replies, pdf)
    body = replies.calls[0].body
    assert isinstance(body, FileBody)
    assert (body.path, body.name, body.media_type) == (pdf, "a.pdf", "application/pdf")


async def test_an_upload_that_is_refused_is_the_providers_error(pdf: Path) -> None:
    with pytest.raises(AuthFailed):
        await uploaded(Replies((401, {"error": {"message": "no"}})), pdf)
    with pytest.raises(BadReply):
        await uploaded(Replies((200, {"what": "ever"})), pdf)


@pytest.mark.parametrize("status", [200, 404])
async def test_a_copy_that_is_gone_already_counts_as_deleted(pdf: Path, status: int) -> None:
    files, file_id = await uploaded(replies := Replies((200, STORED), (status, {})), pdf)
    assert await files.deregister(file_id)
    assert (replies.calls[1].method, replies.calls[1].path) == ("DELETE", "/v1/files/file_1")


async def test_a_copy_that_cannot_be_deleted_stays(pdf: Path) -> None:
    files, file_id = await uploaded(Replies((200, STORED), (500, {}), (200, {})), pdf)
    with pytest.raises(ServerFault):
        await files.deregister(file_id)
    assert await files.deregister(file_id)
