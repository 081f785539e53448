"""Reading a provider's usage export: lines of CSV in, what was billed out. Pure.

The line of names need not be the first one: invoices have lines above it. What has no day, such as a line of totals, is
left out and counted.
"""

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime, tzinfo
from decimal import Decimal, InvalidOperation
from itertools import chain, islice

import msgspec

from llmring.errors import ConfigError
from llmring.receipts.canonical import MOST
from llmring.reports.exports import EXPORTS, MAPPED, TOKEN_ROLES, Export, Kind, Role, kind_of, line_model

DELIMITERS = ",;\t"
MOST_ABOVE = 40
"""Lines above the line of names."""

_CODE = re.compile(r"\d{9,11}(?:\.0+)?")
# Commas stand before three digits each, or nowhere. 0,015 and 1,23 have a comma for a point.
_NUMBER = re.compile(
    r"[+-]?\$? ?[+-]?(?:(?:[0-9]+|[1-9][0-9]{0,2}(?:,[0-9]{3})+)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,2})?"
)
_EITHER_COST = re.compile(r"[^,.]*,[0-9]{3}")
_EITHER_COUNT = re.compile(r"[1-9][0-9]{0,2}\.0{3}")
_MOST_USD = Decimal(10) ** 12
"""A dollar amount above this, and a count above MOST, is a mistake."""


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """None: the file does not say. `input` is all of it; so is `output`."""

    input: int | None = None
    cached: int | None = None
    output: int | None = None


class Billed(msgspec.Struct, frozen=True, kw_only=True):
    """A row: of a request, or of a day (of days up to `end`) and what the file tells apart there."""

    line: int
    day: str
    end: str
    request: str | None = None
    model: str | None = None
    kind: Kind | None = None
    usd: Decimal | None = None
    requests: int | None = None
    tokens: Tokens = Tokens()


class Reading(msgspec.Struct, kw_only=True):
    """A file whose columns are known. `rows` may be read once; then `left_out` says how many had no day."""

    name: str
    provider: str | None
    export: Export | None
    roles: Mapping[Role, str]
    rows: Iterator[Billed]
    left_out: int = 0


def read_export(
    lines: Iterable[str], file: str, given: Mapping[Role, str], zone_of: Callable[[str | None], tzinfo]
) -> Reading:
    """Find out what a file is. `given` names columns; `zone_of` gives the time zone of an export's days.

    Raises ConfigError: no export that is known, with the columns that were found; its rows raise it, too.
    """
    source = iter(lines)
    try:
        top = list(islice(source, MOST_ABOVE))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is no CSV file: it is not UTF-8 text") from error
    found = _known(top, given)
    if found is None:
        raise ConfigError(_unknown(top, file, given))
    place, delimiter, export, roles = found
    reading = Reading(
        name=export.name if export is not None else "as --map says",
        provider=export.provider if export is not None else None,
        export=export,
        roles=roles,
        rows=iter(()),
    )
    table = csv.DictReader(chain(top[place:], source), delimiter=delimiter)
    _check_names(table.fieldnames or (), roles, file)
    where = zone_of(export.days_in if export is not None else None)
    reading.rows = _rows(table, place, file, reading, where)
    return reading


def _known(top: list[str], given: Mapping[Role, str]) -> tuple[int, str, Export | None, Mapping[Role, str]] | None:
    """The line of names, how its columns are told apart, whose file it is, and what its columns are called there."""
    for place, delimiter, names in _headers(top):
        there = {name.casefold().strip(): name for name in names}
        if not all(name.casefold().strip() in there for name in given.values()):
            continue
        for export in EXPORTS:
            own = {role: name for role, name in export.columns.items() if role not in given}
            if own and all(name.casefold() in there for name in own.values()):
                wanted: dict[Role, str] = {**export.more, **export.columns, **given}
                return place, delimiter, export, _present(wanted, there)
        has_place = "request" in given or "day" in given
        if has_place and any(role in given for role in ("cost", *TOKEN_ROLES)):
            return place, delimiter, None, _present(given, there)
    return None


