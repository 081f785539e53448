"""What the codec of Anthropic's Messages format sends: parts, caching, thinking, tools, JSON, and what it changes."""

from base64 import b64encode
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmring.chat import Cache, ChatRequest, JSONMode, JSONSchema, Message, NamedTool, NativeTurn, Note, Tool, ToolCall
from llmring.codecs.anthropic.codec import DEFAULT_MAX_TOKENS, PARAMETERS, AnthropicCodec
from llmring.codecs.capabilities import Capabilities, Control, Model
from llmring.codecs.codec import HttpCall
from llmring.errors import InvalidRequest, Unsupported
from llmring.parts import (
    AudioPart,
    CacheTTL,
    DocumentPart,
    ImagePart,
    Inline,
    Link,
    Part,
    ProviderFile,
    RegisteredFile,
    TextPart,
)
from llmring.prompts import to_messages
from llmring.refs import ModelRef
from tests.codecs.payloads import body_of

CODEC = AnthropicCodec()
BUDGET = Capabilities(reasoning="optional", controls=frozenset[Control]({"budget"}))
ADAPTIVE = Capabilities(reasoning="optional", controls=frozenset[Control]({"effort"}))
BY_DEFAULT = Capabilities(reasoning="default", controls=frozenset[Control]({"effort"}))
FIVE = {"type": "ephemeral"}
HOUR = {"type": "ephemeral", "ttl": "1h"}
PDF = Inline(media_type="application/pdf", data="JVBERi0=")
PNG = Inline(media_type="image/png", data="iVBORw==")


def spell(*messages: Message, capabilities: Capabilities | None = None, **fields: Any) -> HttpCall:
    request = ChatRequest(model="a", messages=messages or to_messages("hi"), **fields)
    return CODEC.encode(request, Model(name="m-1", capabilities=capabilities or Capabilities()), stream=False)


def encode(*messages: Message, capabilities: Capabilities | None = None, **fields: Any) -> dict[str, Any]:
    return body_of(spell(*messages, capabilities=capabilities, **fields))


def user(*parts: Part, cache: CacheTTL | None = None) -> Message:
    return Message(role="user", content=parts, cache=cache)


def text(content: str, cache: CacheTTL | None = None) -> TextPart:
    return TextPart(text=content, cache=cache)


def call(call_id: str) -> ToolCall:
    return ToolCall(id=call_id, name="f", arguments="{}")


def native(*blocks: dict[str, Any], format: str = "anthropic") -> Message:  # noqa: A002
    turn = NativeTurn(origin=ModelRef("anthropic", "m-1"), format=format, items=blocks)
    return Message(role="assistant", content="ours", tool_calls=(call("c1"),), native=turn)


def told(call: HttpCall) -> list[tuple[str, str]]:
    return [(note.parameter, note.action) for note in call.notes]


def test_every_parameter_is_a_field() -> None:
    assert set(ChatRequest.__struct_fields__) >= PARAMETERS


# Parts.


@pytest.mark.parametrize(
    ("part", "spelled"),
    [
        (
            ImagePart(source=PNG, detail="high"),
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw=="}},
        ),
        (
            ImagePart(source=Inline(media_type="image/JPG", data="/9g=")),
            {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "/9g="}},
        ),
        (
            ImagePart(source=Link(url="https://x/y.png")),
            {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}},
        ),
        (
            ImagePart(source=ProviderFile(id="file_1")),
            {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
        ),
        (
            DocumentPart(source=PDF, name="a.pdf"),
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
                "title": "a.pdf",
            },
        ),
        (
            DocumentPart(source=Link(url="https://x/y.pdf")),
            {"type": "document", "source": {"type": "url", "url": "https://x/y.pdf"}},
        ),
        (
            DocumentPart(source=ProviderFile(id="file_1")),
            {"type": "document", "source": {"type": "file", "file_id": "file_1"}},
        ),
        (
            DocumentPart(
                source=Inline(media_type="text/markdown; charset=utf-8", data=b64encode("é".encode()).decode())
            ),
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "é"}},
        ),
        (
            DocumentPart(source=Inline(media_type="application/json", data="e30=")),
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "{}"}},
        ),
    ],
)
def test_a_part_is_a_block(part: Part, spelled: dict[str, Any]) -> None:
    assert encode(user(text("see"), part))["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "see"}, spelled]}
    ]


