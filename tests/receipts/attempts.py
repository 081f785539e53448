"""Attempts as a router leaves them to the ledger."""

from datetime import UTC, datetime
from decimal import Decimal

from llmring.chat import ChatRequest, Completion, Message
from llmring.config import LedgerPlace
from llmring.pricing import Prices
from llmring.receipts.building import Attempted, Facts
from llmring.receipts.opening import writer_for
from llmring.receipts.writer import Writer
from llmring.refs import ModelRef
from llmring.usage import Usage

NOON = datetime(2026, 8, 1, 12, tzinfo=UTC)
FACTS = Facts(
    version=7,
    digest="0123456789abcdef",
    prices=Prices(input=Decimal("0.15"), output=Decimal("0.60")),
    known=True,
)
ASKED = ChatRequest(model="fast", messages=(Message(role="user", content="the-prompt-canary"),))
ANSWERED = Completion(content="the-answer-canary", finish_reason="stop", served_model="gpt-4o-mini-2024-07-18")


def attempted(number: int = 1, **fields: object) -> Attempted:
    given = {
        "kind": "chat",
        "ended_at": NOON,
        "call": "9f2c-1",
        "attempt": number,
        "alias": "fast",
        "profile": "default",
        "model": ModelRef("openai", "gpt-4o-mini"),
        "outcome": "answered",
        "asked": ASKED,
        "answered": ANSWERED,
        "usage": Usage(input_tokens=1200, output_tokens=80),
        "status": 200,
        "request_id": "req_1",
        "took_seconds": 0.8125,
        "lock": lambda: "ab" * 32,
        "facts": lambda: FACTS,
    }
    return Attempted(**{**given, **fields})  # type: ignore[arg-type]  # whatever a test likes


_MADE: list[Writer] = []


def writer_at(place: LedgerPlace) -> Writer:
    """A ledger as a router opens it, for one test: closed with it where that does not."""
    _MADE.append(writer_for(place, None))
    return _MADE[-1]


def close_writers() -> None:
    while _MADE:
        _MADE.pop().close()


def written(place: LedgerPlace, *ended: Attempted) -> Writer:
    """With receipts of `ended` in it."""
    writer = writer_at(place)
    writer.take(ended)
    assert writer.flush()
    return writer
