"""The `budgets` tables of a lockfile: how many dollars may be spent, on what, in which time. Pure.

    [budgets.daily]             everything, in a day
    [budgets.tenants]           tenant = "*": each tenant has as much
    [budgets.summaries]         alias = "summarizer": this alias alone

A budget that was misspelled would be one that does not hold: an unknown key, alias or profile is an error.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Literal, get_args

import msgspec

from llmring.arguments import as_text
from llmring.errors import ConfigError
from llmring.lockfile.lines import Address
from llmring.lockfile.profiles import Profile
from llmring.lockfile.shape import Problem, as_table, check_keys, near_key, shown, spell
from llmring.zones import zone

Per = Literal["day", "month", "run"]
"""For how long a budget holds: a day or a month of its time zone, or the life of one router."""
Unpriced = Literal["refuse", "allow"]

EACH = "*"
"""In the place of a name: each has a budget of its own."""

MOST_USD = Decimal(10**9)


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """At most `limit` dollars in every day, month or run, for the requests of an alias, a profile, a tenant.

    None: of any. "*": each one has as much for itself; "" is the tenant of requests that name none. `limit` may be
    given as text, a number or a Decimal, and is a Decimal. `unpriced` says what becomes of requests whose cost nothing
    bounds: refused, or let through uncounted. `timezone` is that of its days and months, such as "Europe/Berlin". What
    is spent is kept by `name`, by whose it is and by the zone, whatever the limit: two programs with one ledger share
    a budget that both call the same. Raises ConfigError.
    """

    limit: Decimal
    per: Per
    name: str = "budget"
    alias: str | None = None
    profile: str | None = None
    tenant: str | None = None
    unpriced: Unpriced = "refuse"
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        _set_names(self)
        given: object = self.limit
        usd = _dollars(given)
        if usd is None:
            raise ConfigError(f"budget {self.name!r}: limit must be dollars, at least 0, not {shown(given)}")
        # Frozen for everybody else.
        msgspec.structs.force_setattr(self, "limit", usd)
        for field, known in (("per", get_args(Per)), ("unpriced", get_args(Unpriced))):
            if getattr(self, field) not in known:
                raise ConfigError(f"budget {self.name!r}: {field} must be one of {_listed(known)}")
        try:
            zone(self.timezone)
        except ConfigError as error:
            raise ConfigError(f"budget {self.name!r}: {error}") from error

    @property
    def scope(self) -> str:
        """Whose money it is, in words: "alias 'summarizer', each tenant"; empty for everybody's."""
        return describe(self.alias, self.profile, self.tenant)


def _set_names(budget: Budget) -> None:
    """As plain text. Raises ConfigError."""
    name = as_text("the name of a budget", budget.name, ConfigError)
    if not name or not name.isprintable():
        raise ConfigError(f"a budget needs a name, not {shown(name)}")
    msgspec.structs.force_setattr(budget, "name", name)
    for field in ("alias", "profile", "tenant"):
        given = getattr(budget, field)
        if given is None:
            continue
        word = as_text(f"budget {name!r}: {field}", given, ConfigError)
        if not word and field != "tenant":
            raise ConfigError(f"budget {name!r}: {field} must be a name, or '*' for each its own, not ''")
        msgspec.structs.force_setattr(budget, field, word)


def describe(alias: str | None, profile: str | None, tenant: str | None) -> str:
    """A scope in words."""
    words = [
        f"each {what}" if name == EACH else f"{what} {name!r}"
        for what, name in (("alias", alias), ("profile", profile), ("tenant", tenant))
        if name is not None
    ]
    return ", ".join(words)


def check_given(budgets: object, profiles: Mapping[str, Profile]) -> tuple[Budget, ...]:
    """The budgets that a program gives; `profiles` have the names that they may use. Raises ConfigError for what is no
    budget, and for one that would hold nothing back."""
    if not isinstance(budgets, Iterable) or isinstance(budgets, str | Mapping):
        raise ConfigError(f"budgets must be a list of Budgets, not {type(budgets).__name__}")
    given = tuple(budgets)
    for number, budget in enumerate(given, 1):
        if not isinstance(budget, Budget):
            raise ConfigError(f"budgets must be a list of Budgets, and number {number} is {shown(budget)}")
        unknown = _unknown(budget, profiles)
        if unknown is not None:
            raise ConfigError(f"budget {budget.name!r}: {unknown[1]}")
    return given


