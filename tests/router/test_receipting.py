"""A receipt of every attempt: answered, failed, cancelled, streamed, and none of what was said."""

import json
import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing

from llmring.chat import ChatRequest, Completion, JSONSchema, Message
from llmring.errors import AllModelsFailed, BadRequest, ConfigError, StreamBroken
from llmring.lockfile.digest import lock_digest
from llmring.receipts.checking import check
from llmring.receipts.contents import digest, opening, request_bytes, response_bytes
from llmring.receipts.receipt import Receipt, read
from llmring.receipts.signing import PublicKey
from llmring.receipts.sqlite_store import open_store
from llmring.refs import ModelRef
from llmring.registry.digest import facts_digest
from llmring.registry.store import read_bundled
from llmring.router import opening as opening_module
from llmring.router.opening import open_router
from llmring.router.streaming import ChatStream
from llmring.testing import ScriptedProvider, Step, answer, cut, hang, no_connection, status
from tests.router.test_trace import VECTORS
from tests.router.world import lockfile

Clock = trio.testing.MockClock
PRICED = """
[[profiles.default.bindings]]
alias = "priced"
models = ["openai:gpt-4o-mini"]

[providers.openai]
api_key_env = "TEST_KEY_A"
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def receipts(path: Path) -> list[Receipt]:
    """All, verified."""
    with closing(open_store(path, must_exist=True)) as store:
        keys = {key.key_id: PublicKey(key.raw) for key in store.public_keys()}
        head = store.head()
        assert check(store.held(0, head.size), keys, head.ledger).faults == {}
        found = [read(row.signed.payload_type, row.signed.payload) for row in store.rows()]
    assert all(isinstance(entry, Receipt) for entry in found)
    return [entry for entry in found if isinstance(entry, Receipt)]


def told(path: Path) -> list[tuple[str | None, str, int | None, str | None]]:
    """Kind, model, number of the attempt, and how it ended."""
    return [(one.kind, one.model, one.attempt, one.outcome) for one in receipts(path)]


def is_there(path: Path) -> bool:
    return path.exists()


async def drained(stream: ChatStream) -> str:
    async with stream:
        return "".join([chunk.content async for chunk in stream])


async def test_every_attempt_of_a_call_has_its_receipt(path: Path) -> None:
    script = {"first": [status(500, headers={"x-request-id": "req_7"})], "second": [answer("the-answer-canary")]}
    async with open_router(lockfile(), connect=ScriptedProvider(script), receipts=path) as router:
        await router.chat("chain", "the-prompt-canary")
        await router.chat("chain", "the-prompt-canary")
    first, second, *_ = found = receipts(path)
    assert told(path)[:2] == [("chat", "first", 1, "ServerFault"), ("chat", "second", 2, "answered")]
    assert (first.status, first.provider_request_id, first.total_tokens) == (500, "req_7", None)
    assert (first.alias, first.profile, second.provider) == ("chain", "default", "anthropic")
    assert first.call == second.call != found[2].call
    assert {one.lock_digest for one in found} == {lock_digest(lockfile())}
    assert second.total_tokens == 15 and second.cost_status == "model_not_in_registry"
    data = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert b"canary" not in data and b"key-a" not in data and b"key-b" not in data


async def test_an_answer_is_priced_as_the_response_is(path: Path) -> None:
    provider = ScriptedProvider({"gpt-4o-mini": [answer("ok", input_tokens=1000, output_tokens=50)]})
    catalog = read_bundled()
    async with open_router(lockfile(PRICED), connect=provider, catalog=catalog, receipts=path) as router:
        response = await router.chat("priced", "hello")
    (receipt,) = receipts(path)
    assert receipt.total_cost == f"{response.cost.usd:f}".rstrip("0")
    facts = catalog.get(ModelRef("openai", "gpt-4o-mini"))
    assert facts is not None
    assert (receipt.registry_version, receipt.price_digest) == (catalog.version("openai"), facts_digest(facts))


async def test_an_attempt_that_was_billed_and_gave_no_answer_has_its_cost(path: Path) -> None:
    usage = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
    body = json.dumps({"object": "chat.completion", "model": "gpt-4o-mini", "choices": [], "usage": usage})
    provider = ScriptedProvider({"gpt-4o-mini": [Step(body=body.encode())]})
    async with open_router(lockfile(PRICED), connect=provider, catalog=read_bundled(), receipts=path) as router:
        with pytest.raises(AllModelsFailed) as caught:
            await router.chat("priced", "hello")
    cost = caught.value.attempts[0].cost
    assert cost is not None
    first = receipts(path)[0]
    assert (first.outcome, first.total_tokens, first.cost_status) == ("BadReply", 1100, "priced")
    assert Decimal(first.total_cost or 0) == cost.usd == Decimal("0.00021")


async def test_a_stream_that_was_left_says_what_had_come(path: Path) -> None:
    words = answer(*["word "] * 8, each=1.0, headers={"x-request-id": "req_8"})
    provider = ScriptedProvider({"gpt-4o-mini": [words]})
    async with (
        open_router(lockfile(PRICED), connect=provider, catalog=read_bundled(), receipts=path) as router,
        router.stream("priced", "hello") as stream,
    ):
        await anext(stream)
    (receipt,) = receipts(path)
    assert (receipt.outcome, receipt.provider_request_id) == ("left", "req_8")


async def test_the_digests_are_of_what_was_sent_and_what_came(path: Path) -> None:
    provider = ScriptedProvider({"first": [answer("four")]})
    async with open_router(lockfile(), connect=provider, receipts=path) as router:
        await router.chat("alone", "2 + 2?", temperature=0.5)
    with closing(open_store(path, must_exist=True)) as store:
        (row,) = store.rows()
    (receipt,) = receipts(path)
    asked = ChatRequest(model="alone", messages=(Message(role="user", content="2 + 2?"),), temperature=0.5)
    assert row.salt is not None
    assert receipt.request_digest == digest(opening(row.salt, "request"), request_bytes(asked))
    answered = Completion(content="four", finish_reason="stop")
    assert receipt.response_digest == digest(opening(row.salt, "response"), response_bytes(answered))


async def test_failures_that_end_a_call_have_receipts_too(autojump_clock: Clock, path: Path) -> None:
    script = {"first": [status(400), no_connection(), no_connection(), hang()]}
    async with open_router(lockfile(), connect=ScriptedProvider(script), receipts=path) as router:
        with pytest.raises(BadRequest):
            await router.chat("alone", "x")
        with pytest.raises(AllModelsFailed):
            await router.chat("alone", "x")
        with trio.move_on_after(60):
            await router.chat("alone", "x")
    outcomes = [(attempt, outcome) for _, _, attempt, outcome in told(path)]
    assert outcomes == [(1, "BadRequest"), (1, "ConnectFailed"), (2, "ConnectFailed"), (1, "cancelled")]


async def test_streams_have_a_receipt_when_they_end_however_they_do(path: Path) -> None:
    script: dict[str, list[Step]] = {"first": [answer("a", "b"), answer("a", "b", "c"), cut("a"), answer("ok")]}
    async with open_router(lockfile(), connect=ScriptedProvider(script), receipts=path) as router:
        assert await drained(router.stream("alone", "x")) == "ab"
        async with router.stream("alone", "x") as left:
            await anext(left)
        with pytest.raises(StreamBroken):
            await drained(router.stream("alone", "x"))
    assert told(path) == [
        ("stream", "first", 1, "answered"),
        ("stream", "first", 1, "left"),
        ("stream", "first", 1, "TransportBroken"),
    ]
    first, second, third = receipts(path)
    assert first.response_digest is not None and second.response_digest is third.response_digest is None
    assert first.total_tokens == 15


async def test_a_stream_that_begins_again_is_two_attempts(path: Path) -> None:
    script = {"first": [cut("a")], "second": [answer("b")]}
    async with (
        open_router(lockfile(), connect=ScriptedProvider(script), receipts=path) as router,
        router.stream("chain", "x", on_break="restart") as stream,
    ):
        async for _ in stream:
            pass
    assert told(path) == [("stream", "first", 1, "TransportBroken"), ("stream", "second", 2, "answered")]


async def test_a_stream_that_is_cancelled_says_so(path: Path) -> None:
    script = {"first": [answer("a", "b", each=30)]}
    async with open_router(lockfile(), connect=ScriptedProvider(script), receipts=path) as router:
        with trio.move_on_after(0.2):
            await drained(router.stream("alone", "x"))
    assert [outcome for _, _, _, outcome in told(path)] == ["cancelled"]


async def test_vectors_have_a_receipt_a_request(path: Path) -> None:
    async with open_router(lockfile(), connect=ScriptedProvider({"first": [VECTORS]}), receipts=path) as router:
        await router.embed("alone", ["the-prompt-canary"])
    (receipt,) = receipts(path)
    assert (receipt.kind, receipt.outcome, receipt.alias, receipt.part) == ("embed", "answered", "alone", None)
    with closing(open_store(path, must_exist=True)) as store:
        (row,) = store.rows()
    assert row.salt is not None
    assert receipt.request_digest == digest(opening(row.salt, "request"), b'["the-prompt-canary"]')


def vectors(count: int) -> Step:
    data = [{"index": number, "embedding": [1.0]} for number in range(count)]
    return Step(body=msgspec.json.encode({"data": data, "usage": {"prompt_tokens": count}}))


async def test_texts_that_are_sent_in_parts_are_one_call(path: Path, autojump_clock: Clock) -> None:
    """By the alias that was asked for, in as many receipts as there were attempts."""
    texts = [f"text {number}" for number in range(150)]
    provider = ScriptedProvider({"m": [vectors(128), status(500), vectors(22)]})
    text = '[[profiles.default.bindings]]\nalias = "a"\nmodels = ["mistral:m"]\n'
    keys = {"MISTRAL_API_KEY": "k"}
    async with open_router(lockfile(text), connect=provider, keys=keys, receipts=path) as router:
        assert len((await router.embed("a", texts)).vectors) == 150
    found = receipts(path)
    assert [(one.alias, one.part, one.attempt, one.outcome) for one in found] == [
        ("a", 1, 1, "answered"),
        ("a", 2, 1, "ServerFault"),
        ("a", 2, 2, "answered"),
    ]
    assert len({one.call for one in found}) == 1


async def test_an_answer_that_is_asked_for_again_is_one_call(path: Path) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    provider = ScriptedProvider({"second": [answer("no json"), answer('{"n": 1}')]})
    text = '[[profiles.default.bindings]]\nalias = "a"\nmodels = ["ollama:second"]\n'
    async with open_router(lockfile(text), connect=provider, receipts=path) as router:
        response = await router.chat("a", "x", response_format=JSONSchema(schema=schema))
    assert response.parsed == {"n": 1}
    found = receipts(path)
    assert [(one.alias, one.attempt, one.outcome) for one in found] == [("a", 1, "answered"), ("a", 2, "answered")]
    assert len({one.call for one in found}) == 1


async def test_rows_of_a_map_that_are_cut_off_have_receipts(path: Path) -> None:
    provider = ScriptedProvider({"first": [hang()]})
    with trio.move_on_after(0.3):
        async with (
            open_router(lockfile(), connect=provider, receipts=path, grace=0) as router,
            router.map("alone", ["a", "b"]) as run,
        ):
            await anext(run)
    assert [outcome for _, _, _, outcome in told(path)] == ["cancelled"] * 2


async def test_nothing_that_was_not_sent_has_a_receipt(path: Path) -> None:
    async with open_router(lockfile(), connect=ScriptedProvider({}), receipts=path) as router:
        with pytest.raises(ConfigError):
            await router.chat("unheard-of", "x")
    assert receipts(path) == []


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of one's own, and no setting."""
    monkeypatch.delenv("LLMRING_RECEIPTS")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data" / "llmring"


