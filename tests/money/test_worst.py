"""What one request may use and cost at the most: every kind of content, and every field that is billed for."""

from base64 import b64encode
from decimal import Decimal as D
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmring.chat import (
    Cache,
    ChatRequest,
    JSONMode,
    JSONSchema,
    Message,
    NativeTurn,
    ToolCall,
)
from llmring.chat import Tool as T
from llmring.codecs.capabilities import Capabilities, Model
from llmring.lockfile.providers import Kind
from llmring.money.worst import Most, most
from llmring.parts import AudioPart, DocumentPart, ImagePart, Inline, Link, Part, ProviderFile, TextPart
from llmring.pricing import Prices, ruled
from llmring.providers.estimate import Counting, input_tokens
from llmring.providers.images import Family
from llmring.refs import ModelRef
from tests.providers.test_images import png

RATES = Prices(input=D(1), output=D(10), cache_write_1h=D(2), output_thinking=D(20))
PRICES = ruled(RATES, ModelRef("anthropic", "x"))
LISTED: dict[str, Any] = {"max_input_tokens": 100_000, "max_output_tokens": 10_000}
HELD = 110_000
"""What a model of so much input and output reads at the most."""


def asked(*parts: Part, **fields: Any) -> ChatRequest:
    message = Message(role="user", content=parts or "abcd")
    given: dict[str, Any] = {"model": "x", "max_tokens": 100, "messages": (message,), **fields}
    return ChatRequest(**given)


def worst(
    request: ChatRequest, family: Family = "anthropic", kind: Kind = "anthropic", name: str = "x", **capabilities: Any
) -> Most:
    return most(request, Model(name=name, capabilities=Capabilities(**capabilities)), family, kind, PRICES)


def usd(input_tokens: int, output_tokens: int, rate: int = 1) -> D:
    return D(input_tokens * rate + output_tokens * 20) / 10**6


def inline(text: bytes = b"", media_type: str = "application/pdf") -> Inline:
    return Inline(media_type=media_type, data=b64encode(text).decode())


# Rates.


def test_the_most_is_every_byte_and_the_longest_answer_at_the_dearest_rates() -> None:
    assert worst(asked()).usd == usd(28, 100)
    assert worst(asked(cache=Cache(ttl="1h"))).usd == usd(28, 100, rate=2)
    assert worst(asked(n=3)).usd == usd(28, 300)


def test_where_nothing_is_known_of_a_provider_it_may_bill_what_it_keeps_unasked() -> None:
    model = Model(name="x")
    others = ruled(RATES, ModelRef("acme", "x"))
    assert most(asked(), model, "anthropic", "vllm", others).usd == usd(28, 100, rate=2)


def test_without_a_price_nothing_is_known() -> None:
    assert most(asked(), Model(name="x"), "openai", "openai", Prices(input=D(1))).usd is None


# Answers.


def test_a_bound_that_will_not_be_sent_or_may_be_replaced_is_none() -> None:
    open_ended = worst(asked(extra_params={"max_tokens": 9}), max_output_tokens=None)
    assert (open_ended.usd, open_ended.unbounded) == (None, "an answer may have any length: set max_tokens")
    assert worst(asked(), refused=frozenset({"max_tokens"})).usd is None


def test_a_registry_that_rounds_a_bound_does_not_lower_it() -> None:
    """16,000 stands for 16,384: what is asked for between them is sent as it is."""
    rounded: dict[str, Any] = {"max_output_tokens": 16_000}
    assert (worst(asked(max_tokens=16_384), **rounded).output_tokens or 0) >= 16_384
    assert (worst(asked(max_tokens=None), **rounded).output_tokens or 0) >= 16_384
    assert worst(asked(max_tokens=99_999), **rounded).output_tokens == 16_000


def test_a_model_that_cannot_be_told_not_to_reason_may_do_so() -> None:
    found = worst(asked(reasoning_effort="none"), reasoning="default", reasoning_allowance=2000)
    assert found.output_tokens == 2100


@pytest.mark.parametrize(
    ("extra", "why"),
    [
        ({}, None),
        ({"top_k": 3, "logit_bias": {}}, None),
        ({"n": 8}, "extra_params['n'] may change what it bills"),
        ({"service_tier": "priority"}, "extra_params['service_tier']"),
        ({"top_k": 3, "generationConfig": {"candidateCount": 8}}, "extra_params['generationConfig']"),
        ({"model": "dearer"}, "extra_params['model']"),
        ({"tools": [{"type": "web_search"}]}, "extra_params['tools']"),
        ({"previous_response_id": "resp_1"}, "extra_params['previous_response_id']"),
        ({"prediction": {"type": "content"}}, "extra_params['prediction']"),
        ({"modalities": ["audio"]}, "extra_params['modalities']"),
    ],
)
def test_nothing_bounds_what_an_unknown_parameter_costs(extra: dict[str, Any], why: str | None) -> None:
    told = worst(asked(extra_params=extra), max_output_tokens=5000).unbounded
    assert told is why is None or (told is not None and why is not None and why in told)


@pytest.mark.parametrize("name", ["gpt-4o-search-preview", "openai/gpt-4o:online", "sonar-pro", "groq/compound-mini"])
def test_models_that_search_unasked_are_not_bounded(name: str) -> None:
    assert "searches the web" in (worst(asked(), name=name).unbounded or "")


