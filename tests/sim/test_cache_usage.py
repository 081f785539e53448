"""What each format reports of its cache, over real sockets."""

from tests.sim.calls import Caller

#: Over 1024 tokens, and different for each test by its first words.
_LONG = " the same words again and again" * 200


def _openai_cached(caller: Caller, text: str) -> int:
    usage = caller.openai(messages=[{"role": "user", "content": text}]).json()["usage"]
    return int(usage["prompt_tokens_details"]["cached_tokens"])


def test_openai_caches_a_long_prefix_by_itself(caller: Caller) -> None:
    assert [_openai_cached(caller, f"chat{_LONG}{end}") for end in ("a", "b")] == [0, 1536]
    replies = [caller.responses(input=f"responses{_LONG}{end}").json() for end in ("a", "b")]
    assert [reply["usage"]["input_tokens_details"]["cached_tokens"] for reply in replies] == [0, 1536]


def test_openai_writes_a_marked_prefix(caller: Caller) -> None:
    marked = {"type": "text", "text": "marked" + _LONG, "prompt_cache_breakpoint": {"mode": "explicit"}}
    content = [marked, {"type": "text", "text": "and the rest"}]
    details = [
        caller.openai(messages=[{"role": "user", "content": content}]).json()["usage"]["prompt_tokens_details"]
        for _ in range(2)
    ]
    assert [(one["cached_tokens"], one["cache_write_tokens"]) for one in details] == [(0, 1552), (1552, 0)]


def test_anthropic_writes_what_is_marked_by_lifetime_and_reads_it_then(caller: Caller) -> None:
    system = [
        {"type": "text", "text": "anthropic" + _LONG, "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        {"type": "text", "text": "x" * 400, "cache_control": {"type": "ephemeral"}},
    ]
    first, second = (caller.anthropic(system=system).json()["usage"] for _ in range(2))
    assert first["cache_creation"] == {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 1553}
    assert (first["cache_creation_input_tokens"], first["cache_read_input_tokens"]) == (1653, 0)
    assert (second["cache_creation_input_tokens"], second["cache_read_input_tokens"]) == (0, 1653)
    assert first["input_tokens"] == second["input_tokens"] == 2


def test_anthropic_reads_a_conversation_whose_marker_moved_on(caller: Caller) -> None:
    asked = {"role": "user", "content": "moved" + _LONG}
    told = [asked, {"role": "assistant", "content": "yes"}, {"role": "user", "content": "more"}]
    first, second = (
        caller.anthropic(messages=messages, cache_control={"type": "ephemeral"}).json()["usage"]
        for messages in ([asked], told)
    )
    assert (first["cache_creation_input_tokens"], first["cache_read_input_tokens"]) == (1552, 0)
    assert (second["cache_creation_input_tokens"], second["cache_read_input_tokens"]) == (1, 1552)


def test_gemini_reads_an_explicit_cache(caller: Caller) -> None:
    url, headers = f"{caller.simulator.google_url()}/v1beta", {"x-goog-api-key": caller.key}
    contents = [{"role": "user", "parts": [{"text": _LONG}]}]
    body = {"model": "models/gemini-sim", "contents": contents, "ttl": "300s"}
    cache = caller.client.post(f"{url}/cachedContents", json=body, headers=headers).json()
    tokens = cache["usageMetadata"]["totalTokenCount"]
    usage = caller.google(cachedContent=cache["name"]).json()["usageMetadata"]
    assert (usage["cachedContentTokenCount"], usage["promptTokenCount"]) == (tokens, tokens + 3)
    other = caller.google(cachedContent=cache["name"], model="another")
    assert other.status_code == 400 and "has to be the same" in other.text
    prolonged = caller.client.patch(f"{url}/{cache['name']}", json={"ttl": "600s"}, headers=headers).json()
    assert prolonged["expireTime"] > cache["expireTime"]
    assert caller.client.delete(f"{url}/{cache['name']}", headers=headers).json() == {}
    assert caller.google(cachedContent=cache["name"]).status_code == 403


def test_a_small_explicit_cache_is_refused(caller: Caller) -> None:
    url, headers = f"{caller.simulator.google_url()}/v1beta/cachedContents", {"x-goog-api-key": caller.key}
    body = {"model": "models/gemini-sim", "contents": [{"role": "user", "parts": [{"text": "short"}]}]}
    refused = caller.client.post(url, json=body, headers=headers)
    assert refused.status_code == 400 and "too small" in refused.json()["error"]["message"]
