"""How much CPU reading an answer costs: `python -m bench.codecs`.

For every wire format: a whole reply of about 600 bytes and of about 20 kB, beside a bare msgspec decode of the same
bytes into dictionaries, and a stream of 20,000 chunks in pieces of 16 kB. CPU time of this process, the best of
several rounds; both sides in one run. `--check` exits with 1 when a goal is missed by more than `--slack` times.
"""

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import msgspec

from bench.machine import headline
from llmring.codecs.codec import Codec, HttpReply
from llmring.providers.wires import WIRES

SMALL_MICROSECONDS, LARGE_MICROSECONDS, CHUNKS_PER_SECOND = 15.0, 60.0, 30_000.0
CHUNKS = 20_000
PIECE_BYTES = 16 * 1024
HEADERS = {"content-type": "application/json", "x-request-id": "req_1"}

JSON = dict[str, Any]


def openai_whole(text: str) -> JSON:
    message: JSON = {"role": "assistant", "content": text, "refusal": None, "annotations": []}
    return {
        "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
        "object": "chat.completion",
        "created": 1741569952,
        "model": "gpt-4.1-2025-04-14",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": 19,
            "completion_tokens": 10,
            "total_tokens": 29,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        },
        "service_tier": "default",
    }


def openai_stream(texts: list[str]) -> list[JSON]:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1741569952, "model": "gpt-4.1"}

    def chunk(delta: JSON, finish: str | None) -> JSON:
        return {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], "usage": None}

    return [*(chunk({"content": text}, None) for text in texts), chunk({}, "stop")]


def responses_whole(text: str) -> JSON:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1741476542,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "model": "gpt-5-2025-08-07",
        "output": [message],
        "usage": {
            "input_tokens": 36,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 87,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 123,
        },
    }


def responses_stream(texts: list[str]) -> list[JSON]:
    where = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    item = responses_whole("")["output"][0]
    events: list[JSON] = [{"type": "response.output_item.added", "output_index": 0, "item": {**item, "content": []}}]
    events += [{"type": "response.output_text.delta", **where, "delta": text, "logprobs": []} for text in texts]
    whole = responses_whole("".join(texts))
    events.append({"type": "response.output_item.done", "output_index": 0, "item": whole["output"][0]})
    events.append({"type": "response.completed", "response": whole})
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


def anthropic_whole(text: str) -> JSON:
    return {
        "id": "msg_013Zva2CMHLNnXjNJJKqJ2EF",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5-20250929",
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 2095,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "output_tokens": 503,
            "service_tier": "standard",
        },
    }


def anthropic_stream(texts: list[str]) -> list[JSON]:
    start = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    events: list[JSON] = [{"type": "message_start", "message": {**anthropic_whole(""), "content": []}}, start]
    deltas = [{"type": "text_delta", "text": text} for text in texts]
    events += [{"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas]
    events.append({"type": "content_block_stop", "index": 0})
    events.append({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 503}})
    return [*events, {"type": "message_stop"}]


def google_whole(text: str) -> JSON:
    candidate = {"content": {"parts": [{"text": text}], "role": "model"}, "finishReason": "STOP", "index": 0}
    usage = {
        "promptTokenCount": 8,
        "candidatesTokenCount": 9,
        "totalTokenCount": 117,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 8}],
        "thoughtsTokenCount": 100,
    }
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "gemini-2.5-flash", "responseId": "r1"}


def google_stream(texts: list[str]) -> list[JSON]:
    def chunk(text: str) -> JSON:
        part = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}
        return {"candidates": [part], "usageMetadata": {"promptTokenCount": 8}, "modelVersion": "gemini-2.5-flash"}

    return [*(chunk(text) for text in texts), google_whole("")]


def ollama_whole(text: str) -> JSON:
    return {
        "model": "llama3.2",
        "created_at": "2026-08-04T19:22:45.499127Z",
        "message": {"role": "assistant", "content": text},
        "done_reason": "stop",
        "done": True,
        "total_duration": 8113331500,
        "prompt_eval_count": 61,
        "eval_count": 468,
    }


def ollama_stream(texts: list[str]) -> list[JSON]:
    head = {"model": "llama3.2", "created_at": "2026-08-04T19:22:45.499127Z"}
    chunks = [{**head, "message": {"role": "assistant", "content": text}, "done": False} for text in texts]
    return [*chunks, ollama_whole("")]


