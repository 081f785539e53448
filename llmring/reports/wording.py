"""Numbers of a report as people read them: tokens, dollars, seconds, days. Pure."""

from datetime import date
from decimal import Decimal

from llmring.reports.totals import Totals

_MILLION = 1_000_000
_CENT = Decimal("0.01")


def count(number: int) -> str:
    """`999,999`, and from a million on three digits of it: `1.23M`."""
    if number < _MILLION:
        return f"{number:,}"
    millions = number / _MILLION
    return f"{millions:,.0f}M" if millions >= 100 else f"{millions:.1f}M" if millions >= 10 else f"{millions:.2f}M"


def usd(amount: Decimal) -> str:
    """To the cent, below a dollar to a hundredth of one, below a cent to the millionth of a dollar."""
    size = abs(amount)
    return f"${amount:,.2f}" if size >= 1 or not size else f"${amount:.4f}" if size >= _CENT else f"${amount:.6f}"


def signed_usd(amount: Decimal) -> str:
    """A difference: `+$0.02`, `-$0.02`, `$0.00`."""
    return f"{'-' if amount < 0 else '+' if amount > 0 else ''}{usd(abs(amount))}"


def priced(totals: Totals) -> str:
    """What has a price: `$1.20`, `≥ $1.20`, or `-` where there is no price at all."""
    if totals.unpriced and not totals.cost_usd:
        return "-"
    return f"{'≥ ' if totals.lower_bounds else ''}{usd(totals.cost_usd)}"


def cost(totals: Totals) -> str:
    """`$1.20`, `≥ $1.20`, `$1.20 + 2 unpriced`, `2 unpriced`: what has no price is never shown as free."""
    if totals.unpriced and not totals.cost_usd:
        return f"{totals.unpriced:,} unpriced"
    return priced(totals) + (f" + {totals.unpriced:,} unpriced" if totals.unpriced else "")


def seconds(amount: float | None) -> str:
    """Two or three digits of it; `-` of none."""
    if amount is None:
        return "-"
    return f"{amount:,.0f} s" if amount >= 100 else f"{amount:.1f} s" if amount >= 10 else f"{amount:.2f} s"


def plural(number: int, one: str, many: str | None = None) -> str:
    """`1 call`, `2 calls`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def day(text: str) -> str:
    """`Sat 1 Aug`."""
    found = date.fromisoformat(text)
    return f"{found:%a} {found.day} {found:%b}"


WHY_UNPRICED = {
    "no_usage": "the provider told no usage",
    "model_not_in_registry": "the model is not in the registry",
    "no_pricing_in_registry": "the registry has no price of the model",
    "no_pricing_of_service_tier": "the registry has no price of the service tier",
    "unknown": "the receipt does not say why",
}


def sentences(total: Totals, missing: int, unpriced_why: dict[str, int]) -> list[str]:
    """What the numbers do not say by themselves: how the calls ended, what the dollars leave out."""
    said = [_calls(total)]
    if total.unpriced:
        whys = ", ".join(f"{number:,} as {WHY_UNPRICED.get(why, why)}" for why, number in unpriced_why.items())
        many = plural(total.unpriced, "attempt without a price is", "attempts without a price are")
        answered = f", {total.unpriced_answers:,} of them answered" if total.unpriced_answers else ""
        said.append(f"{many} not in the cost{answered}: {whys}.")
    if total.lower_bounds:
        said.append(
            f"{plural(total.lower_bounds, 'answer')} broke off: priced by what was seen of "
            f"{'it' if total.lower_bounds == 1 else 'them'}, so the cost is a lower bound."
        )
    if missing:
        said.append(f"{plural(missing, 'attempt has', 'attempts have')} no receipt: the ledger has a gap.")
    return said


def _calls(total: Totals) -> str:
    parts = [f"{plural(total.calls, 'call')}, {total.calls_answered:,} answered"]
    if total.failovers:
        parts.append(f"{total.failovers:,} by another model than the first")
    if total.retried:
        parts.append(f"{total.retried:,} on a later attempt")
    ended = [("failed", total.failed), ("were cancelled", total.cancelled), ("were left", total.left)]
    wrong = ", ".join(f"{number:,} {how}" for how, number in ended if number)
    return f"{', '.join(parts)}; {plural(total.attempts, 'attempt')}{f', of which {wrong}' if wrong else ''}."


def long_day(text: str) -> str:
    """`1 August 2026`."""
    found = date.fromisoformat(text)
    return f"{found.day} {found:%B %Y}"


def tick_usd(amount: float) -> str:
    """At an axis: as few digits as tell its ends and middle apart."""
    if amount == 0 or amount >= 10:
        return f"${amount:,.0f}"
    return f"${amount:.2f}" if amount >= 0.1 else f"${amount:.3g}"


def tick_seconds(amount: float) -> str:
    return "0" if amount == 0 else f"{amount:,.0f} s" if amount >= 10 else f"{amount:.3g} s"


def tick_count(amount: float) -> str:
    return f"{amount:,.0f}" if amount >= 10 or amount == int(amount) else f"{amount:g}"
