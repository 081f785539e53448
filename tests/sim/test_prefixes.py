"""What a cache of prefixes reads and writes."""

from llmring.sim.prefixes import PrefixCache, automatic_prefixes
from llmring.sim.wire import CacheUse, Lifetime, Prefix


def _prefix(name: str, tokens: int, lifetime: Lifetime | None = "5m") -> Prefix:
    return Prefix(digest=name.encode(), tokens=tokens, lifetime=lifetime)


def test_a_prefix_is_written_first_and_read_then() -> None:
    cache, prefixes = PrefixCache(), (_prefix("a", 2000),)
    assert cache.use("k", prefixes, 0) == CacheUse(write_5m_tokens=2000)
    assert cache.use("k", prefixes, 1) == CacheUse(read_tokens=2000)
    assert cache.use("another key", prefixes, 1) == CacheUse(write_5m_tokens=2000)


def test_what_is_longer_than_the_prefix_read_is_written_by_its_lifetime() -> None:
    cache = PrefixCache()
    cache.use("k", (_prefix("a", 2000, "1h"),), 0)
    use = cache.use("k", (_prefix("a", 2000, "1h"), _prefix("b", 2500, "1h"), _prefix("c", 2600)), 1)
    assert use == CacheUse(read_tokens=2000, write_1h_tokens=500, write_5m_tokens=100)


def test_an_unmarked_prefix_is_read_when_it_was_marked_before() -> None:
    cache = PrefixCache()
    cache.use("k", (_prefix("a", 2000),), 0)
    use = cache.use("k", (_prefix("a", 2000, None), _prefix("b", 2500)), 1)
    assert use == CacheUse(read_tokens=2000, write_5m_tokens=500)


def test_a_prefix_is_forgotten_when_nobody_used_it_for_its_lifetime() -> None:
    cache, prefixes = PrefixCache(), (_prefix("a", 2000),)
    assert [cache.use("k", prefixes, now).read_tokens for now in (0, 299, 598, 898)] == [0, 2000, 2000, 0]


def test_short_prefixes_are_not_cached() -> None:
    cache, prefixes = PrefixCache(), (_prefix("a", 1023),)
    assert cache.use("k", prefixes, 0) == cache.use("k", prefixes, 1) == CacheUse()


def test_automatic_prefixes_begin_at_1024_tokens_and_cost_nothing_to_write() -> None:
    prefixes = tuple(automatic_prefixes("m", "x" * 4 * 1300))
    assert [prefix.tokens for prefix in prefixes] == [1024, 1152, 1280]
    cache = PrefixCache()
    assert cache.use("k", prefixes, 0) == CacheUse()
    longer = tuple(automatic_prefixes("m", "x" * 4 * 1200 + "y" * 4000))
    assert cache.use("k", longer, 1) == CacheUse(read_tokens=1152)
    assert not tuple(automatic_prefixes("m", "x" * 4 * 1023))
