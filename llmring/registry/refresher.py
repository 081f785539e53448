"""Refresher: the actor that owns the current catalog, and renews it behind everybody's back.

Readers never wait: they read `catalog`, a value that is replaced whole. The task reads what is on disk, then asks the
network for lists that are older than a day. A registry that is dead, slow or wrong costs nobody anything but a line in
the log; it is asked again after a minute, then two, up to an hour.
"""

import logging
import math
from collections.abc import Callable

import trio

from llmring.registry.catalog import Catalog
from llmring.registry.lists import FRESH, Lists, utc_now

_LOG = logging.getLogger("llmring")

FIRST_SECONDS = 2.0
"""After the start, so that a short command asks for nothing."""

FAILED_FIRST_SECONDS = 60.0
FAILED_MOST_SECONDS = 3600.0


class Refresher:
    """`publish` is called with every new catalog. One task runs `run`; any number may call `refresh`."""

    def __init__(self, lists: Lists, catalog: Catalog, publish: Callable[[Catalog], None]) -> None:
        self.catalog = catalog
        self._lists = lists
        self._publish = publish
        self._asked = trio.Event()
        self._done = trio.Event()
        self._forced = False
        self._failures = 0

    async def run(self) -> None:
        """Renew until cancelled; where the network may not be asked, only read what is on disk."""
        try:
            await self._run()
        finally:
            # Nobody is left to wait for.
            self._done.set()

    async def _run(self) -> None:
        await self._lists.aside(self._lists.load_all)
        self._replace()
        if not self._lists.may_ask:
            return
        due = trio.current_time() + FIRST_SECONDS
        while True:
            with trio.move_on_at(due):
                await self._asked.wait()
            force, self._forced = self._forced, False
            self._asked, done, self._done = trio.Event(), self._done, trio.Event()
            try:
                await self._renew(force=force)
            finally:
                done.set()
            due = trio.current_time() + self._pause()

    async def refresh(self) -> None:
        """Have the network asked now, and wait for it; whether that helped is in `problems`."""
        self._forced = True
        done = self._done
        self._asked.set()
        await done.wait()

    @property
    def problems(self) -> dict[str, str]:
        """By provider, why its list could not be renewed the last time."""
        return dict(self._lists.problems)

    async def _renew(self, *, force: bool) -> None:
        async with trio.open_nursery() as nursery:
            for provider in self._lists.providers():
                nursery.start_soon(self._renew_one, provider, force)
        if self._lists.problems and self._failures == 0:
            for problem in self._lists.problems.values():
                _LOG.info("the registry is not renewed: %s", problem)
        self._failures = self._failures + 1 if self._lists.problems else 0
        self._replace()

    async def _renew_one(self, provider: str, force: bool) -> None:
        await self._lists.current(provider, force=force)

    def _replace(self) -> None:
        """Publish, when a list is of another version than before."""
        new = self._lists.catalog()
        if {s.provider: s.version for s in new.sources} != {s.provider: s.version for s in self.catalog.sources}:
            self.catalog = new
            self._publish(new)

    def _pause(self) -> float:
        """Until the first copy is a day old, or until a failed one is tried again."""
        if self._failures:
            return min(FAILED_FIRST_SECONDS * 2.0 ** min(self._failures - 1, 10), FAILED_MOST_SECONDS)
        held = [held for name in self._lists.providers() if (held := self._lists.at_hand(name)) is not None]
        ages = [(utc_now() - one.fetched_at).total_seconds() for one in held if one.fetched_at is not None]
        oldest = max(ages, default=math.nan)
        day = FRESH.total_seconds()
        return day if math.isnan(oldest) else min(max(day - oldest, FAILED_FIRST_SECONDS), day)
