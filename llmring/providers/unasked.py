"""The routes of a provider that nobody has asked for: what the first request would meet. Sends and starts nothing.

They begin as a worker's routes do, and are gone when they have been looked at. Where a provider has workers, those tell
of its other models: see worker.py.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

import trio

from llmring.errors import ConfigError
from llmring.providers.beginning import account, credential, group, headers, named_keys
from llmring.providers.endpoint import Endpoint
from llmring.providers.route import Route
from llmring.providers.worker import Recall
from llmring.refs import ModelRef
from llmring.status import RouteStatus


def unasked(
    endpoint: Endpoint,
    keys: Mapping[str, str],
    models: Iterable[str],
    random: Callable[[], float],
    recall: Recall,
    *,
    keys_given: bool = False,
) -> Iterator[RouteStatus]:
    """How the routes of `models` stand, with each of the keys that are set; `keys_given`, by the program."""
    now = trio.current_time()
    named = named_keys(keys)
    credentials = [credential(endpoint, key, random, now, variable, given=keys_given) for variable, key in named]
    if endpoint.limits_shared:
        for one in credentials:
            one.shared_with = tuple(other for other in credentials if other is not one)
    accounts = [account(endpoint, headers(endpoint, key)) for _, key in named]
    for model in models:
        ref = ModelRef(endpoint.name, model)
        for key, whose in zip(credentials, accounts, strict=True):
            limits = group(endpoint, model, now)
            route = Route(ref, key, endpoint.regime, _nobody, now, counted=endpoint.counted, group=limits)
            recalled = recall(ref, whose)
            if recalled is not None:
                route.recall(recalled.memory, recalled.age_seconds, now)
            yield route.status(now, asked=False)


def unaskable(ref: ModelRef, error: ConfigError) -> RouteStatus:
    """How a model stands whose provider cannot be asked: nobody knows it, or its settings are not whole."""
    return RouteStatus(
        model=ref,
        readiness="shut",
        why=str(error),
        wait_seconds=None,
        breaker="closed",
        limits=(),
        in_line=0,
        in_flight=0,
        connections=0,
        most_connections=0,
        expected_output_tokens=0.0,
        seconds=None,
        asked=False,
    )


def _nobody() -> None:
    """Waits there."""
