"""Send requests with aiohttp. No other module sends requests to the API.

Errors of aiohttp must not leave this module, because their repr contains the request headers with
the API key. So the errors of this library are raised outside the ``except`` block. Otherwise their
``__context__`` would be an error of aiohttp.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, NamedTuple, Protocol

import aiohttp
from aiohttp import http_exceptions

from suno_async._transport.timeouts import RequestTimeout, RequestTimeouts
from suno_async.errors import (
    ClientClosedError,
    ConnectionLostError,
    NotSentError,
    RequestTimeoutError,
    ResponseError,
    SunoError,
)
from suno_async.files.connections import Network

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import SimpleNamespace

    from yarl import URL

    from suno_async._protocol.requests import Request
    from suno_async._transport.account import Credentials
    from suno_async.limits.base import Limiter, Permit

logger = logging.getLogger("suno_async")

#: Longest time in seconds to establish a connection, including TLS.
CONNECT_TIMEOUT = 10.0

#: Maximum size of a reply in bytes, after decompression. A task record has a few kilobytes. The
#: search for the API key in a hostile reply of this size blocks the event loop for about 0.1 s.
MOST_BYTES = 2**20


class Reply(NamedTuple):
    """A reply of the server, with its decompressed body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Sender(Protocol):
    """Sends requests to the server. Tests use their own implementation instead of `HttpSender`."""

    async def send(self, request: Request, permit: Permit) -> Reply:
        """Send a request and return the reply.

        An implementation calls `permit.sent` when it sends the request, and `permit.answered` when
        the headers of the reply arrive.

        Raises:
            NotSentError: No connection could be opened, so the request did not reach the server.
                But if aiohttp repeated a GET, the server may have received the first copy.
            ClientClosedError: The aiohttp session that the caller passed is closed.
            SunoError: No reply arrived, or the reply could not be read.
        """
        ...

    async def close(self) -> None:
        """Close the connections that this sender opened."""
        ...


class HttpSender:
    """Sends requests with aiohttp.

    Args:
        credentials: The API key and its host.
        limiter: Grants permits for requests that aiohttp repeats on its own.
        session: The aiohttp session to use; `close` does not close it. If None, the sender opens
            its own sessions.
        timeout: Maximum time for one request and its reply, in seconds.
        network: Proxy and certificates of the sessions that the sender opens. They do not apply to
            `session`.
    """

    def __init__(
        self,
        credentials: Credentials,
        limiter: Limiter,
        session: aiohttp.ClientSession | None,
        timeout: float,
        network: Network | None = None,
    ) -> None:
        self._credentials = credentials
        self._limiter = limiter
        self._injected = session is not None
        # Sessions opened here already have the key. This saves merging headers for each request.
        self._headers = credentials.headers if self._injected else None
        self._digest = credentials.digest
        self._urls: dict[str, URL] = {}
        self._timeouts = RequestTimeouts(timeout)
        # Shorter than `timeout`, so that a connection that is too slow fails with its own error.
        # This error proves that the request was not sent. An expired `timeout` does not prove it.
        self._aiohttp_timeout = aiohttp.ClientTimeout(
            connect=min(CONNECT_TIMEOUT, 0.8 * timeout),
            ceil_threshold=math.inf,  # aiohttp would round timeouts above 5 s to whole seconds
        )
        self._network = network if network is not None and not self._injected else Network()
        self._proxy = self._network.checked_proxy()
        self._uses_environment = self._network.trust_env and self._proxy is None
        # The limiter bounds the number of requests, so the connection pools need no limit.
        self._session = session or self._open_session(force_close=False)
        # Each create opens a new connection. If the server closes a reused connection during a
        # create, it is unknown whether the create was accepted.
        self._creates = session or self._open_session(force_close=True)

    async def close(self) -> None:
        """Close the sessions that this sender opened. A session of the caller stays open."""
        self._timeouts.close()
        if not self._injected:
            await self._session.close()
            await self._creates.close()

    async def send(self, request: Request, permit: Permit) -> Reply:
        """Send a request and return the reply; see `Sender.send`."""
        session = self._session if request.method == "GET" else self._creates
        if self._digest != self._credentials.digest:
            self._use_new_key()
        headers = self._headers
        if request.body is not None:
            headers = (headers or {}) | {"Content-Type": "application/json"}
        url = self._urls.get(request.path)
        if url is None:
            url = self._credentials.base_url.joinpath(request.path.lstrip("/"))
            self._urls[request.path] = url
        proxy = await self._environment_proxy(url) if self._uses_environment else self._proxy
        if session.closed:
            raise ClientClosedError(
                "the aiohttp session passed to SunoClient(session=) is closed; close the client "
                "first, then the session"
            )
        if self._injected:
            # An injected session does not call `_on_headers`, so the request counts as sent now.
            permit.sent()
        failure: SunoError
        try:
            with RequestTimeout(self._timeouts):
                # Without `async with`, which takes two more coroutines.
                response = await session.request(
                    request.method,
                    _with_query(url, request.params),
                    data=request.body,
                    headers=headers,
                    proxy=proxy,
                    # The key must not follow a redirect to another host.
                    allow_redirects=False,
                    timeout=self._aiohttp_timeout,
                    # An injected session may have other defaults for these two.
                    raise_for_status=False,
                    auto_decompress=True,
                    # A function, because aioresponses makes a deep copy of this argument.
                    trace_request_ctx=lambda: permit,
                )
                try:
                    permit.sent()
                    permit.answered()
                    body = await _read(response)
                finally:
                    response.release()
            logger.debug("%s %s: HTTP %d", request.method, request.path, response.status)
            return Reply(response.status, response.headers, self._credentials.redacted(body))
        except (TimeoutError, OSError, aiohttp.ClientError) as error:
            failure = _translate(error, self._credentials.base_url.authority, proxy)
        except (http_exceptions.HttpProcessingError, EOFError, ValueError) as error:
            failure = ResponseError(f"the reply is not valid HTTP ({type(error).__name__})")
        except BaseException:
            permit.sent()
            raise
        if not isinstance(failure, NotSentError):
            # If it is unknown whether the request was sent, it counts as sent.
            permit.sent()
        logger.debug("%s %s: %s", request.method, request.path, failure)
        raise failure

    async def _environment_proxy(self, url: URL) -> URL | None:
        try:
            # This runs in a thread, and all threads may be busy.
            with RequestTimeout(self._timeouts):
                return await self._network.proxy_for(url)
        except TimeoutError:
            raise NotSentError("the proxy could not be determined within the time limit") from None
        except ValueError as error:
            # The text of the error does not contain the URL of the proxy.
            raise NotSentError(str(error)) from None

    def _use_new_key(self) -> None:
        """Use the current API key of the credentials for all later requests."""
        self._digest = self._credentials.digest
        if self._injected:
            self._headers = self._credentials.headers
        else:
            self._session.headers.update(self._credentials.headers)
            self._creates.headers.update(self._credentials.headers)

    def _open_session(self, *, force_close: bool) -> aiohttp.ClientSession:
        trusted = True if self._network.ssl is None else self._network.ssl
        trace = aiohttp.TraceConfig()
        trace.on_request_headers_sent.append(self._on_headers)
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, force_close=force_close, ssl=trusted),
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
        """Count a request as sent. If aiohttp repeats a request, wait for a new permit first.

        aiohttp awaits this method before it writes the first byte of the request.
        """
        permit: Permit = context.trace_request_ctx()
        if permit.sent_at is None:
            permit.sent()
        else:
            # aiohttp repeats a GET on its own when a reused connection breaks. The server counts
            # the repetition as another request.
            (await self._limiter.acquire()).sent()