@pytest.mark.parametrize(
    "part",
    [
        AudioPart(source=PNG),
        ImagePart(source=Inline(media_type="image/tiff", data="")),
        DocumentPart(source=Inline(media_type="application/zip", data="")),
        DocumentPart(source=Inline(media_type="text/plain", data="/w==")),
    ],
)
def test_what_the_format_cannot_say_is_for_another_model(part: Part) -> None:
    with pytest.raises(Unsupported) as caught:
        encode(user(part))
    assert caught.value.parameter == "messages"


@pytest.mark.parametrize("role", ["system", "assistant"])
def test_only_users_and_tools_show_pictures(role: Any) -> None:
    with pytest.raises(Unsupported):
        encode(Message(role="user", content="u"), Message(role=role, content=(ImagePart(source=PNG),)))


def test_a_document_that_is_not_base64_is_refused_without_being_quoted() -> None:
    with pytest.raises(InvalidRequest) as caught:
        encode(user(DocumentPart(source=Inline(media_type="text/plain", data="se!cret"))))
    assert "cret" not in str(caught.value)


def test_a_file_that_was_not_brought_here_cannot_be_sent() -> None:
    with pytest.raises(InvalidRequest, match="f-1"):
        encode(user(ImagePart(source=RegisteredFile(id="f-1"))))


def test_the_beta_is_asked_for_with_a_file_alone() -> None:
    assert dict(spell(user(ImagePart(source=PNG))).headers).keys() == {"content-type", "anthropic-version"}
    sent = spell(user(DocumentPart(source=ProviderFile(id="file_1"))))
    assert dict(sent.headers)["anthropic-beta"] == "files-api-2025-04-14"


def test_a_tool_may_answer_in_parts() -> None:
    result = Message(role="tool", content=(text("seen"), text(" "), ImagePart(source=PNG)), tool_call_id="c1")
    (message,) = encode(result)["messages"]
    (block,) = message["content"]
    assert block["tool_use_id"] == "c1"
    assert [each["type"] for each in block["content"]] == ["text", "image"]


def test_ids_that_anthropic_refuses_are_respelled_alike_in_call_and_result() -> None:
    body = encode(
        Message(role="assistant", tool_calls=(call("functions.f:0"),)),
        Message(role="tool", content="r", tool_call_id="functions.f:0"),
    )
    asked, answered = (message["content"][0] for message in body["messages"])
    assert asked["id"] == answered["tool_use_id"] == "functions_f_0"


# Turns of Anthropic's own.

THINKING = {"type": "thinking", "thinking": "hm", "signature": "s=="}
CALL = {"type": "tool_use", "id": "c1", "name": "f", "input": {}, "caller": {"type": "direct"}}
RESULT = Message(role="tool", content="r", tool_call_id="c1")


def test_a_native_turn_is_sent_as_it_came_and_stands_for_content_and_calls() -> None:
    body = encode(Message(role="user", content="u"), native(THINKING, CALL), RESULT)
    assert body["messages"][1] == {"role": "assistant", "content": [THINKING, CALL]}


def test_a_native_turn_of_another_format_is_not_sent() -> None:
    body = encode(native({"type": "reasoning"}, format="openai-responses"))
    assert [block["type"] for block in body["messages"][0]["content"]] == ["text", "tool_use"]


def test_blank_texts_of_a_native_turn_are_not_sent_and_it_is_never_changed() -> None:
    blocks = (THINKING, {"type": "text", "text": " \n"}, {"type": "text", "text": "so "})
    message = native(*blocks)
    assert encode(message)["messages"][0]["content"] == [THINKING, {"type": "text", "text": "so"}]
    assert message.native is not None
    assert message.native.items == (THINKING, {"type": "text", "text": " \n"}, {"type": "text", "text": "so "})


