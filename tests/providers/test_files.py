"""Registered files: when they are uploaded, again, or not at all."""

from base64 import b64decode
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock as Clock

from llmring.chat import ChatRequest, Message
from llmring.codecs.codec import HttpCall, HttpReply, LocalFile, NextCall, StoredFile
from llmring.errors import InvalidRequest, ServerFault, Unsupported
from llmring.parts import DocumentPart, ImagePart, Inline, ProviderFile, RegisteredFile, TextPart
from llmring.prompt_parts import REGISTERED_PREFIX
from llmring.providers.files import Files, Place, needs_files


class Limits:
    """A FilesCodec of which only the limit is asked."""

    most_bytes = 100

    def upload(self, file: LocalFile) -> HttpCall:
        raise NotImplementedError

    def read(self, reply: HttpReply, file: LocalFile) -> StoredFile | NextCall:
        raise NotImplementedError

    def delete(self, file: ProviderFile) -> HttpCall:
        raise NotImplementedError


class Provider:
    """Takes files and remembers them; an upload takes a second."""

    def __init__(
        self, name: str = "p", form: str = "anthropic", account: str = "", expires: timedelta | None = None
    ) -> None:
        self.uploaded: list[str] = []
        self.deleted: list[str] = []
        self.refuses = False
        self._expires = expires
        self.place = Place(
            name=name, account=account or name, format=form, codec=Limits(), upload=self._upload, delete=self._delete
        )

    async def _upload(self, file: LocalFile) -> StoredFile:
        await trio.sleep(1.0)
        self.uploaded.append(file.path.read_text())
        stored = ProviderFile(id=f"file-{len(self.uploaded)}")
        return StoredFile(file=stored, expires_at=None if self._expires is None else datetime.now(UTC) + self._expires)

    async def _delete(self, file: ProviderFile) -> None:
        await trio.lowlevel.checkpoint()
        if self.refuses:
            raise ServerFault("no")
        self.deleted.append(file.id)


@pytest.fixture
def pdf(tmp_path: Path) -> Path:
    path = tmp_path / "a.pdf"
    path.write_text("one")
    return path


def rewrite(path: Path, text: str) -> None:
    path.write_text(text)


def remove(path: Path) -> None:
    path.unlink()


def request(*ids: str) -> ChatRequest:
    return ChatRequest(model="a", messages=(Message(role="user", content="what?"),), files=ids)


def sources(placed: ChatRequest) -> list[object]:
    return [part.source for part in placed.messages[-1].parts if not isinstance(part, TextPart)]


def test_nothing_is_read_before_it_is_needed(pdf: Path) -> None:
    files = Files()
    file_id = files.register(pdf)
    assert file_id.startswith(REGISTERED_PREFIX)
    assert [(info.path, info.media_type, info.size, info.providers) for info in files.list()] == [
        (pdf, "application/pdf", 3, ())
    ]


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Files().register(tmp_path / "no.pdf")
    with pytest.raises(IsADirectoryError):
        Files().register(tmp_path)


async def test_a_file_is_uploaded_once_for_all_who_need_it(autojump_clock: object, pdf: Path) -> None:
    files, provider = Files(), Provider()
    file_id = files.register(pdf)
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(files.put, request(file_id), provider.place)
    placed = await files.put(request(file_id), provider.place)
    assert provider.uploaded == ["one"]
    assert sources(placed) == [ProviderFile(id="file-1")]
    assert placed.files == ()
    assert files.list()[0].providers == ("p",)


async def test_every_provider_gets_a_copy_of_its_own(autojump_clock: object, pdf: Path) -> None:
    files, first, second = Files(), Provider("one"), Provider("two")
    file_id = files.register(pdf)
    for provider in (first, second):
        await files.put(request(file_id), provider.place)
    assert (first.uploaded, second.uploaded) == (["one"], ["one"])


async def test_a_file_that_has_changed_is_uploaded_again_and_its_old_copy_deleted(
    autojump_clock: object, pdf: Path
) -> None:
    files, provider = Files(), Provider()
    file_id = files.register(pdf)
    await files.put(request(file_id), provider.place)
    rewrite(pdf, "another")
    placed = await files.put(request(file_id), provider.place)
    assert provider.uploaded == ["one", "another"]
    assert provider.deleted == ["file-1"]
    assert sources(placed) == [ProviderFile(id="file-2")]


async def test_a_file_that_was_only_touched_is_not(autojump_clock: object, pdf: Path) -> None:
    files, provider = Files(), Provider()
    file_id = files.register(pdf)
    await files.put(request(file_id), provider.place)
    rewrite(pdf, "one")
    await files.put(request(file_id), provider.place)
    assert provider.uploaded == ["one"]


@pytest.mark.parametrize(("expires", "uploads"), [(timedelta(minutes=4), 2), (timedelta(hours=1), 1)])
async def test_a_copy_that_is_about_to_expire_is_replaced(
    autojump_clock: object, pdf: Path, expires: timedelta, uploads: int
) -> None:
    files, provider = Files(), Provider(expires=expires)
    file_id = files.register(pdf)
    for _ in range(2):
        await files.put(request(file_id), provider.place)
    assert len(provider.uploaded) == uploads


