"""The limiter, which keeps requests within the rate limit. The tests run in virtual time.

Each request needs a permit, which the limiter grants.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import random
import weakref
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suno_async import ConfigurationError, MaintenanceError, NotSentError, RateLimitError
from suno_async._transport.account import Credentials, account_for
from suno_async.limits.local import JITTER, WINDOW, LocalLimiter, LocalPermit
from tests.virtual import run_virtual


def worst_window(arrivals: list[float]) -> int:
    """Return the largest number of arrivals within any period of one second."""
    times = sorted(arrivals)
    worst = start = 0
    for end, at in enumerate(times):
        while times[start] <= at - 1.0:
            start += 1
        worst = max(worst, end - start + 1)
    return worst


async def traffic(seed: int, count: int, handshake: float, low: float, high: float) -> list[float]:
    """Return the arrival times of `count` requests with random network delays.

    A request or a reply takes `low` to `high` seconds. The first five requests need `handshake`
    seconds more.
    """
    limiter = LocalLimiter()
    draw = random.Random(seed)
    arrivals: list[float] = []
    loop = asyncio.get_running_loop()

    async def one(number: int) -> None:
        permit = await limiter.acquire()

        async def exchange() -> None:
            await asyncio.sleep(handshake if number < 5 else 0.0)
            permit.sent()
            await asyncio.sleep(draw.uniform(low, high))
            arrivals.append(loop.time())
            await asyncio.sleep(draw.uniform(low, high))
            permit.answered()

        exchanges.append(asyncio.ensure_future(exchange()))

    exchanges: list[asyncio.Future[None]] = []
    for number in range(count):
        await one(number)
    await asyncio.gather(*exchanges)
    return arrivals


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32), low=st.floats(0, 0.2), handshake=st.floats(0, 0.5))
def test_no_sixteenth_request_in_a_second(seed: int, low: float, handshake: float) -> None:
    """At most 15 requests arrive in a second, even with slow handshakes and varying delays."""
    arrivals = run_virtual(traffic(seed, 120, handshake, low, low + 0.05))
    assert worst_window(arrivals) <= 15


def test_uses_the_budget() -> None:
    """With network delays of up to 50 ms, requests use at least 93 % of the rate limit."""
    arrivals = run_virtual(traffic(1, 1500, 0.0, 0.0, 0.05))
    assert 1500 / (max(arrivals) - min(arrivals)) >= 0.93 * 15


def test_first_come_first_served_and_no_burst() -> None:
    """Concurrent callers get permits in the order of their calls, at least 1/15 s apart."""

    async def work() -> None:
        limiter, served, times = LocalLimiter(), list[int](), list[float]()

        async def one(number: int) -> None:
            permit = await limiter.acquire()
            served.append(number)
            times.append(limiter.now())
            permit.sent()
            permit.answered()

        await asyncio.gather(*(one(n) for n in range(60)))
        assert served == list(range(60))
        assert min(b - a for a, b in itertools.pairwise(times)) > 1 / 15 - 1e-6

    run_virtual(work())


def test_a_cancelled_wait_costs_nothing() -> None:
    """A cancelled `acquire` uses no permit and does not delay the next caller."""

    async def work() -> None:
        limiter = LocalLimiter()
        (await limiter.acquire()).sent()
        leaving = [asyncio.ensure_future(limiter.acquire()) for _ in range(50)]
        staying = asyncio.ensure_future(limiter.acquire())
        await asyncio.sleep(0.01)
        for each in leaving:
            each.cancel()
        await asyncio.gather(*leaving, return_exceptions=True)
        await staying
        assert limiter.now() < 2 / 15
        assert limiter.granted == 2

    run_virtual(work())


def test_an_unused_permit_is_given_back() -> None:
    """A permit that is given back with `cancel` is not counted as granted."""

    async def work() -> None:
        limiter = LocalLimiter()
        for _ in range(40):
            (await limiter.acquire()).cancel()
        assert limiter.granted == 0
        assert limiter.now() < 41 / 15

    run_virtual(work())


def test_a_permit_counts_once() -> None:
    """A permit counts as one request, even if its methods are called several times."""

    async def work() -> None:
        limiter = LocalLimiter()
        for number in range(90):
            permit = await limiter.acquire()
            if number % 2:
                permit.cancel()
            for report in (
                permit.sent,
                permit.answered,
                permit.cancel,
                permit.sent,
                permit.answered,
            ):
                report()
        # If a place were freed twice, the last permit below would come too early. If a place were
        # never freed, it would never come.
        unanswered = [await limiter.acquire() for _ in range(15)]
        started = limiter.now()
        for permit in unanswered:
            permit.sent()
        await limiter.acquire()
        assert limiter.now() - started == pytest.approx(JITTER + WINDOW, abs=1e-6)

    run_virtual(work())


def test_a_lower_limit_does_not_count_old_permits() -> None:
    """If the limit is reduced, requests sent two seconds ago do not delay the next permit."""

    async def work() -> None:
        limiter = LocalLimiter()
        for _ in range(4):
            limiter.rate_exceeded(0.0)
        for _ in range(12):
            (await limiter.acquire()).sent()
        await asyncio.sleep(2.0)
        (await limiter.acquire()).sent()
        started = limiter.now()
        waiting = asyncio.ensure_future(limiter.acquire())
        await asyncio.sleep(0.01)
        limiter.share(2, limiter)
        await waiting
        # The limit of 7.5 is above the rate, to which four 429s have reduced 15.
        assert limiter.now() - started == pytest.approx(1 / (15 * 0.8**4))

    run_virtual(work())


def test_permits_that_expire_during_the_last_wait() -> None:
    """A reduced limit does not prolong a wait if the old permits stop counting before its end."""

    async def work() -> None:
        limiter = LocalLimiter()
        for _ in range(8):
            limiter.rate_exceeded(0.0)
        rate = 15 * 0.8**8
        started = limiter.now()
        for permit in [await limiter.acquire() for _ in range(7)]:
            permit.sent()
        sent = limiter.now()
        assert sent - started == pytest.approx(7 / rate)
        await asyncio.sleep(0.7)
        (await limiter.acquire()).cancel()
        waiting = asyncio.ensure_future(limiter.acquire())
        await asyncio.sleep(0.1)
        # Now at most 7 permits may count. The 7 permits from above stop counting a little later.
        limiter.share(2, limiter)
        await waiting
        assert limiter.now() - sent == pytest.approx(0.7 + 1 / rate)
        assert limiter.now() - sent > JITTER + WINDOW

    run_virtual(work())


@pytest.mark.parametrize("rate", [15.0, 10_000.0])
def test_old_permits_are_forgotten(rate: float) -> None:
    """Old permits do not stay in memory, even if the limiter grants only one permit every 0.5 s."""

    async def work() -> None:
        limiter = LocalLimiter(rate)
        permits = weakref.WeakSet[LocalPermit]()
        for _ in range(500):
            permit = await limiter.acquire()
            permits.add(permit)
            permit.sent()
            await asyncio.sleep(0.5)
        assert len(permits) < 50

    run_virtual(work())


def test_rate_exceeded() -> None:
    """Two 429 replies at the same time start one pause, and reduce the rate only once."""

    async def work() -> None:
        limiter = LocalLimiter()
        limiter.rate_exceeded(30.0)
        limiter.rate_exceeded(5.0)
        assert limiter.rate == pytest.approx(12.0)
        await limiter.acquire()
        assert limiter.now() >= 30.0
        for _ in range(1500):
            permit = await limiter.acquire()
            permit.sent()
            permit.answered()
        assert limiter.rate == 15.0
        assert limiter.rate_limited == 2

    run_virtual(work())


def test_two_requests_never_leave_together() -> None:
    """Requests stay at least 1/rate seconds apart, even after pauses and changes of the rate."""

    async def work() -> None:
        limiter, times = LocalLimiter(), list[float]()
        rates = list[float]()

        async def one() -> None:
            permit = await limiter.acquire()
            times.append(limiter.now())
            rates.append(limiter.rate)
            permit.sent()
            permit.answered()

        callers = [asyncio.ensure_future(one()) for _ in range(900)]
        draw = random.Random(1)
        for number in range(30):
            await asyncio.sleep(draw.uniform(0.01, 3.0))
            match number % 5:
                case 0 | 1:
                    limiter.rate_exceeded(draw.choice([None, 0.0, 0.3, 2.0]))
                case 2:
                    limiter.pause(draw.uniform(0.0, 20.0))
                case 3:
                    limiter.tighten(draw.uniform(10.0, 15.0), 120.0)
                case _:
                    pass
        await asyncio.gather(*callers)
        gaps = [b - a for a, b in itertools.pairwise(times)]
        assert all(gap >= 1 / rate - 1e-6 for gap, rate in zip(gaps, rates[1:], strict=True))

    run_virtual(work())


def test_a_pause_is_capped_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A pause lasts at most `max_pause` seconds. Each pause is logged once."""

    async def work() -> None:
        limiter = LocalLimiter(max_pause=50.0)
        limiter.rate_exceeded(1e9)
        limiter.rate_exceeded(1e9)
        assert limiter.paused is not None
        assert limiter.paused.until == pytest.approx(50.0)
        await limiter.acquire()
        assert 50.0 <= limiter.now() < 50.2
        limiter.pause(math.inf)
        await limiter.acquire()
        assert 100.0 <= limiter.now() < 100.5

    run_virtual(work())
    messages = [record.getMessage() for record in caplog.records]
    assert messages == [
        "account paused for 50.0 s: rate exceeded (429)",
        "account paused for 50.0 s: maintenance (455)",
    ]


