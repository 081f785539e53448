"""What a program gives of its own for a receipt: counts of tokens, prices, costs. Read, or refused with a reason. Pure.

A receipt is signed for what is in it, so no number goes in that is none: no fraction of a token, nothing below nought,
nothing without an end, and no cost that is a float, for it was rounded.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from llmring.arguments import MAPPING, WHOLE, check_kind
from llmring.errors import ReceiptError
from llmring.pricing import Prices, RuledPrices, ruled
from llmring.receipts.canonical import MOST
from llmring.receipts.receipt import dollars
from llmring.refs import ModelRef
from llmring.usage import Usage

_PER_MILLION = "dollars_per_million_tokens_"
_THRESHOLD = "long_context_threshold_tokens"
_RATES = tuple(name for name in Prices.__struct_fields__ if name != _THRESHOLD)


def given_count(value: object, name: str) -> int:
    """A count of tokens. Raises ReceiptError."""
    check_kind(name, WHOLE, value, ReceiptError)
    assert isinstance(value, int), "that is its kind"
    if not 0 <= value <= MOST:
        raise ReceiptError(f"{name} is {value}: a count of tokens is a whole number from 0 to {MOST}")
    return value


def given_tokens(usage: Usage | Mapping[str, int] | None) -> tuple[int | None, int | None]:
    """What went in and what came out: of an answer's usage, or of `prompt_tokens` and `completion_tokens`; None for
    what is not told. Raises ReceiptError."""
    if isinstance(usage, Usage):
        for name, count in msgspec.structs.asdict(usage).items():
            given_count(count, name)
        return usage.total_input_tokens, usage.total_output_tokens
    told = {} if usage is None else usage
    check_kind("usage", MAPPING, told, ReceiptError)
    names = ("prompt_tokens", "completion_tokens")
    prompt, completion = (given_count(told[name], name) if told.get(name) is not None else None for name in names)
    return prompt, completion


def given_cost(costs: Mapping[str, Decimal | str | None], name: str) -> str | None:
    """One of `costs` as a receipt spells it; None where it is not known. Raises ReceiptError."""
    check_kind("costs", MAPPING, costs, ReceiptError)
    value: object = costs.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, Decimal | str | int):
        raise ReceiptError(f"{name} is a {type(value).__name__}: money is a Decimal or text")
    return dollars(_money(value, name))


def given_prices(provider: str, model: str, info: Prices | Mapping[str, Any]) -> RuledPrices:
    """Prices, or a model as the registry lists it, under the rule that the provider bills by. Raises ReceiptError."""
    if isinstance(info, Prices):
        told = {name: getattr(info, name) for name in _RATES}
        threshold = info.long_context_threshold_tokens
    else:
        told = {name: info.get(_PER_MILLION + name) for name in _RATES}
        threshold = info.get(_THRESHOLD)
    rates = {name: _rate(rate, _PER_MILLION + name) for name, rate in told.items() if rate is not None}
    above = given_count(threshold, _THRESHOLD) if threshold is not None else None
    if isinstance(info, RuledPrices):
        return info
    prices = msgspec.structs.replace(Prices(long_context_threshold_tokens=above), **rates)
    return ruled(prices, ModelRef(provider.lower(), model))


def _rate(value: object, name: str) -> Decimal:
    """A list may be JSON, whose fractions are floats."""
    if isinstance(value, bool) or not isinstance(value, Decimal | str | int | float):
        raise ReceiptError(f"the price {name} is a {type(value).__name__}: money is a number, or one as text")
    return _money(str(value), f"the price {name}")


def _money(value: Decimal | str | int, name: str) -> Decimal:
    try:
        usd = Decimal(value)
    except ArithmeticError as error:
        raise ReceiptError(f"{name} is no number") from error
    if not usd.is_finite():
        raise ReceiptError(f"{name} is no number")
    if usd < 0:
        raise ReceiptError(f"{name} is {usd}: dollars are not below 0")
    return usd
