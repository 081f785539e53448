"""One simulated provider: its configuration and what it remembers between requests (limits by key, faults,
chance).
"""

import random

from llmring.sim.config import ProviderConfig
from llmring.sim.faults import Schedule
from llmring.sim.latency import draw
from llmring.sim.limits import Dimension, KeyLimits


class Provider:
    """Owned by the server's event loop, like the limiters inside."""

    def __init__(self, name: str, config: ProviderConfig) -> None:
        self.name = name
        self.config = config
        self.faults = Schedule(config.faults, config.seed)
        self._chance = random.Random(config.seed)
        self._per_minute = _per_minute(config)
        self._limits: dict[str, KeyLimits] = {}

    def accepts(self, key: str) -> bool:
        return key in self.config.keys if self.config.keys else bool(key)

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
