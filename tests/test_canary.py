"""Keys and prompts that exist nowhere else, looked for in everything that a program may show, keep or send.

Every entry meets every kind of failure, each of them quoted back by a provider that repeats what it was sent. Journals
and receipts are looked through byte by byte; an answer may be in a journal, which is what it is for, and in what the
caller gets.
"""

import base64
import json
import logging
import os
import secrets
import sys
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
import trio
import trio.testing
from hypothesis import given, strategies

from llmring.chat import ChatRequest, Message, Tool, ToolCall
from llmring.codecs.codec import FileBody, HttpCall
from llmring.errors import AllModelsFailed, LLMRingError
from llmring.lockfile import Lockfile, parse_lockfile
from llmring.providers.quoting import CONTENT_CHARACTERS, MASK, Sent, concealed, sent
from llmring.receipts.signing import PrivateKey
from llmring.router.opening import open_router
from llmring.router.router import Router
from llmring.router.status_server import document
from llmring.telemetry.telemetry import Telemetry
from llmring.testing import ScriptedProvider, answer
from tests.router.observed import Observed, observed
from tests.router.test_map_batches import QUICK, BatchProvider

Clock = trio.testing.MockClock


class Canaries:
    """Of one test. `keys` are never anywhere; `said` is never anywhere but in the answer's own hands."""

    def __init__(self) -> None:
        self.key = f"sk-{secrets.token_hex(16)}"
        self.second_key = f"key{secrets.token_urlsafe(20)}"
        self.other_key = secrets.token_hex(8)
        self.header = f"team-{secrets.token_hex(6)}"
        self.prompt = f'weigh the "{secrets.token_hex(6)}"\nof {secrets.token_hex(10)} & tell'
        self.system = f"you are {secrets.token_hex(8)}"
        self.argument = secrets.token_hex(9)
        self.result = f"it weighs {secrets.token_hex(9)}"
        self.file = f"on paper: {secrets.token_hex(12)}"
        self.answer = f"the answer is {secrets.token_hex(8)}"

    @property
    def keys(self) -> list[str]:
        return [self.key, self.second_key, self.other_key, self.header]

    @property
    def said(self) -> list[str]:
        parts = [*self.prompt.split("\n"), self.system, self.argument, self.result, self.file]
        # Whole, and every word of it that is no word of any language.
        return [*parts, *(word.strip('"') for part in parts for word in part.split() if len(word.strip('"')) >= 12)]

    def request(self, model: str) -> ChatRequest:
        call = ToolCall(id="call_1", name="scale", arguments=json.dumps({"of": self.argument}))
        messages = (
            Message(role="system", content=self.system),
            Message(role="user", content=self.prompt),
            Message(role="assistant", content=None, tool_calls=(call,)),
            Message(role="tool", content=self.result, tool_call_id="call_1"),
            Message(role="user", content=self.prompt),
        )
        return ChatRequest(model=model, messages=messages, tools=(Tool(name="scale", description="", parameters={}),))


def forms(text: str) -> Iterator[str]:
    """A text as it may be spelled: as it is, in JSON, in a URL, in Python, in base64 wherever it begins."""
    yield from (text, json.dumps(text)[1:-1], quote(text), repr(text)[1:-1])
    for before in range(3):
        coded = base64.b64encode(b"x" * before + text.encode()).decode().rstrip("=")
        yield coded[4 * bool(before) + 2 : -2]


def leaks(text: str, canaries: list[str]) -> list[str]:
    lowered = text.lower()
    return [found for one in canaries for found in forms(one) if found.lower() in lowered]


class Echo:
    """A provider that repeats what it was sent, in a reply of some shape. Passed as `connect`."""

    def __init__(self, reply: Callable[[str], tuple[int, dict[str, str], bytes]]) -> None:
        self._reply = reply

    def __call__(self, base_url: str, headers: Mapping[str, str]) -> "Echoing":
        return Echoing(self._reply, dict(headers))


