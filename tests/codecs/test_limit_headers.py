"""Limits as providers tell them in headers: every dialect with where it is from; and which of several binds."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmring.codecs.codec import LimitUpdate
from llmring.codecs.limits import SHORT_SECONDS, binding
from llmring.codecs.openai.chat import OpenAICodec
from llmring.codecs.openai.dialect import AZURE, COMPATIBLE, MISTRAL, OPENAI, OPENROUTER, Dialect
from llmring.codecs.ratelimit_fields import read_fields, seconds_until_reset
from llmring.errors import Dimension
from llmring.providers.known import regime
from llmring.providers.regime import Estimate, charge, charged
from llmring.usage import Usage

NOON = "Sat, 21 Nov 2026 12:00:00 GMT"
NOON_MS = 1_795_262_400_000
BEFORE_MIDNIGHT = "Sat, 21 Nov 2026 23:59:30 GMT"
MIDNIGHT_MS = NOON_MS + 12 * 3_600_000


def limit(
    dimension: Dimension, amount: float | None, remaining: float | None = None, period: float = 60.0
) -> LimitUpdate:
    return LimitUpdate(dimension=dimension, limit=amount, remaining=remaining, period=period)


def headers(*rows: str) -> dict[str, str]:
    """`tokens-minute 100/99`: a limit and what remains of it; either may be left out."""
    found: dict[str, str] = {}
    for row in rows:
        name, _, numbers = row.partition(" ")
        most, _, left = numbers.partition("/")
        found |= {f"x-ratelimit-limit-{name}": most, f"x-ratelimit-remaining-{name}": left}
    return {name: value for name, value in found.items() if value}


def platform(most: str, reset_ms: int, date: str = NOON) -> dict[str, str]:
    """A refusal of OpenRouter's own."""
    told = {"x-ratelimit-limit": most, "x-ratelimit-remaining": "0", "x-ratelimit-reset": f"{reset_ms}"}
    return {**told, "date": date}


DIALECTS: list[tuple[str, Dialect, dict[str, str], tuple[LimitUpdate, ...]]] = [
    # OpenAI's guide to rate limits, 2026-06.
    (
        "openai, bound by its project",
        OPENAI,
        headers("requests 60/59", "tokens 150000/149984", "project-tokens 60000/57000"),
        (limit("requests", 60, 59), limit("tokens", 60_000, 57_000)),
    ),
    # Other projects have used up the organization's: less remains of the larger limit.
    (
        "openai, bound by its organization",
        OPENAI,
        headers("tokens 150000/800", "project-tokens 60000/57000"),
        (limit("tokens", 60_000, 800),),
    ),
    # Recorded, 2026-08.
    (
        "mistral",
        MISTRAL,
        headers("req-minute 100/99", "tokens-minute 100000/97856") | {"x-ratelimit-tokens-query-cost": "97"},
        (limit("requests", 100, 99), limit("tokens", 100_000, 97_856)),
    ),
    # Public reports of its free tier, 2026-09: a billion a month, of which little is left.
    (
        "mistral, at the end of its month",
        MISTRAL,
        headers("tokens-minute 500000/499000", "tokens-month 1000000000/1200"),
        # Half a million at once, and a billion a month.
        (limit("tokens", 500_000, 1200, 1296.0),),
    ),
    ("mistral, by five minutes", MISTRAL, headers("tokens-5-minute 8000/0"), (limit("tokens", 8000, 0, 300.0),)),
    # https://inference-docs.cerebras.ai/support/rate-limits
    (
        "cerebras",
        COMPATIBLE,
        headers("requests-day 14400/14399", "tokens-minute 60000/59000"),
        (limit("tokens", 60_000, 59_000), limit("day", 14_400, 14_399, 86_400.0)),
    ),
    (
        "cerebras, with all six",
        COMPATIBLE,
        headers(
            "requests-minute 30/29",
            "requests-hour 900/20",
            "requests-day 14400/14000",
            "tokens-minute 64000/63990",
            "tokens-hour 1000000/999990",
            "tokens-day 1000000/999990",
        ),
        # Of the hour's requests fewer are left than of the minute's: 30 at once, and 900 an hour.
        (limit("tokens", 64_000, 63_990), limit("requests", 30, 20, 120.0), limit("day", 14_400, 14_000, 86_400.0)),
    ),
    # GitHub Models and Azure, public reports of 2026-05: they name the period.
    (
        "azure, by ten seconds",
        AZURE,
        headers("requests 5/4", "tokens 5000/5000")
        | {"x-ratelimit-renewalperiod-requests": "10", "x-ratelimit-renewalperiod-tokens": "60"},
        (limit("requests", 5, 4, 10.0), limit("tokens", 5000, 5000)),
    ),
    # Recorded, 2026-08; and by Azure's Responses, 2025-11.
    (
        "azure",
        AZURE,
        headers("requests 100/99", "tokens 100000/99998"),
        (limit("requests", 100, 99), limit("tokens", 1e5, 99_998)),
    ),
    ("azure, unknown", AZURE, headers("tokens -1/-1"), ()),
    # https://openrouter.ai/docs/api-reference/limits: of free models, by the minute and by the day.
    ("openrouter, by the minute", OPENROUTER, platform("20", NOON_MS + 42_500), (limit("requests", 20, 0),)),
    ("openrouter, by the day", OPENROUTER, platform("50", MIDNIGHT_MS), ()),
    ("openrouter, which of them nobody knows", OPENROUTER, platform("50", MIDNIGHT_MS, BEFORE_MIDNIGHT), ()),
    ("openrouter, no date", OPENROUTER, {"x-ratelimit-limit": "20", "x-ratelimit-reset": f"{NOON_MS}"}, ()),
    # draft-ietf-httpapi-ratelimit-headers-10, section 4; Hugging Face, 2026-04; the drafts 07 and 06.
    (
        "ietf",
        COMPATIBLE,
        {
            "ratelimit-policy": '"burst";q=100;w=60,"daily";q=1000;w=86400',
            "ratelimit": '"burst";r=50;t=30, "daily";r=900',
        },
        (limit("requests", 100, 50), limit("day", 1000, 900, 86_400.0)),
    ),
    (
        "hugging face",
        COMPATIBLE,
        {"ratelimit-policy": '"fixed window";"api";q=500;w=300', "ratelimit": '"api";r=499;t=289'},
        (limit("requests", 500, 499, 300.0),),
    ),
    (
        "ietf, draft 07",
        COMPATIBLE,
        {"ratelimit-policy": "100;w=10", "ratelimit": "limit=100, remaining=50, reset=5"},
        (limit("requests", 100, 50, 10.0),),
    ),
    (
        "ietf, draft 06",
        COMPATIBLE,
        {
            "ratelimit-policy": "10;w=1, 50;w=60",
            "ratelimit-limit": "50",
            "ratelimit-remaining": "3",
            "ratelimit-reset": "10",
        },
        (limit("requests", 50, 3),),
    ),
    ("ietf, no window", COMPATIBLE, {"ratelimit-limit": "100", "ratelimit-remaining": "3"}, ()),
    ("ietf, no policy", COMPATIBLE, {"ratelimit": '"api";r=1;t=9'}, ()),
    (
        "ietf, bytes",
        COMPATIBLE,
        {"ratelimit-policy": '"bytes";q=65535;w=10;qu="content-bytes"', "ratelimit": '"bytes";r=5;t=1'},
        (),
    ),
]


