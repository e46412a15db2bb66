"""The budget, in virtual time."""

from __future__ import annotations

import asyncio
import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suno_async._limiter import JITTER, WINDOW, AccountLimiter, limiter_for
from tests.virtual import run_virtual


def worst_window(arrivals: list[float]) -> int:
    """The most arrivals in any sliding second."""
    times = sorted(arrivals)
    worst = start = 0
    for end, at in enumerate(times):
        while times[start] <= at - 1.0:
            start += 1
        worst = max(worst, end - start + 1)
    return worst


async def traffic(seed: int, count: int, handshake: float, low: float, high: float) -> list[float]:
    """Send `count` requests over a link with jitter; when each arrived at the server."""
    limiter = AccountLimiter()
    draw = random.Random(seed)
    arrivals: list[float] = []
    loop = asyncio.get_running_loop()

    async def one(number: int) -> None:
        permit = await limiter.acquire()

        async def exchange() -> None:
            await asyncio.sleep(handshake if number < 5 else 0.0)
            permit.left()
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


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), low=st.floats(0, 0.2), handshake=st.floats(0, 0.5))
def test_no_sixteenth_request_in_a_second(seed: int, low: float, handshake: float) -> None:
    """Behind 0 to 50 ms of jitter, a base delay and handshakes, no second at the server sees 16."""
    arrivals = run_virtual(traffic(seed, 120, handshake, low, low + 0.05))
    assert worst_window(arrivals) <= 15


def test_uses_the_budget() -> None:
    """Behind 0 to 50 ms of jitter each way at least 93 % of the budget is used."""
    arrivals = run_virtual(traffic(1, 1500, 0.0, 0.0, 0.05))
    assert 1500 / (max(arrivals) - min(arrivals)) >= 0.93 * 15


def test_first_come_first_served_and_no_burst() -> None:
    """Callers are served in their order, a slot apart, from the first request on."""

    async def work() -> None:
        limiter, served, times = AccountLimiter(), list[int](), list[float]()

        async def one(number: int) -> None:
            permit = await limiter.acquire()
            served.append(number)
            times.append(limiter.now())
            permit.left()
            permit.answered()

        await asyncio.gather(*(one(n) for n in range(60)))
        assert served == list(range(60))
        assert min(b - a for a, b in itertools.pairwise(times)) > 1 / 15 - 1e-6

    run_virtual(work())


def test_a_cancelled_wait_costs_nothing() -> None:
    """Waiters that leave cost no permit, and the next in line is not held up by them."""

    async def work() -> None:
        limiter = AccountLimiter()
        (await limiter.acquire()).left()
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
    """A permit that sent nothing does not count in the window."""

    async def work() -> None:
        limiter = AccountLimiter()
        for _ in range(40):
            (await limiter.acquire()).cancel()
        assert limiter.granted == 0
        assert limiter.now() < 41 / 15

    run_virtual(work())


def test_a_permit_counts_once() -> None:
    """Whatever a permit is told, and however often, it takes one place in one window."""

    async def work() -> None:
        limiter = AccountLimiter()
        for number in range(90):
            permit = await limiter.acquire()
            if number % 2:
                permit.cancel()
            for tell in (permit.left, permit.answered, permit.cancel, permit.left, permit.answered):
                tell()
        # Were one freed twice, or never, the next 15 would go too early, or not at all.
        unanswered = [await limiter.acquire() for _ in range(15)]
        started = limiter.now()
        for permit in unanswered:
            permit.left()
        await limiter.acquire()
        assert limiter.now() - started == pytest.approx(JITTER + WINDOW, abs=1e-6)

    run_virtual(work())


def test_rate_exceeded() -> None:
    """A 429 pauses everyone, cuts the rate by a fifth, once a pause, and is won back slowly."""

    async def work() -> None:
        limiter = AccountLimiter()
        limiter.rate_exceeded(30.0)
        limiter.rate_exceeded(5.0)
        assert limiter.rate == pytest.approx(12.0)
        await limiter.acquire()
        assert limiter.now() >= 30.0
        for _ in range(1500):
            permit = await limiter.acquire()
            permit.left()
            permit.answered()
        assert limiter.rate == 15.0
        assert limiter.rate_limited == 2

    run_virtual(work())


def test_one_budget_per_account() -> None:
    """Clients of one account in one loop share a limiter, at the lowest rate asked for."""

    async def work() -> None:
        one = limiter_for("a", 15.0)
        assert limiter_for("a", 10.0) is one
        assert one.rate == 10.0
        assert limiter_for("b", 15.0) is not one

    run_virtual(work())
