"""errors.py: the tree and the table in its docstring are true, and every error survives a pickle."""

import pickle
import re
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from llmring import errors
from llmring.errors import (
    AllModelsFailed,
    Attempt,
    AuthFailed,
    BudgetExceeded,
    ConfigError,
    EditFailed,
    EditRefused,
    InvalidRequest,
    LLMRingError,
    LockfileInvalid,
    LockfileMissing,
    MapTimeout,
    MissingKey,
    PackageMissing,
    ProviderError,
    RateLimited,
    ReceiptError,
    RegistryError,
    RegistryStale,
    RouterClosed,
    RowStalled,
    ServerFault,
    SignatureInvalid,
    StreamBroken,
    TooManyFailures,
    UnknownAlias,
    UnknownProfile,
    UnknownProvider,
    nearest,
)
from llmring.refs import ModelRef

MODEL = ModelRef("openai", "gpt-4o")


def subclasses(cls: type[LLMRingError]) -> set[type[LLMRingError]]:
    found = {cls}
    for child in cls.__subclasses__():
        found |= subclasses(child)
    return found


def public_classes() -> set[type[LLMRingError]]:
    return {cls for cls in subclasses(LLMRingError) if cls.__module__ == errors.__name__ and cls.__name__[0] != "_"}


def provider_classes() -> list[type[ProviderError]]:
    classes = [cls for cls in public_classes() if issubclass(cls, ProviderError)]
    return sorted(classes, key=lambda cls: cls.__name__)


PROVIDER_ERRORS = provider_classes()