class Echoing:
    def __init__(self, reply: Callable[[str], tuple[int, dict[str, str], bytes]], headers: dict[str, str]) -> None:
        self._reply_of = reply
        self._headers = headers

    async def open(self, call: HttpCall) -> "Echoed":
        await trio.lowlevel.checkpoint()
        if isinstance(call.body, FileBody):
            body = await trio.Path(call.body.path).read_text()
        else:
            body = call.body.decode(errors="replace")
        with suppress(ValueError):
            body = " ".join(texts(json.loads(body)))
        return Echoed(*self._reply_of(f"{' '.join(self._headers.values())} {body}"))

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


def texts(value: Any) -> list[str]:
    """What a request says, the newest first: messages that quote it are cut off."""
    if isinstance(value, dict):
        return [text for each in reversed(value.values()) for text in texts(each)]
    if isinstance(value, list):
        return [text for each in reversed(value) for text in texts(each)]
    return [value] if isinstance(value, str) else []


class Echoed:
    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers: Mapping[str, str] = {"content-type": "application/json", **headers}
        self._pieces = [body]

    async def receive(self) -> bytes:
        await trio.lowlevel.checkpoint()
        return self._pieces.pop() if self._pieces else b""

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


def told(status: int, code: str, said: str) -> tuple[int, dict[str, str], bytes]:
    error = {"type": code, "code": code, "message": said, "status": code.upper()}
    return status, {}, json.dumps({"type": "error", "error": error}).encode()


STATUSES = {
    "bad request": (400, "invalid_request_error"),
    "content refused": (400, "content_policy_violation"),
    "too long": (400, "context_length_exceeded"),
    "bad key": (401, "invalid_api_key"),
    "no money": (402, "billing_error"),
    "forbidden": (403, "permission_error"),
    "no model": (404, "model_not_found"),
    "unsupported": (400, "unsupported_parameter"),
    "rate": (429, "rate_limit_exceeded"),
    "quota": (429, "insufficient_quota"),
    "ramp": (429, "slow_down"),
    "fault": (500, "server_error"),
    "overloaded": (529, "overloaded_error"),
    "redirect": (302, "moved"),
}

SHAPES: dict[str, Callable[[int, str, str], tuple[int, dict[str, str], bytes]]] = {
    "message": told,
    "quoted": lambda status, code, said: told(status, code, f"Invalid value: {json.dumps(said)} (reason: {code})"),
    "in two languages": lambda status, code, said: told(status, code, f"ungültig: {quote(said)}"),
    "detail": lambda status, code, said: (
        status,
        {},
        json.dumps({"detail": [{"loc": ["body", said[:90]], "msg": said, "input": said}]}).encode(),
    ),
    "text": lambda status, code, said: (status, {"content-type": "text/plain"}, said.encode()),
    "code": lambda status, code, said: told(status, said, code),
    "request id": lambda status, code, said: (status, {"x-request-id": said[:300]}, told(status, code, "no")[2]),
    "inside a 200": lambda status, code, said: (200, {}, told(status, code, said)[2]),
    "wrong types": lambda status, code, said: (200, {}, json.dumps({"choices": said, "content": said}).encode()),
    "wrong words": lambda status, code, said: (
        200,
        {},
        json.dumps(
            {
                "choices": [{"message": {"role": said, "content": [{"type": said}]}, "finish_reason": {said[:50]: 1}}],
                "content": [{"type": said, "text": 5}],
                "usage": {said[:50]: said, "input_tokens": said},
                "data": [{"embedding": said}],
            }
        ).encode(),
    ),
    "no JSON": lambda status, code, said: (200, {}, said.encode()),
    "an event": lambda status, code, said: (
        200,
        {"content-type": "text/event-stream"},
        b"event: " + said[:40].encode() + b"\ndata: " + told(status, code, said)[2] + b"\n\n",
    ),
}

LOCK = """
[[profiles.default.bindings]]
alias = "chain"
models = ["openai:gpt-4o-mini", "anthropic:claude-haiku-4-5"]

[providers.openai]
api_key_env = ["CANARY_KEY", "CANARY_SECOND"]
[providers.openai.headers]
x-team = "{header}"

[providers.anthropic]
api_key_env = "CANARY_OTHER"
"""


