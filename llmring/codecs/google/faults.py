"""What errors mean in Gemini's generateContent format. Pure.

Sources: https://ai.google.dev/gemini-api/docs/troubleshooting and /rate-limits (a day ends at midnight Pacific time),
google.rpc's error_details.proto and google.api's error_reason.proto for the details, public issue threads for the
wording of messages (2025-01 to 2026-09), and the recorded and hand-written payload folders of the tests.
"""

import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

import msgspec

from llmring.codecs.codec import HttpReply
from llmring.codecs.faults import (
    CONTEXT_TOO_LONG,
    Fault,
    Rules,
    Verdict,
    judge,
    read_fault,
    text_rule,
    to_error,
)
from llmring.codecs.replies import MAX_DELAY_SECONDS
from llmring.errors import (
    AuthFailed,
    BadRequest,
    ContextTooLong,
    Dimension,
    ImpossibleRequest,
    ModelGone,
    Overloaded,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    ServerFault,
    Unsupported,
)

_NOT = r"(?:is|are) not (?:yet )?(?:supported|enabled|configurable)"

_NOT_TAKEN = (
    (r"include_?thoughts is only enabled", "thinkingConfig.includeThoughts"),
    # "Thinking level is not supported for this model", "Thinking level MINIMAL is not supported for this model".
    (rf"thinking.?level\b.{{0,40}} {_NOT}", "thinkingConfig.thinkingLevel"),
    # "Budget 0 is invalid. This model only works in thinking mode." "You can only set only one of thinking budget and
    # thinking level."
    (
        rf"budget \d+ is invalid|thinking.?budget\b.{{0,40}} {_NOT}|only one of thinking budget",
        "thinkingConfig.thinkingBudget",
    ),
    # "Thinking is not enabled for this model", "thinking is not configurable in this model".
    (rf"\bthinking {_NOT}", "thinkingConfig"),
    (rf"frequency.?penalty {_NOT}", "frequencyPenalty"),
    # "Penalty is not enabled for models/gemini-2.5-flash": of both.
    (rf"penalty {_NOT}", "presencePenalty"),
    (rf"logprobs {_NOT}", "responseLogprobs"),
    (rf"(?:multiple|more than one) candidates? {_NOT}|candidate.?count\b.{{0,40}} {_NOT}", "candidateCount"),
    # "Function calling with a response mime type: 'application/json' is unsupported".
    (
        rf"response mime type\b.{{0,60}} (?:is unsupported|{_NOT})|json mode {_NOT}|response schema {_NOT}",
        "responseJsonSchema",
    ),
    (rf"function calling {_NOT}|tool use\b.{{0,60}} (?:is unsupported|{_NOT})", "tools"),
    (rf"(?:system|developer) instructions? {_NOT}", "systemInstruction"),
    # "Image input modality is not enabled for models/...", "Unsupported MIME type: ...", "Cannot fetch content from the
    # provided URL."
    (rf"modality {_NOT}|unsupported mime type|cannot fetch content", "messages"),
    (rf"{_NOT}|does not support", None),
)
"""What Gemini says of parts of a request that a model does not take, and their names on the wire."""

RULES = Rules(
    # Reasons of google.api.ErrorReason.
    words={
        "api_key_invalid": Verdict(AuthFailed),
        "api_key_service_blocked": Verdict(AuthFailed),
        "api_key_http_referrer_blocked": Verdict(AuthFailed),
        "api_key_ip_address_blocked": Verdict(AuthFailed),
        "api_key_android_app_blocked": Verdict(AuthFailed),
        "api_key_ios_app_blocked": Verdict(AuthFailed),
        "service_disabled": Verdict(AuthFailed),
        "consumer_invalid": Verdict(AuthFailed),
        "consumer_suspended": Verdict(AuthFailed),
        "billing_disabled": Verdict(QuotaExhausted),
        "payment_required": Verdict(QuotaExhausted),
    },
    texts=(
        # A limit of 0 is that of a tier which does not have the model: the delay beside it leads nowhere.
        text_rule((429,), r"\blimit: 0(?![\d.])", ImpossibleRequest),
        text_rule((429,), r"per_?day", RateLimited, "daily"),
        text_rule((429,), r"credits? (?:are|is|have been) depleted|prepa(?:y|id)|spend(?:ing)? cap", QuotaExhausted),
        text_rule((400, 401, 403), r"api key (?:not valid|not found|expired|was reported)", AuthFailed),
        # Without a key: "Method doesn't allow unregistered callers".
        text_rule((403,), r"unregistered callers|without established identity", AuthFailed),
        text_rule((400,), r"location is not supported|free tier is not available|enable billing", ModelGone),
        # Cached content and files of another key, or expired ones, look alike.
        text_rule(
            (400, 403, 404),
            r"\bcached ?content\b.{0,80}(?:not found|not exist|expired)",
            Unsupported,
            parameter="cachedContent",
        ),
        text_rule((400, 403, 404), r"\bfiles?\b.{0,80}(?:not exist|not found|not in an active state)", BadRequest),
        text_rule((404,), r"\bmodels?\b", ModelGone),
        CONTEXT_TOO_LONG,
        text_rule((400, 413), r"request payload size exceeds", ContextTooLong),
        *(text_rule((400,), pattern, Unsupported, parameter=name) for pattern, name in _NOT_TAKEN),
    ),
    general_words={
        "unauthenticated": Verdict(AuthFailed),
        "permission_denied": Verdict(ModelGone),
        # The account's region or its billing.
        "failed_precondition": Verdict(ModelGone),
        "resource_exhausted": Verdict(RateLimited),
        "unavailable": Verdict(Overloaded),
        "internal": Verdict(ServerFault),
        "unknown": Verdict(ServerFault),
        "deadline_exceeded": Verdict(ServerFault),
        "aborted": Verdict(ServerFault),
        "cancelled": Verdict(ServerFault),
        "invalid_argument": Verdict(BadRequest),
        "out_of_range": Verdict(BadRequest),
        "not_found": Verdict(BadRequest),
    },
)

