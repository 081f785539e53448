"""Arguments that cannot be meant: refused in one wording where they come in, before anything is sent."""

import copy
import enum
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
import trio.testing

from llmring.chat import ChatRequest, Message
from llmring.errors import BudgetExceeded, ConfigError, InvalidRequest, MissingKey
from llmring.lockfile import Budget
from llmring.router.map.rows import Row
from llmring.router.opening import open_router
from llmring.router.router import Router
from llmring.testing import ScriptedProvider, answer
from tests.router.test_map_caps import CHEAP, PRICED
from tests.router.test_receipting import receipts
from tests.router.world import CHAIN, collect, lockfile, world

Clock = trio.testing.MockClock
HALF = "a\ud800b"
"""What Python makes of a byte that is no UTF-8 is half of a pair like this one."""

WHOLE = ChatRequest(model="alone", messages=(Message(role="user", content="hi"),))

BY_CALL: dict[str, Callable[..., Any]] = {
    "chat": lambda router, **given: router.chat("alone", "hi", **given),
    "stream": lambda router, **given: router.stream("alone", "hi", **given).__aenter__(),
    "map": lambda router, **given: router.map("alone", ["hi"], **given).to_list(),
    "embed": lambda router, **given: router.embed("alone", ["hi"], **given),
}


async def made(result: object) -> None:
    """Wait for a call that has to be waited for."""
    if isinstance(result, Awaitable):
        await result


async def refused(call: Callable[[Router], Any]) -> str:
    """What is said of a call that sends nothing."""
    async with world({"first": [answer("ok")]}) as (router, provider):
        with pytest.raises(InvalidRequest) as caught:
            await made(call(router))
        assert provider.calls == []
    return str(caught.value)


@pytest.mark.parametrize("name", BY_CALL)
@pytest.mark.parametrize(
    ("tenant", "why"),
    [
        (42, "tenant must be text, not int"),
        (None, "tenant must be text, not NoneType"),
        (b"acme", "tenant must be text, not bytes"),
        (True, "tenant must be text, not bool"),
        (("acme",), "tenant must be text, not tuple"),
        (["acme"], "tenant must be text, not list"),
        (HALF, r"tenant must be text that UTF-8 can spell, not 'a\ud800b'"),
    ],
)
async def test_a_tenant_is_text(name: str, tenant: object, why: str) -> None:
    assert await refused(lambda router: BY_CALL[name](router, tenant=tenant)) == why


class Customer(enum.StrEnum):
    ACME = "acme"


class Named(str):
    __slots__ = ()


@pytest.mark.parametrize("tenant", [Customer.ACME, Named("acme"), "Müller & Söhne", "a\0b"])
async def test_any_text_is_a_tenant_and_its_receipt_is_read(tenant: str, tmp_path: Path, autojump_clock: Clock) -> None:
    provider, path = ScriptedProvider({"first": [answer("ok")]}), tmp_path / "ledger.db"
    async with open_router(lockfile(), connect=provider, receipts=path) as router:
        await router.chat("alone", "hi", tenant=tenant)
    (receipt,) = receipts(path)
    assert receipt.tenant == str.__str__(tenant)


@pytest.mark.parametrize("name", BY_CALL)
@pytest.mark.parametrize("profile", [5, ["default"], HALF])
async def test_a_profile_is_text(name: str, profile: object) -> None:
    assert (await refused(lambda router: BY_CALL[name](router, profile=profile))).startswith("profile must be text")


@pytest.mark.parametrize(
    "call",
    [
        lambda router: router.chat(None, "hi"),
        lambda router: router.stream(None, "hi"),
        lambda router: router.embed(None, ["hi"]),
        lambda router: router.estimate(None, "hi"),
        lambda router: router.validate_context_limit(None, "hi"),
        lambda router: router.map(None, ["hi"]),
        lambda router: router.chat(msgspec.structs.replace(WHOLE, model=None)),
    ],
)
async def test_a_model_is_text(call: Callable[[Router], Any]) -> None:
    assert (await refused(call)).partition(" ")[2] == "must be text, not NoneType"


@pytest.mark.parametrize("name", ["chat", "stream", "map"])
@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"system": 5}, "system must be text, not int"),
        ({"stop": 5}, "stop must be a list of texts, not int"),
        ({"stop": ["a", 5]}, "stop, number 2, must be text, not int"),
        ({"files": 5}, "files must be a list of texts, not int"),
        ({"files": "a"}, "files must be a list of texts, not str"),
        ({"files": [5]}, "files, number 1, must be text, not int"),
    ],
)
async def test_options_that_are_lists_hold_texts(name: str, options: dict[str, Any], why: str) -> None:
    assert await refused(lambda router: BY_CALL[name](router, **options)) == why


