"""The usage exports of providers: by which columns each is known, and what its columns mean. Data, with its sources.

No provider documents the columns of its files; they are as files were published with programs that read them. So a file
is known by the few columns that are needed, whatever others it has, and where a provider renames one, `--map` names it.
"""

import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Literal

import msgspec

Role = Literal[
    "request", "day", "end", "model", "kind", "cost", "currency", "requests",
    "input", "uncached", "cached", "cache_write_5m", "cache_write_1h", "output", "amount",
]  # fmt: skip
"""What a column holds. `input` are all tokens of it, `uncached` those outside of caches; `amount` are tokens of the
row's `kind`; `end` is the last day that a row is of."""

Kind = Literal["input", "cache_read", "cache_write", "output", "other"]

TOKEN_ROLES: tuple[Role, ...] = ("input", "uncached", "cached", "cache_write_5m", "cache_write_1h", "output", "amount")
MAPPED: tuple[Role, ...] = ("day", "model", "cost", "request", "input", "cached", "output", "requests")
"""What `--map` can name."""


class Export(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of file. `columns` are needed, `more` are read where they are there.

    `days_in` is the time zone of its days, None for UTC. `rounds_to`: its amounts are rounded so. `only`: rows of other
    services stand in the same file, and this column tells which are meant. `read_on` is when `sources` said so.
    """

    name: str
    provider: str
    columns: Mapping[Role, str]
    more: Mapping[Role, str] = {}
    days_in: str | None = None
    rounds_to: Decimal = Decimal(0)
    only: tuple[str, frozenset[str]] | None = None
    sources: tuple[str, ...]
    read_on: date


_READ = date(2026, 11, 21)
_GEMINI = ("Service description", frozenset({"gemini api", "generative language api", "vertex ai"}))

EXPORTS: tuple[Export, ...] = (
    # A generation a row; tokens of reasoning are in those of completion.
    Export(
        name="OpenRouter activity, by generation",
        provider="openrouter",
        columns={"request": "generation_id", "day": "created_at", "cost": "cost_total"},
        more={
            "model": "model_permaslug",
            "input": "tokens_prompt",
            "cached": "tokens_cached",
            "output": "tokens_completion",
        },
        sources=(
            "https://openrouter.ai/docs/cookbook/administration/activity-export",
            "a file's line of names as programs that import it have it in their tests, 2026-04 and 2026-09",
        ),
        read_on=_READ,
    ),
    # What was paid with keys of one's own is in a column of its own, and no part of the bill.
    Export(
        name="OpenRouter activity, by day",
        provider="openrouter",
        columns={"day": "Date", "model": "Slug", "cost": "Usage"},
        more={"requests": "Requests", "input": "Prompt Tokens", "output": "Completion Tokens"},
        sources=("https://openrouter.ai/docs/cookbook/administration/activity-export", "files of 2026-05"),
        read_on=_READ,
    ),
    Export(
        name="Anthropic usage",
        provider="anthropic",
        columns={
            "day": "usage_date_utc",
            "model": "model_version",
            "uncached": "usage_input_tokens_no_cache",
            "output": "usage_output_tokens",
        },
        more={
            "cached": "usage_input_tokens_cache_read",
            "cache_write_5m": "usage_input_tokens_cache_write_5m",
            "cache_write_1h": "usage_input_tokens_cache_write_1h",
        },
        sources=("the console's usage page, files of 2026-03 and 2026-08",),
        read_on=_READ,
    ),
    # Models by the names that people know ("Claude Haiku 4.5"), a row for each kind of token, each rounded to the cent.
    Export(
        name="Anthropic cost",
        provider="anthropic",
        columns={"day": "usage_date_utc", "model": "model", "kind": "token_type", "cost": "cost_usd"},
        rounds_to=Decimal("0.01"),
        sources=("the console's cost page, files of 2025-12, 2026-03 and 2026-09",),
        read_on=_READ,
    ),
    # Input has its cached part in it. Without grouping by model the column is empty.
    Export(
        name="OpenAI usage",
        provider="openai",
        columns={
            "day": "start_time_iso",
            "model": "model",
            "input": "input_tokens",
            "output": "output_tokens",
        },
        more={"requests": "num_model_requests", "cached": "input_cached_tokens"},
        sources=("the dashboard's usage page, files of 2025-10", "https://developers.openai.com/api/reference/usage"),
        read_on=_READ,
    ),
    # `line_item` is "model, kind" where the costs are grouped by it, else empty.
    Export(
        name="OpenAI cost",
        provider="openai",
        columns={"day": "start_time_iso", "cost": "amount_value", "currency": "amount_currency"},
        more={"model": "line_item", "kind": "line_item"},
        sources=("the dashboard's cost page, files of 2025-10 and 2026-09",),
        read_on=_READ,
    ),
    # Model and kind of token are words of the SKU. The console's days are Pacific time.
    Export(
        name="Google Cloud billing report, by day",
        provider="google",
        columns={"day": "Date", "model": "SKU description", "cost": "Unrounded subtotal ($)"},
        more={"kind": "SKU description", "amount": "Usage amount"},
        days_in="America/Los_Angeles",
        only=_GEMINI,
        sources=("https://cloud.google.com/billing/docs/how-to/reports", "files of 2026-08"),
        read_on=_READ,
    ),
    # A row for a SKU and the whole of its time, most often a month; eight lines of the invoice stand above the names.
    Export(
        name="Google Cloud cost table",
        provider="google",
        columns={
            "day": "Usage start date",
            "end": "Usage end date",
            "model": "SKU description",
            "cost": "Unrounded Cost ($)",
        },
        more={"kind": "SKU description", "amount": "Usage amount"},
        days_in="America/Los_Angeles",
        only=_GEMINI,
        sources=("https://cloud.google.com/billing/docs/how-to/cost-table", "files of 2026-06 and 2026-08"),
        read_on=_READ,
    ),
)


_KINDS: tuple[tuple[re.Pattern[str], Kind], ...] = (
    (re.compile(r"storage|search|grounding"), "other"),
    (re.compile(r"cache[ _]?write|cache[ _]?creation"), "cache_write"),
    (re.compile(r"(?<!no[ _])(?<!un)cach"), "cache_read"),
    (re.compile(r"output|completion|reasoning|thinking"), "output"),
    (re.compile(r"input|prompt"), "input"),
)


def kind_of(text: str) -> Kind | None:
    """The kind of token that a provider's words mean; None of no words."""
    found = text.lower()
    if not found.strip():
        return None
    for pattern, kind in _KINDS:
        if pattern.search(found):
            return kind
    return "other"


# Kinds of tokens and of service stand around a model's name in a SKU or a line item.
_AROUND = re.compile(
    r"\b(?:generate|content|embedcontent|tokens?|count|for|text|image|audio|video|short|long|input|output|cached|caching"
    r"|batch|flex|priority|thinking|global|usd)\b"
)
_DATE = re.compile(r"(?<![\d.])(?:20\d{6}|20\d\d[-.]\d\d[-.]\d\d|\d\d[-.]\d\d|00\d)$|-latest$")
_WORD = re.compile(r"[a-z]+|\d+")


def model_key(name: str) -> str:
    """What two spellings of a model have in common: its words without their order, its numbers in theirs, no date.

    `Claude Haiku 4.5`, `claude-haiku-4-5-20251001`; `anthropic/claude-4.8-opus`, `anthropic/claude-opus-4.8`;
    `Generate content output token count gemini 2.5 flash short input text`, `gemini-2.5-flash`.
    """
    text = _AROUND.sub(" ", name.lower().replace("_", " ")).strip(" ,:")
    parts = _WORD.findall(_DATE.sub("", text.rstrip(" ,")))
    words = sorted(part for part in parts if part.isalpha())
    return " ".join((*words, *(part for part in parts if part.isdigit())))


def line_model(text: str) -> str:
    """The model of a line item, `gpt-5-nano, input_tokens`; empty where there is none."""
    return text.split(",", maxsplit=1)[0].strip()
