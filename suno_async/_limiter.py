"""The account's budget: at most 15 requests in any sliding second, as the server counts them.

Three things stand between a caller and a permit, in this order: a turn (first come, first served,
which aiolimiter alone is not), the window (never a sixteenth request in one second at the server,
wherever in it the requests arrive), and aiolimiter's bucket of one (no burst, so that the next
caller waits one slot and not a second).
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import weakref
from collections import deque

from aiolimiter import AsyncLimiter

#: Most requests an account may send in any one-second window (API contract, "Limits and advice").
RATE_LIMIT = 15.0

#: Longest delay on the way to the server that is allowed for, in seconds. It caps what one slow
#: reply costs: with every request that slow, 15 of them take 1.06 s, which is 94 % of the budget.
JITTER = 0.06

#: The window kept, in seconds: the server's, and 2 ms for the clocks.
WINDOW = 1.002

#: A 429 cuts the rate by a fifth; each quiet period wins a part of it back.
CUT = 0.8
RECOVERY_FACTOR = 1.05
RECOVERY_PERIOD = 10.0
LOWEST_RATE = 1.0

#: Seconds of pause after a 429 without Retry-After, and during maintenance (455: "wait, minutes").
PAUSE_429 = 1.0
PAUSE_MAINTENANCE = 60.0

_RATE_SPAN = 10.0


class Permit:
    """The right to send one request now; tells the limiter what became of it.

    Where a request stands on its way cannot be seen, but it reaches the server after it left and
    before its reply came back. So it counts from its reply, or from `JITTER` after it left,
    whichever is earlier, and a connection being opened delays when it left: neither a handshake
    nor a link whose delay varies pushes two seconds' requests into one.

    Not from the reply less the shortest round trip seen, which would cost less: that shortest one
    is an overestimate for as long as traffic is young, and a strict server then sees a sixteenth.
    """

    __slots__ = ("_limiter", "_used", "counts_until", "left_at")

    def __init__(self, limiter: AccountLimiter) -> None:
        self._limiter = limiter
        self._used = True
        self.left_at: float | None = None
        self.counts_until = math.inf

    def left(self) -> None:
        """The request is on its way."""
        if self.left_at is None:
            self.left_at = self._limiter.now()
            self._limiter.count_until(self, self.left_at + JITTER + WINDOW)

    def answered(self) -> None:
        """The reply's headers are here."""
        if self.left_at is not None:
            self._limiter.count_until(self, self._limiter.now() + WINDOW)

    def cancel(self) -> None:
        """No request was made with this permit: give it back."""
        if self.left_at is None and self._used:
            self._used = False
            self.counts_until = -math.inf
            self._limiter.returned()


