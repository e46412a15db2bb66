"""One exchange: permit, send, read, classify, retry. aiohttp's errors end here.

They must not escape: their repr carries the request's headers, and with them the key. Ours are
raised outside the ``except`` block, so that not even ``__context__`` leads back to them.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import random
import weakref
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

import aiohttp
from aiohttp import http_exceptions
from yarl import URL

from suno_async import _wire
from suno_async._gate import CircuitBreaker
from suno_async._limiter import PAUSE_MAINTENANCE, AccountLimiter, Permit, limiter_for
from suno_async._policy import retry_delay
from suno_async.errors import (
    APIError,
    AuthenticationError,
    ConfigurationError,
    ConnectionLostError,
    CreateOutcomeUnknownError,
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
    from collections.abc import Callable, Mapping

    from aiohttp.connector import Connection

logger = logging.getLogger("suno_async")

BASE_URL = "https://api.crun.ai"

#: Seconds to establish a connection, TLS included.
CONNECT_TIMEOUT = 10.0

T = TypeVar("T")


class Account:
    """A key and the host it belongs to. The key leaves it only into a request's header."""

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
        self.headers = {"x-api-key": key, "Content-Type": "application/json"}
        digest = hashlib.blake2b(f"{key}\n{self.base_url}".encode(), digest_size=16)
        self.digest = digest.hexdigest()

    def __repr__(self) -> str:
        return f"<Account at {self.base_url}>"


def _environment(*names: str) -> str | None:
    return next((value for name in names if (value := os.environ.get(name))), None)


#: The permit of the exchange that the running task is making.
_permit: ContextVar[Permit] = ContextVar("suno_async permit")


class _Request(aiohttp.ClientRequest):
    """A request that tells its permit when it leaves: its connection is open, its headers are next.

    A trace (`on_request_headers_sent`) would tell the same, for a tenth of the CPU of a poll.
    """

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        _permit.get().left()
        return await super().send(conn)