async def ask(provider: ScriptedProvider | None = None, **options: bool | Path | str) -> None:
    given = provider if provider is not None else ScriptedProvider({"first": [answer("ok")]})
    async with open_router(lockfile(), connect=given, refresh=False, **options) as router:  # type: ignore[arg-type]
        await router.chat("alone", "x")


async def test_what_is_scripted_leaves_no_receipts_unless_it_is_asked_for(home: Path) -> None:
    await ask()
    assert not is_there(home)
    await ask(receipts=True)
    assert len(receipts(home / "ledger.db")) == 1
    assert is_there(home / "signing.key")


async def test_real_connections_leave_receipts_unless_they_are_told_not_to(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening_module, "HttpxConnect", lambda: ScriptedProvider({"first": [answer("ok")]}))
    async with open_router(lockfile(), refresh=False, receipts=False) as router:
        await router.chat("alone", "x")
    assert not is_there(home)
    async with open_router(lockfile(), refresh=False) as router:
        # Nothing on disk before there is a receipt.
        assert not is_there(home)
        await router.chat("alone", "x")
    assert len(receipts(home / "ledger.db")) == 1


async def test_the_environment_says_where_and_whether(home: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMRING_RECEIPTS", str(path))
    await ask()
    assert len(receipts(path)) == 1
    await ask(receipts=False)
    assert len(receipts(path)) == 1
    monkeypatch.setenv("LLMRING_RECEIPTS", "on")
    await ask()
    assert len(receipts(home / "ledger.db")) == 1
    monkeypatch.setenv("LLMRING_RECEIPTS", "off")
    await ask()
    assert len(receipts(home / "ledger.db")) == 1


async def test_without_a_home_receipts_that_are_asked_for_are_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.delenv("HOME", raising=False)
    with pytest.raises(ConfigError, match="no home directory"):
        await ask(receipts=True)
    await ask()


async def test_a_key_in_the_environment_signs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.receipts.samples import KEY, OTHER_KEY

    monkeypatch.setenv("LLMRING_SIGNING_KEY", KEY.pem())
    await ask(receipts=path)
    assert receipts(path)[0].key_id == KEY.key_id
    assert not is_there(path.parent / "signing.key")
    monkeypatch.setenv("LLMRING_SIGNING_KEY", "the-key-canary")
    with pytest.raises(ConfigError, match="receipts cannot be written: not an Ed25519 private key") as raised:
        await ask(receipts=path)
    assert "canary" not in str(raised.value)
    monkeypatch.setenv("LLMRING_SIGNING_KEY", OTHER_KEY.pem())
    with pytest.raises(ConfigError, match="the ledger is signed by the key"):
        await ask(receipts=path)


async def test_a_ledger_that_cannot_be_opened_is_refused_where_it_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="receipts cannot be written"):
        await ask(receipts=tmp_path / "file" / "ledger.db")


