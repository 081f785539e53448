"""Simulated providers on virtual time: what they charge, what they refuse, what they say, and what befalls them.

They stand in for the connections alone, like llmring.testing's scripted provider: codecs, limits, breakers, failover
and map are the real ones. A request needs up to 200 ms to arrive, each its own time, so requests overtake one another.
"""

import json
import math
import random
from collections.abc import Mapping
from typing import Any, Literal, assert_never

import msgspec
import trio

from bench.simulate.windows import PERIOD_SECONDS, Counting, Window, daily, window
from llmring.codecs.codec import HttpCall
from llmring.errors import Dimension
from llmring.lockfile.providers import Kind
from llmring.testing_wires import Step, spoken_by

UPLINK_SECONDS = 0.2
CHARACTERS_PER_TOKEN = 4

Charge = Literal["chars/4", "in + max_tokens", "in and out apart", "input", "actual"]
"""What counts against the limits of tokens: the estimated prompt; that and the caller's max_tokens; the prompt at
admission and the answer behind it, each against its own limit; the prompt alone; the prompt and, behind it, the answer.
"""

Said = Literal["exact", "rounded", "milliseconds", "nothing"]
"""What replies say of the limits: all, remaining tokens to a thousand, resets as bare milliseconds, nothing."""


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """What befalls a provider from `at` on, for so many seconds: it answers every request (or the `share` of them) with
    a fault, ten times slower, or not at all; another program takes a `share` of its limits; the limits change to a
    `share` of what they are."""

    kind: Literal["500", "529", "slow", "hang", "foreign", "limit"]
    at: float = 0.0
    seconds: float = math.inf
    share: float = 1.0

    def is_on(self, now: float) -> bool:
        return self.at <= now < self.at + self.seconds


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """A provider as it is. `limits` are per minute (the day's per day); latency is lognormal, `latency` its median."""

    name: str
    kind: Kind = "openai"
    model: str = "gpt-4o-mini"
    limits: dict[Dimension, float]
    counting: Counting = "continuous"
    charge: Charge = "chars/4"
    said: Said = "exact"
    names_delay: bool = True
    latency: float = 1.0
    sigma: float = 0.4
    output_tokens: float = 100.0
    incidents: tuple[Incident, ...] = ()


class Counts(msgspec.Struct, kw_only=True):
    """What a provider saw. `last_latency` is that of the newest answer, in seconds; `admitted_at` when each was."""

    arrived: int = 0
    refused: int = 0
    admitted: int = 0
    foreign: int = 0
    answered: int = 0
    last_latency: float = 0.0
    refused_at: list[float] = []
    admitted_at: list[float] = []
    taken: dict[Dimension, float] = {}


