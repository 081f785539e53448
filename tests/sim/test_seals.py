"""Proof of who wrote a thought."""

import pytest

from llmring.sim.seals import seal, unseal


def test_a_seal_opens_for_the_format_and_model_that_made_it_whatever_fault_its_name_asks_for() -> None:
    sealed = seal("anthropic", "claude-sim", "hm")
    assert unseal("anthropic", "claude-sim", sealed) == unseal("anthropic", "claude-sim+cut", sealed) == "hm"
    assert unseal("google", "claude-sim", sealed) is None
    assert unseal("anthropic", "claude-other", sealed) is None


@pytest.mark.parametrize("sealed", ["", "AAAA", "not base64!", "c2ltcGxlIHRleHQsIGxvbmcgZW5vdWdo"])
def test_what_nobody_sealed_does_not_open(sealed: str) -> None:
    assert unseal("openai", "gpt-sim", sealed) is None