def test_a_caller_that_cannot_wait_for_the_end_of_a_pause() -> None:
    """If a caller's time limit ends before a pause ends, the caller gets an error at once."""

    async def work() -> None:
        limiter = LocalLimiter()
        for _ in range(15):
            (await limiter.acquire()).sent()
        waiting = [asyncio.ensure_future(limiter.acquire(20.0 + n)) for n in range(5)]
        patient = asyncio.ensure_future(limiter.acquire())
        await asyncio.sleep(0)
        limiter.pause(60.0)
        await asyncio.sleep(0.001)
        assert [type(each.exception()) for each in waiting] == [MaintenanceError] * 5
        with pytest.raises(MaintenanceError, match="paused") as caught:
            await limiter.acquire(30.0)
        assert caught.value.retry_after == pytest.approx(60.0, abs=0.1)
        await patient
        assert limiter.now() >= 60.0
        limiter.rate_exceeded(30.0)
        with pytest.raises(RateLimitError):
            await limiter.acquire(limiter.now() + 5.0)
        assert limiter.granted == 16

    run_virtual(work())


def test_no_slot_in_time() -> None:
    """A caller whose time limit ends before its turn gets `NotSentError` and uses no permit."""

    async def work() -> None:
        limiter = LocalLimiter()
        (await limiter.acquire()).sent()
        others = [asyncio.ensure_future(limiter.acquire()) for _ in range(5)]
        await asyncio.sleep(0)
        with pytest.raises(NotSentError, match="budget"):
            await limiter.acquire(0.1)
        await asyncio.gather(*others)
        assert limiter.granted == 6

    run_virtual(work())


