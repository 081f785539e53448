"""Fitting a request to a model: what is dropped, what is changed, and that it is said."""

from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmring.chat import Cache, ChatRequest, Effort, Message, NativeTurn
from llmring.codecs.capabilities import Capabilities, Control, Model, Reasoning
from llmring.errors import Unsupported
from llmring.prompts import to_messages
from llmring.providers.fit import (
    EFFORTS,
    OPTIONAL,
    Fitted,
    can_go_without,
    effort_of,
    field_of,
    fit,
    nearest_effort,
    reasons,
    without_native,
)
from llmring.refs import ModelRef

REF = ModelRef("openai", "m-1")
EVERYTHING = frozenset(OPTIONAL) | {"max_tokens", "response_format"}
BUDGET: frozenset[Control] = frozenset({"budget"})
EFFORT: frozenset[Control] = frozenset({"effort"})


ANYTHING = Capabilities()


def fitted(capabilities: Capabilities = ANYTHING, parameters: frozenset[str] = EVERYTHING, **fields: Any) -> Fitted:
    stream = fields.pop("stream", False)
    request = ChatRequest(model="a", messages=fields.pop("messages", to_messages("hi")), **fields)
    return fit(request, REF, Model(name="m-1", capabilities=capabilities), parameters, "openai-chat", stream=stream)


def changed(result: Fitted) -> dict[str, Any]:
    """The fields that are set, without the prompt."""
    default = ChatRequest(model="a", messages=())
    return {
        name: value
        for name, value in msgspec.structs.asdict(result.request).items()
        if name != "messages" and value != getattr(default, name)
    }


def test_nothing_is_added_to_what_was_not_set() -> None:
    for reasoning in get_args(Reasoning):
        result = fitted(Capabilities(reasoning=reasoning, max_output_tokens=100))
        assert changed(result) == {}
        assert result.notes == ()


def test_zero_is_not_unset() -> None:
    result = fitted(temperature=0.0, seed=0, presence_penalty=0.0)
    assert changed(result) == {"temperature": 0.0, "seed": 0, "presence_penalty": 0.0}


def test_what_the_format_cannot_say_is_dropped_with_a_note() -> None:
    result = fitted(parameters=EVERYTHING - {"seed"}, seed=7, temperature=0.5)
    assert changed(result) == {"temperature": 0.5}
    assert [str(note) for note in result.notes] == ["seed dropped: the provider's format has no such parameter"]


def test_hints_are_dropped_without_a_note() -> None:
    result = fitted(parameters=frozenset(), cache=Cache(ttl="5m"), user="u-1", show_reasoning=True)
    assert changed(result) == {}
    assert result.notes == ()


def test_strict_params_refuses_instead() -> None:
    with pytest.raises(Unsupported, match="strict_params is set: seed dropped"):
        fitted(parameters=frozenset(), seed=7, strict_params=True)


@pytest.mark.parametrize("sampling", ["refused", "taken without reasoning"])
def test_sampling_parameters_are_dropped_where_a_model_that_reasons_refuses_them(sampling: Any) -> None:
    capabilities = Capabilities(sampling=sampling, reasoning="always")
    result = fitted(capabilities, temperature=0.5, top_p=0.9, seed=1)
    assert changed(result) == {"seed": 1}
    assert [(note.parameter, note.action) for note in result.notes] == [
        ("temperature", "dropped"),
        ("top_p", "dropped"),
    ]


def test_sampling_parameters_are_taken_while_reasoning_is_off() -> None:
    capabilities = Capabilities(sampling="taken without reasoning", reasoning="default", efforts=("none", "low"))
    result = fitted(capabilities, temperature=0.5, reasoning_effort="none")
    assert changed(result) == {"temperature": 0.5, "reasoning_effort": "none"}


def test_a_tool_choice_without_tools_is_dropped() -> None:
    assert [note.parameter for note in fitted(tool_choice="auto", parallel_tool_calls=False).notes] == [
        "tool_choice",
        "parallel_tool_calls",
    ]


def test_a_stream_carries_one_answer() -> None:
    assert changed(fitted(n=2)) == {"n": 2}
    result = fitted(n=2, stream=True)
    assert changed(result) == {}
    assert str(result.notes[0]) == "n dropped: a stream carries one answer"


# Reasoning.


