"""Every exchange with the API: permit, send, read, classify, retry."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING, Any, TypeVar

from suno_async._protocol.replies import read_balance
from suno_async._protocol.requests import Request, balance_request
from suno_async.errors import (
    APIError,
    AuthenticationError,
    ClientClosedError,
    InsufficientCreditsError,
    MaintenanceError,
    RateLimitError,
    ResponseError,
    ServerError,
    SunoError,
    TransportError,
)
from suno_async.limits.local import PAUSE_MAINTENANCE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping

    from suno_async._transport.account import Account
    from suno_async._transport.http import Sender
    from suno_async.limits.base import Permit
    from suno_async.telemetry import Observer

logger = logging.getLogger("suno_async")

T = TypeVar("T")


class Transport:
    """The exchanges of one client with the API host."""

    def __init__(
        self,
        account: Account,
        sender: Sender,
        *,
        observer: Observer,
        request_timeout: float,
        retry_for: float,
    ) -> None:
        """Need a running event loop."""
        self._sender = sender
        self._observer = observer
        self.request_timeout = request_timeout
        self._retry_for = retry_for
        self._loop = asyncio.get_running_loop()
        # The scopes of direct calls: closing ends them.
        self._calls: set[asyncio.Timeout] = set()
        self._no_calls = asyncio.Event()
        self.closed = False
        self.breaker = account.breaker
        self.limiter = account.limiter

    def end_calls(self) -> None:
        """End direct calls with `ClientClosedError`, those under way and those to come."""
        self.closed = True
        for scope in self._calls:
            # A scope that has expired is about to end, and refuses a new time.
            if not scope.expired():
                scope.reschedule(self._loop.time())

    async def close(self) -> None:
        """End direct calls, and close the sender."""
        self.end_calls()
        while self._calls:
            self._no_calls.clear()
            await self._no_calls.wait()
        await self._sender.close()

    async def once(
        self,
        request: Request,
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
            self.breaker.check(self._loop.time(), spends=spends)
            started = self._loop.time()
            self._observer.request_sent(request.method, request.path)
            try:
                result = read(*await self._sender.send(request, permit))
            except SunoError as error:
                self._finished(request, started, error)
                raise
        finally:
            permit.cancel()
        self._finished(request, started, None)
        return result

    async def get(
        self,
        request: Request,
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
        await self.once(balance_request(), read_balance, permit)

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
        permit_by = None
        if not waits_out:
            permit_by = give_up_at if self._retry_for else started + self.request_timeout
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

    def _finished(self, request: Request, started: float, error: SunoError | None) -> None:
        """Report the end of an exchange, and draw its consequences for the whole account."""
        seconds = self._loop.time() - started
        self._observer.request_finished(request.method, request.path, seconds, error)
        if isinstance(error, APIError):
            self._heed(error, started)
        elif error is None and self.breaker.suspected:
            self.breaker.key_accepted(started)

    def _heed(self, error: APIError, started: float) -> None:
        now = self._loop.time()
        if isinstance(error, AuthenticationError):
            if error.understood:
                self.breaker.key_refused(started, now)
            return
        if error.understood and self.breaker.suspected:
            self.breaker.key_accepted(started)
        if isinstance(error, InsufficientCreditsError):
            self.breaker.credit_refused(now)
        elif isinstance(error, RateLimitError):
            self._observer.rate_limited(error.retry_after)
            self.limiter.rate_exceeded(error.retry_after)
        elif isinstance(error, MaintenanceError):
            wait = error.retry_after
            self.limiter.pause(PAUSE_MAINTENANCE if wait is None else wait)
        else:
            return
        if not isinstance(error, InsufficientCreditsError) and (pause := self.limiter.paused):
            self._observer.paused(pause.until - now, pause.reason)


def _is_passing(error: SunoError) -> bool:
    return isinstance(
        error,
        TransportError | ResponseError | ServerError | RateLimitError | MaintenanceError,
    )


def retry_delay(attempt: int, random: float, *, first: float = 1.0, longest: float = 30.0) -> float:
    """Seconds to wait before trying again, after `attempt` (0, 1, …) failures.

    Exponential backoff with equal jitter: half is certain, half is drawn by `random` in [0, 1).
    """
    grown = min(first * 2.0 ** min(attempt, 16), longest)
    return grown * (0.5 + random / 2)
