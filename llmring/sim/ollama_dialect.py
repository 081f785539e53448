"""How Ollama reads keys and writes errors, at every one of its endpoints. It sends no limit headers, and locally
needs no key.

Must not share code with the router's codec: whoever misreads the format on one side must be contradicted by the
other.
"""

from collections.abc import Mapping

import msgspec

from llmring.sim.limits import Dimension, Level
from llmring.sim.wire import Failure, Headers, Problem, ProblemKind

#: Who asks without a key, as anybody may on a local Ollama.
LOCAL_KEY = "local"


def key(headers: Mapping[bytes, bytes]) -> str:
    scheme, _, value = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    return (value.strip() if scheme.lower() == "bearer" else "") or LOCAL_KEY


def identify() -> Headers:
    return []


def limit_headers(_levels: Mapping[Dimension, Level]) -> Headers:
    return []


#: kind -> status, message
_ERRORS: dict[ProblemKind, tuple[int, str]] = {
    "no_key": (401, "unauthorized"),
    "bad_key": (401, "unauthorized"),
    "bad_json": (400, "{detail}"),
    "missing_field": (400, "{detail} is required"),
    "bad_field": (400, "{detail}"),
    "missing_version": (400, "{detail}"),
    "too_large_body": (413, "request body too large"),
    "unknown_path": (404, "404 page not found: {detail}"),
    "not_found": (404, "{detail}"),
    "unknown_model": (404, "model '{model}' not found"),
    "rate_limited": (429, "you've reached your hourly usage limit, please try again later"),
    "never_fits": (429, "you've reached your hourly usage limit, please try again later"),
    "insufficient_quota": (402, "you've reached your weekly usage limit, please upgrade to continue"),
    "context": (400, "the prompt is longer than the context length: {requested_tokens} tokens > {context}"),
    "unsupported_parameter": (400, '"{model}" does not support {name}'),
    "unknown_file": (404, "{detail} not found"),
    "unknown_reply": (404, "{detail} not found"),
    "unknown_item": (404, "{detail} not found"),
    "unknown_cache": (404, "{detail} not found"),
    "bad_seal": (400, "{detail}"),
    "server_error": (500, "llama runner process has terminated"),
    "overloaded": (503, "server busy, please try again.  maximum pending requests exceeded"),
}
_NAMES = {"think": "thinking"}


def failure(problem: Problem) -> Failure:
    status, message = _ERRORS[problem.kind]
    name = problem.parameter.rpartition(".")[2]
    text = message.format(
        detail=problem.detail,
        model=problem.model,
        name=_NAMES.get(name, name),
        requested_tokens=problem.requested_tokens,
        context=max(problem.requested_tokens - 1, 0),
    )
    status = problem.status or status
    told: dict[str, object] = {"error": text}
    if status == 401:
        told["signin_url"] = "https://ollama.com/connect"
    return Failure(status=status, headers=[], body=msgspec.json.encode(told))
