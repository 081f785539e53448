"""Which beginnings of prompts a provider has seen, and so what a request reads from the cache and writes to it.

Owned by one provider. Bounded: the oldest prefixes are forgotten when there are too many. `now` is any clock,
always the same one.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Iterator

from llmring.sim.wire import CHARS_PER_TOKEN, CacheUse, Lifetime, Prefix

#: Shorter prefixes are not cached, as at the real ones.
LEAST_TOKENS = 1024
_BLOCK_TOKENS = 128
_MOST_PREFIXES = 10_000
_SECONDS: dict[Lifetime, float] = {"5m": 300.0, "30m": 1800.0, "1h": 3600.0, "auto": 300.0}


class PrefixCache:
    """Prefixes by key and digest, and when each one is forgotten."""

    def __init__(self) -> None:
        self._until: OrderedDict[tuple[str, bytes], float] = OrderedDict()

    def use(self, key: str, prefixes: tuple[Prefix, ...], now: float) -> CacheUse:
        """The longest prefix that is known is read, and what the longer marked ones add to it is written. These
        are known from now on. `prefixes` come shortest first.
        """
        long_enough = [prefix for prefix in prefixes if prefix.tokens >= LEAST_TOKENS]
        read = max((one.tokens for one in long_enough if self._knows(key, one, now)), default=0)
        written: dict[Lifetime, int] = {}
        end = read
        for prefix in long_enough:
            if prefix.lifetime is None:
                continue
            if prefix.tokens > end:
                written[prefix.lifetime] = written.get(prefix.lifetime, 0) + prefix.tokens - end
                end = prefix.tokens
            self._remember((key, prefix.digest), now + _SECONDS[prefix.lifetime])
        return CacheUse(
            read_tokens=read,
            write_5m_tokens=written.get("5m", 0),
            write_30m_tokens=written.get("30m", 0),
            write_1h_tokens=written.get("1h", 0),
        )

    def _knows(self, key: str, prefix: Prefix, now: float) -> bool:
        return self._until.get((key, prefix.digest), now) > now

    def _remember(self, place: tuple[str, bytes], until: float) -> None:
        self._until[place] = until
        self._until.move_to_end(place)
        while len(self._until) > _MOST_PREFIXES:
            self._until.popitem(last=False)


def automatic_prefixes(model: str, text: str) -> Iterator[Prefix]:
    """The places where OpenAI caches by itself: from 1024 tokens on, every 128."""
    digest = hashlib.sha256(model.partition("+")[0].encode() + b"\0")
    done = 0
    for tokens in range(LEAST_TOKENS, len(text) // CHARS_PER_TOKEN + 1, _BLOCK_TOKENS):
        digest.update(text[done : tokens * CHARS_PER_TOKEN].encode("utf-8", "surrogatepass"))
        done = tokens * CHARS_PER_TOKEN
        yield Prefix(digest=digest.digest(), tokens=tokens, lifetime="auto")
