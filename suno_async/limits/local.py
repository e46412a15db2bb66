"""The account's request budget: at most 15 requests in any sliding second, counted at the server.

A caller passes three gates before it gets a permit. The *turn* serves callers in their order, which
aiolimiter alone does not. The *window* never lets a sixteenth request into one second at the
server, wherever in that second the requests arrive. The *bucket* of aiolimiter, of size one,
prevents bursts: the next caller waits one slot and not a second.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import math
from collections import deque

from aiolimiter import AsyncLimiter

from suno_async.errors import NotSentError
from suno_async.limits.base import Pause, check_pause

logger = logging.getLogger("suno_async")

#: Most requests an account may send in any one-second window (API contract, "Limits and advice").
RATE_LIMIT = 15.0

#: Longest delay on the way to the server that is allowed for, in seconds. It caps what one slow
#: reply costs: with every request that slow, 15 of them take 1.06 s, which is 94 % of the budget.
JITTER = 0.06

#: The window in seconds: the server's second, and 2 ms for the clocks.
WINDOW = 1.002

#: A 429 cuts the rate by a fifth. Each quiet period wins a part of it back.
CUT = 0.8
RECOVERY_FACTOR = 1.05
RECOVERY_PERIOD = 10.0
LOWEST_RATE = 1.0

#: Seconds of pause after a 429 without Retry-After, and during maintenance (455: "wait, minutes").
PAUSE_429 = 1.0
PAUSE_MAINTENANCE = 60.0

#: Longest pause in seconds by default, whatever the server asks for.
MAX_PAUSE = 120.0

_RATE_SPAN = 10.0

#: A pause that moves later by less than this many seconds is not logged again.
_LOG_STEP = 1.0


_NO_PAUSE = Pause(-math.inf, 0)


class LocalPermit:
    """The right to send one request now. The sender reports to it what became of the request.

    Where a request is on its way cannot be seen. It reaches the server after it was sent and before
    its reply arrived. So it counts from its reply, or from `JITTER` after it was sent, whichever is
    earlier, and opening a connection delays the moment it is sent: neither a handshake nor a link
    whose delay varies pushes two seconds' requests into one.

    Counting from the reply minus the shortest round trip seen would cost less, but that estimate is
    too long while traffic is young, and a strict server then sees a sixteenth request.
    """

    __slots__ = ("__weakref__", "_limiter", "_used", "counts_until", "sent_at")

    def __init__(self, limiter: LocalLimiter) -> None:
        self._limiter = limiter
        self._used = True
        self.sent_at: float | None = None
        self.counts_until = math.inf

    def sent(self) -> None:
        """Record that the request is on its way."""
        if self.sent_at is None:
            self.sent_at = self._limiter.now()
            self._limiter.count_until(self, self.sent_at + JITTER + WINDOW)

    def answered(self) -> None:
        """Record that the reply's headers arrived."""
        if self.sent_at is not None:
            self._limiter.count_until(self, self._limiter.now() + WINDOW)

    def cancel(self) -> None:
        """Give the permit back, unless its request was sent."""
        if self.sent_at is None and self._used:
            self._used = False
            self.counts_until = -math.inf
            self._limiter.returned()


