"""Router: the calls that users make, from what they write to what they get. No policy here; see failover.py."""

import math
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Unpack, get_args

import msgspec
import trio

from llmring.arguments import PATH, as_text, check_kind, check_least, check_seconds, check_word
from llmring.chat import ChatRequest, ChatResponse, Completion, Note
from llmring.embeddings import Embeddings, EmbedResponse
from llmring.errors import AllModelsFailed, ProviderError
from llmring.live import LiveModel
from llmring.lockfile.providers import Kind as ProviderKind
from llmring.money.budgets import Budgets
from llmring.pricing import Prices, cost_of
from llmring.prompts import ChatOptions, Prompt, to_request
from llmring.providers.estimate import context_problem, input_tokens
from llmring.providers.fairness import Priority
from llmring.providers.files import FileInfo, Files
from llmring.providers.route import Route
from llmring.refs import ModelRef
from llmring.registry.catalog import Catalog
from llmring.registry.digest import facts_digest
from llmring.router.account import Purse
from llmring.router.admission import Admission, CalledBack
from llmring.router.answer import answer, calculated, embedding_cost, least_cost, priced, usages
from llmring.router.asking import ask
from llmring.router.batching import Batches, Books
from llmring.router.calls import Calls
from llmring.router.dispatcher import Dispatcher
from llmring.router.embedding import check_texts, embed
from llmring.router.journey import Journey, Terms
from llmring.router.map.batch_plan import Mode
from llmring.router.map.given import Batching, Caps, OnError, check_adopt
from llmring.router.map.rows import Input, Inputs, Row
from llmring.router.map.run import MapRun
from llmring.router.map.span import MapSpan
from llmring.router.mapping import Rows
from llmring.router.options import check, check_profile, dollars, flow_of
from llmring.router.paying import request_most, worst_of
from llmring.router.recorder import Recorder
from llmring.router.records import Kind
from llmring.router.served import NAMES_ITS_OWN, is_other
from llmring.router.streaming import ChatStream, Ended, OnBreak
from llmring.status import ReceiptsStatus, RouterStatus
from llmring.telemetry.spans import Call
from llmring.telemetry.telemetry import Telemetry
from llmring.trace import Spill, attach
from llmring.usage import CostEstimate, Usage, total

LIST_SECONDS = 60.0


