"""router.map through batch APIs, over real sockets: to the end, killed anywhere, expired, refused, left."""

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trio

from llmring.chat import JSONSchema
from llmring.errors import BadRequest, ConfigError, InvalidRequest, LLMRingError, ServerFault, Unanswered, Unsupported
from llmring.lockfile import parse_lockfile
from llmring.prompts import to_request
from llmring.providers.errands import Errand
from llmring.router.map.batch_plan import MOST_ROWS, Mode
from llmring.router.map.run import MapRun
from llmring.router.opening import open_router
from llmring.router.router import Router
from llmring.sim.config import ProviderConfig, SimConfig
from llmring.sim.process import Simulator, running_simulator

MODELS = {
    "openai": "openai:gpt-4o-mini",
    "anthropic": "anthropic:claude-haiku-4-5",
    "google": "google:gemini-2.5-flash",
}
BATCHED: Sequence[Mode] = ("batch", "auto")
every_mode = pytest.mark.parametrize("mode", BATCHED)
every_provider = pytest.mark.parametrize("provider", MODELS)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIM_KEY", "sim-key")
    monkeypatch.delenv("LLMRING_PROFILE", raising=False)


def simulated(config: ProviderConfig = ProviderConfig()) -> SimConfig:  # noqa: B008 - frozen
    return SimConfig(providers=dict.fromkeys((*MODELS, "ollama"), config))


SLOW = simulated(ProviderConfig(batch_seconds=30.0))


def lockfile(simulator: Simulator) -> str:
    urls = {
        "openai": simulator.openai_url("openai"),
        "anthropic": simulator.anthropic_url("anthropic"),
        "google": f"{simulator.url}/google",
        "ollama": f"{simulator.url}/ollama",
    }
    return "".join(f'[providers.{name}]\nbase_url = "{url}"\napi_key_env = "SIM_KEY"\n' for name, url in urls.items())


@asynccontextmanager
async def routed(simulator: Simulator) -> AsyncGenerator[Router]:
    async with open_router(parse_lockfile(lockfile(simulator), Path("sim.lock"))) as router:
        yield router


async def stats(simulator: Simulator, provider: str, model: str) -> dict[str, Any]:
    async with httpx2.AsyncClient() as client:
        answer = (await client.get(f"{simulator.url}/__stats")).json()
    (models,) = [key["models"] for key in answer["providers"][provider]["keys"].values()]
    counts: dict[str, Any] = models[model]
    return counts


@every_provider
async def test_rows_come_back_from_a_batch_at_half_the_price(tmp_path: Path, provider: str) -> None:
    model, path = MODELS[provider], tmp_path / "run.jsonl"
    prompts = [f"tell me about {number}" for number in range(20)]
    with running_simulator(simulated()) as simulator:
        async with routed(simulator) as router:
            rows = await router.map(model, prompts, mode="batch", checkpoint=path).to_list()
            online = await router.chat(model, prompts[3])
        counts = await stats(simulator, *model.split(":"))
    assert counts["batch_rows"] == {"answered": 20}
    assert counts["received"] == 1
    response = rows[3].response
    assert response is not None and response.cost.usd is not None and online.cost.usd is not None
    assert (response.content, response.usage, response.model) == (online.content, online.usage, online.model)
    assert response.cost.usd == online.cost.usd / 2
    assert [str(note) for note in response.notes] == ["cost changed: half of the online price: answered in a batch"]
    lines = [json.loads(line) for line in path.read_text().splitlines()[1:]]
    assert [next(iter(line)) for line in lines] == ["batch", "batch", *["key"] * 20, "batch"]
    assert lines[-1]["batch"]["end"] == "ended"


def is_handed_in(path: Path) -> bool:
    return '"id"' in path.read_text()


async def leave_when_handed_in(run: MapRun, path: Path) -> None:
    """Begin a run, and leave it as soon as the id of its batch is in the journal."""
    async with run:
        with trio.fail_after(20):
            handed_in = False
            while not handed_in:
                await trio.lowlevel.checkpoint()
                handed_in = is_handed_in(path)


