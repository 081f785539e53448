"""`llmring list` and `llmring info`: what the registry says, without a key and without a network."""

import json
import os
import pty
import subprocess
from decimal import Decimal
from typing import Any

import pytest

from llmring.registry.catalog import CAPABILITIES
from llmring.registry.store import read_bundled
from tests.cli.terminal import Terminal, command, environment

LOCKFILE = """
[[profiles.default.bindings]]
alias = "reader"
models = ["anthropic:claude-sonnet-4-5", "ollama:llama3.3:70b"]

[[profiles.cheap.bindings]]
alias = "reader"
models = ["openai:gpt-5-nano"]
"""


def names(ended: Any) -> list[str]:
    return [line.removeprefix("  - ") for line in ended.out.splitlines() if line.startswith("  - ")]


def models(bare: Terminal, *arguments: str) -> list[dict[str, Any]]:
    ended = bare.run("list", "--json", *arguments)
    assert ended.code == 0
    found: list[dict[str, Any]] = ended.json()["models"]
    return found


def test_models_are_listed_by_provider(bare: Terminal) -> None:
    ended = bare.run("list")
    lines = ended.out.splitlines()
    assert ended.code == 0
    assert lines[:4] == ["Available Models:", "-" * 40, "", "ANTHROPIC:"]
    assert [line for line in lines if line.endswith(":")][1:] == ["ANTHROPIC:", "GOOGLE:", "OPENAI:"]
    assert "  - claude-opus-5" in lines


def test_only_active_chat_models_are_listed_unless_all_are_asked_for(bare: Terminal) -> None:
    usual, everything = names(bare.run("list")), names(bare.run("list", "--all"))
    left_out = set(everything) - set(usual)
    assert {"o1-mini", "text-embedding-3-small", "gpt-realtime", "claude-3-opus-deprecated"} <= left_out
    assert "GPT-4o" not in everything
    assert len(everything) == sum(len(read_bundled().names(provider)) for provider in read_bundled().providers())


def test_a_provider_narrows_the_list(bare: Terminal) -> None:
    assert {model["provider"] for model in models(bare, "--provider", "google")} == {"google"}
    ended = bare.run("list", "-p", "ollama")
    assert (ended.code, ended.out) == (0, "No models found.\n")
    assert "no list of 'ollama'; it has anthropic, google, openai" in ended.err


def test_abilities_and_prices_narrow_the_list(bare: Terminal) -> None:
    found = models(bare, "--supports", "vision, tools", "--max-cost", "$0.50")
    assert found
    for model in found:
        assert model["capabilities"]["vision"] and model["capabilities"]["tools"]
        assert Decimal(model["usd_per_million_tokens"]["blended"]) <= Decimal("0.5")


def test_the_list_is_sorted_as_asked_within_a_provider(bare: Terminal) -> None:
    costs = [Decimal(m["usd_per_million_tokens"]["blended"]) for m in models(bare, "-p", "openai", "--sort", "cost")]
    assert costs == sorted(costs)
    limits = [m["max_input_tokens"] or 0 for m in models(bare, "-p", "openai", "--sort", "context")]
    assert limits == sorted(limits, reverse=True)
    days = [m["release_date"] or "" for m in models(bare, "-p", "anthropic", "--sort", "date")]
    assert days == sorted(days, reverse=True) and days[0]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--supports", "visoin"], "did you mean 'vision'?"),
        (["--supports", "magic-tricks"], "known: vision, pdf"),
        (["--max-cost", "cheap"], "'cheap' is not an amount"),
        (["--max-cost", "-1"], "'-1' is not an amount"),
        (["--max-cost", "NaN"], "'NaN' is not an amount"),
    ],
)
def test_a_wrong_wish_says_what_to_write(bare: Terminal, arguments: list[str], problem: str) -> None:
    ended = bare.run("list", *arguments)
    assert ended.code == 2
    assert problem in ended.err


def test_a_model_is_shown_with_its_provenance(bare: Terminal) -> None:
    ended = bare.run("info", "google:gemini-2.5-pro")
    assert ended.code == 0
    for line in (
        "Model: google:gemini-2.5-pro",
        "Display Name: Gemini 2.5 Pro",
        "Max Input: 983,040 tokens",
        "Max Output: 65,536 tokens",
        "Input Cost: $1.25/M tokens",
        "Output Cost: $10.00/M tokens",
        "Cache Read Cost: $0.125/M tokens",
        "Cache Storage Cost: $4.50/M tokens and hour",
        "Long-Context Output Cost: $15.00/M tokens above 200,000 tokens",
        "Blended Cost: $3.4375/M tokens (3 parts input, 1 part output)",
        "Released: 2025-06-01",
        "Speed Tier: moderate",
        "Source: llmring registry, google version 5, 2026-08-18",
    ):
        assert line in ended.out.splitlines()


def test_a_model_without_limits_is_shown(bare: Terminal) -> None:
    ended = bare.run("info", "openai:gpt-5.5")
    assert ended.code == 0
    assert "Max Input: unknown" in ended.out.splitlines()


