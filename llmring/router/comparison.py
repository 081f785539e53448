"""Recorded requests beside the same ones along another lockfile: which models, what cost, how much waiting. Pure.

Dollars are those of the registry's prices now, on both sides, for the tokens that were told; of a request that had
failed, and would not, those that were expected. A price that is not known is counted, never taken for nothing.
"""

from collections.abc import Iterable
from decimal import Decimal

import msgspec

from llmring.lockfile import Lockfile
from llmring.pricing import cost_of
from llmring.refs import ModelRef
from llmring.registry.catalog import Catalog
from llmring.router.records import Record
from llmring.router.replay import Replayed, replay, waited_seconds
from llmring.trace import TracedRoute
from llmring.usage import Usage

CUT_OFF = "cut off"


class Side(msgspec.Struct, kw_only=True):
    """One way of serving the requests. `unpriced` answers are not in `usd`; `errors` counts failures by class."""

    answered: int = 0
    usd: Decimal = Decimal(0)
    unpriced: int = 0
    waited_seconds: float = 0.0
    longest_wait_seconds: float = 0.0
    errors: dict[str, int] = {}

    @property
    def failed(self) -> int:
        return sum(self.errors.values())

    def add(self, error: str | None, usd: Decimal | None, waited: float) -> None:
        self.waited_seconds += waited
        self.longest_wait_seconds = max(self.longest_wait_seconds, waited)
        if error is not None:
            self.errors[error] = self.errors.get(error, 0) + 1
            return
        self.answered += 1
        if usd is None:
            self.unpriced += 1
        else:
            self.usd += usd


class Comparison(msgspec.Struct, kw_only=True):
    """All requests. `moved` counts those that another model answers, from one to the other.

    Not compared are `cut_off` requests, which their caller left, those `too_long` to be kept whole, and `batched` rows
    of maps: they stood in no line, and a batch has another price. `assumed` ones
    met a model of which the record does not know whether it was free; it was taken to be. `estimated` ones cost what
    was expected of them, for they had failed.
    """

    requests: int = 0
    cut_off: int = 0
    too_long: int = 0
    batched: int = 0
    assumed: int = 0
    estimated: int = 0
    moved: dict[tuple[ModelRef, ModelRef], int] = {}
    newly_failed: int = 0
    newly_answered: int = 0
    before: Side = msgspec.field(default_factory=Side)
    after: Side = msgspec.field(default_factory=Side)


def compare(records: Iterable[Record], lockfile: Lockfile, profile: str | None, catalog: Catalog) -> Comparison:
    """Replay all records. What reading them raises comes out."""
    found = Comparison()
    for record in records:
        found.requests += 1
        if record.kind == "batch_row":
            found.batched += 1
        elif record.trace.left_out:
            found.too_long += 1
        elif record.trace.outcome == CUT_OFF:
            found.cut_off += 1
        else:
            after = replay(record.trace, lockfile, profile, lambda ref, like: _expected(ref, like, catalog))
            _add(found, record, after, catalog)
    return found


def _add(found: Comparison, record: Record, after: Replayed, catalog: Catalog) -> None:
    trace = record.trace
    error = None if trace.outcome == "answered" else trace.outcome
    if trace.model is not None and after.model is not None and trace.model != after.model:
        move = (trace.model, after.model)
        found.moved[move] = found.moved.get(move, 0) + 1
    found.newly_failed += error is None and after.error is not None
    found.newly_answered += error is not None and after.error is None
    found.assumed += after.assumed
    usages = record.usages
    if error is not None and after.model is not None:
        found.estimated += 1
        usages = (_usage(next((one for one in trace.routes if one.model == after.model), trace.routes[0])),)
    found.before.add(error, _usd(trace.model, usages, catalog), waited_seconds(trace))
    found.after.add(after.error, _usd(after.model, usages, catalog), after.waited_seconds)


def _usd(model: ModelRef | None, usages: tuple[Usage, ...], catalog: Catalog) -> Decimal | None:
    if model is None:
        return None
    return cost_of(usages, catalog.prices(model), known=catalog.get(model) is not None).usd


def _expected(model: ModelRef, like: TracedRoute, catalog: Catalog) -> Decimal | None:
    return _usd(model, (_usage(like),), catalog)


def _usage(route: TracedRoute) -> Usage:
    return Usage(input_tokens=route.input_tokens, output_tokens=route.output_tokens)