def without_id(path: Path) -> str:
    """What a process leaves that was killed before it wrote the id; and the id, which the provider knows."""
    head, begun, known, *_ = path.read_text().splitlines(keepends=True)
    told = json.loads(begun)["batch"]
    # Long enough ago for the provider's list to be complete.
    path.write_text(head + json.dumps({"batch": {**told, "at": "2025-01-01T00:00:00Z"}}) + "\n")
    return str(json.loads(known)["batch"]["id"])


def tag_of(path: Path) -> str:
    return str(json.loads(path.read_text().splitlines()[1])["batch"]["tag"])


@every_provider
async def test_a_batch_that_was_left_is_read_by_the_next_run(tmp_path: Path, provider: str) -> None:
    model, path = MODELS[provider], tmp_path / "run.jsonl"
    prompts = [f"tell me about {number}" for number in range(20)]
    with running_simulator(simulated(ProviderConfig(batch_seconds=1.0))) as simulator:
        async with routed(simulator) as router:
            await leave_when_handed_in(router.map(model, prompts, mode="batch", checkpoint=path), path)
        async with routed(simulator) as router:
            with pytest.raises(ConfigError, match="20 rows in batches that are on their way"):
                await router.map(model, prompts, checkpoint=path).to_list()
            run = router.map(model, ["another", *prompts], mode="auto", checkpoint=path)
            rows = await run.to_list()
            assert all(row.ok for row in rows)
            again = router.map(model, prompts, checkpoint=path)
            assert all(row.resumed for row in await again.to_list())
        counts = await stats(simulator, *model.split(":"))
    assert (counts["batch_rows"], counts["received"]) == ({"answered": 21}, 0)


@pytest.mark.parametrize("provider", ["openai", "google"])
async def test_a_batch_whose_id_was_lost_is_found_by_its_tag(tmp_path: Path, provider: str) -> None:
    model, path = MODELS[provider], tmp_path / "run.jsonl"
    with running_simulator(simulated(ProviderConfig(batch_seconds=0.3))) as simulator:
        async with routed(simulator) as router:
            await leave_when_handed_in(router.map(model, ["a", "b"], mode="batch", checkpoint=path), path)
        without_id(path)
        async with routed(simulator) as router:
            rows = await router.map(model, ["a", "b"], mode="batch", checkpoint=path).to_list()
        counts = await stats(simulator, *model.split(":"))
    assert [row.ok for row in rows] == [True, True]
    assert counts["batch_rows"] == {"answered": 2}


async def test_where_batches_have_no_tags_nothing_is_sent_until_its_owner_has_looked(tmp_path: Path) -> None:
    model, path = MODELS["anthropic"], tmp_path / "run.jsonl"
    with running_simulator(simulated(ProviderConfig(batch_seconds=0.3))) as simulator:
        async with routed(simulator) as router:
            await leave_when_handed_in(router.map(model, ["a", "b"], mode="batch", checkpoint=path), path)
        batch_id = without_id(path)
        async with routed(simulator) as router:
            for mode in BATCHED:
                with pytest.raises(ConfigError, match=r"a batch of 2 rows .*\(--adopt run-\w+=ID\)"):
                    await router.map(model, ["a", "b"], mode=mode, checkpoint=path).to_list()
            with pytest.raises(ConfigError, match="has no open batch 'other'"):
                await router.map(model, ["a"], mode="batch", checkpoint=path, adopt={"other": None}).to_list()
            adopt = {tag_of(path): batch_id}
            rows = await router.map(model, ["a", "b"], mode="batch", checkpoint=path, adopt=adopt).to_list()
        counts = await stats(simulator, *model.split(":"))
    assert [row.ok for row in rows] == [True, True]
    assert counts["batch_rows"] == {"answered": 2}


