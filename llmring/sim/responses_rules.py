"""What OpenAI's Responses API refuses about the fields of a request and the items of its input. Pure."""

from collections.abc import Mapping

import msgspec

from llmring.sim.seals import unseal
from llmring.sim.wire import Problem, Rejected

_FIELDS = frozenset(
    {
        "background",
        "conversation",
        "include",
        "input",
        "instructions",
        "max_output_tokens",
        "max_tool_calls",
        "metadata",
        "model",
        "moderation",
        "parallel_tool_calls",
        "previous_response_id",
        "prompt",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "reasoning",
        "safety_identifier",
        "service_tier",
        "store",
        "stream",
        "stream_options",
        "temperature",
        "text",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "truncation",
        "user",
    }
)
#: Of chat completions, and where they went.
_MOVED = {
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "messages": "input",
    "reasoning_effort": "reasoning.effort",
    "response_format": "text.format",
}
_USER_PARTS = ("input_text", "input_image", "input_file", "input_audio")
_ASSISTANT_PARTS = ("output_text", "refusal")
#: The ids of items end in two digits; before them they are the id of their reply.
_INDEX_DIGITS = 2


class _Part(msgspec.Struct):
    type: str = "input_text"
    text: str = ""
    file_id: str | None = None


class Item(msgspec.Struct):
    type: str = "message"
    role: str = ""
    content: str | list[_Part] | None = None
    id: str | None = None
    call_id: str = ""
    arguments: str = ""
    output: str | list[_Part] | None = None
    encrypted_content: str | None = None

    def parts(self) -> list[_Part]:
        """Of a message or of a tool's result."""
        held = self.output if self.output is not None else self.content
        return [_Part(text=held)] if isinstance(held, str) else held or []

    def text(self) -> str:
        return self.arguments + "".join(part.text for part in self.parts())

    def reply_it_is_in(self) -> str | None:
        """The stored reply that an item without its content can only be found in."""
        bare_thought = self.type == "reasoning" and self.encrypted_content is None
        if self.id is None or not (bare_thought or self.type == "item_reference"):
            return None
        return f"resp_{self.id.partition('_')[2][:-_INDEX_DIGITS]}"


def invalid(parameter: str, message: str, code: str = "") -> Rejected:
    return Rejected(Problem(kind="bad_field", parameter=parameter, detail=message, code=code))


def check_fields(fields: Mapping[str, object]) -> None:
    for name in fields:
        if name in _MOVED:
            raise invalid(
                name,
                f"Unsupported parameter: '{name}'. In the Responses API, this parameter has moved to '{_MOVED[name]}'. "
                "Try again with the new parameter.",
                "unsupported_parameter",
            )
        if name not in _FIELDS:
            raise invalid(name, f"Unknown parameter: '{name}'.", "unknown_parameter")


def check_items(items: list[Item], model: str, *, continued: bool) -> None:
    """Raises Rejected. `continued`: what came before is stored, so that results may answer calls not in sight."""
    for at, item in enumerate(items):
        if item.type == "message":
            _check_parts(at, item)
        if item.type == "reasoning":
            _check_thought(item, items[at + 1] if at + 1 < len(items) else None, model)
    called = [item.call_id for item in items if item.type == "function_call"]
    answered = [item.call_id for item in items if item.type == "function_call_output"]
    for call in answered:
        if call not in called and not continued:
            raise invalid("input", f"No tool call found for function call output with call_id {call}.")
    for call in called:
        if call not in answered:
            raise invalid("input", f"No tool output found for function call {call}.")


def _check_parts(at: int, item: Item) -> None:
    if item.content is None or isinstance(item.content, str):
        return
    allowed = _ASSISTANT_PARTS if item.role == "assistant" else _USER_PARTS
    for index, part in enumerate(item.content):
        if part.type not in allowed:
            supported = " and ".join(f"'{one}'" for one in allowed)
            raise invalid(
                f"input[{at}].content[{index}]",
                f"Invalid value: '{part.type}'. Supported values are: {supported}.",
                "invalid_value",
            )


def _check_thought(item: Item, following: Item | None, model: str) -> None:
    if following is None or following.role not in ("", "assistant"):
        raise invalid(
            "input", f"Item '{item.id}' of type 'reasoning' was provided without its required following item."
        )
    sealed = item.encrypted_content
    if sealed is not None and unseal("openai", model, sealed) is None:
        shown = f"{sealed[:4]}...{sealed[-4:]}"
        raise Rejected(Problem(kind="bad_seal", detail=f"The encrypted content {shown} could not be verified."))