@pytest.mark.parametrize(
    ("capabilities", "asked", "sent", "notes"),
    [
        # A word stays a word, a budget a budget, where both are taken.
        (Capabilities(), {"reasoning_effort": "low"}, {"reasoning_effort": "low"}, []),
        (Capabilities(), {"reasoning_tokens": 5000}, {"reasoning_tokens": 5000}, []),
        (
            Capabilities(),
            {"reasoning_tokens": 5000, "reasoning_effort": "high"},
            {"reasoning_tokens": 5000, "reasoning_effort": "high"},
            [],
        ),
        # Else the one stands for the other.
        (Capabilities(controls=EFFORT), {"reasoning_tokens": 5000}, {"reasoning_effort": "medium"}, []),
        (Capabilities(controls=BUDGET), {"reasoning_effort": "medium"}, {"reasoning_tokens": 8192}, []),
        # A word that is not taken becomes the nearest.
        (
            Capabilities(controls=EFFORT, efforts=("low", "medium", "high")),
            {"reasoning_effort": "max"},
            {"reasoning_effort": "high"},
            ["reasoning_effort changed: the model takes 'high', not 'max'"],
        ),
        (
            Capabilities(controls=EFFORT, efforts=("low", "medium"), reasoning="always"),
            {"reasoning_effort": "none"},
            {"reasoning_effort": "low"},
            ["reasoning_effort changed: the model takes 'low', not 'none'"],
        ),
        # No less than the least budget.
        (
            Capabilities(controls=BUDGET, least_reasoning_tokens=1024),
            {"reasoning_tokens": 500},
            {"reasoning_tokens": 1024},
            ["reasoning_tokens changed: the model takes at least 1024"],
        ),
        (
            Capabilities(controls=BUDGET, least_reasoning_tokens=128, reasoning="always"),
            {"reasoning_effort": "none"},
            {"reasoning_tokens": 128},
            ["reasoning_tokens changed: the model takes at least 128"],
        ),
        # Off by default and asked to be off: nothing to say.
        (Capabilities(controls=BUDGET, reasoning="optional"), {"reasoning_effort": "none"}, {}, []),
        (Capabilities(controls=BUDGET, reasoning="optional"), {"reasoning_tokens": 0}, {}, []),
        # On by default and asked to be off: said.
        (Capabilities(controls=BUDGET, reasoning="default"), {"reasoning_effort": "none"}, {"reasoning_tokens": 0}, []),
        # A model that does not reason.
        (Capabilities(reasoning="never"), {"reasoning_effort": "none"}, {}, []),
        (
            Capabilities(reasoning="never"),
            {"reasoning_effort": "low"},
            {},
            ["reasoning_effort dropped: the model takes no such parameter"],
        ),
        # A refusal teaches which of the two it takes.
        (
            Capabilities(refused=frozenset({"reasoning_tokens"})),
            {"reasoning_tokens": 5000},
            {"reasoning_effort": "medium"},
            [],
        ),
        (
            Capabilities(refused=frozenset({"reasoning_tokens", "reasoning_effort"})),
            {"reasoning_tokens": 5000},
            {},
            ["reasoning_effort dropped: the model takes no such parameter"],
        ),
    ],
)
def test_reasoning_is_asked_for_as_the_model_takes_it(
    capabilities: Capabilities, asked: dict[str, Any], sent: dict[str, Any], notes: list[str]
) -> None:
    result = fitted(capabilities, **asked)
    assert changed(result) == sent
    assert [str(note) for note in result.notes] == notes


@pytest.mark.parametrize(
    ("capabilities", "asked", "bound"),
    [
        (Capabilities(reasoning="never"), {}, 800),
        (Capabilities(reasoning="optional"), {}, 800),
        (Capabilities(reasoning="optional"), {"reasoning_tokens": 3000}, 3800),
        (Capabilities(reasoning="optional"), {"reasoning_effort": "low"}, 2848),
        (Capabilities(reasoning="always"), {}, 2800),
        (Capabilities(reasoning="always", reasoning_allowance=5000), {}, 5800),
        (Capabilities(reasoning="always", max_output_tokens=2000), {}, 2000),
        (Capabilities(reasoning="unknown"), {}, 800),
        (Capabilities(reasoning="default", efforts=("none",)), {"reasoning_effort": "none"}, 800),
    ],
)
def test_a_bound_is_of_the_answer_and_reasoning_goes_on_top(
    capabilities: Capabilities, asked: dict[str, Any], bound: int
) -> None:
    result = fitted(capabilities, max_tokens=800, **asked)
    assert result.request.max_tokens == bound
    assert result.notes == ()


def test_a_bound_beyond_the_models_own_is_cut_to_it() -> None:
    result = fitted(Capabilities(max_output_tokens=500), max_tokens=800)
    assert result.request.max_tokens == 500
    assert str(result.notes[0]) == "max_tokens changed: the model gives at most 500 tokens"


@given(effort=st.sampled_from(get_args(Effort)), taken=st.lists(st.sampled_from(get_args(Effort)), unique=True))
def test_the_nearest_effort_is_one_that_is_taken(effort: Effort, taken: list[Effort]) -> None:
    nearest = nearest_effort(effort, taken)
    if effort in taken:
        assert nearest == effort
    elif [word for word in taken if word != "none"]:
        assert nearest in taken


