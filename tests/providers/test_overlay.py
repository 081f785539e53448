"""What models take: the overlay's rows as wire tables say them, and the registry under them."""

from typing import Any

import pytest

from llmring.codecs.capabilities import Capabilities
from llmring.lockfile.providers import Kind
from llmring.providers.overlay import Published, capabilities, row_of


@pytest.mark.parametrize(
    ("name", "reasoning", "sampling", "takes_none", "responses"),
    [
        ("o1", "always", "refused", False, True),
        ("o3-mini", "always", "refused", False, True),
        ("o4-mini-2025-04-16", "always", "refused", False, True),
        ("gpt-5-chat-latest", "never", "taken", False, False),
        ("gpt-4o", "never", "taken", False, False),
        ("gpt-4.1-mini", "never", "taken", False, False),
        ("gpt-3.5-turbo", "never", "taken", False, False),
        ("gpt-5", "always", "refused", False, True),
        ("gpt-5-mini", "always", "refused", False, True),
        ("gpt-5-2025-08-07", "always", "refused", False, True),
        ("gpt-5-pro", "always", "refused", False, True),
        ("gpt-5-codex", "always", "refused", False, True),
        ("gpt-5.1", "optional", "taken without reasoning", True, True),
        ("gpt-5.4-mini", "optional", "taken without reasoning", True, True),
        ("gpt-5.1-codex-max", "always", "refused", False, True),
        ("gpt-5.2-chat-latest", "always", "refused", False, True),
        ("gpt-5.4-pro", "always", "refused", False, True),
        ("gpt-5.5", "default", "taken without reasoning", True, True),
        ("gpt-5.6-sol", "default", "taken without reasoning", True, True),
        ("gpt-6", "default", "taken without reasoning", True, True),
    ],
)
def test_openai(name: str, reasoning: str, sampling: str, takes_none: bool, responses: bool) -> None:
    found = capabilities("openai", name, None)
    assert (found.reasoning, found.sampling, found.responses) == (reasoning, sampling, responses)
    assert ("none" in found.efforts) == takes_none


@pytest.mark.parametrize(
    ("name", "reasoning", "controls", "sampling", "schema"),
    [
        ("claude-3-5-haiku-20241022", "never", {"effort", "budget"}, "taken", "tool"),
        ("claude-3-7-sonnet-20250219", "optional", {"budget"}, "taken without reasoning", "tool"),
        ("claude-sonnet-4-20250514", "optional", {"budget"}, "taken without reasoning", "tool"),
        ("claude-opus-4-1-20250805", "optional", {"budget"}, "taken without reasoning", "native"),
        ("claude-haiku-4-5-20251001", "optional", {"budget"}, "taken without reasoning", "native"),
        ("claude-sonnet-4-6", "optional", {"effort", "budget"}, "taken without reasoning", "native"),
        ("claude-opus-4-8", "optional", {"effort"}, "refused", "native"),
        ("claude-sonnet-5", "optional", {"effort"}, "refused", "native"),
        ("claude-fable-5", "optional", {"effort"}, "refused", "native"),
    ],
)
def test_anthropic(name: str, reasoning: str, controls: set[str], sampling: str, schema: str) -> None:
    found = capabilities("anthropic", name, None)
    assert (found.reasoning, found.sampling, found.schema) == (reasoning, sampling, schema)
    assert set(found.controls) == controls


@pytest.mark.parametrize(
    ("name", "reasoning", "controls", "schema_with_tools", "least"),
    [
        ("gemini-2.0-flash", "never", {"effort", "budget"}, False, 0),
        ("gemini-2.5-pro", "always", {"budget"}, False, 128),
        ("gemini-2.5-flash", "default", {"budget"}, False, 0),
        ("gemini-2.5-flash-lite", "optional", {"budget"}, False, 0),
        ("gemini-3-pro-preview", "always", {"effort"}, True, 0),
        ("models/gemini-3-flash-preview", "always", {"effort"}, True, 0),
        ("gemini-3.7-flash", "always", {"effort"}, True, 0),
    ],
)
def test_google(name: str, reasoning: str, controls: set[str], schema_with_tools: bool, least: int) -> None:
    found = capabilities("google", name, None)
    assert found.reasoning == reasoning
    assert set(found.controls) == controls
    assert (found.schema_with_tools, found.least_reasoning_tokens) == (schema_with_tools, least)
    assert ("minimal" in found.efforts) == ("flash" in name and "3." not in name and "2." not in name)


@pytest.mark.parametrize("kind", ["openai-compatible", "openrouter", "vllm"])
def test_a_gateway_has_rules_of_its_own(kind: Kind) -> None:
    assert row_of(kind, "gpt-5") is None
    assert capabilities(kind, "gpt-5", None) == Capabilities()


@pytest.mark.parametrize(
    ("can", "expected"),
    [
        (set(), {"sampling": "refused", "schema": "prompt", "refused": set()}),
        ({"temperature", "json"}, {"sampling": "taken", "schema": "json", "refused": set()}),
        ({"json", "json_schema"}, {"sampling": "refused", "schema": "native", "refused": set()}),
    ],
)
def test_without_a_row_the_registry_counts(can: set[str], expected: dict[str, Any]) -> None:
    found = capabilities("openai", "mystery-1", Published(can=frozenset(can)))
    assert {name: getattr(found, name) for name in expected} == expected


def test_a_row_counts_more_than_the_registry() -> None:
    wrong = Published(
        can=frozenset({"temperature"}), max_input_tokens=1000, max_output_tokens=100, reasoning_tokens=5000
    )
    found = capabilities("openai", "o3", wrong)
    assert (found.sampling, found.reasoning_allowance) == ("refused", 5000)
    assert (found.max_input_tokens, found.max_output_tokens) == (1000, 100)


def test_limits_that_are_swapped_are_not_enforced() -> None:
    assert (
        capabilities("openai", "o3", Published(max_input_tokens=128, max_output_tokens=272)).max_output_tokens is None
    )


@pytest.mark.parametrize(
    ("name", "schema"),
    [("qwen3:4b", "native"), ("gpt-5", "native"), ("gpt-oss:120b-cloud", "prompt"), ("glm-5:cloud", "prompt")],
)
def test_ollama_is_asked_to_think_by_a_word(name: str, schema: str) -> None:
    found = capabilities("ollama", name, None)
    assert (found.reasoning, found.schema) == ("unknown", schema)
    assert set(found.controls) == {"effort"}
    assert found.efforts == ("none", "low", "medium", "high", "max")
