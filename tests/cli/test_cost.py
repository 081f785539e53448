"""`llmring cost`: exact dollars by the registry, and no price where none is known."""

from decimal import Decimal

import pytest

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
    assert lines[2].split("  ", 1)[0] == "ollama:any"
    assert lines[2].endswith("  unknown: the model is not in the registry")


def test_what_has_no_price_is_not_free(bare: Terminal) -> None:
    ended = bare.run("cost", "-m", "anthropic:claude-nobody", "--in", "10")
    assert ended.code == 1
    assert "$" not in ended.out


def test_more_cached_tokens_than_tokens_is_a_mistake(bare: Terminal) -> None:
    ended = bare.run("cost", "-m", "anthropic:claude-haiku-4-5", "--in", "10", "--cached", "11")
    assert ended.code == 2
    assert "--cached counts tokens of --in: 11 of 10 cannot be" in ended.err


def test_every_kind_of_token_has_its_column_when_it_is_used(bare: Terminal) -> None:
    # claude-sonnet-4-5: $3 and $15, reads $0.30, writes $3.75 for 5 minutes and $6 for an hour.
    arguments = ["-m", "anthropic:claude-sonnet-4-5", "--in", "4000", "--out", "3000", "--reasoning", "1000"]
    arguments += ["--cached", "1000", "--cache-write-5m", "1000", "--cache-write-1h", "1000"]
    ended = bare.run("cost", *arguments)
    heads, row = ended.out.splitlines()[-2:]
    assert heads.split() == ["model", "input", "cached", "5m", "writes", "1h", "writes", "output", "reasoning", "total"]
    assert row.split()[1:] == ["$0.003", "$0.0003", "$0.00375", "$0.006", "$0.03", "$0.015", "$0.05805"]
    priced = bare.run("cost", *arguments, "--batch", "--json").json()["anthropic:claude-sonnet-4-5"]
    assert (Decimal(priced["cost_usd"]), priced["cost_status"]) == (Decimal("0.029025"), "priced")
    assert sum(map(Decimal, priced["cost_breakdown"].values())) == Decimal("0.029025")


def test_a_long_prompt_is_said_to_be_one(bare: Terminal) -> None:
    short = bare.run("cost", "-m", "openai:gpt-5.4", "--in", "272000")
    long = bare.run("cost", "-m", "openai:gpt-5.4", "--in", "272001", "--out", "1000")
    assert "long-context" not in short.out
    # 272,001 * $5 + 1,000 * $22.50
    assert long.out.splitlines()[-2].split()[-1] == "$1.382505"
    assert long.out.splitlines()[-1] == "At the long-context rates: openai:gpt-5.4."


def test_a_cache_by_the_hour_is_priced_where_there_is_one(bare: Terminal) -> None:
    # gemini-2.5-pro: $1.25, cached $0.125, $4.50 an hour.
    arguments = ("--in", "100000", "--cached", "90000", "--store", "90000", "--hours", "2")
    ended = bare.run("cost", "-m", "google:gemini-2.5-pro", *arguments)
    assert ended.out.splitlines()[-1].split()[1:] == ["$0.0125", "$0.01125", "$0", "$0.81", "$0.83375"]
    told = bare.run("cost", "-m", "google:gemini-2.5-pro", *arguments, "--json").json()["google:gemini-2.5-pro"]
    assert (Decimal(told["cache_storage_usd"]), Decimal(told["total_usd"])) == (Decimal("0.81"), Decimal("0.83375"))
    none = bare.run("cost", "-m", "openai:gpt-4o", *arguments)
    assert none.code == 1
    assert "unknown: the registry has no price of cache storage for the model" in none.out


def test_json_says_why_there_is_no_price(bare: Terminal) -> None:
    bare.run("bind", "x", "ollama:any")
    ended = bare.run("cost", "-m", "x", "--in", "10", "--json")
    told = ended.json()["ollama:any"]
    assert (ended.code, told["cost_usd"], told["total_usd"]) == (1, None, None)
    assert (told["cost_status"], told["why_unknown"]) == ("model_not_in_registry", "the model is not in the registry")
    nobody = bare.run("cost", "-m", "anthropic:claude-nobody", "--in", "10", "--json")
    assert (nobody.code, "claude-nobody" in nobody.json()["error"]["message"]) == (1, True)


def test_parts_are_no_more_than_their_total(bare: Terminal) -> None:
    sums = bare.run("cost", "-m", "openai:gpt-4o", "--in", "10", "--cached", "6", "--cache-write-5m", "5")
    assert "--cached and --cache-write-5m count tokens of --in: 11 of 10 cannot be" in sums.err
    thoughts = bare.run("cost", "-m", "openai:gpt-4o", "--out", "1", "--reasoning", "2")
    assert "--reasoning counts tokens of --out: 2 of 1 cannot be" in thoughts.err


@pytest.mark.parametrize("hours", ["nan", "inf", "-inf", "-1", "1e300"])
def test_hours_are_a_number_that_ends(bare: Terminal, hours: str) -> None:
    ended = bare.run("cost", "-m", "google:gemini-2.5-pro", "--in", "1000", "--store", "10", "--hours", hours)
    assert (ended.code, ended.out, "'--hours'" in ended.err) == (2, "", True)