class World(msgspec.Struct):
    """A router, and all that could be seen of it. `kept` is the folder where everything is written that is."""

    canaries: Canaries
    router: Router
    lockfile: Lockfile
    kept: Path
    seen: Observed
    inputs: Path
    shown: list[str]

    def show(self, *values: object) -> None:
        """What a program could print."""
        self.shown += [form for value in values for form in (str(value), repr(value))]

    async def fails(self, work: Awaitable[object]) -> None:
        """Await what fails, and look at the error as everybody looks at errors."""
        try:
            result = await work
        except LLMRingError as error:
            self.caught(error)
        else:
            self.show(result)

    def caught(self, error: BaseException) -> None:
        self.show(error, error.args, vars(error))
        self.shown += traceback.format_exception(error)
        if isinstance(error, AllModelsFailed):
            self.show(error.trace, *error.attempts)
            for attempt in error.attempts:
                if attempt.error is not None:
                    self.caught(attempt.error)


@pytest.fixture
def canaries(monkeypatch: pytest.MonkeyPatch) -> Canaries:
    made = Canaries()
    monkeypatch.setenv("CANARY_KEY", made.key)
    monkeypatch.setenv("CANARY_SECOND", made.second_key)
    monkeypatch.setenv("CANARY_OTHER", made.other_key)
    monkeypatch.delenv("LLMRING_PROFILE", raising=False)
    return made


@asynccontextmanager
async def world(canaries: Canaries, directory: Path, connect: Any, text: str = LOCK) -> AsyncGenerator[World]:
    kept, inputs, seen = directory / "kept", directory / "inputs", observed()
    for path in (kept, inputs):
        await trio.Path(path).mkdir(exist_ok=True)
    await trio.Path(inputs / "paper.pdf").write_text(canaries.file)
    lockfile = parse_lockfile(text.replace("{header}", canaries.header), Path("canary.lock"))
    async with open_router(
        lockfile,
        connect=connect,
        jitter=lambda: 0.0,
        receipts=kept / "ledger.db",
        decisions=kept / "decisions.jsonl",
        state=kept / "state",
        telemetry=Telemetry(seen.tracers, seen.meters, content=False),
        grace=0.0,
    ) as router:
        found = World(canaries, router, lockfile, kept, seen, inputs, [])
        yield found
        found.show(router, router.status(), router.dispatcher, lockfile, lockfile.providers, router.registered_files())
        for crew in router.dispatcher.crews.values():
            found.show(crew, crew.endpoint, *crew.workers, *(worker.credential for worker in crew.workers))
        shown = document(router.status(), Path("canary.lock"), datetime.now(UTC))
        found.shown.append(shown.decode())


def check(world: World, caplog: pytest.LogCaptureFixture, *, answered: bool = False) -> None:
    """Nothing is anywhere. `answered`: the answer may be in the journal, and nowhere else that is kept."""
    never = [*world.canaries.keys, *world.canaries.said]
    formatter = logging.Formatter("%(name)s %(message)s")
    places = {
        "logs": "\n".join(formatter.format(record) for record in caplog.records),
        "spans": "\n".join(span.to_json() for span in world.seen.finished()),
        "shown": "\n".join(world.shown),
    }
    metrics = world.seen.reader.get_metrics_data()
    places["metrics"] = metrics.to_json() if metrics is not None else ""
    places |= {
        str(path.relative_to(world.kept)): path.read_bytes().decode("latin-1")
        for path in world.kept.rglob("*")
        if path.is_file() and path.name != "signing.key"
    }
    for name, text in places.items():
        assert leaks(text, never) == [], name
        if name not in ("shown", "run.jsonl") or not answered:
            assert leaks(text, [world.canaries.answer]) == [], name


def test_the_check_finds_what_it_looks_for() -> None:
    prompt = 'weigh the "pears" of'
    for text in (
        prompt,
        json.dumps(prompt),
        quote(prompt),
        repr(prompt),
        base64.b64encode(b"xy" + prompt.encode()).decode(),
    ):
        assert leaks(f"before {text} after", [prompt]) != []
    assert leaks("weigh the apples", [prompt]) == []


Entry = Callable[[World], Awaitable[None]]


async def by_chat(world: World) -> None:
    for model in ("chain", "anthropic:claude-haiku-4-5"):
        await world.fails(world.router.chat(world.canaries.request(model)))


