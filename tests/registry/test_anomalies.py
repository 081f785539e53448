"""registry/anomalies.py: what the real lists get wrong is named, and put right where that is sure."""

import json

import pytest

from llmring.refs import ModelRef
from llmring.registry.anomalies import NOT_CHAT, is_preview, why_not_chat
from llmring.registry.catalog import Catalog
from llmring.registry.published import PublishedList, parse_published
from tests.registry.lists import entry, needs_registry, parse, real


def kinds(published: PublishedList) -> list[tuple[str | None, str]]:
    return [(fault.model, fault.kind) for fault in published.faults]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("openai:text-embedding-3-small", "vectors"),
        ("google:gemini-embedding-2", "vectors"),
        ("openai:babbage-002", "completes text"),
        ("openai:davinci-002", "completes text"),
        ("openai:gpt-3.5-turbo-instruct", "completes text"),
        ("openai:tts-1-hd", "speaks"),
        ("openai:gpt-4o-mini-tts", "speaks"),
        ("google:gemini-2.5-pro-preview-tts", "speaks"),
        ("openai:whisper-1", "writes down speech"),
        ("openai:gpt-4o-transcribe", "writes down speech"),
        ("openai:gpt-realtime", "live connection"),
        ("google:gemini-live-2.5-flash-preview", "live connection"),
        ("google:gemini-2.0-flash-live-001", "live connection"),
        ("google:gemini-2.5-flash-preview-native-audio-dialog", "live connection"),
        ("openai:gpt-4o-audio-preview", "wants sound"),
        ("openai:gpt-audio", "wants sound"),
        ("openai:gpt-image-1", "makes images"),
        ("google:gemini-2.5-flash-image-preview", "makes images"),
        ("openai:dall-e-3", "makes images"),
        ("openai:omni-moderation-latest", "judges text"),
        ("openai:o3-deep-research-2025-06-26", "search tool"),
        ("anthropic:claude-3-opus-deprecated", "stands for models"),
    ],
)
def test_models_that_answer_no_conversation_are_told_by_name(name: str, why: str) -> None:
    assert why in (why_not_chat(ModelRef.parse(name), "chat") or "")


@pytest.mark.parametrize(
    "name",
    [
        "openai:gpt-5",
        "openai:gpt-4o",
        "openai:o3",
        "openai:gpt-4o-search-preview",
        "anthropic:claude-opus-5",
        "google:gemini-3-pro-preview",
        "google:gemini-robotics-er-2-preview",
        "groq:llama-3.3-70b-instruct",
        "ollama:gpt-audio-clone",
        "openrouter:olive",
        "ollama:liveliness",
    ],
)
def test_models_that_do_are_not(name: str) -> None:
    assert why_not_chat(ModelRef.parse(name), "chat") is None


def test_an_embeddings_endpoint_is_enough() -> None:
    assert why_not_chat(ModelRef.parse("openai:anything"), "embeddings") is not None


def test_every_rule_says_why() -> None:
    assert all(rule.why and rule.pattern for rule in NOT_CHAT)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gpt-4o-audio-preview", True),
        ("gemini-2.5-flash-preview-05-20", True),
        ("gemini-2.0-flash-exp", True),
        ("gpt-5", False),
        ("experience-1", False),
        ("gpt-5-chat-latest", False),
    ],
)
def test_a_preview_is_told_by_its_name(name: str, expected: bool) -> None:
    assert is_preview(name) is expected


def test_a_model_that_is_marked_chat_and_is_none_is_named() -> None:
    published = parse(entry("gpt-realtime", api_endpoint="chat"), entry("gpt-5", api_endpoint="chat"))
    assert [facts.is_chat for facts in published.models] == [False, True]
    assert kinds(published) == [("gpt-realtime", "not_chat")]


def test_limits_are_turned_only_where_a_twin_has_them_the_other_way() -> None:
    dated = entry("p-2025", max_input_tokens=10, max_output_tokens=20, model_aliases=["p"])
    sure = parse(dated, entry("p", max_input_tokens=20, max_output_tokens=10))
    assert [(f.max_input_tokens, f.max_output_tokens) for f in sure.models] == [(20, 10), (20, 10)]
    unsure = parse(dated, entry("p", max_input_tokens=21, max_output_tokens=10))
    assert (unsure.models[0].max_input_tokens, unsure.models[0].max_output_tokens) == (10, 20)
    for published in (sure, unsure):
        assert ("p-2025", "swapped_limits") in kinds(published)


def test_equal_limits_are_no_anomaly() -> None:
    assert parse(entry("o1-2024-12-17", max_input_tokens=100_000, max_output_tokens=100_000)).faults == ()


def test_the_lower_case_entry_stands() -> None:
    published = parse(entry("GPT-4o"), entry("gpt-4o"), entry("Qwen3"))
    assert kinds(published) == [("GPT-4o", "duplicate_by_case")]
    assert Catalog(published.models).names("openai") == ("Qwen3", "gpt-4o")


def test_an_alias_of_two_models_is_a_fault_and_one_that_is_a_model_is_not() -> None:
    published = parse(entry("a", model_aliases=["x", "b"]), entry("b", model_aliases=["x"]))
    assert kinds(published) == [("a", "alias_claimed_twice"), ("a", "alias_is_a_model")]
    assert [fault.is_anomaly for fault in published.faults] == [False, True]


@needs_registry
def test_the_anomalies_of_the_real_lists_are_found() -> None:
    published = parse_published(real("openai", 7), "real")
    found = kinds(published)
    assert (None, "naive_time") in found
    assert {model for model, kind in found if kind == "duplicate_by_case"} == {"GPT-4.1", "GPT-4o"}
    assert {model for model, kind in found if kind == "swapped_limits"} == {"gpt-5-pro-2025-10-06"}
    assert sum(kind == "unknown_limit" for _, kind in found) == 14
    by_name = {facts.ref.model: facts for facts in published.models}
    assert by_name["gpt-5-pro-2025-10-06"].max_input_tokens == 272_000
    assert not by_name["davinci-002"].is_chat and ("davinci-002", "not_chat") in found
    anthropic = parse_published(real("anthropic", 9), "real")
    placeholders = {model for model, kind in kinds(anthropic) if kind == "placeholder"}
    assert placeholders == {"claude-3-5-sonnet-deprecated", "claude-3-opus-deprecated"}


@needs_registry
def test_no_model_that_the_registry_calls_an_embedding_counts_as_chat() -> None:
    for provider, version in (("openai", 7), ("google", 5)):
        models = json.loads(real(provider, version))["models"]
        for facts in parse_published(real(provider, version), "real").models:
            if models[str(facts.ref)]["api_endpoint"] == "embeddings":
                assert not facts.is_chat
