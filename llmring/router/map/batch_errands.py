"""Errands to the batch APIs: hand in, find, look, fetch, again and again until it is done, and in the journal.

What is handed in is in the journal before, and so is its id before anything else is done: whenever this ends, a later
run knows what is on its way. What is on its way was paid for, so nothing is given up that may pass.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar

import trio

from llmring.codecs.batch import Batch, BatchStatus
from llmring.errors import BadReply, LLMRingError, ProviderError
from llmring.router.map.batch_lines import BatchLine
from llmring.router.map.batch_plan import (
    GRACE_SECONDS,
    MOST_BAD_REPLIES,
    SUBMIT_TRIES,
    SURE_SECONDS,
    Job,
    at_least,
    is_passing,
    is_refusal,
    unreadable,
    waits,
)
from llmring.router.map.journal import Journal

_Result = TypeVar("_Result")


class Errands:
    """Of one run. Its methods raise a ProviderError for what does not pass, LLMRingError when the journal cannot be
    written."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def hand_in(self, job: Job, batch: Batch) -> BatchStatus:
        """Hand in until it is taken. Raises the last error."""
        failed = 0
        for wait in waits():
            made = await self._handed_in(job, batch)
            if isinstance(made, ProviderError) and not is_refusal(made) and job.way.desk.can_find:
                made = await self._made_after_all(job) or made
            if isinstance(made, BatchStatus):
                return made
            if not isinstance(made, ProviderError) or not (is_refusal(made) or job.way.desk.can_find):
                raise made
            failed += not made.is_weather
            if not is_passing(made) or failed >= SUBMIT_TRIES:
                raise made
            await trio.sleep(at_least(wait, made))
        raise AssertionError("there is always another wait")

    async def _made_after_all(self, job: Job) -> BatchStatus | None:
        """Raises LLMRingError when that cannot be found out."""
        try:
            return await self.find(job, datetime.now(UTC))
        except ProviderError as error:
            raise unreadable(job, error) from error

    async def _handed_in(self, job: Job, batch: Batch) -> BatchStatus | LLMRingError:
        """A cancel gives it a moment: a batch that was made, and has no id in the journal, is hard to find again."""
        made: BatchStatus | LLMRingError | None = None
        shielded = trio.CancelScope(shield=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_shorten, shielded)
            with shielded:
                try:
                    made = await job.way.desk.submit(batch)
                    await self.note(BatchLine(tag=batch.tag, id=made.id))
                except LLMRingError as error:
                    made = error
            nursery.cancel_scope.cancel()
        assert made is not None, "cut short by nothing but a cancel, which goes on"
        if isinstance(made, ProviderError):
            made.model = job.batch.ref
        return made

    async def find(self, job: Job, begun_at: datetime) -> BatchStatus | None:
        """The batch by its tag, once it is certain whether there is one. Raises a ProviderError."""
        tag = job.batch.tag
        found = await self.patiently(job, lambda: job.way.desk.find(tag))
        young = SURE_SECONDS - (datetime.now(UTC) - begun_at).total_seconds()
        if found is None and young > 0:
            await trio.sleep(min(young, SURE_SECONDS))
            found = await self.patiently(job, lambda: job.way.desk.find(tag))
        if found is not None:
            await self.note(BatchLine(tag=tag, id=found.id))
            job.batch = self._journal.batches[tag]
        return found

    async def wait_for_end(self, job: Job) -> BatchStatus:
        """Its state at the end. Raises a ProviderError."""
        batch_id = job.batch.id
        assert batch_id is not None, "followed when it has an id"
        for wait in waits():
            job.status = status = await self.patiently(job, lambda: job.way.desk.look(batch_id))
            if status.is_over:
                return status
            await trio.sleep(wait)
        raise AssertionError("there is always another wait")

    async def note(self, line: BatchLine) -> None:
        """On disk before anything else is done. Raises LLMRingError."""
        self._journal.note_batch(line)
        await trio.to_thread.run_sync(self._journal.sync)

    async def patiently(self, job: Job, ask: Callable[[], Awaitable[_Result]]) -> _Result:
        """Ask until there is an answer: what is on its way was paid for. Raises what does not pass by itself."""
        bad = 0
        for wait in waits():
            try:
                return await ask()
            except ProviderError as error:
                error.model = job.batch.ref
                bad += isinstance(error, BadReply)
                if not is_passing(error) or bad >= MOST_BAD_REPLIES:
                    raise
                await trio.sleep(at_least(wait, error))
        raise AssertionError("there is always another wait")


async def _shorten(scope: trio.CancelScope) -> None:
    """Leave a shielded scope a moment, once this is cancelled."""
    try:
        await trio.sleep_forever()
    finally:
        scope.deadline = trio.current_time() + GRACE_SECONDS
