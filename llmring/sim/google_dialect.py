"""How Gemini reads keys and writes errors, at every one of its endpoints. It sends no limit headers.

Shapes follow the official documentation and recorded traffic. Must not share code with the router's codec:
whoever misreads the format on one side must be contradicted by the other.
"""

from collections.abc import Mapping

import msgspec

from llmring.sim.limits import Dimension, Level, Refused
from llmring.sim.wire import Failure, Headers, Problem, ProblemKind

_RPC = "type.googleapis.com/google.rpc."


def key(headers: Mapping[bytes, bytes]) -> str:
    return headers.get(b"x-goog-api-key", b"").decode("latin-1").strip()


def identify() -> Headers:
    return [(b"vary", b"Origin, Referer, X-Origin"), (b"x-gemini-service-tier", b"standard")]


def limit_headers(_levels: Mapping[Dimension, Level]) -> Headers:
    return []


#: kind -> code, status, message
_ERRORS: dict[ProblemKind, tuple[int, str, str]] = {
    "no_key": (
        403,
        "PERMISSION_DENIED",
        (
            "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or "
            "other form of API consumer identity to call this API."
        ),
    ),
    "bad_key": (400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."),
    "bad_json": (400, "INVALID_ARGUMENT", "Invalid JSON payload received. {detail}"),
    "missing_field": (400, "INVALID_ARGUMENT", "* GenerateContentRequest.{detail}: {detail} is not specified"),
    "bad_field": (400, "INVALID_ARGUMENT", "{detail}"),
    "missing_version": (404, "NOT_FOUND", "{detail}"),
    "too_large_body": (413, "INVALID_ARGUMENT", "Request payload size exceeds the limit: 20971520 bytes."),
    "unknown_path": (404, "NOT_FOUND", "Requested entity was not found: {detail}"),
    "not_found": (404, "NOT_FOUND", "{detail}"),
    "unknown_model": (
        404,
        "NOT_FOUND",
        (
            "models/{model} is not found for API version v1beta, or is not supported for generateContent. Call "
            "ModelService.ListModels to see the list of available models and their supported methods."
        ),
    ),
    "rate_limited": (429, "RESOURCE_EXHAUSTED", "{quota}"),
    "never_fits": (429, "RESOURCE_EXHAUSTED", "{quota}"),
    "insufficient_quota": (429, "RESOURCE_EXHAUSTED", "{quota}"),
    "context": (
        400,
        "INVALID_ARGUMENT",
        "The input token count ({requested_tokens}) exceeds the maximum number of tokens allowed ({context}).",
    ),
    "unsupported_parameter": (
        400,
        "INVALID_ARGUMENT",
        "Invalid JSON payload received. Unknown name \"{name}\" at '{holder}': Cannot find field.",
    ),
    "unknown_file": (
        403,
        "PERMISSION_DENIED",
        "You do not have permission to access the File {detail} or it may not exist.",
    ),
    "unknown_reply": (404, "NOT_FOUND", "{detail}"),
    "unknown_item": (404, "NOT_FOUND", "{detail}"),
    "unknown_cache": (403, "PERMISSION_DENIED", "CachedContent not found (or permission denied)"),
    "bad_seal": (400, "INVALID_ARGUMENT", "{detail}"),
    "server_error": (
        500,
        "INTERNAL",
        (
            "An internal error has occurred. Please retry or report in "
            "https://developers.generativeai.google/guide/troubleshooting"
        ),
    ),
    "overloaded": (
        503,
        "UNAVAILABLE",
        "The model is overloaded. Please try again later.",
    ),
}
_QUOTA = (
    "You exceeded your current quota, please check your plan and billing details. For more information on this error, "
    "head to: https://ai.google.dev/gemini-api/docs/rate-limits. "
)
_METRICS: dict[Dimension, tuple[str, str]] = {
    "requests": ("generate_requests_per_model", "GenerateRequestsPerMinutePerProjectPerModel"),
    "tokens": ("generate_content_paid_tier_input_token_count", "GenerateContentPaidTierInputTokensPerModelPerMinute"),
    "input_tokens": (
        "generate_content_paid_tier_input_token_count",
        "GenerateContentPaidTierInputTokensPerModelPerMinute",
    ),
    "output_tokens": (
        "generate_content_paid_tier_output_token_count",
        "GenerateContentPaidTierOutputTokensPerModelPerMinute",
    ),
}
_DAILY = ("generate_requests_per_model_per_day", "GenerateRequestsPerDayPerProjectPerModel")


def failure(problem: Problem) -> Failure:
    code, status, message = _ERRORS[problem.kind]
    holder, _, name = problem.parameter.rpartition(".")
    text = message.format(
        detail=problem.detail,
        model=problem.model,
        name=name,
        holder=holder,
        quota=_quota_message(problem),
        requested_tokens=problem.requested_tokens,
        # The largest window below the prompt, so that the sentence is true of any prompt.
        context=max(problem.requested_tokens - 1, 0),
    )
    http_status = problem.status or code
    error: dict[str, object] = {"code": http_status, "message": text, "status": status}
    details = _details(problem, text, holder)
    if details:
        error["details"] = details
    return Failure(status=http_status, headers=[], body=msgspec.json.encode({"error": error}))


def _quota_message(problem: Problem) -> str:
    again = "" if problem.retry_after is None else f"\nPlease retry in {problem.retry_after:g}s."
    metric, _ = _metric(problem)
    limit = problem.refused.limit if problem.refused is not None else 0
    return (
        f"{_QUOTA}\n* Quota exceeded for metric: generativelanguage.googleapis.com/{metric}, limit: {limit}, "
        f"model: {problem.model}{again}"
    )


def _metric(problem: Problem) -> tuple[str, str]:
    refused = problem.refused
    return _DAILY if refused is None else _METRICS[refused.dimension]


def _details(problem: Problem, text: str, holder: str) -> list[dict[str, object]]:
    match problem.kind:
        case "bad_key":
            service = {"service": "generativelanguage.googleapis.com"}
            info = {"reason": "API_KEY_INVALID", "domain": "googleapis.com", "metadata": service}
            return [
                {"@type": f"{_RPC}ErrorInfo", **info},
                {"@type": f"{_RPC}LocalizedMessage", "locale": "en-US", "message": text},
            ]
        case "rate_limited" | "never_fits" | "insufficient_quota":
            return _quota_details(problem)
        case "unsupported_parameter":
            return [{"@type": f"{_RPC}BadRequest", "fieldViolations": [{"field": holder, "description": text}]}]
        case _:
            return [] if problem.retry_after is None else [_retry_info(problem.retry_after)]


def _quota_details(problem: Problem) -> list[dict[str, object]]:
    """A daily quota, which does not come back soon, has no RetryInfo here."""
    metric, quota = _metric(problem)
    refused = problem.refused or Refused(dimension="requests", limit=0, used=0, requested=1, wait_seconds=None)
    violation = {
        "quotaMetric": f"generativelanguage.googleapis.com/{metric}",
        "quotaId": quota,
        "quotaDimensions": {"model": problem.model, "location": "global"},
        "quotaValue": str(refused.limit),
    }
    links = [
        {
            "description": "Learn more about Gemini API quotas",
            "url": "https://ai.google.dev/gemini-api/docs/rate-limits",
        }
    ]
    details: list[dict[str, object]] = [
        {"@type": f"{_RPC}Help", "links": links},
        {"@type": f"{_RPC}QuotaFailure", "violations": [violation]},
    ]
    if problem.retry_after is not None:
        details.append(_retry_info(problem.retry_after))
    return details


def _retry_info(seconds: float) -> dict[str, object]:
    return {"@type": f"{_RPC}RetryInfo", "retryDelay": f"{max(seconds, 0.001):.9f}".rstrip("0").rstrip(".") + "s"}
