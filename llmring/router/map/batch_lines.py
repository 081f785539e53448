"""What a journal says of batches: lines about one batch, by its tag, and what they come to. Pure.

    {"batch": {"tag": "run-5d2f…", "model": "openai:gpt-4o", "format": "openai-chat", "at": "…", "keys": ["4f0c…"]}}
    {"batch": {"tag": "run-5d2f…", "id": "batch_67…"}}
    {"batch": {"tag": "run-5d2f…", "end": "ended"}}

The first is written before the batch is handed in, the second when its id is known, the third when everything that it
answered is in the journal, or when nothing ever will. Without the third a later run takes the batch up again.
"""

from datetime import datetime
from typing import Literal

import msgspec

from llmring.refs import ModelRef

End = Literal["ended", "failed", "expired", "cancelled", "void"]
"""How a batch ended that nobody will look at again. `void`: it was never made, or its owner has given it up."""


class BatchLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line. `format` is the wire format of its rows, `at` when it was about to be handed in; `variable` names the
    key where the provider has several."""

    tag: str
    model: str | None = None
    format: str | None = None
    at: datetime | None = None
    keys: tuple[str, ...] = ()
    variable: str | None = None
    id: str | None = None
    end: End | None = None


class OpenBatch(msgspec.Struct, frozen=True, kw_only=True):
    """A batch whose results are not all in the journal. `id` None: it may not have been made at all."""

    tag: str
    ref: ModelRef
    format: str
    at: datetime
    keys: tuple[str, ...]
    variable: str | None = None
    id: str | None = None

    def opening(self) -> BatchLine:
        return BatchLine(
            tag=self.tag,
            model=str(self.ref),
            format=self.format,
            at=self.at,
            keys=self.keys,
            variable=self.variable,
        )


def taken_in(batches: dict[str, OpenBatch], line: BatchLine) -> None:
    """Change `batches`, which are open, by tag, as `line` says. Raises ValueError for a line that cannot be."""
    if line.end is not None:
        batches.pop(line.tag, None)
    elif line.id is not None:
        if line.tag in batches:
            batches[line.tag] = msgspec.structs.replace(batches[line.tag], id=line.id)
    elif line.model is None or line.format is None or line.at is None or not line.keys:
        raise ValueError("a batch begins with its model, format, time and rows")
    else:
        batches[line.tag] = OpenBatch(
            tag=line.tag,
            ref=ModelRef.parse(line.model),
            format=line.format,
            at=line.at,
            keys=line.keys,
            variable=line.variable,
        )