async def test_calls_go_on_where_receipts_cannot_be_written(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    provider = ScriptedProvider({"first": [answer("ok")]})
    async with open_router(lockfile(), connect=provider, receipts=path) as router:
        with closing(sqlite3.connect(path)) as other:
            other.execute("DROP TABLE entries")
        response = await router.chat("alone", "x")
    assert response.content == "ok"
    assert "receipts cannot be written, and are kept until they can: the ledger" in caplog.text
    assert "1 receipts are lost" in caplog.text


async def test_a_failed_chain_of_models_lists_the_attempts_that_have_receipts(
    autojump_clock: Clock, path: Path
) -> None:
    provider = ScriptedProvider({"first": [status(500)], "second": [status(503)]})
    async with open_router(lockfile(), connect=provider, receipts=path) as router:
        with pytest.raises(AllModelsFailed) as raised:
            await router.chat("chain", "x")
    sent = [attempt for attempt in raised.value.attempts if attempt.sent]
    assert [outcome for _, _, _, outcome in told(path)] == [type(attempt.error).__name__ for attempt in sent]
    assert [one.attempt for one in receipts(path)] == list(range(1, len(sent) + 1))
    assert msgspec.json.encode(receipts(path)[0])


async def test_the_tenant_of_a_call_stands_in_the_receipts_of_its_attempts(path: Path) -> None:
    script = {"first": [status(500), answer("a")], "second": [answer("b")]}
    async with open_router(lockfile(), connect=ScriptedProvider(script), receipts=path) as router:
        await router.chat("chain", "hello", tenant="acme")
        await router.chat("chain", "hello")
    assert [one.tenant for one in receipts(path)] == ["acme", "acme", None]