async def by_stream(world: World) -> None:
    async def read(model: str) -> None:
        async with world.router.stream(world.canaries.request(model)) as stream:
            async for chunk in stream:
                world.show(chunk.model)

    for model in ("chain", "anthropic:claude-haiku-4-5"):
        await world.fails(read(model))


async def by_embed(world: World) -> None:
    await world.fails(world.router.embed("openai:text-embedding-3-small", [world.canaries.prompt]))


async def by_map(world: World) -> None:
    async def run() -> None:
        request, journal = world.canaries.request("chain"), world.kept / "run.jsonl"
        options: dict[str, Any] = {"checkpoint": journal, "deadline": 100}
        async with world.router.map("chain", [request, request], max_failures=5, **options) as rows:
            async for row in rows:
                assert row.error is not None
                world.caught(row.error)
        world.show(rows.report)

    await world.fails(run())


async def by_batch(world: World) -> None:
    async def run(model: str) -> None:
        journal = world.kept / f"{model[:6]}.jsonl"
        options: dict[str, Any] = {"checkpoint": journal, "mode": "batch", "deadline": 100}
        async with world.router.map(model, [world.canaries.request(model)], **options) as rows:
            async for row in rows:
                assert row.error is not None
                world.caught(row.error)

    for model in ("openai:gpt-4o-mini", "anthropic:claude-haiku-4-5"):
        await world.fails(run(model))


async def by_file(world: World) -> None:
    file_id = world.router.register_file(world.inputs / "paper.pdf")
    for model in ("openai:gpt-4o-mini", "anthropic:claude-haiku-4-5"):
        request = msgspec.structs.replace(world.canaries.request(model), files=(file_id,))
        await world.fails(world.router.chat(request))
    await world.router.deregister_file(file_id)


async def by_list(world: World) -> None:
    await world.fails(world.router.live_models("openai"))


ENTRIES: dict[str, Entry] = {
    "chat": by_chat,
    "stream": by_stream,
    "embed": by_embed,
    "map": by_map,
    "batch": by_batch,
    "file": by_file,
    "list": by_list,
}


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("shape", SHAPES)
async def test_what_a_provider_quotes_goes_nowhere(
    autojump_clock: Clock,
    canaries: Canaries,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    entry: str,
    shape: str,
) -> None:
    caplog.set_level(0)
    # A shape of a 200 is the same whatever the status would have been.
    few = shape in ("inside a 200", "wrong types", "wrong words", "no JSON", "an event")
    for name, (status, code) in list(STATUSES.items())[: 2 if few else None]:

        def reply(said: str, status: int = status, code: str = code) -> tuple[int, dict[str, str], bytes]:
            return SHAPES[shape](status, code, said)

        directory = tmp_path / name.replace(" ", "-")
        await trio.Path(directory).mkdir()
        async with world(canaries, directory, Echo(reply)) as seen:
            with trio.move_on_after(3600):
                await ENTRIES[entry](seen)
        check(seen, caplog)
        caplog.clear()


# Over real sockets, with the HTTP client's own records.

RAW: dict[str, Callable[[bytes], bytes]] = {
    "a refusal": lambda said: _http(b"401 Unauthorized", said),
    "a fault": lambda said: _http(b"500 Oops", said),
    "a reason": lambda said: b"HTTP/1.1 400 " + said[:200].replace(b"\r\n", b" ") + b"\r\ncontent-length: 0\r\n\r\n",
    "no HTTP": lambda said: said,
    "half a reply": lambda said: _http(b"200 OK", said)[:-20],
    "nothing": lambda said: b"",
}


def _http(status: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 %b\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body)


@asynccontextmanager
async def echoing(reply: Callable[[bytes], bytes]) -> AsyncGenerator[int]:
    """A server that repeats what it is sent, on a port of its own."""

    async def serve(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):
            said = b""
            while b"\r\n\r\n" not in said:
                said += await stream.receive_some()
            head, _, body = said.partition(b"\r\n\r\n")
            size = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if b"content-length:" in line)
            while len(body) < size:
                body += await stream.receive_some()
            await stream.send_all(reply(body + b" " + head))
            await stream.aclose()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


