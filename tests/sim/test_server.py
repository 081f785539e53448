"""The simulator over real sockets: keys, limits, counters, control."""

import re

import httpx2
import pytest

from llmring.sim.process import Simulator
from llmring.sim.stats import key_label
from tests.sim.calls import Caller, asking


def test_every_reply_has_an_id_of_its_own(caller: Caller) -> None:
    first, second = caller.openai().json(), caller.openai().json()
    assert first["id"] != second["id"]
    assert caller.openai().headers["x-request-id"] != caller.openai().headers["x-request-id"]
    assert caller.anthropic().headers["request-id"] != caller.anthropic().headers["request-id"]


def test_the_same_request_gets_the_same_text(caller: Caller) -> None:
    texts = {caller.openai().json()["choices"][0]["message"]["content"] for _ in range(3)}
    assert len(texts) == 1 and texts.pop().startswith("echo: hello there")


def test_without_a_prefix_the_default_provider_answers(caller: Caller) -> None:
    headers = {"authorization": f"Bearer {caller.key}"}
    url = f"{caller.simulator.url}/v1/chat/completions"
    assert caller.client.post(url, json=asking("gpt-sim"), headers=headers).status_code == 200
    assert caller.cell("default", "gpt-sim").received == 1


def test_one_provider_speaks_both_formats(caller: Caller) -> None:
    assert caller.openai("counted").json()["object"] == "chat.completion"
    assert caller.anthropic("counted").json()["type"] == "message"


def test_a_missing_key_is_refused(caller: Caller) -> None:
    caller.key = ""
    assert caller.openai().json()["error"]["message"].startswith("You didn't provide an API key.")
    refused = caller.anthropic()
    assert (refused.status_code, refused.json()["error"]["type"]) == (401, "authentication_error")


def test_an_unknown_key_is_refused_and_not_repeated(caller: Caller) -> None:
    refused = caller.openai("strict")
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")
    assert caller.key not in refused.text
    caller.key = "the-only-key-there-is"
    assert caller.openai("strict").status_code == 200


@pytest.mark.parametrize("model", ["missing-model", "gpt-sim+no-such-fault", "fault-typo"])
def test_an_unknown_model_is_a_404(caller: Caller, model: str) -> None:
    refused = caller.openai(model=model)
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")
    refused = caller.anthropic(model=model)
    assert (refused.status_code, refused.json()["error"]["message"]) == (404, f"model: {model}")


def test_an_unknown_provider_is_a_404_that_names_the_known_ones(caller: Caller) -> None:
    refused = caller.openai("nobody")
    assert refused.status_code == 404
    assert "anthropic" in refused.json()["error"]["message"]


def test_a_wrong_request_is_a_400_and_counted(caller: Caller) -> None:
    assert caller.openai(messages=None).status_code == 400
    assert caller.anthropic(max_tokens=None).status_code == 400
    assert caller.cell("default", "-").statuses == {"400": 2}


def test_openai_requests_are_refused_with_every_header_and_the_real_body(caller: Caller) -> None:
    accepted = [caller.openai("openai") for _ in range(3)]
    refused = caller.openai("openai")
    assert [reply.status_code for reply in accepted] == [200, 200, 200]
    assert [reply.headers["x-ratelimit-remaining-requests"] for reply in accepted] == ["2", "1", "0"]
    assert accepted[0].headers["x-ratelimit-limit-tokens"] == "100"
    assert refused.status_code == 429
    error = refused.json()["error"]
    assert (error["type"], error["code"], error["param"]) == ("requests", "rate_limit_exceeded", None)
    assert re.fullmatch(
        r"Rate limit reached for gpt-sim in organization [\w-]+ on requests per min \(RPM\): Limit 3, Used 3, "
        r"Requested 1. Please try again in [\d.]+s. Visit .*",
        error["message"],
    )
    seconds, milliseconds = int(refused.headers["retry-after"]), int(refused.headers["retry-after-ms"])
    assert 0 < milliseconds <= 20_000 and seconds - 1 <= milliseconds / 1000 <= seconds
    assert refused.headers["x-ratelimit-reset-requests"].endswith("s")
    cell = caller.cell("openai", "gpt-sim")
    assert (cell.statuses, cell.refused) == ({"200": 3, "429": 1}, {"requests": 1})


def test_openai_tokens_are_charged_at_admission_by_the_prompt_alone(caller: Caller) -> None:
    reply = caller.openai("openai", messages=[{"role": "user", "content": "x" * 200}], max_tokens=5000)
    assert reply.headers["x-ratelimit-remaining-tokens"] == "50"
    refused = caller.openai("openai", messages=[{"role": "user", "content": "x" * 240}])
    assert (refused.status_code, refused.json()["error"]["type"]) == (429, "tokens")
    assert refused.headers["x-ratelimit-remaining-requests"] == "2"


def test_a_request_larger_than_the_limit_is_told_so_and_not_to_wait(caller: Caller) -> None:
    refused = caller.openai("openai", messages=[{"role": "user", "content": "x" * 404}])
    assert refused.status_code == 429 and "retry-after" not in refused.headers
    assert refused.json()["error"]["message"].startswith("Request too large for gpt-sim")
    assert "Limit 100, Requested 101." in refused.json()["error"]["message"]


def test_anthropic_output_is_charged_after_the_reply(caller: Caller) -> None:
    accepted, refused = caller.anthropic("anthropic"), caller.anthropic("anthropic")
    assert accepted.status_code == 200
    assert accepted.headers["anthropic-ratelimit-output-tokens-limit"] == "8"
    assert accepted.headers["anthropic-ratelimit-requests-remaining"] == "49"
    assert refused.status_code == 429 and int(refused.headers["retry-after"]) > 60
    assert refused.json()["error"]["type"] == "rate_limit_error"
    assert "8 output tokens per minute" in refused.json()["error"]["message"]
    assert caller.cell("anthropic", "claude-sim").refused == {"output_tokens": 1}


