"""Which of our errors a provider's refusal is: the facts read from it, and the rules that judge them. Pure.

A codec owns its table of `Rules`; reading the body, cleaning the message and applying the table are the same for all.
Order of judgement: a word the provider uses for one thing only (an error code or type), then its text where it tells
apart by text alone, then what all say alike of parameters and of replayed reasoning, then the HTTP status, then a word
that is too general to go before the status, then the range of the status. A message leaves here short, on one line,
without keys.
"""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec

from llmring.codecs.codec import HttpReply
from llmring.codecs.refusals import REPLAY_REFUSED, named_by, named_in
from llmring.codecs.replies import request_id, retry_after
from llmring.errors import (
    AuthFailed,
    BadReply,
    BadRequest,
    ContextTooLong,
    Dimension,
    ModelGone,
    Overloaded,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    RefusalKind,
    ServerFault,
    Unsupported,
)

MAX_MESSAGE_CHARACTERS = 500
_MAX_READ_CHARACTERS = 4000
_MASK = "[masked]"
_KEYS = re.compile(
    r"(?P<lead>\bbearer\s+|\bapi[ _-]?key(?:\s+provided)?\s*[:=]\s*[\"']?)[^\s\"']+"
    r"|\b(?:sk|pk|rk|gsk|csk|xai|pplx|nvapi|tgp|hf|r8|fw)[-_][\w*.-]{6,}"
    r"|\bAIza[\w-]{10,}"
    r"|[\w.-]{0,64}\*{3,}[\w*.-]{0,64}"
    r"|\b[A-Za-z0-9]{32,}\b",
    re.IGNORECASE,
)
"""Keys as providers echo them, whole or starred out, by their usual prefixes; and any long run of letters or digits."""


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider said when it refused.

    `status` is the HTTP status, or the one that the body of a 200 names; None for neither. `words` are the error's
    codes and types in lower case, the most specific first. `text` is what rules may search: the message and, where a
    gateway quotes one, the message of the provider behind it. `parameter` is the name on the wire of what a 400 or 422
    complains of; `calls_unsupported` is whether its text calls that parameter unsupported.
    """

    status: int | None = None
    words: tuple[str, ...] = ()
    code: str | None = None
    message: str
    text: str
    parameter: str | None = None
    calls_unsupported: bool = False
    retry_after: float | None = None
    request_id: str | None = None


class Verdict(msgspec.Struct, frozen=True):
    """One of our errors. `kind` is for RateLimited alone; `parameter` for Unsupported, and goes before the fault's."""

    error: type[ProviderError]
    kind: RefusalKind = "rate"
    parameter: str | None = None


class TextRule(msgspec.Struct, frozen=True):
    """A verdict that only the text tells, at these statuses or where there is none."""

    statuses: frozenset[int]
    pattern: re.Pattern[str]
    verdict: Verdict

    def matches(self, fault: Fault) -> bool:
        return (fault.status is None or fault.status in self.statuses) and bool(self.pattern.search(fault.text))


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What one wire format's errors mean. `words` go before the status, `general_words` after it."""

    words: Mapping[str, Verdict]
    texts: tuple[TextRule, ...]
    general_words: Mapping[str, Verdict]


def text_rule(
    statuses: tuple[int, ...],
    pattern: str,
    error: type[ProviderError],
    kind: RefusalKind = "rate",
    parameter: str | None = None,
) -> TextRule:
    """A rule; case does not matter."""
    return TextRule(frozenset(statuses), re.compile(pattern, re.IGNORECASE), Verdict(error, kind, parameter))


_STATUSES: Mapping[int, type[ProviderError]] = {
    401: AuthFailed,
    402: QuotaExhausted,
    403: ModelGone,
    408: ServerFault,
    409: ServerFault,
    413: ContextTooLong,
    425: ServerFault,
    429: RateLimited,
    # The server has no such thing, and is well: llama.cpp, of embeddings that it was not started for.
    501: Unsupported,
    503: Overloaded,
    529: Overloaded,
}

# Seen from OpenAI, Anthropic, DeepSeek, OpenRouter and llama.cpp; documented by Groq, Mistral, Moonshot and vLLM.
CONTEXT_TOO_LONG = text_rule(
    (400, 413, 422, 500),
    r"context_length_exceeded|maximum context length|context window|prompt (?:is )?too long|input is too long"
    r"|exceed context limit|exceeds the maximum number of tokens|too_many_prompt_tokens|too many tokens"
    r"|exceeded model token limit|exceed_context_size|context size|reduce the length",
    ContextTooLong,
)

_SPEND_LIMIT = re.compile(r"_spend_limit_(?:exceeded|reached)$")
"""Whose it is differs: an organization's, a project's, one that is enforced."""

_ABOUT_PARAMETERS = (400, 422)
_REPLAY_REFUSED = TextRule(frozenset(_ABOUT_PARAMETERS), REPLAY_REFUSED, Verdict(Unsupported, parameter="native"))


def judge(fault: Fault, rules: Rules) -> Verdict:
    """The verdict on a fault. Total: what no rule knows is judged by its status' range."""
    for word in fault.words:
        if word in rules.words:
            return rules.words[word]
        if _SPEND_LIMIT.search(word):
            return Verdict(QuotaExhausted)
    for rule in rules.texts:
        if rule.matches(fault):
            return rule.verdict
    if _REPLAY_REFUSED.matches(fault):
        return _REPLAY_REFUSED.verdict
    if fault.calls_unsupported:
        return Verdict(Unsupported)
    by_status = _STATUSES.get(fault.status or 0)
    if by_status is not None:
        return Verdict(by_status)
    for word in fault.words:
        if word in rules.general_words:
            return rules.general_words[word]
    return Verdict(_by_range(fault.status))


