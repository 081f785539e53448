"""Hiring: where a provider's workers come from, and how its models stand before there are any.

What a worker is made of is the same for the life of a router; whom to hire, and when, is the dispatcher's to say.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial

import trio

from llmring.codecs.capabilities import Capabilities
from llmring.config import read_base_url
from llmring.errors import ConfigError
from llmring.keys import keys_in_use
from llmring.lockfile import ProviderSettings
from llmring.providers.crew import Crew
from llmring.providers.endpoint import Endpoint, endpoint
from llmring.providers.errands import Watch
from llmring.providers.files import Files
from llmring.providers.overlay import Published, capabilities
from llmring.providers.transport import Connect
from llmring.providers.unasked import unaskable, unasked
from llmring.providers.worker import Recall
from llmring.refs import ModelRef
from llmring.registry.catalog import Catalog
from llmring.status import RouteStatus


class Hiring:
    """`keys`, by the names of variables, stand in for the environment; `catalog()` is the one of the moment. Workers
    have their tasks in `nursery`."""

    def __init__(
        self,
        nursery: trio.Nursery,
        connect: Connect,
        keys: Mapping[str, str] | None,
        random: Callable[[], float],
        catalog: Callable[[], Catalog],
        files: Files,
        recall: Recall,
        watch: Watch,
    ) -> None:
        self._nursery = nursery
        self._connect = connect
        self._keys = keys
        self._random = random
        self._catalog = catalog
        self._files = files
        self._recall = recall
        self._watch = watch

    def hire(self, name: str, settings: ProviderSettings | None) -> Crew:
        """A provider's workers, one for each of its keys, at work. Raises ConfigError."""
        about = endpoint(name, settings, read_base_url(name))
        crew = Crew(
            about,
            keys_in_use(about, self._keys),
            self._connect,
            self._random,
            partial(self._capabilities, about),
            self._files,
            self._recall,
            self._watch,
            keys_given=self._keys is not None,
        )
        for worker in crew.workers:
            self._nursery.start_soon(worker.run)
        return crew

    def unasked(self, name: str, settings: ProviderSettings | None, models: Iterable[str]) -> list[RouteStatus]:
        """How the models of a provider stand that has no workers yet. Starts nothing."""
        try:
            about = endpoint(name, settings, read_base_url(name))
            keys = keys_in_use(about, self._keys)
        except ConfigError as error:
            return [unaskable(ModelRef(name, model), error) for model in models]
        given = self._keys is not None
        return list(unasked(about, keys, models, self._random, self._recall, keys_given=given))

    def _capabilities(self, about: Endpoint, ref: ModelRef) -> Capabilities:
        """What a model takes, behind its provider."""
        facts = self._catalog().get(ref)
        published = (
            None
            if facts is None
            else Published(
                can=facts.capabilities,
                max_input_tokens=facts.max_input_tokens,
                max_output_tokens=facts.max_output_tokens,
                reasoning_tokens=facts.recommended_reasoning_tokens,
            )
        )
        return about.wire.bounded(capabilities(about.kind, ref.model, published))
