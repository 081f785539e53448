"""ProviderWorker: the actor that owns the connections, limits, breakers and waiting lines of one key of a provider.

A request is sent from its caller's own task (`attempt`, `open_stream`); only the waiting lines are served by the
worker's one task (`run`), which sleeps until the exact moment when the next in line can go.
"""

import math
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from copy import copy

import msgspec
import trio

from llmring.chat import ChatRequest, Completion
from llmring.codecs.capabilities import Capabilities
from llmring.codecs.codec import EmbeddingsCodec, FileBody, HttpCall, HttpReply, LocalFile, StoredFile
from llmring.embeddings import Embeddings
from llmring.errors import BadReply, ConfigError, ProviderError, Unsupported
from llmring.live import LiveModel
from llmring.parts import ProviderFile
from llmring.providers import beginning
from llmring.providers.bell import Bell
from llmring.providers.desk import BatchDesk
from llmring.providers.endpoint import Endpoint
from llmring.providers.errands import Errand, Watch, Watched, unwatched
from llmring.providers.exchange import Exchange, LiveStream, read_body, time_limit
from llmring.providers.files import Files, Place, needs_files
from llmring.providers.group import Group
from llmring.providers.line import Head
from llmring.providers.memory import Memory
from llmring.providers.quoting import conceal, concealing, sent
from llmring.providers.readiness import Ready
from llmring.providers.route import Permit, Route
from llmring.providers.transport import Connect, Connection, Reply
from llmring.refs import ModelRef
from llmring.status import RouteStatus

MOST_PAGES = 100
MOST_UPLOAD_STEPS = 200
"""Bounds of what a provider may make us ask."""

MOST_QUOTED_BYTES = 2**20
"""Of a file whose upload was refused: so much of it is looked for in what the provider says."""

DELETE_SECONDS = 30.0

CLOSE_SECONDS = 2.0
"""For closing all idle connections at the end."""


