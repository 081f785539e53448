"""One connection of a worker. Foreign network errors become ours here, and nowhere else.

One httpx2 client per connection, not one pool for all: a shared pool looks through every connection on every request
(4.2 ms of CPU a call at 128 at once, against 0.5 ms here). HTTP/2 is off, because a cancelled HTTP/2 stream is never
reset and the provider goes on generating.
"""

import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import ExitStack, suppress
from ipaddress import ip_address
from typing import BinaryIO, Protocol

import httpx2
import trio

from llmring import __version__
from llmring.codecs.codec import FileBody, HttpCall
from llmring.errors import BadReply, ConnectFailed, InvalidRequest, TransportBroken

CONNECT_SECONDS = 5.0


class Reply(Protocol):
    """A reply whose body has not been read yet."""

    status: int
    headers: Mapping[str, str]

    async def receive(self) -> bytes:
        """The next bytes of the body, b"" at its end. Raises TransportBroken."""
        ...

    async def aclose(self) -> None:
        """Give the connection back; it is closed when the body was not read to its end."""
        ...


class Connection(Protocol):
    """Sends one call at a time."""

    async def open(self, call: HttpCall) -> Reply:
        """Send, and wait for status and headers. Raises ConnectFailed or TransportBroken. No time limit of its own
        but that for connecting."""
        ...

    async def aclose(self) -> None: ...


class Connect(Protocol):
    """Makes the connections of one provider. Making one does no I/O."""

    def __call__(self, base_url: str, headers: Mapping[str, str]) -> Connection: ...


class HttpxConnect:
    """Connections over httpx2, all with one SSL context, which is made when the first one is needed (20 ms)."""

    def __init__(self) -> None:
        self._ssl: ssl.SSLContext | None = None

    def __call__(self, base_url: str, headers: Mapping[str, str]) -> "HttpxConnection":
        if self._ssl is None:
            self._ssl = httpx2.create_ssl_context()
        return HttpxConnection(base_url, headers, self._ssl)


def _is_loopback(base_url: str) -> bool:
    host = httpx2.URL(base_url).host
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


class HttpxConnection:
    def __init__(self, base_url: str, headers: Mapping[str, str], context: ssl.SSLContext) -> None:
        self._base_url = base_url
        self._client = httpx2.AsyncClient(
            headers={"user-agent": f"llmring/{__version__}", **headers},
            verify=context,
            http2=False,
            # A server on this machine is not behind the proxy of the environment.
            trust_env=not _is_loopback(base_url),
            follow_redirects=False,
            timeout=httpx2.Timeout(None, connect=CONNECT_SECONDS),
            limits=httpx2.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=30.0),
        )

    async def open(self, call: HttpCall) -> "HttpxReply":
        with ExitStack() as files:
            return await self._send(self._request(call, files))

    async def _send(self, request: httpx2.Request) -> "HttpxReply":
        try:
            return HttpxReply(await self._client.send(request, stream=True))
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError) as error:
            raise ConnectFailed(f"cannot connect to {request.url.host}: {_reason(error)}") from error
        except httpx2.TransportError as error:
            raise TransportBroken(f"connection broke before the reply: {_reason(error)}") from error

    def _request(self, call: HttpCall, files: ExitStack) -> httpx2.Request:
        """`files` closes what the body is read from."""
        url, headers = self._url(call.path), list(call.headers)
        if not isinstance(call.body, FileBody):
            return self._client.build_request(call.method, url, content=call.body, headers=headers)
        try:
            file = files.enter_context(call.body.path.open("rb"))
        except OSError as error:
            raise InvalidRequest(f"file {call.body.path}: {error.strerror}") from None
        if call.body.field is None:
            return self._client.build_request(call.method, url, content=_pieces(file), headers=headers)
        part = {call.body.field: (call.body.name, file, call.body.media_type)}
        return self._client.build_request(call.method, url, files=part, data=dict(call.body.fields), headers=headers)

    def _url(self, path: str) -> httpx2.URL:
        """Where a call goes. Raises BadReply for another host: the key is in the headers."""
        if path.startswith("/"):
            return httpx2.URL(self._base_url + path)
        url, own = httpx2.URL(path), httpx2.URL(self._base_url)
        if (url.scheme, url.host, url.port) != (own.scheme, own.host, own.port):
            raise BadReply(f"{own.host} sends the upload to another host, {url.host}; not followed")
        return url

    async def aclose(self) -> None:
        await self._client.aclose()


async def _pieces(file: BinaryIO) -> AsyncGenerator[bytes]:
    """A local file in pieces of 1 MiB, read in a thread."""
    while piece := await trio.to_thread.run_sync(file.read, 2**20):
        yield piece


class HttpxReply:
    def __init__(self, response: httpx2.Response) -> None:
        self.status = response.status_code
        # A plain dictionary: the codecs look up a dozen names, and httpx2's own mapping searches a list for each.
        self.headers: Mapping[str, str] = dict(response.headers.items())
        self._response = response
        self._body = response.aiter_bytes()

    async def receive(self) -> bytes:
        try:
            return await anext(self._body, b"")
        except (httpx2.TransportError, httpx2.DecodingError) as error:
            raise TransportBroken(f"connection broke in the reply: {_reason(error)}") from error

    async def aclose(self) -> None:
        await self._response.aclose()
        # Read on, into the error that a closed connection gives. httpx2 reads through half a dozen nested generators,
        # and closing the outer one leaves another open (AsyncResponseStream.__aiter__, 2.16), to be warned of when it
        # is collected; an error from within ends them all.
        with suppress(httpx2.RequestError, httpx2.StreamError):
            while await anext(self._body, b""):
                pass


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
