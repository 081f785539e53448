"""Which endpoint a path is, by its form and, where two providers share one, by the headers. Pure.

POST   v1/chat/completions, v1/messages
"""

import re
from collections.abc import Mapping

import msgspec

from llmring.sim import (
    anthropic_dialect,
    anthropic_wire,
    openai_dialect,
    openai_wire,
    responses_dialect,
    responses_wire,
)
from llmring.sim.wire import Dialect, Operation

_OPERATIONS: dict[str, tuple[Dialect, Operation]] = {
    "v1/chat/completions": (openai_dialect, openai_wire),
    "v1/responses": (responses_dialect, responses_wire),
    "v1/messages": (anthropic_dialect, anthropic_wire),
}
#: A provider's name may be anything before the first of these; without one it is "default".
_PATH = re.compile(r"/(?:(?P<name>.+?)/)??(?P<path>(?:upload/)?(?:v1|v1beta|api)/.+)")


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """Who is spoken to; `endpoint` is None where they serve nothing."""

    dialect: Dialect
    endpoint: Operation | None


def split_path(path: str) -> tuple[str, str] | None:
    """Provider and path behind it; None for a path that is no provider's."""
    found = _PATH.fullmatch(path)
    return None if found is None else (found["name"] or "default", found["path"])


def find_route(method: str, path: str, headers: Mapping[bytes, bytes]) -> Route:
    found = _OPERATIONS.get(path)
    if found is None:
        return Route(dialect=openai_dialect, endpoint=None)
    return Route(dialect=found[0], endpoint=found[1] if method == "POST" else None)
