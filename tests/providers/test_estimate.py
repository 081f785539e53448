"""Estimates: a quarter of the characters in, a running mean out, never more than the caller's own bound."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmring.chat import ChatRequest, JSONSchema, Message, Tool, ToolCall
from llmring.codecs.capabilities import Capabilities
from llmring.lockfile.providers import Kind, ProviderSettings
from llmring.parts import AudioPart, DocumentPart, ImagePart, Inline, Link, RegisteredFile
from llmring.providers.endpoint import endpoint
from llmring.providers.estimate import (
    COLD_OUTPUT_TOKENS,
    Counting,
    OutputEstimate,
    context_problem,
    estimate,
    input_tokens,
)
from llmring.providers.images import document_tokens, image_tokens


def request(*contents: str, max_tokens: int | None = None, tools: tuple[Tool, ...] = ()) -> ChatRequest:
    messages = tuple(Message(role="user", content=content) for content in contents)
    return ChatRequest(model="fast", messages=messages, max_tokens=max_tokens, tools=tools)


def learned(*answers: float) -> OutputEstimate:
    output = OutputEstimate()
    for tokens in answers:
        output.add(tokens)
    return output


@pytest.mark.parametrize(
    ("contents", "tokens"),
    [(("",), 1.0), (("a",), 1.0), (("abcd",), 1.0), (("abcde",), 2.0), (("ab", "cd"), 1.0), (("x" * 4000,), 1000.0)],
)
def test_input_is_a_quarter_of_the_characters_rounded_up(contents: tuple[str, ...], tokens: float) -> None:
    assert input_tokens(request(*contents)) == tokens


def test_names_and_arguments_of_tool_calls_are_input_too() -> None:
    call = ToolCall(id="not counted", name="find", arguments='{"a": "b"}')
    message = Message(role="assistant", content=None, tool_calls=(call, call))
    assert input_tokens(ChatRequest(model="fast", messages=(message,))) == 7.0


def test_tools_are_input_too() -> None:
    tool = Tool(name="find", parameters={"type": "object", "properties": {"what": {"type": "string"}}})
    assert input_tokens(request("abcd", tools=(tool,))) > input_tokens(request("abcd")) + 10.0


def test_before_the_first_answer_256_tokens_are_assumed() -> None:
    assert COLD_OUTPUT_TOKENS == 256.0
    assert OutputEstimate().tokens == 256.0


def test_the_first_answer_replaces_the_assumption() -> None:
    assert learned(10.0).tokens == 10.0


def test_while_cold_one_standard_deviation_is_added() -> None:
    # Mean 20, variance of {10, 30} is 100.
    assert learned(10.0, 30.0).tokens == pytest.approx(30.0)


def test_after_twenty_answers_it_is_the_mean_alone() -> None:
    answers = [10.0, 30.0] * 10
    assert learned(*answers[:19]).tokens > 20.0 + 9.0
    assert learned(*answers).tokens == pytest.approx(20.0, abs=1.0)


def test_it_follows_a_model_that_has_changed() -> None:
    output = learned(*[100.0] * 100, *[500.0] * 40)
    assert 440.0 < output.tokens < 460.0


@given(st.lists(st.integers(min_value=1, max_value=100_000), min_size=1, max_size=60))
def test_it_stays_within_what_was_seen_and_its_spread(answers: list[int]) -> None:
    tokens = learned(*map(float, answers)).tokens
    assert min(answers) - 1e-6 <= tokens <= max(answers) + (max(answers) - min(answers)) + 1e-6


@pytest.mark.parametrize(
    ("max_tokens", "expected", "bound"), [(None, 256.0, 256.0), (4096, 256.0, 4096.0), (16, 16.0, 16.0)]
)
def test_output_is_expected_within_the_callers_bound(max_tokens: int | None, expected: float, bound: float) -> None:
    about = estimate(request("abcd", max_tokens=max_tokens), OutputEstimate(), 1.0)
    assert (about.input_tokens, about.output_tokens, about.max_output_tokens) == (1.0, expected, bound)


# What is not text.

SIZED = Counting(family="anthropic", by_characters=False)


def test_images_documents_and_sound_are_input_too() -> None:
    image = ImagePart(source=Link(url="https://example.com/a.png"))
    paper = DocumentPart(source=Link(url="https://example.com/a.pdf"))
    sound = AudioPart(source=Inline(media_type="audio/mpeg", data="A" * (16_000 * 60 * 4 // 3)))
    asked = ChatRequest(model="a", messages=(Message(role="user", content=(image, paper, sound)),))
    parts = image_tokens(image, "anthropic") + document_tokens(paper, "anthropic") + 60 * 32
    assert input_tokens(asked, SIZED) == parts + 4


def test_registered_files_are_input_too() -> None:
    plain = request("abcd")
    asked = msgspec.structs.replace(plain, files=("llmring-file-1", "llmring-file-2"))
    paper = document_tokens(DocumentPart(source=RegisteredFile(id="x")), "anthropic")
    assert input_tokens(asked, SIZED) == input_tokens(plain, SIZED) + 2 * paper


def test_a_schema_is_input_too() -> None:
    schema = {"type": "object", "properties": {"name": {"type": "string"}}}
    asked = msgspec.structs.replace(request("abcd"), response_format=JSONSchema(schema=schema))
    assert input_tokens(asked, SIZED) > input_tokens(request("abcd"), SIZED) + 10


@pytest.mark.parametrize(
    ("kind", "by_characters", "family"),
    [
        ("openai", True, "openai"),
        ("azure", True, "openai"),
        ("anthropic", False, "anthropic"),
        ("vllm", False, "other"),
    ],
)
def test_each_provider_counts_in_its_own_way(kind: Kind, by_characters: bool, family: str) -> None:
    counting = endpoint("p", ProviderSettings(name="p", kind=kind, base_url="http://127.0.0.1")).counting("gpt-5")
    assert (counting.by_characters, counting.family, counting.vocabulary) == (by_characters, family, "o200k_base")


@pytest.mark.parametrize(
    ("max_tokens", "problem"),
    [(None, "Estimated input tokens (6) exceeds model input limit (5)"), (9, "Estimated input tokens (6)")],
)
def test_what_does_not_fit_is_told_with_numbers(max_tokens: int | None, problem: str) -> None:
    capabilities = Capabilities(max_input_tokens=5, max_output_tokens=8)
    found = context_problem(request("abcdefgh", max_tokens=max_tokens), capabilities, SIZED)
    assert found is not None
    assert found.startswith(problem)
    assert context_problem(request("abcd"), capabilities, SIZED) is None
