"""Older forms become the canonical one: the same meaning, the same comments."""

import json
import tomllib
from pathlib import Path

import pytest

from llmring.lockfile import parse_lockfile
from llmring.lockfile.digest import lock_digest
from llmring.lockfile.upgrade import upgrade
from tests.lockfile.test_edit import AWKWARD
from tests.lockfile.test_forms import DOCS, SITE, SKILL, SPECIFICATION

TOML = Path("llmring.lock")
JSON = Path("llmring.lock.json")

COMMENTED = """\
# Head.
[aliases.default] # beside a header
# Above fast.
fast = "openai:gpt-4o-mini" # beside fast
# Above smart.

smart = [ # in a list
    "openai:gpt-5", # first
    "anthropic:claude-opus-5",
] # beside smart
# Above prod.
[aliases.prod]
fast = "openai:gpt-4o" # beside prod
# Above bindings.
[[bindings]] # beside a binding
alias = "summarizer" # the name
provider = "openai" # the provider
model = "gpt-5" # the model
constraints = { temperature = 0.3 } # cold
# Above versions.
[registry_versions]
openai = 3 # three
# Tail.
"""


BESIDE = """
[[profiles.default.bindings]]
alias = "other"
provider = "openai"
model = "gpt-4o-mini"

[profiles.default.registry_versions]
google = 2
"""


def comments(text: str) -> set[str]:
    return {line.partition("#")[2].strip() for line in text.splitlines() if "#" in line}


@pytest.mark.parametrize("text", [SITE, DOCS, SPECIFICATION, COMMENTED, SITE + DOCS, DOCS + BESIDE])
def test_the_meaning_and_every_comment_stay(text: str) -> None:
    before = parse_lockfile(text, TOML)
    after_text = upgrade(text, TOML)
    after = parse_lockfile(after_text, TOML)
    assert after.forms == ("canonical",)
    assert lock_digest(after) == lock_digest(before)
    assert comments(text) - comments(after_text) == set()


def test_comments_stand_where_they_belong() -> None:
    assert (
        upgrade(COMMENTED, TOML)
        == """\
# Head.

[profiles.default]
name = "default"

[[profiles.default.bindings]]
# beside a header
# Above fast.
alias = "fast"
models = ["openai:gpt-4o-mini"] # beside fast

[[profiles.default.bindings]]
# Above smart.
alias = "smart"
models = [ # in a list
    "openai:gpt-5", # first
    "anthropic:claude-opus-5",
] # beside smart
# Above prod.

[[profiles.default.bindings]] # beside a binding
alias = "summarizer" # the name
# the model
models = ["openai:gpt-5"] # the provider
constraints = { temperature = 0.3 } # cold
# Above versions.

[profiles.default.registry_versions]
openai = 3 # three
# Tail.

[profiles.prod]
name = "prod"

[[profiles.prod.bindings]]
alias = "fast"
models = ["openai:gpt-4o"] # beside prod
# Above bindings.
"""
    )


@pytest.mark.parametrize("text", [SKILL, AWKWARD, "", "# nothing\n"])
def test_a_canonical_file_is_returned_as_it_is(text: str) -> None:
    assert upgrade(text, TOML) == text


@pytest.mark.parametrize("text", [SITE, DOCS, SPECIFICATION])
def test_json_is_upgraded_too(text: str) -> None:
    before = json.dumps(tomllib.loads(text))
    after = parse_lockfile(upgrade(before, JSON), JSON)
    assert after.forms == ("canonical",)
    assert lock_digest(after) == lock_digest(parse_lockfile(text, TOML))


def test_an_upgrade_of_an_upgrade_changes_nothing() -> None:
    once = upgrade(COMMENTED, TOML)
    assert upgrade(once, TOML) == once
