"""A list as the registry publishes it (<provider>/models.json, <provider>/v/N/models.json), read without trust. Pure.

Anything may come over a network or stand in a cache: whatever the bytes are, the answer is a PublishedList or a
RegistryError, and a list is refused as a whole only when it is no registry list. Of a list, what is wrong is left out
by entry or by field, with a Fault.
"""

import json
from collections import Counter
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path

import msgspec

from llmring.errors import RegistryError
from llmring.refs import ModelRef
from llmring.registry.anomalies import mend
from llmring.registry.catalog import Json, ModelFacts, Source
from llmring.registry.entries import TWICE, Repeated, parse_day, read_entry, shown
from llmring.registry.faults import Fault

__all__ = ["HASH_KEY", "Fault", "PublishedList", "parse_published"]

HASH_KEY = "content_sha256_jcs"
_NOT_A_NUMBER = Decimal("NaN")
_LAST_VERSION = 10**9


class PublishedList(msgspec.Struct, frozen=True, kw_only=True):
    """One provider's list. `published` is the day in the zone of whoever wrote it; the lists name none.

    `models`: in the list's order, anomalies mended. `content_sha256`: what the list says of itself, see digest.py.
    """

    provider: str
    version: int
    published: date | None
    models: tuple[ModelFacts, ...]
    faults: tuple[Fault, ...] = ()
    content_sha256: str | None = None

    @property
    def source(self) -> Source:
        """The provenance of every model of the list."""
        return Source(provider=self.provider, version=self.version, published=self.published)


def parse_published(data: bytes, place: Path | str) -> PublishedList:
    """Read a published list. `place`: where it is from, for messages. Raises RegistryError when it is no such list."""
    document = _document(data, place)
    provider, version = _provider(document, place), _version(document, place)
    published, faults = _published(document)
    source = Source(provider=provider, version=version, published=published)
    entries, repeated = _entries(document, place)
    faults += [Fault(model=key, kind="duplicate", what=TWICE) for key in repeated]
    if isinstance(document, Repeated):
        faults += [Fault(field=key, kind="duplicate", what=TWICE) for key in document.repeated]
    models: dict[ModelRef, ModelFacts] = {}
    for key, entry in entries:
        facts, wrong = read_entry(key, entry, source)
        faults += wrong
        if facts is not None and facts.ref in models:
            faults.append(Fault(model=facts.ref.model, kind="duplicate", what=TWICE))
        elif facts is not None:
            models[facts.ref] = facts
    mended, anomalies = mend(tuple(models.values()))
    sha256 = document.get(HASH_KEY)
    if sha256 is not None and not isinstance(sha256, str):
        faults.append(Fault(field=HASH_KEY, kind="wrong_type", what=f"expected text, not {shown(sha256)}"))
    return PublishedList(
        provider=provider,
        version=version,
        published=published,
        models=mended,
        faults=(*faults, *anomalies),
        content_sha256=sha256 if isinstance(sha256, str) else None,
    )


def _document(data: bytes, place: Path | str) -> dict[str, Json]:
    try:
        # Not msgspec: it would refuse a whole list for one NaN, and keep the last of two keys without a word.
        document = json.loads(
            data.decode(),
            object_pairs_hook=_once,
            parse_float=_number,
            parse_constant=lambda _: _NOT_A_NUMBER,
        )
    # Text that is not UTF-8, text that is not JSON, a number of thousands of digits; and brackets without end.
    except (ValueError, RecursionError) as error:
        raise RegistryError(place, f"no registry list: not JSON ({error})") from error
    if not isinstance(document, dict):
        raise RegistryError(place, f"no registry list: expected an object, not {shown(document)}")
    return document


def _once(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    first = Repeated()
    for key, value in pairs:
        first.setdefault(key, value)
    times = Counter(key for key, _ in pairs)
    first.repeated = tuple(key for key in first if times[key] > 1)
    return first


def _number(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        # An exponent beyond what Decimal can hold.
        return _NOT_A_NUMBER


def _provider(document: dict[str, Json], place: Path | str) -> str:
    provider = document.get("provider")
    if not isinstance(provider, str):
        raise RegistryError(place, "no registry list: 'provider' is no text")
    try:
        is_name = ModelRef.parse(f"{provider}:model").provider == provider
    except ValueError:
        is_name = False
    if not is_name:
        raise RegistryError(place, f"no registry list: {shown(provider)} is no name of a provider")
    return provider


def _version(document: dict[str, Json], place: Path | str) -> int:
    version = document.get("version")
    if isinstance(version, bool) or not isinstance(version, int) or not 0 <= version <= _LAST_VERSION:
        raise RegistryError(place, f"no registry list: 'version' is {shown(version)}, not a whole number")
    return version


def _published(document: dict[str, Json]) -> tuple[date | None, list[Fault]]:
    """The day of `updated_at`. The real lists give a local time without its zone, so only the day is worth keeping."""
    field = "updated_at"
    value = document.get(field)
    if value is None:
        return None, [Fault(field=field, kind="missing_key", what="is missing: the list has no date")]
    day = parse_day(value) if isinstance(value, str) else None
    if not isinstance(value, str) or day is None:
        return None, [Fault(field=field, kind="wrong_value", what=f"{shown(value)} is no date or time")]
    try:
        is_naive = datetime.fromisoformat(value).tzinfo is None
    except ValueError:
        return day, [Fault(field=field, kind="wrong_value", what=f"{shown(value)} is no time; its day is taken")]
    if is_naive:
        return day, [Fault(field=field, kind="naive_time", what=f"{shown(value)} has no zone; only its day is taken")]
    return day, []


def _entries(document: dict[str, Json], place: Path | str) -> tuple[list[tuple[str | None, Json]], tuple[str, ...]]:
    """The entries with their keys, and the keys that stand twice. Both shapes: an object and a list."""
    models = document.get("models")
    if isinstance(models, dict):
        return list(models.items()), models.repeated if isinstance(models, Repeated) else ()
    if isinstance(models, list):
        return [(None, entry) for entry in models], ()
    raise RegistryError(place, f"no registry list: 'models' is {shown(models)}, not an object or a list")
