"""What the environment and the disk say about this process: settings, which lockfile, provider keys.

The only module that reads the environment. It reads nothing when imported, and it never shows a value that may be a
key.
"""

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from llmring.errors import ConfigError, LockfileMissing
from llmring.ledger_url import LedgerUrl, parse_ledger

LOCKFILE_VARIABLE = "LLMRING_LOCKFILE_PATH"
PROFILE_VARIABLE = "LLMRING_PROFILE"
LOCKFILE_NAME = "llmring.lock"
REGISTRY_URL_VARIABLE = "LLMRING_REGISTRY_URL"
REGISTRY_URL = "https://llmring.github.io/registry"
REFRESH_VARIABLE = "LLMRING_REGISTRY_REFRESH"
STATUS_VARIABLE = "LLMRING_STATUS"
DECISIONS_VARIABLE = "LLMRING_DECISIONS"
STATE_VARIABLE = "LLMRING_STATE"
RECEIPTS_VARIABLE = "LLMRING_RECEIPTS"
SIGNING_KEY_VARIABLE = "LLMRING_SIGNING_KEY"
LEDGER_NAME = "ledger.db"
SIGNING_KEY_NAME = "signing.key"
CONTENT_VARIABLE = "LLMRING_TRACE_CONTENT"
OTEL_CONTENT_VARIABLE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
OTLP_PROTOCOL = "http/protobuf"
_OTEL_CONTENT = ("span_only", "span_and_event")
_OFF = ("off", "0", "no", "false")
_ON = ("on", "1", "yes", "true")
BASE_URL_VARIABLES: Mapping[str, str] = {"ollama": "OLLAMA_BASE_URL"}
"""By provider, the variable that says where it is, where the lockfile does not."""

BUNDLED_LOCKFILE = Path(__file__).parent / LOCKFILE_NAME
"""The lockfile of last resort: one alias, `advisor`."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the environment sets. None: not set, or blank.

    `cache_directory` is where registry lists are kept, None where there is no home; `refresh`: whether a router may
    renew them over the network. `status`: whether a router shows its state to `llmring status`, or in which directory.
    `decisions` is the file that a router appends its decisions to. `state_directory` is where routers keep what they
    have learned of limits, None where they are not to, or there is no home. `receipts`: whether a router keeps a
    ledger, or in which file or database; `data_directory` is where it is by default, None where there is no home.
    `trace_content`: whether spans hold prompts, answers and tool arguments.
    """

    lockfile_path: Path | None = None
    profile: str | None = None
    cache_directory: Path | None = None
    refresh: bool = True
    status: bool | Path | None = None
    decisions: Path | None = None
    state_directory: Path | None = None
    receipts: bool | Path | LedgerUrl | None = None
    data_directory: Path | None = None
    trace_content: bool = False


def read_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    path = environ.get(LOCKFILE_VARIABLE, "").strip()
    profile = environ.get(PROFILE_VARIABLE, "").strip()
    decisions = environ.get(DECISIONS_VARIABLE, "").strip()
    return Settings(
        lockfile_path=Path(path) if path else None,
        profile=profile or None,
        cache_directory=_cache_directory(environ),
        refresh=environ.get(REFRESH_VARIABLE, "").strip().lower() not in _OFF,
        status=_switch(environ.get(STATUS_VARIABLE, "").strip()),
        decisions=Path(decisions) if decisions else None,
        state_directory=_state_directory(environ),
        receipts=_receipts(environ.get(RECEIPTS_VARIABLE, "").strip()),
        data_directory=_data_directory(environ),
        trace_content=_trace_content(environ),
    )


def _trace_content(environ: Mapping[str, str]) -> bool:
    """Ours decides where both are set; only words that we know ask for it."""
    ours = environ.get(CONTENT_VARIABLE, "").strip().lower()
    theirs = environ.get(OTEL_CONTENT_VARIABLE, "").strip().lower()
    return ours in _ON if ours else theirs in (*_ON, *_OTEL_CONTENT)


class Exports(msgspec.Struct, frozen=True, kw_only=True):
    """What OpenTelemetry's standard variables ask of a program: spans, metrics, over OTLP. `is_off`: nothing at all."""

    spans: bool = False
    metrics: bool = False
    is_off: bool = False
    other_protocol: str | None = None
    """The protocol that is asked for and not spoken here; then nothing is sent."""


