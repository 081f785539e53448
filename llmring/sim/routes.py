"""Which endpoint a path is, by its form and, where two providers share one, by the headers. Pure.

OpenAI      /v1/chat/completions /v1/responses[/...] /v1/embeddings /v1/models[/...] /v1/files[/...] /v1/batches[/...]
Anthropic   /v1/messages[/count_tokens] /v1/messages/batches[/...] /v1/models[/...] /v1/files[/...]
            with anthropic-version
Gemini      /v1beta/... or /v1/...: models[/{m}[:method]] files[/...] batches[/...] cachedContents[/...];
            /upload/v1beta/files, /download/v1beta/files/...
Ollama      /api/chat /api/embed /api/embeddings /api/tags /api/show /api/ps /api/version
"""

import re
from collections.abc import Mapping

import msgspec

from llmring.sim import (
    anthropic_batches,
    anthropic_desk,
    anthropic_dialect,
    anthropic_wire,
    google_batches,
    google_desk,
    google_dialect,
    google_files,
    google_wire,
    ollama_desk,
    ollama_dialect,
    ollama_wire,
    openai_batches,
    openai_desk,
    openai_dialect,
    openai_wire,
    responses_dialect,
    responses_wire,
)
from llmring.sim.desk import Desk
from llmring.sim.embeddings import GoogleEmbeddings, OllamaEmbeddings, OpenAIEmbeddings
from llmring.sim.wire import Dialect, Operation

#: A provider's name may be anything before the first of these; without one it is "default".
_PATH = re.compile(r"/(?:(?P<name>.+?)/)??(?P<path>(?:(?:up|down)load/)?(?:v1|v1beta|api)/.+)")


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """Who is spoken to, and the endpoint: a model's, another one, or none that is served."""

    dialect: Dialect
    operation: Operation | None = None
    desk: Desk | None = None


_OPENAI_OPERATIONS: dict[str, tuple[Dialect, Operation]] = {
    "chat/completions": (openai_dialect, openai_wire),
    "responses": (responses_dialect, responses_wire),
    "embeddings": (openai_dialect, OpenAIEmbeddings()),
}
_OPENAI_DESKS: dict[str, Desk] = {
    "models": openai_desk.models,
    "files": openai_desk.files,
    "batches": openai_batches.batches,
    "responses": openai_desk.responses,
}
_ANTHROPIC_DESKS: dict[str, Desk] = {
    "models": anthropic_desk.models,
    "files": anthropic_desk.files,
    "messages": anthropic_desk.count_tokens,
}
_GOOGLE_OPERATIONS: dict[str, Operation] = {
    "generateContent": google_wire,
    "streamGenerateContent": google_wire,
    "embedContent": GoogleEmbeddings(),
    "batchEmbedContents": GoogleEmbeddings(),
}
_GOOGLE_CALLED_DESKS: dict[str, Desk] = {
    "countTokens": google_desk.count_tokens,
    "batchGenerateContent": google_batches.create,
}
_GOOGLE_DESKS: dict[str, Desk] = {
    "models": google_desk.models,
    "files": google_files.files,
    "batches": google_batches.batches,
    "cachedContents": google_desk.cached_contents,
}
_OLLAMA_OPERATIONS: dict[str, Operation] = {
    "chat": ollama_wire,
    "embed": OllamaEmbeddings(),
    "embeddings": OllamaEmbeddings(),
}
_OLLAMA_DESKS: dict[tuple[str, str], Desk] = {
    ("GET", "tags"): ollama_desk.tags,
    ("POST", "show"): ollama_desk.show,
    ("GET", "ps"): ollama_desk.running,
    ("GET", "version"): ollama_desk.version,
}


def split_path(path: str) -> tuple[str, str] | None:
    """Provider and path behind it; None for a path that is no provider's."""
    found = _PATH.fullmatch(path)
    return None if found is None else (found["name"] or "default", found["path"])


def find_route(method: str, path: str, headers: Mapping[bytes, bytes]) -> Route:
    """`path` begins with the version."""
    version, _, rest = path.partition("/")
    if version == "api":
        operation = _OLLAMA_OPERATIONS.get(rest) if method == "POST" else None
        return Route(dialect=ollama_dialect, operation=operation, desk=_OLLAMA_DESKS.get((method, rest)))
    if version in ("upload", "download"):
        return Route(dialect=google_dialect, desk=_google_transfer(version, rest.partition("/")[2]))
    if version == "v1beta" or b"x-goog-api-key" in headers or _is_google_method(rest):
        return _google(method, rest)
    if rest.startswith("messages") or b"anthropic-version" in headers:
        return _anthropic(method, rest)
    return _openai(method, rest)


def _google_transfer(direction: str, rest: str) -> Desk | None:
    if direction == "upload":
        return google_files.upload if rest == "files" else None
    return google_files.download if rest.startswith("files/") else None


def _is_google_method(rest: str) -> bool:
    called = rest.rpartition(":")[2]
    return rest.startswith("models/") and (called in _GOOGLE_OPERATIONS or called in _GOOGLE_CALLED_DESKS)


def _google(method: str, rest: str) -> Route:
    first, _, behind = rest.partition("/")
    model, _, called = behind.rpartition(":")
    if method != "POST" or first != "models" or not model:
        called = ""
    if called in _GOOGLE_CALLED_DESKS:
        return Route(dialect=google_dialect, desk=_GOOGLE_CALLED_DESKS[called])
    if called:
        return Route(dialect=google_dialect, operation=_GOOGLE_OPERATIONS.get(called))
    return Route(dialect=google_dialect, desk=_GOOGLE_DESKS.get(first))


def _anthropic(method: str, rest: str) -> Route:
    if rest == "messages":
        return Route(dialect=anthropic_dialect, operation=anthropic_wire if method == "POST" else None)
    first, _, behind = rest.partition("/")
    if first == "messages" and behind.partition("/")[0] == "batches":
        return Route(dialect=anthropic_dialect, desk=anthropic_batches.batches)
    if first == "messages" and behind != "count_tokens":
        return Route(dialect=anthropic_dialect)
    return Route(dialect=anthropic_dialect, desk=_ANTHROPIC_DESKS.get(first))


def _openai(method: str, rest: str) -> Route:
    found = _OPENAI_OPERATIONS.get(rest) if method == "POST" else None
    if found is not None:
        return Route(dialect=found[0], operation=found[1])
    first, _, behind = rest.partition("/")
    desk = None if first == "responses" and not behind else _OPENAI_DESKS.get(first)
    return Route(dialect=openai_dialect, desk=desk)
