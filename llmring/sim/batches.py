"""Batches: requests that were handed in at once and are answered over time, whatever the wire format.

The work is done when somebody looks, as much of it as is due by then, so nothing runs in between. A row gets what the
request would get online, without limits and without the faults of a connection. How a batch is described is the
formats' own.
"""

from collections.abc import Sequence
from typing import TypeVar

import msgspec

from llmring.sim.batch_state import Batch, Outcome, Row, due, is_over
from llmring.sim.desk import Request
from llmring.sim.faults import REFUSALS
from llmring.sim.outcome import failed, forced, said, struck
from llmring.sim.wire import Ask, Problem, Rejected

_T = TypeVar("_T")

_UNREAD_MODEL = "-"


def cancel(batch: Batch, request: Request) -> None:
    """Stop it: rows that are not yet due never will be. Nothing happens to one that is over."""
    work(batch, request)
    if not is_over(batch, request.now) and batch.progress.cancelled_at is None:
        batch.progress.cancelled_at = request.now
        for row in batch.rows[len(batch.progress.outcomes) :]:
            _note(batch, request, Outcome(row=row, fate="cancelled"), _model(batch, row))


def work(batch: Batch, request: Request) -> None:
    """Do what is due by now."""
    share = request.provider.config.batch_expired_share
    for at in range(len(batch.progress.outcomes), due(batch, request.now)):
        row = batch.rows[at]
        if int((at + 1) * share) > int(at * share):
            _note(batch, request, Outcome(row=row, fate="expired"), _model(batch, row))
        else:
            outcome, model = _answered(batch, request, row)
            _note(batch, request, outcome, model)


def out_of_order(outcomes: Sequence[_T]) -> list[_T]:
    """Never as they were handed in, where there are two: every second one first."""
    return [*outcomes[1::2], *outcomes[0::2]]


def _note(batch: Batch, request: Request, outcome: Outcome, model: str) -> None:
    batch.progress.outcomes.append(outcome)
    cell = request.stats.cell(request.provider.name, batch.key, model)
    cell.count_row(outcome.fate, outcome.input_tokens, outcome.output_tokens)


class _Named(msgspec.Struct):
    model: str = _UNREAD_MODEL


def _model(batch: Batch, row: Row) -> str:
    try:
        return batch.model or msgspec.json.decode(row.body, type=_Named).model
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _UNREAD_MODEL


def _answered(batch: Batch, request: Request, row: Row) -> tuple[Outcome, str]:
    """What became of a row that was tried, and of which model."""
    asked = _asked(batch, request, row)
    if isinstance(asked, Problem):
        failure = batch.dialect.failure(asked)
        refused = Outcome(row=row, fate="refused", status=failure.status, body=failure.body)
        return refused, asked.model or _model(batch, row)
    memory, key = request.provider.memory, batch.key
    answer = said(request.provider, key, asked, request.now)
    body = batch.operation.whole(asked, answer)
    if asked.store:
        memory.keep_reply(asked, key, answer, body)
    tokens = {"input_tokens": asked.input_tokens, "output_tokens": answer.output_tokens}
    return Outcome(row=row, fate="answered", status=200, body=body, **tokens), asked.model


def _asked(batch: Batch, request: Request, row: Row) -> Ask | Problem:
    try:
        ask = batch.operation.read(batch.headers, row.body, batch.target)
    except Rejected as rejected:
        return rejected.problem
    except RecursionError:
        return Problem(kind="bad_json", detail="nested too deeply")
    if ask.stream:
        return Problem(kind="bad_field", model=ask.model, parameter="stream", detail="Batches are not streamed.")
    fault = struck(request.provider, ask, row.body, request.now)
    if isinstance(fault, Problem):
        return fault
    problem = forced(fault, ask, row.body) if fault is not None and fault.kind in REFUSALS else failed(fault)
    return problem or request.provider.memory.resolve(ask, batch.key, request.now)
