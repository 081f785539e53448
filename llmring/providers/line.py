"""The waiting line of a route: who is next, and how a waiter gets its permit. No task of its own; see worker.py.

A request waits at all its routes at once and takes the first permit that any of them gives: that is the shortest wait
whatever happens meanwhile, without a guess. A permit is reserved for a waiter before it wakes, so that nobody who comes
later can take the room it was woken for.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Generic, Literal, Protocol, TypeVar

import trio

from llmring.providers.regime import Charge


class Returnable(Protocol):
    """What a line hands out: a right that can be given back unused."""

    def settle(self, outcome: Literal["not_sent"], now: float, /) -> None: ...


Permit = TypeVar("Permit", bound=Returnable)


async def wait_until(event: trio.Event, until: float) -> None:
    """Wait for `event`, or for the clock to say `until`. A checkpoint."""
    if until == math.inf:
        # A scope that never ends costs as much as the wait itself.
        await event.wait()
    else:
        with trio.move_on_at(until):
            await event.wait()


class Waiter(Generic[Permit]):
    """One request in line. `number` orders requests by when they were first made; `deadline` is on the trio clock."""

    __slots__ = ("_woken", "deadline", "number", "permit")

    def __init__(self, number: int, deadline: float) -> None:
        self.number = number
        self.deadline = deadline
        self.permit: Permit | None = None
        self._woken = trio.Event()

    @property
    def is_served(self) -> bool:
        """It has its permit, or was sent away: no line holds it any more."""
        return self._woken.is_set()

    async def wait(self, places: "Sequence[tuple[Line[Permit], Charge]]", until: float) -> Permit | None:
        """Stand in line at every place. None when the clock says `until`, or when a place turned out hopeless.

        Cancelled: leaves every line, and a permit that was given in the same moment goes back unused.
        """
        for line, charge in places:
            line.enter(self, charge)
        try:
            await wait_until(self._woken, until)
        except BaseException:
            if self.permit is not None:
                self.permit.settle("not_sent", trio.current_time())
            raise
        finally:
            for line, _ in places:
                line.leave(self)
        return self.permit

    def give(self, permit: Permit) -> None:
        """Hand over the permit. The caller has seen that it is not served yet."""
        self.permit = permit
        self._woken.set()

    def send_away(self) -> None:
        """This place cannot serve it in time: let it look at its routes again."""
        self._woken.set()


class Line(Generic[Permit]):
    """Waiters of one route, the oldest request first. `changed()` is called when one comes."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._places: OrderedDict[Waiter[Permit], Charge] = OrderedDict()
        self._last_number = -1

    def __len__(self) -> int:
        return len(self._places)

    def enter(self, waiter: Waiter[Permit], charge: Charge) -> None:
        self._places[waiter] = charge
        if waiter.number < self._last_number:
            # One that comes back after a failure: seldom, and nearly sorted already.
            self._places = OrderedDict(sorted(self._places.items(), key=lambda place: place[0].number))
        self._last_number = max(self._last_number, waiter.number)
        self._changed()

    def leave(self, waiter: Waiter[Permit]) -> None:
        self._places.pop(waiter, None)

    def head(self) -> tuple[Waiter[Permit], Charge] | None:
        """The next to be served. Those who were served elsewhere are dropped."""
        while self._places:
            waiter = next(iter(self._places))
            if not waiter.is_served:
                return waiter, self._places[waiter]
            del self._places[waiter]
        return None