@pytest.mark.parametrize("name", ["chat", "stream", "map"])
@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"weight": "a"}, "weight must be a number above 0, not 'a'"),
        ({"weight": 0}, "weight must be a number above 0, not 0"),
        ({"weight": float("inf")}, "weight must be a number above 0, not inf"),
        ({"weight": True}, "weight must be a number above 0, not True"),
        ({"priority": "bulk"}, "priority must be one of 'interactive', 'batch', not 'bulk'"),
        ({"priority": []}, "priority must be one of 'interactive', 'batch', not []"),
        ({"timeout": "30"}, "timeout must be a positive number of seconds, not '30'"),
        ({"timeout": True}, "timeout must be a positive number of seconds, not True"),
    ],
)
async def test_a_turn_and_a_time_are_what_they_can_be(name: str, options: dict[str, Any], why: str) -> None:
    assert await refused(lambda router: BY_CALL[name](router, **options)) == why


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (
            lambda router: router.stream("alone", "hi", on_break="restrat"),
            "on_break must be one of 'error', 'restart', not 'restrat'",
        ),
        (lambda router: router.embed("alone", 5), "texts is a list of texts, not int"),
        (
            lambda router: router.embed("alone", ["hi"], timeout="a"),
            "timeout must be a positive number of seconds, not 'a'",
        ),
        (lambda router: router.embed("alone", ["hi"], dimensions=1.5), "dimensions must be a whole number, not float"),
        (lambda router: router.embed("alone", ["hi"], dimensions=0), "dimensions must be at least 1, not 0"),
    ],
)
async def test_options_of_one_call_are_what_they_can_be(call: Callable[[Router], Any], why: str) -> None:
    assert await refused(call) == why


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"window": "a"}, "window must be a whole number, not str"),
        ({"window": 1.5}, "window must be a whole number, not float"),
        ({"window": 0}, "window must be at least 1 row, not 0"),
        ({"max_failures": "1"}, "max_failures must be a whole number, not str"),
        ({"max_failures": True}, "max_failures must be a whole number, not bool"),
        ({"max_failures": -1}, "max_failures must be at least 0, not -1"),
        ({"deadline": "30m"}, "deadline must be a positive number of seconds, not '30m'"),
        ({"deadline": 0}, "deadline must be a positive number of seconds, not 0"),
        ({"checkpoint": 5}, "checkpoint must be a path, not int"),
        ({"key": 5}, "key must be a function, not int"),
        ({"spill": []}, "spill must be one of 'auto', 'on_failure', 'never', not []"),
        ({"mode": "bacth"}, "mode must be one of 'online', 'batch', 'auto', not 'bacth'"),
        ({"on_error": "yeild"}, "on_error must be one of 'yield', 'raise', 'skip', not 'yeild'"),
        ({"on_error": None}, "on_error must be one of 'yield', 'raise', 'skip', not None"),
        ({"on_error": 5}, "on_error must be one of 'yield', 'raise', 'skip', not 5"),
        ({"budget": (1,)}, "budget must be dollars, not (1,)"),
        ({"adopt": 5}, "adopt must be a dictionary, not int"),
        ({"adopt": {5: "x"}, "mode": "auto"}, "a tag of adopt must be text, not int"),
        ({"adopt": {"run-1": 5}, "mode": "auto"}, "the id that adopt has for 'run-1' must be text, not int"),
        (
            {"adopt": {"run-1": None}},
            "adopt names batches that were lost, and they are read with mode='batch' or mode='auto'",
        ),
    ],
)
async def test_options_of_a_map_are_what_they_can_be(options: dict[str, Any], why: str) -> None:
    assert await refused(lambda router: router.map("alone", ["hi"], **options)) == why


@pytest.mark.parametrize(
    ("key", "why"),
    [
        (5, "the key of a row must be text, not int"),
        (HALF, r"the key of a row must be text that UTF-8 can spell, not 'a\ud800b'"),
    ],
)
async def test_a_key_of_a_row_is_text(key: Any, why: str, tmp_path: Path) -> None:
    run = tmp_path / "run.jsonl"
    assert await refused(lambda router: router.map("alone", ["hi"], key=lambda _: key, checkpoint=run).to_list()) == why


