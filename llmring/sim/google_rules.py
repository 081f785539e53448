"""What Gemini refuses about contents and about the schemas of function declarations. Pure."""

import re
from collections.abc import Mapping

import msgspec

from llmring.sim.seals import unseal
from llmring.sim.wire import Problem, Rejected, Schema

#: What stands for a signature on calls the model did not make itself.
_SKIPPED = "skip_thought_signature_validator"


class FileData(msgspec.Struct, rename="camel"):
    file_uri: str = ""


class _FunctionCall(msgspec.Struct, rename="camel"):
    name: str = ""
    id: str | None = None
    args: dict[str, object] | None = None


class _FunctionResponse(msgspec.Struct, rename="camel"):
    name: str = ""
    id: str | None = None
    response: dict[str, object] | None = None


class Part(msgspec.Struct, rename="camel"):
    text: str = ""
    thought: bool = False
    thought_signature: str | None = None
    function_call: _FunctionCall | None = None
    function_response: _FunctionResponse | None = None
    file_data: FileData | None = None


class Content(msgspec.Struct, rename="camel"):
    role: str = "user"
    parts: list[Part] | None = None

    def said(self) -> str:
        return "".join(part.text for part in self.parts or () if not part.thought)

    def text(self) -> str:
        """Everything that is counted."""
        results = [part.function_response for part in self.parts or () if part.function_response is not None]
        return self.said() + "".join(msgspec.json.encode(one.response).decode() for one in results)

    def calls(self) -> list[_FunctionCall]:
        return [part.function_call for part in self.parts or () if part.function_call is not None]

    def responses(self) -> list[_FunctionResponse]:
        return [part.function_response for part in self.parts or () if part.function_response is not None]


def refused(message: str) -> Rejected:
    return Rejected(Problem(kind="bad_field", detail=message))


def is_gemini_3(model: str) -> bool:
    """Gemini 3 and later: they give calls ids, and sign them."""
    found = re.match(r"gemini-(\d+)", model)
    return found is not None and int(found[1]) >= 3


def check_contents(contents: list[Content], model: str) -> None:
    """Raises Rejected."""
    for at, content in enumerate(contents):
        if content.role not in ("", "user", "model", "function"):
            raise refused("Please use a valid role: user, model.")
        if not content.parts:
            raise refused(f"* GenerateContentRequest.contents[{at}].parts: contents.parts must not be empty.")
        calls = contents[at - 1].calls() if at else []
        responses = content.responses()
        if responses and not calls:
            raise refused("Please ensure that function response turn comes immediately after a function call turn.")
        if responses and len(responses) != len(calls):
            raise refused(
                "Please ensure that the number of function response parts is equal to the number of function call "
                "parts of the function call turn."
            )
        if calls and not responses:
            raise refused(
                "Please ensure that function call turn comes immediately after a user turn or after a function "
                "response turn."
            )
        for response in responses:
            if response.response is None:
                raise refused("Function response must be an object.")
    _check_signatures(contents, model)


def _check_signatures(contents: list[Content], model: str) -> None:
    """A signature must be the model's own; from Gemini 3 on, the first call of each step of the turn has one."""
    turn_began = max((at for at, one in enumerate(contents) if one.role != "model" and not one.responses()), default=0)
    for at, content in enumerate(contents):
        if content.role != "model":
            continue
        for part in content.parts or ():
            signature = part.thought_signature
            if signature not in (None, _SKIPPED) and unseal("google", model, _standard(signature or "")) is None:
                raise Rejected(Problem(kind="bad_seal", detail="Corrupted thought signature."))
        first = next((part for part in content.parts or () if part.function_call is not None), None)
        if first is not None and at > turn_began and is_gemini_3(model) and first.thought_signature is None:
            name = first.function_call.name if first.function_call is not None else ""
            raise Rejected(
                Problem(
                    kind="bad_seal",
                    detail="Function call is missing a thought_signature in functionCall parts. This is required for "
                    "tools to work correctly, and missing thought_signature may lead to degraded model performance. "
                    f"Additional data, function call `default_api:{name}` , position {at + 1}. Please refer to "
                    "https://ai.google.dev/gemini-api/docs/thought-signatures for more details.",
                )
            )


def _standard(signature: str) -> str:
    """protobuf's JSON takes bytes in either alphabet of base64, padded or not."""
    text = signature.replace("-", "+").replace("_", "/")
    return text + "=" * (-len(text) % 4)


#: Of the Schema message, which declarations and responseSchema are written in.
_SCHEMA_FIELDS = frozenset(
    {
        "type",
        "format",
        "title",
        "description",
        "nullable",
        "enum",
        "items",
        "maxItems",
        "minItems",
        "properties",
        "required",
        "minProperties",
        "maxProperties",
        "minimum",
        "maximum",
        "minLength",
        "maxLength",
        "pattern",
        "example",
        "anyOf",
        "propertyOrdering",
        "default",
    }
)


def check_declaration(schema: Schema, where: str) -> None:
    """Raises Rejected for a keyword of JSON Schema that Gemini's own schemas do not have."""
    for name in schema:
        camel_name = re.sub(r"_([a-z])", lambda found: found[1].upper(), name)
        if camel_name not in _SCHEMA_FIELDS:
            raise Rejected(Problem(kind="unsupported_parameter", parameter=f"{where}.{name}"))
    properties = schema.get("properties")
    if isinstance(properties, Mapping):
        for name, inner in properties.items():
            if isinstance(inner, Mapping):
                check_declaration(inner, f"{where}.properties[{name}]")
    for holder in ("items", "anyOf"):
        held = schema.get(holder)
        for inner in held if isinstance(held, list) else [held]:
            if isinstance(inner, Mapping):
                check_declaration(inner, f"{where}.{holder}")