class Recalled(msgspec.Struct, frozen=True):
    """What an earlier process has kept of a model, so many seconds ago."""

    memory: Memory
    age_seconds: float


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What the next process should know of a model. `account` is a digest of its provider's address and credential;
    `uses` has changed when the model has been used since."""

    ref: ModelRef
    account: str
    uses: int
    memory: Memory


Recall = Callable[[ModelRef, str], Recalled | None]
"""What is known of a model with an account from earlier processes."""


class ProviderWorker:
    """One provider, asked with one key. Without `key`, where it needs one, every route is shut and says which variable
    to set. `variable` names the key where its provider has several: see crew.py."""

    def __init__(
        self,
        endpoint: Endpoint,
        key: str | None,
        connect: Connect,
        random: Callable[[], float],
        capabilities: Callable[[ModelRef], Capabilities] = lambda _: Capabilities(),
        files: Files | None = None,
        variable: str | None = None,
        recall: Recall = lambda ref, account: None,
        watch: Watch = unwatched,
        *,
        keys_given: bool = False,
    ) -> None:
        self.endpoint = endpoint
        self._watch = watch
        self._recall = recall
        self._files = files if files is not None else Files()
        self._capabilities = capabilities
        self.missing_key = beginning.missing_key(endpoint, key, given=keys_given)
        self.credential = beginning.credential(endpoint, key, random, trio.current_time(), variable, given=keys_given)
        self._headers = beginning.headers(endpoint, key)
        self._secrets = tuple(secret for secret in (key, *endpoint.headers.values()) if secret is not None)
        batches = endpoint.wire.batches
        self.desk: BatchDesk | None = None
        """Where batches are handed in; None where the provider has no API for them."""
        if batches is not None:
            self.desk = BatchDesk(endpoint.wire, batches, self._call, self._open, self._secrets)
        self._account = beginning.account(endpoint, self._headers)
        self._connect = connect
        self._idle: list[Connection] = []
        self._routes: dict[str, Route] = {}
        self._groups: dict[tuple[str, ...], Group] = {}
        self._sharing: tuple[ProviderWorker, ...] = (self,)
        self._changed = Bell()
        self._retired = False

    def share(self, with_: Sequence["ProviderWorker"]) -> None:
        """Begin as one of several keys of one account: limits, turns and what is learned of limits are common. Before
        the first route."""
        first = with_[0]
        self.credential.budget, self.credential.fairness = first.credential.budget, first.credential.fairness
        self.credential.shared_with = tuple(worker.credential for worker in with_ if worker is not self)
        self._groups = first._groups
        self._sharing = tuple(with_)

    def route(self, model: str) -> Route:
        """The route of a model: the same object for the same name."""
        route = self._routes.get(model)
        if route is None:
            route = self._routes[model] = self._recalled(self._made(model, self._group(model)))
        return route

    def _made(self, model: str, group: Group) -> Route:
        ref = ModelRef(self.endpoint.name, model)
        return Route(
            ref,
            self.credential,
            self.endpoint.regime,
            self._wake,
            trio.current_time(),
            self._capabilities(ref),
            self.endpoint.counting(model),
            self.endpoint.counted,
            group,
        )

    def _recalled(self, route: Route) -> Route:
        """With what earlier processes have kept of it."""
        recalled = self._recall(route.ref, self._account)
        if recalled is not None:
            route.recall(recalled.memory, recalled.age_seconds, trio.current_time())
        return route

    def memories(self, now: float) -> Iterator[Kept]:
        """What the next process should know of every model that was used."""
        for route in self._routes.values():
            if route.uses:
                yield Kept(ref=route.ref, account=self._account, uses=route.uses, memory=route.memory(now))

    def _group(self, model: str) -> Group:
        """The limits of a model: its own, or those of its group."""
        key = beginning.group_key(self.endpoint, model)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = beginning.group(self.endpoint, model, trio.current_time())
        return group

    def status(self, now: float, unasked: Iterable[str] = ()) -> list[RouteStatus]:
        """Of every model that was asked for, and of `unasked` ones, which stay so."""
        return [
            *(route.status(now) for route in self._routes.values()),
            *(self._unasked(model).status(now, asked=False) for model in unasked if model not in self._routes),
        ]

    def _unasked(self, model: str) -> Route:
        """What the route of a model would be. For a look: it leaves nothing behind."""
        group = self._groups.get(beginning.group_key(self.endpoint, model))
        if group is not None:
            # In use: it has recalled what it should.
            return self._made(model, group)
        return self._recalled(self._made(model, beginning.group(self.endpoint, model, trio.current_time())))

    def fit(self) -> None:
        """What is known of models has changed."""
        for route in self._routes.values():
            route.fit(self._capabilities(route.ref))

    async def attempt(self, permit: Permit, request: ChatRequest, seconds: float) -> Completion:
        """Send, and read the whole answer within `seconds`. Raises a ProviderError. Settles the permit in any case."""
        exchange = self._exchange(permit)
        seconds = min(seconds, permit.route.longest_seconds(request))
        try:
            with time_limit(seconds, "answer"):
                placed = await self._with_files(request, exchange.codec.format)
                reply = await exchange.open(placed, stream=False)
                body = await exchange.read()
            completion = exchange.decode(HttpReply(status=reply.status, headers=reply.headers, body=body))
        except BaseException as error:
            self._hear(error, request)
            await exchange.failed(error)  # noqa: ASYNC102 - shields itself
            raise
        await exchange.succeeded(completion.usage)
        return completion

    async def open_stream(self, permit: Permit, request: ChatRequest, seconds: float) -> LiveStream:
        """Send, and read to the first text within `seconds`. Raises a ProviderError. The caller closes the stream."""
        stream = LiveStream(self._exchange(permit), self._with_files)
        try:
            await stream.begin(request, seconds)
        except ProviderError as error:
            self._hear(error, request)
            raise
        return stream

    async def embed(self, permit: Permit, texts: Sequence[str], dimensions: int | None, seconds: float) -> Embeddings:
        """Vectors for texts that fit into one request. Raises a ProviderError. Settles the permit in any case."""
        exchange = self._exchange(permit)
        try:
            codec = self.embeddings()
            with time_limit(seconds, "answer"):
                reply = await exchange.send(codec.encode(texts, permit.route.ref.model, dimensions))
                body = await exchange.read()
            embeddings = codec.decode(HttpReply(status=reply.status, headers=reply.headers, body=body))
            if len(embeddings.vectors) != len(texts):
                raise BadReply(f"{len(embeddings.vectors)} vectors came for {len(texts)} texts")
        except BaseException as error:
            await exchange.failed(error)  # noqa: ASYNC102 - shields itself
            raise
        await exchange.succeeded(embeddings.usage)
        return embeddings

    def embeddings(self) -> EmbeddingsCodec:
        """How this provider is asked for vectors. Raises Unsupported when it has none."""
        codec = self.endpoint.wire.embeddings
        if codec is None:
            raise Unsupported(f"{self.endpoint.name} has no embeddings", parameter="embeddings")
        return codec

    async def live_models(self, seconds: float) -> tuple[LiveModel, ...]:
        """The provider's own list of models. Raises MissingKey, a ProviderError."""
        codec = self.endpoint.wire.models
        if codec is None:
            raise Unsupported(f"{self.endpoint.name} has no list of models", parameter="models")
        if self.missing_key is not None:
            raise copy(self.missing_key)
        found: list[LiveModel] = []
        page: str | None = None
        with time_limit(seconds, "list of models"):
            for _ in range(MOST_PAGES):
                reply = await self._call(codec.encode(page), Errand(kind="list_models"))
                with concealing(self._secrets):
                    read = codec.decode(reply)
                found += read.models
                page = read.next
                if page is None:
                    break
        return tuple(found)

    async def _upload(self, file: LocalFile) -> StoredFile:
        codec = self.endpoint.wire.files
        assert codec is not None, "asked for only where there are files"
        call, errand = codec.upload(file), Errand(kind="file_upload", size=file.size)
        for _ in range(MOST_UPLOAD_STEPS):
            reply = await self._call(call, errand)
            try:
                step = codec.read(reply, file)
            except ProviderError as error:
                # A cancel meanwhile goes on in place of the error.
                conceal(error, sent(self._secrets, await _said_in(call)))  # noqa: ASYNC120
                raise
            if isinstance(step, StoredFile):
                return step
            await trio.sleep(step.after)
            call = step.call
        raise BadReply(f"the upload of a file did not end within {MOST_UPLOAD_STEPS} calls")

    async def _delete(self, file: ProviderFile) -> None:
        codec = self.endpoint.wire.files
        assert codec is not None, "asked for only where there are files"
        try:
            with time_limit(DELETE_SECONDS, "answer"):
                await self._call(codec.delete(file), Errand(kind="file_delete"))
        except ProviderError as error:
            # Gone already, by its time or by other hands: that is what was asked for.
            if error.status != 404:
                raise

    def shown(self, request: ChatRequest) -> ChatRequest:
        """The request with its registered files as what they are sent as, to be measured."""
        return self._files.shown(request)

    async def _with_files(self, request: ChatRequest, form: str) -> ChatRequest:
        """The request with its registered files brought here."""
        if not needs_files(request):
            return request
        place = Place(
            name=self.endpoint.name,
            account=self._account,
            format=form,
            codec=self.endpoint.wire.files,
            upload=self._upload,
            delete=self._delete,
        )
        return await self._files.put(request, place)

    def _hear(self, error: BaseException, request: ChatRequest) -> None:
        """A copy that was deleted at the provider, by its time or by other hands, is brought again next time."""
        if isinstance(error, ProviderError) and needs_files(request):
            self._files.lost(self._account, error.message)

    async def _call(self, call: HttpCall, errand: Errand) -> HttpReply:
        """A call beside the chat: it takes nothing out of the limits. Raises a ProviderError."""
        async with self._open(call, errand) as reply:
            return HttpReply(status=reply.status, headers=reply.headers, body=await read_body(reply))

    @asynccontextmanager
    async def _open(self, call: HttpCall, errand: Errand) -> AsyncGenerator[Reply]:
        """The 2xx reply to such a call, to be read by the block. Raises a ProviderError."""
        with self._watch(self.endpoint, errand) as told:
            try:
                async with self._opened(call, told) as reply:
                    yield reply
            except ProviderError as error:
                # A cancel meanwhile goes on in place of the error.
                conceal(error, sent(self._secrets, await _said_in(call)))  # noqa: ASYNC120
                raise

    @asynccontextmanager
    async def _opened(self, call: HttpCall, told: Watched) -> AsyncGenerator[Reply]:
        connection = self._connection()
        clean = False
        try:
            with told.sending():
                reply = _Counted(await connection.open(call))
            told.replied(reply.status)
            try:
                if not 200 <= reply.status < 300:
                    body = await read_body(reply)
                    refused = HttpReply(status=reply.status, headers=reply.headers, body=body)
                    raise self.endpoint.wire.chat.classify(refused)
                yield reply
            finally:
                clean = reply.read_to_end
                with trio.move_on_after(CLOSE_SECONDS, shield=True):
                    await reply.aclose()
        finally:
            if not clean:
                with trio.move_on_after(CLOSE_SECONDS, shield=True):
                    await connection.aclose()
            self._give_back(connection, clean)

    async def run(self) -> None:
        """Serve the waiting lines until cancelled; then close the connections."""
        try:
            while True:
                wake_at = self._serve(trio.current_time())
                if self._retired:
                    await self._close_idle()
                await self._changed.wait(wake_at)
        finally:
            with trio.move_on_after(CLOSE_SECONDS, shield=True):
                await self._close_idle()

    def retire(self) -> None:
        """No new request will come; those on their way are served, and no connection is kept for later ones."""
        self._retired = True
        self._wake()

    def inherit(self, previous: "ProviderWorker") -> None:
        """Go on where a retired worker of the same provider stands, so that an edit does not refill its limits."""
        if previous.endpoint.base_url != self.endpoint.base_url or previous._headers != self._headers:
            return
        now = trio.current_time()
        self.credential.inherit(previous.credential, now)
        if self.credential.concurrency is not None and previous.credential.concurrency is not None:
            self.credential.concurrency = previous.credential.concurrency
        self._inherit_limits(previous, now)
        for model, route in previous._routes.items():
            self.route(model).inherit(route)

    def _inherit_limits(self, previous: "ProviderWorker", now: float) -> None:
        """The limits of models: the same where they are shared as before, else a copy. Before the first route."""
        alone = len(self._sharing) == len(previous._sharing) == 1
        groups = [(self._group(model), previous._group(model)) for model in previous._routes]
        same = [alone and group.name == before.name for group, before in groups]
        for (group, before), as_before in zip(groups, same, strict=True):
            if as_before:
                group.learned = before.learned
                before.given.renew(group.given.limits, now)
                group.given = before.given
        for (group, before), as_before in zip(groups, same, strict=True):
            if not as_before:
                group.inherit(before, now)

    def _wake(self) -> None:
        for worker in self._sharing:
            worker._changed.ring()

    async def _close_idle(self) -> None:
        while self._idle:
            await self._idle.pop().aclose()

    def _serve(self, now: float) -> float:
        """Give permits to all who can go, in their turns. Returns when to look again, on the trio clock."""
        fairness = self.credential.fairness
        wake_at = 0.0
        while wake_at == 0.0 and fairness.in_line:
            wake_at = math.inf
            waiting = [(route, heads) for route in self._routes.values() if (heads := route.line.heads())]
            if len(waiting) > 1:
                # Of several models, the one whose next came first.
                waiting.sort(key=lambda place: place[1][0].waiter.number)
            for route, heads in waiting:
                wake_at = self._serve_route(route, heads, now, wake_at)
                if wake_at == 0.0:
                    # What was taken there may be missing here, and it may be another one's turn.
                    break
        return wake_at or math.inf

    def _serve_route(self, route: Route, heads: list[Head[Permit]], now: float, wake_at: float) -> float:
        """Serve the next in line. Returns when to look again, `wake_at` at the latest; 0 at once, for something was
        done."""
        for place, head in enumerate(heads):
            waiter = head.waiter
            answer = route.room(head.charge, now, route.keep(waiter.flow, now))
            if isinstance(answer, Ready):
                cost = route.cost(head.charge)
                route.line.serve(head, route.take(head.charge, now, waiter.flow, cost), cost, in_turn=place == 0)
                return 0.0
            if answer.wait_seconds is None or now + answer.wait_seconds > waiter.deadline:
                waiter.send_away()
                return 0.0
            if answer.wait_seconds > 0.0:
                wake_at = min(wake_at, now + answer.wait_seconds)
        return wake_at

    def _exchange(self, permit: Permit) -> Exchange:
        try:
            connection = self._connection()
        except OSError as error:
            # Certificates that cannot be read.
            permit.settle("not_sent", trio.current_time())
            raise ConfigError(f"{self.endpoint.name}: no connection can be made: {error}") from error
        codec = self.endpoint.wire.codec(permit.route.model.capabilities)
        return Exchange(permit, codec, connection, self._give_back, self._secrets)

    def _connection(self) -> Connection:
        return self._idle.pop() if self._idle else self._connect(self.endpoint.base_url, self._headers)

    def _give_back(self, connection: Connection, clean: bool) -> None:
        if clean:
            self._idle.append(connection)
            if self._retired:
                self._wake()


async def _said_in(call: HttpCall) -> object:
    """The body of a call, or as much of its file as a message can quote the beginning of."""
    if not isinstance(call.body, FileBody):
        return call.body
    try:
        async with await trio.open_file(call.body.path, "rb") as file:
            return await file.read(MOST_QUOTED_BYTES)
    except OSError:
        return b""


class _Counted:
    """A reply that knows whether it was read to its end."""

    def __init__(self, reply: Reply) -> None:
        self.status = reply.status
        self.headers = reply.headers
        self.read_to_end = False
        self._reply = reply

    async def receive(self) -> bytes:
        data = await self._reply.receive()
        self.read_to_end = not data
        return data

    async def aclose(self) -> None:
        await self._reply.aclose()