REAL = """
[[profiles.default.bindings]]
alias = "chain"
models = ["openai:gpt-4o-mini", "anthropic:claude-haiku-4-5"]

[providers.openai]
base_url = "http://127.0.0.1:{port}/v1"
api_key_env = "CANARY_KEY"
[providers.openai.headers]
x-team = "{header}"

[providers.anthropic]
base_url = "http://127.0.0.1:{port}"
api_key_env = "CANARY_OTHER"
"""

CLIENTS = ("httpx2", "httpcore")
HEADS = ("a reason", "no HTTP")
"""What a server says in the head of its reply is in the HTTP client's own log: that is said in the documentation."""


@pytest.mark.parametrize("shape", RAW)
@pytest.mark.parametrize("entry", ["chat", "stream", "map"])
async def test_nothing_is_quoted_over_real_sockets(
    canaries: Canaries, tmp_path: Path, caplog: pytest.LogCaptureFixture, entry: str, shape: str
) -> None:
    caplog.set_level(0)
    async with echoing(RAW[shape]) as port:
        text = REAL.replace("{port}", str(port))
        async with world(canaries, tmp_path, None, text) as seen:
            with trio.move_on_after(2):
                await ENTRIES[entry](seen)
    if shape in HEADS:
        caplog.handler.records[:] = [one for one in caplog.records if not one.name.startswith(CLIENTS)]
    check(seen, caplog)


async def test_a_server_that_is_not_there_is_named_without_a_key(
    canaries: Canaries, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    async with echoing(lambda said: said) as port:
        pass
    async with world(canaries, tmp_path, None, REAL.replace("{port}", str(port))) as seen:
        with trio.move_on_after(2):
            await by_chat(seen)
    check(seen, caplog)


# Answers, journals, rows of batches.


async def test_an_answer_is_in_the_journal_and_its_question_is_not(
    autojump_clock: Clock, canaries: Canaries, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    provider = ScriptedProvider({"gpt-4o-mini": [answer(canaries.answer)]})
    async with world(canaries, tmp_path, provider) as seen:
        journal = seen.kept / "run.jsonl"
        rows = await seen.router.map("chain", [canaries.request("chain")], checkpoint=journal).to_list()
        seen.show(rows[0].response)
    check(seen, caplog, answered=True)
    assert canaries.answer in text_of(seen.kept / "run.jsonl")


def text_of(path: Path) -> str:
    return path.read_text()


class Quoting(BatchProvider):
    """Its batches end with rows that failed, and say why with the row's own words."""

    async def open(self, call: HttpCall) -> Any:
        body = call.body.decode() if isinstance(call.body, bytes) else ""
        if call.method == "POST":
            self.said = " ".join(texts(json.loads(body)))
        reply: Any = await super().open(call)
        if call.path.endswith("/results"):
            error = {"type": "error", "error": {"type": "invalid_request_error", "message": self.said}}
            rows = [
                {"custom_id": key, "result": {"type": "errored", "error": error}} for key in self.batches["msgbatch_0"]
            ]
            reply._pieces = [b"".join(json.dumps(row).encode() + b"\n" for row in rows)]
        return reply


async def test_a_row_of_a_batch_that_quotes_itself_goes_nowhere(
    mock_clock: Clock, canaries: Canaries, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    mock_clock.rate = QUICK
    provider = Quoting()
    async with world(canaries, tmp_path, provider) as seen:
        request = canaries.request("anthropic:claude-haiku-4-5")
        run = seen.router.map(request.model, [request], mode="batch", checkpoint=seen.kept / "run.jsonl")
        (row,) = await run.to_list()
        assert row.error is not None and MASK in str(row.error)
        seen.caught(row.error)
    check(seen, caplog)


# The rule itself.


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("Unsupported parameter: 'max_completion_tokens' with gpt-4o-mini-2024-07-18", None),
        ("the model `gpt-4o-mini-2024-07-18` does not exist", None),
        ("messages.0.content.0.text: Field required", None),
        ("you said 'tell me about the weather in Oslo', no", "you said '[masked]', no"),
        ("you said 'tell me\\nabout%20the weather', no", "you said '[masked]', no"),
        ("Tell me ABOUT the weather was cut o...", "[masked] was cut o..."),
        ("the key abcdef123456 is wrong", "the key [masked] is wrong"),
        ("the key abcdef... is wrong", "the key [masked]... is wrong"),
        ("the code is 4711", "the code is [masked]"),
        ("the code is 47110", None),
    ],
)
def test_a_message_keeps_its_own_words(message: str, shown: str | None) -> None:
    body = {
        "model": "gpt-4o-mini-2024-07-18",
        "max_completion_tokens": 5,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "tell me about the weather in Oslo"}]}],
        "input": "4711",
    }
    what = sent(["abcdef123456"], json.dumps(body).encode())
    assert concealed(message, what) == (shown or message)