def test_each_key_has_limits_of_its_own(caller: Caller) -> None:
    assert [caller.openai("silent").status_code for _ in range(2)] == [200, 429]
    caller.key += "-another"
    assert caller.openai("silent").status_code == 200


def test_a_silent_provider_sends_no_limit_headers_but_still_a_retry_after(caller: Caller) -> None:
    accepted, refused = caller.openai("silent"), caller.openai("silent")
    assert not [name for reply in (accepted, refused) for name in reply.headers if "ratelimit" in name]
    assert refused.headers["retry-after"]


def test_a_stream_is_an_event_stream_with_the_limits_on_it(caller: Caller) -> None:
    reply = caller.openai("openai", stream=True)
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.headers["x-ratelimit-remaining-requests"] == "2"
    assert reply.text.endswith("data: [DONE]\n\n")


def test_a_conversation_calls_a_tool_and_then_answers(caller: Caller) -> None:
    tools = [{"name": "clock", "input_schema": {"type": "object", "properties": {}}}]
    asked = [{"role": "user", "content": "use clock"}]
    called = caller.anthropic(tools=tools, messages=asked).json()
    use = called["content"][0]
    assert (called["stop_reason"], use["name"], use["input"]) == ("tool_use", "clock", {})
    result = {"type": "tool_result", "tool_use_id": use["id"], "content": "noon"}
    told = [*asked, {"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]
    answered = caller.anthropic(tools=tools, messages=told).json()
    assert (answered["stop_reason"], answered["content"][0]["type"]) == ("end_turn", "text")


def test_what_was_received_is_counted_by_key_and_model(caller: Caller) -> None:
    caller.openai("counted", model="a")
    caller.openai("counted", model="a", stream=True)
    caller.anthropic("counted", model="b", max_tokens=2)
    a, b = caller.cell("counted", "a"), caller.cell("counted", "b")
    assert (a.received, a.statuses, a.input_tokens, a.output_tokens) == (2, {"200": 2}, 6, 32)
    assert (b.received, b.output_tokens, b.in_flight, b.max_in_flight) == (1, 2, 0, 1)
    assert a.first_at is not None and a.last_at is not None and a.first_at <= a.last_at


def test_keys_are_never_shown(caller: Caller) -> None:
    caller.openai("counted")
    report = caller.client.get(f"{caller.simulator.url}/__stats").text
    assert key_label(caller.key) in report and caller.key not in report


def test_a_client_that_leaves_while_it_waits_is_counted_and_its_work_stops(caller: Caller) -> None:
    connection = caller.raw(asking("gpt-sim"), "slow")
    caller.wait_for("slow", "gpt-sim", "in_flight", 1)
    connection.close()
    caller.wait_for("slow", "gpt-sim", "cancelled", 1)
    cell = caller.cell("slow", "gpt-sim")
    assert (cell.in_flight, cell.statuses, cell.output_tokens) == (0, {}, 0)


def test_a_client_that_leaves_a_stream_stops_it(caller: Caller) -> None:
    connection = caller.raw(asking("gpt-sim", stream=True), "endless")
    caller.wait_for("endless", "gpt-sim", "statuses", {"200": 1})
    connection.close()
    caller.wait_for("endless", "gpt-sim", "cancelled", 1)
    assert caller.cell("endless", "gpt-sim").output_tokens == 1


def test_requests_at_once_are_counted_at_their_most(caller: Caller) -> None:
    connections = [caller.raw(asking("gpt-sim"), "slow") for _ in range(5)]
    caller.wait_for("slow", "gpt-sim", "in_flight", 5)
    for connection in connections:
        connection.close()
    caller.wait_for("slow", "gpt-sim", "in_flight", 0)
    assert caller.cell("slow", "gpt-sim").max_in_flight == 5


def _control(caller: Caller, body: dict[str, object]) -> httpx2.Response:
    return caller.client.post(f"{caller.simulator.url}/__control", json=body)


def test_a_configured_fault_strikes_as_often_as_it_says(caller: Caller) -> None:
    statuses = [caller.openai("failing", model="weak").status_code for _ in range(3)]
    assert statuses == [500, 500, 200]
    assert caller.cell("failing", "weak").faults == {"status_500": 2}


def test_a_fault_can_be_added_while_it_runs(caller: Caller) -> None:
    fault = {"kind": "status", "status": 418, "count": 1, "retry_after": 7}
    assert _control(caller, {"provider": "scripted", "fault": fault}).status_code == 200
    struck, then = caller.openai("scripted"), caller.openai("scripted")
    assert (struck.status_code, struck.headers["retry-after"], then.status_code) == (418, "7", 200)


def test_added_faults_can_be_cleared(caller: Caller) -> None:
    _control(caller, {"provider": "cleared", "fault": {"kind": "status_503"}})
    assert caller.openai("cleared").status_code == 503
    caller.client.delete(f"{caller.simulator.url}/__control")
    assert caller.openai("cleared").status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"provider": "scripted", "fault": {"kind": "boom"}}, 400, "fault.kind"),
        ({"provider": "scripted"}, 400, "fault"),
        ({"provider": "nobody", "fault": {"kind": "hang"}}, 404, "nobody"),
    ],
)
def test_a_wrong_command_is_refused(caller: Caller, body: dict[str, object], status: int, said: str) -> None:
    refused = _control(caller, body)
    assert refused.status_code == status and said in refused.json()["error"]


def test_health_is_told(simulator: Simulator, client: httpx2.Client) -> None:
    assert client.get(f"{simulator.url}/__health").json() == {"ok": True}
