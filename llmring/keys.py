"""Which providers can be asked: whether the environment holds a key for each, and which. Never shows one."""

from collections.abc import Callable, Mapping

from llmring.arguments import TEXT, as_text, check_kind
from llmring.config import read_base_url, read_key, read_keys
from llmring.errors import ConfigError
from llmring.lockfile import Lockfile
from llmring.providers.endpoint import Endpoint, endpoint
from llmring.providers.known import PROVIDERS


def missing_key(lockfile: Lockfile | None, keys: Mapping[str, str] | None = None) -> Callable[[str], str | None]:
    """A function that says of a provider which variable to set for it, None where none is missing."""

    def missing(provider: str) -> str | None:
        settings = lockfile.providers.get(provider) if lockfile is not None else None
        try:
            about = endpoint(provider, settings, read_base_url(provider))
        except ConfigError as error:
            return str(error)
        if not about.key_variables or not about.needs_key:
            return None
        key = read_key(about.key_variables) if keys is None else read_key(about.key_variables, keys)
        return None if key is not None else f"no key: set {' or '.join(about.key_variables)}"

    return missing


def check_keys(keys: object, lockfile: Lockfile) -> None:
    """Refuse the `keys` of a program that are no text, or stand under the names of providers and not of variables.
    Others may be among them that nobody needs, as in the environment. Raises ConfigError, which shows no value."""
    if keys is None:
        return
    if not isinstance(keys, Mapping):
        raise ConfigError(f"keys must be a dictionary by the names of variables, not {type(keys).__name__}")
    for name, key in keys.items():
        as_text("a name in keys", name, ConfigError)
        check_kind(f"keys[{name!r}]", TEXT, key, ConfigError)
        settings = lockfile.providers.get(name)
        if settings is None and name not in PROVIDERS:
            continue
        variables = endpoint(name, settings, read_base_url(name)).key_variables
        if variables and name not in variables and not any(variable in keys for variable in variables):
            raise ConfigError(f"keys are by the names of variables: {variables[0]!r}, not {name!r}")


def keys_in_use(about: Endpoint, keys: Mapping[str, str] | None = None) -> dict[str, str]:
    """The keys that a provider is asked with, by variable: all that are set where each variable holds one of its own,
    else the first. `keys` stand in for the environment. Raises ConfigError for one that cannot be sent."""
    variables = about.key_variables
    if about.many_keys:
        return read_keys(variables) if keys is None else read_keys(variables, keys)
    for variable in variables:
        key = read_key([variable]) if keys is None else read_key([variable], keys)
        if key is not None:
            return {variable: key}
    return {}