_TRAP_SECONDS = 60.0
"""A day's limit often comes with the delay of the minute's limit beside it; up to this, a delay is not believed."""

_PER_DAY = re.compile(r"per_?day", re.IGNORECASE)
_UNIT = re.compile(r"(input|output)_?tokens?|(token)s?_?(?:count|per)|(request)s?", re.IGNORECASE)
_UNITS: Mapping[str, Dimension] = {"input": "input", "output": "output", "token": "tokens", "request": "requests"}


class _Violation(msgspec.Struct, rename="camel"):
    quota_metric: str | None = None
    quota_id: str | None = None
    quota_value: str | int | None = None


class _Detail(msgspec.Struct, rename="camel"):
    """One of google.rpc's details: ErrorInfo has `reason`, RetryInfo `retryDelay`, QuotaFailure `violations`."""

    reason: str | None = None
    retry_delay: str | None = None
    violations: list[_Violation] | None = None


class _Error(msgspec.Struct):
    details: list[_Detail] | None = None


class _Body(msgspec.Struct):
    error: _Error | None = None


_BODY = msgspec.json.Decoder(_Body | list[_Body])
_SECONDS = re.compile(r"(\d{1,9}(?:\.\d{1,12})?)s")


def classify(reply: HttpReply) -> ProviderError:
    """Which of our errors a reply is. Never raises."""
    details = _details(reply.body)
    quotas = [_quota(violation) for detail in details for violation in detail.violations or ()]
    fault = _with_details(read_fault(reply), details, quotas)
    verdict = judge(fault, RULES)
    if verdict.kind == "daily" and (fault.retry_after or 0.0) <= _TRAP_SECONDS:
        fault = msgspec.structs.replace(fault, retry_after=_until_midnight(reply.headers))
    return to_error(fault, verdict, _dimension(quotas, fault.text))


def _until_midnight(headers: Mapping[str, str]) -> float | None:
    """Seconds until a day's limit begins anew, at midnight in California; None where the reply has no date.

    That is at 7 or at 8 o'clock UTC, by the season. The first to come is taken: one more refusal on a winter's day.
    """
    try:
        now = parsedate_to_datetime(headers["date"]).astimezone(UTC)
    except (KeyError, TypeError, ValueError, IndexError, OverflowError):
        return None
    since = float(now.hour * 3600 + now.minute * 60 + now.second)
    return next(hour * 3600.0 - since for hour in (7, 8, 31) if hour * 3600.0 > since)


def _details(body: bytes) -> list[_Detail]:
    try:
        found = _BODY.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []
    first = (found[0] if found else _Body()) if isinstance(found, list) else found
    return (first.error.details or []) if first.error is not None else []


def _quota(violation: _Violation) -> str:
    """A limit that was exceeded, in one line: the day and the unit are told by its names alone."""
    value = f" limit: {violation.quota_value}" if violation.quota_value is not None else ""
    return f"{violation.quota_id or ''} {violation.quota_metric or ''}{value}"


def _with_details(fault: Fault, details: list[_Detail], quotas: list[str]) -> Fault:
    reasons = tuple(detail.reason.lower() for detail in details if detail.reason)
    # The message tells the same delay as RetryInfo, which is rounded down.
    told = [fault.retry_after, *(_seconds(detail.retry_delay) for detail in details)]
    delays = [min(delay, MAX_DELAY_SECONDS) for delay in told if delay is not None and delay > 0]
    return msgspec.structs.replace(
        fault,
        words=(*reasons, *fault.words),
        text="\n".join((fault.text, *quotas)),
        retry_after=max(delays, default=None),
    )


def _seconds(duration: str | None) -> float | None:
    """google.protobuf.Duration in JSON: "34.4s"."""
    found = _SECONDS.fullmatch(duration or "")
    return float(found[1]) if found is not None else None


def _dimension(quotas: list[str], text: str) -> Dimension | None:
    """The limit that refused: of several the day's, which lasts longest."""
    lines = quotas or [text]
    daily = [line for line in lines if _PER_DAY.search(line)]
    found = _UNIT.search((daily or lines)[0])
    unit = _UNITS[next(filter(None, found.groups())).lower()] if found is not None else None
    return "day" if daily and unit in (None, "requests") else unit
