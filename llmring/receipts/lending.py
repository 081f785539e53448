"""The table of budgets in SQL that every database of a ledger speaks: what is written in an exchange, and read. Pure.

A store gives `ask`, which runs a statement in the transaction that it has opened, with nobody else's between.
"""

from collections.abc import Callable, Sequence
from typing import Any

from llmring.receipts.spending import BASE, FOLD_SECONDS, HEARD_SECONDS, Grant, Move, Spent, granted

Ask = Callable[[str, Sequence[Any]], Sequence[Sequence[Any]]]
"""Runs a statement, with `?` for what is given, on the table `budgets`; its rows, none where it has none."""

_OTHERS = """SELECT COALESCE(SUM(allowed), 0), COALESCE(SUM(spent), 0),
    COALESCE(SUM(CASE WHEN ended = 1 OR heard_at < ? THEN allowed ELSE spent END), 0)
    FROM budgets WHERE account = ? AND period = ? AND holder <> ?"""
_TELL = """INSERT INTO budgets (account, period, holder, spent, allowed, heard_at, ended)
    VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (account, period, holder) DO UPDATE
    SET spent = excluded.spent, allowed = excluded.allowed, heard_at = excluded.heard_at, ended = excluded.ended"""
_FOLD = """INSERT INTO budgets (account, period, holder, spent, allowed, heard_at, ended)
    SELECT account, period, '', SUM(spent), SUM(allowed), MAX(heard_at), 1 FROM budgets
    WHERE account = ? AND period = ? AND (holder = ? OR (ended = 1 AND heard_at < ?)) GROUP BY account, period
    ON CONFLICT (account, period, holder) DO UPDATE
    SET spent = excluded.spent, allowed = excluded.allowed, heard_at = excluded.heard_at"""
_FOLDED = "DELETE FROM budgets WHERE account = ? AND period = ? AND holder <> ? AND ended = 1 AND heard_at < ?"
_SPENT = """SELECT account, period, SUM(spent), SUM(allowed) - SUM(spent) FROM budgets WHERE period IN ({})
    GROUP BY account, period ORDER BY account, period"""


def exchange(ask: Ask, move: Move) -> Grant:
    """Write what a process tells, and what it is allowed for that."""
    about = (move.account, move.period)
    ((allowed, spent, gone),) = ask(_OTHERS, (move.at - HEARD_SECONDS, *about, move.holder))
    # Sums are of a wider type in some databases.
    others_allowed, others_spent, others_gone = int(allowed), int(spent), int(gone)
    mine = granted(move, others_allowed)
    ask(_TELL, (*about, move.holder, move.spent, mine, move.at, int(move.is_last)))
    if move.is_last:
        before = move.at - FOLD_SECONDS
        ask(_FOLD, (*about, BASE, before))
        ask(_FOLDED, (*about, BASE, before))
    return Grant(allowed=mine, others_allowed=others_allowed, others_spent=others_spent, others_gone=others_gone)


def spending(ask: Ask, periods: Sequence[str]) -> list[Spent]:
    """What was spent in these periods, by account."""
    if not periods:
        return []
    rows = ask(_SPENT.format(", ".join("?" * len(periods))), tuple(periods))
    return [Spent(account=row[0], period=row[1], spent=int(row[2]), held=int(row[3])) for row in rows]
