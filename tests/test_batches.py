"""router.map through batch APIs, over real sockets: to the end, killed anywhere, expired, refused, left."""

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trio

from llmring.errors import BadRequest, ConfigError, InvalidRequest, LLMRingError, ServerFault, Unanswered, Unsupported
from llmring.lockfile import parse_lockfile
from llmring.router.batch import MapRun, Row
from llmring.router.opening import open_router
from llmring.router.router import Router
from llmring.sim.config import ProviderConfig, SimConfig
from llmring.sim.process import Simulator, running_simulator

MODELS = {"openai": "openai:gpt-4o-mini", "anthropic": "anthropic:claude-haiku-4-5", "google": "google:gemini-2.5-flash"}
every_provider = pytest.mark.parametrize("provider", MODELS)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIM_KEY", "sim-key")
    monkeypatch.delenv("LLMRING_PROFILE", raising=False)


def simulated(config: ProviderConfig = ProviderConfig()) -> SimConfig:  # noqa: B008 - frozen
    return SimConfig(providers=dict.fromkeys((*MODELS, "ollama"), config))


def lockfile(simulator: Simulator) -> str:
    urls = {
        "openai": simulator.openai_url("openai"),
        "anthropic": simulator.anthropic_url("anthropic"),
        "google": f"{simulator.url}/google",
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