def _by_range(status: int | None) -> type[ProviderError]:
    if status is None or status >= 500:
        return ServerFault
    # A redirect: not this protocol, and not followed.
    return BadRequest if status >= 400 else BadReply


def to_error(fault: Fault, verdict: Verdict, dimension: Dimension | None) -> ProviderError:
    """The error to raise. `dimension` is for RateLimited alone."""
    if verdict.error is Unsupported:
        return Unsupported(
            fault.message,
            parameter=verdict.parameter or fault.parameter,
            status=fault.status,
            code=fault.code,
            retry_after=fault.retry_after,
            request_id=fault.request_id,
        )
    if verdict.error is RateLimited:
        return RateLimited(
            fault.message,
            kind=verdict.kind,
            dimension=dimension,
            status=fault.status,
            code=fault.code,
            retry_after=fault.retry_after,
            request_id=fault.request_id,
        )
    return verdict.error(
        fault.message,
        status=fault.status,
        code=fault.code,
        retry_after=fault.retry_after,
        request_id=fault.request_id,
    )


def read_fault(reply: HttpReply) -> Fault:
    """The facts of a reply. Never raises: a body that cannot be read leaves the status.

    Delays in headers count from status 400 on: Anthropic sends `retry-after` with good replies too.
    """
    body = _decode(reply.body)
    error = _error_object(body)
    status = reply.status if reply.status >= 300 else _status_inside(error, body)
    upstream = _upstream_text(error)
    raw = _message(error) or _message(body) or _plain_text(body, reply.body) or _reason(reply.status)
    message = clean(raw)
    text = f"{raw[:_MAX_READ_CHARACTERS]}\n{upstream}" if upstream else raw[:_MAX_READ_CHARACTERS]
    named = named_in(text) if status is None or status in _ABOUT_PARAMETERS else None
    delay = retry_after(reply.headers if reply.status >= 400 else {}, raw)
    words, code = _words(error, body)
    return Fault(
        status=status,
        words=words,
        code=code,
        message=message,
        text=text,
        parameter=named_by(error) or named if status in _ABOUT_PARAMETERS else named,
        calls_unsupported=named is not None,
        retry_after=delay,
        request_id=request_id(reply.headers) or _string(_get(body, "request_id")),
    )


def clean(message: str) -> str:
    """A message fit for a log: one line, at most 500 characters, keys masked."""
    masked = _KEYS.sub(lambda found: (found["lead"] or "") + _MASK, message[:_MAX_READ_CHARACTERS])
    line = " ".join("".join(c if c.isprintable() else " " for c in masked).split())
    return line if len(line) <= MAX_MESSAGE_CHARACTERS else line[: MAX_MESSAGE_CHARACTERS - 3] + "..."


# From here on: bodies of any shape. Providers, proxies and gateways share no schema, so this digs where the codecs
# decode; every step takes any JSON value.


def _decode(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _get(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None


def _string(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _error_object(body: Any) -> Any:
    """The inner `error` object. Gateways wrap a body in a list of one; Mistral and old vLLM have it at the top."""
    if isinstance(body, list) and body:
        body = body[0]
    error = _get(body, "error")
    return error if isinstance(error, dict) else body


def _message(value: Any) -> str:
    """The human text: `message`, `error` where it is text, `detail` as text or as validation errors."""
    for key in ("message", "error", "detail", "msg"):
        text = _flatten(_get(value, key))
        if text:
            return text
    return ""


def _flatten(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return _flatten_errors(value.get("detail"))
    return _flatten_errors(value)


def _flatten_errors(value: Any) -> str:
    """FastAPI's validation errors, `[{"loc": [...], "msg": "..."}]`; never their `input`, which is the prompt."""
    if not isinstance(value, list):
        return ""
    parts = []
    for item in value[:20]:
        place = _get(item, "loc")
        where = ".".join(str(step) for step in place if isinstance(step, str | int)) if isinstance(place, list) else ""
        what = _string(_get(item, "msg")) or ""
        parts.append(f"{where}: {what}" if where else what)
    return "; ".join(part for part in parts if part)


def _upstream_text(error: Any) -> str:
    """What OpenRouter quotes of the provider behind it: `metadata.raw`."""
    raw = _string(_get(_get(error, "metadata"), "raw"))
    return raw[:_MAX_READ_CHARACTERS] if raw else ""


def _plain_text(body: Any, data: bytes) -> str:
    if body is not None:
        return ""
    text = data[:_MAX_READ_CHARACTERS].decode("utf-8", "replace").strip()
    return "HTML error page" if text.startswith("<") else text


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "no reason given"


def _words(error: Any, body: Any) -> tuple[tuple[str, ...], str | None]:
    """Codes and types, the most specific first, and the one to show."""
    found = (
        _get(_get(error, "details"), "error_code"),
        _get(_get(error, "innererror"), "code"),
        _get(error, "code"),
        _get(error, "type"),
        _get(error, "status"),
        _get(body, "code"),
    )
    words = tuple(dict.fromkeys(w for w in map(_string, found) if w is not None and not w.isdigit()))
    return tuple(word.lower() for word in words), clean(words[0]) if words else None


def _status_inside(error: Any, body: Any) -> int | None:
    """The status that the error in a 200 names: OpenRouter's and vLLM's `code`, Groq's `status_code`."""
    for value in (_get(error, "status_code"), _get(error, "code"), _get(error, "status"), _get(body, "code")):
        if isinstance(value, str) and len(value) == 3 and value.isascii() and value.isdigit():
            value = int(value)
        if isinstance(value, int) and 300 <= value <= 599:
            return value
    return None
