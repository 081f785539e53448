"""One simulated provider: its configuration and what it keeps between requests (limits by key, faults, chance,
memory).
"""

import random

from llmring.sim.config import ProviderConfig
from llmring.sim.faults import Schedule
from llmring.sim.latency import draw
from llmring.sim.limits import Dimension, KeyLimits
from llmring.sim.memory import Memory
from llmring.sim.wire import Problem


class Provider:
    """Owned by the server's event loop, like the limiters inside."""

    def __init__(self, name: str, config: ProviderConfig) -> None:
        self.name = name
        self.config = config
        self.faults = Schedule(config.faults, config.seed)
        self.memory = Memory()
        self._chance = random.Random(config.seed)
        self._per_minute = _per_minute(config)
        self._limits: dict[str, KeyLimits] = {}

    def key_problem(self, key: str) -> Problem | None:
        """Why a key is refused; None when it is accepted."""
        if key in self.config.keys if self.config.keys else key:
            return None
        return Problem(kind="bad_key" if key else "no_key", detail=_masked(key))

    def has_model(self, model: str) -> bool:
        """Whether a model exists; the fault that its name may end in is no part of it."""
        if model.startswith("missing"):
            return False
        return not self.config.models or model.partition("+")[0] in self.config.models or model.startswith("fault-")

    def limits(self, key: str) -> KeyLimits:
        """Of this key; a key that was never seen has its whole limit."""
        found = self._limits.get(key)
        if found is None:
            found = self._limits[key] = KeyLimits(self._per_minute)
        return found

    def latency_seconds(self) -> float:
        return draw(self.config.latency, self._chance)


def _per_minute(config: ProviderConfig) -> dict[Dimension, int]:
    limits: dict[Dimension, int | None] = {
        "requests": config.requests_per_minute,
        "input_tokens": config.input_tokens_per_minute,
        "output_tokens": config.output_tokens_per_minute,
        "tokens": config.tokens_per_minute,
    }
    return {dimension: limit for dimension, limit in limits.items() if limit is not None}


def _masked(key: str) -> str:
    """A key as error messages quote it; a short one not at all."""
    return f"{key[:3]}***{key[-4:]}" if len(key) >= 16 else "***"
