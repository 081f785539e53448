"""A cap holds in every order of events; and what one request may cost at the most."""

from decimal import Decimal as D
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmring.chat import Cache, ChatRequest, Message
from llmring.codecs.capabilities import Capabilities
from llmring.money.spend import Spend
from llmring.money.worst import most, unbounded
from llmring.pricing import Prices
from llmring.providers.estimate import Counting

nanos = st.integers(0, 3 * 10**9)


def test_what_is_not_needed_comes_back() -> None:
    spend = Spend(100)
    first = spend.reserve(75)
    assert first is not None
    assert spend.reserve(50) is None
    spend.settle(first, 25)
    assert spend.reserve(75) is not None
    assert (spend.spent, spend.reserved, spend.under_way) == (25, 75, 1)


def test_the_cap_itself_may_be_spent() -> None:
    spend = Spend(3)
    assert [spend.reserve(1) is not None for _ in range(4)] == [True, True, True, False]


def test_what_costs_more_than_was_reserved_is_counted_all_the_same() -> None:
    spend = Spend(10)
    number = spend.reserve(5)
    assert number is not None
    spend.settle(number, 20)
    assert (spend.spent, spend.reserve(0)) == (20, None)


@given(nanos, st.lists(st.tuples(st.booleans(), nanos, st.floats(0, 1), st.integers(0, 7)), max_size=60))
def test_the_cap_is_never_passed(cap: int, events: list[tuple[bool, int, float, int]]) -> None:
    """Reservations and settlements in any order, each settled at any share of what it had reserved."""
    spend = Spend(cap)
    running: dict[int, int] = {}
    paid = 0
    for begins, amount, share, which in events:
        if begins:
            number = spend.reserve(amount)
            assert (number is not None) == (paid + sum(running.values()) + amount <= cap)
            if number is not None:
                running[number] = amount
        elif running:
            number = sorted(running)[which % len(running)]
            cost = int(running.pop(number) * share)
            spend.settle(number, cost)
            paid += cost
        assert spend.spent == paid
        assert spend.reserved == sum(running.values())
        assert spend.spent + spend.reserved <= cap
    for number, amount in running.items():
        spend.settle(number, amount)
    assert spend.spent <= cap
    assert spend.under_way == 0


# What one request may cost.


PRICES = Prices(input=D(1), output=D(10), cache_write_1h=D(2), output_thinking=D(20))


def asked(**fields: Any) -> ChatRequest:
    return ChatRequest(model="x", messages=(Message(role="user", content="abcd"),), max_tokens=100, **fields)


def worst(request: ChatRequest, prices: Prices = PRICES, **capabilities: Any) -> D | None:
    return most(request, Capabilities(**capabilities), Counting()).usd(prices)


def test_the_most_is_every_byte_and_the_longest_answer_at_the_dearest_rates() -> None:
    assert worst(asked()) == D(8 * 1 + 100 * 20) / 10**6
    assert worst(asked(cache=Cache(ttl="1h"))) == D(8 * 2 + 100 * 20) / 10**6
    assert worst(asked(n=3)) == D(8 * 1 + 300 * 20) / 10**6


def test_a_bound_that_will_not_be_sent_or_may_be_replaced_is_none() -> None:
    assert worst(asked(extra_params={"max_tokens": 9}), max_output_tokens=None) is None


@pytest.mark.parametrize(
    ("extra", "why"),
    [
        ({}, None),
        ({"top_k": 3, "logit_bias": {}}, None),
        ({"n": 8}, "extra_params['n'] may change what it bills"),
        ({"service_tier": "priority"}, "extra_params['service_tier']"),
        ({"top_k": 3, "generationConfig": {"candidateCount": 8}}, "extra_params['generationConfig']"),
        ({"model": "dearer"}, "extra_params['model']"),
        ({"tools": [{"type": "web_search"}]}, "extra_params['tools']"),
    ],
)
def test_nothing_bounds_what_an_unknown_parameter_costs(extra: dict[str, Any], why: str | None) -> None:
    told = unbounded(asked(extra_params=extra), None)
    assert told is why is None or (told is not None and why is not None and why in told)
    assert worst(asked(), max_output_tokens=5000, refused=frozenset({"max_tokens"})) == D(8 + 5000 * 20) / 10**6


def test_without_a_price_nothing_is_known() -> None:
    assert worst(asked(), Prices(input=D(1))) is None
