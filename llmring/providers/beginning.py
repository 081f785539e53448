"""How a provider's credential, limit groups and headers begin, from its settings and one of its keys. Sends nothing.

For the worker of a key that is used, and for a look at routes that nobody has asked for: see unasked.py.
"""

import hashlib
from collections.abc import Callable, Mapping

from llmring.errors import MissingKey
from llmring.providers.budget import Budget
from llmring.providers.concurrency import Concurrency
from llmring.providers.credential import Credential
from llmring.providers.endpoint import Endpoint
from llmring.providers.group import Group


def named_keys(keys: Mapping[str, str]) -> tuple[tuple[str | None, str | None], ...]:
    """The keys that are set, by variable, with their names: of several alone, for a single one has no need of one.
    Without any, one that is missing."""
    if len(keys) > 1:
        return tuple(keys.items())
    return ((None, next(iter(keys.values()), None)),)


def missing_key(endpoint: Endpoint, key: str | None, *, given: bool = False) -> MissingKey | None:
    """What to raise where a key is needed and there is none. `given`: keys are the program's, not the environment's."""
    if key is None and endpoint.key_variables and endpoint.needs_key:
        return MissingKey(endpoint.name, endpoint.key_variables, given=given)
    return None


def credential(
    endpoint: Endpoint,
    key: str | None,
    random: Callable[[], float],
    now: float,
    variable: str | None = None,
    *,
    given: bool = False,
) -> Credential:
    """A key with nothing taken out of its limits. `variable` names it where its provider has several; `given` as for
    `missing_key`."""
    budget = Budget(endpoint.limits, now)
    concurrency = Concurrency(endpoint.max_in_flight) if endpoint.finds_in_flight else None
    begun = Credential(budget, endpoint.max_in_flight, random, concurrency, variable)
    missing = missing_key(endpoint, key, given=given)
    begun.missing = str(missing) if missing is not None else None
    return begun


def headers(endpoint: Endpoint, key: str | None) -> dict[str, str]:
    """What every request bears, the key among it."""
    auth = endpoint.wire.chat.auth(key) if key is not None else ()
    return {**endpoint.headers, **dict(auth)}


def account(endpoint: Endpoint, sent: Mapping[str, str]) -> str:
    """A digest of the address and the headers: what was learned with others is of another account."""
    return hashlib.sha256(repr((endpoint.name, endpoint.base_url, sorted(sent.items()))).encode()).hexdigest()


def group_key(endpoint: Endpoint, model: str) -> tuple[str, ...]:
    """The same for the models that share their limits."""
    named = endpoint.group(model)
    return (named.name, *named.models) if named is not None else ("", model)


def group(endpoint: Endpoint, model: str, now: float) -> Group:
    """The limits of a model, its own or those of its group, with nothing taken out of them."""
    named = endpoint.group(model)
    if named is None:
        return Group(None, (), now, endpoint.counted)
    return Group(named.name, endpoint.limits_of(named), now, endpoint.counted)
