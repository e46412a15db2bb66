"""The limiter for one event loop: by default, at most 15 requests reach the server in any second.

A *permit* is the permission to send one request. Three mechanisms decide when a caller gets a
permit:

- The *turn* is a lock that serves callers in order. aiolimiter alone does not do this.
- The *window* counts the requests that may arrive at the server within the same second. By
  default, it never allows more than 15.
- The *bucket* is an `aiolimiter.AsyncLimiter` of size one. It spreads permits evenly over the
  second, so it prevents bursts.

Two more conditions apply. No permit is granted during a pause (after a 429 or a 455), or while the
number of clients that share the account is out of date (see `LocalLimiter.share`).
"""

from __future__ import annotations

import asyncio
import logging
import math
import weakref
from collections import deque

from aiolimiter import AsyncLimiter

from suno_async._clock import loop_time
from suno_async.errors import ConfigurationError, NotSentError
from suno_async.limits.base import Pause, check_pause

logger = logging.getLogger("suno_async")

#: Maximum number of requests of an account in any window of one second (docs/contract.md,
#: "Basics").
RATE_LIMIT = 15.0

#: Longest delay in seconds that a request is assumed to have on its way to the server. It also
#: limits the cost of slow replies: if all replies are slow, 15 requests take 1.06 s, so 94 % of the
#: budget can be used.
JITTER = 0.06

#: Length of the window in seconds: one second, and 2 ms for differences between the clocks.
WINDOW = 1.002

#: A 429 outside a pause reduces the rate by a fifth, but not below `LOWEST_RATE` requests per
#: second. During a pause, a 429 does not reduce the rate. After the pause and `RECOVERY_PERIOD`
#: seconds without a 429, the next request for a permit multiplies the rate by `RECOVERY_FACTOR`, up
#: to the maximum. The next period then begins, so a longer time without requests does not increase
#: the rate further.
CUT = 0.8
RECOVERY_FACTOR = 1.05
RECOVERY_PERIOD = 10.0
LOWEST_RATE = 1.0

#: Seconds of pause after a 429 and after a 455, if the reply has no Retry-After. A 455 means
#: maintenance "for minutes" (docs/contract.md, "Codes").
PAUSE_429 = 1.0
PAUSE_MAINTENANCE = 60.0

#: Default for the longest pause in seconds. It applies even if the server asks for more.
MAX_PAUSE = 120.0

_RATE_SPAN = 10.0

#: Maximum number of permits from which `LocalLimiter.recent_rate` is calculated.
_MOST_RECENT = 1e6

#: A pause that becomes longer by less than this many seconds is not logged again.
_LOG_STEP = 1.0


_NO_PAUSE = Pause(-math.inf, 0)


class LocalPermit:
    """Permission to send one request now.

    The limiter's *window* counts the requests that may reach the server within the same second. The
    client cannot see when a request arrives. The limiter assumes that it has arrived when the reply
    arrives, or `JITTER` seconds after it was sent, whichever is earlier. For `WINDOW` seconds after
    this time, the request still counts.

    A request counts as sent when its connection is open, so the duration of the handshake does not
    matter. If the caller passed an aiohttp session, the client cannot see when a connection opens.
    Then a request counts as sent before its connection is open. So more than 15 requests may arrive
    in one second while new connections take longer than `JITTER` to open.

    Attributes:
        sent_at: Loop time at which the request was sent; None if it was not sent yet.
        counts_until: Loop time until which the request counts in the window; infinity before it is
            sent.
    """

    # Why not assume that a request arrived at the time of its reply minus the shortest round trip
    # measured so far? Each request would leave the window earlier, so more requests could be sent.
    # But the first measured round trips may all be longer than later round trips. Then requests
    # leave the window too early, and a strict server receives 16 requests in a second.

    __slots__ = ("__weakref__", "_limiter", "counts_until", "sent_at")

    def __init__(self, limiter: LocalLimiter) -> None:
        self._limiter = limiter
        self.sent_at: float | None = None
        self.counts_until = math.inf

    def sent(self) -> None:
        """Record that the request is being sent."""
        if self.sent_at is None:
            self.sent_at = now = self._limiter.now()
            self._count_until(now + JITTER + WINDOW)

    def answered(self) -> None:
        """Record that the headers of the reply arrived."""
        if self.sent_at is not None:
            self._count_until(self._limiter.now() + WINDOW)

    def cancel(self) -> None:
        """If the request was not sent, return the permit to the limiter. Otherwise do nothing.

        A returned permit still uses its time slot in the limiter's bucket.
        """
        if self.sent_at is None:
            self._limiter.returned(self)

    def _count_until(self, when: float) -> None:
        if when < self.counts_until:
            self.counts_until = when
            self._limiter.leaves_window(when)


