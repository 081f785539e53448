"""What may be spent: what was, what is reserved, and a bound that the two together never pass. Nano-dollars. Pure.

    reserve  before a request is sent, what it may cost at the most
    settle   when it has ended, what it did cost; unknown: what it may have cost

Whatever the order of these, spent + reserved <= allowed <= cap, as long as nothing costs more than was reserved for it.
`allowed` is the whole cap, or the part of it that this process has been given of what several share (pot.py).
"""

import itertools


class Spend:
    """`spent` may pass the cap only when a provider charges more than was thought possible."""

    def __init__(self, cap: int, allowed: int | None = None) -> None:
        self.cap = cap
        self.allowed = cap if allowed is None else allowed
        self.spent = 0
        self.reserved = 0
        self._numbers = itertools.count()
        self._open: dict[int, int] = {}

    @property
    def used(self) -> int:
        return self.spent + self.reserved

    @property
    def under_way(self) -> int:
        """How many reservations are open: what they do not need comes back."""
        return len(self._open)

    def fits(self, nanos: int) -> bool:
        return self.spent + self.reserved + nanos <= min(self.allowed, self.cap)

    def reserve(self, nanos: int) -> int | None:
        """Set so much aside, and return the number to settle it by; None when it does not fit."""
        if not self.fits(nanos):
            return None
        number = next(self._numbers)
        self._open[number] = nanos
        self.reserved += nanos
        return number

    def held(self, number: int) -> int:
        """What is set aside under a number."""
        return self._open[number]

    def settle(self, number: int, nanos: int) -> None:
        """It did cost so much; the rest of the reservation is free. Once a number."""
        self.reserved -= self._open.pop(number)
        self.spent += nanos
