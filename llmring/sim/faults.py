"""Which scripted fault, if any, strikes a request: the kinds, the names that ask for them, and the schedule.
Pure.

A fault is chosen by the model's name (`fault-KIND`, or `NAME+KIND` such as `gpt-sim+cut`, or
`NAME+unsupported_parameter:temperature,top_p`), by the configuration, or by `POST /__control`; in this order of
precedence: name, control (newest first), configuration (as written). Times of configured faults count from the
provider's first request; times of a fault added by control count from its arrival. How a fault looks on the wire is
decided in delivery.py.
"""

import random
from collections.abc import Sequence
from typing import Annotated, Literal, get_args

import msgspec

FaultKind = Literal[
    "status",  # any status of 400..599, named by `status`
    "status_500",
    "status_503",
    "status_529",
    "overloaded",  # as status_529
    "status_429",  # forced, whatever the limits say; consumes nothing
    "insufficient_quota",  # the account has no money left; consumes nothing
    "context",  # the prompt does not fit the model; consumes nothing
    "unsupported_parameter",  # 400 when the request carries one of `parameters`; consumes nothing
    "html_502",  # a proxy in front of the provider answers
    "hang",  # accepts and never answers
    "reset",  # TCP reset before any byte of the reply
    "cut",  # FIN after some chunks of a stream, or in the middle of a body with a longer content-length
    "stall",  # some chunks of a stream, then silence on an open connection; without a stream, as hang
    "malformed",  # broken JSON in a chunk or in the body
    "drip",  # slow chunks, each one within its time
    "error_in_stream",  # an error event inside a 200 stream; without a stream, an error body with status 200
    "no_finish",  # ends cleanly but never says why it finished
    "empty",  # 200 without a body
]

KINDS: frozenset[str] = frozenset(get_args(FaultKind))
REFUSALS: frozenset[str] = frozenset({"status_429", "insufficient_quota", "context", "unsupported_parameter"})


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of a script."""

    kind: FaultKind
    #: Only for kind "status", and required there.
    status: Annotated[int, msgspec.Meta(ge=400, le=599)] | None = None
    #: For drip the pause between chunks (1 s unless told); for the other kinds a delay before they show (0
    #: unless told).
    seconds: Annotated[float, msgspec.Meta(ge=0)] | None = None
    #: For cut, stall, malformed, error_in_stream: content chunks sent intact before it strikes.
    after_chunks: Annotated[int, msgspec.Meta(ge=0)] = 2
    #: Sent as retry-after with the status kinds (status_429: 1 s unless told).
    retry_after: Annotated[float, msgspec.Meta(ge=0)] | None = None
    #: Only for kind "unsupported_parameter", and required there: fields by their names on the wire. A name inside
    #: another field is written with its path, or alone: "generationConfig.temperature", or "temperature".
    parameters: tuple[str, ...] = ()
    #: Exactly this model; absent: every model.
    model: str | None = None
    from_seconds: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    until_seconds: Annotated[float, msgspec.Meta(gt=0)] | None = None
    probability: Annotated[float, msgspec.Meta(gt=0, le=1)] = 1.0
    #: Strikes this often, then never again.
    count: Annotated[int, msgspec.Meta(ge=1)] | None = None

    def __post_init__(self) -> None:
        if (self.kind == "status") != (self.status is not None):
            raise ValueError("status belongs to kind 'status', and kind 'status' needs it")
        if (self.kind == "unsupported_parameter") != bool(self.parameters):
            raise ValueError("parameters belong to kind 'unsupported_parameter', which needs at least one")
        if self.until_seconds is not None and self.until_seconds <= self.from_seconds:
            raise ValueError("until_seconds must be after from_seconds")


def named_fault(model: str) -> Fault | Literal["unknown"] | None:
    """The fault a model's name asks for; "unknown" when it names a kind that does not exist."""
    if model.startswith("fault-"):
        kind = model.removeprefix("fault-")
    else:
        _, plus, kind = model.rpartition("+")
        if not plus:
            return None
    kind, _, names = kind.partition(":")
    parameters = [name for name in names.split(",") if name]
    if kind not in KINDS or kind == "status" or (kind == "unsupported_parameter") != bool(parameters):
        return "unknown"
    return msgspec.convert({"kind": kind, "parameters": parameters}, Fault)


def refused_parameter(fault: Fault, body: bytes) -> str | None:
    """Of the parameters this fault refuses, the first one that a request's body carries, as the body spells its
    path; null is absent.
    """
    fields = msgspec.json.decode(body, type=dict[str, object])
    carried = [name for name, value in fields.items() if value is not None]
    for name, value in fields.items():
        if isinstance(value, dict):
            carried += [f"{name}.{inner}" for inner, inmost in value.items() if inmost is not None]
    for parameter in fault.parameters:
        for path in carried:
            if parameter in (path, path.rpartition(".")[2]):
                return path
    return None


class _Entry:
    """A fault of the schedule, the time its seconds count from, and how often it may still strike."""

    def __init__(self, fault: Fault, counts_from: float | None) -> None:
        self.fault = fault
        self.counts_from = counts_from
        self.left = fault.count

    def strikes(self, model: str, body: bytes, now: float, first_at: float, chance: random.Random) -> bool:
        fault = self.fault
        if self.left == 0 or fault.model not in (None, model):
            return False
        elapsed = now - (first_at if self.counts_from is None else self.counts_from)
        if elapsed < fault.from_seconds or (fault.until_seconds is not None and elapsed >= fault.until_seconds):
            return False
        if fault.parameters and refused_parameter(fault, body) is None:
            return False
        if fault.probability < 1 and chance.random() >= fault.probability:
            return False
        if self.left is not None:
            self.left -= 1
        return True


class Schedule:
    """The faults of one provider. `now` is any clock, always the same one."""

    def __init__(self, configured: Sequence[Fault], seed: int) -> None:
        self._configured = [_Entry(fault, None) for fault in configured]
        self._added: list[_Entry] = []
        self._first_at: float | None = None
        self._chance = random.Random(seed)

    def add(self, fault: Fault, now: float) -> None:
        self._added.insert(0, _Entry(fault, now))

    def clear(self) -> None:
        """Forget what was added; configured faults stay."""
        self._added.clear()

    def choose(self, model: str, now: float, body: bytes = b"{}") -> Fault | None:
        """The first fault that strikes this request, whose body is a JSON object. Counts it, so call it once a
        request.
        """
        if self._first_at is None:
            self._first_at = now
        for entry in (*self._added, *self._configured):
            if entry.strikes(model, body, now, self._first_at, self._chance):
                return entry.fault
        return None
