"""refs.py: what is a model reference, what is an alias, and what is neither."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmring.refs import ModelRef, check_alias, is_model_ref


@pytest.mark.parametrize(
    ("text", "provider", "model"),
    [
        ("openai:gpt-4o", "openai", "gpt-4o"),
        ("OpenAI:gpt-4o", "openai", "gpt-4o"),
        ("  openai:gpt-4o\n", "openai", "gpt-4o"),
        ("ollama:llama3.3:70b", "ollama", "llama3.3:70b"),
        ("together:meta-llama/Llama-3.3-70B", "together", "meta-llama/Llama-3.3-70B"),
        ("my_vllm-2.x:Qwen", "my_vllm-2.x", "Qwen"),
    ],
)
def test_everything_after_the_first_colon_is_the_model(text: str, provider: str, model: str) -> None:
    assert ModelRef.parse(text) == ModelRef(provider, model)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("gpt-4o", "expected 'provider:model'"),
        ("", "expected 'provider:model'"),
        (":gpt-4o", "'' is not a provider name"),
        ("open ai:gpt-4o", "'open ai' is not a provider name"),
        ("-x:gpt-4o", "'-x' is not a provider name"),
        ("openai:", "empty or holds blanks"),
        ("openai: ", "empty or holds blanks"),
        ("openai:gpt 4o", "empty or holds blanks"),
        ("openai:gpt\x004o", "empty or holds blanks"),
    ],
)
def test_what_is_no_reference_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match="is not a model reference") as caught:
        ModelRef.parse(text)
    assert reason in str(caught.value)


@given(st.text(max_size=40))
def test_parsing_gives_a_reference_or_a_value_error_and_printing_is_its_inverse(text: str) -> None:
    try:
        ref = ModelRef.parse(text)
    except ValueError:
        return
    assert ModelRef.parse(str(ref)) == ref


def test_references_are_keys_and_sort_by_provider_then_model() -> None:
    b, a = ModelRef.parse("openai:a"), ModelRef.parse("anthropic:z")
    assert sorted([b, a]) == [a, b]
    assert {a: 1}[ModelRef("anthropic", "z")] == 1


@pytest.mark.parametrize("name", ["fast", "Fast-2", "a/b", "a.b_c", "7"])
def test_an_alias_is_letters_digits_and_a_few_marks(name: str) -> None:
    assert check_alias(name) == name
    assert not is_model_ref(name)


@pytest.mark.parametrize("name", ["", " fast", "a b", "openai:gpt-4o", "-fast", "_fast", "schnell\n", "é"])
def test_what_cannot_be_an_alias_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not an alias"):
        check_alias(name)


def test_a_colon_tells_a_reference_from_an_alias() -> None:
    assert is_model_ref("openai:gpt-4o")
    assert is_model_ref("not a good one:")
    assert not is_model_ref("gpt-4o")