def read_exports(environ: Mapping[str, str] = os.environ) -> Exports:
    """Whether to send spans and metrics, by whether it is said where to."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return Exports(is_off=True)
    spans, metrics = (_is_exported(signal, environ) for signal in ("TRACES", "METRICS"))
    protocol = environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "").strip() or OTLP_PROTOCOL
    if (spans or metrics) and protocol != OTLP_PROTOCOL:
        return Exports(other_protocol=protocol)
    return Exports(spans=spans, metrics=metrics)


def _is_exported(signal: str, environ: Mapping[str, str]) -> bool:
    where = (environ.get(f"OTEL_EXPORTER_OTLP_{part}", "").strip() for part in (f"{signal}_ENDPOINT", "ENDPOINT"))
    by = environ.get(f"OTEL_{signal}_EXPORTER", "").strip() or "otlp"
    return any(where) and "otlp" in (name.strip() for name in by.split(","))


def has_otlp_timeout(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether somebody has said how long an export over OTLP may take."""
    return any(
        environ.get(f"OTEL_EXPORTER_OTLP_{part}", "").strip()
        for part in ("TIMEOUT", "TRACES_TIMEOUT", "METRICS_TIMEOUT")
    )


def _switch(value: str) -> bool | Path | None:
    if not value:
        return None
    word = value.lower()
    return word in _ON if word in _ON or word in _OFF else Path(value)


def _receipts(value: str) -> bool | Path | LedgerUrl | None:
    said = _switch(value)
    return parse_ledger(value) if isinstance(said, Path) else said


def _cache_directory(environ: Mapping[str, str]) -> Path | None:
    base = _base_directory(environ, "XDG_CACHE_HOME", ".cache")
    return base / "llmring" / "registry" if base is not None else None


def _state_directory(environ: Mapping[str, str]) -> Path | None:
    asked = environ.get(STATE_VARIABLE, "").strip()
    if asked.lower() in _OFF:
        return None
    if asked and asked.lower() not in _ON:
        return Path(asked)
    base = _base_directory(environ, "XDG_STATE_HOME", ".local/state")
    return base / "llmring" if base is not None else None


def _data_directory(environ: Mapping[str, str]) -> Path | None:
    base = _base_directory(environ, "XDG_DATA_HOME", ".local/share")
    return base / "llmring" if base is not None else None


def _base_directory(environ: Mapping[str, str], variable: str, under_home: str) -> Path | None:
    """By the XDG base directory specification: a relative path is none."""
    named = environ.get(variable, "").strip()
    home = environ.get("HOME", "").strip()
    if named and Path(named).is_absolute():
        return Path(named)
    return Path(home) / under_home if home else None


class LedgerPlace(msgspec.Struct, frozen=True, kw_only=True):
    """Where a ledger is, and the file of the key that signs it: beside a file; for a database beside the ledger that
    this user has by default, None where there is no home."""

    where: Path | LedgerUrl
    key: Path | None


def ledger_place(asked: Path | str | bool | None, settings: Settings) -> LedgerPlace | None:
    """The ledger: `asked`, LLMRING_RECEIPTS, ~/.local/share/llmring/ledger.db. None where there is no home.

    `asked` true, or None with a setting that names none, is the last of these. Raises ConfigError for an address that
    is none of PostgreSQL.
    """
    named = settings.receipts if asked is None else asked
    home = settings.data_directory
    if named is None or isinstance(named, bool):
        return LedgerPlace(where=home / LEDGER_NAME, key=home / SIGNING_KEY_NAME) if home is not None else None
    where = named if isinstance(named, LedgerUrl) else parse_ledger(named)
    if isinstance(where, LedgerUrl):
        where.reveal()
        return LedgerPlace(where=where, key=home / SIGNING_KEY_NAME if home is not None else None)
    path = Path.cwd() / os.path.expanduser(where)
    return LedgerPlace(where=path, key=path.parent / SIGNING_KEY_NAME)


def read_signing_key(environ: Mapping[str, str] = os.environ) -> str | None:
    """The private key that the environment holds, PKCS #8 in PEM or base64; None where it holds none."""
    return environ.get(SIGNING_KEY_VARIABLE, "").strip() or None


def status_directory(asked: Path | str | None = None, environ: Mapping[str, str] = os.environ) -> Path:
    """Where the sockets of `llmring status` are: `asked`, $XDG_RUNTIME_DIR/llmring, one in the temporary directory.

    A runtime directory that is not there, or is another user's (as after `sudo -E`), is none. Raises ConfigError for a
    relative path: whoever asks for the status is elsewhere.
    """
    if asked is not None:
        path = Path(os.path.expanduser(asked))
        if not path.is_absolute():
            raise ConfigError(
                f"status, or {STATUS_VARIABLE}, must be on, off or the absolute path of a directory, not {str(asked)!r}"
            )
        return path
    runtime = environ.get("XDG_RUNTIME_DIR", "").strip()
    if runtime and Path(runtime).is_absolute() and _is_own(runtime):
        return Path(runtime) / "llmring"
    return Path(tempfile.gettempdir()) / f"llmring-{user_id()}"


