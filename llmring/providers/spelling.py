"""A request as one model takes it on the wire, and its answer as it was asked for. Pure.

The same for a call of its own, for a stream and for a row of a batch: what the model does not take is left out with a
note, and JSON by a schema is asked for and read in the way that the model has.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from llmring.chat import ChatRequest, Completion, NativeTurn, Note
from llmring.codecs.capabilities import Model
from llmring.codecs.codec import Codec, HttpCall
from llmring.errors import Unsupported
from llmring.providers import structured
from llmring.providers.fit import fit
from llmring.refs import ModelRef

_CONTENT = frozenset({"messages", "response_format", "tools"})
"""What formats spell differently without doing anything else than was asked."""


class Spelled(msgspec.Struct, frozen=True, kw_only=True):
    """A request of `ref` in `format`. `request` is as it was asked, `notes` say what the call does not."""

    call: HttpCall
    request: ChatRequest
    ref: ModelRef
    format: str
    notes: tuple[Note, ...] = ()

    def read(self, completion: Completion) -> Completion:
        """An answer as the codec read it, with its JSON value, and with what was not done as asked."""
        changes: dict[str, Any] = {}
        if self.notes:
            changes["notes"] = self.notes
        if completion.native:
            changes["turn"] = NativeTurn(origin=self.ref, format=self.format, items=completion.native)
        known = msgspec.structs.replace(completion, **changes) if changes else completion
        return structured.read(known, self.request)


def spell(request: ChatRequest, ref: ModelRef, model: Model, codec: Codec, *, stream: bool = False) -> Spelled:
    """Spell `request` for `model`, which is `ref`. Raises Unsupported, InvalidRequest."""
    capabilities = model.capabilities
    way = structured.support(request, capabilities, codec.parameters)
    asked = structured.ask(request, way, object_roots=capabilities.object_roots)
    fitted = fit(asked, ref, model, codec.parameters, codec.format, stream=stream)
    call = codec.encode(fitted.request, model, stream=stream)
    if request.strict_params:
        _check_strictly(call.notes)
    return Spelled(call=call, request=request, ref=ref, format=codec.format, notes=(*fitted.notes, *call.notes))


def _check_strictly(notes: Iterable[Note]) -> None:
    """Under strict_params, what the format cannot carry is refused. Raises Unsupported."""
    for note in notes:
        if note.action == "dropped" or (note.action == "changed" and note.parameter not in _CONTENT):
            raise Unsupported(f"strict_params is set: {note}")
