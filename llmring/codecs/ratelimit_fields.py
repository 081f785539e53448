"""The IETF's `RateLimit` and `RateLimit-Policy` fields. Pure.

Source: draft-ietf-httpapi-ratelimit-headers, version 10 (2025) and those up to 06, whose fields are still sent. No RFC
yet, so senders differ: Hugging Face puts the kind of window before a policy's name, which no parser of structured
fields takes (https://huggingface.co/docs/hub/rate-limits, 2025-09). Hence this one, which passes over what it does not
know.
"""

import re
from collections.abc import Iterator, Mapping

import msgspec

from llmring.codecs.codec import LimitUpdate
from llmring.errors import Dimension

_LONGEST_FIELD = 1000
_LONGEST_SHORT_SECONDS = 3600.0
"""Requests by a longer window are counted with those of the day."""
_ITEM = re.compile(r'(?:"[^"]*"|[^",])+')
_PART = re.compile(r'(?:"[^"]*"|[^";])+')
_NUMBER = re.compile(r"\d{1,15}")


class _Item(msgspec.Struct, frozen=True):
    """`"name";r=1`, and also `100;w=60` and `limit=100`."""

    name: str
    parameters: Mapping[str, str]

    def number(self, parameter: str) -> float | None:
        text = self.parameters.get(parameter, "")
        return float(text) if _NUMBER.fullmatch(text) else None


def read_fields(headers: Mapping[str, str]) -> tuple[LimitUpdate, ...]:
    """The limits of requests that the fields tell together with their windows; of other units nothing is read."""
    if "ratelimit-policy" not in headers:
        return ()
    policies = {item.name: item for item in _items(headers, "ratelimit-policy")}
    services = [(item.name, None, item.number("r")) for item in _items(headers, "ratelimit")]
    updates = []
    for name, limit, remaining in (*services, *_older(headers)):
        policy = policies.get(name)
        window = policy.number("w") if policy is not None else None
        if policy is None or not window or remaining is None or policy.parameters.get("qu", "requests") != "requests":
            continue
        quota = limit or policy.number("q")
        if quota:
            dimension: Dimension = "requests" if window <= _LONGEST_SHORT_SECONDS else "day"
            updates.append(LimitUpdate(dimension=dimension, limit=quota, remaining=remaining, period=window))
    return tuple(updates)


def seconds_until_reset(headers: Mapping[str, str]) -> float | None:
    """After how long the quotas of which nothing remains are given out anew."""
    empty = [item.number("t") for item in _items(headers, "ratelimit") if item.number("r") == 0]
    return max((seconds for seconds in empty if seconds), default=None)


def _older(headers: Mapping[str, str]) -> Iterator[tuple[str, float | None, float | None]]:
    """Fields of their own, or one dictionary; the policy is then named by its quota: `100;w=60`."""
    one = {name: value for item in _items(headers, "ratelimit") for name, value in item.parameters.items()}
    first = next(_items(headers, "ratelimit-limit"), _Item("", {})).name or one.get("limit", "")
    left = headers.get("ratelimit-remaining", one.get("remaining", "")).strip()
    if _NUMBER.fullmatch(first) and _NUMBER.fullmatch(left):
        yield first, float(first), float(left)


def _items(headers: Mapping[str, str], name: str) -> Iterator[_Item]:
    text = headers.get(name, "")
    for item in _ITEM.findall(text) if len(text) <= _LONGEST_FIELD else ():
        parts = [part.strip() for part in _PART.findall(item)]
        named = [part.strip('"') for part in parts if part.startswith('"') or "=" not in part]
        pairs = [part.partition("=") for part in parts if not part.startswith('"') and "=" in part]
        yield _Item(named[-1] if named else "", {key.strip(): value.strip().strip('"') for key, _, value in pairs})