class AccountLimiter:
    """One account's budget in one event loop. See `limiter_for`."""

    def __init__(self, rate: float = RATE_LIMIT) -> None:
        self._loop = asyncio.get_running_loop()
        self._turn = asyncio.Lock()
        self._limit = rate
        self._rate = rate
        self._most = max(1, math.floor(rate))
        self._bucket = AsyncLimiter(1, 1 / rate)
        # How many permits count now, and a heap of (time, tie-breaker, permit): when they stop. A
        # time that is no longer its permit's `counts_until` is dropped when it surfaces.
        self._counted = 0
        self._ends: list[tuple[float, int, Permit]] = []
        self._tickets = itertools.count()
        self._paused_until = -math.inf
        self._recover_at = math.inf
        self._waiting: asyncio.Future[None] | None = None
        self._waiting_until = -math.inf
        self._recent: deque[float] = deque(maxlen=math.ceil(rate * _RATE_SPAN))
        self._started = self._loop.time()
        self.granted = 0
        self.rate_limited = 0

    @property
    def rate(self) -> float:
        """Requests a second allowed now; below the limit for a while after a 429."""
        return self._rate

    @property
    def recent_rate(self) -> float:
        """Requests granted a second, over the last ten seconds."""
        now = self.now()
        span = max(1.0, min(_RATE_SPAN, now - self._started))
        return sum(1 for granted in self._recent if granted > now - span) / span

    def now(self) -> float:
        """The loop's time."""
        return self._loop.time()

    def limit_to(self, rate: float) -> None:
        """A client asks for `rate` at most; the lowest of an account's clients counts."""
        if rate < self._limit:
            self._limit = self._rate = rate
            self._most = max(1, math.floor(rate))
            self._bucket = AsyncLimiter(1, 1 / rate)

    async def acquire(self) -> Permit:
        """Wait for the right to send one request. A cancelled wait costs no permit."""
        async with self._turn:
            if self.now() >= self._recover_at:
                await self._recover()
            while (ready := self._ready_at()) > self.now():
                await self._sleep_until(ready)
            await self._bucket.acquire()
            while (ready := self._ready_at()) > self.now():
                # A pause came while the bucket was being waited for.
                await self._sleep_until(ready)
            permit = Permit(self)
            self._counted += 1
            self._recent.append(self.now())
            self.granted += 1
            return permit

    def rate_exceeded(self, retry_after: float | None) -> None:
        """The server answered 429: pause the account, and go on slower.

        Replies to requests sent before the pause extend it, but cut the rate only once.
        """
        self.rate_limited += 1
        if self.now() >= self._paused_until:
            self._rate = max(min(LOWEST_RATE, self._limit), self._rate * CUT)
            self._bucket = AsyncLimiter(1, 1 / self._rate)
        self.pause(PAUSE_429 if retry_after is None else retry_after)
        self._recover_at = self._paused_until + RECOVERY_PERIOD

    def pause(self, seconds: float) -> None:
        """Grant nothing for `seconds` from now; a pause under way is never shortened."""
        self._paused_until = max(self._paused_until, self.now() + seconds)

    def count_until(self, permit: Permit, when: float) -> None:
        """A permit stops counting at `when`, unless it does so earlier."""
        if when >= permit.counts_until:
            return
        permit.counts_until = when
        heapq.heappush(self._ends, (when, next(self._tickets), permit))
        if when < self._waiting_until:
            self._wake()

    def returned(self) -> None:
        """A permit was not used."""
        self._counted -= 1
        self.granted -= 1
        if self._recent:
            self._recent.pop()
        self._wake()

    def _ready_at(self) -> float:
        now, ends = self.now(), self._ends
        while ends and (ends[0][0] <= now or ends[0][0] != ends[0][2].counts_until):
            when, _, permit = heapq.heappop(ends)
            if when == permit.counts_until:
                permit.counts_until = -math.inf
                self._counted -= 1
        if self._counted < self._most:
            return self._paused_until
        return max(self._paused_until, ends[0][0] if ends else math.inf)

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

    async def _recover(self) -> None:
        self._rate = min(self._limit, self._rate * RECOVERY_FACTOR)
        done = self._rate >= self._limit
        self._recover_at = math.inf if done else self.now() + RECOVERY_PERIOD
        self._bucket = AsyncLimiter(1, 1 / self._rate)
        # A new bucket is empty, and would let the next request go at once: fill it.
        await self._bucket.acquire()


_limiters: weakref.WeakKeyDictionary[
    asyncio.AbstractEventLoop, weakref.WeakValueDictionary[str, AccountLimiter]
] = weakref.WeakKeyDictionary()


def limiter_for(account: str, rate: float) -> AccountLimiter:
    """The limiter that everyone in this event loop who uses `account` shares.

    Args:
        account: A digest of key and host; never the key.
        rate: Requests a second; the lowest asked for counts.
    """
    in_loop = _limiters.setdefault(asyncio.get_running_loop(), weakref.WeakValueDictionary())
    limiter = in_loop.get(account)
    if limiter is None:
        limiter = in_loop[account] = AccountLimiter(rate)
    limiter.limit_to(rate)
    return limiter
