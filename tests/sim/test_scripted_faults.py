"""What each scripted fault looks like from the client's end of the socket."""

import httpx2
import msgspec
import pytest

from tests.sim.calls import Caller, asking


def _everything(caller: Caller, body: dict[str, object], provider: str = "default") -> bytes:
    """All bytes until the server ends the connection."""
    received = b""
    with caller.raw(body, provider) as connection:
        while part := connection.recv(65536):
            received += part
    return received


def _chunks(stream: str) -> list[str]:
    """The content of each event of an OpenAI stream that carries some."""
    events = [line.removeprefix("data: ") for line in stream.splitlines() if line.startswith("data: {")]
    choices = [choice for event in events for choice in msgspec.json.decode(event).get("choices", ())]
    return [choice["delta"]["content"] for choice in choices if choice["delta"].get("content")]


@pytest.mark.parametrize(
    ("kind", "openai", "anthropic"),
    [
        ("status_500", (500, "server_error"), (500, "api_error")),
        ("status_503", (503, "service_unavailable_error"), (503, "overloaded_error")),
        ("status_529", (529, "service_unavailable_error"), (529, "overloaded_error")),
        ("overloaded", (529, "service_unavailable_error"), (529, "overloaded_error")),
        ("status_429", (429, "requests"), (429, "rate_limit_error")),
        ("insufficient_quota", (429, "insufficient_quota"), (400, "invalid_request_error")),
        ("context", (400, "invalid_request_error"), (400, "invalid_request_error")),
    ],
)
def test_a_failure_has_the_status_and_type_of_its_format(
    caller: Caller, kind: str, openai: tuple[int, str], anthropic: tuple[int, str]
) -> None:
    for stream in (False, True):
        one = caller.openai(model=f"gpt-sim+{kind}", stream=stream)
        other = caller.anthropic(model=f"claude-sim+{kind}", stream=stream)
        assert (one.status_code, one.json()["error"]["type"]) == openai
        assert (other.status_code, other.json()["error"]["type"]) == anthropic
    assert caller.cell("default", f"gpt-sim+{kind}").faults == {kind: 2}


def test_a_forced_429_says_how_long_to_wait(caller: Caller) -> None:
    refused = caller.openai(model="gpt-sim+status_429")
    assert (refused.headers["retry-after"], refused.headers["retry-after-ms"]) == ("1", "1000")
    assert caller.anthropic(model="claude-sim+status_429").headers["retry-after"] == "1"


def test_a_forced_refusal_consumes_nothing_and_a_failure_does(caller: Caller) -> None:
    for kind in ("status_429", "insufficient_quota", "context"):
        assert caller.openai("charged", model=f"gpt-sim+{kind}").status_code in (400, 429)
    assert caller.openai("charged", model="gpt-sim+status_500").headers["x-ratelimit-remaining-requests"] == "1"
    assert caller.openai("charged").headers["x-ratelimit-remaining-requests"] == "0"


def test_a_proxy_answers_in_html(caller: Caller) -> None:
    reply = caller.openai(model="gpt-sim+html_502")
    assert (reply.status_code, reply.headers["content-type"]) == (502, "text/html")
    assert "<h1>502 Bad Gateway</h1>" in reply.text


@pytest.mark.parametrize("stream", [False, True])
def test_reset_is_a_tcp_reset_before_any_byte(caller: Caller, stream: bool) -> None:
    connection = caller.raw(asking("fault-reset", stream=stream))
    with connection, pytest.raises(ConnectionResetError):
        connection.recv(1)
    assert caller.cell("default", "fault-reset").statuses == {}