class Case(msgspec.Struct, frozen=True):
    """A wire format: its codec, a reply that holds a text, and a stream of texts."""

    name: str
    codec: Codec
    whole: Callable[[str], JSON]
    stream: Callable[[list[str]], list[JSON]]


def cases() -> list[Case]:
    responses = WIRES["openai"].reasoning or WIRES["openai"].chat
    assert responses is not None
    return [
        Case("openai chat", WIRES["openai"].chat, openai_whole, openai_stream),
        Case("openai responses", responses, responses_whole, responses_stream),
        Case("anthropic", WIRES["anthropic"].chat, anthropic_whole, anthropic_stream),
        Case("google", WIRES["google"].chat, google_whole, google_stream),
        Case("ollama", WIRES["ollama"].chat, ollama_whole, ollama_stream),
    ]


def best(work: Callable[[], object], repeats: int, rounds: int = 7) -> float:
    """The least CPU seconds that one call of `work` took, as a mean over `repeats`."""
    seconds = []
    for _ in range(rounds):
        began = time.process_time()
        for _ in range(repeats):
            work()
        seconds.append((time.process_time() - began) / repeats)
    return min(seconds)


def filled(case: Case, size: int) -> bytes:
    """A reply of about `size` bytes."""
    bare = len(msgspec.json.encode(case.whole("")))
    return msgspec.json.encode(case.whole(("The quick brown fox. " * (size // 21 + 1))[: max(1, size - bare)]))


def whole_microseconds(case: Case, size: int) -> tuple[float, float]:
    """Of our decode, and of a bare one."""
    body = filled(case, size)
    reply = HttpReply(status=200, headers=HEADERS, body=body)
    bare = msgspec.json.Decoder()
    repeats = 2000 if size < 5000 else 500
    ours = best(lambda: case.codec.decode(reply), repeats) * 1e6
    return ours, best(lambda: bare.decode(body), repeats) * 1e6


def chunks_per_second(case: Case) -> tuple[float, float]:
    """Of our stream decoder, and of a bare decode of every chunk."""
    chunks = [msgspec.json.encode(chunk) for chunk in case.stream([f"word{n} " for n in range(CHUNKS)])]
    is_lines = case.name == "ollama"
    data = b"".join(chunk + b"\n" if is_lines else b"data: " + chunk + b"\n\n" for chunk in chunks)
    headers = {"content-type": "application/x-ndjson" if is_lines else "text/event-stream"}
    pieces = [data[at : at + PIECE_BYTES] for at in range(0, len(data), PIECE_BYTES)]
    bare = msgspec.json.Decoder()

    def ours() -> None:
        decoder = case.codec.open_stream(headers)
        count = sum(len(decoder.feed(piece)) for piece in pieces)
        assert decoder.close().finish_reason == "stop"
        assert count >= CHUNKS, "every chunk is handed out"

    return CHUNKS / best(ours, 1), CHUNKS / best(lambda: [bare.decode(chunk) for chunk in chunks], 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit with 1 when a goal is missed")
    parser.add_argument("--slack", type=float, default=1.0, help="how many times a goal may be missed by")
    options = parser.parse_args()
    print(headline("CPU to read answers, best of 7"))
    print(f"{'':18}{'600 B':>10}{'bare':>8}{'20 kB':>10}{'bare':>8}{'chunks/s':>12}{'bare':>12}")
    missed = False
    for case in cases():
        small, bare_small = whole_microseconds(case, 600)
        large, bare_large = whole_microseconds(case, 20_000)
        rate, bare_rate = chunks_per_second(case)
        print(
            f"{case.name:18}{small:8.1f}us{bare_small:6.1f}us{large:8.1f}us{bare_large:6.1f}us"
            f"{rate:12,.0f}{bare_rate:12,.0f}"
        )
        missed |= small > SMALL_MICROSECONDS * options.slack or large > LARGE_MICROSECONDS * options.slack
        missed |= rate < CHUNKS_PER_SECOND / options.slack
    if options.check and missed:
        sys.exit(f"a goal was missed: {SMALL_MICROSECONDS} us, {LARGE_MICROSECONDS} us, {CHUNKS_PER_SECOND:,.0f}/s")


if __name__ == "__main__":
    main()
