"""Tokens of texts: exact where OpenAI's vocabularies are loaded, a quarter of the characters elsewhere."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmring.providers import tokens
from llmring.providers.tokens import EXACT_CHARACTERS, count_tokens, load, vocabulary_of

WORDS = "The quick brown fox jumps over the lazy dog, twice. "
KINDS = {
    "prose": WORDS,
    "chinese": "天地玄黄宇宙洪荒日月盈昃辰宿列张",
    "emoji": "😀👨‍👩‍👧",
    "code": 'if x[0] == "a":\n\treturn {"b": 1.25}\n\n',
    "noise": "kqzv9Jw+/x8",
    "one letter": "a",
    "blanks": " \n\t",
}


@pytest.fixture(name="unloaded")
def _unloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "_loaded", {})


@pytest.fixture(name="loaded")
def _loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rs_bpe", reason="the extra `tokens` is not installed")
    monkeypatch.setattr(tokens, "_loaded", {})
    assert load()


@pytest.mark.parametrize(
    ("model", "vocabulary"),
    [
        ("gpt-4o-mini", "o200k_base"),
        ("chatgpt-4o-latest", "o200k_base"),
        ("gpt-4.1", "o200k_base"),
        ("gpt-4.5-preview", "o200k_base"),
        ("gpt-5", "o200k_base"),
        ("GPT-5.6-sol", "o200k_base"),
        ("gpt-10", "o200k_base"),
        ("gpt-oss:120b", "o200k_base"),
        ("openai/gpt-oss-20b", "o200k_base"),
        ("o1", "o200k_base"),
        ("o3-mini", "o200k_base"),
        ("codex-mini-latest", "o200k_base"),
        ("ft:gpt-4o-2024-08-06:acme::1", "o200k_base"),
        ("gpt-4", "cl100k_base"),
        ("gpt-4-turbo-2024-04-09", "cl100k_base"),
        ("gpt-3.5-turbo", "cl100k_base"),
        ("gpt-35-turbo", "cl100k_base"),
        ("text-embedding-3-small", "cl100k_base"),
        ("text-embedding-ada-002", "cl100k_base"),
        ("claude-opus-4-8", None),
        ("gemini-3-flash", None),
        ("olmo2", None),
        ("text-embedding-004", None),
        ("", None),
    ],
)
def test_the_vocabulary_is_known_by_the_models_name(model: str, vocabulary: str | None) -> None:
    assert vocabulary_of(model) == vocabulary


@pytest.mark.usefixtures("unloaded")
@given(st.text())
def test_until_the_vocabularies_are_loaded_four_characters_are_a_token(text: str) -> None:
    assert count_tokens(text, vocabulary_of("gpt-5")) == math.ceil(len(text) / 4)


@pytest.mark.usefixtures("unloaded")
def test_without_the_extra_nothing_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> object:
        raise ImportError(name)

    monkeypatch.setattr(tokens, "import_module", missing)
    assert not load()
    assert count_tokens("abcde", vocabulary_of("gpt-5")) == 2


@pytest.mark.usefixtures("loaded")
@pytest.mark.parametrize(
    ("text", "new", "old"),
    [
        ("", 0, 0),
        ("hello world", 2, 2),
        ("tiktoken is great!", 6, 6),
        ("天地玄黄", 3, 6),
        ("<|endoftext|>", 7, 7),
    ],
)
def test_openais_texts_are_counted_exactly(text: str, new: int, old: int) -> None:
    assert count_tokens(text, vocabulary_of("gpt-5")) == new
    assert count_tokens(text, vocabulary_of("gpt-4")) == old
    assert count_tokens(text, vocabulary_of("claude-opus-4-8")) == math.ceil(len(text) / 4)


@pytest.mark.usefixtures("loaded")
@pytest.mark.parametrize("model", ["gpt-5", "gpt-4"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_long_text_is_counted_on_samples(kind: str, model: str) -> None:
    unit = KINDS[kind]
    text = (unit * (3_000_000 // len(unit)))[:2_999_999]
    part = text[: EXACT_CHARACTERS // len(unit) * len(unit)]
    exact = count_tokens(part, vocabulary_of(model)) / len(part) * len(text)
    assert count_tokens(text, vocabulary_of(model)) == pytest.approx(exact, rel=0.03)


def test_no_more_than_the_samples_of_a_long_text_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    class Vocabulary:
        read = 0

        def count(self, text: str) -> int:
            self.read += len(text)
            return len(text)

    vocabulary = Vocabulary()
    monkeypatch.setattr(tokens, "_loaded", {"o200k_base": vocabulary})
    assert count_tokens("x" * 3_000_000, vocabulary_of("gpt-4o")) == 3_000_000
    assert vocabulary.read == EXACT_CHARACTERS


@pytest.mark.usefixtures("loaded")
def test_every_part_of_a_long_text_counts() -> None:
    dense, sparse = "天地玄黄" * 50_000, "a" * 200_000
    exact = 50_000 * 3 + 2 * 200_000 / 8
    for text in (dense + sparse * 2, sparse + dense + sparse, sparse * 2 + dense):
        assert count_tokens(text, vocabulary_of("gpt-5")) == pytest.approx(exact, rel=0.15)


@pytest.mark.usefixtures("loaded")
@given(st.text(alphabet=st.characters(), max_size=60))
def test_any_text_has_a_count(text: str) -> None:
    for model in ("gpt-5", "gpt-4"):
        counted = count_tokens(text, vocabulary_of(model))
        assert bool(text) <= counted <= len(text.encode("utf-8", "replace"))


@pytest.mark.usefixtures("loaded")
@given(st.characters(categories=["Cs"]))
def test_half_of_a_surrogate_pair_is_counted_too(character: str) -> None:
    assert count_tokens(f"a{character}b", vocabulary_of("gpt-5")) >= 1
