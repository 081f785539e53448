"""Getting a registry's files: one GET with an ETag, tried three times at most, within bounds of time and size.

The only module of the registry that talks to a network. Foreign errors become RegistryError here. A `file://` address
is read from disk, in a thread.
"""

import random
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

import httpx2
import trio
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from llmring import __version__
from llmring.errors import RegistryError
from llmring.registry.lists import Fetch, Fetched

CONNECT_SECONDS = 5.0
WHOLE_SECONDS = 15.0
"""For one file, all tries together."""

MOST_BYTES = 8 * 2**20
"""The largest real list has 0.15 MB."""

CLOSE_SECONDS = 1.0
MOST_REDIRECTS = 3
TRIES = 3


class _Passing(Exception):
    """A failure that may pass: no connection, a 429 or 5xx."""


def fetch_from(base_url: str) -> Fetch:
    """How files are got from a registry. `base_url` was checked by config. Makes no connection yet."""

    async def fetch(path: str, etag: str | None = None) -> Fetched:
        url = f"{base_url.rstrip('/')}/{path}"
        if base_url.startswith("file:"):
            return await _read(url)
        return await _get(url, etag)

    return fetch


async def _read(url: str) -> Fetched:
    try:
        data = await trio.to_thread.run_sync(_bytes_of, Path(unquote(urlsplit(url).path)))
    except OSError as error:
        raise RegistryError(url, (error.strerror or str(error)).lower()) from error
    if len(data) > MOST_BYTES:
        raise RegistryError(url, f"is longer than {MOST_BYTES} bytes")
    return Fetched(data=data, etag=None)


def _bytes_of(path: Path) -> bytes:
    """No more than tells that there are too many."""
    with path.open("rb") as file:
        return file.read(MOST_BYTES + 1)


async def _get(url: str, etag: str | None) -> Fetched:
    headers = {"user-agent": f"llmring/{__version__}", "accept": "application/json"}
    if etag is not None:
        headers["if-none-match"] = etag
    with trio.move_on_after(WHOLE_SECONDS):
        try:
            async for attempt in AsyncRetrying(
                sleep=trio.sleep,
                stop=stop_after_attempt(TRIES),
                wait=wait_exponential_jitter(initial=0.25, max=2.0, jitter=random.random() / 4),
                retry=retry_if_exception_type(_Passing),
                reraise=True,
            ):
                with attempt:
                    return await _try(url, headers)
        except _Passing as error:
            raise RegistryError(url, str(error)) from error
    raise RegistryError(url, f"no answer within {WHOLE_SECONDS:g} s")


async def _try(url: str, headers: Mapping[str, str]) -> Fetched:
    is_local = urlsplit(url).scheme == "http"
    # Plain http is for this machine alone, which is not behind the proxy of the environment.
    async with httpx2.AsyncClient(
        http2=False, trust_env=not is_local, timeout=httpx2.Timeout(None, connect=CONNECT_SECONDS)
    ) as client:
        for _ in range(MOST_REDIRECTS + 1):
            try:
                async with client.stream("GET", url, headers=dict(headers)) as response:
                    if not response.has_redirect_location:
                        return await _answer(url, response)
                    url = _redirected(url, response, is_local=is_local)
            except httpx2.TransportError as error:
                raise _Passing(f"cannot be reached: {str(error) or type(error).__name__}") from error
    raise RegistryError(url, f"redirects more than {MOST_REDIRECTS} times")


def _redirected(url: str, response: httpx2.Response, *, is_local: bool) -> str:
    target = str(httpx2.URL(url).join(response.headers["location"]))
    if not target.startswith("https://") and not (is_local and httpx2.URL(target).host == httpx2.URL(url).host):
        raise RegistryError(url, "redirects to an address that is not https: not followed")
    return target


async def _answer(url: str, response: httpx2.Response) -> Fetched:
    if response.status_code == 304:
        return Fetched(data=None, etag=None)
    if response.status_code == 429 or response.status_code >= 500:
        raise _Passing(f"HTTP {response.status_code}")
    if response.status_code != 200:
        raise RegistryError(url, f"HTTP {response.status_code}")
    return Fetched(data=await _body(url, response), etag=response.headers.get("etag"))


async def _body(url: str, response: httpx2.Response) -> bytes:
    body = response.aiter_bytes()
    pieces: list[bytes] = []
    try:
        while piece := await anext(body, b""):
            pieces.append(piece)
            if sum(map(len, pieces)) > MOST_BYTES:
                raise RegistryError(url, f"is longer than {MOST_BYTES} bytes")
    finally:
        with trio.move_on_after(CLOSE_SECONDS, shield=True):
            await response.aclose()
            # Read on, into the error that a closed connection gives: httpx2 leaves nested generators open otherwise.
            with suppress(httpx2.RequestError, httpx2.StreamError):
                while await anext(body, b""):
                    pass
    return b"".join(pieces)
