"""What a run is given by the router: what is done for its rows, what it may not go beyond, how batches carry it."""

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Literal, get_args

import msgspec

from llmring.arguments import FUNCTION, MAPPING, as_text, check_kind, check_least, check_seconds, check_word
from llmring.chat import ChatRequest, ChatResponse, Message
from llmring.errors import InvalidRequest
from llmring.money.payment import Payment
from llmring.providers.route import Route
from llmring.refs import ModelRef
from llmring.router.account import Account, Purse
from llmring.router.admission import Admission
from llmring.router.map.batch_plan import BatchCalls, Mode
from llmring.router.map.rows import Input

OnError = Literal["yield", "raise", "skip"]
CHOICES: tuple[OnError, ...] = get_args(OnError)


class RowCalls(msgspec.Struct, frozen=True, kw_only=True):
    """What a run has done for a row: its input made a request, the request's models, those of them that may be asked,
    the call itself, with the row's money where that is bounded; and the money for it in a batch, set aside from the
    budgets, None where it is in none or there are none.

    `prepare` raises InvalidRequest, `models` and `routes` ConfigError, `send` what `chat` raises, and CalledBack once
    `admission` has ended; `prepay` what `chat` raises of money.
    """

    prepare: Callable[[Input], ChatRequest]
    models: Callable[[ChatRequest], Sequence[ModelRef]]
    routes: Callable[[ChatRequest], Sequence[Route]]
    send: Callable[[ChatRequest, Account | None], Awaitable[ChatResponse]]
    admission: Admission
    prepay: Callable[[ChatRequest], Awaitable[Payment | None]]


class Caps(msgspec.Struct, frozen=True, kw_only=True):
    """What a run may not go beyond: failed rows, money, seconds from its start. None: no bound."""

    max_failures: int | None = None
    purse: Purse | None = None
    deadline: float | None = None


class Batching(msgspec.Struct, frozen=True, kw_only=True):
    """How rows go through batch APIs; `adopt` are the ids, by tag, of batches that were lost, None for one that was
    never made."""

    mode: Mode
    calls_of: BatchCalls
    adopt: Mapping[str, str | None]


def check_options(inputs: object, window: int | None, caps: Caps, on_error: object, key: object) -> None:
    """Raises InvalidRequest for what cannot be meant."""
    if isinstance(inputs, str | bytes | Message | Mapping):
        # A text is an iterable too, of one-letter prompts that would all be paid for.
        raise InvalidRequest("map takes an iterable of prompts, not one prompt: [prompt]")
    if not isinstance(inputs, Iterable | AsyncIterable):
        raise InvalidRequest(f"map takes an iterable of prompts, not {type(inputs).__name__}")
    if window is not None:
        check_least("window", 1, window, " row")
    if caps.max_failures is not None:
        check_least("max_failures", 0, caps.max_failures)
    if caps.deadline is not None:
        check_seconds("deadline", caps.deadline)
    if key is not None:
        check_kind("key", FUNCTION, key)
    if not callable(on_error):
        check_word("on_error", CHOICES, on_error)


def check_adopt(adopt: Mapping[str, str | None] | None, mode: Mode) -> None:
    """Raises InvalidRequest."""
    if adopt is None:
        return
    check_kind("adopt", MAPPING, adopt)
    for tag, batch_id in adopt.items():
        as_text("a tag of adopt", tag)
        if batch_id is not None:
            as_text(f"the id that adopt has for {tag!r}", batch_id)
    if adopt and mode == "online":
        raise InvalidRequest("adopt names batches that were lost, and they are read with mode='batch' or mode='auto'")


def no_choice(choice: object) -> InvalidRequest:
    """What to raise for what a function answered that is none."""
    words = ", ".join(map(repr, CHOICES))
    return InvalidRequest(f"on_error answered {choice!r}: it must answer one of {words}, or None for 'yield'")