_KEYS = tuple(name for name in Budget.__struct_fields__ if name != "name")


def read_budgets(value: object, profiles: Mapping[str, Profile]) -> tuple[Budget, ...]:
    """Read the `budgets` table; `profiles` have the names that it may use. Raises Problem."""
    tables = as_table(value, ("budgets",), "a table of tables: [budgets.<name>]")
    return tuple(_read_budget(name, table, profiles) for name, table in tables.items())


def _read_budget(name: str, value: object, profiles: Mapping[str, Profile]) -> Budget:
    at: Address = ("budgets", name)
    if not name or not name.isprintable():
        raise Problem(at, "a budget needs a name: [budgets.<name>]")
    table = as_table(value, at)
    check_keys(table, _KEYS, at)
    for key in ("limit", "per"):
        if key not in table:
            raise Problem(at, f"{spell(at)}: {key} is missing: {_EXPECTED[key]}")
    limit = _dollars(table["limit"])
    if limit is None:
        raise _wrong(at, "limit", table["limit"])
    budget = Budget(
        name=name,
        limit=limit,
        per=_per(table["per"], at),
        alias=_name(table, at, "alias"),
        profile=_name(table, at, "profile"),
        tenant=_name(table, at, "tenant"),
        unpriced=_unpriced(table.get("unpriced", "refuse"), at),
        timezone=_timezone(table.get("timezone", "UTC"), at),
    )
    unknown = _unknown(budget, profiles)
    if unknown is not None:
        what, why = unknown
        address = (*at, what)
        raise Problem(address, f"{spell(address)}: {why}")
    return budget


_EXPECTED: Mapping[str, str] = {
    "limit": "dollars, at least 0, such as '25.00'",
    "per": "one of 'day', 'month', 'run'",
    "unpriced": "one of 'refuse', 'allow'",
    "timezone": "the name of a time zone, such as 'Europe/Berlin'",
}


def _wrong(at: Address, key: str, value: object) -> Problem:
    address = (*at, key)
    return Problem(address, f"{spell(address)} must be {_EXPECTED[key]}, found {shown(value)}")


def _dollars(value: object) -> Decimal | None:
    """None: it is no amount. A float counts as it is written, not as it is stored."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    try:
        usd = Decimal(str(value))
    except (InvalidOperation, ValueError):
        return None
    return usd if usd.is_finite() and 0 <= usd < MOST_USD else None


def _per(value: object, at: Address) -> Per:
    for per in get_args(Per):
        if value == per:
            found: Per = per
            return found
    raise _wrong(at, "per", value)


def _unpriced(value: object, at: Address) -> Unpriced:
    for word in get_args(Unpriced):
        if value == word:
            found: Unpriced = word
            return found
    raise _wrong(at, "unpriced", value)


def _timezone(value: object, at: Address) -> str:
    if not isinstance(value, str):
        raise _wrong(at, "timezone", value)
    try:
        zone(value)
    except ConfigError as error:
        address = (*at, "timezone")
        raise Problem(address, f"{spell(address)}: {error}") from error
    return value


def _name(table: Mapping[str, object], at: Address, key: str) -> str | None:
    value = table.get(key)
    if value is None or (isinstance(value, str) and value):
        return value
    raise Problem((*at, key), f"{spell((*at, key))} must be a name, or '*' for each its own, found {shown(value)}")


def _unknown(budget: Budget, profiles: Mapping[str, Profile]) -> tuple[str, str] | None:
    """Which of its names is not there, "profile" or "alias", and what to say of it; None where all are. An alias with a
    colon is a package's, or a model."""
    looked = list(profiles.values())
    if budget.profile is not None and budget.profile != EACH:
        if budget.profile not in profiles:
            return "profile", _not_there("profile", budget.profile, tuple(profiles))
        looked = [profiles[budget.profile]]
    known = tuple(dict.fromkeys(alias for profile in looked for alias in profile.bindings))
    alias = budget.alias
    if alias is not None and alias not in (EACH, *known) and ":" not in alias:
        return "alias", _not_there("alias", alias, known)
    return None


def _not_there(what: str, name: str, known: tuple[str, ...]) -> str:
    near = near_key(name, known, cutoff=0.6)
    hint = f"did you mean {near!r}?" if near else f"known: {_listed(known) or 'none'}"
    return f"there is no {what} {shown(name)}, so nothing would be held back: {hint}"


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(map(repr, names))
