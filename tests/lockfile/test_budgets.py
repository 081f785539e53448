"""lockfile/budgets.py: how many dollars, on what, in which time; and nothing that does not hold."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from llmring.errors import ConfigError, LockfileInvalid
from llmring.lockfile import Budget, parse_lockfile
from llmring.lockfile.digest import lock_digest
from llmring.lockfile.edit import unbind

TOML = Path("llmring.lock")
BOUND = """
[[profiles.default.bindings]]
alias = "summarizer"
models = "openai:gpt-4o"

[[profiles.dev.bindings]]
alias = "draft"
models = "openai:gpt-4o"
"""


def read(lines: str, name: str = "x") -> Budget:
    (budget,) = parse_lockfile(f"{BOUND}[budgets.{name}]\n{lines}", TOML).budgets
    return budget


def test_every_key_is_read() -> None:
    lines = """
    limit = "25.00"
    per = "month"
    alias = "draft"
    profile = "dev"
    tenant = "*"
    unpriced = "allow"
    """
    given: dict[str, Any] = {"alias": "draft", "profile": "dev", "tenant": "*", "unpriced": "allow"}
    assert read(lines) == Budget(name="x", limit=Decimal(25), per="month", **given)
    assert read(lines).scope == "alias 'draft', profile 'dev', each tenant"


@pytest.mark.parametrize("limit", ["25", "25.0", '"25"', '"25.00"'])
def test_dollars_are_numbers_or_text(limit: str) -> None:
    assert read(f'limit = {limit}\nper = "day"') == Budget(name="x", limit=Decimal(25), per="day")


def test_json_has_them_too() -> None:
    table = {"budgets": {"x": {"limit": 0.1, "per": "day", "alias": "*"}}}
    (budget,) = parse_lockfile(json.dumps(table), Path("x.json")).budgets
    assert budget == Budget(name="x", limit=Decimal("0.1"), per="day", alias="*")


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ("limit = 5", "budgets.x: per is missing: one of 'day', 'month', 'run'"),
        ('per = "day"', "budgets.x: limit is missing: dollars, at least 0, such as '25.00'"),
        ('limit = -1\nper = "day"', "budgets.x.limit must be dollars, at least 0, such as '25.00', found -1"),
        ('limit = nan\nper = "day"', "budgets.x.limit must be dollars"),
        ('limit = true\nper = "day"', "budgets.x.limit must be dollars, at least 0, such as '25.00', found true"),
        ('limit = "$5"\nper = "day"', "budgets.x.limit must be dollars, at least 0, such as '25.00', found '$5'"),
        ('limit = 5\nper = "week"', "budgets.x.per must be one of 'day', 'month', 'run', found 'week'"),
        (
            'limit = 5\nper = "day"\nunpriced = "yes"',
            "unpriced must be one of 'refuse', 'allow', found 'yes'",
        ),
        ('limit = 5\nper = "day"\nteam = "a"', "budgets.x: unknown key 'team'"),
        ('limit = 5\nper = "day"\nalias = ""', "budgets.x.alias must be a name, or '*' for each its own, found ''"),
        (
            'limit = 5\nper = "day"\nalias = "sumarizer"',
            "budgets.x.alias: there is no alias 'sumarizer', so nothing would be held back: did you mean 'summarizer'?",
        ),
        (
            'limit = 5\nper = "day"\nprofile = "prod"',
            "budgets.x.profile: there is no profile 'prod', so nothing would be held back: known: 'default', 'dev'",
        ),
        (
            'limit = 5\nper = "day"\nprofile = "dev"\nalias = "summarizer"',
            "budgets.x.alias: there is no alias 'summarizer', so nothing would be held back: known: 'draft'",
        ),
    ],
)
def test_what_would_not_hold_is_an_error_with_its_line(lines: str, problem: str) -> None:
    with pytest.raises(LockfileInvalid) as caught:
        read(lines)
    assert problem in str(caught.value)
    assert caught.value.line is not None


def test_a_budget_in_code_is_checked_as_well() -> None:
    given: Any = {"limit": "25.00", "per": "day"}
    assert Budget(**given).limit == Decimal("25.00")
    for wrong in ({"limit": "much"}, {"limit": -1}, {"per": "week"}, {"unpriced": "maybe"}):
        with pytest.raises(ConfigError, match="budget 'budget': "):
            Budget(**{**given, **wrong})


def test_the_digest_knows_budgets_and_not_how_they_are_spelled() -> None:
    def digest(text: str) -> str:
        return lock_digest(parse_lockfile(BOUND + text, TOML))

    one = digest('[budgets.a]\nlimit = 5\nper = "day"')
    assert one == digest('[budgets.a]\nper = "day"\nlimit = "5.00"\nunpriced = "refuse"')
    assert len({one, digest(""), digest('[budgets.a]\nlimit = 6\nper = "day"')}) == 3


def test_an_alias_that_a_budget_names_is_not_taken_out_from_under_it() -> None:
    text = BOUND + '[budgets.a]\nlimit = 5\nper = "day"\nalias = "draft"\n'
    with pytest.raises(ConfigError, match=r"budgets.a caps 'draft'"):
        unbind(text, TOML, "dev", "draft")
    assert "[budgets.a]" in unbind(text, TOML, "default", "summarizer")


def test_a_time_zone_is_read_and_one_that_nobody_knows_is_told_with_its_line() -> None:
    assert read('limit = 1\nper = "day"\ntimezone = "Europe/Berlin"').timezone == "Europe/Berlin"
    assert read('limit = 1\nper = "day"').timezone == "UTC"
    for wrong in ('"Europe/Berlun"', '"../etc/passwd"', '""', "1"):
        with pytest.raises(LockfileInvalid, match=r"budgets\.x\.timezone") as caught:
            read(f'limit = 1\nper = "day"\ntimezone = {wrong}')
        assert caught.value.line == BOUND.count("\n") + 4
    with pytest.raises(ConfigError, match="budget 'budget': there is no time zone 'Mars'"):
        Budget(limit=Decimal(1), per="day", timezone="Mars")
