"""Limits, faults and counters, which hold for every format, from the client's end of the socket."""

from collections.abc import Callable

import httpx2
import msgspec
import pytest

from tests.sim.calls import Caller

_Send = Callable[..., httpx2.Response]

FORMATS = ["openai", "responses", "anthropic", "google", "ollama"]
#: What only a stream that ended well holds.
_ENDS = {
    "openai": '"finish_reason":"stop"',
    "responses": "response.completed",
    "anthropic": "message_stop",
    "google": "finishReason",
    "ollama": '"done":true',
}


@pytest.fixture(params=FORMATS)
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def send(caller: Caller, form: str) -> _Send:
    sender: _Send = getattr(caller, form)
    return sender


def _error(reply: httpx2.Response, form: str) -> object:
    """What tells a program which error it is: type, code, status or text."""
    body = reply.json()
    match form:
        case "ollama":
            return body["error"]
        case "google":
            return body["error"]["status"]
        case "anthropic":
            return body["error"]["type"]
        case _:
            return body["error"]["code"] or body["error"]["type"]


_STATUSES: dict[str, dict[str, tuple[int, object]]] = {
    "status_500": {
        "openai": (500, "server_error"),
        "responses": (500, "server_error"),
        "anthropic": (500, "api_error"),
        "google": (500, "INTERNAL"),
        "ollama": (500, "llama runner process has terminated"),
    },
    "status_503": {
        "openai": (503, "server_is_overloaded"),
        "responses": (503, "server_is_overloaded"),
        "anthropic": (503, "overloaded_error"),
        "google": (503, "UNAVAILABLE"),
        "ollama": (503, "server busy, please try again.  maximum pending requests exceeded"),
    },
    "status_429": {
        "openai": (429, "rate_limit_exceeded"),
        "responses": (429, "rate_limit_exceeded"),
        "anthropic": (429, "rate_limit_error"),
        "google": (429, "RESOURCE_EXHAUSTED"),
        "ollama": (429, "you've reached your hourly usage limit, please try again later"),
    },
    "context": {
        "openai": (400, "context_length_exceeded"),
        "responses": (400, "context_length_exceeded"),
        "anthropic": (400, "invalid_request_error"),
        "google": (400, "INVALID_ARGUMENT"),
        "ollama": (400, "the prompt is longer than the context length: 3 tokens > 2"),
    },
}


@pytest.mark.parametrize("kind", sorted(_STATUSES))
def test_a_failure_has_the_status_and_the_code_of_its_format(send: _Send, form: str, kind: str) -> None:
    for stream in (False, True):
        reply = send(model=f"m+{kind}", stream=stream)
        assert (reply.status_code, _error(reply, form)) == _STATUSES[kind][form]


def test_a_limit_refuses_and_the_refusal_is_counted(caller: Caller, send: _Send, form: str) -> None:
    accepted, refused = send("few", model="m"), send("few", model="m")
    assert (accepted.status_code, refused.status_code) == (200, 429)
    cell = caller.cell("few", "m")
    assert (cell.statuses, cell.refused) == ({"200": 1, "429": 1}, {"requests": 1})
    announced = [name for name in accepted.headers if "ratelimit" in name]
    assert bool(announced) == (form in ("openai", "responses", "anthropic"))
    assert ("retry-after" in refused.headers) == bool(announced)


def test_an_unknown_model_is_not_found(send: _Send, form: str) -> None:
    assert send(model="missing-model").status_code == (400 if form == "responses" else 404)


def test_an_unknown_key_is_refused(send: _Send, form: str) -> None:
    assert send("strict").status_code == (400 if form == "google" else 401)


def test_a_stream_says_what_the_whole_reply_says(caller: Caller, send: _Send, form: str) -> None:
    streamed = send(stream=True)
    assert _ENDS[form] in streamed.text
    assert caller.cell("default", send().json().get("model", "gemini-sim")).output_tokens == 32


def test_a_cut_stream_breaks_off_after_two_chunks(caller: Caller, send: _Send) -> None:
    with pytest.raises(httpx2.RemoteProtocolError):
        send(model="m+cut", stream=True)
    assert caller.cell("default", "m+cut").output_tokens == 2


def test_an_error_can_come_inside_a_stream_that_began_well(send: _Send, form: str) -> None:
    reply = send(model="m+error_in_stream", stream=True)
    assert reply.status_code == 200
    assert '"error"' in reply.text and "echo" in reply.text and _ENDS[form] not in reply.text


def test_a_stream_can_end_without_saying_why(send: _Send, form: str) -> None:
    reply = send(model="m+no_finish", stream=True)
    assert reply.status_code == 200 and "echo" in reply.text and _ENDS[form] not in reply.text


def test_a_malformed_stream_ends_in_what_is_not_json(send: _Send) -> None:
    last = send(model="m+malformed", stream=True).text.rstrip().splitlines()[-1].removeprefix("data: ")
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(last)


@pytest.mark.parametrize("stream", [False, True])
def test_an_empty_reply_is_a_200_without_a_body(send: _Send, stream: bool) -> None:
    reply = send(model="m+empty", stream=stream)
    assert (reply.status_code, reply.content) == (200, b"")


def _with_temperature(form: str) -> dict[str, object]:
    match form:
        case "google":
            return {"generationConfig": {"temperature": 0.5}}
        case "ollama":
            return {"options": {"temperature": 0.5}}
        case _:
            return {"temperature": 0.5}


def test_a_model_can_refuse_a_parameter(caller: Caller, send: _Send, form: str) -> None:
    assert send("refusing", model="picky").status_code == 200
    assert send("refusing", model="lenient", **_with_temperature(form)).status_code == 200
    refused = send("refusing", model="picky", **_with_temperature(form))
    assert refused.status_code == 400 and "temperature" in refused.text
    if form in ("openai", "responses"):
        error = refused.json()["error"]
        assert (error["code"], error["param"]) == ("unsupported_parameter", "temperature")
    assert caller.cell("refusing", "picky").faults == {"unsupported_parameter": 1}


def test_a_name_can_refuse_a_parameter_too(send: _Send, form: str) -> None:
    model = "m+unsupported_parameter:temperature"
    assert send(model=model).status_code == 200
    assert send(model=model, **_with_temperature(form)).status_code == 400


def test_a_path_that_is_nobodys_is_a_404_of_its_format(caller: Caller) -> None:
    url = caller.simulator.url
    assert caller.client.get(f"{url}/v1beta/nothing").json()["error"]["status"] == "NOT_FOUND"
    assert isinstance(caller.client.get(f"{url}/api/nothing").json()["error"], str)
    assert caller.client.get(f"{url}/v1/nothing").json()["error"]["type"] == "invalid_request_error"
    headers = {"anthropic-version": "2023-06-01"}
    assert caller.client.get(f"{url}/v1/nothing", headers=headers).json()["type"] == "error"
