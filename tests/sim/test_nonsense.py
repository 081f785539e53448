"""Whatever is sent, the answer is an error of the format, never a failure of the simulator."""

import pytest

from tests.sim.calls import Caller

_POSTED = [
    "v1/chat/completions",
    "v1/responses",
    "v1/responses/input_tokens",
    "v1/embeddings",
    "v1/messages",
    "v1/messages/count_tokens",
    "v1/files",
    "v1beta/models/m:generateContent",
    "v1beta/models/m:streamGenerateContent?alt=sse",
    "v1beta/models/m:countTokens",
    "v1beta/models/m:embedContent",
    "v1beta/models/m:batchEmbedContents",
    "v1beta/models/m:unknownMethod",
    "v1beta/models/:generateContent",
    "v1beta/tunedModels/m:generateContent",
    "v1beta/cachedContents",
    "upload/v1beta/files",
    "upload/v1beta/files?upload_id=none",
    "api/chat",
    "api/embed",
    "api/embeddings",
    "api/show",
]
_BODIES = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"7",
    b'"text"',
    b"{}",
    b"\xff\xfe",
    b"[" * 5000,
    b'{"model": 7}',
    b'{"model": "m", "messages": 7, "input": {"a": 1}, "contents": 7}',
    b'{"model": "m", "messages": [7], "input": [{}], "contents": [7], "requests": [7], "content": 7}',
    b'{"model": "m", "messages": [{"role": "user", "content": [{"type": 7}]}], "input": [{"content": [{"type": 7}]}]}',
    b'{"model": "m", "input": [], "messages": [], "contents": [], "requests": [], "ttl": 5}',
]


@pytest.mark.parametrize("path", _POSTED)
def test_a_request_that_makes_no_sense_is_refused(caller: Caller, path: str) -> None:
    headers = {
        "authorization": f"Bearer {caller.key}",
        "content-type": "application/json",
        **({"x-goog-api-key": caller.key} if "v1beta" in path else {}),
        **({"anthropic-version": "2023-06-01"} if "messages" in path else {}),
    }
    for body in _BODIES:
        reply = caller.client.post(f"{caller.simulator.url}/default/{path}", content=body, headers=headers)
        asked_for = path.startswith(("upload", "api")) and reply.status_code == 200
        assert asked_for or 400 <= reply.status_code < 500, (body[:80], reply.text)
        assert reply.headers["content-type"].startswith(("application/", "text/plain"))
        if reply.status_code != 200:
            assert "error" in reply.json()


@pytest.mark.parametrize(
    "path",
    ["v1/models/%00", "v1/files/../../x", "v1/files/", "v1/responses/", "v1beta/files/x", "v1beta/cachedContents/x",
     "v1beta/models/", "api/", "api/chat", "v1/", "v1beta/"],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "DELETE", "PATCH", "PUT"])
def test_a_path_that_makes_no_sense_is_refused(caller: Caller, path: str, method: str) -> None:
    headers = {"authorization": f"Bearer {caller.key}", "x-goog-api-key": caller.key if "beta" in path else ""}
    reply = caller.client.request(method, f"{caller.simulator.url}/default/{path}", headers=headers)
    assert reply.status_code < 500
