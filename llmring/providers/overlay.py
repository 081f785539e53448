"""What a model takes: what the registry says of it, under the overlay of `known`. Pure.

The registry's flags alone are wrong for many models; under both come the refusals that the model itself has taught
(`Route.refuse`), and above everything stands `extra_params`, which is sent as it is.
"""

import re
from functools import lru_cache

import msgspec

from llmring.codecs.capabilities import Capabilities
from llmring.lockfile.providers import Kind
from llmring.providers.known import OVERLAY, Row


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """What a registry says of a model. `can` are the capabilities that it affirms; limits are in tokens."""

    can: frozenset[str] = frozenset()
    max_input_tokens: int | None = None
    max_output_tokens: int | None = None
    reasoning_tokens: int | None = None


@lru_cache(maxsize=1024)
def row_of(kind: Kind, name: str) -> Row | None:
    """The row of a model; None where the registry, or nobody, knows better."""
    bare = name.removeprefix("models/").lower()
    return next((row for row in OVERLAY.get(kind, ()) if re.match(row.pattern, bare)), None)


def capabilities(kind: Kind, name: str, published: Published | None) -> Capabilities:
    """What a model takes: what is published of it, under its row."""
    known = _published(published) if published is not None else Capabilities()
    row = row_of(kind, name)
    if row is None:
        return known
    given = {
        "reasoning": row.reasoning,
        "sampling": row.sampling,
        "efforts": row.efforts,
        "controls": row.controls,
        "schema": row.schema,
    }
    return msgspec.structs.replace(
        known,
        **{field: value for field, value in given.items() if value is not None},
        schema_with_tools=row.schema_with_tools,
        responses=row.responses,
        refused=known.refused | row.refused,
        least_reasoning_tokens=row.least_reasoning_tokens,
    )


def _published(published: Published) -> Capabilities:
    can = published.can
    most_in, most_out = published.max_input_tokens, published.max_output_tokens
    # The two are now and then swapped; no model writes more than it reads.
    plausible = most_out if most_in is None or most_out is None or most_out < most_in else None
    return Capabilities(
        sampling="taken" if "temperature" in can else "refused",
        schema="native" if "json_schema" in can else "json" if "json" in can else "prompt",
        max_input_tokens=most_in,
        max_output_tokens=plausible,
        reasoning_allowance=published.reasoning_tokens or Capabilities().reasoning_allowance,
    )
