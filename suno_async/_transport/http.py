"""The sender on aiohttp: the only place where a request to the API is made.

aiohttp's errors end here. They must not escape: their repr carries the request's headers, and with
them the key. Ours are raised outside the ``except`` block, so that not even ``__context__`` leads
back to them.
"""

from __future__ import annotations

import logging
import weakref
from typing import TYPE_CHECKING, NamedTuple, Protocol

import aiohttp
from aiohttp import http_exceptions

from suno_async.errors import (
    ClientClosedError,
    ConnectionLostError,
    NotSentError,
    RequestTimeoutError,
    ResponseError,
    SunoError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import SimpleNamespace

    from yarl import URL

    from suno_async._protocol.requests import Request
    from suno_async._transport.account import Credentials
    from suno_async.limits.base import Limiter, Permit

logger = logging.getLogger("suno_async")

#: Seconds to establish a connection, TLS included.
CONNECT_TIMEOUT = 10.0

#: Most bytes of a reply, after decompression. A task record has a few kB.
MOST_BYTES = 8 * 1024 * 1024


class Reply(NamedTuple):
    """What the server answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Sender(Protocol):
    """Makes one exchange with the server. Tests replace the implementation on aiohttp."""

    async def send(self, request: Request, permit: Permit) -> Reply:
        """Send a request and return the reply.

        Calls `Permit.sent` when the request leaves and `Permit.answered` when the reply arrives.

        Raises:
            NotSentError: The server certainly did not see the request.
            SunoError: No reply, or no reply that can be read.
        """
        ...

    async def close(self) -> None:
        """Close what was opened."""
        ...


class HttpSender:
    """Sends requests with aiohttp.

    Args:
        credentials: Key and API host.
        limiter: Grants the permit of a request that aiohttp sends again by itself.
        session: A session of the caller's, which stays open; None opens our own.
        timeout: Seconds for one request.
    """

    def __init__(
        self,
        credentials: Credentials,
        limiter: Limiter,
        session: aiohttp.ClientSession | None,
        timeout: float,
    ) -> None:
        self._credentials = credentials
        self._limiter = limiter
        self._injected = session is not None
        # Our own sessions have the headers for good: merging them in would cost at each request.
        self._headers = credentials.headers if self._injected else None
        self._urls: dict[str, URL] = {}
        self._timeout = aiohttp.ClientTimeout(total=timeout, connect=min(CONNECT_TIMEOUT, timeout))
        # The limiter bounds the requests, so the pools need no limits of their own.
        self._session = session or self._open_session(aiohttp.TCPConnector(limit=0))
        # A create must not use a kept connection that the server may just be closing: nobody could
        # say whether it was accepted. So each one opens its own.
        self._creates = session or self._open_session(
            aiohttp.TCPConnector(limit=0, force_close=True)
        )

    async def close(self) -> None:
        """Close the sessions, unless they were injected."""
        if not self._injected:
            await self._session.close()
            await self._creates.close()

    async def send(self, request: Request, permit: Permit) -> Reply:
        """Send a request and return the reply; see `Sender.send`."""
        session = self._session if request.method == "GET" else self._creates
        if session.closed:
            raise ClientClosedError("the aiohttp session of this SunoClient is closed")
        url = self._urls.get(request.path)
        if url is None:
            url = self._credentials.base_url.joinpath(request.path.lstrip("/"))
            self._urls[request.path] = url
        if self._injected:
            # No hook of ours is called on it, so the request counts from here.
            permit.sent()
        failure: SunoError
        try:
            async with session.request(
                request.method,
                url.with_query(request.params) if request.params else url,
                data=request.body,
                headers=self._headers,
                # The key must not follow a redirect to another host.
                allow_redirects=False,
                timeout=self._timeout,
                # Weak, because aioresponses makes a deep copy of it.
                trace_request_ctx=weakref.ref(permit),
            ) as response:
                permit.sent()
                permit.answered()
                body = await _read(response)
                logger.debug("%s %s: HTTP %d", request.method, request.path, response.status)
                return Reply(response.status, response.headers, self._credentials.redacted(body))
        except (TimeoutError, OSError, aiohttp.ClientError) as error:
            failure = _translate(error, self._credentials.base_url.authority)
        except (http_exceptions.HttpProcessingError, EOFError, ValueError) as error:
            failure = ResponseError(f"no HTTP reply ({type(error).__name__})")
        except BaseException:
            permit.sent()
            raise
        if not isinstance(failure, NotSentError):
            # In doubt it was sent, even if the hook stayed silent.
            permit.sent()
        logger.debug("%s %s: %s", request.method, request.path, failure)
        raise failure

    def _open_session(self, connector: aiohttp.BaseConnector) -> aiohttp.ClientSession:
        trace = aiohttp.TraceConfig()
        trace.on_request_headers_sent.append(self._on_headers)
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=self._credentials.headers,
            trace_configs=[trace],
        )

    async def _on_headers(
        self,
        _session: aiohttp.ClientSession,
        context: SimpleNamespace,
        _params: aiohttp.TraceRequestHeadersSentParams,
    ) -> None:
        """Count a request. aiohttp awaits this before it writes the request's first byte."""
        reference: weakref.ref[Permit] = context.trace_request_ctx
        permit = reference()
        if permit is not None and permit.sent_at is None:
            permit.sent()
        else:
            # aiohttp sends a GET again by itself when a kept connection breaks: that is another
            # request to the server.
            (await self._limiter.acquire()).sent()


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Return the body, decompressed.

    Raises:
        ResponseError: It has more than `MOST_BYTES` bytes.
    """
    length = response.content_length
    if length is not None and length <= MOST_BYTES and "Content-Encoding" not in response.headers:
        return await response.read()
    parts: list[bytes] = []
    size = length or 0
    if size <= MOST_BYTES:
        size = 0
        async for part in response.content.iter_any():
            size += len(part)
            if size > MOST_BYTES:
                break
            parts.append(part)
    if size <= MOST_BYTES:
        return b"".join(parts)
    raise ResponseError(f"the reply has more than {MOST_BYTES} bytes", response.status)


def _translate(error: Exception, host: str) -> SunoError:
    """Return our error for one of aiohttp's. `NotSentError` means that the server saw nothing.

    Only a connector error proves that. A hook that stayed silent proves nothing.
    """
    what = type(error).__name__
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return NotSentError(f"could not connect to {host} ({what})")
    if isinstance(error, TimeoutError):
        return RequestTimeoutError(f"no reply from {host} in time ({what})")
    if isinstance(error, aiohttp.ClientResponseError):
        return ResponseError(f"no HTTP reply ({what})", error.status)
    return ConnectionLostError(f"the connection to {host} broke ({what})")
