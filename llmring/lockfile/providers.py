"""The [providers.<name>] tables of a lockfile: which codec, where, with which limits. Pure.

Everything is optional: what is not given comes from the table of known providers. A lockfile is committed, so no key
belongs in it; values that may be one are refused without being repeated.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Literal, get_args
from urllib.parse import urlsplit

import msgspec

from llmring.lockfile.lines import Address
from llmring.lockfile.shape import Problem, as_table, check_keys, near_key, shown, spell
from llmring.refs import ModelRef

Kind = Literal[
    "openai",
    "openai-responses",
    "openai-compatible",
    "anthropic",
    "google",
    "ollama",
    "azure",
    "groq",
    "mistral",
    "deepseek",
    "openrouter",
    "together",
    "xai",
    "vllm",
    "lmstudio",
    "llamacpp",
]
"""How a provider is spoken to: a wire format, or a dialect of OpenAI's chat completions."""
KINDS: tuple[Kind, ...] = get_args(Kind)


Counted = Literal["continuously", "by window"]
"""How a provider means "N a minute": a bucket that refills all the time, or what came in the last minute."""
COUNTED: tuple[Counted, ...] = get_args(Counted)

Charges = Literal[
    "input",
    "input at admission",
    "input+output",
    "input+max_tokens",
    "input+max_tokens at admission",
]
"""What a request takes out of a provider's limit of tokens: first what is expected or allowed, and in the end what was
used; `at admission`, the first is kept."""
CHARGES: tuple[Charges, ...] = get_args(Charges)


class LimitGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Models that share their limits at a provider. `models` are names, or their beginnings before a `*`; limits that
    are not given are learned for all of them together."""

    name: str
    models: tuple[str, ...]
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    input_tokens_per_minute: float | None = None
    output_tokens_per_minute: float | None = None
    requests_per_day: float | None = None

    def holds(self, model: str) -> bool:
        """Whether `model`, without its provider, is one of them."""
        return any(_matches(pattern, model) for pattern in self.models)


class Headers(dict[str, str]):
    """Headers by name. Their values are shown to nobody: they hold no credentials, unless somebody has put one there
    under a name that we do not know."""

    def __repr__(self) -> str:
        return f"{{{', '.join(f'{name!r}: ...' for name in self)}}}"


class ProviderSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a lockfile says of one provider. None: not given.

    `kind` is the codec; `api_key_env` the name of the variable that holds the key, or two or more names, each of a key
    of its own; `api_version` Azure's, for addresses with deployments in their path. Limits are above 0 and hold for
    each key, unless `limits_shared`: the keys are of one account. `max_in_flight` is at least 1 and of each key, or
    "auto" to be found out. `charges` is how tokens are charged, `cached_tokens_count` whether cached input is; both are
    known of most kinds. `headers` are sent with every call and hold no credentials. No model is in two of the
    `limit_groups`.
    """

    name: str
    kind: Kind | None = None
    base_url: str | None = None
    api_key_env: str | tuple[str, ...] | None = None
    api_version: str | None = None
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    input_tokens_per_minute: float | None = None
    output_tokens_per_minute: float | None = None
    requests_per_day: float | None = None
    limits_counted: Counted | None = None
    limits_shared: bool | None = None
    charges: Charges | None = None
    cached_tokens_count: bool | None = None
    limit_groups: dict[str, LimitGroup] = {}
    max_in_flight: int | Literal["auto"] | None = None
    headers: dict[str, str] = {}


_KEYS = tuple(name for name in ProviderSettings.__struct_fields__ if name != "name")
_GROUP_KEYS = tuple(name for name in LimitGroup.__struct_fields__ if name != "name")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_API_VERSION = re.compile(r"[0-9A-Za-z.-]{1,40}")
_KEY_PREFIXES = ("sk-", "AIza")
# RFC 9110 section 5.6.2: the characters of a header's name.
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CREDENTIAL_HEADERS = frozenset(
    {"authorization", "proxy-authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie"}
)


def read_providers(value: object) -> dict[str, ProviderSettings]:
    """Read the `providers` table. Raises Problem."""
    tables = as_table(value, ("providers",), "a table of tables: [providers.<name>]", secret=True)
    return {name: _read_provider(name, table) for name, table in tables.items()}


def _read_provider(name: str, value: object) -> ProviderSettings:
    at: Address = ("providers", name)
    _check_name(name, at)
    table = as_table(value, at, secret=True)
    check_keys(table, _KEYS, at)
    return ProviderSettings(
        name=name,
        kind=_kind(table, at),
        base_url=_base_url(table, at),
        api_key_env=_api_key_env(table, at),
        api_version=_api_version(table, at),
        requests_per_minute=_limit(table, at, "requests_per_minute"),
        tokens_per_minute=_limit(table, at, "tokens_per_minute"),
        input_tokens_per_minute=_limit(table, at, "input_tokens_per_minute"),
        output_tokens_per_minute=_limit(table, at, "output_tokens_per_minute"),
        requests_per_day=_limit(table, at, "requests_per_day"),
        limits_counted=_counted(table, at),
        limits_shared=_flag(table, at, "limits_shared"),
        charges=_charges(table, at),
        cached_tokens_count=_flag(table, at, "cached_tokens_count"),
        limit_groups=_limit_groups(table, at, name),
        max_in_flight=_max_in_flight(table, at),
        headers=_headers(table, at),
    )


