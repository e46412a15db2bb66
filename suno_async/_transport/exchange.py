"""Send requests to the API: wait for a permit of the limiter, decode replies, retry after errors.

An exchange is one request and its reply.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING, Any, TypeVar

from suno_async._clock import loop_time
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
from suno_async.telemetry import NullObserver

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping

    from suno_async._transport.account import Account
    from suno_async._transport.http import Sender
    from suno_async.limits.base import Permit
    from suno_async.telemetry import Observer

logger = logging.getLogger("suno_async")

T = TypeVar("T")


class Transport:
    """Sends the requests of one client to the API, and decodes the replies."""

    def __init__(
        self,
        account: Account,
        sender: Sender,
        *,
        observer: Observer,
        request_timeout: float,
        retry_for: float,
    ) -> None:
        """Create the transport. A running event loop is required.

        Args:
            account: The account, with the limiter and the circuit breaker.
            sender: Sends the requests. `close` closes it.
            observer: Receives the events of the requests.
            request_timeout: Time limit of one request, in seconds.
            retry_for: How long a request is retried, in seconds. 0 means one attempt.
        """
        self._sender = sender
        self._observer = observer
        self._is_observed = type(observer) is not NullObserver
        self.request_timeout = request_timeout
        self._retry_for = retry_for
        self._now = loop_time(asyncio.get_running_loop())
        # The timeout scopes of direct calls. Closing the client makes all of them expire.
        self._calls: set[asyncio.Timeout] = set()
        self._no_calls = asyncio.Event()
        self.closed = False
        self.breaker = account.breaker
        self.limiter = account.limiter

    def end_calls(self) -> None:
        """Make every current and future call of `until_closed` raise `ClientClosedError`."""
        self.closed = True
        for scope in self._calls:
            # An expired scope ends on its own, and raises if it is rescheduled.
            if not scope.expired():
                scope.reschedule(self._now())

    async def close(self) -> None:
        """End the calls of `until_closed`, wait until they have ended, and close the sender."""
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
        """Send a request once. Return the decoded reply.

        Args:
            request: The request.
            read: Decodes the reply.
            permit: The permit of the limiter for this request.
            spends: Whether the request costs credits.

        Raises:
            TransportError: No reply arrived.
            ResponseError: The reply could not be decoded.
            APIError: The server returned an error, or the circuit breaker is open.
            ClientClosedError: The aiohttp session that the caller passed is closed.
        """
        try:
            # Check only now: other requests may have been refused while this request waited for its
            # permit.
            started = self._now()
            self.breaker.check(started, spends=spends)
            if self._is_observed:
                self._observer.request_sent(request.method, request.path)
            try:
                result = read(*await self._sender.send(request, permit))
            except SunoError as error:
                self._failed(request, started, error)
                raise
        finally:
            permit.cancel()
        if self._is_observed:
            seconds = self._now() - started
            self._observer.request_finished(request.method, request.path, seconds, None)
        if self.breaker.suspected_at is not None:
            self.breaker.key_accepted(started)
        return result

    async def get(
        self,
        request: Request,
        read: Callable[[int, Mapping[str, str], bytes], T],
        *,
        waits_out: bool = False,
    ) -> T:
        """Send a request that changes nothing at the server. Return the decoded reply.

        Retry after temporary errors; see `retrying` for `waits_out`.

        Raises:
            ClientClosedError: The client was closed before or during the call.
            SunoError: The exchange failed, as described in `retrying` and `once`.
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
        """After a refusal of the API key, request the balance once to check the key again.

        Raises:
            AuthenticationError: The server refuses the key again. Or, during the wait for a
                permit, it refused another request, and the circuit breaker opened.
            SunoError: The request failed, so it is unknown whether the key is valid.
        """
        permit = await self.limiter.acquire()
        await self.once(balance_request(), read_balance, permit)

    async def check_key(self, sender: Sender) -> None:
        """Request the balance once, to find out whether the server accepts the key of `sender`.

        Raises:
            AuthenticationError: The server refuses this key.
            SunoError: The request failed, so it is unknown whether the key is valid.
        """
        permit = await self.limiter.acquire(self._now() + self.request_timeout)
        try:
            read_balance(*await sender.send(balance_request(), permit))
        except APIError as error:
            # Not `_heed`: a reply to another key says nothing about the key of this account.
            self._pause_after(error)
            raise
        finally:
            permit.cancel()

    async def retrying(
        self,
        attempt: Callable[[Permit], Awaitable[T]],
        is_worth_it: Callable[[SunoError], bool],
        what: str,
        *,
        waits_out: bool = False,
    ) -> T:
        """Call `attempt` with a permit of the limiter, and return the result. Retry after errors.

        After an error that `is_worth_it` accepts, call `attempt` again with a new permit. Stop
        after ``retry_for`` seconds (an argument of `Transport`). If ``retry_for`` is 0, make only
        one attempt.

        Args:
            attempt: Sends one request and returns the decoded reply.
            is_worth_it: Takes the error of an attempt. Returns whether a further attempt is safe
                and may succeed.
            what: The name of the request in the log.
            waits_out: Whether to wait for each permit without a time limit, even during a pause of
                the account. If True, this wait does not count toward ``retry_for``, and
                ``retry_for`` starts again after each 429 or 455. If False, this wait counts toward
                ``retry_for``, but if ``retry_for`` is 0, it may take up to ``request_timeout``
                seconds.

        Raises:
            SunoError: The last attempt failed, a pause ends too late for another attempt, or no
                permit was available in time.
        """
        started = self._now()
        give_up_at = started + self._retry_for
        permit_by = None
        if not waits_out:
            permit_by = give_up_at if self._retry_for else started + self.request_timeout
        number = 0
        while True:
            asked = self._now()
            permit = await self.limiter.acquire(permit_by)
            if waits_out:
                # A pause must not use up the time for retries.
                give_up_at += self._now() - asked
            try:
                return await attempt(permit)
            except SunoError as error:
                if not is_worth_it(error):
                    raise
                delay = retry_delay(number, random.random())  # noqa: S311 (jitter, no secret)
                held_back = False
                if isinstance(error, RateLimitError | MaintenanceError):
                    # A pause already delays all requests. A Retry-After of 0 causes no pause.
                    if self.limiter.paused is not None:
                        delay = 0.0
                    if waits_out:
                        give_up_at = self._now() + delay + self._retry_for
                        # A pause began before the request was sent, so this was no attempt.
                        held_back = not error.status
                if self._now() + delay >= give_up_at and not held_back:
                    raise
                logger.info("%s: %s; retrying in %.1f s", what, error, delay)
            number += 1
            await asyncio.sleep(delay)

    async def until_closed(self, work: Coroutine[Any, Any, T]) -> T:
        """Await `work` and return its result. If the client is closed, cancel `work`.

        Raises:
            ClientClosedError: The client was closed before or during the call.
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
            # The error may also be a `RequestTimeoutError` of the call itself.
            if not scope.expired():
                raise
        finally:
            self._calls.discard(scope)
            self._no_calls.set()
        raise ClientClosedError("the client was closed during this call")

    def _failed(self, request: Request, started: float, error: SunoError) -> None:
        """Report the error of an exchange to the observer, the limiter and the circuit breaker."""
        seconds = self._now() - started
        self._observer.request_finished(request.method, request.path, seconds, error)
        if isinstance(error, APIError):
            self._heed(error, started)

    def _heed(self, error: APIError, started: float) -> None:
        now = self._now()
        if isinstance(error, AuthenticationError):
            if error.understood:
                self.breaker.key_refused(started, now, error.code)
            return
        if error.understood and self.breaker.suspected_at is not None:
            self.breaker.key_accepted(started)
        if isinstance(error, InsufficientCreditsError):
            self.breaker.credit_refused(now)
        self._pause_after(error)

    def _pause_after(self, error: APIError) -> None:
        """Pause the account if the error is a 429 or a 455."""
        if isinstance(error, RateLimitError):
            self._observer.rate_limited(error.retry_after)
            self.limiter.rate_exceeded(error.retry_after)
        elif isinstance(error, MaintenanceError):
            wait = error.retry_after
            self.limiter.pause(PAUSE_MAINTENANCE if wait is None else wait)
        else:
            return
        if pause := self.limiter.paused:
            self._observer.paused(pause.until - self._now(), pause.reason)


def _is_passing(error: SunoError) -> bool:
    return isinstance(
        error,
        TransportError | ResponseError | ServerError | RateLimitError | MaintenanceError,
    )


def retry_delay(attempt: int, random: float, *, first: float = 1.0, longest: float = 30.0) -> float:
    """Return the seconds to wait before the next attempt: exponential backoff with equal jitter.

    Half of the delay is fixed. The other half is random, so that clients do not retry together.

    Args:
        attempt: The number of the failed attempt, starting at 0.
        random: A random number in [0, 1).
        first: The upper limit of the delay after the first attempt, in seconds. The limit doubles
            with each attempt.
        longest: The limit does not grow above this number of seconds.
    """
    grown = min(first * 2.0 ** min(attempt, 16), longest)
    return grown * (0.5 + random / 2)
