"""The money of one request: what each attempt may cost is set aside before it is sent, and settled after it.

What comes back when others end is waited for, in line and holding nothing; what no end of others can bring is refused
at once. A model that does not fit is passed over like one that is shut, so that a cheaper one of the chain may answer.
"""

import logging
from collections.abc import Callable, Sequence
from decimal import Decimal

import trio

from llmring.chat import ChatRequest, Completion
from llmring.embeddings import Embeddings
from llmring.errors import BudgetExceeded, ConfigError, InvalidRequest, LLMRingError, ReceiptError
from llmring.lockfile.budgets import describe
from llmring.lockfile.providers import Kind
from llmring.money.amounts import to_nanos, to_usd
from llmring.money.budgets import Budgets, Scope
from llmring.money.pot import Pot, Waiting
from llmring.money.worst import most, most_of_texts
from llmring.pricing import Prices, cost_of, for_texts
from llmring.providers.bell import Bell
from llmring.providers.readiness import Busy, Shut
from llmring.providers.route import Permit, Route
from llmring.refs import ModelRef
from llmring.usage import Usage

_LOG = logging.getLogger("llmring")

OWN_MACHINES: frozenset[Kind] = frozenset({"ollama", "llamacpp", "lmstudio", "vllm"})
"""Kinds of server that nobody sends a bill for. Where the registry has a price all the same, that holds."""

MAY_BE_BILLED = frozenset({408, 499, 502, 504, 520, 522, 524})
"""Replies of gateways that gave up waiting, while the provider may have gone on. Other refusals are not billed."""

Most = Callable[[int], int]
"""What an attempt at a route may cost at the most, in nano-dollars. Raises ConfigError where nothing bounds it."""


def chat_most(request: ChatRequest, route: Route, kind: Kind, prices: Prices | None) -> int:
    """Of a request with its registered files shown. Raises ConfigError for a price that is not known, InvalidRequest
    for what nothing bounds."""
    if prices is None or prices.input is None or prices.output is None:
        return _unknown_price(route.ref, kind, prices)
    found = most(request, route.model, route.counting.family, kind, prices)
    if found.usd is None:
        raise InvalidRequest(f"nothing bounds what {route.ref} costs: {found.unbounded}")
    return to_nanos(found.usd)


def texts_most(texts: Sequence[str], route: Route, kind: Kind, prices: Prices | None) -> int:
    """As `chat_most`, for vectors of texts."""
    usd = most_of_texts(texts, prices)
    return to_nanos(usd) if usd is not None else _unknown_price(route.ref, kind, prices)


def _unknown_price(ref: ModelRef, kind: Kind, prices: Prices | None) -> int:
    if kind in OWN_MACHINES and prices is None:
        return 0
    raise ConfigError(f"{ref} has no price in the registry, so nothing bounds what it costs")


