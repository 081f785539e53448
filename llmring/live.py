"""Models as their providers list them now. Values only."""

from datetime import datetime

import msgspec


class LiveModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model as its provider lists it now. Limits are in tokens; None where the provider does not say."""

    id: str
    display_name: str | None = None
    created: datetime | None = None
    max_input_tokens: int | None = None
    max_output_tokens: int | None = None
    capabilities: frozenset[str] = frozenset()