@every_provider
async def test_a_batch_that_was_never_made_is_handed_in(tmp_path: Path, provider: str) -> None:
    model, path = MODELS[provider], tmp_path / "run.jsonl"
    with running_simulator(simulated()) as simulator, running_simulator(SLOW) as other:
        async with routed(other) as router:
            await leave_when_handed_in(router.map(model, ["a", "b"], mode="batch", checkpoint=path), path)
        without_id(path)
        adopt = {tag_of(path): None} if provider == "anthropic" else {}
        async with routed(simulator) as router:
            rows = await router.map(model, ["a", "b"], mode="batch", checkpoint=path, adopt=adopt).to_list()
        counts = await stats(simulator, *model.split(":"))
    assert [row.ok for row in rows] == [True, True]
    assert counts["batch_rows"] == {"answered": 2}


async def test_a_batch_that_its_provider_does_not_know_is_not_paid_for_again(tmp_path: Path) -> None:
    model, path = MODELS["openai"], tmp_path / "run.jsonl"
    with running_simulator(simulated()) as simulator, running_simulator(SLOW) as other:
        async with routed(other) as router:
            await leave_when_handed_in(router.map(model, ["a"], mode="batch", checkpoint=path), path)
        async with routed(simulator) as router:
            with pytest.raises(LLMRingError, match=r"cannot be read .* Its 1 rows are not asked again"):
                await router.map(model, ["a"], mode="auto", checkpoint=path).to_list()
            rows = await router.map(model, ["a"], mode="auto", checkpoint=path, adopt={tag_of(path): None}).to_list()
    assert rows[0].ok


@every_provider
@every_mode
async def test_rows_that_expired_go_online_or_fail(tmp_path: Path, provider: str, mode: Mode) -> None:
    model, path = MODELS[provider], tmp_path / "run.jsonl"
    prompts = [f"tell me about {number}" for number in range(8)]
    with running_simulator(simulated(ProviderConfig(batch_expired_share=0.25))) as simulator:
        async with routed(simulator) as router:
            run = router.map(model, prompts, mode=mode, checkpoint=path)
            rows = await run.to_list()
            counts = await stats(simulator, *model.split(":"))
            assert counts["batch_rows"] == {"answered": 6, "expired": 2}
            if mode == "auto":
                assert all(row.ok for row in rows)
                assert counts["received"] == 2
                return
            failed = [row.error for row in rows if not row.ok]
            assert [type(error) for error in failed] == [Unanswered, Unanswered]
            assert counts["received"] == 0
            rest = await router.map(model, prompts, mode="auto", checkpoint=path).to_list()
            assert sum(row.resumed for row in rest) == 6


@every_mode
async def test_rows_that_failed_in_a_batch_are_tried_online_where_that_may_help(tmp_path: Path, mode: Mode) -> None:
    path = tmp_path / "run.jsonl"
    bindings = '[[profiles.default.bindings]]\nalias = "chain"\n'
    bindings += 'models = ["openai:gpt-4o-mini+status_500", "anthropic:claude-haiku-4-5"]\n'
    with running_simulator(simulated()) as simulator:
        text = bindings + lockfile(simulator)
        async with open_router(parse_lockfile(text, Path("sim.lock"))) as router:
            run = router.map("chain", ["a", "b"], mode=mode, checkpoint=path)
            rows = await run.to_list()
    if mode == "auto":
        assert [str(row.response.model) for row in rows if row.response] == ["anthropic:claude-haiku-4-5"] * 2
    else:
        assert [type(row.error) for row in rows] == [ServerFault, ServerFault]


@every_mode
async def test_a_batch_that_is_refused_as_a_whole_gives_its_rows_back(tmp_path: Path, mode: Mode) -> None:
    """OpenAI reads the file first: a row of another model fails all."""
    model, path = MODELS["openai"], tmp_path / "run.jsonl"
    with running_simulator(simulated()) as simulator:
        async with routed(simulator) as router:
            asked = [to_request(model, "a"), to_request(model, "b", extra_params={"model": "gpt-sim"})]
            run = router.map(model, asked, mode=mode, checkpoint=path)
            rows = await run.to_list()
    assert [row.ok for row in rows] == [mode == "auto"] * 2
    if mode == "batch":
        assert [type(row.error) for row in rows] == [BadRequest, BadRequest]
    assert json.loads(path.read_text().splitlines()[3])["batch"]["end"] == "failed"