def test_a_client_that_joins_does_not_undo_a_cut() -> None:
    """A second client does not raise the rate that a 429 has cut."""

    async def work() -> None:
        credentials = Credentials("ak_one", "http://a")
        account = account_for(credentials, 15.0, 120.0)
        limiter = account.limiter
        for _ in range(6):
            limiter.rate_exceeded(0.0)
        cut = limiter.rate
        assert cut < 5.0
        assert account_for(credentials, 10.0, 120.0) is account
        assert limiter.rate == cut
        for _ in range(2000):
            permit = await limiter.acquire()
            permit.sent()
            permit.answered()
        assert limiter.rate == 10.0

    run_virtual(work())


class Counter:
    """An object without methods. It replaces the object that counts the clients of an account."""


def test_a_share_does_not_undo_a_cut() -> None:
    """A change of the number of clients does not raise the rate above the rate set after a 429."""

    async def work() -> None:
        limiter, counter = LocalLimiter(), Counter()
        limiter.rate_exceeded(None)
        assert limiter.rate == 12.0
        limiter.share(2, counter)
        assert limiter.rate == 7.5
        limiter.share(1, counter)
        assert limiter.rate == 12.0

    run_virtual(work())


def test_one_budget_per_account() -> None:
    """In one event loop, all clients of an account share one limiter.

    The limiter applies the strictest limits of these clients.
    """

    async def work() -> None:
        first, second = Credentials("ak_one", "http://a"), Credentials("ak_two", "http://a")
        account = account_for(first, 15.0, 120.0)
        one = account.limiter
        assert account_for(Credentials("ak_one", "http://a"), 10.0, 120.0) is account
        assert one.rate == 10.0
        account_for(first, 15.0, 5.0)
        one.pause(100.0)
        assert one.paused is not None
        assert one.paused.until == pytest.approx(5.0)
        assert account_for(second, 15.0, 120.0).limiter is not one

    run_virtual(work())


@pytest.mark.parametrize(
    "options",
    [
        {"rate": 0},
        {"rate": -1},
        {"rate": math.nan},
        {"rate": math.inf},
        {"rate": "15"},
        {"max_pause": 0},
    ],
    ids=str,
)
def test_invalid_arguments(options: dict[str, Any]) -> None:
    """A rate that is not a finite number above 0, or no `max_pause`, is refused."""

    async def work() -> None:
        with pytest.raises(ConfigurationError):
            LocalLimiter(**options)

    run_virtual(work())
