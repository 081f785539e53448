"""What a `.part` holds that a journal does not: answers that were paid for, and would be lost with it. Reads only.

Rows of a `.part` have no key. So answers are counted by what they are: as many of a kind as the journal has are in it,
and the others are not. Failed rows and duplicates have cost nothing, and the line that a killed process left half of is
a row that nobody was told of.
"""

from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from llmring.chat import ChatResponse
from llmring.cli.spelling import tool_call_json
from llmring.router.map.journal import JournalRow, read_journal
from llmring.router.map.places import Places


class _Tokens(msgspec.Struct, frozen=True):
    input_tokens: int | None = None
    output_tokens: int | None = None


class _Written(msgspec.Struct, frozen=True):
    """A line of a `.part`: what tells one answer from another, for every llmring that wrote one."""

    row: int
    content: str | None = None
    refusal: str | None = None
    model: str = ""
    tool_calls: Any = None
    usage: _Tokens | None = None
    error: Any = None
    duplicate: bool = False


_WRITTEN = msgspec.json.Decoder(_Written)


def missing_answers(part: BinaryIO, journal: Path | None) -> int:
    """How many lines of `part`, read from its start, are neither free nor in the journal; what cannot be read is one.
    Without a journal, or before it is made: all.

    Raises ConfigError for a journal that is none.
    """
    held = _counted(journal) if journal is not None and journal.exists() else Places()
    part.seek(0)
    missing = 0
    for line in part:
        if line.endswith(b"\n") and not _is_held(line, held):
            missing += 1
    return missing


def _counted(journal: Path) -> Places:
    """How often the journal has an answer."""
    counts = Places()
    for row in read_journal(journal):
        if isinstance(row, JournalRow) and row.response is not None:
            kind = _kind(_as_written(row.response))
            counts.put(kind, (counts.get(kind) or 0) + 1)
    return counts


def _is_held(line: bytes, held: Places) -> bool:
    """Whether nothing is lost with the line; an answer is then taken off the count."""
    try:
        written = _WRITTEN.decode(line)
    except msgspec.DecodeError:
        return False
    if written.error is not None or written.duplicate:
        return True
    kind = _kind(written)
    count = held.get(kind) or 0
    held.put(kind, max(0, count - 1))
    return count > 0


def _as_written(response: ChatResponse) -> _Written:
    usage = response.usage
    return _Written(
        row=0,
        content=response.content,
        refusal=response.refusal,
        model=str(response.model),
        tool_calls=[tool_call_json(call) for call in response.tool_calls] or None,
        usage=_Tokens(usage.total_input_tokens, usage.total_output_tokens) if usage is not None else None,
    )


def _kind(written: _Written) -> str:
    tokens = written.usage or _Tokens()
    parts = (written.content, written.refusal, written.model, written.tool_calls)
    return msgspec.json.encode((*parts, tokens.input_tokens, tokens.output_tokens), order="deterministic").decode()