def test_json_has_every_fact_and_money_as_text(bare: Terminal) -> None:
    spelled = bare.run("info", "anthropic:claude-sonnet-4-5", "--json").json()
    assert spelled["model"] == "anthropic:claude-sonnet-4-5-20250929"
    assert spelled["usd_per_million_tokens"]["cache_write_5m"] == "3.75"
    assert spelled["usd_per_million_tokens"]["cached_input"] is None
    assert spelled["long_context_threshold_tokens"] == 200_000
    assert spelled["capabilities"].keys() == CAPABILITIES.keys()
    assert spelled["fields"]["speed_tier"] == "fast"
    assert spelled["source"] == {
        "origin": "llmring registry",
        "provider": "anthropic",
        "version": 9,
        "published": "2026-08-18",
    }


def test_an_alias_shows_each_of_its_models(bare: Terminal) -> None:
    (bare.directory / "llmring.lock").write_text(LOCKFILE)
    ended = bare.run("info", "reader")
    assert ended.code == 0
    assert ended.out.startswith("Alias 'reader' in profile 'default':\n")
    assert "Model: anthropic:claude-sonnet-4-5-20250929" in ended.out
    assert ended.out.endswith("\n\nModel: ollama:llama3.3:70b\nSource: not in the registry\n")
    spelled = bare.run("info", "reader", "--profile", "cheap", "--json").json()
    assert (spelled["alias"], spelled["profile"]) == ("reader", "cheap")
    assert [model["model"] for model in spelled["models"]] == ["openai:gpt-5-nano"]


def test_an_alias_of_a_package_shows_its_models(bare: Terminal) -> None:
    bound = '[[profiles.default.bindings]]\nalias = "lib:reader"\nmodels = ["openai:gpt-5-nano"]\n'
    (bare.directory / "llmring.lock").write_text('[extends]\npackages = ["lib"]\n' + bound)
    ended = bare.run("info", "lib:reader")
    assert ended.code == 0
    assert "Model: openai:gpt-5-nano" in ended.out
    missing = bare.run("info", "lib:other")
    assert missing.code == 1
    assert "package not installed" in missing.err


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("openai:gpt-5x", "did you mean 'openai:gpt-5'?"),
        ("openai:claude-opus-5", "did you mean 'anthropic:claude-opus-5'?"),
        ("ollama:llama3.3:70b", "`llmring list` shows what it knows"),
        ("gpt-5", "'gpt-5' is no alias: did you mean 'openai:gpt-5'?"),
        ("raeder", "did you mean 'reader'?"),
        ("openai:", "not a model reference"),
    ],
)
def test_an_unknown_name_ends_with_1_and_a_hint(bare: Terminal, name: str, hint: str) -> None:
    (bare.directory / "llmring.lock").write_text(LOCKFILE)
    ended = bare.run("info", name, "--json")
    assert ended.code == 1
    assert hint in ended.err
    assert hint in ended.json()["error"]["message"]


def test_without_a_lockfile_an_alias_is_unknown(bare: Terminal) -> None:
    ended = bare.run("info", "reader")
    assert ended.code == 1
    assert "there is no ./llmring.lock" in ended.err


def test_a_lockfile_that_is_wrong_ends_with_2(bare: Terminal) -> None:
    assert bare.run("info", "reader", "--lockfile", "gone.lock").code == 2
    (bare.directory / "llmring.lock").write_text(LOCKFILE)
    assert bare.run("info", "reader", "--profile", "nobody").code == 2


@pytest.mark.parametrize("arguments", [["list", "-p", "google"], ["info", "google:gemini-2.5-pro"]])
def test_a_terminal_gets_a_table(bare: Terminal, arguments: list[str]) -> None:
    pytest.importorskip("rich")
    ours, theirs = pty.openpty()
    variables = {"COLUMNS": "120", "TERM": "dumb"}
    with open(ours, "rb", buffering=0) as reading:
        process = subprocess.Popen(
            command(*arguments), stdout=theirs, cwd=bare.directory, env=environment(variables), stdin=subprocess.DEVNULL
        )
        os.close(theirs)
        shown = b""
        try:
            while piece := reading.read(65536):
                shown += piece
        except OSError:
            pass  # Linux says so when the other end has closed.
        assert process.wait(60) == 0
    text = shown.decode()
    assert "gemini-2.5-pro" in text
    assert "  - " not in text and "Model: " not in text


def test_the_list_loads_no_http_client(bare: Terminal) -> None:
    program = (
        "import sys; from llmring.cli.main import run; code = run(['list', '--json']);"
        "print(sorted({'httpx2', 'rich', 'opentelemetry'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [*command()[:1], "-c", program], capture_output=True, cwd=bare.directory, env=environment({}), check=True
    )
    assert done.stderr.decode().strip() == "[]"
    assert json.loads(done.stdout)["models"]
