"""Numbers by keys: as a dict has them, in a ninth of its memory."""

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from llmring.router.map.places import Places

NUMBERS = st.integers(0, 2**63 - 1)


@given(st.lists(st.tuples(st.text(max_size=3), NUMBERS)))
def test_a_key_has_the_number_it_was_given_last(given: list[tuple[str, int]]) -> None:
    places = Places()
    for key, number in given:
        places.put(key, number)
    assert {key: places.get(key) for key, _ in given} == dict(given)
    assert len(places) == len(dict(given))
    assert places.get("of nobody") is None


def test_a_hundred_thousand_keys_take_two_megabytes() -> None:
    tracemalloc.start()
    places = Places()
    for number in range(100_000):
        places.put(f"{number:032x}", number)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 2_000_000
    assert all(places.get(f"{number:032x}") == number for number in range(0, 100_000, 997))