class LiveProvider:
    """A provider at work. `random` draws its latencies and answers."""

    def __init__(self, about: Provider, chance: random.Random) -> None:
        self.about = about
        self.chance = chance
        self.counts = Counts()
        self.windows: dict[Dimension, Window] = {
            dimension: daily(amount) if dimension == "day" else window(about.counting, amount)
            for dimension, amount in about.limits.items()
        }

    async def live(self) -> None:
        """Let happen what is not an answer to a request: limits that change, another program."""
        async with trio.open_nursery() as nursery:
            for incident in self.about.incidents:
                if incident.kind == "limit":
                    nursery.start_soon(self._change_limits, incident)
                elif incident.kind == "foreign":
                    nursery.start_soon(self._consume, incident)

    async def _change_limits(self, incident: Incident) -> None:
        await trio.sleep_until(incident.at)
        now = trio.current_time()
        for dimension, limit in self.windows.items():
            limit.resize(self.about.limits[dimension] * incident.share, now)

    async def _consume(self, incident: Incident) -> None:
        """Another program with the same key: its requests are of our size, at moments of their own."""
        await trio.sleep_until(incident.at)
        while True:
            wanted: dict[Dimension, float] = {dimension: self._mean(dimension) for dimension in self.windows}
            each = max(PERIOD_SECONDS * wanted[dimension] / limit.amount for dimension, limit in self.windows.items())
            await trio.sleep(self.chance.expovariate(incident.share / each))
            now = trio.current_time()
            if all(self.windows[dimension].left(now) >= amount for dimension, amount in wanted.items()):
                self.counts.foreign += 1
                for dimension, amount in wanted.items():
                    self.windows[dimension].take(amount, now)

    def as_it_was(self) -> Provider:
        """With the share that another program really got."""
        binding = max(self._mean(dimension) / limit.amount for dimension, limit in self.windows.items())
        share = self.counts.foreign * binding * PERIOD_SECONDS / trio.current_time()
        incidents = tuple(
            msgspec.structs.replace(incident, share=share) if incident.kind == "foreign" else incident
            for incident in self.about.incidents
        )
        return msgspec.structs.replace(self.about, incidents=incidents)

    def _mean(self, dimension: Dimension) -> float:
        """What one of our requests takes, as far as it is known."""
        if dimension in ("requests", "day"):
            return 1.0
        return self.counts.taken.get(dimension, 0.0) / max(1, self.counts.admitted)

    def befallen(self, kind: str) -> bool:
        now = trio.current_time()
        return any(
            incident.kind == kind and incident.is_on(now) and self.chance.random() < incident.share
            for incident in self.about.incidents
        )

    def wanted(self, characters: int, max_tokens: int) -> dict[Dimension, float]:
        """What a request is charged when it comes."""
        estimate = math.ceil(characters / CHARACTERS_PER_TOKEN)
        charged: dict[Dimension, float] = {"requests": 1.0, "day": 1.0}
        match self.about.charge:
            case "chars/4":
                charged["tokens"] = estimate
            case "in + max_tokens":
                charged["tokens"] = estimate + max_tokens
            case "in and out apart":
                charged |= {"input": self.actual_input(estimate), "output": 0.0}
            case "input":
                charged |= {"tokens": self.actual_input(estimate), "input": self.actual_input(estimate)}
            case "actual":
                charged["tokens"] = self.actual_input(estimate)
            case _:
                assert_never(self.about.charge)
        return charged

    @staticmethod
    def actual_input(estimate: int) -> float:
        """A vocabulary's count differs from a quarter of the characters, the same for the same text."""
        return max(1.0, round(estimate * (0.95 + (estimate * 7919 % 101) / 1010)))

    def admit(self, wanted: Mapping[Dimension, float], now: float) -> Dimension | None:
        """Charge a request, or name the limit that refuses it."""
        self.counts.arrived += 1
        for dimension, limit in self.windows.items():
            left = limit.left(now)
            if left < wanted[dimension] - 1e-6 or left <= 0.0:
                self.counts.refused += 1
                self.counts.refused_at.append(now)
                return dimension
        for dimension in self.windows:
            self.take(dimension, wanted[dimension], now)
        self.counts.admitted += 1
        self.counts.admitted_at.append(now)
        return None

    def take(self, dimension: Dimension, amount: float, now: float) -> None:
        self.windows[dimension].take(amount, now)
        self.counts.taken[dimension] = self.counts.taken.get(dimension, 0.0) + amount

    def charge_output(self, tokens: int) -> None:
        """What is charged behind the answer."""
        dimension: Dimension | None = {"in and out apart": "output", "actual": "tokens"}.get(self.about.charge)  # type: ignore[assignment]
        if dimension in self.windows:
            self.take(dimension, float(tokens), trio.current_time())

    def headers(self, now: float) -> dict[str, str]:
        """The limits as they are now, in the provider's own dialect."""
        if self.about.said == "nothing":
            return {}
        said: dict[str, str] = {}
        for dimension, limit in self.windows.items():
            left = max(0.0, limit.left(now))
            if self.about.said == "rounded" and dimension != "requests":
                left = round(left, -3)
            said |= _spelled(self.about.kind, dimension, limit.amount, left, milliseconds=self.about.said != "exact")
        return said

    def refusal(self, dimension: Dimension, wanted: Mapping[Dimension, float], now: float) -> Step:
        """A 429, and when to come again."""
        wait = self.windows[dimension].wait(max(1.0, wanted[dimension]), now)
        unit = {"requests": "requests per min (RPM)", "day": "requests per day (RPD)"}.get(dimension)
        message = f"Rate limit reached on {unit or 'tokens per min (TPM)'}: Limit {self.windows[dimension].amount:g}"
        body: dict[str, Any] = {"error": {"message": message, "type": "requests", "code": "rate_limit_exceeded"}}
        if self.about.kind == "google":
            body = _google_refusal(dimension, wait)
        elif self.about.kind == "anthropic":
            told = f"This request would exceed the rate limit for your organization of {dimension} tokens per minute."
            body = {"type": "error", "error": {"type": "rate_limit_error", "message": told}}
        delay = {"retry-after-ms": f"{math.ceil(1000 * wait)}"} if self.about.names_delay else {}
        return Step(status=429, headers=delay, body=json.dumps(body).encode())