def test_a_mark_on_a_native_turn_is_not_on_its_thinking() -> None:
    marked = msgspec.structs.replace(native(CALL, THINKING), cache="5m")
    assert encode(marked)["messages"][0]["content"] == [CALL | {"cache_control": FIVE}, THINKING]
    bare = msgspec.structs.replace(native(THINKING), cache="5m")
    assert encode(bare)["messages"][0]["content"] == [THINKING]
    assert "cache_control" not in CALL


# Caching.


def test_marks_are_on_tools_system_messages_parts_and_results() -> None:
    body = encode(
        Message(role="system", content="s", cache="1h"),
        user(text("a"), text("b"), cache="5m"),
        Message(role="assistant", tool_calls=(call("c1"),)),
        Message(role="tool", content=(text("r", "5m"),), tool_call_id="c1"),
        tools=(Tool(name="f", cache="1h"), Tool(name="g")),
    )
    assert [tool.get("cache_control") for tool in body["tools"]] == [HOUR, None]
    assert body["system"] == [{"type": "text", "text": "s", "cache_control": HOUR}]
    first, _, last = body["messages"]
    assert [block.get("cache_control") for block in first["content"]] == [None, FIVE]
    assert last["content"] == [
        {
            "type": "tool_result",
            "tool_use_id": "c1",
            "content": [{"type": "text", "text": "r"}],
            "cache_control": FIVE,
        }
    ]


def test_the_mark_of_a_blank_text_goes_to_what_is_before_it() -> None:
    (message,) = encode(user(text("a"), text(" ", "5m"), text("b")))["messages"]
    assert [block.get("cache_control") for block in message["content"]] == [FIVE, None]


@pytest.mark.parametrize(("ttl", "spelled"), [("5m", FIVE), ("1h", HOUR)])
def test_the_whole_prompt_is_marked_at_the_top(ttl: CacheTTL, spelled: dict[str, str]) -> None:
    assert encode(cache=Cache(ttl=ttl, key="k"))["cache_control"] == spelled
    assert "cache_control" not in encode(cache=Cache(key="k"))


def test_the_end_is_not_marked_twice() -> None:
    sent = spell(user(text("a", "5m")), cache=Cache(ttl="1h"))
    body = body_of(sent)
    assert "cache_control" not in body
    assert body["messages"][0]["content"][0]["cache_control"] == HOUR


def test_of_more_than_four_marks_the_first_are_left_out() -> None:
    sent = spell(user(*(text(str(n), "5m") for n in range(5)), text("end")), cache=Cache(ttl="5m"))
    blocks = body_of(sent)["messages"][0]["content"]
    assert [block["text"] for block in blocks if "cache_control" in block] == ["2", "3", "4"]
    assert body_of(sent)["cache_control"] == FIVE
    assert told(sent) == [("cache", "dropped")]


def test_what_is_before_a_mark_for_an_hour_lasts_an_hour() -> None:
    sent = spell(user(text("a", "5m"), text("b", "1h"), text("c", "5m")))
    blocks = body_of(sent)["messages"][0]["content"]
    assert [block["cache_control"] for block in blocks] == [HOUR, HOUR, FIVE]
    assert told(sent) == [("cache", "changed")]


def test_a_model_that_refused_marks_gets_none() -> None:
    sent = spell(
        user(text("a", "5m")),
        tools=(Tool(name="f", cache="5m"),),
        cache=Cache(ttl="1h"),
        capabilities=Capabilities(refused=frozenset({"cache"})),
    )
    assert b"cache_control" not in bytes(sent.body if isinstance(sent.body, bytes) else b"")


TTLS: st.SearchStrategy[CacheTTL | None] = st.sampled_from((None, "5m", "1h"))


@given(st.lists(TTLS, max_size=7), st.lists(TTLS, max_size=3), TTLS)
def test_marks_are_such_as_anthropic_takes(parts: list[Any], tools: list[Any], whole: Any) -> None:
    body = encode(
        user(*(text(str(n), ttl) for n, ttl in enumerate(parts)), text("end")),
        tools=tuple(Tool(name=f"f{n}", cache=ttl) for n, ttl in enumerate(tools)),
        cache=Cache(ttl=whole),
    )
    blocks = [*body.get("tools", []), *body["messages"][0]["content"], body]
    marks = [block["cache_control"] for block in blocks if "cache_control" in block]
    wanted = [ttl for ttl in (*tools, *parts, whole) if ttl is not None]
    assert len(marks) == min(4, len(wanted))
    assert sorted(marks, key=lambda mark: "ttl" not in mark) == marks


