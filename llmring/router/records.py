"""Records: requests with their decisions, one JSON line each, as a router appends them and a replay reads them.

    {"llmring_decisions": 1, "ended_at": "…", "kind": "chat", "lock": "9f2c…", "max_tokens": 200, "usages": […],
     "trace": {"alias": "summarizer", "routes": […], "decisions": […], …}}

`lock` is the digest of the lockfile that was in use (`llmring lock check`). No prompt, answer or key is in it. The kind
"batch_row" is a row of a map that came back in a batch: it stood in no line, and took no limit's room.
"""

from collections.abc import Generator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from llmring import errors
from llmring.errors import ConfigError, ProviderError
from llmring.trace import Decision, Trace
from llmring.usage import Usage

VERSION = 1
JourneyKind = Literal["chat", "stream", "embed"]
Kind = JourneyKind | Literal["batch_row"]


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One request. `usages` are those that were told, of the answer last; `max_tokens` bounded the answer."""

    llmring_decisions: int
    ended_at: Annotated[datetime, msgspec.Meta(tz=True)]
    kind: Kind
    lock: str
    max_tokens: int | None = None
    usages: tuple[Usage, ...] = ()
    trace: Trace


class _Head(msgspec.Struct, frozen=True):
    llmring_decisions: int


_HEADS = msgspec.json.Decoder(_Head)
_RECORDS = msgspec.json.Decoder(Record)


def encode(record: Record) -> bytes:
    """Its line."""
    return msgspec.json.encode(record) + b"\n"


def read_records(path: Path) -> Generator[tuple[int, Record]]:
    """The records of a file, each with the number of its line from 1; blank lines are passed over.

    A last line without its end is being written, or was when its process was killed: it is not there yet. Raises
    ConfigError with the line for any other that is no record, and when the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    yield number, _read(line)
                except (msgspec.DecodeError, ValueError) as error:
                    if not line.endswith(b"\n"):
                        return
                    raise ConfigError(f"{path}, line {number}: not a record of decisions: {error}") from error
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error


def _read(line: bytes) -> Record:
    """Raises ValueError (msgspec's errors are such, too)."""
    version = _HEADS.decode(line).llmring_decisions
    if version != VERSION:
        raise ValueError(f"it is of version {version}, and this llmring reads {VERSION}")
    record = _RECORDS.decode(line)
    _check(record.trace)
    return record


def _check(trace: Trace) -> None:
    """Raises ValueError for what no router has written."""
    count = len(trace.routes)
    if len({(route.model, route.key) for route in trace.routes}) < count:
        raise ValueError("one of its routes is there twice")
    if sorted(trace.written) != list(range(count)):
        raise ValueError("`written` is no order of its routes")
    verdicts = [one.verdict for one in trace.decisions if one.verdict is not None]
    draws = (*trace.draws, *(verdict.draw or 0.0 for verdict in verdicts))
    if not all(0.0 <= draw < 1.0 for draw in draws) or any(route.weight <= 0.0 for route in trace.routes):
        raise ValueError("a draw is not in [0, 1), or a weight not above 0")
    for number, decision in enumerate(trace.decisions):
        named = [*decision.routes, *(() if decision.taken is None else (decision.taken,))]
        if any(not 0 <= index < count for index in (*named, *(decision.verdict.ruled_out if decision.verdict else ()))):
            raise ValueError(f"decision {number} names a route that is not there")
        if [(one.model, one.key) for one in decision.considered] != [(one.model, one.key) for one in trace.routes]:
            raise ValueError(f"decision {number} is not about its routes")
        if decision.action == "go" and len(decision.routes) != 1:
            raise ValueError(f"decision {number} asks {len(decision.routes)} routes")
        _check_classes(decision, number)
    if trace.again is not None:
        _check(trace.again)


def _check_classes(decision: Decision, number: int) -> None:
    verdict = decision.verdict
    if verdict is not None and decision.taken is None:
        raise ValueError(f"decision {number} has an attempt at no route")
    if verdict is not None and (verdict.then == "answered") != (verdict.outcome == "answered"):
        raise ValueError(f"decision {number} was answered and was not")
    failed = verdict.outcome if verdict is not None and verdict.then != "answered" else None
    for name in (failed, *(one.error for one in decision.considered)):
        if name is not None and error_class(name) is None:
            raise ValueError(f"decision {number} met an error of no known class: {name!r}")


def error_class(name: str) -> type[ProviderError] | None:
    """The class of a provider's failure that is called so."""
    found = getattr(errors, name, None)
    return found if isinstance(found, type) and issubclass(found, ProviderError) else None