def drawn() -> list[tuple[int, str, str]]:
    """Depth, name and remark of each line of the tree in the docstring."""
    lines = re.findall(r"^    ((?:[|`] *-? ?)*)(\w+)(.*)$", errors.__doc__ or "", re.MULTILINE)
    return [(len(marks) // 3, name, rest) for marks, name, rest in lines]


def test_the_drawn_tree_is_the_tree_of_classes() -> None:
    above: list[str] = []
    for depth, name, _ in drawn():
        cls = getattr(errors, name)
        above[depth:] = [name]
        bases = [c.__name__ for c in cls.__mro__[1:] if c in public_classes()]
        assert bases == above[:depth][::-1]
    assert {name for _, name, _ in drawn()} == {cls.__name__ for cls in public_classes()}


def test_the_drawn_policy_is_the_policy_of_the_classes() -> None:
    rows = {}
    for _, name, rest in drawn():
        row = re.search(r"(yes|no) +(counts|no) +(\d) +(\S.*)$", rest)
        if row is not None:
            rows[name] = (row[1] == "yes", row[2] == "counts", int(row[3]), row[4])
    assert rows == {
        cls.__name__: (cls.fails_over, cls.trips_breaker, cls.tries, cls.holds)
        for cls in PROVIDER_ERRORS
        if cls is not ProviderError
    }


def test_only_a_failed_connection_cannot_have_been_seen_by_the_provider() -> None:
    assert [cls.__name__ for cls in PROVIDER_ERRORS if not cls.sent] == ["ConnectFailed"]


def test_only_weather_says_nothing_of_the_request() -> None:
    assert [cls.__name__ for cls in PROVIDER_ERRORS if cls.is_weather] == ["Overloaded", "RateLimited"]


def provider_errors() -> list[LLMRingError]:
    made: list[LLMRingError] = []
    for cls in PROVIDER_ERRORS:
        error = cls("it failed", status=500, code="c", retry_after=1.5, request_id="r")
        error.model = MODEL
        made.append(error)
    limited = RateLimited("slow down", kind="daily", dimension="day", status=429)
    return [*made, limited]


EVERY_ERROR = [
    LLMRingError("m"),
    ConfigError("m"),
    LockfileMissing(Path("/p"), "is a directory"),
    LockfileInvalid(Path("/p"), 3, "not TOML"),
    UnknownProfile("prd", ("prod",), " in /p"),
    EditRefused("cannot be edited"),
    EditFailed("cannot write /p"),
    UnknownAlias("fsat", ("fast", "slow"), " in /p"),
    PackageMissing("lib:x", Path("/p"), "not installed"),
    RegistryStale("openai", date(2026, 1, 1), 30.0),
    TooManyFailures(3, ServerFault("down")),
    BudgetExceeded(Decimal(5), Decimal("4.5"), Decimal(0), Decimal("0.75")),
    MapTimeout(1800.0, 12, 34, more=True, checkpoint=Path("/p")),
    UnknownProvider("opnai", ("openai",)),
    InvalidRequest("no messages"),
    MissingKey("openai", ("OPENAI_API_KEY",)),
    *provider_errors(),
    AllModelsFailed("fast", [Attempt(model=MODEL, outcome="skipped")], retry_at=10.0, retry_after=2.0),
    RowStalled("fast", [Attempt(model=MODEL, outcome="skipped")], "no answer"),
    StreamBroken(ServerFault("cut", status=500), "the text so far"),
    RouterClosed("closed"),
    RegistryError(Path("/p"), "damaged"),
    ReceiptError("the ledger is locked"),
    SignatureInvalid("not a signature"),
]


def test_the_list_of_examples_has_every_class() -> None:
    assert {type(error) for error in EVERY_ERROR} == public_classes()


def pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


@pytest.mark.parametrize("error", EVERY_ERROR, ids=lambda error: type(error).__name__)
def test_an_error_survives_a_pickle_with_text_and_attributes(error: LLMRingError) -> None:
    copy = pickled(error)
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert copy.args == error.args or isinstance(error, StreamBroken | TooManyFailures)
    for name, value in vars(error).items():
        # Exceptions compare by identity: compare what they say.
        assert repr(getattr(copy, name)) == repr(value)


def test_an_attempt_survives_a_pickle_with_its_error() -> None:
    attempt = Attempt(model=MODEL, outcome="failed", error=RateLimited("m", status=429), sent=True)
    copy = pickled(AllModelsFailed("fast", [attempt])).attempts[0]
    assert (copy.model, copy.outcome, copy.sent, str(copy.error)) == (
        MODEL,
        "failed",
        True,
        "RateLimited: m (HTTP 429)",
    )


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (LockfileMissing(Path("/p")), "lockfile /p: no such file"),
        (LockfileInvalid(Path("/p"), 3, "not TOML"), "/p, line 3: not TOML"),
        (LockfileInvalid(Path("/p"), None, "not TOML"), "/p: not TOML"),
        (
            UnknownAlias("fsat", ("fast", "slow"), " in /p"),
            "unknown alias 'fsat' in /p: did you mean 'fast'?",
        ),
        (UnknownAlias("zzz", ("fast", "slow")), "unknown alias 'zzz': known: fast, slow"),
        (UnknownProfile("prod"), "unknown profile 'prod': there is no profile at all"),
        (
            MissingKey("google", ("GEMINI_API_KEY", "GOOGLE_API_KEY")),
            "no key for google: set GEMINI_API_KEY or GOOGLE_API_KEY",
        ),
        (ServerFault("it failed", status=503), "ServerFault: it failed (HTTP 503)"),
        (AuthFailed("wrong key"), "AuthFailed: wrong key"),
        (RegistryError(Path("/p"), "damaged"), "registry /p: damaged"),
        (StreamBroken(ServerFault("cut"), "abc"), "stream broke after 3 characters: ServerFault: cut"),
        (
            RowStalled("fast", [Attempt(model=MODEL, outcome="overloaded")], "no model of its chain has answered"),
            "a row of 'fast' was given up: no model of its chain has answered: openai:gpt-4o: overloaded",
        ),
        (
            BudgetExceeded(Decimal(5), Decimal("4.5"), Decimal(0), Decimal("0.75")),
            (
                "the map was stopped at its cap of $5: $4.5 spent, $0 reserved, and the next request may cost $0.75. "
                "To go on, raise the cap, or give max_tokens, a lower one where it is given"
            ),
        ),
        (
            MapTimeout(90.0, 12, 3, more=False, checkpoint=None),
            "the map was stopped after 90 s: 12 rows are finished, 3 are not done",
        ),
        (
            MapTimeout(90.0, 12, 3, more=True, checkpoint=Path("/p")),
            (
                "the map was stopped after 90 s: 12 rows are finished, at least 3 are not done; "
                "the same map with the journal /p goes on there"
            ),
        ),
        (
            AllModelsFailed("fast", [Attempt(model=MODEL, outcome="rate limited")], retry_after=2.0),
            "all models of 'fast' failed (earliest retry in 2 s): openai:gpt-4o: rate limited",
        ),
    ],
)
def test_a_message_says_what_happened_to_what_and_what_to_do(error: LLMRingError, text: str) -> None:
    assert str(error) == text


def test_a_provider_error_names_its_model_once_the_worker_has_filled_it_in() -> None:
    error = ServerFault("it failed", status=500)
    error.model = MODEL
    assert str(error) == "openai:gpt-4o: ServerFault: it failed (HTTP 500)"


def test_a_long_list_of_known_names_is_cut() -> None:
    names = tuple(f"alias{n:02}" for n in range(40))
    assert str(UnknownAlias("zzz", names)).endswith("alias10, alias11, ...")


def test_the_nearest_name_is_none_when_nothing_is_close() -> None:
    assert nearest("fsat", ["slow", "fast"]) == "fast"
    assert nearest("zzz", ["slow", "fast"]) is None
    assert nearest("zzz", []) is None


def test_no_message_shows_the_text_of_a_prompt_or_an_answer() -> None:
    assert "secret text" not in str(StreamBroken(ServerFault("cut"), "secret text"))
