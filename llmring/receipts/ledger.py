"""Ledger: the actor that signs and writes a receipt of every attempt, off the requests' path.

A request leaves its attempt in a bounded queue, in microseconds, and goes on; a thread of the ledger's own drafts,
signs and commits what is there, a quarter of a second after the first of it at the latest. A thread and not a task: a
program that keeps the event loop busy for seconds, and is killed then, loses no older receipts for it. Calls neither
wait nor fail for receipts; what cannot be written is kept, and what cannot be kept is counted (writer.py).
"""

import logging
import threading
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime

import trio

from llmring.errors import ConfigError, ReceiptError
from llmring.receipts.building import Attempted
from llmring.receipts.writer import Writer
from llmring.status import ReceiptsStatus

_LOG = logging.getLogger("llmring")

MOST_WAITING = 4096
"""Attempts in the queue, each with what was said in it: a quarter of a second of a router that is very busy."""

GROUP_SECONDS = 0.25
"""From the first attempt of a group to its commit, so that many share one."""

RETRY_SECONDS = 1.0
DRAIN_SECONDS = 5.0
SETTLE_SECONDS = 5.0
"""At the end, and for whoever waits for receipts, by the wall clock: for a disk that hangs."""


class Ledger:
    """Made by `open_ledger`."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._waiting: deque[Attempted] = deque()
        self._overflown = 0
        self._overflown_at: datetime | None = None
        self._told = 0
        self._is_broken = False
        self._news = threading.Event()
        self._closing = threading.Event()
        self._hurry = threading.Event()
        self._awaited: deque[threading.Event] = deque()
        self._is_stuck = False
        self._thread = threading.Thread(target=self._work, name="llmring receipts", daemon=True)

    @property
    def missing(self) -> int:
        """Attempts that have no receipt, and of which no gap tells yet."""
        return self._writer.missing + self._overflown - self._told

    def status(self) -> ReceiptsStatus:
        """From any thread."""
        return ReceiptsStatus(
            waiting=self._writer.waiting + len(self._waiting), missing=self.missing, why=self._writer.why
        )

    def post(self, ended: Attempted) -> None:
        """Leave an attempt. Never waits; where the queue is full, it is counted and has no receipt."""
        if len(self._waiting) >= MOST_WAITING:
            self._overflown += 1
            self._overflown_at = ended.ended_at
        else:
            self._waiting.append(ended)
        if not self._news.is_set():
            self._news.set()

    async def settled(self) -> None:
        """Wait until what was left by now is on disk, for SETTLE_SECONDS at most. What cannot be written is kept as
        ever; once that was found out, nobody waits until something was written again. Cancelling it changes nothing."""
        if self._is_stuck:
            return
        done = threading.Event()
        self._awaited.append(done)
        self._hurry.set()
        self._news.set()
        if not await trio.to_thread.run_sync(done.wait, SETTLE_SECONDS, abandon_on_cancel=True):
            self._is_stuck = True

    def start(self) -> None:
        self._thread.start()

    async def aclose(self) -> None:
        """Write what is left. Bounded: a disk that hangs is left to itself, which is logged. Shield it."""
        self._closing.set()
        self._hurry.set()
        self._news.set()
        await trio.to_thread.run_sync(self._thread.join, DRAIN_SECONDS)
        if self._thread.is_alive():
            _LOG.error("receipts are still being written after %g s, and may be lost", DRAIN_SECONDS)

    def _work(self) -> None:
        """The thread: write in groups until closed, then once more."""
        is_written = True
        while not self._closing.is_set():
            self._news.wait(None if is_written else RETRY_SECONDS)
            self._hurry.wait(GROUP_SECONDS)
            is_written = self._write()
        self._write()
        self._writer.close()

    def _write(self) -> bool:
        self._news.clear()
        if not self._closing.is_set():
            self._hurry.clear()
        awaited = [self._awaited.popleft() for _ in range(len(self._awaited))]
        batch = [self._waiting.popleft() for _ in range(len(self._waiting))]
        try:
            overflown, at = self._overflown, self._overflown_at
            if overflown > self._told and at is not None:
                self._writer.lost(overflown - self._told, at, "they come faster than they can be written")
                self._told = overflown
            self._writer.take(batch)
            is_written = self._writer.flush()
            self._is_stuck = not is_written
            return is_written
        except Exception as error:  # noqa: BLE001 - a mistake here must not end a program that pays for answers
            if not self._is_broken:
                _LOG.error("receipts cannot be written: %s, a mistake of llmring", type(error).__name__, exc_info=True)
            self._is_broken = True
            return False
        finally:
            for done in awaited:
                done.set()


@asynccontextmanager
async def open_ledger(writer: Writer, *, required: bool) -> AsyncGenerator[Ledger]:
    """A ledger for the length of the block; leaving it writes what is left, whatever ends the block.

    `required`: raises ConfigError when it cannot be opened. Else it is opened with the first receipt, and what is wrong
    is logged then.
    """
    if required:
        try:
            await trio.to_thread.run_sync(writer.open)
        except ReceiptError as error:
            raise ConfigError(f"receipts cannot be written: {error}") from error
    ledger = Ledger(writer)
    ledger.start()
    try:
        yield ledger
    finally:
        with trio.CancelScope(shield=True):
            await ledger.aclose()
