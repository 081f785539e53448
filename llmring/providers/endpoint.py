"""Where a provider is and how it is spoken to: what is known of it, under what the lockfile says. Pure."""

import msgspec

from llmring.errors import ConfigError, Dimension, UnknownProvider
from llmring.lockfile.providers import Charges, Counted, Kind, LimitGroup, ProviderSettings
from llmring.providers.bucket import Limit
from llmring.providers.estimate import Counting
from llmring.providers.known import (
    BY_CHARACTERS,
    DEFAULT_MAX_IN_FLIGHT,
    PARALLEL,
    PROVIDERS,
    Known,
    family,
    regime,
)
from llmring.providers.regime import Regime
from llmring.providers.tokens import vocabulary_of
from llmring.providers.wires import Wire, wire


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a worker needs to know of its provider. No `key_variables`: the server takes no key.

    `many_keys`: each variable holds a key of its own, not the one key under another name. `limits` are those of each
    key, of all keys together where `limits_shared`. With `finds_in_flight`, how many requests it works on at once, up
    to `max_in_flight`, is found out. `charges` and `cached_tokens_count` None: as is known of the kind.
    """

    name: str
    kind: Kind
    base_url: str
    key_variables: tuple[str, ...]
    limits: tuple[Limit, ...]
    max_in_flight: int
    headers: dict[str, str]
    wire: Wire
    needs_key: bool = True
    many_keys: bool = False
    counted: Counted = "continuously"
    finds_in_flight: bool = False
    limits_shared: bool = False
    limit_groups: tuple[LimitGroup, ...] = ()
    charges: Charges | None = None
    cached_tokens_count: bool | None = None

    def counting(self, model: str) -> Counting:
        """How a model's input is counted here."""
        return Counting(
            vocabulary=vocabulary_of(model), family=family(self.kind), by_characters=self.kind in BY_CHARACTERS
        )

    def group(self, model: str) -> LimitGroup | None:
        """The models with which a model shares its limits."""
        return next((group for group in self.limit_groups if group.holds(model)), None)

    def limits_of(self, group: LimitGroup) -> tuple[Limit, ...]:
        """What the lockfile gives a group."""
        return _limits(group, self.counted)

    @property
    def regime(self) -> Regime:
        return regime(self.kind, self.charges, self.cached_tokens_count)


def endpoint(name: str, settings: ProviderSettings | None, base_url: str | None = None) -> Endpoint:
    """What is known of provider `name`, under `base_url`, under what the lockfile says of it.

    Raises UnknownProvider or ConfigError.
    """
    known = PROVIDERS.get(name)
    if known is None and settings is None:
        raise UnknownProvider(name, sorted(PROVIDERS), where="; for another one write a [providers.<name>] table")
    given = settings if settings is not None else ProviderSettings(name=name)
    kind = given.kind or (known.kind if known else None)
    address = given.base_url or base_url or (known.base_url if known else None)
    if kind is None or address is None:
        missing = "kind" if kind is None else "base_url"
        why = "everybody has one of their own" if known is not None else f"{name!r} is not a provider we know"
        raise ConfigError(f"[providers.{name}] in the lockfile needs {missing}: {why}")
    in_flight = given.max_in_flight or ("auto" if kind in PARALLEL else None)
    return Endpoint(
        name=name,
        kind=kind,
        base_url=address,
        key_variables=_key_variables(given, known),
        limits=_limits(given, given.limits_counted or "continuously"),
        max_in_flight=in_flight if isinstance(in_flight, int) else DEFAULT_MAX_IN_FLIGHT,
        finds_in_flight=in_flight == "auto",
        headers=given.headers,
        wire=_wire(kind, given),
        counted=given.limits_counted or "continuously",
        limits_shared=bool(given.limits_shared),
        limit_groups=tuple(given.limit_groups.values()),
        charges=given.charges,
        cached_tokens_count=given.cached_tokens_count,
        many_keys=isinstance(given.api_key_env, tuple),
        needs_key=given.api_key_env is not None or known is None or known.needs_key,
    )


def _wire(kind: Kind, given: ProviderSettings) -> Wire:
    if given.api_version is not None and kind != "azure":
        raise ConfigError(f"[providers.{given.name}] in the lockfile: api_version is for kind 'azure' alone")
    return wire(kind, given.api_version)


def _key_variables(given: ProviderSettings, known: Known | None) -> tuple[str, ...]:
    if given.api_key_env is not None:
        return (given.api_key_env,) if isinstance(given.api_key_env, str) else given.api_key_env
    return known.key_variables if known else ()


def _limits(given: ProviderSettings | LimitGroup, counted: Counted) -> tuple[Limit, ...]:
    configured: tuple[tuple[Dimension, float | None, float], ...] = (
        ("requests", given.requests_per_minute, 60.0),
        ("tokens", given.tokens_per_minute, 60.0),
        ("input", given.input_tokens_per_minute, 60.0),
        ("output", given.output_tokens_per_minute, 60.0),
        ("day", given.requests_per_day, 86_400.0),
    )
    return tuple(
        Limit(dimension=dimension, amount=amount, period=period, counted=_counted(counted, dimension))
        for dimension, amount, period in configured
        if amount is not None
    )


def _counted(counted: Counted, dimension: Dimension) -> Counted:
    """A day's limit starts anew; nobody refills it second by second."""
    return "by window" if dimension == "day" else counted
