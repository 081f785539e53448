"""A cap holds in every order of events."""

from hypothesis import given
from hypothesis import strategies as st

from llmring.money.spend import Spend

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
