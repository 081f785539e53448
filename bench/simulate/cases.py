"""The cases: what is simulated, what the router is told of it, and the goal. Data."""

from typing import Literal

import msgspec

from bench.simulate.provider import Incident, Provider

SECONDS = 600.0
"""How long a case lasts at least, by the bound."""

Shape = Literal["run", "steady", "interactive", "tenants"]
"""A map from start to end; ten minutes of an endless one, after ten minutes of learning; calls beside an endless map;
many tenants who all want everything."""


class Goal(msgspec.Struct, frozen=True):
    """`over`: time over the bound and the last latency; `refused`: the share of requests that were; `waited`: the 99th
    percentile of what a call waits, in seconds; `unfair`: how many requests a tenant may be away from its share."""

    over: float
    refused: float
    waited: float = 0.0
    unfair: float = 0.0


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """`told`: the lockfile has the limits. `max_tokens` is that of every row; `characters` the range of its length."""

    name: str
    providers: tuple[Provider, ...]
    goal: Goal
    shape: Shape = "run"
    told: bool = True
    characters: tuple[int, int] = (40, 200)
    max_tokens: int = 512


KNOWN = Goal(0.02, 0.001)
FOREIGN = Goal(0.05, 0.005)
HALVED = Goal(0.05, 0.01)
UNKNOWN = Goal(0.10, 0.01)
BESIDE = Goal(0.10, 0.001, waited=0.25)
FAIR = Goal(0.02, 0.001, unfair=2.0)

_LONG = (400, 4000)
_REQUESTS = Provider(name="a", limits={"requests": 300, "tokens": 10_000_000})
_SILENT = msgspec.structs.replace(_REQUESTS, said="nothing")
_TOKENS = Provider(name="a", limits={"requests": 60_000, "tokens": 150_000})
_POOL = (
    Provider(name="a", limits={"requests": 200, "tokens": 10_000_000}),
    Provider(
        name="b",
        kind="anthropic",
        model="claude-3-5-haiku-latest",
        limits={"requests": 150, "input": 1_000_000, "output": 1_000_000},
        charge="in and out apart",
        said="rounded",
        latency=1.5,
    ),
    Provider(
        name="c",
        kind="google",
        model="gemini-2.0-flash",
        limits={"requests": 100, "tokens": 1_000_000},
        charge="input",
        said="nothing",
        latency=0.7,
    ),
)


def _struck(*incidents: Incident) -> tuple[Provider, ...]:
    """The pool, with its first provider struck."""
    return (msgspec.structs.replace(_POOL[0], incidents=incidents), *_POOL[1:])


def _with(provider: Provider, *incidents: Incident) -> tuple[Provider, ...]:
    return (msgspec.structs.replace(provider, incidents=incidents),)


def _counting(**changes: object) -> tuple[Provider, ...]:
    return (msgspec.structs.replace(_REQUESTS, **changes),)


CASES: tuple[Case, ...] = (
    Case(name="continuous, requests", providers=(_REQUESTS,), goal=KNOWN),
    Case(name="continuous, tokens chars/4", providers=(_TOKENS,), goal=KNOWN, characters=_LONG),
    Case(
        name="in + max_tokens, ms headers",
        providers=_counting(
            kind="azure",
            limits={"requests": 60_000, "tokens": 300_000},
            charge="in + max_tokens",
            said="milliseconds",
        ),
        goal=KNOWN,
        characters=_LONG,
    ),
    Case(
        name="in and out apart, rounded",
        providers=_counting(
            kind="anthropic",
            model="claude-3-5-haiku-latest",
            limits={"requests": 6_000, "input": 150_000, "output": 30_000},
            charge="in and out apart",
            said="rounded",
        ),
        goal=KNOWN,
        characters=_LONG,
    ),
    Case(
        name="actual use, headers",
        providers=_counting(kind="mistral", limits={"requests": 6_000, "tokens": 150_000}, charge="actual"),
        goal=KNOWN,
        characters=_LONG,
    ),
    Case(
        name="input alone, no headers",
        providers=_counting(
            kind="google",
            model="gemini-2.0-flash",
            limits={"requests": 6_000, "tokens": 150_000},
            charge="input",
            said="nothing",
        ),
        goal=KNOWN,
        characters=_LONG,
    ),
    Case(name="fixed window", providers=_counting(counting="fixed"), goal=KNOWN),
    Case(name="sliding window", providers=_counting(counting="sliding"), goal=KNOWN),
    Case(name="refill once a second", providers=_counting(counting="steps"), goal=KNOWN),
    Case(name="learned from headers", providers=(_REQUESTS,), told=False, goal=KNOWN),
    Case(name="pool of three", providers=_POOL, goal=KNOWN),
    Case(name="pool, 500 for 120 s", providers=_struck(Incident(kind="500", at=200, seconds=120)), goal=KNOWN),
    Case(name="pool, 529 for 120 s", providers=_struck(Incident(kind="529", at=200, seconds=120)), goal=KNOWN),
    Case(name="pool, slow x10 for 120 s", providers=_struck(Incident(kind="slow", at=200, seconds=120)), goal=KNOWN),
    Case(name="pool, hangs for 60 s", providers=_struck(Incident(kind="hang", at=200, seconds=60)), goal=KNOWN),
    Case(
        name="pool, daily quota reached",
        providers=(
            msgspec.structs.replace(_POOL[0], limits={"requests": 200, "tokens": 10_000_000, "day": 700}),
            *_POOL[1:],
        ),
        goal=KNOWN,
    ),
    Case(
        name="30 % taken by another program",
        providers=_with(_REQUESTS, Incident(kind="foreign", share=0.3)),
        goal=FOREIGN,
    ),
    Case(
        name="30 % taken, no headers",
        providers=_with(_SILENT, Incident(kind="foreign", share=0.3)),
        goal=FOREIGN,
    ),
    Case(name="limit halved", providers=_with(_REQUESTS, Incident(kind="limit", at=300, share=0.5)), goal=HALVED),
    Case(
        name="limit halved, no headers",
        providers=_with(_SILENT, Incident(kind="limit", at=300, share=0.5)),
        goal=HALVED,
    ),
    Case(
        name="limit doubled, not told",
        providers=_with(_REQUESTS, Incident(kind="limit", at=300, share=2.0)),
        told=False,
        goal=HALVED,
    ),
    Case(
        name="unknown, no headers, requests",
        providers=_counting(said="nothing"),
        told=False,
        shape="steady",
        goal=UNKNOWN,
    ),
    Case(
        name="unknown, no headers, tokens",
        providers=(msgspec.structs.replace(_TOKENS, said="nothing", names_delay=False),),
        told=False,
        shape="steady",
        goal=UNKNOWN,
        characters=_LONG,
    ),
    Case(name="calls beside a map", providers=_counting(limits={"requests": 600}), shape="interactive", goal=BESIDE),
    Case(name="a hundred tenants", providers=_counting(limits={"requests": 600}), shape="tenants", goal=FAIR),
)
