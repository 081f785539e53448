"""The waiting line of a route: who is next, and how a waiter gets its permit. No task of its own; see worker.py.

A request waits at all its routes at once and takes the first permit that any of them gives: that is the shortest wait
whatever happens meanwhile, without a guess. A permit is reserved for a waiter before it wakes, so that nobody who comes
later can take the room it was woken for.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import trio

from llmring.providers.regime import Charge

if TYPE_CHECKING:
    from llmring.providers.route import Permit, Route


class Waiter:
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

    async def wait(self, places: Sequence[tuple["Route", Charge]], until: float) -> "Permit | None":
        """Stand in line at every place. None when the clock says `until`, or when a place turned out hopeless.

        Cancelled: leaves every line, and a permit that was given in the same moment goes back unused.
        """
        for route, charge in places:
            route.line.enter(self, charge)
            route.changed()
        try:
            with trio.move_on_at(until):
                await self._woken.wait()
        except BaseException:
            if self.permit is not None:
                self.permit.settle("not_sent")
            raise
        finally:
            for route, _ in places:
                route.line.leave(self)
        return self.permit

    def give(self, permit: "Permit") -> None:
        """Hand over the permit. The caller has seen that it is not served yet."""
        self.permit = permit
        self._woken.set()

    def send_away(self) -> None:
        """This place cannot serve it in time: let it look at its routes again."""
        self._woken.set()


class Line:
    """Waiters of one route, first come first served; one that comes back after a failure goes to the front."""

    def __init__(self) -> None:
        self._places: OrderedDict[Waiter, Charge] = OrderedDict()
        self._last_number = -1

    def __len__(self) -> int:
        return len(self._places)

    def enter(self, waiter: Waiter, charge: Charge) -> None:
        self._places[waiter] = charge
        if waiter.number < self._last_number:
            self._places.move_to_end(waiter, last=False)
        else:
            self._last_number = waiter.number

    def leave(self, waiter: Waiter) -> None:
        self._places.pop(waiter, None)

    def head(self) -> tuple[Waiter, Charge] | None:
        """The next to be served. Those who were served elsewhere are dropped."""
        while self._places:
            waiter = next(iter(self._places))
            if not waiter.is_served:
                return waiter, self._places[waiter]
            del self._places[waiter]
        return None