def _check_name(name: str, at: Address) -> None:
    try:
        parsed = ModelRef.parse(f"{name}:model").provider
    except ValueError:
        raise Problem(
            at, f"{shown(name)} is not a provider's name: lower-case letters, digits, '_', '-', '.'"
        ) from None
    if ":" in name or parsed != name:
        raise Problem(
            at,
            f"{spell(at)}: a provider's name is the lower-case part before the colon of a model, {parsed!r}",
        )


def _wrong(at: Address, key: str, expected: str, value: object) -> Problem:
    # Any string here may be a key that was pasted into the wrong place.
    address = (*at, key)
    return Problem(address, f"{spell(address)} must be {expected}, found {shown(value, secret=True)}")


def _kind(table: Mapping[str, object], at: Address) -> Kind | None:
    value = table.get("kind")
    if value is None:
        return None
    for kind in KINDS:
        if value == kind:
            return kind
    near = near_key(value, KINDS, cutoff=0.6) if isinstance(value, str) else None
    hint = f" (did you mean {near!r}?)" if near else ""
    raise _wrong(at, "kind", "one of " + ", ".join(repr(kind) for kind in KINDS) + hint, value)


def _base_url(table: Mapping[str, object], at: Address) -> str | None:
    value = table.get("base_url")
    if value is None:
        return None
    expected = "an http or https URL with a host, such as 'https://api.example.com/v1'"
    # urlsplit drops tabs and line breaks without a word.
    if not isinstance(value, str) or any(c.isspace() or not c.isprintable() for c in value):
        raise _wrong(at, "base_url", expected, value)
    try:
        url = urlsplit(value)
        has_host = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        # Without its cause: urlsplit quotes what it could not read, and that may be a password.
        raise _wrong(at, "base_url", expected, value) from None
    if not has_host:
        raise _wrong(at, "base_url", expected, value)
    if "@" in url.netloc:
        raise Problem((*at, "base_url"), f"{spell(at)}.base_url must hold no user name or password: use api_key_env")
    if "?" in value or "#" in value:
        raise Problem(
            (*at, "base_url"),
            f"{spell(at)}.base_url must hold no query and no fragment: paths are added to it",
        )
    return value.rstrip("/")


def _api_key_env(table: Mapping[str, object], at: Address) -> str | tuple[str, ...] | None:
    value = table.get("api_key_env")
    if value is None:
        return None
    at = (*at, "api_key_env")
    if not isinstance(value, list):
        return _variable(value, at)
    if not value:
        raise Problem(at, f"{spell(at)} must name at least one environment variable, found an empty list")
    names: list[str] = []
    for number, each in enumerate(value):
        name = _variable(each, (*at, number))
        if name in names:
            raise Problem((*at, number), f"{spell(at)} names one variable twice", first=(*at, names.index(name)))
        names.append(name)
    return tuple(names) if len(names) > 1 else names[0]


def _variable(value: object, at: Address) -> str:
    if not isinstance(value, str) or value.startswith(_KEY_PREFIXES) or not _VARIABLE.fullmatch(value):
        raise Problem(
            at,
            f"{spell(at)} must be the name of an environment variable, such as 'OPENAI_API_KEY', never a "
            "key; what was found is not shown",
        )
    return value


def _api_version(table: Mapping[str, object], at: Address) -> str | None:
    value = table.get("api_version")
    if value is None:
        return None
    if not isinstance(value, str) or not _API_VERSION.fullmatch(value):
        raise _wrong(at, "api_version", "a version of Azure's API, such as '2024-10-21'", value)
    return value


def _limit(table: Mapping[str, object], at: Address, key: str) -> float | None:
    value = table.get(key)
    if value is None:
        return None
    # Compared before converted: an int of thousands of digits has no float. NaN fails every comparison.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e18:
        raise _wrong(at, key, "a number above 0", value)
    return float(value)


def _counted(table: Mapping[str, object], at: Address) -> Counted | None:
    value = table.get("limits_counted")
    if value is None:
        return None
    for counted in COUNTED:
        if value == counted:
            return counted
    raise _wrong(at, "limits_counted", " or ".join(repr(counted) for counted in COUNTED), value)