def test_a_cut_body_is_shorter_than_its_content_length(caller: Caller) -> None:
    with pytest.raises(httpx2.RemoteProtocolError):
        caller.openai(model="gpt-sim+cut")
    head, body = _everything(caller, asking("gpt-sim+cut")).split(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    assert 0 < len(body) < length


def test_a_cut_stream_ends_in_the_middle_of_its_encoding_after_two_chunks(caller: Caller) -> None:
    received = _everything(caller, asking("gpt-sim+cut", stream=True)).decode()
    assert _chunks(received) == ["echo", ": he"]
    assert not received.endswith("0\r\n\r\n") and "[DONE]" not in received
    assert caller.cell("default", "gpt-sim+cut").output_tokens == 2


@pytest.mark.parametrize("kind", ["hang", "stall"])
def test_a_hanging_request_gets_no_byte_until_its_client_leaves(caller: Caller, kind: str) -> None:
    model = f"gpt-sim+{kind}"
    connection = caller.raw(asking(model))
    caller.wait_for("default", model, "in_flight", 1)
    connection.setblocking(False)
    with pytest.raises(BlockingIOError):
        connection.recv(1)
    connection.close()
    caller.wait_for("default", model, "cancelled", 1)


def test_a_stalled_stream_goes_silent_after_two_chunks_on_an_open_connection(caller: Caller) -> None:
    received = b""
    with caller.raw(asking("gpt-sim+stall", stream=True)) as connection:
        while b": he" not in received:
            received += connection.recv(65536)
        connection.setblocking(False)
        with pytest.raises(BlockingIOError):
            connection.recv(1)
    caller.wait_for("default", "gpt-sim+stall", "cancelled", 1)


def test_a_malformed_body_is_complete_but_not_json(caller: Caller) -> None:
    reply = caller.openai(model="gpt-sim+malformed")
    assert reply.status_code == 200 and int(reply.headers["content-length"]) == len(reply.content)
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(reply.content)


def test_a_malformed_stream_holds_an_event_that_is_not_json(caller: Caller) -> None:
    for reply in (
        caller.openai(model="m+malformed", stream=True),
        caller.anthropic(model="m+malformed", stream=True),
    ):
        last = reply.text.rstrip().splitlines()[-1].removeprefix("data: ")
        with pytest.raises(msgspec.DecodeError):
            msgspec.json.decode(last)


def test_an_error_can_come_inside_a_stream_that_began_well(caller: Caller) -> None:
    openai = caller.openai(model="m+error_in_stream", stream=True)
    anthropic = caller.anthropic(model="m+error_in_stream", stream=True)
    assert openai.status_code == anthropic.status_code == 200
    last = msgspec.json.decode(openai.text.rstrip().splitlines()[-1].removeprefix("data: "))
    assert last["error"]["type"] == "server_error"
    assert anthropic.text.rstrip().splitlines()[-2] == "event: error"
    assert anthropic.text.count("text_delta") == 2
    assert "error" in caller.openai(model="m+error_in_stream").json()


def test_a_stream_can_end_cleanly_without_saying_why(caller: Caller) -> None:
    openai = caller.openai(model="m+no_finish", stream=True).text
    anthropic = caller.anthropic(model="m+no_finish", stream=True).text
    assert openai.endswith("data: [DONE]\n\n") and '"finish_reason":"stop"' not in openai
    assert anthropic.count("text_delta") == 16 and "message_stop" not in anthropic
    assert caller.openai(model="m+no_finish").json()["choices"][0]["finish_reason"] is None


@pytest.mark.parametrize("stream", [False, True])
def test_an_empty_reply_is_a_200_without_a_body(caller: Caller, stream: bool) -> None:
    reply = caller.openai(model="gpt-sim+empty", stream=stream)
    assert (reply.status_code, reply.content) == (200, b"")


def test_a_dripping_reply_is_whole_in_the_end(caller: Caller) -> None:
    control = f"{caller.simulator.url}/__control"
    caller.client.post(
        control, json={"provider": "scripted", "fault": {"kind": "drip", "seconds": 0.01, "model": "drop"}}
    )
    whole = caller.openai("scripted", model="drop").json()
    streamed = caller.openai("scripted", model="drop", stream=True).text
    assert "".join(_chunks(streamed)) == whole["choices"][0]["message"]["content"]
    assert caller.cell("scripted", "drop").faults == {"drip": 2}


def test_a_connection_serves_on_after_a_failure(caller: Caller) -> None:
    statuses = [caller.openai(model=f"m{end}").status_code for end in ("+status_500", "+malformed", "", "+empty")]
    assert statuses == [500, 200, 200, 200]