@pytest.mark.parametrize(
    ("dialect", "told", "expected"), [row[1:] for row in DIALECTS], ids=[row[0] for row in DIALECTS]
)
def test_limits_are_read_in_every_dialect(
    dialect: Dialect, told: dict[str, str], expected: tuple[LimitUpdate, ...]
) -> None:
    assert OpenAICodec(dialect).limits(told) == expected


def test_what_mistral_says_a_request_took_is_what_it_is_charged() -> None:
    """Recorded, 2026-08: x-ratelimit-tokens-query-cost is 97."""
    rules = regime("mistral")
    reserved = charge(rules, Estimate(input_tokens=30.0, output_tokens=256.0, max_output_tokens=1000.0))
    assert charged(rules, "exact", reserved, Usage(input_tokens=31, output_tokens=66))["tokens"] == 97.0


def test_a_quota_is_given_out_anew_when_the_last_that_is_empty_is() -> None:
    assert seconds_until_reset({"ratelimit": '"a";r=0;t=5, "b";r=0;t=52, "c";r=1;t=900'}) == 52.0
    assert seconds_until_reset({"ratelimit": '"a";r=1;t=5'}) is None


UPDATES = st.lists(
    st.builds(
        LimitUpdate,
        dimension=st.sampled_from(["requests", "tokens"]),
        limit=st.integers(1, 10**9).map(float),
        remaining=st.integers(0, 10**9).map(float),
        period=st.sampled_from([1.0, 10.0, 60.0, 300.0, 3600.0, 86_400.0]),
    ),
    max_size=6,
)


@given(UPDATES)
def test_who_keeps_to_the_limit_that_binds_keeps_to_all(told: list[LimitUpdate]) -> None:
    bound = binding(told)
    assert [each.dimension for each in bound] == list(dict.fromkeys(each.dimension for each in told))
    for one in bound:
        same = [each for each in told if each.dimension == one.dimension]
        assert one.remaining == min(each.remaining or 0.0 for each in same if each.remaining is not None)
        short = [each for each in same if each.period <= SHORT_SECONDS]
        assert all((one.limit or 0.0) <= (each.limit or 0.0) for each in short)
        # What of a long one is left may go at once, as long as that is more.
        least = min((each.remaining or 0.0 for each in short), default=math.inf)
        paced = [*short, *(each for each in same if each.period > SHORT_SECONDS and (each.remaining or 0.0) < least)]
        assert len(short) == 0 or all(rate(one) <= rate(each) * (1 + 1e-9) for each in paced)


def rate(update: LimitUpdate) -> float:
    return (update.limit or math.inf) / update.period


@given(st.text(alphabet='"\\;,=wqrt0123 api', max_size=200), st.text(alphabet='"\\;,=wqrt0123 api', max_size=200))
def test_no_field_is_an_error(policy: str, told: str) -> None:
    for update in read_fields({"ratelimit-policy": policy, "ratelimit": told, "ratelimit-limit": policy}):
        assert update.limit
        assert update.period > 0.0