def _present(wanted: Mapping[Role, str], there: Mapping[str, str]) -> dict[Role, str]:
    return {role: there[name.casefold().strip()] for role, name in wanted.items() if name.casefold().strip() in there}


def _check_names(names: Sequence[str], roles: Mapping[Role, str], file: str) -> None:
    """Raises ConfigError where two columns have the name of one that is read."""
    for name in roles.values():
        same = sum(one.casefold().strip() == name.casefold().strip() for one in names)
        if same > 1:
            raise ConfigError(f"{file}: {same} columns are called {name.strip()!r}: leave the one that is meant")


def _headers(top: list[str]) -> Iterator[tuple[int, str, list[str]]]:
    for place, line in enumerate(top):
        for delimiter in DELIMITERS:
            names = next(csv.reader([line], delimiter=delimiter), [])
            if len(names) > 1:
                yield place, delimiter, names


def _unknown(top: list[str], file: str, given: Mapping[Role, str]) -> str:
    """What the columns are, by the line that looks most like one of names."""
    wanted = {name.casefold().strip() for name in given.values()}

    def likeness(found: tuple[int, str, list[str]]) -> tuple[int, int]:
        own = {name.casefold().strip() for name in found[2]}
        return len(own & wanted), len([name for name in own if name and not _has_digit(name)])

    _, _, names = max(_headers(top), key=likeness, default=(0, ",", []))
    if not names:
        return f"{file} is no CSV file: it has no line with the names of columns"
    columns = ", ".join(repr(name.strip()) for name in names)
    missing = [
        name for name in given.values() if name.casefold().strip() not in {one.casefold().strip() for one in names}
    ]
    if missing:
        return f"{file} has no column {missing[0]!r}: there are {columns}"
    options = " ".join(f"--map {role}=COLUMN" for role in ("day", "model", "cost"))
    return (
        f"the columns of {file} are not known: {columns}. Say which is which: {options} (and, where they are there, "
        f"{', '.join(MAPPED[3:])})"
    )


def _rows(table: "csv.DictReader[str]", place: int, file: str, reading: Reading, where: tzinfo) -> Iterator[Billed]:
    only = reading.export.only if reading.export is not None else None
    try:
        for cells in table:
            line = place + table.line_num
            _check_cells(cells, file, line)
            if only is not None and (cells.get(only[0]) or "").strip().casefold() not in only[1]:
                continue
            row = _Row(cells, reading.roles, file, line)
            day = row.day("day", where)
            request = row.text("request")
            if day is None and request is None:
                reading.left_out += any(value for value in cells.values())
                continue
            billed = row.billed(day or "", request, where)
            if billed.usd is not None or billed.tokens != Tokens():
                yield billed
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is no CSV file: it is not UTF-8 text") from error
    except csv.Error as error:
        raise ConfigError(f"{file}, line {place + table.line_num}: no CSV: {error}") from error


def _check_cells(cells: Mapping[str | None, str | list[str] | None], file: str, line: int) -> None:
    """Raises ConfigError for more of them than names: a number with a comma that is not quoted is two cells."""
    # csv keeps them under None.
    more = cells.get(None)
    if more and any(cell.strip() for cell in more):
        names = len(cells) - 1
        raise ConfigError(f"{file}, line {line}: it has {names + len(more)} cells, and there are names for {names}")