class Payment:
    """`most(index)` bounds an attempt at a route of the request. For one attempt at a time. `lasting`: what is reserved
    may stay so for hours, as in a batch, and is waited for as long."""

    def __init__(
        self,
        budgets: Budgets,
        scope: Scope,
        most: Most,
        cost: Callable[[int, Completion | Embeddings], Decimal | None],
        *,
        lasting: bool = False,
    ) -> None:
        self._budgets = budgets
        self._scope = scope
        self._most = most
        self._cost = cost
        self._lasting = lasting
        self._held: list[tuple[Pot, int]] = []
        self._woken: dict[Pot, None] = {}
        self._permit: Permit | None = None
        self._index = 0
        self.blocked: set[int] = set()
        """The routes that others must give money back for, as of the last look."""
        self._short: tuple[int, Pot] | None = None
        """Of the last look: the least that was needed and not there, and the pot that did not have it."""
        self._awaited: tuple[int, list[Pot], list[Pot]] | None = None
        """The same, of what others may give back: all pots that did not have it, and all that it is needed from."""

    def check(self, indexes: Sequence[int]) -> None:
        """Refuse a chain with a model whose cost nothing bounds. Raises ConfigError, InvalidRequest."""
        for pot in self._budgets.pots(self._scope):
            if pot.budget.unpriced == "refuse":
                for index in indexes:
                    try:
                        self._most(index)
                    except ConfigError as error:
                        allow = 'or let it through uncounted: unpriced = "allow" in the budget'
                        raise type(error)(f"{pot.title}: {error}; {allow}") from None

    def begin_look(self) -> None:
        """A new decision is made, of looks at the routes one after the other."""
        self.blocked.clear()
        self._short = self._awaited = None

    def look(self, index: int) -> Busy | Shut | None:
        """What keeps money from a route; None: nothing does."""
        needs = self._needs(index)
        short = [pot for pot, nanos in needs if not pot.fits(nanos)]
        if not short:
            return None
        nanos = needs[0][1]
        hopeless = next((pot for pot in short if pot.is_hopeless(nanos, patient=self._lasting)), None)
        if self._short is None or nanos < self._short[0]:
            self._short = (nanos, hopeless or short[0])
        if hopeless is not None:
            return Shut(wait_seconds=None, why=f"no money in {hopeless.title}: {_short_of(hopeless, nanos)}")
        lost = next((pot for pot in short if pot.problem is not None), None)
        if lost is not None:
            lost.ask(nanos)
            return Shut(wait_seconds=None, why=f"{lost.title} cannot be kept: {lost.problem}")
        self.blocked.add(index)
        if self._awaited is None or nanos < self._awaited[0]:
            self._awaited = (nanos, short, [pot for pot, _ in needs])
        return Busy(wait_seconds=0.0, why=f"what others have reserved of {short[-1].title}")

    def is_to_be_asked(self, index: int) -> bool:
        """Whether what the last look has found too little for a route is only not allowed yet: nobody else has it."""
        short = [(pot, nanos) for pot, nanos in self._needs(index) if not pot.fits(nanos)]
        return bool(short) and all(pot.may_be_allowed(nanos) for pot, nanos in short)

    async def ask(self, index: int, until: float) -> None:
        """Have the ledger asked for what an attempt at a route may cost, and wait for its word, or for `until`."""
        needs = self._needs(index)
        await self._wait(needs[0][1], [pot for pot, _ in needs], until, asks=True)

    def _needs(self, index: int) -> list[tuple[Pot, int]]:
        """What is to be had of which pots. Free is free, whatever is left."""
        pots = self._budgets.pots(self._scope)
        try:
            nanos = self._most(index)
        except ConfigError:
            # Looked at before, but a model may say later what it does not take.
            return [(pot, _UNBOUNDED) for pot in pots if pot.budget.unpriced == "refuse"]
        return [(pot, nanos) for pot in pots] if nanos else []

    def reserve(self, index: int, permit: Permit | None = None) -> bool:
        """Set aside what an attempt at a route may cost: all of it, or nothing. False: it is not there any more."""
        needs = self._needs(index)
        if not all(pot.fits(nanos) for pot, nanos in needs):
            return False
        now = trio.current_time()
        self._permit, self._index = permit, index
        for pot, nanos in needs:
            number = pot.take(nanos, now, lasting=self._lasting)
            assert number is not None, "it was looked at in this moment"
            self._held.append((pot, number))
            self._budgets.touched(pot)
        self._pass_on()
        return True

    async def wait(self, until: float) -> None:
        """Wait until the last look is worth another one: `until` on the trio clock, or the end of the period."""
        assert self._awaited is not None, "a look has found too little"
        nanos, short, needed = self._awaited
        # What one pot has is kept while the others ask for theirs: given back meanwhile, it would have to be asked for
        # again, and so on for ever. Not where others must give back first: they may wait for what is kept here.
        stuck = [pot for pot in short if not pot.may_be_allowed(nanos)]
        await self._wait(nanos, stuck[:1] or needed, until)

    async def _wait(self, nanos: int, pots: Sequence[Pot], until: float, *, asks: bool = False) -> None:
        woken = Bell()
        one = Waiting(nanos, woken.ring, asks=asks)
        for pot in pots:
            pot.waiting[one] = None
            if pot.period.ends_at is not None:
                left = (pot.period.ends_at - self._budgets.clock()).total_seconds()
                until = min(until, trio.current_time() + max(0.0, left))
        for pot in pots:
            self._budgets.touched(pot)
        is_woken = False
        try:
            await woken.wait(until)
            is_woken = True
        finally:
            # Who has woken it counts on it to look.
            waking = [pot for pot in pots if pot.waiting.pop(one, one) is one]
            if is_woken:
                self._woken.update(dict.fromkeys(waking))
            else:
                for pot in waking:
                    pot.wake()

    def _pass_on(self) -> None:
        """Have the next in line look, who may fit beside this one."""
        woken, self._woken = self._woken, {}
        for pot in woken:
            pot.wake()

    async def prepay(self) -> None:
        """Set aside what a row in a batch may cost, as soon as it is there. Raises BudgetExceeded, ReceiptError."""
        while not self.reserve(0):
            self.begin_look()
            if isinstance(self.look(0), Shut):
                error = self.refusal()
                assert error is not None, "a look has found too little"
                raise error
            if self.blocked:
                await self.wait(float("inf"))

    def ended(self, answered: object, error: BaseException | None = None) -> None:
        """The attempt has ended, answered or with `error`. A stream that has only begun has not."""
        if isinstance(answered, Completion | Embeddings):
            usd = self._cost(self._index, answered)
            self._settle(None if usd is None else to_nanos(usd))
        elif error is not None:
            self._settle(None if self._may_be_billed() else 0)

    def _may_be_billed(self) -> bool:
        """What was not sent is not, and what was refused, as far as it is certain that it was."""
        permit = self._permit
        if permit is None or permit.outcome in ("refused", "not_sent"):
            return permit is not None and permit.outcome == "refused" and permit.status in MAY_BE_BILLED
        return True

    def paid(self, usd: Decimal | None) -> None:
        """A row was answered in a batch, for so much; None: unknown."""
        self._settle(None if usd is None else to_nanos(usd))

    def close(self) -> None:
        """Give back what is set aside and was not used."""
        self._settle(0)
        self._pass_on()

    def _settle(self, nanos: int | None) -> None:
        """None: nobody knows, so all of it counts as spent."""
        held, self._held = self._held, []
        now = trio.current_time()
        for pot, number in held:
            reserved = pot.held(number)
            if nanos is not None and nanos > reserved and not pot.was_wrong:
                pot.was_wrong = True
                told = "%s: an answer cost $%s, more than the $%s that were thought possible"
                _LOG.warning(told, pot.title, to_usd(nanos), to_usd(reserved))
            pot.end(number, reserved if nanos is None else nanos, now)
            self._budgets.touched(pot)

    def refusal(self) -> LLMRingError | None:
        """What to raise where the last look has found too little money; None where it has not."""
        if self._short is None:
            return None
        nanos, pot = self._short
        if pot.problem is not None and not pot.is_hopeless(nanos):
            return ReceiptError(
                f"{pot.title} cannot be kept, so nothing is sent that it would have to pay: {pot.problem}"
            )
        return BudgetExceeded(
            to_usd(pot.cap),
            to_usd(pot.spent_by_all),
            to_usd(pot.reserved + pot.held_by_others),
            to_usd(nanos),
            budget=pot.budget.name,
            scope=describe(*pot.names),
            per=pot.budget.per,
            resets_at=pot.resets_at,
        )


_UNBOUNDED = 10**30


def _short_of(pot: Pot, nanos: int) -> str:
    left = max(0, pot.cap - pot.spent_by_all)
    return f"${to_usd(left)} of ${to_usd(pot.cap)} left, and it may cost ${to_usd(nanos)}"


def chat_usd(completion: Completion, prices: Prices | None) -> Decimal | None:
    """What one answer cost; None where nobody knows."""
    return _usd(completion.usage, prices, completion.service_tier)


def texts_usd(part: Embeddings, prices: Prices | None) -> Decimal | None:
    """What the vectors of one request cost, their input alone; None where nobody knows."""
    return _usd(part.usage, for_texts(prices))


def _usd(usage: Usage | None, prices: Prices | None, tier: str | None = None) -> Decimal | None:
    return None if usage is None else cost_of((usage,), prices, known=True, service_tier=tier).usd
