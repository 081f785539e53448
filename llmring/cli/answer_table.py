"""The rows of a map as a table, for CSV and Parquet: which columns there are, and what is in their cells. Pure.

Made from the lines of the JSONL output, one by one, twice: what only some answers have, and an `id`, have a column
where there is at least one of them.
"""

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import msgspec

ALWAYS = ("row", "content", "model", "finish_reason", "error", "input_tokens", "output_tokens", "cost_usd")
SOMETIMES = ("refusal", "reasoning", "parsed", "tool_calls", "notes")
_NOTHING = msgspec.Raw(b"")
_INTEGER = re.compile(rb"-?\d{1,18}")


class _Tokens(msgspec.Struct, frozen=True):
    input_tokens: int | None = None
    output_tokens: int | None = None


class _Error(msgspec.Struct, frozen=True):
    type: str
    message: str


class _Line(msgspec.Struct, frozen=True):
    """A line of the JSONL output, as `rows.written` spells it. What stays JSON in its cell is not taken apart."""

    row: int
    id: msgspec.Raw = _NOTHING
    content: str | None = None
    model: str | None = None
    finish_reason: str | None = None
    error: _Error | None = None
    usage: _Tokens | None = None
    cost_usd: Decimal | None = None
    refusal: str | None = None
    reasoning: str | None = None
    parsed: msgspec.Raw = _NOTHING
    tool_calls: msgspec.Raw = _NOTHING
    notes: msgspec.Raw = _NOTHING


_LINES = msgspec.json.Decoder(_Line)


class Shape(msgspec.Struct, frozen=True):
    """The columns of a table, in order; `ids_are_integers` where every id there is one of at most 18 digits."""

    columns: tuple[str, ...]
    ids_are_integers: bool


def shape_of(lines: Iterable[bytes]) -> Shape:
    """The table that these lines make."""
    found: set[str] = set()
    integers = True
    for line in lines:
        decoded = _LINES.decode(line)
        found.update(name for name in ("id", *SOMETIMES) if getattr(decoded, name) not in (None, _NOTHING))
        integers = integers and (_is_nothing(decoded.id) or _INTEGER.fullmatch(decoded.id) is not None)
    row, *others = ALWAYS
    columns = (row, *(["id"] if "id" in found else []), *others, *(name for name in SOMETIMES if name in found))
    return Shape(columns, integers)


def cells_of(line: bytes, shape: Shape) -> dict[str, Any]:
    """One line as the cells of the table: int, str, Decimal, or None for an empty one."""
    decoded = _LINES.decode(line)
    usage = decoded.usage or _Tokens()
    error = decoded.error
    cells: dict[str, Any] = {
        "row": decoded.row,
        "id": _id(decoded.id, shape),
        "content": decoded.content,
        "model": decoded.model,
        "finish_reason": decoded.finish_reason,
        "error": None if error is None else f"{error.type}: {error.message}",
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cost_usd": decoded.cost_usd,
        "refusal": decoded.refusal,
        "reasoning": decoded.reasoning,
        "parsed": _json(decoded.parsed),
        "tool_calls": _json(decoded.tool_calls),
        "notes": _json(decoded.notes),
    }
    return {name: cells[name] for name in shape.columns}


def _id(raw: msgspec.Raw, shape: Shape) -> int | str | None:
    """A text as it is; what is none as JSON, where the column cannot be one of integers."""
    if _is_nothing(raw):
        return None
    if shape.ids_are_integers:
        return int(bytes(raw))
    return msgspec.json.decode(raw, type=str) if bytes(raw).startswith(b'"') else _json(raw)


def _json(raw: msgspec.Raw) -> str | None:
    return None if raw == _NOTHING else bytes(raw).decode()


def _is_nothing(raw: msgspec.Raw) -> bool:
    return bytes(raw) in (b"", b"null")
