"""The codecs against recorded exchanges with the providers, when those lie beside the repository.

The recordings' own summary is the oracle: text, tool calls, finish and usage in the provider's words.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from llmring.chat import ChatRequest, Completion, Message, NativeTurn
from llmring.codecs.anthropic.codec import AnthropicCodec
from llmring.codecs.capabilities import Model
from llmring.codecs.codec import Codec, HttpReply
from llmring.codecs.google.codec import GoogleCodec
from llmring.codecs.ollama.codec import OllamaCodec
from llmring.codecs.openai.chat import OpenAICodec
from llmring.codecs.openai.dialect import AZURE, COMPATIBLE, DEEPSEEK, GROQ, MISTRAL, OPENAI, OPENROUTER
from llmring.codecs.openai.responses import ResponsesCodec
from llmring.errors import InvalidRequest
from llmring.refs import ModelRef
from llmring.usage import Usage
from tests.codecs import rebuild_chat, rebuild_generate, rebuild_messages, rebuild_ollama, rebuild_responses
from tests.codecs.payloads import SPLITS, body_of, read_stream
from tests.codecs.rebuilding import NotOurs

RECORDED = Path(__file__).parents[2].parent / "shared" / "recorded"
if not RECORDED.is_dir():
    pytest.skip(f"no recorded exchanges at {RECORDED}", allow_module_level=True)

CODECS: dict[str, Codec] = {
    "chat": OpenAICodec(),
    "messages": AnthropicCodec(),
    "responses": ResponsesCodec(),
    "generate": GoogleCodec(),
    "ollama-chat": OllamaCodec(),
}

# Chat completions is spoken in dialects.
DIALECTS = {
    "azure": AZURE,
    "deepseek": DEEPSEEK,
    "groq": GROQ,
    "mistral": MISTRAL,
    "ollama": COMPATIBLE,
    "openrouter": OPENROUTER,
}

ERRORS = {
    "anthropic/error_400_context": "ContextTooLong",
    "anthropic/error_401": "AuthFailed",
    "anthropic/error_404_model": "ModelGone",
    "azure/error_401": "AuthFailed",
    "compat/perplexity_error_400_context": "ContextTooLong",
    "deepseek/error_400_context": "ContextTooLong",
    "google/error_400_api_key": "AuthFailed",
    "google/error_429_retry_info": "RateLimited",
    "groq/error_400_tool_use_failed": "BadReply",
    "mistral/error_401_detail": "AuthFailed",
    "ollama/error_404_model": "ModelGone",
    "ollama/v1_cloud_error_401": "AuthFailed",
    "openai/error_400_max_tokens": "Unsupported",
    "openai/error_404_model": "ModelGone",
    "openai/responses_error_400_context": "ContextTooLong",
    "openai/responses_error_401": "AuthFailed",
    "openai/responses_error_429_insufficient_quota": "QuotaExhausted",
    "openrouter/error_401_int_code": "AuthFailed",
}

FINISHES = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
    "completed": "stop",
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "MODEL_ARMOR": "content_filter",
}


class Exchange(msgspec.Struct, frozen=True):
    name: str
    api: str
    codec: Codec
    stream: bool
    request: dict[str, Any] | None
    reply: HttpReply
    summary: dict[str, Any]


def load() -> list[Exchange]:
    files = sorted(RECORDED.glob("*/*.json"))
    found = ((file, msgspec.json.decode(file.read_bytes())) for file in files)
    return [to_exchange(file, data) for file, data in found if data["api"] in CODECS]


def to_exchange(file: Path, data: dict[str, Any]) -> Exchange:
    response = data["response"]
    body = response["text"].encode() if "text" in response else msgspec.json.encode(response["body"])
    return Exchange(
        f"{file.parent.name}/{file.stem}",
        data["api"],
        OpenAICodec(DIALECTS.get(file.parent.name, OPENAI)) if data["api"] == "chat" else CODECS[data["api"]],
        data["stream"],
        to_request(data) if data["request"] else None,
        HttpReply(status=response["status"], headers=response["headers"], body=body),
        data["summary"],
    )


def to_request(data: dict[str, Any]) -> dict[str, Any]:
    request = data["request"]
    model = {"model": rebuild_generate.model_of(request["url"])} if data["api"] == "generate" else {}
    return dict(request["body"] | model)


EXCHANGES = load()
ANSWERS = [e for e in EXCHANGES if e.reply.status < 300 and not e.stream]
STREAMS = [e for e in EXCHANGES if e.reply.status < 300 and e.stream]
REFUSALS = [e for e in EXCHANGES if e.reply.status >= 300]


def name_of(exchange: Exchange) -> str:
    return exchange.name


def check(got: Completion, exchange: Exchange) -> None:
    summary = exchange.summary
    assert got.content == summary["text"]
    finish: str = summary["finish"] or summary["blocked"]
    assert got.raw_finish_reason == finish
    calls_win = finish in ("STOP", "completed", "stop") and got.tool_calls
    assert got.finish_reason == ("tool_calls" if calls_win else FINISHES[finish])
    assert got.served_model == summary["model"]
    assert [(c.name, msgspec.json.decode(c.arguments)) for c in got.tool_calls] == [
        (c["name"], c["input"] if "input" in c else to_object(c["arguments"])) for c in summary["tool_calls"]
    ]
    if exchange.api == "chat":
        assert (got.reasoning or "") == summary["thinking"]
        assert len(got.choices or [got]) == summary["choices"]
    assert all(c["id"] in (None, mine.id) for mine, c in zip(got.tool_calls, summary["tool_calls"], strict=True))
    if exchange.api == "responses":
        assert (got.reasoning or "") == summary["thinking"]
    if exchange.api == "messages":
        assert (got.reasoning or "") == summary["thinking"]
        assert [block["type"] for block in got.native] in ([], summary["blocks"])
        assert got.native or set(summary["blocks"]) <= {"text", "tool_use"}
        assert sum(bool(b.get("signature") or b.get("data")) for b in got.native) == summary["signatures"]
    if exchange.api in ("generate", "ollama-chat"):
        assert (got.reasoning or "") == summary["thinking"]
    if exchange.api == "generate":
        assert sum("thoughtSignature" in part for part in got.native) == summary["signatures"]
    if "refusal" in summary:
        assert (got.refusal or "") == summary["refusal"]
    if summary["usage"] in (None, {"trafficType": "ON_DEMAND"}):
        assert got.usage is None
    else:
        assert got.usage is not None
        check_usage(got.usage, summary["usage"])


def to_object(arguments: object) -> object:
    return msgspec.json.decode(arguments) if isinstance(arguments, str) else arguments


def check_usage(got: Usage, sent: dict[str, Any]) -> None:
    if "candidatesTokenCount" in sent:
        assert got.total_input_tokens == sent.get("promptTokenCount", 0)
        assert got.cache_read_tokens == sent.get("cachedContentTokenCount", 0)
        assert got.output_tokens == sent["candidatesTokenCount"]
        assert got.reasoning_tokens == sent.get("thoughtsTokenCount", 0)
        assert sent.get("totalTokenCount", got.total_tokens) == got.total_tokens
        return
    if "eval_count" in sent:
        assert got == Usage(input_tokens=sent.get("prompt_eval_count", 0), output_tokens=sent["eval_count"])
        return
    if "input_tokens_details" in sent:
        assert (got.total_input_tokens, got.total_output_tokens) == (sent["input_tokens"], sent["output_tokens"])
        assert got.cache_read_tokens == sent["input_tokens_details"]["cached_tokens"]
        assert got.cache_write_tokens == sent["input_tokens_details"].get("cache_write_tokens", 0)
        assert got.reasoning_tokens == sent["output_tokens_details"]["reasoning_tokens"]
        return
    if "prompt_tokens" not in sent:
        assert got.input_tokens == sent["input_tokens"]
        assert got.cache_read_tokens == sent.get("cache_read_input_tokens", 0)
        assert got.cache_write_tokens == sent.get("cache_creation_input_tokens", 0)
        assert got.total_output_tokens == sent["output_tokens"]
        assert got.reasoning_tokens == sent.get("output_tokens_details", {}).get("thinking_tokens", 0)
        return
    assert got.total_tokens == sent["total_tokens"]
    assert got.total_input_tokens == sent["prompt_tokens"]
    assert got.cache_read_tokens == sent.get("prompt_tokens_details", {}).get("cached_tokens", 0)
    assert got.reasoning_tokens == (sent.get("completion_tokens_details") or {}).get("reasoning_tokens", 0)


@pytest.mark.parametrize("exchange", ANSWERS, ids=name_of)
def test_an_answer_is_read_as_its_summary_says(exchange: Exchange) -> None:
    check(exchange.codec.decode(exchange.reply), exchange)


@pytest.mark.parametrize("size", SPLITS)
@pytest.mark.parametrize("exchange", STREAMS, ids=name_of)
def test_a_stream_is_read_as_its_summary_says_in_any_split(exchange: Exchange, size: int) -> None:
    text, got = read_stream(exchange.codec.open_stream(exchange.reply.headers), exchange.reply.body, size)
    assert text == got.content
    check(got, exchange)


@pytest.mark.parametrize("exchange", REFUSALS, ids=name_of)
def test_a_refusal_is_classified(exchange: Exchange) -> None:
    error = exchange.codec.classify(exchange.reply)
    assert type(error).__name__ == ERRORS[exchange.name]
    assert error.status == exchange.reply.status


@pytest.mark.parametrize("exchange", EXCHANGES, ids=name_of)
def test_every_limit_header_pair_is_read(exchange: Exchange) -> None:
    headers = exchange.reply.headers
    remaining = [h for h in headers if "ratelimit" in h and "remaining" in h and "images" not in h]
    updates = exchange.codec.limits(headers)
    assert len(updates) == len(remaining)
    assert sorted(u.remaining for u in updates if u.remaining is not None) == sorted(
        float(headers[h]) for h in remaining
    )


# Requests: what is recorded, rebuilt from our own types where these can say it, must be encoded as it was sent.

Body = dict[str, Any]
REBUILD: dict[str, Callable[[Body], tuple[Codec, ChatRequest]]] = {
    "chat": rebuild_chat.rebuild,
    "messages": rebuild_messages.rebuild,
    "responses": rebuild_responses.rebuild,
    "generate": rebuild_generate.rebuild,
    "ollama-chat": rebuild_ollama.rebuild,
}
PLAIN: dict[str, Callable[[Body], Body]] = {
    "chat": rebuild_chat.plain,
    "messages": rebuild_messages.plain,
    "responses": rebuild_responses.plain,
    "generate": rebuild_generate.plain,
    "ollama-chat": rebuild_ollama.plain,
}


def rebuild(exchange: Exchange) -> tuple[Codec, ChatRequest] | None:
    if exchange.request is None:
        return None
    try:
        return REBUILD[exchange.api](exchange.request)
    except (NotOurs, InvalidRequest):
        return None


REBUILT = [(e, *rebuilt) for e in EXCHANGES if (rebuilt := rebuild(e)) is not None]


@pytest.mark.parametrize(("exchange", "codec", "request_"), REBUILT, ids=[e.name for e, _, _ in REBUILT])
def test_a_request_is_encoded_as_it_was_sent(exchange: Exchange, codec: Codec, request_: ChatRequest) -> None:
    sent = exchange.request
    assert sent is not None
    call = codec.encode(request_, Model(name=sent["model"]), stream=bool(sent.get("stream")))
    plain = PLAIN[exchange.api]
    assert plain(body_of(call)) == plain(sent)


MESSAGES = [e for e in ANSWERS if e.api == "messages"]


@pytest.mark.parametrize("exchange", MESSAGES, ids=name_of)
def test_an_answer_of_anthropics_is_given_back_as_it_came(exchange: Exchange) -> None:
    blocks = msgspec.json.decode(exchange.reply.body)["content"]
    got = exchange.codec.decode(exchange.reply)
    model = ModelRef("anthropic", "m")
    turn = NativeTurn(origin=model, format=exchange.codec.format, items=got.native) if got.native else None
    answer = Message(role="assistant", content=got.content, tool_calls=got.tool_calls, native=turn)
    question = Message(role="user", content="go on")
    request = ChatRequest(model="m", messages=(question, answer, question))
    sent = body_of(exchange.codec.encode(request, Model(name="m"), stream=False))["messages"]
    if not blocks:
        assert [message["role"] for message in sent] == ["user"]
    elif got.native:
        assert sent[1]["content"] == blocks
    else:
        kept = [{name: block[name] for name in block if name != "caller"} for block in blocks]
        assert sent[1]["content"] == kept


@pytest.mark.skip(reason="of Ollama's older /api/generate, which takes no messages: no codec speaks it")
def test_ollama_generate_stream() -> None:
    """The one recording of a chat that is left out."""


def test_most_requests_can_be_rebuilt() -> None:
    assert len(REBUILT) >= 90