async def test_an_upload_that_was_cancelled_is_made_by_the_next(autojump_clock: object, pdf: Path) -> None:
    files, provider = Files(), Provider()
    file_id = files.register(pdf)
    with trio.move_on_after(0.5):
        await files.put(request(file_id), provider.place)
    await files.put(request(file_id), provider.place)
    assert provider.uploaded == ["one"]


async def test_a_file_that_is_too_large_is_not_uploaded(pdf: Path) -> None:
    files, provider = Files(), Provider()
    rewrite(pdf, "x" * 101)
    with pytest.raises(Unsupported, match=r"a\.pdf has 101 bytes; p takes files of at most 100"):
        await files.put(request(files.register(pdf)), provider.place)
    assert provider.uploaded == []


async def test_a_file_that_is_gone_is_named(pdf: Path) -> None:
    files, provider = Files(), Provider()
    file_id = files.register(pdf)
    remove(pdf)
    with pytest.raises(InvalidRequest, match=r"a\.pdf: no such file"):
        await files.put(request(file_id), provider.place)


async def test_an_id_that_is_not_known_is_named() -> None:
    with pytest.raises(InvalidRequest, match="is not registered"):
        await Files().put(request(f"{REGISTERED_PREFIX}x"), Provider().place)


@pytest.mark.parametrize(
    ("name", "form", "part", "media_type"),
    [
        ("a.txt", "anthropic", DocumentPart, "text/plain"),
        ("a.json", "google", DocumentPart, "text/plain"),
        ("a.png", "openai-chat", ImagePart, "image/png"),
        ("a.pdf", "ollama", DocumentPart, "application/pdf"),
    ],
)
async def test_what_cannot_be_named_goes_inline(
    tmp_path: Path,
    name: str,
    form: str,
    part: type,
    media_type: str,
) -> None:
    path = tmp_path / name
    rewrite(path, "bytes")
    files, provider = Files(), Provider(form=form)
    placed = await files.put(request(files.register(path)), provider.place)
    put = placed.messages[0].parts[1]
    assert isinstance(put, part)
    assert isinstance(put, ImagePart | DocumentPart)
    assert isinstance(put.source, Inline)
    assert (put.source.media_type, b64decode(put.source.data)) == (media_type, b"bytes")
    assert provider.uploaded == []


async def test_a_part_may_name_a_file(autojump_clock: object, pdf: Path) -> None:
    files, provider = Files(), Provider()
    part = DocumentPart(source=RegisteredFile(id=files.register(pdf)), cache="1h")
    asked = ChatRequest(model="a", messages=(Message(role="user", content=(part,)),))
    assert needs_files(asked)
    placed = await files.put(asked, provider.place)
    assert placed.messages[0].content == (DocumentPart(source=ProviderFile(id="file-1"), name="a.pdf", cache="1h"),)


async def test_files_stand_behind_the_last_user_message(autojump_clock: object, pdf: Path) -> None:
    files, provider = Files(), Provider()
    turns = (Message(role="user", content="one"), Message(role="assistant", content="two"))
    asked = ChatRequest(model="a", messages=turns, files=(files.register(pdf),))
    placed = await files.put(asked, provider.place)
    assert [len(message.parts) for message in placed.messages] == [2, 1]


def test_most_requests_need_no_files() -> None:
    assert not needs_files(ChatRequest(model="a", messages=(Message(role="user", content="hi"),)))


async def test_a_file_is_deleted_everywhere_on_request(autojump_clock: object, pdf: Path) -> None:
    files, first, second = Files(), Provider("one"), Provider("two")
    file_id = files.register(pdf)
    for provider in (first, second):
        await files.put(request(file_id), provider.place)
    first.refuses = True
    with pytest.raises(ServerFault):
        await files.deregister(file_id)
    assert files.list()[0].providers == ("one",)
    first.refuses = False
    assert await files.deregister(file_id)
    assert (first.deleted, second.deleted) == (["file-1"], ["file-1"])
    assert not await files.deregister(file_id)


async def test_a_file_of_one_account_is_not_shown_to_another(pdf: Path, autojump_clock: Clock) -> None:
    files, mine, yours = Files(), Provider(account="mine"), Provider(account="yours")
    asked = request(files.register(pdf))
    await files.put(asked, mine.place)
    await files.put(asked, yours.place)
    assert (mine.uploaded, yours.uploaded) == (["one"], ["one"])
    assert files.list()[0].providers == ("p",)


async def test_a_copy_that_the_provider_calls_gone_is_uploaded_again(pdf: Path, autojump_clock: Clock) -> None:
    files, provider = Files(), Provider()
    asked = request(files.register(pdf))
    await files.put(asked, provider.place)
    files.lost(provider.place.account, "another file is gone: file-2")
    await files.put(asked, provider.place)
    assert len(provider.uploaded) == 1
    files.lost(provider.place.account, "No such File object: file-1")
    await files.put(asked, provider.place)
    assert len(provider.uploaded) == 2