def user_id() -> int:
    """Whose files this process makes; 0 where files have no owners."""
    return os.geteuid() if hasattr(os, "geteuid") else 0


def _is_own(directory: str) -> bool:
    try:
        return os.stat(directory).st_uid == user_id()
    except (OSError, ValueError):
        return False


def read_registry_url(argument: str | None = None, environ: Mapping[str, str] = os.environ) -> str:
    """Where the registry is: `argument`, LLMRING_REGISTRY_URL, the public one.

    Raises ConfigError for what is not https, a file, or http to this machine.
    """
    url = (argument or environ.get(REGISTRY_URL_VARIABLE, "").strip() or REGISTRY_URL).rstrip("/")
    parts = urlsplit(url)
    loopback = parts.hostname in ("localhost", "127.0.0.1", "::1")
    if "@" in parts.netloc or not (
        (parts.scheme == "https" and parts.hostname)
        or (parts.scheme == "http" and loopback)
        or (parts.scheme == "file" and parts.path)
    ):
        who = "registry_url" if argument else REGISTRY_URL_VARIABLE
        raise ConfigError(f"{who} must be https://..., file:///..., or http:// on this machine, without a password")
    return url


class Located(msgspec.Struct, frozen=True, kw_only=True):
    """A lockfile and what led to it, in words."""

    path: Path
    found_by: str


def find_lockfile(argument: Path | str | None, settings: Settings, directory: Path) -> Path:
    """The lockfile to read: `argument`, LLMRING_LOCKFILE_PATH, `directory`/llmring.lock, the bundled one.

    One that was named must exist: LockfileMissing says who named it. A relative path starts at `directory`, `~` is the
    home directory.
    """
    return locate_lockfile(argument, settings, directory).path


def locate_lockfile(
    argument: Path | str | None, settings: Settings, directory: Path, *, must_exist: bool = True
) -> Located:
    """As `find_lockfile`, and by what; with `must_exist` false, where a new one belongs: never the bundled one."""
    if argument is not None:
        return _located(Path(argument), directory, "the lockfile argument", must_exist=must_exist)
    if settings.lockfile_path is not None:
        return _located(settings.lockfile_path, directory, LOCKFILE_VARIABLE, must_exist=must_exist)
    local = directory / LOCKFILE_NAME
    # lexists: a broken link or an unreadable file was put there on purpose, and reading it will say what is wrong.
    if not must_exist or os.path.lexists(local):
        return Located(path=local, found_by=f"./{LOCKFILE_NAME}")
    return Located(path=BUNDLED_LOCKFILE, found_by="the bundled one, for want of another")


def _located(path: Path, directory: Path, who: str, *, must_exist: bool) -> Located:
    return Located(
        path=_named(path, directory, who) if must_exist else directory / os.path.expanduser(path), found_by=who
    )


def _named(path: Path, directory: Path, who: str) -> Path:
    path = directory / os.path.expanduser(path)
    try:
        path.stat()
    except FileNotFoundError:
        raise LockfileMissing(path, f"no such file (named by {who})") from None
    except (OSError, ValueError) as error:
        why = str(getattr(error, "strerror", None) or error).lower()
        raise LockfileMissing(path, f"{why} (named by {who})") from error
    if path.is_dir():
        raise LockfileMissing(path, f"is a directory, not a file (named by {who})")
    return path


def read_base_url(provider: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """Where `provider` is, by the environment; None where that does not say. Raises ConfigError for what is no URL."""
    variable = BASE_URL_VARIABLES.get(provider)
    value = environ.get(variable, "").strip().rstrip("/") if variable is not None else ""
    if value and not value.startswith(("http://", "https://")):
        raise ConfigError(f"{variable} must be an http or https URL, such as 'http://localhost:11434'")
    return value or None


def read_key(variables: Sequence[str], environ: Mapping[str, str] = os.environ) -> str | None:
    """The first of `variables` that is set and not blank, stripped; None when there is none.

    A key travels in a header, so one that holds a line break, a control character or a letter outside ASCII cannot be
    sent: ConfigError names the variable, never the value.
    """
    return next((key for _, key in _keys(variables, environ)), None)


def read_keys(variables: Sequence[str], environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The keys of all of `variables` that are set, as `read_key` reads one, by variable; one key that two of them hold
    is the first one's."""
    found: dict[str, str] = {}
    for variable, key in _keys(variables, environ):
        if key not in found.values():
            found[variable] = key
    return found


def _keys(variables: Sequence[str], environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for variable in variables:
        key = environ.get(variable, "").strip()
        if not key:
            continue
        if not (key.isascii() and key.isprintable()):
            raise ConfigError(
                f"{variable} holds a character that no key has (a line break, a control character, "
                "or one outside ASCII): set it again"
            )
        yield variable, key