async def test_a_map_of_no_iterable_is_refused() -> None:
    prompts: Any = 5
    assert await refused(lambda router: router.map("alone", prompts)) == "map takes an iterable of prompts, not int"


# What a function answers for a failed row.

BROKEN: list[Any] = ["a", 5, "b", []]


async def test_a_function_that_answers_nothing_drops_no_row(autojump_clock: Clock) -> None:
    seen: list[int] = []
    async with world({"first": [answer("ok")]}) as (router, _):
        run = router.map("alone", BROKEN, on_error=lambda row: seen.append(row.index))
        rows, error = await collect(run)
    assert error is None
    assert sorted(row.index for row in rows) == [0, 1, 2, 3]
    assert sorted(seen) == [1, 3]


@pytest.mark.parametrize("said", ["yeild", 5, True, []])
async def test_a_word_that_is_none_ends_the_run_and_loses_no_row(said: Any, autojump_clock: Clock) -> None:
    async with world({"first": [answer("ok", after=1.0)]}) as (router, provider):
        run = router.map("alone", [*BROKEN, *(f"row {number}" for number in range(500))], on_error=lambda _: said)
        rows, error = await collect(run)
    assert isinstance(error, InvalidRequest)
    assert str(error) == (
        f"on_error answered {said!r}: it must answer one of 'yield', 'raise', 'skip', or None for 'yield'"
    )
    # What was on the wire came first, and nothing was sent after that.
    assert 1 in [row.index for row in rows if not row.ok]
    assert len(provider.calls) == sum(row.ok for row in rows) < 300


async def test_a_word_that_is_none_is_heard_when_all_rows_have_ended(autojump_clock: Clock) -> None:
    said: Any = "yeild"
    async with (
        world({"first": [answer("ok")]}) as (router, _),
        router.map("alone", [*BROKEN[:2]], on_error=lambda _: said) as run,
    ):
        await trio.sleep(60.0)
        rows = [await anext(run), await anext(run)]
        with pytest.raises(InvalidRequest, match="on_error answered 'yeild'"):
            await anext(run)
    assert [row.ok for row in sorted(rows, key=lambda row: row.index)] == [True, False]


async def test_a_function_decides_for_each_row(autojump_clock: Clock) -> None:
    def choose(row: Row) -> Any:
        return "skip" if row.index == 1 else "yield"

    async with world({"first": [answer("ok")]}) as (router, _):
        rows, error = await collect(router.map("alone", BROKEN, on_error=choose))
    assert error is None
    assert sorted(row.index for row in rows) == [0, 2, 3]


# Opening a router.


async def opened(text: str = CHAIN, **given: Any) -> None:
    provider = ScriptedProvider({name: [answer("ok")] for name in ("first", CHEAP)})
    async with open_router(lockfile(text), connect=provider, **given) as router:
        await router.chat("alone", "hi", max_tokens=5)