# Thinking.


@pytest.mark.parametrize(
    ("capabilities", "fields", "thinking", "output"),
    [
        (BUDGET, {"reasoning_tokens": 2048}, {"type": "enabled", "budget_tokens": 2048}, None),
        (BUDGET, {"reasoning_tokens": 0}, None, None),
        (ADAPTIVE, {"reasoning_effort": "high"}, {"type": "adaptive"}, {"effort": "high"}),
        (
            ADAPTIVE,
            {"reasoning_effort": "max", "show_reasoning": True},
            {"type": "adaptive", "display": "summarized"},
            {"effort": "max"},
        ),
        (
            ADAPTIVE,
            {"reasoning_effort": "low", "show_reasoning": False},
            {"type": "adaptive", "display": "omitted"},
            {"effort": "low"},
        ),
        (ADAPTIVE, {"reasoning_effort": "none"}, None, None),
        (ADAPTIVE, {"show_reasoning": True}, None, None),
        (ADAPTIVE, {"reasoning_tokens": 5000}, {"type": "adaptive"}, None),
        (BY_DEFAULT, {"reasoning_effort": "none"}, {"type": "disabled"}, None),
        (BY_DEFAULT, {"reasoning_tokens": 0}, {"type": "disabled"}, None),
        (BY_DEFAULT, {"show_reasoning": True}, {"type": "adaptive", "display": "summarized"}, None),
        (BY_DEFAULT, {}, None, None),
        (
            Capabilities(),
            {"reasoning_effort": "high", "reasoning_tokens": 3000},
            {"type": "enabled", "budget_tokens": 3000},
            {"effort": "high"},
        ),
    ],
)
def test_reasoning(capabilities: Capabilities, fields: dict[str, Any], thinking: Any, output: Any) -> None:
    body = encode(capabilities=capabilities, **fields)
    assert body.get("thinking") == thinking
    assert body.get("output_config") == output


def test_the_least_effort_is_low() -> None:
    sent = spell(capabilities=ADAPTIVE, reasoning_effort="minimal")
    assert body_of(sent)["output_config"] == {"effort": "low"}
    assert told(sent) == [("reasoning_effort", "changed")]


@pytest.mark.parametrize(
    ("tokens", "bound", "budget"), [(10, 9000, 1024), (8000, 9000, 8000), (9000, 9000, 8999), (1500, 1025, 1024)]
)
def test_a_budget_is_at_least_1024_and_below_the_bound(tokens: int, bound: int, budget: int) -> None:
    sent = spell(capabilities=BUDGET, reasoning_tokens=tokens, max_tokens=bound)
    assert body_of(sent)["thinking"] == {"type": "enabled", "budget_tokens": budget}
    assert told(sent) == ([] if budget == tokens else [("reasoning_tokens", "changed")])


def test_a_bound_without_room_for_a_budget_is_kept_and_the_budget_dropped() -> None:
    sent = spell(capabilities=BUDGET, reasoning_tokens=2000, max_tokens=1024)
    assert "thinking" not in body_of(sent)
    assert body_of(sent)["max_tokens"] == 1024
    assert told(sent) == [("reasoning_tokens", "dropped")]


@pytest.mark.parametrize(
    ("capabilities", "fields", "bound"),
    [
        (Capabilities(), {}, DEFAULT_MAX_TOKENS),
        (BUDGET, {"reasoning_tokens": 10_000}, DEFAULT_MAX_TOKENS + 10_000),
        (BUDGET, {"reasoning_tokens": 1}, DEFAULT_MAX_TOKENS + 1024),
        (ADAPTIVE, {"reasoning_effort": "low"}, DEFAULT_MAX_TOKENS + 2048),
        (ADAPTIVE, {"reasoning_effort": "high"}, DEFAULT_MAX_TOKENS + 16_384),
        (ADAPTIVE, {"reasoning_effort": "none"}, DEFAULT_MAX_TOKENS),
        (BY_DEFAULT, {}, DEFAULT_MAX_TOKENS + 2000),
        (BY_DEFAULT, {"reasoning_effort": "none"}, DEFAULT_MAX_TOKENS),
        (Capabilities(max_output_tokens=4000), {}, 4000),
        (BY_DEFAULT, {"max_tokens": 0}, 0),
    ],
)
def test_the_bound_has_room_for_reasoning(capabilities: Capabilities, fields: dict[str, Any], bound: int) -> None:
    assert encode(capabilities=capabilities, **fields)["max_tokens"] == bound


