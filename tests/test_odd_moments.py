"""Refusals, closing and cancellations that meet at an odd moment."""

from __future__ import annotations

import asyncio

import pytest

from suno_async import ClientClosedError, GenerateMusic, RateLimitError, SunoClient
from suno_async._limiter import AccountLimiter
from tests.scripted import Server
from tests.virtual import run_virtual

KEY, URL = "ak_test", "http://api.example"


def songs(count: int) -> list[GenerateMusic]:
    """Inputs that can be told apart."""
    return [GenerateMusic(prompt=str(number)) for number in range(count)]


@pytest.mark.parametrize("turns", range(5))
def test_a_pause_grows_while_callers_give_up(turns: int) -> None:
    """A second 429 right behind the first raises nothing, while waiting callers are ending."""

    async def main() -> None:
        limiter = AccountLimiter(1.0)
        await limiter.acquire()
        waiting = [asyncio.ensure_future(limiter.acquire(30.0)) for _ in range(3)]
        await asyncio.sleep(0.1)
        limiter.rate_exceeded(50.0)
        for _ in range(turns):
            await asyncio.sleep(0)
        limiter.rate_exceeded(60.0)
        ended = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(each) for each in ended} == {RateLimitError}

    run_virtual(main())


@pytest.mark.parametrize("turns", range(5))
def test_two_closes(turns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second close at any moment of the first one raises nothing."""
    Server(delay=5.0).install(monkeypatch)

    async def main() -> None:
        suno = SunoClient(KEY, base_url=URL)
        calls = [asyncio.ensure_future(suno.balance()) for _ in range(30)]
        waiting = asyncio.ensure_future(suno.task("other").result())
        await asyncio.sleep(0.3)
        first = asyncio.ensure_future(suno.close())
        for _ in range(turns):
            await asyncio.sleep(0)
        await suno.close()
        await first
        ended = await asyncio.gather(*calls, waiting, return_exceptions=True)
        assert {type(each) for each in ended} == {ClientClosedError}

    run_virtual(main())
