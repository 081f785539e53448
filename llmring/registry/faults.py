"""What is wrong with a published list: one value a finding, with a kind that code can ask for.

Two sorts. An anomaly is a habit of the real lists that is understood and read as what was meant; any other fault is a
mistake, and what it names was left out. Values only; entries.py, anomalies.py, published.py and verify.py find them.
"""

from typing import Literal

import msgspec

FaultKind = Literal[
    # Anomalies.
    "unknown_limit",
    "swapped_limits",
    "duplicate_by_case",
    "not_chat",
    "placeholder",
    "naive_time",
    "alias_is_a_model",
    # Mistakes in a list.
    "missing_key",
    "wrong_type",
    "wrong_value",
    "wrong_key",
    "wrong_provider",
    "duplicate",
    "alias_claimed_twice",
    # Mistakes in a directory of lists.
    "unreadable",
    "wrong_version",
    "missing_version",
    "stale_current",
    "broken_chain",
]

ANOMALIES: frozenset[FaultKind] = frozenset(
    {
        "unknown_limit",
        "swapped_limits",
        "duplicate_by_case",
        "not_chat",
        "placeholder",
        "naive_time",
        "alias_is_a_model",
    }
)


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One finding. `model` None: it is about the list; `field` None: about the whole entry. `what`: for a person."""

    model: str | None = None
    field: str | None = None
    kind: FaultKind
    what: str

    @property
    def is_anomaly(self) -> bool:
        """Whether the list is usable as it is, read as it was meant."""
        return self.kind in ANOMALIES

    def __str__(self) -> str:
        text = ": ".join(part for part in (self.model, self.field, self.what) if part is not None)
        # A name from a hostile list must not speak to the terminal.
        return text if text.isprintable() else ascii(text)
