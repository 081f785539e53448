"""The money of one budget, for one scope and one period, in this process: what is decided about it. Pure; takes `now`.

Of a budget that is kept in the ledger a process is allowed a slice at a time, and serves its requests from that:

    a request needs more than is free      ask for what all that wait need, and a slice
    less than half a slice is free         ask for a slice, before anybody has to wait
    two slices are free, or none is used   give back
    there was not enough for who waits     give back, and ask again, for another may need less

What others may still give back is worth waiting for; `is_hopeless` says when nothing they do would be enough.
"""

from collections.abc import Callable
from datetime import datetime

from llmring.lockfile.budgets import Budget, describe
from llmring.money.amounts import to_nanos
from llmring.money.periods import Period
from llmring.money.spend import Spend
from llmring.receipts.spending import HEARD_SECONDS, Grant, Move
from llmring.zones import zone

SLICES = 50
"""A process is allowed this part of the cap at a time, where it does not need more."""

IDLE_SECONDS = 5.0
"""After which a process that has no request under way gives back what it does not use."""

FORGET_SECONDS = 60.0
"""After which one that nothing is spent from is left to the ledger alone."""

TELL_SECONDS = HEARD_SECONDS / 4
"""How often a process that holds money is heard of at least."""


Names = tuple[str | None, str | None, str | None]
"""Whose a pot is: alias, profile, tenant; None for anybody's."""


class Waiting:
    """A request that needs `nanos`, and whom to `wake` when it is worth looking again. `asks`: any word of the ledger
    is, whether it allows that or not."""

    __slots__ = ("asks", "nanos", "wake")

    def __init__(self, nanos: int, wake: Callable[[], None], *, asks: bool = False) -> None:
        self.nanos = nanos
        self.wake = wake
        self.asks = asks


