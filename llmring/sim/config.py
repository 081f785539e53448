"""What a simulator is told: the providers it plays, their limits, latency, replies and faults. Pure but for
reading a file.

Must not import asyncio or aiolimiter: programs that only start a simulator read this file too.
"""

import re
import tomllib
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec

from llmring.sim.faults import Fault
from llmring.sim.latency import Fixed, Latency

_T = TypeVar("_T")
PerMinute = Annotated[int, msgspec.Meta(ge=1)]


class ProviderConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One provider. An absent limit is not enforced and not announced. Limits hold for each key apart."""

    requests_per_minute: PerMinute | None = None
    #: Charged with the estimated prompt at admission; output is not deducted (what OpenAI does).
    tokens_per_minute: PerMinute | None = None
    #: Charged with the estimated prompt at admission (what Anthropic does).
    input_tokens_per_minute: PerMinute | None = None
    #: Charged with what was really generated, after the reply; admission needs something left (what Anthropic
    #: does).
    output_tokens_per_minute: PerMinute | None = None
    #: Time to the first byte.
    latency: Latency = Fixed()
    #: Streams only: pause before each content chunk but the first; a chunk is one token.
    seconds_per_token: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    #: Every text reply is exactly this long, unless max_tokens or a stop sequence ends it earlier.
    reply_tokens: Annotated[int, msgspec.Meta(ge=1)] = 16
    #: The thought before a reply, where a request asks for reasoning; it counts toward max_tokens.
    thinking_tokens: Annotated[int, msgspec.Meta(ge=1)] = 12
    #: From handing in a batch until it has ended; its rows are answered evenly in between.
    batch_seconds: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    #: Of a batch's rows, how many are never tried; spread evenly.
    batch_expired_share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    #: Models that exist, also in the lists of models; empty: every name does, and the lists show samples.
    models: tuple[str, ...] = ()
    #: Whether replies carry rate-limit headers. Refusals carry retry-after in any case.
    headers: bool = True
    #: Keys accepted; empty: any key that is not empty.
    keys: tuple[str, ...] = ()
    #: Of the latency draws and fault probabilities.
    seed: int = 0
    faults: tuple[Fault, ...] = ()


def _default_providers() -> dict[str, ProviderConfig]:
    return {name: ProviderConfig() for name in ("default", "openai", "anthropic", "google", "ollama")}


class SimConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Providers by the name that is their path prefix; "default" is also served without a prefix."""

    providers: dict[str, ProviderConfig] = msgspec.field(default_factory=_default_providers)


class SimConfigError(ValueError):
    """The configuration cannot be used; the message names the file and the field."""


def load_config(path: Path) -> SimConfig:
    """Read a TOML (`.toml`) or JSON (any other name) file. SimConfigError says what is wrong and where."""
    try:
        data = path.read_bytes()
        tree = tomllib.loads(data.decode()) if path.suffix == ".toml" else msgspec.json.decode(data)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.DecodeError) as error:
        raise SimConfigError(f"{path}: {error}") from error
    try:
        return parse_config(tree)
    except SimConfigError as error:
        raise SimConfigError(f"{path}: {error}") from error


def parse_config(tree: object) -> SimConfig:
    """Check a decoded configuration. SimConfigError names the field."""
    if not isinstance(tree, dict):
        raise SimConfigError("expected a table at the top")
    providers = tree.get("providers")
    if isinstance(providers, dict):
        # One at a time, because msgspec does not name the key of a mapping in its messages.
        for name, table in providers.items():
            if not re.fullmatch(r"[A-Za-z0-9_.-]+", str(name)) or str(name).startswith("__"):
                raise SimConfigError(f"providers.{name}: a provider's name must be usable in a URL path")
            _convert(table, ProviderConfig, f"providers.{name}")
    return _convert(tree, SimConfig, "")


def parse_fault(body: bytes) -> tuple[str, Fault]:
    """Provider and fault of a `POST /__control`. SimConfigError names the field."""
    try:
        command = msgspec.json.decode(body, type=_Command)
    except msgspec.DecodeError as error:
        raise SimConfigError(_name_field(str(error), "")) from error
    return command.provider, command.fault


class _Command(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    fault: Fault
    provider: str = "default"


def _convert(tree: object, kind: type[_T], where: str) -> _T:
    try:
        return msgspec.convert(tree, kind)
    except msgspec.ValidationError as error:
        raise SimConfigError(_name_field(str(error), where)) from error


def _name_field(message: str, where: str) -> str:
    """msgspec's "... - at `$.field`" as "where.field: ..."."""
    what, _, place = message.partition(" - at `$")
    path = (where + place.rstrip("`")).lstrip(".")
    return f"{path}: {what}" if path else what