@given(st.integers(0, 100_000))
def test_a_larger_budget_is_never_a_lesser_effort(tokens: int) -> None:
    assert EFFORTS.index(effort_of(tokens)) <= EFFORTS.index(effort_of(tokens + 1))


@given(
    reasoning=st.sampled_from(["unknown", "never", "optional", "default", "always"]),
    controls=st.sets(st.sampled_from(["effort", "budget"])),
    efforts=st.lists(st.sampled_from(get_args(Effort)), unique=True),
    effort=st.none() | st.sampled_from(get_args(Effort)),
    tokens=st.none() | st.integers(0, 50_000),
    bound=st.none() | st.integers(1, 50_000),
)
def test_whatever_is_asked_only_what_is_taken_is_sent(
    reasoning: Any, controls: set[Any], efforts: list[Effort], effort: Any, tokens: Any, bound: Any
) -> None:
    capabilities = Capabilities(reasoning=reasoning, controls=frozenset(controls), efforts=tuple(efforts))
    request = fitted(capabilities, reasoning_effort=effort, reasoning_tokens=tokens, max_tokens=bound).request
    assert request.reasoning_effort is None or "effort" in controls
    assert request.reasoning_tokens is None or "budget" in controls
    assert (request.max_tokens is None) == (bound is None)
    if bound is not None:
        assert request.max_tokens is not None
        assert (request.max_tokens > bound) == reasons(request, capabilities)


# Turns of other models.

NATIVE = NativeTurn(origin=REF, format="openai-chat", items=({"type": "thinking"},))


@pytest.mark.parametrize(
    ("native", "kept"),
    [
        (NATIVE, True),
        (msgspec.structs.replace(NATIVE, origin=ModelRef("openai", "m-2")), False),
        (msgspec.structs.replace(NATIVE, format="openai-responses"), False),
    ],
)
def test_only_a_models_own_turns_are_replayed(native: NativeTurn, kept: bool) -> None:
    turn = Message(role="assistant", content="yes", native=native)
    result = fitted(messages=(*to_messages("hi"), turn))
    assert (result.request.messages[1].native is not None) == kept
    assert result.request.messages[1].content == "yes"


def test_a_turn_that_held_nothing_else_is_empty_without_it() -> None:
    request = ChatRequest(model="a", messages=(Message(role="assistant", native=NATIVE),))
    assert without_native(request).messages == (Message(role="assistant", content=""),)


# What a refusal means.


@pytest.mark.parametrize(
    ("parameter", "field"),
    [
        ("temperature", "temperature"),
        ("topP", "top_p"),
        ("generationConfig.topK", "top_k"),
        ("reasoning.effort", "reasoning_effort"),
        ("reasoning_effort", "reasoning_effort"),
        ("thinking", "reasoning_tokens"),
        ("thinking.budget_tokens", "reasoning_tokens"),
        ("generation_config.thinking_config.thinking_level", "reasoning_effort"),
        ("output_config.effort", "reasoning_effort"),
        ("output_config.format", "response_format"),
        ("text.format", "response_format"),
        ("stop_sequences", "stop"),
        ("stream_options", "stream_options"),
        ("stream_options.include_usage", "stream_options"),
        ("max_tokens", "max_tokens"),
        ("native", "native"),
        ("messages", None),
        ("messages.0.content", None),
        ("model", None),
        ("", None),
    ],
)
def test_a_name_on_the_wire_is_a_field(parameter: str, field: str | None) -> None:
    assert field_of(parameter) == field


def test_only_what_is_set_can_be_left_out() -> None:
    request = ChatRequest(model="a", messages=to_messages("hi"), temperature=0.0, max_tokens=5, reasoning_effort="low")
    assert [
        name
        for name in ("temperature", "top_p", "max_tokens", "native", "stream_options", "reasoning_tokens")
        if can_go_without(request, name)
    ] == ["temperature", "max_tokens", "stream_options", "reasoning_tokens"]


def test_a_temperature_that_changes_nothing_is_left_out_in_silence() -> None:
    result = fitted(Capabilities(sampling="refused"), temperature=1.0, strict_params=True)
    assert changed(result) == {"strict_params": True}


def test_a_bound_that_the_registry_has_rounded_down_is_not_cut() -> None:
    assert changed(fitted(Capabilities(max_output_tokens=4000), max_tokens=4096)) == {"max_tokens": 4096}
    assert changed(fitted(Capabilities(max_output_tokens=4000), max_tokens=4200)) == {"max_tokens": 4000}
