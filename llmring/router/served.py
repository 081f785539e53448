"""Was it the model that was asked for? Providers name the one that answers, often with a date behind its name. Pure."""

import re
from functools import lru_cache

from llmring.lockfile.providers import Kind

NAMES_ITS_OWN: frozenset[Kind] = frozenset(
    {"anthropic", "deepseek", "google", "groq", "mistral", "openai", "openrouter", "together", "xai"}
)
"""Kinds of providers whose replies name a model of theirs. Azure names what is behind a deployment of any name, and
servers of one's own name what they like."""

# 2024-08-06, 20250929, 09-2025, 0125; v2 of a model is another model.
_DATE = re.compile(r"[-@](\d{4}-\d{2}-\d{2}|\d{8}|\d{2}-\d{4}|\d{4}|00\d)$")
_MOVING = re.compile(r"-latest$")


@lru_cache(maxsize=256)
def is_other(asked: str, served: str) -> bool:
    """Whether `served` names another model than `asked`: not just a dated version of a name without a date."""
    asked_name, asked_date = _taken_apart(asked)
    served_name, served_date = _taken_apart(served)
    if asked_name != served_name:
        return True
    return asked_date is not None and served_date is not None and asked_date != served_date


def _taken_apart(name: str) -> tuple[list[str], str | None]:
    """The words of a name in any order (claude-haiku-4.5, claude-4-5-haiku), and its date."""
    bare = name.rpartition("/")[2].partition(":")[0].lower()
    date = _DATE.search(bare)
    words = _MOVING.sub("", bare[: date.start()] if date is not None else bare)
    return sorted(re.split(r"[-._@]", words)), date[1].replace("-", "") if date is not None else None