@every_provider
async def test_a_batch_that_is_cancelled_at_its_provider_gives_back_what_it_has(tmp_path: Path, provider: str) -> None:
    model, path = MODELS[provider], tmp_path / "run.jsonl"
    with running_simulator(simulated(ProviderConfig(batch_seconds=30.0))) as simulator:
        async with routed(simulator) as router:
            await leave_when_handed_in(router.map(model, ["a", "b"], mode="batch", checkpoint=path), path)
            batch_id = json.loads(path.read_text().splitlines()[2])["batch"]["id"]
            desk = router.dispatcher.crew(provider).first.desk
            assert desk is not None
            await router.dispatcher.crew(provider).first._call(
                desk.batches.cancel(batch_id), Errand(kind="batch_discard", batch=batch_id)
            )
            with trio.fail_after(60):
                rows = await router.map(model, ["a", "b"], mode="auto", checkpoint=path).to_list()
        counts = await stats(simulator, *model.split(":"))
    assert [row.ok for row in rows] == [True, True]
    assert counts["batch_rows"].get("answered", 0) + counts["received"] == 2


async def test_what_a_batch_cannot_carry_goes_online_or_fails(tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("a note")
    with running_simulator(simulated()) as simulator:
        async with routed(simulator) as router:
            file_id = router.register_file(notes)
            asked = [to_request(MODELS["openai"], "a", files=[file_id]), to_request("ollama:llama3", "b")]
            for mode in BATCHED:
                run = router.map(MODELS["openai"], asked, mode=mode, checkpoint=tmp_path / "run.jsonl")
                rows = await run.to_list()
                assert [type(row.error) for row in rows if not row.ok] == [Unsupported] * (2 * (mode == "batch"))


async def test_an_answer_is_checked_against_its_schema(tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    with running_simulator(simulated()) as simulator:
        async with routed(simulator) as router:
            for provider, model in MODELS.items():
                wanted = JSONSchema(schema=schema)
                path = tmp_path / f"{provider}.jsonl"
                run = router.map(model, ["a"], mode="batch", checkpoint=path, response_format=wanted)
                (row,) = await run.to_list()
                assert row.response is not None
                assert row.response.parsed.keys() == {"city"}


async def test_what_is_kept_at_the_provider_is_deleted_when_it_is_read(tmp_path: Path) -> None:
    model = MODELS["openai"]
    with running_simulator(simulated()) as simulator:
        async with routed(simulator) as router:
            await router.map(model, ["a"], mode="batch", checkpoint=tmp_path / "run.jsonl").to_list()
        async with httpx2.AsyncClient(headers={"authorization": "Bearer sim-key"}) as client:
            files = (await client.get(f"{simulator.openai_url('openai')}/files")).json()
    assert files["data"] == []


async def test_a_batch_needs_a_journal_and_a_mode_has_a_name(tmp_path: Path) -> None:
    with running_simulator(simulated()) as simulator:
        async with routed(simulator) as router:
            with pytest.raises(InvalidRequest, match="mode='auto' needs a checkpoint"):
                router.map(MODELS["openai"], ["a"], mode="auto")
            with pytest.raises(InvalidRequest, match="mode must be one of 'online', 'batch', 'auto'"):
                router.map(MODELS["openai"], ["a"], mode="fast", checkpoint=tmp_path / "x")  # type: ignore[arg-type]


async def test_rows_are_divided_into_batches_of_ten_thousand(tmp_path: Path) -> None:
    model = MODELS["anthropic"]
    with running_simulator(simulated()) as simulator:
        async with routed(simulator) as router:
            prompts = (f"row {number}" for number in range(MOST_ROWS + 10))
            async with router.map(model, prompts, mode="batch", checkpoint=tmp_path / "run.jsonl") as run:
                answered = sorted([row.index async for row in run if row.ok])
        counts = await stats(simulator, *model.split(":"))
    assert answered == list(range(MOST_ROWS + 10))
    assert counts["batch_rows"] == {"answered": MOST_ROWS + 10}
    ends = [line for line in (tmp_path / "run.jsonl").read_text().splitlines() if '"end"' in line]
    assert len(ends) == 2
