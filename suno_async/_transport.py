"""Every exchange with the API host: permit, send, read, classify, retry.

aiohttp's errors end here. They must not escape: their repr carries the request's headers, and with
them the key. Ours are raised outside the ``except`` block, so that not even ``__context__`` leads
back to them.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import random
import weakref
from typing import TYPE_CHECKING, Any, TypeVar

import aiohttp
from aiohttp import http_exceptions
from yarl import URL

from suno_async import _wire
from suno_async._gate import CircuitBreaker
from suno_async._limiter import (
    MAX_PAUSE,
    PAUSE_MAINTENANCE,
    AccountLimiter,
    Permit,
    limiter_for,
)
from suno_async._policy import retry_delay
from suno_async.errors import (
    APIError,
    AuthenticationError,
    ClientClosedError,
    ConfigurationError,
    ConnectionLostError,
    InsufficientCreditsError,
    MaintenanceError,
    NotSentError,
    RateLimitError,
    RequestTimeoutError,
    ResponseError,
    ServerError,
    SunoError,
    TransportError,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping
    from types import SimpleNamespace

logger = logging.getLogger("suno_async")

BASE_URL = "https://api.crun.ai"

#: Seconds to establish a connection, TLS included.
CONNECT_TIMEOUT = 10.0

#: Most bytes of a reply, after decompression. A task record has a few kB.
MOST_BYTES = 8 * 1024 * 1024

#: Shortest key that is removed from replies. The vendor's keys have 35 characters.
SHORTEST_SECRET = 16

T = TypeVar("T")


class Account:
    """A key and its API host. The key leaves this object only in a request header."""

    def __init__(self, api_key: str | None, base_url: str | None) -> None:
        key = (api_key or _environment("SUNO_API_KEY", "CRUN_API_KEY") or "").strip()
        if not key:
            raise ConfigurationError("no API key: set SUNO_API_KEY, or pass api_key=")
        if not key.isascii() or not key.isprintable():
            raise ConfigurationError("the API key holds a character that no header may carry")
        text = base_url or _environment("SUNO_BASE_URL", "CRUN_BASE_URL") or BASE_URL
        try:
            self.base_url = URL(text.rstrip("/"))
        except ValueError:
            self.base_url = URL()
        if self.base_url.scheme not in {"http", "https"} or not self.base_url.host:
            raise ConfigurationError(f"base_url must be an http(s) URL, not {text!r}")
        if self.base_url.user or self.base_url.password:
            raise ConfigurationError("base_url must not hold a user or a password")
        self._secret = key.encode()
        self.headers = {
            "x-api-key": key,
            "Content-Type": "application/json",
            # Only what can be decompressed in bounded pieces.
            "Accept-Encoding": "gzip, deflate",
        }
        digest = hashlib.blake2b(f"{key}\n{self.base_url}".encode(), digest_size=16)
        self.digest = digest.hexdigest()

    def __repr__(self) -> str:
        return f"<Account at {self.base_url}>"

    def redacted(self, body: bytes) -> bytes:
        """Return a reply's body without the key, should the server repeat it.

        A key shorter than `SHORTEST_SECRET` could be part of ordinary text and is left alone.
        """
        if self._secret in body and len(self._secret) >= SHORTEST_SECRET:
            return body.replace(self._secret, b"[redacted]")
        return body


def _environment(*names: str) -> str | None:
    return next((value for name in names if (value := os.environ.get(name))), None)


class Transport:
    """The exchanges of one client with the API host."""

    def __init__(  # noqa: PLR0913 (all named)
        self,
        account: Account,
        *,
        session: aiohttp.ClientSession | None,
        rate: float,
        timeout: float,
        retry_for: float,
        max_pause: float = MAX_PAUSE,
        limiter: AccountLimiter | None = None,
    ) -> None:
        """Open the sessions; needs a running event loop."""
        self._account = account
        self._injected = session is not None
        # Our own sessions have the headers for good: merging them in would cost at each request.
        self._headers = account.headers if self._injected else None
        self._urls: dict[str, URL] = {}
        self.request_timeout = timeout
        self._timeout = aiohttp.ClientTimeout(total=timeout, connect=min(CONNECT_TIMEOUT, timeout))
        self._retry_for = retry_for
        self._loop = asyncio.get_running_loop()
        # The scopes of direct calls: closing ends them.
        self._calls: set[asyncio.Timeout] = set()
        self._no_calls = asyncio.Event()
        self.closed = False
        self.gate = CircuitBreaker()
        self.limiter: AccountLimiter = limiter or limiter_for(account.digest, rate, max_pause)
        # The limiter bounds the requests, so the pools need no limits of their own.
        self._session = session or self._open_session(aiohttp.TCPConnector(limit=0))
        # A create must not use a kept connection that the server may just be closing: nobody could
        # say whether it was accepted. So each one opens its own.
        self._creates = session or self._open_session(
            aiohttp.TCPConnector(limit=0, force_close=True)
        )

    def end_calls(self) -> None:
        """End direct calls with `ClientClosedError`, those under way and those to come."""
        self.closed = True
        for scope in self._calls:
            # A scope that has expired is about to end, and refuses a new time.
            if not scope.expired():
                scope.reschedule(self._loop.time())

    async def close(self) -> None:
        """End direct calls, and close the sessions unless they were injected."""
        self.end_calls()
        while self._calls:
            self._no_calls.clear()
            await self._no_calls.wait()
        if not self._injected:
            await self._session.close()
            await self._creates.close()

    async def once(
        self,
        request: _wire.Request,
        read: Callable[[int, Mapping[str, str], bytes], T],
        permit: Permit,
        *,
        spends: bool = False,
    ) -> T:
        """Make one exchange with `permit`; `spends` if it costs credits.

        Raises:
            TransportError: No reply came.
            ResponseError: A reply came that cannot be decoded.
            APIError: The server refused.
        """
        try:
            # Not earlier: while it waited for its permit, others may have been refused.
            self.gate.check(self._loop.time(), spends=spends)
            started = self._loop.time()
            reply = await self._exchange(request, permit)
        finally:
            permit.cancel()
        try:
            result = read(*reply)
        except APIError as error:
            self._heed(error, started)
            raise
        if self.gate.suspected:
            self.gate.key_accepted(started)
        return result

    async def get(
        self,
        request: _wire.Request,
        read: Callable[[int, Mapping[str, str], bytes], T],
        *,
        waits_out: bool = False,
    ) -> T:
        """Make one exchange that changes nothing. Retry it while it fails for passing reasons.

        Raises:
            ClientClosedError: The client was closed meanwhile.
            SunoError: As by `retrying` and `once`.
        """
        what = f"{request.method} {request.path}"
        return await self.until_closed(
            self.retrying(
                lambda permit: self.once(request, read, permit),
                _is_passing,
                what,
                waits_out=waits_out,
            )
        )

    async def confirm_key(self) -> None:
        """Ask for the balance once, to learn whether the key is really refused.

        Raises:
            AuthenticationError: It is.
            SunoError: There was no verdict.
        """
        permit = await self.limiter.acquire()
        await self.once(_wire.balance_request(), _wire.read_balance, permit)

    async def retrying(
        self,
        attempt: Callable[[Permit], Awaitable[T]],
        is_worth_it: Callable[[SunoError], bool],
        what: str,
        *,
        waits_out: bool = False,
    ) -> T:
        """Call `attempt` with a permit, again after each error that `is_worth_it` accepts.

        Args:
            attempt: Makes one exchange.
            is_worth_it: Decides whether another attempt may help and does no harm.
            what: The name of the exchange in the log.
            waits_out: Wait for the end of every pause of the account, however long. Otherwise
                pauses, and waiting for a permit, count against ``retry_for``. Where retries are
                switched off, the one attempt waits ``request_timeout`` for its permit.

        Raises:
            SunoError: The last error, or the reason of a pause that ends too late.
        """
        started = self._loop.time()
        give_up_at = started + self._retry_for
        permit_by = None if waits_out else max(give_up_at, started + self.request_timeout)
        number = 0
        while True:
            asked = self._loop.time()
            permit = await self.limiter.acquire(permit_by)
            if waits_out:
                # A pause must not use up the time for retries.
                give_up_at += self._loop.time() - asked
            try:
                return await attempt(permit)
            except SunoError as error:
                if not is_worth_it(error):
                    raise
                if isinstance(error, RateLimitError | MaintenanceError):
                    # The limiter holds the whole account back.
                    delay = 0.0
                    if waits_out:
                        give_up_at = self._loop.time() + self._retry_for
                else:
                    delay = retry_delay(number, random.random())  # noqa: S311 (jitter, no secret)
                if self._loop.time() + delay >= give_up_at:
                    raise
                logger.info("%s: %s; retrying in %.1f s", what, error, delay)
            number += 1
            await asyncio.sleep(delay)

    async def until_closed(self, work: Coroutine[Any, Any, T]) -> T:
        """Await `work`, and end it when the client is closed.

        Raises:
            ClientClosedError: The client was closed before or meanwhile.
        """
        if self.closed:
            work.close()
            raise ClientClosedError("this SunoClient is closed; make a new one")
        scope = asyncio.timeout(None)
        try:
            async with scope:
                self._calls.add(scope)
                return await work
        except TimeoutError:
            # `RequestTimeoutError` is one, too.
            if not scope.expired():
                raise
        finally:
            self._calls.discard(scope)
            self._no_calls.set()
        raise ClientClosedError("the client was closed during this call")

    def _heed(self, error: APIError, started: float) -> None:
        """Draw the consequences of a refusal for the whole account."""
        now = self._loop.time()
        if isinstance(error, AuthenticationError):
            if error.understood:
                self.gate.key_refused(started, now)
            return
        if error.understood and self.gate.suspected:
            self.gate.key_accepted(started)
        if isinstance(error, InsufficientCreditsError):
            self.gate.credit_refused(now)
        elif isinstance(error, RateLimitError):
            self.limiter.rate_exceeded(error.retry_after)
        elif isinstance(error, MaintenanceError):
            wait = error.retry_after
            self.limiter.pause(PAUSE_MAINTENANCE if wait is None else wait)

    async def _exchange(
        self, request: _wire.Request, permit: Permit
    ) -> tuple[int, Mapping[str, str], bytes]:
        session = self._session if request.method == "GET" else self._creates
        if session.closed:
            raise ClientClosedError("the aiohttp session of this SunoClient is closed")
        url = self._urls.get(request.path)
        if url is None:
            url = self._account.base_url.joinpath(request.path.lstrip("/"))
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
                return response.status, response.headers, self._account.redacted(body)
        except (TimeoutError, OSError, aiohttp.ClientError) as error:
            failure = _translate(error, self._account.base_url.authority)
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
            headers=self._account.headers,
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
            (await self.limiter.acquire()).sent()


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


def _is_passing(error: SunoError) -> bool:
    return isinstance(
        error,
        TransportError | ResponseError | ServerError | RateLimitError | MaintenanceError,
    )
