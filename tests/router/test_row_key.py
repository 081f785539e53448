"""Rows of a map are known again by every later llmring: the digests of a few requests, pinned.

A change here is rows that are paid for twice. Those of version 1 are what journals of before version 2 have.
"""

from pathlib import Path

import msgspec
import pytest
import trio.testing

from llmring.chat import Cache, ChatRequest, JSONMode, JSONSchema, Message, NamedTool, NativeTurn, Tool, ToolCall
from llmring.parts import AudioPart, DocumentPart, ImagePart, Inline, Link, ProviderFile, RegisteredFile, TextPart
from llmring.refs import ModelRef
from llmring.router.map.row_key import row_digest
from llmring.testing import answer
from tests.router.world import world

MODELS = [ModelRef("openai", "first")]
PLAIN = ChatRequest(model="x", messages=(Message(role="user", content="hi"),))
JSON = msgspec.structs.replace(PLAIN, response_format=JSONMode(), temperature=0.0)
PARTS = (
    TextPart(text="\u00e9"),
    ImagePart(source=Link(url="https://a/b")),
    DocumentPart(source=Inline(media_type="application/pdf", data="AA=="), name="a.pdf"),
    AudioPart(source=RegisteredFile(id="f")),
    ImagePart(source=ProviderFile(id="p"), detail="low"),
)
FULL = ChatRequest(
    model="x",
    messages=(
        Message(role="system", content="be", cache="5m"),
        Message(role="user", content=PARTS),
        Message(
            role="assistant",
            tool_calls=(ToolCall(id="1", name="t", arguments="{}"),),
            native=NativeTurn(origin=ModelRef("a", "b"), format="f", items=({"b": 1, "a": 2},)),
        ),
        Message(role="tool", content="r", tool_call_id="1", is_error=True),
    ),
    temperature=0.5,
    stop=("a",),
    tools=(Tool(name="t", parameters={"type": "object", "b": 1, "a": [1.5, None]}),),
    tool_choice=NamedTool(name="t"),
    response_format=JSONSchema(schema={"type": "object"}),
    cache=Cache(ttl="1h"),
    metadata={"b": "1", "a": "2"},
    extra_params={"z": 1, "a": {"d": 1, "c": 2}},
    strict_params=True,
)


@pytest.mark.parametrize(
    ("request_", "version", "digest"),
    [
        (PLAIN, 1, "7265a6a40c8d668e89dcb89bbf6303ca"),
        (JSON, 1, "c819339db7c874a2bd32a15dfcb3a37e"),
        (FULL, 1, "cfe88b20f27071d4daed7814585e331f"),
        (PLAIN, 2, "3a9f379dc1e68cbd9687ff3688db264b"),
        (JSON, 2, "2faa0f037dbb25e3070f540a5a4b466d"),
        (FULL, 2, "6a0a862eee417ced518a84a68586f1e8"),
    ],
)
def test_digests_stay_what_they_are(request_: ChatRequest, version: int, digest: str) -> None:
    assert row_digest(request_, MODELS, version) == digest


class Grown(ChatRequest, frozen=True, kw_only=True):
    """As ChatRequest may be one day."""

    brand_new: int | None = None


@pytest.mark.parametrize("version", [1, 2])
def test_a_field_that_is_new_changes_nothing_for_those_who_do_not_set_it(
    monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    Grown.__name__ = "ChatRequest"
    grown, given = (Grown(model="x", messages=PLAIN.messages, brand_new=value) for value in (None, 1))
    assert row_digest(grown, MODELS, version) == row_digest(PLAIN, MODELS, version)
    assert row_digest(given, MODELS, version) != row_digest(PLAIN, MODELS, version)


def test_numbers_are_equal_however_they_are_written() -> None:
    one, same = (msgspec.structs.replace(PLAIN, temperature=number) for number in (1, 1.0))
    assert row_digest(one, MODELS) == row_digest(same, MODELS)


@pytest.mark.parametrize("value", [float("nan"), 2**60, pytest])
def test_what_has_no_canonical_form_has_a_digest_all_the_same(value: object) -> None:
    odd = msgspec.structs.replace(PLAIN, extra_params={"odd": value})
    assert row_digest(odd, MODELS) == row_digest(odd, MODELS) != row_digest(PLAIN, MODELS)


@pytest.mark.parametrize("dedupe", [False, True])
async def test_a_journal_of_version_1_is_gone_on_with(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, dedupe: bool
) -> None:
    path = tmp_path / "run.jsonl"
    async with world({"first": [answer("ok")]}) as (router, provider):
        await router.map("alone", ["a", "b"], checkpoint=path, dedupe=dedupe).to_list()
        old = {
            row_digest(_asked(text), MODELS, 2): row_digest(_asked(text), MODELS, 1) for text in ("a", "b", "a new one")
        }
        written = path.read_text().replace('"llmring_journal":2', '"llmring_journal":1')
        for now, before in old.items():
            written = written.replace(now, before)
        path.write_text(written)
        # And a run that was begun with it goes on with it, time and again.
        again = ["a", "b", "a new one"]
        await router.map("alone", again, checkpoint=path, dedupe=dedupe).to_list()
        rows = await router.map("alone", again, checkpoint=path, dedupe=dedupe).to_list()
        assert [row.resumed for row in rows] == [True] * 3
        assert len(provider.calls) == 3
    assert path.read_text().startswith('{"llmring_journal":1}\n')
    assert all(before in path.read_text() for before in old.values())


def _asked(text: str) -> ChatRequest:
    return ChatRequest(model="alone", messages=(Message(role="user", content=text),))