# Inputs.


@given(st.text(max_size=200))
def test_no_text_has_more_tokens_than_bytes(text: str) -> None:
    request = asked(TextPart(text=text))
    for counting in (Counting(), Counting(by_characters=False, vocabulary="o200k_base")):
        assert (worst(request).input_tokens or 0) >= input_tokens(request, counting)


def test_what_goes_beside_the_text_is_in_the_most() -> None:
    plain = worst(asked()).input_tokens or 0
    tool = T(name="find", parameters={"x": "y" * 1000})
    call = ToolCall(id="1", name="find", arguments="z" * 1000)
    native = NativeTurn(origin=ModelRef("a", "b"), format="f", items=({"text": "x" * 1000},))
    for request in (
        asked(tools=(tool,)),
        asked(response_format=JSONSchema(schema={"x": "y" * 1000})),
        asked(response_format=JSONSchema(schema={}, description="y" * 1000)),
        asked(messages=(Message(role="assistant", tool_calls=(call,)),)),
        asked(messages=(Message(role="assistant", content="x", native=native),)),
        asked(extra_params={"stop_sequences": "x" * 1000}),
        asked(DocumentPart(source=inline(b"x" * 1000, "text/plain"))),
        asked(DocumentPart(source=inline(b"\xff" * 400, "application/json"))),
    ):
        assert (worst(request, max_output_tokens=10).input_tokens or 0) > plain + 900
    assert (worst(asked(response_format=JSONMode())).input_tokens or 0) > plain + 77
    assert (worst(asked(), "other", "groq").input_tokens or 0) > plain + 70


@pytest.mark.parametrize(
    "request_",
    [
        asked(DocumentPart(source=inline())),
        asked(DocumentPart(source=inline(b"PK", "application/vnd.openxmlformats"))),
        asked(DocumentPart(source=Link(url="https://example.org/a.pdf"))),
        asked(DocumentPart(source=ProviderFile(id="file-1", media_type="application/pdf"))),
        asked(files=("file-1",)),
        asked(cache=Cache(content="cachedContents/1")),
        asked(
            messages=(
                Message(
                    role="assistant",
                    native=NativeTurn(
                        origin=ModelRef("a", "b"),
                        format="anthropic",
                        items=({"type": "document", "source": {"type": "url", "url": "https://example.org"}},),
                    ),
                ),
            )
        ),
    ],
)
def test_what_is_not_seen_here_may_be_all_that_a_model_reads(request_: ChatRequest) -> None:
    assert worst(request_, **LISTED).input_tokens == HELD
    known: list[dict[str, Any]] = [{}, {"max_input_tokens": 100_000}, {"max_output_tokens": 10_000}]
    for unknown in known:
        told = worst(request_, **unknown).unbounded
        assert told is not None
        assert told.endswith("send its text, or use a model of known size")
    long = asked(TextPart(text="x" * 200_000), *request_.messages[0].parts, files=request_.files, cache=request_.cache)
    assert (worst(long, **LISTED).input_tokens or 0) >= 200_000


@pytest.mark.parametrize(
    ("part", "family", "most_tokens"),
    [
        (ImagePart(source=Link(url="https://example.org/a")), "anthropic", 4784),
        (ImagePart(source=ProviderFile(id="1")), "openai", 48_169),
        (ImagePart(source=inline(png(5000, 5000), "image/png")), "openai", 48_169),
        (ImagePart(source=inline(png(10, 10), "image/png")), "google", 1120),
        (ImagePart(source=inline(png(7680, 7680), "image/png")), "google", 258 * 100),
        (ImagePart(source=inline(b"?", "image/png")), "google", HELD),
        (ImagePart(source=Link(url="https://example.org/a.png")), "google", HELD),
        (ImagePart(source=inline(png(10, 10), "image/png")), "other", HELD),
    ],
)
def test_an_image_is_the_largest_that_its_rule_makes_of_any(part: Part, family: Family, most_tokens: int) -> None:
    around = 16 + 8 + 16
    found = worst(asked(part), family, "openai" if family == "openai" else "google", **LISTED).input_tokens
    assert found is not None
    assert most_tokens <= found <= most_tokens + around + 256


@pytest.mark.parametrize(
    ("part", "family", "kind", "what"),
    [
        (AudioPart(source=inline(b"", "audio/mpeg")), "google", "google", "audio"),
        (AudioPart(source=Link(url="https://example.org/a.mp3")), "openai", "openai", "audio"),
        (DocumentPart(source=inline(b"", "video/mp4")), "google", "google", "video"),
        (ImagePart(source=ProviderFile(id="1", uri="u", media_type="Video/MP4; x")), "google", "google", "video"),
        (DocumentPart(source=Link(url="https://example.org/watch?v=1")), "google", "google", "unknown type"),
        (DocumentPart(source=Link(url="https://example.org/a.mp3")), "google", "google", "audio"),
        (DocumentPart(source=inline()), "other", "openrouter", "the pages of a document"),
        (DocumentPart(source=inline()), "other", "mistral", "the pages of a document"),
    ],
)
def test_what_has_rates_of_its_own_is_not_bounded(part: Part, family: Family, kind: Kind, what: str) -> None:
    found = worst(asked(part), family, kind, **LISTED)
    assert found.usd is None
    assert what in (found.unbounded or "")
