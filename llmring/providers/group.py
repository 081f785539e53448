"""Limit groups: models that share their limits."""

from llmring.lockfile.providers import Counted
from llmring.providers.bucket import Limit
from llmring.providers.budget import Budget


class Group:
    """The limits of models that share them at a key, or at all keys of one account: `given` by the lockfile, and
    `learned`. A model by itself is a group without a name, and is given none."""

    def __init__(self, name: str | None, limits: tuple[Limit, ...], now: float, counted: Counted) -> None:
        self.name = name
        self.given = Budget(limits, now, counted)
        self.learned = Budget((), now, counted)

    def inherit(self, previous: "Group", now: float) -> None:
        """Take over what was learned while limits were shared otherwise."""
        self.given.inherit(previous.given, now)
        self.learned.adopt(previous.learned, now)
