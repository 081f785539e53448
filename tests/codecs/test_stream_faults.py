"""What can go wrong with a stream, as a table, for every format: each fault is an explicit error or a whole answer.

Never a cut that passes for an end, and never an empty success.
"""

import json
from collections.abc import Callable

import pytest

from llmring.chat import Completion, ToolCall
from llmring.codecs.codec import Codec
from llmring.errors import BadReply, Overloaded, ProviderError, TransportBroken
from llmring.testing import answer
from llmring.testing_wires import Spoken, spoken_by
from tests.codecs.test_contract import FORMATS

PATHS = {
    "openai": "/chat/completions",
    "responses": "/responses",
    "anthropic": "/messages",
    "google": "/models/m:streamGenerateContent",
    "ollama": "/api/chat",
}
STEP = answer(
    "Hel", "lo", " there", reasoning="hm", tool_calls=[ToolCall(id="call_1", name="add", arguments='{"a": 1}')]
)
EACH = pytest.mark.parametrize("form", list(PATHS))

Frames = list[bytes]


def spoken(form: str) -> Spoken:
    return spoken_by(PATHS[form])


def whole(form: str) -> Frames:
    """The frames of a good stream."""
    return spoken(form).reply(STEP, "m", stream=True)


def read(form: str, frames: Frames) -> Completion:
    codec: Codec = FORMATS[form].codec
    wire = spoken(form)
    decoder = codec.open_stream({"content-type": wire.stream_type})
    for frame in frames:
        decoder.feed(frame)
    return decoder.close()


def is_whole(completion: Completion) -> bool:
    return completion.content == "Hello there" and [call.name for call in completion.tool_calls] == ["add"]


@EACH
def test_a_good_stream_is_whole(form: str) -> None:
    completion = read(form, whole(form))
    assert is_whole(completion)
    assert completion.usage is not None


@EACH
def test_a_cut_at_any_boundary_is_an_error_or_lost_nothing(form: str) -> None:
    frames = whole(form)
    errors = 0
    for kept in range(len(frames)):
        try:
            completion = read(form, frames[:kept])
        except ProviderError:
            errors += 1
        else:
            # Only what says nothing more may be missing: usage, or the mark of the end.
            assert is_whole(completion), f"cut after {kept} of {len(frames)} frames"
    assert errors >= len(frames) - 3


@EACH
def test_a_cut_inside_any_frame_is_an_error_or_lost_nothing(form: str) -> None:
    frames = whole(form)
    for kept, frame in enumerate(frames):
        for part in (1, len(frame) // 2, len(frame) - 2):
            try:
                completion = read(form, [*frames[:kept], frame[:part]])
            except ProviderError:
                continue
            assert is_whole(completion), f"cut {part} bytes into frame {kept} of {len(frames)}"


def framed(form: str, event: dict[str, object]) -> bytes:
    return spoken(form).framed(event)


Spoil = Callable[[str, Frames], Frames]

FAULTS: dict[str, tuple[Spoil, type[ProviderError] | None]] = {
    "nothing at all": (lambda _, __: [], ProviderError),
    "only keep-alives": (lambda form, _: [b"\n" if form == "ollama" else b": ping\n\n"] * 5, ProviderError),
    "malformed in the middle": (
        lambda form, frames: [*frames[:2], b"{nonsense\n" if form == "ollama" else b"data: {nonsense\n\n", *frames[2:]],
        BadReply,
    ),
    "a page of HTML": (lambda _, __: [b"<html><body>Bad gateway</body></html>\n\n"], ProviderError),
    "the end twice": (lambda _, frames: [*frames, frames[-1]], None),
    "[DONE] twice, where there is one": (
        lambda form, frames: [*frames, *([b"data: [DONE]\n\n"] if form == "openai" else [])],
        None,
    ),
    "keep-alives all over": (
        lambda form, frames: [part for f in frames for part in (b"\n" if form == "ollama" else b": ping\n\n", f)],
        None,
    ),
}
"""By name: what becomes of the frames, and the error; None for a whole answer."""


@EACH
@pytest.mark.parametrize("name", list(FAULTS))
def test_every_fault_is_an_error_or_a_whole_answer(form: str, name: str) -> None:
    spoil, error = FAULTS[name]
    frames = spoil(form, whole(form))
    if error is None:
        assert is_whole(read(form, frames))
        return
    with pytest.raises(error) as caught:
        read(form, frames)
    assert caught.value.fails_over


ERRORS: dict[str, dict[str, object]] = {
    "openai": {"error": {"message": "slow down", "type": "server_error", "code": "server_is_overloaded"}},
    "responses": {"type": "error", "code": "server_is_overloaded", "message": "slow down"},
    "anthropic": {"type": "error", "error": {"type": "overloaded_error", "message": "slow down"}},
    "google": {"error": {"code": 503, "message": "slow down", "status": "UNAVAILABLE"}},
    "ollama": {"error": "slow down"},
}


@EACH
@pytest.mark.parametrize("kept", [0, 1, 2, 3])
def test_an_error_inside_a_good_reply_is_that_error(form: str, kept: int) -> None:
    frames = [*whole(form)[:kept], framed(form, ERRORS[form])]
    with pytest.raises(ProviderError) as caught:
        read(form, frames)
    assert "slow down" in str(caught.value)
    assert caught.value.fails_over
    if form != "ollama":
        assert isinstance(caught.value, Overloaded)


@EACH
def test_usage_that_is_missing_is_unknown_and_no_error(form: str) -> None:
    frames = [without_usage(form, frame) for frame in whole(form)]
    completion = read(form, frames)
    assert is_whole(completion)
    assert completion.usage is None


def without_usage(form: str, frame: bytes) -> bytes:
    text = frame.decode().strip()
    _, _, data = ("", "", text) if form == "ollama" else text.rpartition("data: ")
    if data == "[DONE]":
        return frame
    event = json.loads(data)
    for place in (event, event.get("response"), event.get("message")):
        if isinstance(place, dict):
            for key in ("usage", "usageMetadata", "prompt_eval_count", "eval_count"):
                place.pop(key, None)
    return spoken(form).framed(event)


@EACH
def test_a_stream_that_breaks_is_told_apart_from_one_that_is_wrong(form: str) -> None:
    with pytest.raises(TransportBroken):
        read(form, whole(form)[:2])
