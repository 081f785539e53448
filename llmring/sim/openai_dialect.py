"""How OpenAI reads keys and writes errors, ids and limit headers, at every one of its endpoints.

Shapes follow the official documentation and recorded traffic. Must not share code with the router's codec:
whoever misreads the format on one side must be contradicted by the other.
"""

import itertools
import math
import secrets
from collections.abc import Mapping

import msgspec

from llmring.sim.limits import Dimension, Level, Refused
from llmring.sim.wire import Failure, Headers, Problem, ProblemKind


def key(headers: Mapping[bytes, bytes]) -> str:
    scheme, _, value = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    return value.strip() if scheme.lower() == "bearer" else ""


def identify() -> Headers:
    return [
        (b"openai-version", b"2020-10-01"),
        (b"x-request-id", b"req_" + secrets.token_hex(16).encode()),
    ]


_INVALID = "invalid_request_error"

#: kind -> status, type, code, message
_ERRORS: dict[ProblemKind, tuple[int, str, str | None, str]] = {
    "no_key": (
        401,
        _INVALID,
        None,
        (
            "You didn't provide an API key. You need to provide your API key in an Authorization header using "
            "Bearer auth (i.e. Authorization: Bearer YOUR_KEY)."
        ),
    ),
    "bad_key": (
        401,
        _INVALID,
        "invalid_api_key",
        "Incorrect API key provided: {detail}. You can find your API key at https://platform.openai.com/account/api-keys.",
    ),
    "bad_json": (400, _INVALID, None, "We could not parse the JSON body of your request. ({detail})"),
    "missing_field": (400, _INVALID, "missing_required_parameter", "Missing required parameter: '{detail}'."),
    "bad_field": (400, _INVALID, "invalid_value", "{detail}"),
    "missing_version": (400, _INVALID, None, "{detail}"),
    "too_large_body": (413, _INVALID, None, "Maximum content size limit exceeded."),
    "unknown_path": (404, _INVALID, None, "Invalid URL ({detail})"),
    "not_found": (404, _INVALID, None, "{detail}"),
    "unknown_model": (
        404,
        _INVALID,
        "model_not_found",
        "The model `{model}` does not exist or you do not have access to it.",
    ),
    "rate_limited": (429, "requests", "rate_limit_exceeded", "{detail}"),
    "never_fits": (429, "tokens", "rate_limit_exceeded", "{detail}"),
    "insufficient_quota": (
        429,
        "insufficient_quota",
        "insufficient_quota",
        (
            "You exceeded your current quota, please check your plan and billing details. For more information "
            "on this error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors."
        ),
    ),
    "context": (
        400,
        _INVALID,
        "context_length_exceeded",
        (
            "This model's maximum context length is {context} tokens. However, your messages resulted in "
            "{requested_tokens} tokens. Please reduce the length of the messages."
        ),
    ),
    "unsupported_parameter": (
        400,
        _INVALID,
        "unsupported_parameter",
        "Unsupported parameter: '{parameter}' is not supported with this model.",
    ),
    "unknown_file": (404, _INVALID, None, "No such File object: {detail}"),
    "unknown_reply": (400, _INVALID, "previous_response_not_found", "Previous response with id '{detail}' not found."),
    "unknown_item": (
        404,
        _INVALID,
        None,
        (
            "Item of response '{detail}' not found. Items are not persisted when `store` is set to false. Try again "
            "with `store` set to true, or remove this item from your input."
        ),
    ),
    "unknown_cache": (404, _INVALID, None, "{detail}"),
    "bad_seal": (400, _INVALID, "invalid_encrypted_content", "{detail}"),
    "server_error": (
        500,
        "server_error",
        None,
        "The server had an error while processing your request. Sorry about that!",
    ),
    "overloaded": (
        503,
        "service_unavailable_error",
        "server_is_overloaded",
        "Our servers are currently overloaded. Please try again later.",
    ),
}
_PARAMETERS: dict[ProblemKind, str] = {"context": "messages", "unknown_reply": "previous_response_id"}
#: What the Responses API says of "context".
_INPUT_TOO_LONG = "Your input exceeds the context window of this model. Please adjust your input and try again."
_DIMENSIONS: dict[Dimension, str] = {"requests": "requests per min (RPM)"}
_TOKEN_DIMENSION = "tokens per min (TPM)"


def failure(problem: Problem) -> Failure:
    status, kind, code, message = _ERRORS[problem.kind]
    if problem.kind == "context" and problem.parameter == "input":
        message = _INPUT_TOO_LONG
    detail = _rate_message(problem) if problem.kind in ("rate_limited", "never_fits") else problem.detail
    if problem.refused is not None and problem.refused.dimension != "requests":
        kind = "tokens"
    # What "context" says is the largest window below the prompt, so that the sentence is true of any prompt.
    context = max(problem.requested_tokens - 1, 0)
    text = message.format(
        detail=detail,
        model=problem.model,
        parameter=problem.parameter,
        requested_tokens=problem.requested_tokens,
        context=context,
    )
    parameter = problem.detail if problem.kind == "missing_field" else _PARAMETERS.get(problem.kind)
    headers: Headers = []
    if problem.retry_after is not None:
        headers = [
            (b"retry-after", b"%d" % math.ceil(problem.retry_after)),
            (b"retry-after-ms", b"%d" % math.ceil(problem.retry_after * 1000)),
        ]
    body = msgspec.json.encode(
        {
            "error": {
                "message": text,
                "type": kind,
                "param": problem.parameter or parameter,
                "code": problem.code or code,
            }
        }
    )
    return Failure(status=problem.status or status, headers=headers, body=body)


def _rate_message(problem: Problem) -> str:
    refused = problem.refused or Refused(dimension="requests", limit=0, used=0, requested=1, wait_seconds=None)
    dimension = _DIMENSIONS.get(refused.dimension, _TOKEN_DIMENSION)
    where = f"for {problem.model} in organization org-simulated on {dimension}: Limit {refused.limit}"
    if problem.kind == "never_fits":
        return (
            f"Request too large {where}, Requested {refused.requested}. The input or output tokens must be "
            "reduced in order to run successfully. "
            "Visit https://platform.openai.com/account/rate-limits to learn more."
        )
    again = go_duration(problem.retry_after or 0.0)
    return (
        f"Rate limit reached {where}, Used {refused.used}, Requested {refused.requested}. "
        f"Please try again in {again}. Visit https://platform.openai.com/account/rate-limits to learn more."
    )


def limit_headers(levels: Mapping[Dimension, Level]) -> Headers:
    """`x-ratelimit-*` for requests and tokens. Recorded replies always satisfy reset =
    (limit-remaining)*60/limit.
    """
    rows = itertools.chain.from_iterable(
        (
            (b"x-ratelimit-limit-" + name, b"%d" % level.limit),
            (b"x-ratelimit-remaining-" + name, b"%d" % max(math.floor(level.remaining), 0)),
            (b"x-ratelimit-reset-" + name, go_duration(level.full_in_seconds).encode()),
        )
        for name, level in ((b"requests", levels.get("requests")), (b"tokens", levels.get("tokens")))
        if level is not None
    )
    return list(rows)


def go_duration(seconds: float) -> str:
    """A duration as Go prints it, to the millisecond, rounded up: `0s`, `86ms`, `1.5s`, `6m0s`, `1h0m0s`."""
    milliseconds = math.ceil(seconds * 1000 - 1e-6)
    if milliseconds <= 0:
        return "0s"
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    text = f"{rest / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    if minutes:
        hours, minutes = divmod(minutes, 60)
        text = f"{minutes}m{text}"
        return f"{hours}h{text}" if hours else text
    return text
