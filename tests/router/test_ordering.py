"""Which model is asked first: pure functions, and a router that obeys them."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import groupby

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from llmring.lockfile.profiles import ORDERS, Order
from llmring.pricing import Prices
from llmring.providers.speed import Speed
from llmring.refs import ModelRef
from llmring.registry.catalog import Catalog, ModelFacts, Source
from llmring.router.opening import open_router
from llmring.router.ordering import ARRANGE, Candidate, arrange_keys, by_room, cheapest, fastest, ordered, spread
from llmring.testing import ScriptedProvider, Step, answer, status
from tests.router.world import lockfile

Clock = trio.testing.MockClock


def draw() -> float:
    return 0.5


def costs(*dollars: str | None) -> list[Candidate]:
    return [Candidate(cost_usd=None if each is None else Decimal(each)) for each in dollars]


def test_the_usual_order_is_the_written_one() -> None:
    assert list(ordered(costs("3", "1", "2"), draw)) == [0, 1, 2]


def test_the_cheapest_comes_first_and_one_without_a_price_last() -> None:
    assert list(cheapest(costs("3", None, "1", "1", "2"), draw)) == [2, 3, 4, 0, 1]


def test_the_fastest_comes_first_behind_those_that_were_never_measured() -> None:
    candidates = [Candidate(seconds=each) for each in (3.0, None, 0.5, None, 1.0)]
    assert list(fastest(candidates, draw)) == [1, 3, 2, 4, 0]


def test_spread_obeys_the_weights_in_every_place() -> None:
    candidates = [Candidate(weight=weight) for weight in (6.0, 3.0, 1.0)]
    chance = random.Random(11)
    orders = [tuple(spread(candidates, chance.random)) for _ in range(20_000)]
    first = Counter(order[0] for order in orders)
    assert [round(first[i] / 20_000, 1) for i in range(3)] == [0.6, 0.3, 0.1]
    second = Counter(order[1] for order in orders if order[0] == 0)
    assert second[1] / (second[1] + second[2]) == pytest.approx(0.75, abs=0.02)


@given(
    st.lists(
        st.builds(
            Candidate,
            cost_usd=st.none() | st.decimals(0, 100, places=3),
            seconds=st.none() | st.floats(0, 100),
            weight=st.floats(0.001, 1000),
        ),
        max_size=6,
    ),
    st.floats(0, 1, exclude_max=True),
)
def test_every_order_is_one_of_all_candidates(candidates: list[Candidate], drawn: float) -> None:
    for order in ORDERS:
        assert sorted(ARRANGE[order](candidates, lambda: drawn)) == list(range(len(candidates)))


rooms = st.lists(st.tuples(st.floats(-2.0, 1.0), st.integers(0, 5)), min_size=1, max_size=6)


def test_of_a_models_keys_the_emptiest_is_last_and_the_busier_of_two_equal_ones_later() -> None:
    assert list(by_room([(0.5, 0), (1.0, 3), (-0.1, 0), (1.0, 1), (1.0, 3)])) == [3, 1, 4, 0, 2]


@given(rooms, st.sampled_from(ORDERS), st.lists(st.sampled_from("abc"), min_size=6, max_size=6))
def test_keys_stay_with_their_model_whatever_the_order(
    given_rooms: list[tuple[float, int]], order: Order, models: list[str]
) -> None:
    models = sorted(models[: len(given_rooms)])
    candidates = [Candidate(seconds=room) for room, _ in given_rooms]
    chance = random.Random(3)
    places = list(arrange_keys(order, models, candidates, given_rooms, chance.random))
    assert sorted(places) == list(range(len(models)))
    arranged = [models[place] for place in places]
    assert [len(list(group)) for _, group in groupby(arranged)] == [arranged.count(m) for m in dict.fromkeys(arranged)]
    for model in set(models):
        kept = [given_rooms[place] for place in places if models[place] == model]
        assert kept == sorted(kept, key=lambda room: (-room[0], room[1]))


def test_speed_tells_first_text_and_tokens_apart() -> None:
    speed = Speed()
    assert speed.predict(100) is None
    speed.add(3.0, 100, first_seconds=1.0)
    assert speed.predict(0) == 1.0
    assert speed.predict(200) == pytest.approx(5.0)
    # A whole answer: its time behind the known first text counts by the token.
    speed.add(5.0, 100, first_seconds=None)
    assert speed.predict(100) == pytest.approx(1.0 + 100 * (0.02 + 0.1 * 0.02))


def test_speed_without_tokens_is_the_time_it_took() -> None:
    speed = Speed()
    speed.add(2.0, 0, first_seconds=None)
    assert speed.predict(1000) == 2.0


SOURCE = Source(provider="openai", version=1, published=None)


def facts(name: str, dollars: str) -> ModelFacts:
    price = Prices(input=Decimal(dollars), output=Decimal(dollars))
    return ModelFacts(ref=ModelRef("openai", name), display_name=name, prices=price, source=SOURCE)


CATALOG = Catalog([facts("dear", "9"), facts("cheap", "1"), facts("middle", "3")], [SOURCE])

ORDERED = """
[[profiles.default.bindings]]
alias = "x"
models = ["openai:dear", "openai:middle", "openai:cheap"]
order = "%s"
weights = { "openai:middle" = 1000000 }
[providers.openai]
api_key_env = "TEST_KEY_A"
"""


async def asked(order: str, script: Mapping[str, Sequence[Step]], times: int) -> list[str]:
    provider = ScriptedProvider(script)
    async with open_router(lockfile(ORDERED % order), connect=provider, catalog=CATALOG, jitter=lambda: 0.5) as router:
        for _ in range(times):
            await router.chat("x", "hi")
    return [call.model for call in provider.calls]


ALL_GOOD: dict[str, Sequence[Step]] = {
    "dear": [answer("ok", after=1.0)],
    "middle": [answer("ok", after=3.0)],
    "cheap": [answer("ok", after=2.0)],
}


async def test_a_router_asks_the_cheapest_that_is_ready(autojump_clock: Clock) -> None:
    assert await asked("cheapest", ALL_GOOD, 2) == ["cheap", "cheap"]
    refused = {**ALL_GOOD, "cheap": [status(429, retry_after=60)]}
    assert await asked("cheapest", refused, 2) == ["cheap", "middle", "middle"]


async def test_a_router_measures_all_and_then_asks_the_fastest(autojump_clock: Clock) -> None:
    assert await asked("fastest", ALL_GOOD, 5) == ["dear", "middle", "cheap", "dear", "dear"]


async def test_a_router_spreads_by_weight(autojump_clock: Clock) -> None:
    assert await asked("spread", ALL_GOOD, 3) == ["middle", "middle", "middle"]
