"""Was it the model that was asked for?"""

import pytest

from llmring.router.served import is_other


@pytest.mark.parametrize(
    ("asked", "served"),
    [
        ("gpt-4o", "gpt-4o"),
        ("gpt-4o", "gpt-4o-2024-08-06"),
        ("claude-haiku-4-5", "claude-haiku-4-5-20251001"),
        ("claude-3-5-sonnet-latest", "claude-3-5-sonnet-20241022"),
        ("gemini-2.0-flash", "gemini-2.0-flash-001"),
        ("models/gemini-3.7-flash", "gemini-3.7-flash"),
        ("anthropic/claude-haiku-4.5", "anthropic/claude-4.5-haiku-20251001"),
        ("meta/llama-3.3:free", "meta/llama-3.3"),
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("GPT-4o", "gpt-4o"),
    ],
)
def test_a_dated_version_is_the_model_that_was_asked_for(asked: str, served: str) -> None:
    assert not is_other(asked, served)


@pytest.mark.parametrize(
    ("asked", "served"),
    [
        ("gpt-4o", "gpt-4o-mini"),
        ("gpt-4o", "gpt-4o-mini-2024-07-18"),
        ("gpt-4o-2024-05-13", "gpt-4o-2024-08-06"),
        ("deepseek-chat", "deepseek-v4-flash"),
        ("claude-opus-5", "claude-sonnet-5"),
        ("gemini-3.7-flash", "gemini-3.1-flash"),
    ],
)
def test_another_name_or_another_date_is_another_model(asked: str, served: str) -> None:
    assert is_other(asked, served)