class Pot(Spend):
    """`account` is its name in the ledger, `holder` that of this process's part. Without `is_shared` it is in memory
    alone, and all of the cap is allowed from the start. `problem` says why the ledger could not be asked;
    `was_wrong`, that an answer has cost more than was reserved for it."""

    def __init__(
        self,
        budget: Budget,
        period: Period,
        account: str,
        names: Names,
        *,
        holder: str,
        is_shared: bool,
        now: float,
    ) -> None:
        cap = to_nanos(budget.limit)
        super().__init__(cap, 0 if is_shared else None)
        self.budget = budget
        self.period = period
        self.account = account
        self.names = names
        self.holder = holder
        self.is_shared = is_shared
        self.problem: Exception | None = None
        self.was_wrong = False
        self.is_known = not is_shared
        self.waiting: dict[Waiting, None] = {}
        self._others = Grant()
        self._lasting: set[int] = set()
        self._reserved_long = 0
        self._used_at = now
        self._told_at = now
        self._told = (0, 0)
        self._demand = 0
        self.has_room = True
        """Whether the ledger had all that was asked for, the last time."""

    @property
    def is_untouched(self) -> bool:
        """Whether the ledger need not know of it."""
        return self.used == 0 and self.allowed == 0 and self._told == (0, 0)

    @property
    def title(self) -> str:
        """The budget and whose it is: "budget 'tenants' (tenant 'acme')"."""
        scope = describe(*self.names)
        return f"budget {self.budget.name!r}" + (f" ({scope})" if scope else "")

    @property
    def resets_at(self) -> datetime | None:
        """When there is new money, by the clocks of the budget's time zone; None of a run."""
        ends_at = self.period.ends_at
        return None if ends_at is None else ends_at.astimezone(zone(self.budget.timezone))

    @property
    def slice(self) -> int:
        return max(1, self.cap // SLICES)

    @property
    def spent_by_all(self) -> int:
        """By this process and, as far as the ledger has told, by others."""
        return self.spent + self._others.others_spent

    @property
    def held_by_others(self) -> int:
        return self._others.others_allowed - self._others.others_spent

    def recap(self, budget: Budget) -> None:
        """The budget was edited; what was spent stays spent."""
        self.budget = budget
        self.cap = to_nanos(budget.limit)
        if not self.is_shared:
            self.allowed = self.cap
        else:
            self._lower()
            self.has_room = True

    def take(self, nanos: int, now: float, *, lasting: bool = False) -> int | None:
        """As `reserve`. `lasting`: it may be hours before any of it comes back."""
        self._used_at = now
        number = self.reserve(nanos)
        if number is not None and lasting:
            self._lasting.add(number)
            self._reserved_long += nanos
        return number

    def end(self, number: int, nanos: int, now: float) -> None:
        """As `settle`, and whoever has waited for it looks again."""
        self._used_at = now
        if number in self._lasting:
            self._lasting.discard(number)
            self._reserved_long -= self.held(number)
        self.settle(number, nanos)
        self.wake()

    def may_be_allowed(self, nanos: int) -> bool:
        """Whether the ledger, as far as it has told, has so much for this process, beside what is used here."""
        is_there = self.used + nanos + self._others.others_allowed <= self.cap
        return self.is_shared and self.has_room and self.problem is None and is_there

    def is_hopeless(self, nanos: int, *, patient: bool = False) -> bool:
        """Whether it would not fit if everybody else gave back all they can soon; `patient`: or ever."""
        lasting = 0 if patient else self._reserved_long
        return self.spent + lasting + self._others.others_gone + nanos > self.cap

    def wake(self, *, is_told: bool = False) -> None:
        """Wake those who wait, in their order, as far as there is money for them, and those for whom there is none.
        `is_told`: the ledger has answered."""
        given = 0
        for one in list(self.waiting):
            if self.fits(given + one.nanos):
                given += one.nanos
            elif self.problem is None and not self.is_hopeless(one.nanos) and not (is_told and one.asks):
                break
            del self.waiting[one]
            one.wake()

    def ask(self, nanos: int) -> None:
        """Have so much asked for at the next exchange, though nobody waits for it."""
        self._demand = max(self._demand, nanos)

    # Towards the ledger.

    def is_urgent(self) -> bool:
        """Whether to ask the ledger at once, and not with the next group."""
        if not self.is_shared or not self.has_room:
            return False
        if not self.is_known:
            return bool(self.waiting)
        if self.allowed >= max(self.cap, self.used):
            # There is no more to be had: to ask again and again would bring nothing.
            return False
        is_low = self.used > 0 and self._free < self.slice // 2
        return is_low or self.used + sum(one.nanos for one in self.waiting) > self.allowed

    def is_due(self, now: float) -> bool:
        """Whether there is anything to tell or to ask."""
        if not self.is_shared:
            return False
        wants = bool(self.waiting) or self._demand > 0 or self._wanted(now) != self.allowed
        news = self._told != (self.spent, self.allowed)
        return wants or news or (self.allowed > self.spent and now - self._told_at >= TELL_SECONDS)

    def is_over(self, now: float, *, ended: bool) -> bool:
        """Whether it can be left to the ledger: nothing is under way, and its period has `ended` or it is not used."""
        if self.under_way or self.waiting or not self.is_shared:
            return False
        return ended or now - self._used_at >= FORGET_SECONDS

    @property
    def _free(self) -> int:
        return self.allowed - self.used

    def _wanted(self, now: float) -> int:
        """What to be allowed in all: no more than there is."""
        return min(self._wished(now), max(self.cap, self.used))

    def _wished(self, now: float) -> int:
        needed = max(sum(one.nanos for one in self.waiting), self._demand)
        if needed:
            return max(self.allowed, self.used + needed + self.slice)
        if not self.under_way and now - self._used_at >= IDLE_SECONDS:
            return self.used
        if self._free > 2 * self.slice:
            return self.used + self.slice
        if self._free < self.slice // 2 and self.is_known and self.has_room and self.used:
            return self.used + self.slice
        return self.allowed

    def move(self, now: float, at: int, *, is_last: bool = False) -> Move:
        """What to tell the ledger. What is given back is not used from now on, whatever comes of the telling."""
        spent = self.used if is_last else self.spent
        wanted = spent if is_last else self._wanted(now)
        # Two that each hold a part of the last money, and wait for the rest, would wait for ever: both give way.
        kept = self.used if self.waiting and not self.has_room else min(self.allowed, wanted)
        # More than was set aside may have been billed.
        self.allowed = held = max(kept, self.used)
        first = next(iter(self.waiting), None)
        least = self.used + (first.nanos if first is not None else max(1, self._demand))
        self._told = (spent, -1)
        return Move(
            account=self.account,
            period=self.period.key,
            holder=self.holder,
            cap=self.cap,
            spent=spent,
            held=held,
            least=max(least, held),
            wanted=max(wanted, held),
            at=at,
            is_last=is_last,
        )

    def stands(self, move: Move, standing: Grant, now: float) -> None:
        """The ledger has answered."""
        self.is_known, self.problem, self._others = True, None, standing
        self._told, self._told_at = (move.spent, standing.allowed), now
        self.has_room = standing.allowed >= move.wanted
        self._demand = 0
        self.allowed = max(standing.allowed, self.used)
        self._lower()
        self.wake(is_told=True)

    def _lower(self) -> None:
        """Where less is to be had than before, this process's part of that."""
        self.allowed = max(self.used, min(self.allowed, self.cap - self._others.others_allowed))

    def failed(self, error: Exception) -> None:
        """The ledger could not be asked, or nobody knows whether it was. What is allowed already may be spent."""
        self.problem = error
        self.wake()
