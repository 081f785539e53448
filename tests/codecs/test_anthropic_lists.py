"""Anthropic's list of models, and files at Anthropic."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmring.codecs.anthropic.files import AnthropicFiles
from llmring.codecs.anthropic.models import AnthropicModels
from llmring.codecs.codec import FileBody, HttpReply, LocalFile, ModelPage, StoredFile
from llmring.errors import BadReply, Overloaded, ProviderError
from llmring.live import LiveModel
from llmring.parts import ProviderFile

MODELS = AnthropicModels()
FILES = AnthropicFiles()
FILE = LocalFile(path=Path("/a/b.pdf"), name="b.pdf", media_type="application/pdf", size=3)
VERSION = ("anthropic-version", "2023-06-01")
BETA = ("anthropic-beta", "files-api-2025-04-14")
OVERLOADED = {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}


def reply(body: Any) -> HttpReply:
    return HttpReply(status=200, headers={"request-id": "req_1"}, body=msgspec.json.encode(body))


def model(name: str = "claude-x", **fields: Any) -> dict[str, Any]:
    return {"type": "model", "id": name, "display_name": "Claude X", "created_at": "2026-02-04T00:00:00Z"} | fields


def test_the_first_page_of_models_is_asked_for_and_then_the_one_behind_the_last() -> None:
    first, second = MODELS.encode(None), MODELS.encode("claude/x y")
    assert (first.method, first.path, first.headers) == ("GET", "/v1/models?limit=1000", (VERSION,))
    assert second.path == "/v1/models?limit=1000&after_id=claude%2Fx%20y"


@pytest.mark.parametrize(("more", "next_page"), [(True, "claude-x"), (False, None), (None, None)])
def test_the_mark_of_the_next_page_is_the_last_id(more: bool | None, next_page: str | None) -> None:
    page = MODELS.decode(reply({"data": [model()], "has_more": more, "last_id": "claude-x"}))
    assert page.next == next_page
    assert [found.id for found in page.models] == ["claude-x"]


def test_a_model_has_limits_and_what_it_can() -> None:
    can = {
        "batch": {"supported": True},
        "citations": {"supported": False},
        "image_input": {"supported": True},
        "pdf_input": {"supported": True},
        "structured_outputs": {"supported": True},
        "thinking": {"supported": True, "types": {"adaptive": {"supported": True}, "enabled": {"supported": False}}},
        "effort": {"supported": True, "low": {"supported": True}, "max": {"supported": False}, "xhigh": None},
        "server_tools": {"supported": False, "web_search": {"supported": True}},
    }
    page = MODELS.decode(reply({"data": [model(max_input_tokens=200_000, max_tokens=64_000, capabilities=can)]}))
    assert page == ModelPage(
        models=(
            LiveModel(
                id="claude-x",
                display_name="Claude X",
                created=datetime(2026, 2, 4, tzinfo=UTC),
                max_input_tokens=200_000,
                max_output_tokens=64_000,
                capabilities=frozenset(
                    {
                        "batch",
                        "vision",
                        "pdf",
                        "json_schema",
                        "thinking",
                        "thinking.types.adaptive",
                        "effort",
                        "effort.low",
                    }
                ),
            ),
        )
    )


def test_what_is_not_told_of_a_model_is_none() -> None:
    empty = model(display_name=None, created_at="1970-01-01T00:00:00Z", capabilities=None)
    for given_model in (empty, {"id": "claude-x"}, {"id": "claude-x", "created_at": "yesterday"}):
        assert MODELS.decode(reply({"data": [given_model]})).models == (LiveModel(id="claude-x"),)


def test_models_that_are_gone_or_nameless_are_left_out() -> None:
    listed = [model("a", lifecycle="retired"), model("b", lifecycle="deprecated"), {"id": None}, {}]
    assert [found.id for found in MODELS.decode(reply({"data": listed})).models] == ["b"]


def test_a_file_is_uploaded_in_one_call() -> None:
    call = FILES.upload(FILE)
    assert (call.method, call.path, call.headers) == ("POST", "/v1/files", (VERSION, BETA))
    assert call.body == FileBody(path=FILE.path, name="b.pdf", media_type="application/pdf", field="file")
    assert FILES.most_bytes == 500_000_000


@pytest.mark.parametrize(
    ("expires_at", "moment"),
    [(None, None), ("2026-12-01T00:00:00Z", datetime(2026, 12, 1, tzinfo=UTC)), ("soon", None), ("2026-12-01", None)],
)
def test_a_stored_file(expires_at: str | None, moment: datetime | None) -> None:
    stored = FILES.read(reply({"id": "file_1", "mime_type": "application/pdf", "expires_at": expires_at}), FILE)
    assert stored == StoredFile(file=ProviderFile(id="file_1", media_type="application/pdf"), expires_at=moment)


def test_a_file_without_a_type_has_its_own() -> None:
    stored = FILES.read(reply({"id": "file_1"}), FILE)
    assert stored == StoredFile(file=ProviderFile(id="file_1", media_type="application/pdf"))


def test_a_file_is_deleted_by_its_id() -> None:
    call = FILES.delete(ProviderFile(id="file_1/../x"))
    assert (call.method, call.path, call.headers) == ("DELETE", "/v1/files/file_1%2F..%2Fx", (VERSION, BETA))


@pytest.mark.parametrize("body", [{}, {"id": None}, {"data": None}, [], 3, {"data": [{"id": 3}]}])
def test_what_is_neither_a_list_nor_a_file_is_a_bad_reply(body: Any) -> None:
    with pytest.raises(BadReply) as caught:
        MODELS.decode(reply(body))
    assert caught.value.request_id == "req_1"
    with pytest.raises(BadReply):
        FILES.read(reply(body), FILE)


def test_an_error_in_a_200_is_that_error() -> None:
    with pytest.raises(Overloaded):
        MODELS.decode(reply(OVERLOADED))
    with pytest.raises(Overloaded):
        FILES.read(reply(OVERLOADED), FILE)


NAMES = st.sampled_from(["data", "id", "capabilities", "supported", "has_more", "last_id", "error", "created_at"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
)


@given(
    JSON.map(msgspec.json.encode) | st.binary(max_size=100) | st.just(b'{"data":[{"capabilities":' + b'{"a":' * 5000)
)
def test_any_bytes_raise_nothing_but_our_errors(data: bytes) -> None:
    whole = HttpReply(status=200, headers={}, body=data)
    for read in (MODELS.decode, lambda reply: FILES.read(reply, FILE)):
        try:
            read(whole)
        except ProviderError as error:
            str(error)


def test_capabilities_are_followed_a_few_levels_deep() -> None:
    nested: dict[str, Any] = {"supported": True}
    for _ in range(300):
        nested = {"supported": True, "a": nested}
    (found,) = MODELS.decode(reply({"data": [model(capabilities={"a": nested})]})).models
    assert found.capabilities == {"a", "a.a", "a.a.a", "a.a.a.a"}
