"""`llmring cost`: exact dollars by the registry, and no price where none is known."""

from tests.cli.terminal import Terminal


def test_tokens_are_priced_by_kind(bare: Terminal) -> None:
    # claude-haiku-4-5: $1 and $5 a million, cached input $0.10.
    arguments = ("--model", "anthropic:claude-haiku-4-5", "--in", "1000000", "--out", "100000", "--cached", "400000")
    ended = bare.run("cost", *arguments)
    assert ended.code == 0
    assert ended.out.splitlines()[-1].split() == [
        "anthropic:claude-haiku-4-5",
        "$0.6",
        "$0.04",
        "$0.5",
        "$1.14",
    ]
    priced = bare.run("cost", *arguments, "--json").json()["anthropic:claude-haiku-4-5"]
    assert (priced["cost_usd"], priced["cost_status"]) == ("1.1400000", "priced")


def test_every_model_of_an_alias_is_priced(bare: Terminal) -> None:
    bare.run("bind", "x", "anthropic:claude-haiku-4-5,ollama:any")
    ended = bare.run("cost", "-m", "x", "--in", "1000", "--out", "1000")
    assert ended.code == 0
    lines = ended.out.splitlines()
    assert lines[1].startswith("anthropic:claude-haiku-4-5  $0.001")
    assert lines[2].split() == ["ollama:any", "-", "-", "-", "model", "not", "in", "registry"]


def test_what_has_no_price_is_not_free(bare: Terminal) -> None:
    ended = bare.run("cost", "-m", "anthropic:claude-nobody", "--in", "10")
    assert ended.code == 1
    assert "$" not in ended.out


def test_more_cached_tokens_than_tokens_is_a_mistake(bare: Terminal) -> None:
    ended = bare.run("cost", "-m", "anthropic:claude-haiku-4-5", "--in", "10", "--cached", "11")
    assert ended.code == 2
    assert "--cached counts tokens of --in: 11 of 10 cannot be" in ended.err
