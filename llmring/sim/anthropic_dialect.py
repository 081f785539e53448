"""How Anthropic reads keys and writes errors, ids and limit headers, at every one of its endpoints.

Shapes follow the official documentation and recorded traffic. Must not share code with the router's codec:
whoever misreads the format on one side must be contradicted by the other.
"""

import math
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import msgspec

from llmring.sim.limits import Dimension, Level, Refused
from llmring.sim.wire import Failure, Headers, Problem, ProblemKind


def key(headers: Mapping[bytes, bytes]) -> str:
    """`x-api-key` wins over a bearer token, as at the real one."""
    own = headers.get(b"x-api-key", b"").decode("latin-1").strip()
    scheme, _, value = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    return own or (value.strip() if scheme.lower() == "bearer" else "")


def identify() -> Headers:
    return [(b"request-id", _request_id().encode())]


def _request_id() -> str:
    return f"req_{secrets.token_hex(12)}"


_INVALID = "invalid_request_error"

#: kind -> status, type, message
_ERRORS: dict[ProblemKind, tuple[int, str, str]] = {
    "no_key": (401, "authentication_error", "x-api-key header is required"),
    "bad_key": (401, "authentication_error", "invalid x-api-key"),
    "bad_json": (400, _INVALID, "The request body is not valid JSON: {detail}"),
    "missing_field": (400, _INVALID, "{detail}: Field required"),
    "bad_field": (400, _INVALID, "{detail}"),
    "missing_version": (400, _INVALID, "anthropic-version: header is required"),
    "too_large_body": (413, "request_too_large", "Request exceeds the maximum size"),
    "unknown_path": (404, "not_found_error", "Not Found"),
    "not_found": (404, "not_found_error", "{detail}"),
    "unknown_model": (404, "not_found_error", "model: {model}"),
    "rate_limited": (
        429,
        "rate_limit_error",
        (
            "This request would exceed your organization's rate limit of {limit:,} {dimension} per minute. For "
            "details, refer to: https://docs.claude.com/en/api/rate-limits. You can see the response headers for "
            "current usage. Please reduce the prompt length or the maximum tokens requested, or try again later."
        ),
    ),
    "insufficient_quota": (
        400,
        _INVALID,
        (
            "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade "
            "or purchase credits."
        ),
    ),
    "context": (400, _INVALID, "prompt is too long: {requested_tokens} tokens > {context} maximum"),
    "unsupported_parameter": (400, _INVALID, "{parameter}: Extra inputs are not permitted"),
    "unknown_file": (404, "not_found_error", "File not found: {detail}"),
    "unknown_reply": (404, "not_found_error", "{detail}"),
    "unknown_item": (404, "not_found_error", "{detail}"),
    "unknown_cache": (404, "not_found_error", "{detail}"),
    "bad_seal": (400, _INVALID, "{detail}: Invalid `signature` in `thinking` block"),
    "server_error": (500, "api_error", "Internal server error"),
    "overloaded": (529, "overloaded_error", "Overloaded"),
}
_ERRORS["never_fits"] = _ERRORS["rate_limited"]


def failure(problem: Problem) -> Failure:
    status, kind, message = _ERRORS[problem.kind]
    refused = problem.refused or Refused(dimension="requests", limit=0, used=0, requested=1, wait_seconds=None)
    text = message.format(
        detail=problem.detail,
        parameter=problem.parameter,
        model=problem.model,
        limit=refused.limit,
        dimension=refused.dimension.replace("_", " "),
        requested_tokens=problem.requested_tokens,
        # The largest window below the prompt, so that the sentence is true of any prompt.
        context=max(problem.requested_tokens - 1, 0),
    )
    status = problem.status or status
    headers: Headers = [(b"x-should-retry", b"false")] if status in (400, 401) else []
    if problem.retry_after is not None:
        headers.append((b"retry-after", b"%d" % math.ceil(problem.retry_after)))
    body = {"type": "error", "error": {"type": kind, "message": text}, "request_id": _request_id()}
    return Failure(status=status, headers=headers, body=msgspec.json.encode(body))


def limit_headers(levels: Mapping[Dimension, Level]) -> Headers:
    """`anthropic-ratelimit-*`. "tokens" is the sum of input and output, as recorded, unless it has a limit of
    its own.
    """
    shown = dict(levels)
    if "tokens" not in shown and "input_tokens" in shown and "output_tokens" in shown:
        shown["tokens"] = _sum(shown["input_tokens"], shown["output_tokens"])
    now = datetime.now(UTC)
    headers: Headers = []
    for dimension, level in shown.items():
        name = b"anthropic-ratelimit-" + dimension.replace("_", "-").encode()
        full_at = now + timedelta(seconds=math.ceil(level.full_in_seconds))
        headers += [
            (name + b"-limit", b"%d" % level.limit),
            (name + b"-remaining", b"%d" % _shown_remaining(dimension, level)),
            (name + b"-reset", full_at.strftime("%Y-%m-%dT%H:%M:%SZ").encode()),
        ]
    return headers


def _sum(one: Level, other: Level) -> Level:
    return Level(
        limit=one.limit + other.limit,
        remaining=one.remaining + other.remaining,
        full_in_seconds=max(one.full_in_seconds, other.full_in_seconds),
    )


def _shown_remaining(dimension: Dimension, level: Level) -> int:
    """Whole requests; tokens to the nearest thousand, never beyond the limit."""
    if dimension == "requests":
        return max(math.floor(level.remaining), 0)
    return min(max(round(level.remaining / 1000) * 1000, 0), level.limit)
