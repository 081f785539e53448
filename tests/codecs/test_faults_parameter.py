"""Which parameter a refusal names: from fields, from validation errors, from what providers are known to say."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmring.codecs.anthropic import faults as anthropic_faults
from llmring.codecs.codec import HttpReply
from llmring.codecs.faults import Rules, judge, read_fault, to_error
from llmring.codecs.openai import faults as openai_faults
from llmring.codecs.refusals import named_in
from llmring.errors import BadRequest, ProviderError, RateLimited, Unsupported

NO_RULES = Rules(
    words={}, texts=(), general_words={"invalid_request_error": openai_faults.RULES.words["invalid_model"]}
)

NAMED = [
    # OpenAI, recorded; Azure says the same.
    ("Unsupported parameter: 'max_tokens' is not supported with this model. Use 'x' instead.", "max_tokens"),
    ("Unsupported value: 'temperature' does not support 0.2 with this model.", "temperature"),
    ("Unknown parameter: 'reasoning.effort'.", "reasoning.effort"),
    ("Unrecognized request argument supplied: seed", "seed"),
    ("Unrecognized request arguments supplied: seed, top_logprobs", "seed"),
    # xAI, which says it in a string.
    ("Argument not supported on this model: presencePenalty", "presencePenalty"),
    ("Model grok-4 does not support parameter stop.", "stop"),
    # Anthropic.
    ("temperature: Extra inputs are not permitted", "temperature"),
    (
        "messages.0.content.0.cache_control.ttl: Extra inputs are not permitted",
        "messages.0.content.0.cache_control.ttl",
    ),
    ("`temperature` is deprecated for this model.", "temperature"),
    ("`temperature` and `top_p` cannot both be specified for this model. Please use only one.", "top_p"),
    ('"thinking.type.enabled" is not supported for this model. Use "x".', "thinking.type.enabled"),
    ("thinking.type.enabled is not supported for this model. Use x.", "thinking.type.enabled"),
    ("This model does not support effort level 'xhigh'. Supported levels: high, low, max, medium.", "effort"),
    ("This model does not support the effort parameter.", "effort"),
    # Groq.
    ("property 'logit_bias' is unsupported", "logit_bias"),
    ("'messages.0' : for 'role:user' must be [('messages.0' : property 'name' is unsupported)]", "messages.0.name"),
    # Gemini, which takes both spellings.
    ("Unknown name \"topK\" at 'generation_config': Cannot find field.", "generation_config.topK"),
    ('Invalid JSON payload received. Unknown name "labels": Cannot find field.', "labels"),
    # Mistral and vLLM.
    ("body.seed: Extra inputs are not permitted; body.n: Extra inputs are not permitted", "seed"),
    ("logprobs is not supported with this model", "logprobs"),
    # Ollama.
    # Quoted by a gateway, as JSON in JSON.
    ('Provider returned error\n{"message":"\\"top_k\\" is not supported with this model"}', "top_k"),
]
UNNAMED = [
    "Audio input is not supported with this model",
    "Streaming is not supported with this model.",
    "This model does not support image input.",
    '"llama3.3" does not support image input',
    "The requested model 'gpt-5-codex' is not supported.",
    "temperature: Input should be less than or equal to 1",
    "max_tokens: 99999 > 8192, which is the maximum allowed number of output tokens",
    "We found that stop is a word in your prompt, which is not supported",
    "Thinking is not supported.",
    "stream_options must be set for this",
    "",
]


def refused(message: str, status: int = 400, **fields: Any) -> HttpReply:
    error = {"type": "invalid_request_error", "message": message} | fields
    return HttpReply(status=status, headers={}, body=msgspec.json.encode({"error": error}))


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize(("message", "name"), NAMED)
def test_what_is_called_unsupported_is_named(message: str, name: str, status: int) -> None:
    fault = read_fault(refused(message, status))
    error = to_error(fault, judge(fault, NO_RULES), None)
    assert isinstance(error, Unsupported)
    assert error.parameter == name
    assert error.status == status


@pytest.mark.parametrize("message", UNNAMED)
def test_prose_that_mentions_a_word_names_nothing(message: str) -> None:
    assert read_fault(refused(message)).parameter is None


def test_other_statuses_are_not_about_parameters() -> None:
    fault = read_fault(refused("temperature: Extra inputs are not permitted", 429, param="temperature"))
    assert fault.parameter is None
    assert isinstance(to_error(fault, judge(fault, NO_RULES), None), RateLimited)


def test_a_field_of_the_error_goes_before_its_words() -> None:
    reply = refused("Unsupported parameter: 'a'", param="reasoning.effort", code="unsupported_parameter")
    error = openai_faults.classify(reply)
    assert isinstance(error, Unsupported)
    assert error.parameter == "reasoning.effort"


def test_a_field_alone_does_not_make_a_parameter_unsupported() -> None:
    reply = refused("Invalid 'temperature': decimal above maximum value", param="temperature")
    assert read_fault(reply).parameter == "temperature"
    assert type(openai_faults.classify(reply)) is BadRequest


@pytest.mark.parametrize("param", [None, 3, "", ["a"], "x" * 201, "a\nb"])
def test_a_field_that_is_no_name_is_ignored(param: object) -> None:
    assert read_fault(refused("Bad request", param=param)).parameter is None


def test_functions_with_reasoning_name_the_effort() -> None:
    reply = refused(
        "Function tools with reasoning_effort are not supported for gpt-5.6 in /v1/chat/completions. To use function"
        " tools, use /v1/responses or set reasoning_effort to 'none'.",
        param="reasoning_effort",
    )
    error = openai_faults.classify(reply)
    assert isinstance(error, Unsupported)
    assert error.parameter == "reasoning_effort"


@pytest.mark.parametrize(
    "body",
    [
        {"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]},
        {"message": {"detail": [{"loc": ["body", "seed"], "msg": "Extra inputs are not permitted", "input": "?"}]}},
    ],
)
def test_the_place_of_a_validation_error_is_the_name(body: object) -> None:
    reply = HttpReply(status=422, headers={}, body=msgspec.json.encode(body))
    error = openai_faults.classify(reply)
    assert isinstance(error, Unsupported)
    assert error.parameter == "seed"


def test_a_value_that_is_wrong_is_not_unsupported() -> None:
    detail = [{"type": "less_than_equal", "loc": ["body", "temperature"], "msg": "Input should be at most 1.5"}]
    reply = HttpReply(status=422, headers={}, body=msgspec.json.encode({"detail": detail}))
    assert type(openai_faults.classify(reply)) is BadRequest


REPLAYS = [
    "messages.1.content.0: Invalid `signature` in `thinking` block",
    "messages.1.content.0.thinking.signature: Field required",
    "messages.3.content.0: `thinking` blocks in the latest assistant message cannot be modified.",
    "Item 'rs_68a1' of type 'reasoning' was provided without its required following item.",
    "Item 'fc_68a1' of type 'function_call' was provided without its required 'reasoning' item: 'rs_1'.",
    "The encrypted content gAAA...0ub could not be verified. Reason: it could not be decrypted or parsed.",
    "Unable to submit request because function call `f` in the 2. content block is missing a `thought_signature`.",
    "Function call is missing a thought_signature in functionCall parts.",
    "Corrupted thought signature.",
]


@pytest.mark.parametrize("classify", [anthropic_faults.classify, openai_faults.classify])
@pytest.mark.parametrize("message", REPLAYS)
def test_reasoning_that_cannot_be_given_back_is_native(classify: Any, message: str) -> None:
    error = classify(refused(message, param="input"))
    assert isinstance(error, Unsupported)
    assert error.parameter == "native"


PIECES = st.sampled_from([piece for message, _ in NAMED for piece in message.split(" ")] + UNNAMED + REPLAYS)


@given(st.lists(PIECES | st.text(max_size=5), max_size=30))
def test_a_name_is_one_printable_word_of_the_message(pieces: list[str]) -> None:
    text = " ".join(pieces)
    name = named_in(text)
    if name is not None:
        assert name.isprintable()
        assert " " not in name
        assert all(step in text for step in name.split("."))


@given(st.recursive(st.none() | st.text(max_size=9) | st.integers(), lambda x: st.lists(x, max_size=3), max_leaves=6))
def test_any_field_is_read_without_a_fault(value: object) -> None:
    for body in ({"error": {"param": value, "message": value}}, {"detail": value}, value):
        reply = HttpReply(status=400, headers={}, body=msgspec.json.encode(body))
        assert isinstance(openai_faults.classify(reply), ProviderError)