def of(**given: Any) -> list[Budget]:
    return [Budget(**{"name": "x", "limit": "0", "per": "day", **given})]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"grace": -1}, "grace must be a number of seconds from 0 on, not -1"),
        ({"grace": "x"}, "grace must be a number of seconds from 0 on, not 'x'"),
        ({"grace": None}, "grace must be a number of seconds from 0 on, not None"),
        ({"timeout": 0}, "timeout must be a positive number of seconds, not 0"),
        ({"timeout": "5"}, "timeout must be a positive number of seconds, not '5'"),
        ({"profile": 5}, "profile must be text, not int"),
        ({"receipts": 5}, "receipts must be a path, not int"),
        ({"decisions": True}, "decisions must be a path, not bool"),
        ({"state": 5}, "state must be a path, not int"),
        ({"status": 1.5}, "status must be a path, not float"),
        ({"budgets": "5"}, "budgets must be a list of Budgets, not str"),
        ({"budgets": 5}, "budgets must be a list of Budgets, not int"),
        ({"budgets": None}, "budgets must be a list of Budgets, not NoneType"),
        ({"budgets": of()[0]}, "budgets must be a list of Budgets, not Budget"),
        ({"budgets": {"x": of()[0]}}, "budgets must be a list of Budgets, not dict"),
        ({"budgets": [5]}, "budgets must be a list of Budgets, and number 1 is 5"),
        ({"budgets": [*of(), {"name": "y"}]}, "budgets must be a list of Budgets, and number 2 is a table"),
        (
            {"budgets": of(alias="alon")},
            "budget 'x': there is no alias 'alon', so nothing would be held back: did you mean 'alone'?",
        ),
        (
            {"budgets": of(profile="prod")},
            "budget 'x': there is no profile 'prod', so nothing would be held back: known: 'default'",
        ),
        ({"keys": 5}, "keys must be a dictionary by the names of variables, not int"),
        ({"keys": {5: "sk-canary"}}, "a name in keys must be text, not int"),
        ({"keys": {"TEST_KEY_A": None}}, "keys['TEST_KEY_A'] must be text, not NoneType"),
        ({"keys": {"openai": "sk-canary"}}, "keys are by the names of variables: 'TEST_KEY_A', not 'openai'"),
        ({"keys": {"groq": "sk-canary"}}, "keys are by the names of variables: 'GROQ_API_KEY', not 'groq'"),
    ],
)
async def test_a_router_is_not_opened_with_what_cannot_be_meant(given: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        await opened(**given)
    assert str(caught.value) == why


@pytest.mark.parametrize("grace", [0, 0.0, float("inf"), 5])
async def test_grace_is_any_time_and_none(grace: float) -> None:
    await opened(grace=grace)


async def test_a_path_is_no_text() -> None:
    with pytest.raises(ConfigError, match="lockfile must be a path, not int"):
        async with open_router(5):  # type: ignore[arg-type]  # on purpose
            raise AssertionError("it was opened")


@pytest.mark.parametrize("alias", ["alone", "*", None])
async def test_a_budget_of_what_is_there_holds(alias: str | None, autojump_clock: Clock) -> None:
    with pytest.raises(BudgetExceeded):
        await opened(PRICED, budgets=iter(of(alias=alias)))
    await opened(PRICED, budgets=of(alias="openai:first"))


async def test_an_edited_lockfile_must_have_what_the_programs_budgets_name(
    autojump_clock: Clock, tmp_path: Path
) -> None:
    """As it must for its own: else the budget would hold nothing back from then on."""
    path = tmp_path / "llmring.lock"
    path.write_text(PRICED)
    provider = ScriptedProvider({CHEAP: [answer("ok")]})
    async with open_router(path, connect=provider, budgets=of(alias="alone")) as router:
        path.write_text(PRICED.replace('alias = "alone"', 'alias = "only"'))
        await trio.sleep(2.0)
        assert str(router.status().lockfile_error).startswith("budget 'x': there is no alias 'alone'")
        with pytest.raises(BudgetExceeded):
            await router.chat("alone", "hi", max_tokens=5)
        path.write_text(PRICED + '\n[[profiles.dev.bindings]]\nalias = "more"\nmodels = "openai:first"\n')
        await trio.sleep(2.0)
        assert router.status().lockfile_error is None
        with pytest.raises(BudgetExceeded):
            await router.chat("alone", "hi", max_tokens=5)
        assert provider.calls == []


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"alias": ""}, "budget 'x': alias must be a name, or '*' for each its own, not ''"),
        ({"profile": ""}, "budget 'x': profile must be a name, or '*' for each its own, not ''"),
        ({"alias": 5}, "budget 'x': alias must be text, not int"),
        ({"tenant": 42}, "budget 'x': tenant must be text, not int"),
        ({"tenant": HALF}, r"budget 'x': tenant must be text that UTF-8 can spell, not 'a\ud800b'"),
        ({"name": 5}, "the name of a budget must be text, not int"),
        ({"name": ""}, "a budget needs a name, not ''"),
    ],
)
def test_a_budget_in_code_has_names_that_can_be(given: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        of(**given)
    assert str(caught.value) == why


def test_the_tenant_without_a_name_has_a_budget_too() -> None:
    assert of(tenant="")[0].tenant == ""


async def test_keys_that_lack_one_say_that_the_environment_does_not_count(autojump_clock: Clock) -> None:
    """Though TEST_KEY_A is set there; what nobody needs may be among them, as there."""
    with pytest.raises(MissingKey) as caught:
        await opened(keys={"TEST_KEY_B": "key", "HOME": "/root"})
    assert str(caught.value) == ("no key for openai: `keys`, which stands in for the environment, has no TEST_KEY_A")
    again = copy.copy(caught.value)
    assert str(again) == str(caught.value)
    await opened(keys={"TEST_KEY_A": "key", "openai": "key"})
