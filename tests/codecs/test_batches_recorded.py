"""The codecs of batches against recorded exchanges with the providers, when those lie beside the repository."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from llmring.codecs.anthropic.batches import AnthropicBatches
from llmring.codecs.batch import Batch, BatchCodec, BatchCounts, BatchRow, BatchStatus
from llmring.codecs.codec import HttpCall, HttpReply
from llmring.codecs.google.batches import GoogleBatches
from llmring.codecs.openai.batches import OpenAIBatches
from tests.codecs.batching import FORMATS, read_results, wrapped
from tests.codecs.payloads import body_of

RECORDED = Path(__file__).parents[2].parent / "shared" / "recorded"
if not RECORDED.is_dir():
    pytest.skip(f"no recorded exchanges at {RECORDED}", allow_module_level=True)

APIS = {"openai": "chat", "anthropic": "messages", "google": "generate"}


def exchange(name: str) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode((RECORDED / f"{name}.json").read_bytes())
    return found


def status(codec: BatchCodec, name: str) -> BatchStatus:
    response = exchange(name)["response"]
    body = msgspec.json.encode(response["body"])
    return codec.read_status(HttpReply(status=response["status"], headers=response["headers"], body=body))


def path_of(url: str) -> str:
    return "/" + url.split("/", 3)[3]


def test_openai_makes_and_ends_a_batch() -> None:
    codec = OpenAIBatches()
    made, ended = status(codec, "openai/batch_create"), status(codec, "openai/batch_completed")
    assert (made.state, made.counts, made.results) == ("running", BatchCounts(), ())
    assert (ended.id, ended.state, ended.counts) == (made.id, "ended", BatchCounts(total=2, succeeded=2))
    assert ended.results == ("file-4SnbT9qu8ShH2A1wCvTHNp",) and ended.inputs == made.inputs
    assert (ended.expires_at, ended.tag) == (made.expires_at, None) and made.expires_at is not None
    polled = exchange("openai/batch_completed")["request"]
    assert path_of(polled["url"]) == "/v1" + codec.poll(made.id).path


def test_anthropic_makes_and_ends_a_batch() -> None:
    codec = AnthropicBatches()
    made, ended = status(codec, "anthropic/batch_create"), status(codec, "anthropic/batch_ended")
    assert (made.state, made.counts, made.results) == ("running", BatchCounts(total=2), ())
    assert (ended.id, ended.state, ended.counts) == (made.id, "ended", BatchCounts(total=2, succeeded=2))
    assert [path_of(where) for where in ended.results] == [call.path for call in codec.results(ended)]
    polled = exchange("anthropic/batch_ended")["request"]
    assert path_of(polled["url"]) == codec.poll(made.id).path


def test_anthropic_was_asked_as_we_ask() -> None:
    asked = exchange("anthropic/batch_create")["request"]
    rows = tuple(
        BatchRow(key=row["custom_id"], call=HttpCall(path="/v1/messages", body=msgspec.json.encode(row["params"])))
        for row in asked["body"]["requests"]
    )
    call = AnthropicBatches().submit(Batch(rows=rows, tag="t"))
    assert (call.path, body_of(call)) == (path_of(asked["url"]), asked["body"])


def test_gemini_was_asked_as_we_ask_but_for_the_name_of_a_key() -> None:
    asked = exchange("google/batch_create")["request"]
    tag, source = asked["body"]["batch"]["displayName"], asked["body"]["batch"]["inputConfig"]["requests"]["requests"]
    path = path_of(asked["url"]).replace("batchGenerateContent", "generateContent")
    rows = tuple(
        BatchRow(key=row["metadata"]["custom_id"], call=HttpCall(path=path, body=msgspec.json.encode(row["request"])))
        for row in source
    )
    call = GoogleBatches().submit(Batch(rows=rows, tag=tag))
    assert call.path == path_of(asked["url"])
    for row in source:
        row["metadata"] = {"key": row["metadata"]["custom_id"]}
    assert body_of(call) == asked["body"]
    made = status(GoogleBatches(), "google/batch_create")
    assert (made.state, made.tag, made.counts) == ("running", tag, BatchCounts(total=2))


ANSWERS = [
    (data["api"], file)
    for provider in APIS
    for file in sorted((RECORDED / provider).glob("*.json"))
    for data in [msgspec.json.decode(file.read_bytes())]
    if data["api"] in FORMATS and not data["stream"] and data["response"]["status"] < 300
]


@pytest.mark.parametrize(("api", "file"), ANSWERS, ids=lambda value: getattr(value, "stem", None))
def test_what_was_answered_online_reads_the_same_out_of_a_batch(api: str, file: Path) -> None:
    response = msgspec.json.decode(file.read_bytes())["response"]
    body = response["text"].encode() if "text" in response else msgspec.json.encode(response["body"])
    online = HttpReply(status=200, headers={}, body=msgspec.json.format(body, indent=-1))
    batches, chat = FORMATS[api]
    over = BatchStatus(id="batches/b", state="ended", results=("batches/b",))
    (outcome,) = read_results(batches.open_results(over, ["k"]), wrapped(api, "k", online)).values()
    assert outcome == online
    assert chat.decode(outcome).usage == chat.decode(online).usage
