"""What a journal's rows come to: how many were answered and failed, and what the answers cost, by model. Pure."""

from collections import Counter
from collections.abc import Iterable
from decimal import Decimal

import msgspec

from llmring.chat import ChatResponse
from llmring.router.map.batch_lines import BatchLine, OpenBatch, taken_in
from llmring.router.map.journal import JournalRow
from llmring.usage import Usage


class Spent(msgspec.Struct, kw_only=True):
    """What one model's answers used. `unpriced` answers are not in `usd`: their price is unknown, not nothing."""

    answers: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    usd: Decimal = Decimal(0)
    unpriced: int = 0

    def add(self, other: "Spent") -> None:
        self.answers += other.answers
        self.input_tokens += other.input_tokens
        self.output_tokens += other.output_tokens
        self.usd += other.usd
        self.unpriced += other.unpriced


class Tally:
    """A journal's rows, counted by what a run that takes it up would find. Every answer was paid for: `by_model` has
    those, too, that were asked for again. `batches` are those, by tag, that such a run would read first."""

    def __init__(self, rows: Iterable[JournalRow | BatchLine]) -> None:
        self.by_model: dict[str, Spent] = {}
        self.batches: dict[str, OpenBatch] = {}
        self.messages: dict[str, str] = {}
        """The newest one of each type of error."""
        self._answered: set[str] = set()
        self._failed: dict[str, str] = {}
        self._unreadable: set[str] = set()
        for row in rows:
            if isinstance(row, BatchLine):
                taken_in(self.batches, row)
            else:
                self._add(row)

    def waiting(self, batch: OpenBatch) -> int:
        """How many of its rows have no answer yet."""
        return sum(key not in self._answered for key in batch.keys)

    @property
    def answered(self) -> int:
        return len(self._answered)

    @property
    def failed(self) -> int:
        return len(self._failed)

    @property
    def unreadable(self) -> int:
        return len(self._unreadable)

    @property
    def rows(self) -> int:
        return self.answered + self.failed + self.unreadable

    @property
    def errors(self) -> dict[str, int]:
        """How many rows have failed and not been answered since, by the type of the error; the most frequent first."""
        return dict(Counter(self._failed.values()).most_common())

    def total(self) -> Spent:
        total = Spent()
        for spent in self.by_model.values():
            total.add(spent)
        return total

    def _add(self, row: JournalRow) -> None:
        if row.error_type is not None:
            self.messages[row.error_type] = row.error_message or ""
            # Answered once is answered, as it is for a run.
            if row.key not in self._answered:
                self._unreadable.discard(row.key)
                self._failed[row.key] = row.error_type
            return
        self._failed.pop(row.key, None)
        now, before = self._answered, self._unreadable
        if row.response is None:
            now, before = before, now
        else:
            self._pay(row.response)
        now.add(row.key)
        before.discard(row.key)

    def _pay(self, response: ChatResponse) -> None:
        usage, usd = response.usage or Usage(), response.cost.usd
        spent = Spent(
            answers=1,
            input_tokens=usage.total_input_tokens,
            output_tokens=usage.total_output_tokens,
            usd=usd or Decimal(0),
            unpriced=int(usd is None),
        )
        self.by_model.setdefault(str(response.model), Spent()).add(spent)