def test_results_of_calls_without_thinking_turn_a_budget_off() -> None:
    asked = Message(role="assistant", tool_calls=(call("c1"),))
    sent = spell(Message(role="user", content="u"), asked, RESULT, capabilities=BUDGET, reasoning_tokens=2048)
    assert "thinking" not in body_of(sent)
    assert told(sent) == [("reasoning_tokens", "dropped")]
    for messages in ((native(THINKING, CALL), RESULT), (asked, RESULT, Message(role="assistant", content="done"))):
        assert "thinking" in encode(*messages, capabilities=BUDGET, reasoning_tokens=2048)
    assert "thinking" in encode(asked, RESULT, capabilities=ADAPTIVE, reasoning_effort="low")


def test_sampling_is_dropped_while_it_thinks() -> None:
    wanted = {"temperature": 0.0, "top_p": 0.5, "top_k": 3}
    sent = spell(capabilities=ADAPTIVE, reasoning_effort="low", **wanted)
    assert body_of(sent).keys().isdisjoint(wanted)
    assert told(sent) == [(name, "dropped") for name in wanted]
    taken = spell(capabilities=BUDGET, reasoning_tokens=2048, temperature=1.0, top_p=0.95)
    assert (body_of(taken)["temperature"], body_of(taken)["top_p"], taken.notes) == (1.0, 0.95, ())


def test_sampling_is_sent_while_it_does_not_think() -> None:
    body = encode(capabilities=BY_DEFAULT, reasoning_effort="none", temperature=0.0, top_p=0.5, top_k=3)
    assert (body["temperature"], body["top_p"], body["top_k"]) == (0.0, 0.5, 3)


def test_temperatures_end_at_one() -> None:
    sent = spell(temperature=1.5)
    assert body_of(sent)["temperature"] == 1.0
    assert told(sent) == [("temperature", "changed")]


# Tools.

SCHEMA = {"type": "object", "properties": {"x": {"type": "string", "minLength": 2}}, "required": ["x"]}
TOOL = Tool(name="f")


def test_tools() -> None:
    body = encode(tools=(Tool(name="f", description="d", parameters=SCHEMA, strict=False), Tool(name="g")))
    assert body["tools"] == [
        {"name": "f", "description": "d", "input_schema": SCHEMA},
        {"name": "g", "input_schema": {"type": "object", "properties": {}}},
    ]


def test_a_strict_tool_has_a_schema_that_can_be_enforced() -> None:
    sent = spell(tools=(Tool(name="f", parameters=SCHEMA, strict=True),))
    (tool,) = body_of(sent)["tools"]
    assert tool["strict"] is True
    assert tool["input_schema"]["additionalProperties"] is False
    assert "minLength" not in tool["input_schema"]["properties"]["x"]
    (note,) = sent.notes
    assert (note.parameter, note.action) == ("tools", "changed")
    assert note.why.startswith("f: minLength")


def test_a_tool_that_cannot_be_strict_keeps_its_schema() -> None:
    open_schema = {"type": "object", "additionalProperties": {"type": "integer"}}
    sent = spell(tools=(Tool(name="f", parameters=open_schema, strict=True),))
    assert body_of(sent)["tools"] == [{"name": "f", "input_schema": open_schema}]
    assert told(sent) == [("tools", "changed")]