def _spelled(kind: Kind, dimension: Dimension, limit: float, left: float, *, milliseconds: bool) -> dict[str, str]:
    if kind == "anthropic":
        name = {"requests": "requests", "input": "input-tokens", "output": "output-tokens"}.get(dimension, "tokens")
        prefix = f"anthropic-ratelimit-{name}"
        return {f"{prefix}-limit": f"{limit:.0f}", f"{prefix}-remaining": f"{left:.0f}"}
    if kind == "mistral":
        name = "req-minute" if dimension == "requests" else "tokens-minute"
        return {f"x-ratelimit-limit-{name}": f"{limit:.0f}", f"x-ratelimit-remaining-{name}": f"{left:.0f}"}
    if dimension == "day":
        return {}
    seconds = (limit - left) * 60.0 / limit
    return {
        f"x-ratelimit-limit-{dimension}": f"{limit:.0f}",
        f"x-ratelimit-remaining-{dimension}": f"{math.floor(left)}",
        f"x-ratelimit-reset-{dimension}": f"{1000 * seconds:.0f}" if milliseconds else f"{seconds:.3f}s",
    }


def _google_refusal(dimension: Dimension, wait: float) -> dict[str, Any]:
    unit = {"requests": "Requests", "day": "Requests"}.get(dimension, "InputTokens")
    period = "PerDay" if dimension == "day" else "PerMinute"
    violation = {"quotaId": f"Generate{unit}{period}PerProjectPerModel", "quotaValue": "1"}
    details = [
        {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation]},
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{wait:.3f}s"},
    ]
    return {"error": {"code": 429, "message": "Quota exceeded.", "status": "RESOURCE_EXHAUSTED", "details": details}}


class Providers:
    """All providers of a run, by their addresses. Pass it as `connect` to `open_router`."""

    def __init__(self, providers: Mapping[str, LiveProvider]) -> None:
        self._providers = providers

    def __call__(self, base_url: str, headers: Mapping[str, str]) -> "SimulatedConnection":
        name = base_url.removeprefix("http://").partition(".")[0]
        return SimulatedConnection(self._providers[name])


class SimulatedConnection:
    def __init__(self, provider: LiveProvider) -> None:
        self._provider = provider

    async def open(self, call: HttpCall) -> "SimulatedReply":
        provider, about = self._provider, self._provider.about
        await trio.sleep(provider.chance.uniform(0.0, UPLINK_SECONDS))
        now = trio.current_time()
        assert isinstance(call.body, bytes), "no files here"
        body = msgspec.json.decode(call.body)
        wanted = provider.wanted(_characters(body), _max_tokens(body))
        refused_by = provider.admit(wanted, now)
        headers = provider.headers(now)
        if refused_by is not None:
            step = provider.refusal(refused_by, wanted, now)
        elif provider.befallen("hang"):
            await trio.sleep_forever()
        elif provider.befallen("500") or provider.befallen("529"):
            status = 529 if provider.befallen("529") else 500
            error = {"type": "overloaded_error" if status == 529 else "server_error", "message": "simulated"}
            step = Step(status=status, body=json.dumps({"type": "error", "error": error}).encode())
        else:
            step = await self._answer(wanted)
        if step.body is None:
            provider.counts.answered += 1
            body = spoken_by(call.path).reply(step, about.model, False)
            return SimulatedReply(200, headers, body)
        await trio.sleep(provider.chance.uniform(0.0, UPLINK_SECONDS))
        return SimulatedReply(step.status, {**headers, **step.headers}, [step.body])

    async def _answer(self, wanted: Mapping[Dimension, float]) -> Step:
        provider, about = self._provider, self._provider.about
        seconds = provider.chance.lognormvariate(math.log(about.latency), about.sigma)
        seconds *= 10.0 if provider.befallen("slow") else 1.0
        tokens = max(1, round(provider.chance.lognormvariate(math.log(about.output_tokens), 0.5)))
        await trio.sleep(seconds)
        provider.charge_output(tokens)
        provider.counts.last_latency = seconds
        told = wanted.get("tokens", wanted.get("input", 1.0))
        return Step(pieces=("ok",), input_tokens=round(told), output_tokens=tokens)

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


class SimulatedReply:
    def __init__(self, status: int, headers: Mapping[str, str], pieces: list[bytes]) -> None:
        self.status = status
        self.headers: Mapping[str, str] = {"content-type": "application/json", **headers}
        self._pieces = pieces

    async def receive(self) -> bytes:
        await trio.lowlevel.checkpoint()
        return self._pieces.pop(0) if self._pieces else b""

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


def _characters(body: Mapping[str, Any]) -> int:
    """The text of a request, in any of the formats."""
    if "contents" in body:
        return sum(len(part.get("text", "")) for turn in body["contents"] for part in turn["parts"])
    total = 0
    for message in body["messages"]:
        content = message["content"]
        parts = [{"text": content}] if isinstance(content, str) else content
        total += sum(len(part.get("text", "")) for part in parts)
    return total


def _max_tokens(body: Mapping[str, Any]) -> int:
    given = body.get("max_completion_tokens", body.get("max_tokens"))
    return int(given) if given is not None else 0