class LocalLimiter:
    """Grants permits to send requests, for one account in one event loop.

    Args:
        rate: Requests per second. The vendor allows 15 (API contract, "Limits and advice"). A
            higher rate is only useful for other servers, such as a test server.
        max_pause: Longest pause in seconds, even if the server asks for more.

    Attributes:
        granted: Number of permits granted so far. Permits that were returned unused do not count.
        rate_limited: Number of replies with the error code 429.
        now: A function that returns the current loop time in seconds.

    Raises:
        ConfigurationError: `rate` is not a finite number above 0, or `max_pause` is not above 0.
    """

    def __init__(self, rate: float = RATE_LIMIT, max_pause: float = MAX_PAUSE) -> None:
        """Create a limiter for the running event loop."""
        if not _is_above_0(rate) or rate == math.inf:
            raise ConfigurationError(f"rate must be a finite number above 0, not {rate!r}")
        if not _is_above_0(max_pause):
            raise ConfigurationError(f"max_pause must be above 0, not {max_pause!r}")
        self._loop = asyncio.get_running_loop()
        self.now = loop_time(self._loop)
        self._turn = asyncio.Lock()
        self._limit: float = rate
        self._whole: float = rate
        self._shares: weakref.WeakKeyDictionary[object, tuple[int, float]]
        self._shares = weakref.WeakKeyDictionary()
        self._shared_until = math.inf
        self._max_pause = max_pause
        self._most = max(1, math.floor(rate))
        self._rate: float = rate
        #: Upper limit of the rate because of earlier 429s; infinity if there is no such limit.
        self._reduced: float = math.inf
        self._bucket = AsyncLimiter(1, 1 / rate)
        self._bucket_is_new = False
        # The window. It can also contain permits that no longer count (see `_is_full`).
        self._window: set[LocalPermit] = set()
        self._tidy_at = 0
        self._pause = _NO_PAUSE
        self._recover_at = math.inf
        self._waiting: asyncio.Future[None] | None = None
        self._waiting_until = -math.inf
        # Callers with a `give_up_at`.
        self._impatient: dict[asyncio.Timeout, float] = {}
        self._recent: deque[float] = deque(maxlen=math.ceil(min(rate * _RATE_SPAN, _MOST_RECENT)))
        self._started = self.now()
        self.granted = 0
        self.rate_limited = 0

    @property
    def rate(self) -> float:
        """Requests per second that are currently allowed.

        The rate is reduced for a while after a 429. It is also reduced while other live clients use
        the same account and the same journal.
        """
        return self._rate

    @property
    def paused(self) -> Pause | None:
        """The current pause; None if there is none."""
        return self._pause if self._pause.until > self.now() else None

    @property
    def recent_rate(self) -> float:
        """Permits granted per second, over the last ten seconds.

        If the limiter is younger than ten seconds, this is the average over its age, but over at
        least one second.
        """
        now = self.now()
        span = max(1.0, min(_RATE_SPAN, now - self._started))
        return sum(1 for granted in self._recent if granted > now - span) / span

    def tighten(self, rate: float, max_pause: float) -> None:
        """Apply the settings of another client of the account.

        For each setting, the lower of the old and the new value takes effect. The current pause
        ends at most this `max_pause` from now.
        """
        self._max_pause = min(self._max_pause, max_pause)
        latest = self.now() + self._max_pause
        if self._pause.until > latest:
            self._pause = self._pause._replace(until=latest)
            self._wake()
        self._whole = min(self._whole, rate)
        self._apply_shares()

    def share(self, clients: int, counted_by: object, until: float = math.inf) -> None:
        """Divide the rate by `clients`, because clients in several processes share the account.

        Args:
            clients: Number of these clients. With 1, this limiter may use the whole rate.
            counted_by: The object that counted the clients. If several objects report a number, the
                highest number takes effect.
            until: Loop time at which the number expires. After this time, no permit is granted
                before the same object calls `share` again.
        """
        self._shares[counted_by] = clients, until
        self._shared_until = min(each for _, each in self._shares.values())
        self._apply_shares()
        self._wake()

    def _apply_shares(self) -> None:
        most = max((clients for clients, _ in self._shares.values()), default=1)
        self._set_limit(self._whole / most)

    async def acquire(self, give_up_at: float | None = None) -> LocalPermit:
        """Wait for permission to send one request. A cancelled wait uses no permit.

        Args:
            give_up_at: Loop time at which to stop waiting. If None, wait without a limit, even
                during pauses.

        Raises:
            RateLimitError: A pause after a 429 ends later than `give_up_at`. The error is raised
                at once.
            MaintenanceError: A pause after a 455 ends later than `give_up_at`. The error is raised
                at once.
            NotSentError: No permit was available before `give_up_at`.
        """
        if give_up_at is not None:
            return await self._acquire_before(give_up_at)
        # `async with` would add two coroutines to every request.
        await self._turn.acquire()
        try:
            now = self.now()
            if now >= self._recover_at:
                self._recover()
            while True:
                while (ready := self._ready_at(now)) > now:
                    await self._sleep_until(ready)
                    now = self.now()
                bucket = self._bucket
                if self._bucket_is_new:
                    # Fill the new bucket. An empty bucket would grant a permit at once, even right
                    # after the last request.
                    self._bucket_is_new = False
                    await bucket.acquire()
                await bucket.acquire()
                # Wait for the bucket again if a pause began, or if the bucket was replaced.
                # Otherwise this caller and the next one would send at the same time.
                now = self.now()
                is_allowed = self._pause.until <= now <= self._shared_until
                if bucket is self._bucket and is_allowed and not self._is_full(now):
                    break
            permit = LocalPermit(self)
            self._window.add(permit)
            self._recent.append(now)
            self.granted += 1
            return permit
        finally:
            self._turn.release()

    async def _acquire_before(self, give_up_at: float) -> LocalPermit:
        check_pause(self.paused, give_up_at, self.now())
        try:
            async with asyncio.timeout_at(give_up_at) as scope:
                self._impatient[scope] = give_up_at
                try:
                    return await self.acquire()
                finally:
                    del self._impatient[scope]
        except TimeoutError:
            pass
        check_pause(self.paused, give_up_at, self.now())
        raise NotSentError(
            "not sent within the time limit: the request budget allowed no further request"
        )

    def rate_exceeded(self, retry_after: float | None) -> None:
        """Pause the account and reduce the rate after a 429.

        If the account is already paused (after a 429 or a 455), do not reduce the rate. The pause
        may get longer, but it ends at most `max_pause` seconds from now.

        Args:
            retry_after: Seconds that the server asks to wait. None means that the server gave no
                time; the pause then takes `PAUSE_429` seconds. 0 means no new pause.
        """
        self.rate_limited += 1
        if self.paused is None:
            self._reduced = max(min(LOWEST_RATE, self._limit), self._rate * CUT)
            self._set_rate(self._reduced)
        self.pause(PAUSE_429 if retry_after is None else retry_after, 429)
        self._recover_at = self._pause.until + RECOVERY_PERIOD

    def pause(self, seconds: float, code: int = 455) -> None:
        """Grant no permits for `seconds`, but at most for `max_pause` seconds.

        If the current pause ends later than this new pause, the current pause stays in effect.
        `code` is the error code that caused the new pause.
        """
        before, now = self.paused, self.now()
        pause = Pause(now + min(seconds, self._max_pause), code)
        if pause.until <= self._pause.until:
            return
        self._pause = pause
        is_later = pause.until > (now if before is None else before.until + _LOG_STEP)
        if is_later:
            logger.warning("account paused for %.1f s: %s", pause.until - now, pause.reason)
        for scope, give_up_at in self._impatient.items():
            # An expired scope ends on its own, and raises if it is rescheduled.
            if give_up_at < pause.until and not scope.expired():
                scope.reschedule(now)

    def leaves_window(self, when: float) -> None:
        """Note that a request leaves the window at the loop time `when`.

        The module docstring explains the window. If the caller that waits for a permit would wake
        later than `when`, wake it now, so that it shortens its wait.
        """
        if when < self._waiting_until:
            self._wake()

    def returned(self, permit: LocalPermit) -> None:
        """Take back a permit whose request was not sent.

        The permit still uses its time slot in the bucket (see the module docstring). If the permit
        was taken back before, do nothing.
        """
        if permit not in self._window:
            return
        self._window.remove(permit)
        self.granted -= 1
        if self._recent:
            self._recent.pop()
        self._wake()

    def _set_limit(self, limit: float) -> None:
        """Change the maximum rate. A reduction after a 429 stays in effect."""
        if limit != self._limit:
            self._limit = limit
            self._most = max(1, math.floor(limit))
            self._set_rate(min(limit, self._reduced))

    def _set_rate(self, rate: float) -> None:
        if rate != self._rate:
            self._rate = rate
            self._bucket = AsyncLimiter(1, 1 / rate)
            self._bucket_is_new = True

    def _recover(self) -> None:
        """Raise the reduced rate by one step. `acquire` calls this after `_recover_at`."""
        self._reduced *= RECOVERY_FACTOR
        done = self._reduced >= self._whole
        if done:
            self._reduced = math.inf
        self._set_rate(min(self._limit, self._reduced))
        self._recover_at = math.inf if done else self.now() + RECOVERY_PERIOD

    def _ready_at(self, now: float) -> float:
        """Return the loop time from which the window and the pause allow a permit.

        Return infinity while this time is unknown. It is unknown if the window is full and none of
        its requests was sent yet, or if the number of clients passed to `share` is out of date.
        """
        if now > self._shared_until:
            return math.inf
        if not self._is_full(now):
            return self._pause.until
        return max(self._pause.until, min([each.counts_until for each in self._window]))

    def _is_full(self, now: float) -> bool:
        """Return whether the window has no room for another permit."""
        if len(self._window) >= min(self._tidy_at, self._most):
            self._window = {each for each in self._window if each.counts_until > now}
            # Normally, `_tidy_at` is more than `_most` and has no effect. With a high limit, for a
            # test server, it is less. Otherwise the window would grow to thousands of permits that
            # no longer count.
            self._tidy_at = 2 * len(self._window) + 16
        return len(self._window) >= self._most

    async def _sleep_until(self, when: float) -> None:
        self._waiting, self._waiting_until = self._loop.create_future(), when
        timer = None
        if when < math.inf:
            timer = self._loop.call_at(when, self._wake)
        try:
            await self._waiting
        finally:
            self._waiting, self._waiting_until = None, -math.inf
            if timer is not None:
                timer.cancel()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


def _is_above_0(value: object) -> bool:
    return isinstance(value, int | float) and value > 0