def _with_query(url: URL, params: tuple[tuple[str, str], ...]) -> URL:
    """Return `url` with the query parameters `params`."""
    if len(params) == 1:
        ((name, value),) = params
        # A value that needs no escaping, such as a task id, takes less than half the time.
        if value.isascii() and value.replace("-", "").isalnum():
            return url.with_query(f"{name}={value}")
    return url.with_query(params) if params else url


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Return the decompressed body of a response.

    Raises:
        ResponseError: The body has more than `MOST_BYTES` bytes.
        aiohttp.ClientError: The connection broke, or the body could not be decompressed.
    """
    content = response.content
    if content.is_eof():
        # A short body has usually arrived together with the headers.
        body = content.read_nowait()
        if len(body) <= MOST_BYTES:
            return body
    elif (response.content_length or 0) <= MOST_BYTES:
        parts: list[bytes] = []
        size = 0
        async for part in content.iter_any():
            size += len(part)
            if size > MOST_BYTES:
                break
            parts.append(part)
        else:
            return b"".join(parts)
    raise ResponseError(f"the reply has more than {MOST_BYTES} bytes", response.status)


def _translate(error: Exception, host: str, proxy: URL | None) -> SunoError:
    """Convert an aiohttp error to an error of this library. `proxy` is the proxy of the request.

    Return `NotSentError` only if no connection could be opened. After any other error, the server
    may have received the request, even if `_on_headers` was not called.
    """
    what = type(error).__name__
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return NotSentError(f"the proxy refused a connection to {host} (HTTP {error.status})")
    if (
        # Not `ClientProxyConnectionError`: aiohttp does not raise it if the name is unknown.
        isinstance(error, aiohttp.ClientConnectorError)
        and proxy is not None
        and error.host == proxy.raw_host
    ):
        host = f"the proxy {error.host}:{error.port}"
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return NotSentError(f"could not connect to {host} ({what})")
    if isinstance(error, TimeoutError):
        return RequestTimeoutError(f"no reply from {host} in time ({what})")
    if isinstance(error, aiohttp.ClientResponseError):
        # Without the status of the error: aiohttp sets it to 400, whatever the server sent.
        return ResponseError(f"the reply is not valid HTTP ({what})")
    if isinstance(error, aiohttp.ClientPayloadError):
        return ConnectionLostError(f"the reply of {host} is incomplete or damaged ({what})")
    return ConnectionLostError(f"the connection to {host} broke ({what})")
