"""What Gemini serves besides answers: models, the count of a prompt's tokens, and explicit caches. Its files are in
google_files.py.
"""

import re
from datetime import UTC, datetime, timedelta

import msgspec

from llmring.sim.desk import Reply, Request, absent, page, told
from llmring.sim.google_request import decoded, read
from llmring.sim.google_rules import refused
from llmring.sim.memory import CachedContent, new_id
from llmring.sim.prefixes import LEAST_TOKENS
from llmring.sim.wire import Problem, Rejected

_SAMPLES = ("gemini-2.5-sim", "gemini-3-sim", "gemini-embedding-sim")
_ON_A_PAGE = 50
_TTL_SECONDS = 3600.0


def models(request: Request) -> Reply:
    if request.method != "GET":
        raise absent(request)
    names = list(request.provider.config.models or _SAMPLES)
    name = request.path.partition("/")[2]
    if name:
        if not request.provider.has_model(name):
            raise Rejected(Problem(kind="unknown_model", model=name))
        return told(_model(name))
    shown, more = page(names, request.query.get("pageToken", ""), page_size(request))
    listed: dict[str, object] = {"models": [_model(one) for one in shown]}
    return told({**listed, "nextPageToken": shown[-1]} if more and shown else listed)


def page_size(request: Request) -> int:
    asked = request.query.get("pageSize", "")
    return int(asked) if asked.isdigit() and int(asked) else _ON_A_PAGE


def _model(name: str) -> dict[str, object]:
    embeds = "embedding" in name
    answering = ["generateContent", "countTokens", "createCachedContent"]
    return {
        "name": f"models/{name}",
        "version": "001",
        "displayName": name.replace("-", " ").title(),
        "description": "A simulated model.",
        "inputTokenLimit": 2048 if embeds else 1_048_576,
        "outputTokenLimit": 1 if embeds else 65_536,
        "supportedGenerationMethods": ["embedContent"] if embeds else answering,
        **({} if embeds else {"temperature": 1, "topP": 0.95, "topK": 64, "maxTemperature": 2, "thinking": True}),
    }


def count_tokens(request: Request) -> Reply:
    """Of contents alone, or of a whole request."""
    tree = decoded(request.body)
    inner = tree.get("generateContentRequest", tree) if isinstance(tree, dict) else tree
    ask = read(request.headers, msgspec.json.encode(inner), request.path)
    details = [{"modality": "TEXT", "tokenCount": ask.input_tokens}]
    return told({"totalTokens": ask.input_tokens, "promptTokensDetails": details})


class _Wanted(msgspec.Struct, rename="camel"):
    """What is asked of a cache, besides what is in it."""

    ttl: str = f"{_TTL_SECONDS:g}s"
    model: str = ""
    display_name: str | None = None

    def seconds(self) -> float:
        found = re.fullmatch(r"(\d+(?:\.\d+)?)s", self.ttl)
        if found is None or not float(found[1]):
            raise refused(f"Invalid value at 'cached_content.ttl': Illegal duration format; {self.ttl!r}")
        return float(found[1])


def cached_contents(request: Request) -> Reply:
    shelf, name = request.provider.memory.cached_contents, request.path
    if name == "cachedContents":
        if request.method == "POST":
            return _told_cache(_created(request))
        caches = [msgspec.json.decode(one.data) for one in shelf.all_of(request.key, request.now)]
        return told({"cachedContents": caches} if caches else {})
    found = shelf.get(name, request.key, request.now)
    if found is None:
        raise Rejected(Problem(kind="unknown_cache", detail=name))
    match request.method:
        case "DELETE":
            shelf.take(name)
            return told({})
        case "PATCH":
            found = _prolonged(request, found)
            shelf.add(found)
        case "GET":
            pass
        case _:
            raise absent(request)
    return _told_cache(found)


def _told_cache(cache: CachedContent) -> Reply:
    return Reply(body=cache.data)


def _wanted(tree: object) -> _Wanted:
    try:
        return msgspec.convert(tree, _Wanted)
    except msgspec.ValidationError as error:
        raise refused(f"Invalid value: {error}") from error


def _created(request: Request) -> CachedContent:
    tree = decoded(request.body)
    wanted = _wanted(tree)
    model = wanted.model.removeprefix("models/")
    if not model or not request.provider.has_model(model):
        raise Rejected(Problem(kind="unknown_model", model=model))
    ask = read(request.headers, msgspec.json.encode(tree), f"models/{model}:generateContent")
    if ask.input_tokens < LEAST_TOKENS:
        raise refused(
            f"Cached content is too small. total_token_count={ask.input_tokens}, min_total_token_count={LEAST_TOKENS}"
        )
    now = datetime.now(UTC)
    name = new_id("cachedContents/", 32)
    about: dict[str, object] = {
        "name": name,
        "model": f"models/{model}",
        "createTime": _stamp(now),
        "updateTime": _stamp(now),
        "expireTime": _stamp(now + timedelta(seconds=wanted.seconds())),
        "usageMetadata": {"totalTokenCount": ask.input_tokens},
    }
    if wanted.display_name is not None:
        about["displayName"] = wanted.display_name
    cache = CachedContent(
        id=name,
        key=request.key,
        data=msgspec.json.encode(about),
        tokens=ask.input_tokens,
        model=model,
        expires_at=request.now + wanted.seconds(),
    )
    request.provider.memory.cached_contents.add(cache)
    return cache


def _prolonged(request: Request, cache: CachedContent) -> CachedContent:
    seconds = _wanted(decoded(request.body)).seconds()
    now = datetime.now(UTC)
    about = msgspec.json.decode(cache.data, type=dict[str, object])
    about |= {"updateTime": _stamp(now), "expireTime": _stamp(now + timedelta(seconds=seconds))}
    return msgspec.structs.replace(cache, data=msgspec.json.encode(about), expires_at=request.now + seconds)


def _stamp(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
