"""Dollars and whole nano-dollars: sums of money are kept in integers, where nothing is rounded twice. Pure."""

from decimal import ROUND_CEILING, Decimal

_NANOS = Decimal(10**9)


def to_nanos(usd: Decimal) -> int:
    """Up, where it is not whole: a count of what was spent may not fall behind the bill."""
    return int((usd * _NANOS).to_integral_value(ROUND_CEILING))


def to_usd(nanos: int) -> Decimal:
    """Exactly, and as short as it can be written."""
    usd = (Decimal(nanos) / _NANOS).normalize()
    return usd.quantize(Decimal(1)) if usd == usd.to_integral_value() else usd


def share_of(nanos: int, share: Decimal) -> int:
    """So much of an amount, up where it is not whole."""
    return int((nanos * share).to_integral_value(ROUND_CEILING))
