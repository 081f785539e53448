"""The workers of one provider: one for each of its keys. Makes them, and joins the routes of one model.

Keys are apart: each has its own connections, limits and breakers, unless the lockfile says that they are of one account
(`limits_shared`). Which of them is asked first is a matter of each request: see router/ordering.py.
"""

from collections.abc import Callable, Collection, Mapping

import trio

from llmring.codecs.capabilities import Capabilities
from llmring.errors import MissingKey
from llmring.providers.beginning import named_keys
from llmring.providers.endpoint import Endpoint
from llmring.providers.errands import Watch, unwatched
from llmring.providers.files import Files
from llmring.providers.route import Route
from llmring.providers.transport import Connect
from llmring.providers.worker import ProviderWorker, Recall
from llmring.refs import ModelRef
from llmring.status import RouteStatus


class Crew:
    """`keys` are those that are set, by variable; `keys_given`, by the program and not in the environment. Without one
    there is one worker, that says what to set. In the order of the lockfile."""

    def __init__(
        self,
        endpoint: Endpoint,
        keys: Mapping[str, str],
        connect: Connect,
        random: Callable[[], float],
        capabilities: Callable[[ModelRef], Capabilities] = lambda _: Capabilities(),
        files: Files | None = None,
        recall: Recall = lambda ref, account: None,
        watch: Watch = unwatched,
        *,
        keys_given: bool = False,
    ) -> None:
        self.endpoint = endpoint
        files = files if files is not None else Files()
        self.workers = tuple(
            ProviderWorker(
                endpoint, key, connect, random, capabilities, files, variable, recall, watch, keys_given=keys_given
            )
            for variable, key in named_keys(keys)
        )
        if endpoint.limits_shared and len(self.workers) > 1:
            for worker in self.workers:
                worker.share(self.workers)

    @property
    def missing_key(self) -> MissingKey | None:
        """What to raise where no key is set."""
        return self.workers[0].missing_key

    @property
    def first(self) -> ProviderWorker:
        """The first whose key works, as far as is known: for what any key can ask."""
        now = trio.current_time()
        return next((one for one in self.workers if one.credential.readiness(now) is None), self.workers[0])

    def with_key(self, variable: str | None) -> ProviderWorker:
        """The one whose key is in that variable; the first one that works where there is none any more."""
        return next((one for one in self.workers if one.credential.key == variable), self.first)

    def routes(self, model: str) -> tuple[Route, ...]:
        """A model, with each of the keys, in the order of the workers."""
        routes = tuple(worker.route(model) for worker in self.workers)
        if len(routes) > 1:
            for route in routes:
                route.join(routes)
        return routes

    def status(self, now: float, unasked: Collection[str] = ()) -> list[RouteStatus]:
        """Of every model that was asked for, and of `unasked` ones, which stay so; with each of the keys."""
        return [status for worker in self.workers for status in worker.status(now, unasked)]

    def fit(self) -> None:
        """What is known of models has changed."""
        for worker in self.workers:
            worker.fit()

    def retire(self) -> None:
        """No new request will come."""
        for worker in self.workers:
            worker.retire()

    def inherit(self, previous: "Crew") -> None:
        """Each key goes on where it stood before an edit of the lockfile."""
        for worker in self.workers:
            for before in previous.workers:
                worker.inherit(before)
