"""What errors and limit headers mean in chat completions: delays, keys in messages, refused parameters."""

import msgspec
import pytest

from llmring.codecs.codec import Codec, HttpReply, LimitUpdate
from llmring.codecs.openai.chat import OpenAICodec
from llmring.errors import Unsupported
from tests.codecs.payloads import Payload, load

CODEC: Codec = OpenAICodec()
REFUSALS = [payload for payload in load("openai") if payload.expect.get("error") == "Unsupported"]


@pytest.mark.parametrize("payload", REFUSALS, ids=lambda payload: payload.name)
def test_the_parameter_that_is_refused_is_named(payload: Payload) -> None:
    error = CODEC.classify(payload.reply)
    assert isinstance(error, Unsupported)
    assert error.parameter == payload.expect["parameter"]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (
            {"x-ratelimit-limit-requests": "500", "x-ratelimit-remaining-requests": "499"},
            (LimitUpdate(dimension="requests", limit=500, remaining=499),),
        ),
        ({"x-ratelimit-remaining-tokens": "0"}, (LimitUpdate(dimension="tokens", remaining=0),)),
        ({"x-ratelimit-limit-tokens": "-1", "x-ratelimit-remaining-tokens": "-1"}, ()),
        ({"x-ratelimit-limit-tokens": "many", "x-ratelimit-remaining-tokens": "nan"}, ()),
        ({"x-ratelimit-limit-tokens": "0"}, ()),
        ({"x-ratelimit-reset-tokens": "6m0s"}, ()),
        (
            {"x-ratelimit-limit-tokens-minute": "100000", "x-ratelimit-remaining-req-minute": "9"},
            (LimitUpdate(dimension="requests", remaining=9), LimitUpdate(dimension="tokens", limit=100_000)),
        ),
    ],
)
def test_limits_are_read_from_headers(headers: dict[str, str], expected: tuple[LimitUpdate, ...]) -> None:
    assert CODEC.limits(headers) == expected


@pytest.mark.parametrize(
    ("headers", "message", "expected"),
    [
        ({"retry-after-ms": "1500", "retry-after": "2"}, "", 1.5),
        ({"retry-after-ms": "0", "retry-after": "1"}, "", 1.0),
        ({"retry-after": "2.5"}, "", 2.5),
        ({"retry-after": "-3"}, "", None),
        ({"retry-after": "0"}, "", None),
        ({"retry-after": "nan"}, "", None),
        # A week, a month, and a moment in place of a delay: asked again after a day.
        ({"retry-after": "604800"}, "", 86_400.0),
        ({"retry-after-ms": "2678400000"}, "", 86_400.0),
        ({"retry-after": "1795262400"}, "", 86_400.0),
        ({"retry-after": "Sat, 21 Nov 2027 12:00:00 GMT", "date": "Sat, 21 Nov 2026 12:00:00 GMT"}, "", 86_400.0),
        ({}, "Please try again in 6d2h.", 86_400.0),
        ({"retry-after": "9" * 16}, "", None),
        ({"retry-after": "soon"}, "Please try again in 86ms.", 0.086),
        ({"retry-after": "Fri, 20 Nov 2026 12:01:00 GMT", "date": "Fri, 20 Nov 2026 12:00:00 GMT"}, "", 60.0),
        ({"retry-after": "Fri, 20 Nov 2026 12:01:00 GMT"}, "", None),
        ({"retry-after": "Fri, 20 Nov 2026 12:00:00 GMT", "date": "Fri, 20 Nov 2026 12:01:00 GMT"}, "", None),
        ({}, "Please try again in 6m0s. Visit us.", 360.0),
        ({}, "Please try again in 1h2m3.5s", 3723.5),
        ({}, "Please retry after 55 seconds and so on.", 55.0),
        ({}, "Please retry in 48.939935699s.", 48.939935699),
        ({}, "try again in a while", None),
        ({}, "try again in 3 tries", None),
    ],
)
def test_the_delay_is_the_first_that_makes_sense(headers: dict[str, str], message: str, expected: float | None) -> None:
    body = msgspec.json.encode({"error": {"message": message or "no"}})
    assert CODEC.classify(HttpReply(status=429, headers=headers, body=body)).retry_after == pytest.approx(expected)


@pytest.mark.parametrize(
    "text",
    [
        "Incorrect API key provided: sk-proj-abcdefghijKEYKEY.",
        "bad key sk-ant-api03-abcdefKEYKEY here",
        "Your api key: ****KEYKEY is invalid",
        "Authorization: Bearer KEYKEYKEY",
        "key 0123456789abcdef0123456789KEYKEY is unknown",
        "gsk_abcdefKEYKEY",
        "AIzaSyA1234567890KEYKEY",
    ],
)
def test_keys_are_masked(text: str) -> None:
    error = CODEC.classify(HttpReply(status=401, headers={}, body=msgspec.json.encode({"error": {"message": text}})))
    assert "KEYKEY" not in str(error)
    assert "[masked]" in str(error)


def test_messages_are_short_and_on_one_line() -> None:
    body = msgspec.json.encode({"error": {"message": "a\nb\x1b[31m " + "word " * 1000}})
    message = CODEC.classify(HttpReply(status=500, headers={}, body=body)).message
    assert message.startswith("a b [31m word")
    assert len(message) == 500
    assert message.isprintable()


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (302, "BadReply"),
        (400, "BadRequest"),
        (401, "AuthFailed"),
        (402, "QuotaExhausted"),
        (403, "ModelGone"),
        (404, "BadRequest"),
        (408, "ServerFault"),
        (409, "ServerFault"),
        (413, "ContextTooLong"),
        (422, "BadRequest"),
        (425, "ServerFault"),
        (429, "RateLimited"),
        (500, "ServerFault"),
        (501, "Unsupported"),
        (502, "ServerFault"),
        (503, "Overloaded"),
        (504, "ServerFault"),
        (522, "ServerFault"),
        (529, "Overloaded"),
    ],
)
def test_without_a_body_the_status_decides(status: int, expected: str) -> None:
    error = CODEC.classify(HttpReply(status=status, headers={}, body=b""))
    assert type(error).__name__ == expected
    assert error.status == status
