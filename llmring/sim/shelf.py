"""Where a provider keeps things by id, for the key that made them. Bounded: the oldest go first."""

from collections import OrderedDict
from typing import Generic, TypeVar

import msgspec

_Kept = TypeVar("_Kept", bound="Stored")

_MOST_BYTES = 64 * 2**20
_MOST_ENTRIES = 1000


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """Something kept under an id, for the key that made it."""

    id: str
    key: str
    data: bytes
    #: On the clock of the server's loop; None: until it is forgotten for room.
    expires_at: float | None = None


class Shelf(Generic[_Kept]):
    """Things by id, the newest last. Holds at most _MOST_ENTRIES, and _MOST_BYTES of data."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._bytes = 0

    def add(self, one: _Kept) -> None:
        self.take(one.id)
        self._kept[one.id] = one
        self._bytes += len(one.data)
        while len(self._kept) > _MOST_ENTRIES or (self._bytes > _MOST_BYTES and len(self._kept) > 1):
            self.take(next(iter(self._kept)))

    def get(self, name: str, key: str, now: float) -> _Kept | None:
        """What this key may see: its own, and not expired."""
        found = self._kept.get(name)
        if found is None or found.key != key:
            return None
        if found.expires_at is not None and found.expires_at <= now:
            self.take(name)
            return None
        return found

    def take(self, name: str) -> _Kept | None:
        """Out of the shelf, or None when it is not there."""
        found = self._kept.pop(name, None)
        if found is not None:
            self._bytes -= len(found.data)
        return found

    def all_of(self, key: str, now: float) -> list[_Kept]:
        """Newest first."""
        seen = [self.get(name, key, now) for name in reversed(list(self._kept))]
        return [one for one in seen if one is not None]