class LocalLimiter:
    """One account's request budget in one event loop.

    Args:
        rate: Requests per second. Above 15 only a server other than the vendor's accepts it.
        max_pause: Longest pause in seconds, whatever the server asks for.

    Attributes:
        granted: Permits granted so far, without those given back.
        rate_limited: Answers of 429 so far.
    """

    def __init__(self, rate: float = RATE_LIMIT, max_pause: float = MAX_PAUSE) -> None:
        """Start the budget; needs a running event loop."""
        self._loop = asyncio.get_running_loop()
        self._turn = asyncio.Lock()
        self._limit = rate
        self._max_pause = max_pause
        self._most = max(1, math.floor(rate))
        self._rate = rate
        self._bucket = AsyncLimiter(1, 1 / rate)
        self._bucket_is_new = False
        # How many permits count now, and a heap of (time, tie-breaker, permit): when they stop. A
        # time that is no longer its permit's `counts_until` is dropped when it surfaces.
        self._counted = 0
        self._ends: list[tuple[float, int, LocalPermit]] = []
        self._tickets = itertools.count()
        self._pause = _NO_PAUSE
        self._recover_at = math.inf
        self._waiting: asyncio.Future[None] | None = None
        self._waiting_until = -math.inf
        # Callers that wait no longer than to a moment of their own.
        self._impatient: dict[asyncio.Timeout, float] = {}
        self._recent: deque[float] = deque(maxlen=math.ceil(rate * _RATE_SPAN))
        self._started = self._loop.time()
        self.granted = 0
        self.rate_limited = 0

    @property
    def rate(self) -> float:
        """Requests per second allowed now; below the limit for a while after a 429."""
        return self._rate

    @property
    def paused(self) -> Pause | None:
        """The pause in force, if there is one."""
        return self._pause if self._pause.until > self.now() else None

    @property
    def recent_rate(self) -> float:
        """Requests granted per second, over the last ten seconds."""
        now = self.now()
        span = max(1.0, min(_RATE_SPAN, now - self._started))
        return sum(1 for granted in self._recent if granted > now - span) / span

    def now(self) -> float:
        """Return the loop's time."""
        return self._loop.time()

    def tighten(self, rate: float, max_pause: float) -> None:
        """Apply another client's settings. The lowest of an account's clients hold."""
        self._max_pause = min(self._max_pause, max_pause)
        latest = self.now() + self._max_pause
        if self._pause.until > latest:
            self._pause = self._pause._replace(until=latest)
            self._wake()
        if rate < self._limit:
            self._limit = rate
            self._most = max(1, math.floor(rate))
            # A cut after a 429 may already be lower.
            if rate < self._rate:
                self._set_rate(rate)

    async def acquire(self, give_up_at: float | None = None) -> LocalPermit:
        """Wait for the right to send one request. A cancelled wait costs no permit.

        Args:
            give_up_at: Loop time until which to wait; None waits without limit, pauses included.

        Raises:
            RateLimitError: The account is paused beyond `give_up_at` after a 429. Raised at once.
            MaintenanceError: The same after a 455.
            NotSentError: `give_up_at` came before a free slot.
        """
        if give_up_at is None:
            return await self._grant()
        check_pause(self.paused, give_up_at, self.now())
        try:
            async with asyncio.timeout_at(give_up_at) as scope:
                self._impatient[scope] = give_up_at
                try:
                    return await self._grant()
                finally:
                    del self._impatient[scope]
        except TimeoutError:
            pass
        check_pause(self.paused, give_up_at, self.now())
        raise NotSentError("no free slot in the request budget within the time given")

    def rate_exceeded(self, retry_after: float | None) -> None:
        """Pause the account and slow down: the server answered 429.

        Replies to requests sent before the pause extend it, but cut the rate only once.
        """
        self.rate_limited += 1
        if self.paused is None:
            self._set_rate(max(min(LOWEST_RATE, self._limit), self._rate * CUT))
        self.pause(PAUSE_429 if retry_after is None else retry_after, 429)
        self._recover_at = self._pause.until + RECOVERY_PERIOD

    def pause(self, seconds: float, code: int = 455) -> None:
        """Grant nothing for `seconds` from now, at most `max_pause`. Never shortens a pause."""
        before, now = self.paused, self.now()
        pause = Pause(now + min(seconds, self._max_pause), code)
        if pause.until <= self._pause.until:
            return
        self._pause = pause
        is_later = pause.until > (now if before is None else before.until + _LOG_STEP)
        if is_later:
            logger.warning("account paused for %.1f s: %s", pause.until - now, pause.reason)
        for scope, give_up_at in self._impatient.items():
            # A scope that has expired is about to end, and refuses a new time.
            if give_up_at < pause.until and not scope.expired():
                scope.reschedule(now)

    def count_until(self, permit: LocalPermit, when: float) -> None:
        """Stop counting a permit at `when`, unless it stops earlier."""
        if when >= permit.counts_until:
            return
        permit.counts_until = when
        heapq.heappush(self._ends, (when, next(self._tickets), permit))
        if when < self._waiting_until:
            self._wake()

    def returned(self) -> None:
        """Take back a permit that was not used."""
        self._counted -= 1
        self.granted -= 1
        if self._recent:
            self._recent.pop()
        self._wake()

    async def _grant(self) -> LocalPermit:
        async with self._turn:
            if self.now() >= self._recover_at:
                self._recover()
            while True:
                while (ready := self._ready_at()) > self.now():
                    await self._sleep_until(ready)
                bucket = self._bucket
                if self._bucket_is_new:
                    # A new bucket is empty and would let the next caller go at once, however short
                    # ago the last request was sent. Fill it.
                    self._bucket_is_new = False
                    await bucket.acquire()
                await bucket.acquire()
                # A slot taken before a pause, or in a bucket that was replaced meanwhile, is stale:
                # this caller and the next would go together.
                if bucket is self._bucket and self._ready_at() <= self.now():
                    break
            permit = LocalPermit(self)
            self._counted += 1
            self._recent.append(self.now())
            self.granted += 1
            return permit

    def _set_rate(self, rate: float) -> None:
        self._rate = rate
        self._bucket = AsyncLimiter(1, 1 / rate)
        self._bucket_is_new = True

    def _recover(self) -> None:
        self._set_rate(min(self._limit, self._rate * RECOVERY_FACTOR))
        done = self._rate >= self._limit
        self._recover_at = math.inf if done else self.now() + RECOVERY_PERIOD

    def _ready_at(self) -> float:
        now, ends = self.now(), self._ends
        while ends and (ends[0][0] <= now or ends[0][0] != ends[0][2].counts_until):
            when, _, permit = heapq.heappop(ends)
            if when == permit.counts_until:
                permit.counts_until = -math.inf
                self._counted -= 1
        if self._counted < self._most:
            return self._pause.until
        return max(self._pause.until, ends[0][0] if ends else math.inf)

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
