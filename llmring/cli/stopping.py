"""An orderly end on a signal: nothing more is sent, and a little time for what is on the wire."""

import signal
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NoReturn

import trio

from llmring.cli.running import note

STOP_SECONDS = 10.0


class Stop:
    """The first SIGINT or SIGTERM calls `stop_sending` and sets a deadline to `scope`; the second cancels it."""

    def __init__(self, stop_sending: Callable[[], None]) -> None:
        self.scope = trio.CancelScope()
        self.signal: int | None = None
        self._stop_sending = stop_sending

    @asynccontextmanager
    async def listening(self) -> AsyncGenerator[None]:
        """Take the signals for the length of the block."""
        # What whoever started us ignores (a shell, for a job in the background) stays ignored.
        heeded = [one for one in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(one) is not signal.SIG_IGN]
        if not heeded:
            yield
            return
        with trio.open_signal_receiver(*heeded) as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._heed, signals)
                yield
                nursery.cancel_scope.cancel()

    async def _heed(self, signals: AsyncIterator[int]) -> None:
        async for number in signals:
            if self.signal is not None:
                self.scope.cancel()
                continue
            self.signal = number
            self.scope.deadline = trio.current_time() + STOP_SECONDS
            self._stop_sending()
            note(f"stopping: rows on the wire have {STOP_SECONDS:g} s; once more cuts them off")

    def leave(self) -> NoReturn:
        """End as the signal would have ended the process."""
        if self.signal == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + (self.signal or 0))