@given(strategies.text(max_size=300), strategies.text(min_size=1, max_size=200), strategies.integers(0, 200))
def test_no_quotation_is_left(before: str, prompt: str, cut: int) -> None:
    what = sent([], json.dumps({"content": prompt}).encode())
    plain = letters(prompt)
    for left in concealed(f"{before} {prompt[cut : cut + 60]} said", what).split(MASK):
        shown = letters(left)
        windows = (shown[at : at + CONTENT_CHARACTERS] for at in range(len(shown) - CONTENT_CHARACTERS + 1))
        assert not any(window in plain for window in windows)


def letters(text: str) -> str:
    return "".join(character.lower()[0] for character in text if character.isalnum())


def test_what_was_sent_may_be_anything() -> None:
    for body in (None, b"", b"no JSON", b"\xff\xfe", b"[" * 5000, b'{"content": null}'):
        assert isinstance(sent(["key"], body), Sent)


# The command line.


@pytest.mark.parametrize("shape", ["a refusal", "a fault", "half a reply"])
async def test_commands_show_nothing_either(canaries: Canaries, tmp_path: Path, shape: str) -> None:
    kept, rows = trio.Path(tmp_path / "kept"), trio.Path(tmp_path / "rows.jsonl")
    journal, out = kept / "run.jsonl", kept / "out.jsonl"
    await kept.mkdir()
    await rows.write_text(json.dumps({"prompt": canaries.prompt}) + "\n")
    signing = PrivateKey.generate().pem()
    async with echoing(RAW[shape]) as port:
        lock = trio.Path(tmp_path / "llmring.lock")
        await lock.write_text(REAL.replace("{port}", str(port)).replace("{header}", canaries.header))
        variables = {
            **os.environ,
            "CANARY_KEY": canaries.key,
            "CANARY_OTHER": canaries.other_key,
            "LLMRING_SIGNING_KEY": signing,
            "LLMRING_RECEIPTS": str(kept / "ledger.db"),
            "LLMRING_DECISIONS": str(kept / "decisions.jsonl"),
            "LLMRING_REGISTRY_REFRESH": "off",
            "HOME": str(kept),
        }
        shown = ""
        for words in (
            ("chat", canaries.prompt, "-v", "--model", "chain", "--timeout", "3", "--trace", str(kept / "spans")),
            ("chat", canaries.prompt, "--json", "--stream", "--model", "chain", "--timeout", "3"),
            (
                "map",
                "chain",
                str(rows),
                "-o",
                str(out),
                "--checkpoint",
                str(journal),
                "--deadline",
                "3s",
            ),
            ("providers",),
            ("lock", "check"),
            ("receipts", "list", "--json"),
        ):
            with trio.fail_after(60):
                command = [sys.executable, "-m", "llmring", *words]
                done = await trio.run_process(
                    command, env=variables, cwd=tmp_path, capture_stdout=True, capture_stderr=True, check=False
                )
            shown += done.stdout.decode() + done.stderr.decode()
    assert MASK in shown or shape == "half a reply"
    never = [*canaries.keys, *canaries.prompt.split("\n"), *signing.splitlines()[1:-1]]
    assert leaks(shown, never) == []
    for path in tmp_path.joinpath("kept").rglob("*"):
        if path.is_file():
            assert leaks(path.read_bytes().decode("latin-1"), never) == [], path.name