class _Row:
    """The cells of a line, by what they are."""

    def __init__(self, cells: Mapping[str, str | None], roles: Mapping[Role, str], file: str, line: int) -> None:
        self._cells, self._roles, self._file, self._line = cells, roles, file, line

    def text(self, role: Role) -> str | None:
        name = self._roles.get(role)
        return ((self._cells.get(name) or "").strip() or None) if name is not None else None

    def billed(self, day: str, request: str | None, where: tzinfo) -> Billed:
        currency = self.text("currency")
        if currency is not None and currency.casefold() != "usd":
            raise ConfigError(f"{self._file}, line {self._line}: {currency!r}, where receipts are in US dollars")
        named = self.text("model")
        same = self._roles.get("model") == self._roles.get("kind") and "currency" in self._roles
        return Billed(
            line=self._line,
            day=day,
            end=self.day("end", where) or day,
            request=request,
            model=line_model(named) or None if named is not None and same else named,
            kind=kind_of(_behind(self.text("kind") or "", same=same)),
            usd=self._usd("cost"),
            requests=self._count("requests"),
            tokens=self._tokens(),
        )

    def _tokens(self) -> Tokens:
        if self.text("amount") is not None:
            kind = kind_of(self.text("kind") or "")
            # Of a cache that is stored it is hours.
            amount = self._count("amount") if kind not in ("other", None) else None
            return Tokens(
                input=amount if kind in ("input", "cache_read", "cache_write") else None,
                cached=amount if kind == "cache_read" else None,
                output=amount if kind == "output" else None,
            )
        whole, cached = self._count("input"), self._count("cached")
        parts = [self._count(role) for role in ("uncached", "cache_write_5m", "cache_write_1h")]
        if whole is None and parts[0] is not None:
            whole = sum(filter(None, parts)) + (cached or 0)
        return Tokens(input=whole, cached=cached, output=self._count("output"))

    def _count(self, role: Role) -> int | None:
        """`2400`, `2,400`, `2400.0`; None of an empty cell."""
        number, text = self._number(role, MOST), self.text(role) or ""
        if number is None:
            return None
        if number < 0:
            raise self._wrong(role, f"is no number of tokens or requests: {text!r}")
        if number != int(number):
            raise self._wrong(role, f"is no whole number: {text!r}")
        if _EITHER_COUNT.fullmatch(text):
            raise self._wrong(role, f"is either {int(number)} or {text.replace('.', '')}: write it without the point")
        return int(number)

    def _usd(self, role: Role) -> Decimal | None:
        """`1,234.50`, `$0.10`; None of an empty cell."""
        number, text = self._number(role, _MOST_USD), self.text(role) or ""
        if number is not None and _EITHER_COST.fullmatch(text):
            other = text.replace(",", ".")
            raise self._wrong(role, f"is either {number:f} or {other}: write it with a point for its decimals, or none")
        return number

    def _number(self, role: Role, most: Decimal | int) -> Decimal | None:
        text = self.text(role)
        if text is None or text in ("-", "$-"):
            return None
        if _NUMBER.fullmatch(text):
            with suppress(InvalidOperation):
                number = Decimal(text.replace(",", "").replace("$", "").replace(" ", ""))
                if abs(number) <= most:
                    return number
        how = "with a point for its decimals, and commas for thousands or none"
        raise self._wrong(role, f"is no number: {text[:40]!r}; expected one {how}")

    def _wrong(self, role: Role, what: str) -> ConfigError:
        return ConfigError(f"{self._file}, line {self._line}: {self._roles[role]} {what}")

    def day(self, role: Role, where: tzinfo) -> str | None:
        """Of a date, a time, or the seconds since 1970; None where it has none, as a line of totals."""
        text = self.text(role)
        if text is None or not _has_digit(text):
            return None
        try:
            if _CODE.fullmatch(text):
                return datetime.fromtimestamp(float(text), where).date().isoformat()
            moment = datetime.fromisoformat(text.replace("/", "-").removesuffix(" UTC"))
            return (moment.astimezone(where) if moment.tzinfo is not None else moment).date().isoformat()
        except ValueError as error:
            raise self._wrong(role, f"is no date: {text!r}") from error


def _has_digit(text: str) -> bool:
    return any(letter.isdigit() for letter in text)


def _behind(text: str, *, same: bool) -> str:
    """The kind in a line item is what stands behind the model."""
    return text.partition(",")[2] if same else text


def every_day(low: str, high: str) -> Iterator[str]:
    """Of a row that is of several days."""
    first, last = date.fromisoformat(low).toordinal(), date.fromisoformat(high).toordinal()
    return (date.fromordinal(day).isoformat() for day in range(first, last + 1))
