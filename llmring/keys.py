"""Which providers can be asked: whether the environment holds a key for each, and which. Never shows one."""

from collections.abc import Callable, Mapping

from llmring.config import read_base_url, read_key, read_keys
from llmring.errors import ConfigError
from llmring.lockfile import Lockfile
from llmring.providers.endpoint import Endpoint, endpoint


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