class Router:
    """Routes chat calls along the fallback chains of a lockfile. Made by `open_router`; for any number of tasks."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        catalog: Catalog,
        files: Files,
        calls: Calls,
        nursery: trio.Nursery,
        timeout: float,
        telemetry: Telemetry,
        recorder: Recorder | None = None,
        streamed: Ended = lambda *_: None,
        books: Books | None = None,
        receipts: Callable[[], ReceiptsStatus | None] = lambda: None,
        budgets: Budgets | None = None,
    ) -> None:
        self.dispatcher = dispatcher
        self.catalog = catalog
        self._files = files
        self._calls = calls
        self._nursery = nursery
        self._timeout = timeout
        self._telemetry = telemetry
        self._recorder = recorder
        self._streamed = streamed
        self._books = books
        self._receipts = receipts
        self._budgets = budgets
        self._digests: dict[ModelRef, str | None] = {}

    def status(self) -> RouterStatus:
        """What every model waits for, and how full every limit is: a snapshot, cheap and synchronous.

        Of every model that the lockfile binds in the profile in use, also before anybody has asked it, with each key;
        and of every other that was asked for. Sends, opens and starts nothing.
        """
        routes = self.dispatcher.status(trio.current_time())
        error = self.dispatcher.lockfile_error
        return RouterStatus(
            routes=tuple(sorted(routes, key=lambda one: one.model)),
            lockfile_error=str(error) if error is not None else None,
            registry={source.provider: source.version for source in self.catalog.sources},
            receipts=self._receipts(),
            budgets=self._budgets.status() if self._budgets is not None else (),
        )

    def adopt(self, catalog: Catalog) -> None:
        """Go on with another catalog: its prices, its limits, its capabilities."""
        self.catalog = catalog
        self._digests.clear()
        for crew in self.dispatcher.crews.values():
            crew.fit()

    async def chat(
        self,
        model: str | ChatRequest,
        prompt: Prompt | None = None,
        *,
        profile: str | None = None,
        priority: Priority = "interactive",
        tenant: str = "",
        weight: float = 1.0,
        **options: Unpack[ChatOptions],
    ) -> ChatResponse:
        """Ask the first model of `model` (an alias or `provider:model`) that is ready, and the next when it fails.

        `prompt` is text, a message, or a list of messages or OpenAI-style dictionaries; a whole ChatRequest may stand
        in place of both. The call ends within `timeout` seconds (600), or sooner when the caller's cancel scope does.
        Where limits are short, calls of `priority` "interactive" go before those of "batch", 9 to 1, by their
        deadlines, and `tenant`s of one priority get shares by `weight`. A call that is predicted to miss its deadline
        in the line fails at once.

        Raises ConfigError before anything is sent; the provider's error where another model would not help (BadRequest,
        ContentRefused, AuthFailed); AllModelsFailed with every attempt. Cancelling closes the connection.
        """
        request = self._request(model, prompt, options, profile)
        terms = Terms(flow=flow_of(priority, tenant, weight))
        with Call(self._telemetry, "chat", request.model, priority) as call, self._calls.call():
            return await self._chat(request, profile, call, terms)

    def stream(
        self,
        model: str | ChatRequest,
        prompt: Prompt | None = None,
        *,
        profile: str | None = None,
        priority: Priority = "interactive",
        tenant: str = "",
        weight: float = 1.0,
        on_break: OnBreak = "error",
        **options: Unpack[ChatOptions],
    ) -> ChatStream:
        """Like `chat`, chunk by chunk: `async with router.stream(...) as stream: async for chunk in stream`.

        A `timeout` given here bounds the whole stream; without one only the wait for the first text is bounded.
        """
        request = self._request(model, prompt, options, profile)
        terms = Terms(flow=flow_of(priority, tenant, weight))
        check_word("on_break", get_args(OnBreak), on_break)
        return ChatStream(
            self._calls,
            lambda: Call(self._telemetry, "stream", request.model, priority),
            lambda call: self._journey(request, profile, call, terms),
            self._finish,
            lambda journey, completion: self._record("stream", journey, completion),
            lambda ref, usage, told, asked: least_cost(self.catalog, ref, usage, told, asked),
            self._streamed,
            on_break=on_break,
        )

    def map(
        self,
        alias: str,
        prompts: Inputs,
        *,
        ordered: bool = False,
        window: int | None = None,
        on_error: OnError | Callable[[Row], OnError | None] = "yield",
        checkpoint: Path | str | None = None,
        max_failures: int | None = None,
        budget: Decimal | float | str | None = None,
        deadline: float | None = None,
        dedupe: bool = False,
        key: Callable[[Input], str] | None = None,
        spill: Spill = "auto",
        mode: Mode = "online",
        adopt: Mapping[str, str | None] | None = None,
        profile: str | None = None,
        priority: Priority = "batch",
        tenant: str = "",
        weight: float = 1.0,
        **options: Unpack[ChatOptions],
    ) -> MapRun:
        """Send every prompt to `alias`: `async with router.map(...) as run: async for row in run`.

        `prompts` is any iterable or async iterable of prompts, or of ChatRequests, whose own fields then hold; an input
        that could not be read may stand there as an InvalidRequest, and fails its own row alone. Rows
        wait for the limits of the whole chain as long as it takes; a refusal or an overload does not fail a row, unless
        waiting cannot help it (RowStalled: failed 4 times while others are answered, or nobody is for 600 s). `window`
        bounds the rows in flight and finished but unread. A failed row is yielded with its `error`, raised, or skipped;
        a function decides for each, and one that it answers None for is yielded. After one that is raised, and after
        more than `max_failures` of them, nothing more is sent: what is on the wire comes first, then its error, or
        TooManyFailures. `run.stop()` does the same without an error.

        `checkpoint` names a journal: every finished row is written there before it is handed out, and a later run with
        the same journal takes from it what was answered already, whatever became of the earlier one. Rows are known by
        what is asked and of whom, so inputs may be added, moved or taken away; or, with `key`, by what that says of the
        input, and by nothing else.

        `budget` caps what this run spends, in dollars: before every request what it may cost at the most is set aside,
        and when nothing is left the rows under way come first, then BudgetExceeded. After `deadline` seconds what is
        under way is cut off: finished rows come first, then MapTimeout. With `dedupe` equal rows are asked once.
        `spill` says when the next models are used: "auto", as soon as the first makes one wait; "on_failure"; "never".

        `mode` "batch" sends rows through the batch API of the first model that has one, at half the price and within a
        day; it needs a checkpoint. What a batch cannot carry or does not answer is a failed row then, and with "auto"
        it is asked online. Leaving the run leaves its batches at work, for a later run to read. `adopt` names the ids
        of batches that were made and whose ids were lost, by their tags; None for one that was never made.
        """
        # Wrong options are the caller's to hear of, now and once.
        alias = as_text("alias", alias)
        check_profile(profile)
        check(to_request(alias, "x", **options))
        flow = flow_of(priority, tenant, weight)
        check_word("spill", get_args(Spill), spill)
        check_word("mode", get_args(Mode), mode)
        check_adopt(adopt, mode)
        if checkpoint is not None:
            check_kind("checkpoint", PATH, checkpoint)
        terms = Terms(flow=flow, patient=True, spill=spill, admission=Admission())
        purse = Purse(dollars(budget), self._most, self._prices) if budget is not None else None
        told = MapSpan(self._telemetry, alias, priority)
        batches = Batches(
            self.dispatcher,
            lambda: self.catalog,
            self._flags,
            told,
            self._recorder,
            self._books,
            profile,
            spill,
            tenant,
        )
        rows = Rows(
            self.dispatcher,
            self._calls,
            self._chat,
            told,
            batches.way,
            self._prices,
            self._budgets,
            alias,
            profile,
            terms,
            options,
        )
        return MapRun(
            prompts,
            rows.calls_of(),
            rows.chain,
            self._nursery,
            self._calls,
            told,
            ordered=ordered,
            window=window,
            on_error=on_error,
            checkpoint=Path(checkpoint) if checkpoint is not None else None,
            caps=Caps(max_failures=max_failures, purse=purse, deadline=deadline),
            dedupe=dedupe,
            key=key,
            batching=Batching(mode=mode, calls_of=batches.calls_of(), adopt=adopt or {}) if mode != "online" else None,
        )

    async def embed(
        self,
        model: str,
        texts: Sequence[str],
        *,
        dimensions: int | None = None,
        profile: str | None = None,
        tenant: str = "",
        timeout: float | None = None,  # noqa: ASYNC109 - of the call, as everywhere here
    ) -> EmbedResponse:
        """One vector for each of `texts`, in order, from the first model of `model` that answers.

        Any number of texts: they are sent in requests of the provider's maximum, all to the one model that answers the
        first of them. `dimensions` shortens the vectors where the model can. Raises what `chat` raises; the vectors of
        a call that fails half-way are lost.
        """
        model, given = as_text("model", model), check_texts(texts)
        check_profile(profile)
        flow = flow_of("interactive", tenant, 1.0)
        if dimensions is not None:
            check_least("dimensions", 1, dimensions)
        if timeout is not None:
            check_seconds("timeout", timeout)
        seconds = timeout if timeout is not None else self._timeout
        deadline = min(trio.current_time() + seconds, trio.current_effective_deadline())
        with Call(self._telemetry, "embed", model) as call:
            with self._calls.call():
                found = await embed(
                    self.dispatcher, model, given, dimensions, profile, deadline, call, self._record_part, flow
                )
            response = EmbedResponse(
                vectors=found.vectors,
                model=found.model,
                alias=model,
                usage=total(found.usages),
                cost=embedding_cost(self.catalog, found.model, found.usages),
                served_model=found.served_model,
                attempts=priced(found.attempts, self.catalog),
            )
            attach(response, found.trace)
            call.answered(response)
            return response

    async def live_models(self, provider: str) -> tuple[LiveModel, ...]:
        """The models that `provider` lists now, asked of the provider itself; for the registry's see `catalog`.

        Raises UnknownProvider, MissingKey, or the provider's error.
        """
        with self._calls.call():
            return await self.dispatcher.crew(provider).first.live_models(LIST_SECONDS)

    def register_file(self, path: Path | str) -> str:
        """An id for a file on this machine, for `files` of a request or the `file_id` of a part.

        The file is uploaded to a provider when one of its models first needs it, again when its content has changed,
        and kept there until `deregister_file`. Reads nothing yet; raises FileNotFoundError, IsADirectoryError.
        """
        return self._files.register(Path(path))

    async def deregister_file(self, file_id: str) -> bool:
        """Delete the copies of a registered file at the providers, and forget it; False for an id that is not known.

        Raises the provider's error when a copy could not be deleted; the id stays then, to try again.
        """
        with self._calls.call():
            return await self._files.deregister(file_id)

    def registered_files(self) -> tuple[FileInfo, ...]:
        """The registered files, and which providers hold a copy."""
        return self._files.list()

    def validate_context_limit(
        self,
        model: str | ChatRequest,
        prompt: Prompt | None = None,
        *,
        profile: str | None = None,
        **options: Unpack[ChatOptions],
    ) -> str | None:
        """What speaks against sending this to the first model of the alias, with numbers; None when nothing does.

        Counted offline: exact for the text of OpenAI's models with the extra `tokens`, an estimate otherwise.
        """
        request = self._request(model, prompt, options, profile)
        first = self.dispatcher.routes(request.model, profile)[0]
        return context_problem(request, first.model.capabilities, first.counting)

    def estimate(
        self,
        model: str | ChatRequest,
        prompt: Prompt | None = None,
        *,
        profile: str | None = None,
        **options: Unpack[ChatOptions],
    ) -> tuple[CostEstimate, ...]:
        """What a call would cost at each model of its alias, in the order they are asked. Sends nothing."""
        request = self.dispatcher.completed(self._request(model, prompt, options, profile), profile)
        # Whatever the key, it costs the same.
        routes = {route.ref: route for route in self.dispatcher.routes(request.model, profile)}
        return tuple(self._estimate(request, route) for route in routes.values())

    async def calculate_cost(self, response: ChatResponse) -> dict[str, Decimal | None] | None:
        """What an answer cost, in dollars, as a dictionary; None when its price is unknown (`response.cost.status`).

        Costs by kind of token (`input_cost`, `output_cost`, `cache_read_cost`, ..., `total_cost`) and the prices that
        its tokens were billed at, `cost_per_million_input` and the like: of a long prompt those of its tier, of flex or
        a batch their share. Of a kind that it has no tokens of, the registry's list price as it is now, or None.
        `long_context_input_cost` is part of `input_cost`. Asks nobody; the costs are those of `response.cost`. Never
        waits.
        """
        return calculated(self.catalog, response)

    def _most(self, request: ChatRequest, route: Route) -> int:
        """What an attempt may cost, in nano-dollars. Raises ConfigError where nothing bounds it."""
        worker = self.dispatcher.crew(route.ref.provider).first
        return request_most(request, route, worker, self.catalog.prices(route.ref))

    def _prices(self, ref: ModelRef) -> Prices | None:
        """By the catalog as it is by then."""
        return self.catalog.prices(ref)

    def _estimate(self, request: ChatRequest, route: Route) -> CostEstimate:
        counted = input_tokens(request, msgspec.structs.replace(route.counting, by_characters=False))
        usage, prices = route.expected(request, counted), self.catalog.prices(route.ref)
        worst = worst_of(request, route, self.dispatcher.crew(route.ref.provider).first, prices)
        output_tokens = usage.output_tokens * (request.n or 1)

        def dollars(output_tokens: int) -> Decimal | None:
            given = Usage(input_tokens=usage.input_tokens, output_tokens=output_tokens)
            usd = cost_of((given,), prices, known=True, service_tier=request.service_tier).usd
            # More than the most are files that were estimated too long.
            return usd if usd is None or worst.usd is None else min(usd, worst.usd)

        return CostEstimate(
            model=route.ref,
            input_tokens=usage.input_tokens,
            likely_output_tokens=output_tokens,
            most_output_tokens=worst.output_tokens,
            low_usd=dollars(0),
            likely_usd=dollars(output_tokens),
            high_usd=worst.usd,
        )

    def _request(
        self, model: str | ChatRequest, prompt: Prompt | None, options: ChatOptions, profile: str | None = None
    ) -> ChatRequest:
        check_profile(profile)
        if isinstance(model, ChatRequest):
            if prompt is not None or options:
                raise TypeError("a ChatRequest is the whole call: no prompt or options beside it")
            request = model
        elif prompt is None:
            raise TypeError("chat() needs a prompt")
        else:
            request = to_request(as_text("model", model), prompt, **options)
        check(request)
        return request

    def _journey(self, request: ChatRequest, profile: str | None, call: Call, terms: Terms) -> Journey:
        """Begin: with what the binding sets for its requests, until the earlier of the request's own time limit and the
        caller's cancel scope. Work that nobody waits for has only its own."""
        request = self.dispatcher.completed(request, profile)
        now = trio.current_time()
        if terms.patient:
            deadline = now + request.timeout if request.timeout is not None else math.inf
        else:
            seconds = request.timeout if request.timeout is not None else self._timeout
            deadline = min(now + seconds, trio.current_effective_deadline())
        return self.dispatcher.journey(request, profile, deadline, call, terms)

    async def _chat(self, request: ChatRequest, profile: str | None, call: Call, terms: Terms) -> ChatResponse:
        journey = self._journey(request, profile, call, terms)
        try:
            completion = await ask(self.dispatcher, journey)
        except BaseException as error:
            self._record("chat", journey, None)
            self._price(error)
            raise
        self._record("chat", journey, completion)
        response = self._finish(journey, completion)
        call.answered(response)
        return response

    def _price(self, error: BaseException) -> None:
        """Say what a failure has cost, where that is known."""
        if isinstance(error, AllModelsFailed | CalledBack):
            error.attempts = priced(error.attempts, self.catalog)
        elif isinstance(error, ProviderError) and error.model is not None and error.usage is not None:
            error.cost = least_cost(self.catalog, error.model, error.usage, error.service_tier)

    def _record(self, kind: Kind, journey: Journey, completion: Completion | None) -> None:
        """Keep the decisions of a request that has ended, where they are to be kept."""
        if self._recorder is not None:
            used = usages(completion) if completion is not None else ()
            self._recorder.post(kind, journey.lockfile, journey.trace, journey.request.max_tokens, used)

    def _record_part(self, journey: Journey, part: Embeddings | None) -> None:
        if self._recorder is not None:
            used = (part.usage,) if part is not None and part.usage is not None else ()
            self._recorder.post("embed", journey.lockfile, journey.trace, None, used)

    def _finish(self, journey: Journey, completion: Completion) -> ChatResponse:
        kind = journey.workers[journey.index].endpoint.kind
        flags = self._flags(journey.route.ref, kind, journey.binding.pins, completion)
        if journey.notes or flags:
            completion = msgspec.structs.replace(completion, notes=(*completion.notes, *journey.notes, *flags))
        response = answer(completion, journey.route.ref, journey.request.model, journey.plan.attempts, self.catalog)
        attach(response, journey.trace)
        return response

    def _flags(
        self, ref: ModelRef, kind: ProviderKind, pins: Mapping[ModelRef, str], completion: Completion
    ) -> tuple[Note, ...]:
        """What its owner should know of who has answered, and for how much."""
        flags: list[Note] = []
        served = completion.served_model
        if served is not None and kind in NAMES_ITS_OWN and is_other(ref.model, served):
            flags.append(Note(parameter="model", action="changed", why=f"{ref} was asked and {served} answered"))
        pin = pins.get(ref)
        if pin is not None and pin != self._digest(ref):
            why = f"what the registry says of {ref} is not what the lockfile pins: see `llmring lock drift`"
            flags.append(Note(parameter="registry", action="changed", why=why))
        return tuple(flags)

    def _digest(self, ref: ModelRef) -> str | None:
        """Of what the catalog says of a model; worked out once a catalog."""
        if ref not in self._digests:
            facts = self.catalog.get(ref)
            self._digests[ref] = facts_digest(facts) if facts is not None else None
        return self._digests[ref]
