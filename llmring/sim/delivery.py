"""How a reply leaves: intact, or as the fault that struck it says. Effects only; what the reply says is
decided before.

Every function leaves the connection either ready for the next request or closed on purpose.
"""

import asyncio

import msgspec

from llmring.sim.exchange import Exchange
from llmring.sim.faults import Fault
from llmring.sim.outcome import failed
from llmring.sim.wire import Answer, Ask, Dialect, Headers, Operation, Problem, Script, StreamedOperation

_DRIP_SECONDS = 1.0
_DRIP_PIECES = 8
#: A reply without pauses lets the other connections have a turn this often.
_CHUNKS_PER_TURN = 32

_HTML_502 = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n"
    b"<center><h1>502 Bad Gateway</h1></center>\r\n"
    b"<hr><center>cloudflare</center>\r\n</body>\r\n</html>\r\n"
)


class Delivery(msgspec.Struct, kw_only=True):
    """One admitted request on its way out. `sent_tokens` is what its client was given so far."""

    exchange: Exchange
    dialect: Dialect
    operation: Operation
    ask: Ask
    answer: Answer
    headers: Headers
    #: Pause before each chunk of a stream but the first.
    seconds_per_token: float
    sent_tokens: int = 0

    async def send(self, fault: Fault | None) -> None:
        """The reply, with the fault on it. Returns when nothing more will be sent."""
        if fault is not None and await self._instead(fault):
            return
        if self.ask.stream:
            await self._stream(fault)
        else:
            await self._whole(fault)

    def status(self, fault: Fault | None) -> int | None:
        """What `send` will begin with; None when it never begins."""
        match fault.kind if fault is not None else None:
            case "hang" | "reset":
                return None
            case "stall":
                return 200 if self.ask.stream else None
            case "html_502":
                return 502
            case _:
                problem = failed(fault)
                return 200 if problem is None else self.dialect.failure(problem).status

    async def _instead(self, fault: Fault) -> bool:
        """Faults that leave nothing of the reply; False for the others."""
        problem = failed(fault)
        if problem is not None:
            failure = self.dialect.failure(problem)
            await self.exchange.answer(failure.status, [_JSON, *self.headers, *failure.headers], failure.body)
            return True
        match fault.kind:
            case "hang":
                await self.exchange.wait_until_gone()
            case "stall" if not self.ask.stream:
                await self.exchange.wait_until_gone()
            case "reset":
                await self.exchange.reset()
            case "html_502":
                await self.exchange.answer(
                    502, [(b"content-type", b"text/html"), (b"server", b"cloudflare")], _HTML_502
                )
            case "empty":
                await self.exchange.answer(200, [self._content_type(), *self.headers], b"")
            case _:
                return False
        return True

    async def _whole(self, fault: Fault | None) -> None:
        kind = None if fault is None else fault.kind
        body = self.operation.whole(self.ask, self.answer, finished=kind != "no_finish")
        if kind == "error_in_stream":
            body = self.dialect.failure(Problem(kind="server_error")).body
        elif kind == "malformed":
            body = body[: len(body) // 2]
        else:
            self.sent_tokens = self.answer.output_tokens
        headers = [_JSON, *self.headers]
        if kind not in ("cut", "drip") or fault is None:
            await self.exchange.answer(200, headers, body)
            return
        await self.exchange.start(200, [*headers, (b"content-length", b"%d" % len(body))])
        if kind == "cut":
            await self.exchange.write(body[: len(body) // 2])
            await self.exchange.cut()
            return
        await self._drip(body, fault)

    async def _drip(self, body: bytes, fault: Fault) -> None:
        size = -(-len(body) // _DRIP_PIECES)
        for at in range(0, len(body), size):
            await self.exchange.pause(_pause(fault))
            await self.exchange.write(body[at : at + size])
        await self.exchange.finish()

    async def _stream(self, fault: Fault | None) -> None:
        script = self._script()
        content_type = (b"content-type", script.content_type)
        await self.exchange.start(200, [content_type, (b"cache-control", b"no-cache"), *self.headers])
        await self.exchange.write(script.opening)
        broken_after = _breaks_after(fault)
        seconds = _pause(fault) if fault is not None and fault.kind == "drip" else self.seconds_per_token
        for number, chunk in enumerate(script.chunks):
            if number == broken_after:
                break
            if number:
                await self.exchange.pause(seconds)
            await self.exchange.write(chunk)
            self.sent_tokens = min(number + 1, self.answer.output_tokens)
            if number % _CHUNKS_PER_TURN == _CHUNKS_PER_TURN - 1:
                await asyncio.sleep(0)
        if fault is not None and broken_after is not None:
            await self._break(fault, script)
            return
        self.sent_tokens = self.answer.output_tokens
        if fault is None or fault.kind != "no_finish":
            await self.exchange.write(script.ending)
        await self.exchange.finish(script.terminator)

    def _content_type(self) -> tuple[bytes, bytes]:
        if not self.ask.stream:
            return _JSON
        return b"content-type", self._script().content_type

    def _script(self) -> Script:
        # Other operations never read a request as one for a stream.
        assert isinstance(self.operation, StreamedOperation)
        return self.operation.script(self.ask, self.answer)

    async def _break(self, fault: Fault, script: Script) -> None:
        match fault.kind:
            case "stall":
                await self.exchange.wait_until_gone()
            case "cut":
                await self.exchange.cut()
            case "malformed":
                await self.exchange.finish(script.broken)
            case _:
                await self.exchange.finish(script.failure)


_JSON = (b"content-type", b"application/json")


def _breaks_after(fault: Fault | None) -> int | None:
    """Chunks before the stream breaks; None when it does not. A reply that is shorter breaks at its end."""
    if fault is None or fault.kind not in ("cut", "stall", "malformed", "error_in_stream"):
        return None
    return fault.after_chunks


def _pause(fault: Fault) -> float:
    return _DRIP_SECONDS if fault.seconds is None else fault.seconds