def _charges(table: Mapping[str, object], at: Address) -> Charges | None:
    value = table.get("charges")
    if value is None:
        return None
    for charges in CHARGES:
        if value == charges:
            return charges
    raise _wrong(at, "charges", "one of " + ", ".join(repr(charges) for charges in CHARGES), value)


def _flag(table: Mapping[str, object], at: Address, key: str) -> bool | None:
    value = table.get(key)
    if value is None or isinstance(value, bool):
        return value
    raise _wrong(at, key, "true or false", value)


def _limit_groups(table: Mapping[str, object], at: Address, provider: str) -> dict[str, LimitGroup]:
    value = table.get("limit_groups")
    if value is None:
        return {}
    at = (*at, "limit_groups")
    tables = as_table(value, at, f"a table of tables: [{spell(at)}.<group>]", secret=True)
    groups = {name: _limit_group(name, each, (*at, name), provider) for name, each in tables.items()}
    _check_apart(groups, at)
    return groups


def _limit_group(name: str, value: object, at: Address, provider: str) -> LimitGroup:
    table = as_table(value, at, secret=True)
    check_keys(table, _GROUP_KEYS, at)
    return LimitGroup(
        name=name,
        models=_grouped_models(table, at, provider),
        requests_per_minute=_limit(table, at, "requests_per_minute"),
        tokens_per_minute=_limit(table, at, "tokens_per_minute"),
        input_tokens_per_minute=_limit(table, at, "input_tokens_per_minute"),
        output_tokens_per_minute=_limit(table, at, "output_tokens_per_minute"),
        requests_per_day=_limit(table, at, "requests_per_day"),
    )


def _grouped_models(table: Mapping[str, object], at: Address, provider: str) -> tuple[str, ...]:
    value = table.get("models")
    if value is None:
        raise Problem(at, f"{spell(at)} needs models: the list of those that share these limits")
    if not isinstance(value, list) or not value:
        raise _wrong(at, "models", "a list of the provider's models, such as ['gpt-4o', 'gpt-4o-*']", value)
    at = (*at, "models")
    for number, each in enumerate(value):
        if not isinstance(each, str) or not each or "*" in each[:-1] or not each.isprintable():
            text = f"{spell((*at, number))} must be a model's name, or its beginning and a '*', found {shown(each)}"
            raise Problem((*at, number), text)
        if each.startswith(f"{provider}:"):
            bare = each.removeprefix(f"{provider}:")
            text = f"{spell((*at, number))}: without its provider, {bare!r}: it is in [providers.{provider}] already"
            raise Problem((*at, number), text)
    return tuple(value)


def _check_apart(groups: Mapping[str, LimitGroup], at: Address) -> None:
    """Refuse a model in two groups. Raises Problem."""
    before: list[tuple[str, str, Address]] = []
    for address, name, pattern in _patterns(groups, at):
        for other, held, first in before:
            if other != name and (_matches(held, _start(pattern)) or _matches(pattern, _start(held))):
                again = "" if held == pattern else f", as {held!r}"
                raise Problem(address, f"{spell(address)}: {pattern!r} is in group {other!r} too{again}", first=first)
        before.append((name, pattern, address))


def _patterns(groups: Mapping[str, LimitGroup], at: Address) -> Iterator[tuple[Address, str, str]]:
    for name, group in groups.items():
        for number, pattern in enumerate(group.models):
            yield (*at, name, "models", number), name, pattern


def _matches(pattern: str, model: str) -> bool:
    """Whether a model's name, or a beginning of names, is one that `pattern` stands for."""
    return model.startswith(_start(pattern)) if pattern.endswith("*") else model == pattern


def _start(pattern: str) -> str:
    return pattern.removesuffix("*")


def _max_in_flight(table: Mapping[str, object], at: Address) -> int | Literal["auto"] | None:
    value = table.get("max_in_flight")
    if value is None:
        return None
    if value == "auto":
        return "auto"
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value < 10**9:
        raise _wrong(at, "max_in_flight", "a whole number, at least 1, or 'auto'", value)
    return value


def _headers(table: Mapping[str, object], at: Address) -> dict[str, str]:
    value = table.get("headers")
    if value is None:
        return {}
    headers = Headers()
    table_of_headers = as_table(value, (*at, "headers"), "a table of names and strings", secret=True)
    for name, text in table_of_headers.items():
        address = (*at, "headers", name)
        if not _HEADER_NAME.fullmatch(name):
            raise Problem(address, f"{spell((*at, 'headers'))}: {shown(name)} is not a header's name")
        if name.lower() in _CREDENTIAL_HEADERS:
            raise Problem(
                address,
                f"{spell(address)}: keys do not belong in a lockfile, it is committed: set api_key_env to the name of "
                "the variable that holds the key",
            )
        if not isinstance(text, str) or not (text.isascii() and text.isprintable()):
            raise _wrong((*at, "headers"), name, "a string of printable ASCII characters", text)
        headers[name] = text
    return headers
