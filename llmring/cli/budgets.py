"""`llmring budgets`: what is spent of every budget of the lockfile, by the ledger; no process need run for it."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal

import click
import msgspec

from llmring.cli.ledgers import chosen_ledger, failures, ledger_option, reading
from llmring.cli.lockfiles import failing, file_option, json_option, open_own, print_json
from llmring.cli.tables import print_table, printable
from llmring.config import LedgerPlace
from llmring.lockfile import Budget
from llmring.lockfile.budgets import EACH, describe
from llmring.money.amounts import to_usd
from llmring.money.budgets import account_of, named
from llmring.money.periods import Period, period_of
from llmring.money.pot import Names
from llmring.receipts.spending import Spent
from llmring.receipts.store import LedgerMissing
from llmring.zones import zone

NUMBERS = ("limit", "spent", "held", "left")
HEADS = ("budget", "of", "per", *NUMBERS, "begins anew")


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One budget in its present period, of one name where it is of each. `held_usd` is what running processes may
    spend and have not, and what ended ones did not give back; None is of a run, which the ledger does not keep."""

    budget: str
    alias: str | None
    profile: str | None
    tenant: str | None
    per: str
    limit_usd: Decimal
    spent_usd: Decimal | None
    held_usd: Decimal | None
    resets_at: datetime | None


@click.command(
    epilog="""\b
    `held` is what running processes were allowed and have not spent, at the most that their
    requests may cost, and what killed ones did not give back; it is taken from what is left.
    A budget of each alias, profile or tenant has a line for each that has spent.
    Budgets that a program sets in its code are not seen, nor those of a run.
    """
)
@file_option
@ledger_option
@json_option
def command(file: str | None, ledger: str | None, *, as_json: bool) -> None:
    """Show what is spent of the lockfile's budgets, and when they begin anew."""
    lockfile, _ = failing(open_own, file)
    place = failing(chosen_ledger, ledger)
    now = datetime.now(UTC)
    periods = {budget: period_of(budget.per, now, zone(budget.timezone)) for budget in lockfile.budgets}
    with failures():
        found = _spent(place, periods)
    lines = [line for budget in lockfile.budgets for line in _lines(budget, periods[budget], found)]
    if as_json:
        told = msgspec.to_builtins(lines)
        print_json({"lockfile": str(lockfile.path), "ledger": str(place.where), "budgets": told})
    elif not lines:
        click.echo(f"{printable(str(lockfile.path))} has no budgets that were drawn on")
    else:
        print_table("", HEADS, [_row(line) for line in lines], numbers=NUMBERS)


def _spent(place: LedgerPlace, periods: Mapping[Budget, Period]) -> list[Spent]:
    try:
        with reading(place) as store:
            return store.spending(sorted({period.key for period in periods.values()}))
    except LedgerMissing:
        return []


def _lines(budget: Budget, period: Period, found: Sequence[Spent]) -> Iterator[Line]:
    names: Names = (budget.alias, budget.profile, budget.tenant)
    by_account = {one.account: one for one in found if one.period == period.key}
    if EACH not in names:
        yield _line(budget, period, names, by_account.get(account_of(budget.name, names)))
        return
    for account, one in by_account.items():
        name, own = named(account)
        if name == budget.name and all(_covers(wanted, given) for wanted, given in zip(names, own, strict=True)):
            yield _line(budget, period, own, one)


def _covers(wanted: str | None, given: str | None) -> bool:
    return given is not None if wanted == EACH else given == wanted


def _line(budget: Budget, period: Period, names: Names, one: Spent | None) -> Line:
    alias, profile, tenant = names
    is_kept = budget.per != "run"
    return Line(
        budget=budget.name,
        alias=alias,
        profile=profile,
        tenant=tenant,
        per=budget.per,
        limit_usd=budget.limit,
        spent_usd=to_usd(one.spent if one is not None else 0) if is_kept else None,
        held_usd=to_usd(one.held if one is not None else 0) if is_kept else None,
        resets_at=None if period.ends_at is None else period.ends_at.astimezone(zone(budget.timezone)),
    )


def _row(line: Line) -> tuple[str, ...]:
    spent, held = line.spent_usd, line.held_usd
    left = None if spent is None or held is None else max(Decimal(0), line.limit_usd - spent - held)
    return (
        printable(line.budget),
        printable(describe(line.alias, line.profile, line.tenant)) or "everything",
        line.per,
        *(_usd(usd) for usd in (line.limit_usd, spent, held, left)),
        f"{line.resets_at:%Y-%m-%d %H:%M} {line.resets_at.tzinfo}" if line.resets_at is not None else "-",
    )


def _usd(usd: Decimal | None) -> str:
    return "-" if usd is None else f"${usd:.6f}"
