"""What the processes that share a ledger have spent of a budget, and may spend of it: values only.

Each process, the `holder` of a row, may spend up to `allowed` in a period; the sum over all holders never passes the
cap. It spends from that in memory, so that no request waits for a database. All that it writes are totals of its own,
so that a write of which nobody knows whether it was done may be done again.
"""

import msgspec

BASE = ""
"""The holder that has what others have spent that are done."""

FOLD_SECONDS = 3600
"""So long after a holder is done its row is added to BASE: by then nobody writes it again."""

HEARD_SECONDS = 60
"""A process that holds money is heard of more often than that. Later it counts as ended, and what it was allowed as
spent: nobody knows how much of it was."""


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """What a process tells of one account in one period, and asks for. Nano-dollars.

    It has spent `spent`, and keeps `held` of what it was allowed; it would be allowed `wanted` in all, and at least
    `least`, else no more than it has. `at` is the time of day in seconds. `is_last`: it is done with the account.
    """

    account: str
    period: str
    holder: str
    cap: int
    spent: int
    held: int
    least: int
    wanted: int
    at: int
    is_last: bool = False


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """How an account stands: what the process is allowed now, and of all others what they are allowed, what they have
    spent, and of that what is gone for good, with all that ended processes were allowed."""

    allowed: int = 0
    others_allowed: int = 0
    others_spent: int = 0
    others_gone: int = 0


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """What the ledger has of an account in a period, over all processes: `held` is allowed and not spent."""

    account: str
    period: str
    spent: int
    held: int


def granted(move: Move, others_allowed: int) -> int:
    """What a process may spend in all, where the others may spend so much."""
    room = move.cap - others_allowed
    if room >= move.wanted:
        return max(move.wanted, move.held)
    return max(room, move.held) if room >= move.least else move.held