@pytest.mark.parametrize(
    ("choice", "spelled"),
    [
        ("auto", {"type": "auto"}),
        ("none", {"type": "none"}),
        ("required", {"type": "any"}),
        (NamedTool(name="f"), {"type": "tool", "name": "f"}),
    ],
)
def test_tool_choice(choice: Any, spelled: dict[str, Any]) -> None:
    assert encode(tools=(TOOL,), tool_choice=choice)["tool_choice"] == spelled
    one = {} if choice == "none" else {"disable_parallel_tool_use": True}
    assert encode(tools=(TOOL,), tool_choice=choice, parallel_tool_calls=False)["tool_choice"] == spelled | one


def test_one_call_at_most_needs_a_choice_and_tools() -> None:
    body = encode(tools=(TOOL,), parallel_tool_calls=False)
    assert body["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    assert "tool_choice" not in encode(tools=(TOOL,), parallel_tool_calls=True)
    assert "tool_choice" not in encode(parallel_tool_calls=False, tool_choice="required")


@pytest.mark.parametrize("choice", ["required", NamedTool(name="f")])
def test_no_tool_is_forced_within_a_budget(choice: Any) -> None:
    sent = spell(tools=(TOOL,), tool_choice=choice, reasoning_tokens=2048, capabilities=BUDGET)
    assert body_of(sent)["tool_choice"] == {"type": "auto"}
    assert told(sent) == [("tool_choice", "changed")]
    free = spell(tools=(TOOL,), tool_choice=choice, reasoning_effort="low", capabilities=ADAPTIVE)
    assert body_of(free)["tool_choice"]["type"] in ("any", "tool")
    assert free.notes == ()


# Answers in JSON, and the rest.


def test_a_schema_is_fitted() -> None:
    sent = spell(response_format=JSONSchema(schema=SCHEMA), reasoning_effort="low", capabilities=ADAPTIVE)
    output = body_of(sent)["output_config"]
    assert output["effort"] == "low"
    assert output["format"]["type"] == "json_schema"
    assert output["format"]["schema"]["additionalProperties"] is False
    assert [(note.parameter, note.action) for note in sent.notes] == [("response_format", "changed")]


def test_a_schema_that_cannot_be_enforced_is_in_the_prompt() -> None:
    open_schema = {"type": "object", "additionalProperties": {"type": "integer"}}
    sent = spell(
        Message(role="system", content="s"), *to_messages("hi"), response_format=JSONSchema(schema=open_schema)
    )
    body = body_of(sent)
    assert "output_config" not in body
    assert body["system"][0] == {"type": "text", "text": "s"}
    assert body["system"][1]["text"].endswith('{"type":"object","additionalProperties":{"type":"integer"}}')
    assert told(sent) == [("response_format", "changed")]


def test_json_mode_is_in_the_prompt() -> None:
    sent = spell(response_format=JSONMode())
    assert "JSON" in body_of(sent)["system"][0]["text"]
    assert told(sent) == [("response_format", "changed")]


def test_blank_stops_are_not_sent() -> None:
    sent = spell(stop=("\n\n", "END"))
    assert body_of(sent)["stop_sequences"] == ["END"]
    assert told(sent) == [("stop", "dropped")]
    assert "stop_sequences" not in encode(stop=(" ",))


@pytest.mark.parametrize(
    ("tier", "spelled"),
    [("auto", "auto"), ("priority", "auto"), ("standard_only", "standard_only"), ("default", "standard_only")],
)
def test_service_tiers(tier: str, spelled: str) -> None:
    assert encode(service_tier=tier)["service_tier"] == spelled


def test_a_tier_that_anthropic_has_not_is_dropped() -> None:
    sent = spell(service_tier="flex")
    assert "service_tier" not in body_of(sent)
    assert sent.notes == (Note(parameter="service_tier", action="dropped", why="Anthropic has no tier 'flex'"),)


def test_the_end_user_is_metadata() -> None:
    assert encode(user="u-1")["metadata"] == {"user_id": "u-1"}


def test_extra_parameters_come_last_and_objects_are_merged() -> None:
    body = encode(
        reasoning_effort="low",
        capabilities=ADAPTIVE,
        user="u",
        extra_params={"output_config": {"format": {"a": 1}}, "metadata": None, "max_tokens": 1, "container": "c"},
    )
    assert body["output_config"] == {"effort": "low", "format": {"a": 1}}
    assert (body["metadata"], body["max_tokens"], body["container"]) == (None, 1, "c")