class Transport:
    """The exchanges of one client with the API host."""

    def __init__(
        self,
        account: Account,
        *,
        session: aiohttp.ClientSession | None,
        rate: float,
        timeout: float,
        retry_for: float,
    ) -> None:
        """Open the sessions; needs a running event loop."""
        self._account = account
        self._injected = session is not None
        # Our own sessions have the headers for good: merging them in would cost at each request.
        self._headers = account.headers if self._injected else None
        self._urls: dict[str, URL] = {}
        self._timeout = aiohttp.ClientTimeout(total=timeout, connect=min(CONNECT_TIMEOUT, timeout))
        self._retry_for = retry_for
        self._loop = asyncio.get_running_loop()
        # The asyncio tasks that make a create, and those of them that shall try only once more.
        self._spending: dict[asyncio.Task[Any] | None, Permit] = {}
        self._last_tries: weakref.WeakSet[asyncio.Task[Any] | None] = weakref.WeakSet()
        self.gate = CircuitBreaker()
        self.limiter: AccountLimiter = limiter_for(account.digest, rate)
        # The limiter bounds the requests, so the pools need no limits of their own.
        self._session = session or _open_session(account, aiohttp.TCPConnector(limit=0))
        # A create must not ride a kept connection that the server may just be closing: whether it
        # was accepted could not be told. So each takes a connection of its own.
        self._creates = session or _open_session(
            account, aiohttp.TCPConnector(limit=0, force_close=True)
        )

    async def close(self) -> None:
        """Close the sessions, unless they were injected."""
        if not self._injected:
            await self._session.close()
            await self._creates.close()

    def leave(self, task: asyncio.Task[Any]) -> bool:
        """Cancel an asyncio task, but if its create is on its way, only keep it from another try.

        Whoever cancels a create on its way loses a task that may be paid for. True if cancelled.
        """
        permit = self._spending.get(task)
        if permit is None or permit.left_at is None:
            return task.cancel()
        self._last_tries.add(task)
        return False

    async def once(
        self,
        request: _wire.Request,
        read: Callable[[int, Mapping[str, str], bytes], T],
        permit: Permit | None = None,
        *,
        spends: bool = False,
    ) -> T:
        """Make one exchange, with `permit` or one of its own; `spends` if it costs credits.

        Raises:
            TransportError: No reply came.
            ResponseError: A reply came that cannot be understood.
            APIError: The server refused.
        """
        permit = permit or await self.limiter.acquire()
        try:
            # Not earlier: while it waited for its permit, others may have been refused.
            self.gate.check(self._loop.time(), spends=spends)
            if spends:
                self._spending[asyncio.current_task()] = permit
            reply = await self._exchange(request, permit)
        finally:
            permit.cancel()
            if spends:
                self._spending.pop(asyncio.current_task(), None)
        try:
            value = read(*reply)
        except AuthenticationError as error:
            if error.understood:
                self.gate.key_refused(permit.left_at or 0.0, self._loop.time())
            raise
        except InsufficientCreditsError:
            self.gate.credit_refused(self._loop.time())
            raise
        except RateLimitError as error:
            self.limiter.rate_exceeded(error.retry_after)
            raise
        except MaintenanceError as error:
            wait = error.retry_after
            self.limiter.pause(PAUSE_MAINTENANCE if wait is None else wait)
            raise
        self.gate.key_accepted(permit.left_at or 0.0)
        return value

    async def confirm_key(self) -> None:
        """Ask for the balance once, to confirm or refute that the key is refused.

        Raises:
            AuthenticationError: The key is refused again.
            SunoError: The server gave no verdict.
        """
        await self.once(_wire.balance_request(), _wire.read_balance)

    async def get(
        self,
        request: _wire.Request,
        read: Callable[[int, Mapping[str, str], bytes], T],
    ) -> T:
        """Make one exchange that changes nothing, again if it fails for a passing reason."""
        return await self._retrying(request, read, _is_passing)

    async def create(self, request: _wire.Request, kind: str) -> str:
        """Create a task; again only if it certainly was not accepted.

        Raises:
            CreateOutcomeUnknownError: It may or may not have been accepted.
            SunoError: It was refused, or could not be sent.
        """
        unknown: str
        try:
            return await self._retrying(request, _wire.read_created, _was_not_accepted, spends=True)
        except (ConnectionLostError, RequestTimeoutError, ResponseError) as error:
            unknown = str(error)
        except APIError as error:
            # What stands in front of the API does not know what the API did, and a 500 may have
            # come after the charge.
            if error.understood and not isinstance(error, ServerError):
                raise
            if isinstance(error, RateLimitError | MaintenanceError):
                raise
            unknown = str(error)
        raise CreateOutcomeUnknownError(unknown, kind, request.body or b"")

    async def _retrying(
        self,
        request: _wire.Request,
        read: Callable[[int, Mapping[str, str], bytes], T],
        is_worth_it: Callable[[SunoError], bool],
        *,
        spends: bool = False,
    ) -> T:
        loop = self._loop
        give_up_at = loop.time() + self._retry_for
        attempt = 0
        while True:
            try:
                return await self.once(request, read, spends=spends)
            except SunoError as error:
                # Not the limiter's jitter but a retry's: no secret depends on it.
                delay = retry_delay(attempt, random.random())  # noqa: S311
                if isinstance(error, RateLimitError | MaintenanceError):
                    delay = 0.0  # the limiter holds the whole account back
                is_last = loop.time() + delay >= give_up_at
                if is_last or not is_worth_it(error) or asyncio.current_task() in self._last_tries:
                    raise
                logger.info("%s %s: %s; trying again", request.method, request.path, error)
            attempt += 1
            await asyncio.sleep(delay)

    async def _exchange(
        self, request: _wire.Request, permit: Permit
    ) -> tuple[int, Mapping[str, str], bytes]:
        session = self._session if request.method == "GET" else self._creates
        url = self._urls.get(request.path)
        if url is None:
            url = self._account.base_url.joinpath(request.path.lstrip("/"))
            self._urls[request.path] = url
        _permit.set(permit)
        if self._injected:
            # An injected session makes requests that are not ours: count it from here.
            permit.left()
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
            ) as response:
                permit.answered()
                body = await response.read()
                return response.status, response.headers, body
        except (TimeoutError, OSError, aiohttp.ClientError) as error:
            failure = _translate(error, left=permit.left_at is not None, injected=self._injected)
        except (http_exceptions.HttpProcessingError, EOFError, ValueError) as error:
            failure = ResponseError(f"no HTTP reply ({type(error).__name__})")
        raise failure


def _open_session(account: Account, connector: aiohttp.BaseConnector) -> aiohttp.ClientSession:
    session = aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=account.headers,
        request_class=_Request,
    )
    # aiohttp silently sends a GET again when a kept connection breaks: a request past the budget.
    # There is no public switch; its own test client sets this one.
    session._retry_connection = False  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    return session


def _translate(error: Exception, *, left: bool, injected: bool) -> SunoError:
    """Our error for one of aiohttp's: the class tells whether the request left."""
    what = type(error).__name__
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return NotSentError(f"could not connect ({what})")
    if not left and not injected:
        return NotSentError(f"the request did not leave ({what})")
    if isinstance(error, TimeoutError):
        return RequestTimeoutError(f"no reply in time ({what})")
    if isinstance(error, aiohttp.ClientResponseError):
        return ResponseError(f"no HTTP reply ({what})", error.status)
    return ConnectionLostError(f"the connection broke ({what})")


def _is_passing(error: SunoError) -> bool:
    return isinstance(
        error,
        TransportError | ResponseError | ServerError | RateLimitError | MaintenanceError,
    )


def _was_not_accepted(error: SunoError) -> bool:
    return isinstance(error, NotSentError | RateLimitError | MaintenanceError)
