"""What the simulator received and what became of it, counted by provider, key and model: the evidence a test
reads.

Keys are shown as a digest, never as they are. Times are seconds on the server's clock since it started.
"""

import functools
import hashlib

import msgspec


class Cell(msgspec.Struct, kw_only=True):
    """Counters of one key and model at one provider. Changed between two awaits only: no lock."""

    received: int = 0
    #: Replies begun, by status. A reply that never began (hang, reset, client gone) is in none.
    statuses: dict[str, int] = {}
    #: Refused by a limit, by dimension. Forced 429s are under faults.
    refused: dict[str, int] = {}
    faults: dict[str, int] = {}
    #: Charged at admission, as estimated.
    input_tokens: int = 0
    #: Really sent; a stream that was cut counts what left.
    output_tokens: int = 0
    #: Rows of batches, by what became of them, counted when that is known; they are in no other counter but these.
    batch_rows: dict[str, int] = {}
    batch_input_tokens: int = 0
    batch_output_tokens: int = 0
    in_flight: int = 0
    max_in_flight: int = 0
    #: The client left before its reply was complete.
    cancelled: int = 0
    first_at: float | None = None
    last_at: float | None = None

    def begin(self, now: float) -> None:
        self.received += 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        self.first_at = now if self.first_at is None else self.first_at
        self.last_at = now

    def count_status(self, status: int) -> None:
        _count(self.statuses, str(status))

    def count_refused(self, dimension: str) -> None:
        _count(self.refused, dimension)

    def count_row(self, fate: str, input_tokens: int, output_tokens: int) -> None:
        _count(self.batch_rows, fate)
        self.batch_input_tokens += input_tokens
        self.batch_output_tokens += output_tokens

    def count_fault(self, kind: str) -> None:
        _count(self.faults, kind)


def _count(counts: dict[str, int], name: str) -> None:
    counts[name] = counts.get(name, 0) + 1


class Stats:
    """All cells. A request keeps the cell it began in, so a reset never makes a counter negative."""

    def __init__(self, started_at: float) -> None:
        self._started_at = started_at
        self._cells: dict[tuple[str, str, str], Cell] = {}

    def begin(self, provider: str, key: str, model: str, now: float) -> Cell:
        """Count one request in; the caller takes it out of `in_flight` at its end."""
        cell = self.cell(provider, key, model)
        cell.begin(now - self._started_at)
        return cell

    def cell(self, provider: str, key: str, model: str) -> Cell:
        """The counters of this key and model; new ones when there are none."""
        found = self._cells.get((provider, key, model))
        if found is None:
            found = self._cells[provider, key, model] = Cell()
        return found

    def reset(self) -> None:
        self._cells.clear()

    def report(self, now: float) -> dict[str, object]:
        """`providers.NAME.keys.DIGEST.models.MODEL` -> counters, and the server's age."""
        providers: dict[str, dict[str, dict[str, dict[str, dict[str, Cell]]]]] = {}
        for (provider, key, model), cell in self._cells.items():
            keys = providers.setdefault(provider, {"keys": {}})["keys"]
            keys.setdefault(key_label(key), {"models": {}})["models"][model] = cell
        return {"seconds": now - self._started_at, "providers": providers}


@functools.lru_cache(maxsize=1024)
def key_label(key: str) -> str:
    """How a key is shown: the first 12 hex digits of its SHA-256; "none" for no key."""
    return hashlib.sha256(key.encode()).hexdigest()[:12] if key else "none"
