"""The time limit of requests. One timer is enough for all requests."""

from __future__ import annotations

import asyncio

import pytest

from suno_async._transport.timeouts import RequestTimeout, RequestTimeouts
from tests.virtual import run_virtual

LIMIT = 30.0


async def request(timeouts: RequestTimeouts, start: float, seconds: float) -> str:
    """Simulate a request that starts at `start` and takes `seconds`.

    Return its result and the time of its end: ``done at 5.0`` or ``timeout at 31.0``, for example.
    """
    loop = asyncio.get_running_loop()
    await asyncio.sleep(start)
    try:
        with RequestTimeout(timeouts):
            await asyncio.sleep(seconds)
    except TimeoutError:
        return f"timeout at {loop.time():.1f}"
    return f"done at {loop.time():.1f}"


def test_each_request_has_the_whole_limit() -> None:
    """A request times out 30 s after its own start. Shorter requests end normally."""

    async def main() -> list[str]:
        timeouts = RequestTimeouts(LIMIT)
        requests = [(0.0, 5.0), (1.0, 99.0), (2.5, 99.0), (2.5, 29.0), (40.0, 99.0), (90.0, 99.0)]
        ends = await asyncio.gather(*(request(timeouts, *each) for each in requests))
        assert not timeouts.running
        timeouts.close()
        return ends

    assert run_virtual(main()) == [
        "done at 5.0",
        "timeout at 31.0",
        "timeout at 32.5",
        "done at 31.5",
        "timeout at 70.0",
        "timeout at 120.0",
    ]


def test_task_can_go_on_after_a_timeout() -> None:
    """After a request times out, its asyncio task is not cancelled and can go on."""

    async def main() -> None:
        timeouts = RequestTimeouts(LIMIT)
        for _ in range(3):
            with pytest.raises(TimeoutError), RequestTimeout(timeouts):
                await asyncio.sleep(99.0)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        await asyncio.sleep(1.0)

    run_virtual(main())


@pytest.mark.parametrize("when", [10.0, LIMIT])
def test_cancellation_is_not_a_timeout(when: float) -> None:
    """A cancelled request ends as cancelled, even if it times out at the same moment."""

    async def main() -> None:
        timeouts = RequestTimeouts(LIMIT)
        task = asyncio.ensure_future(request(timeouts, 0.0, 99.0))
        asyncio.get_running_loop().call_at(when, task.cancel)
        await asyncio.wait([task])
        assert task.cancelled()
        assert not timeouts.running

    run_virtual(main())


def test_outer_timeout() -> None:
    """If a request is inside `asyncio.timeout`, the shorter of this timeout and `LIMIT` ends it."""

    async def nested(outer: float) -> None:
        async with asyncio.timeout(outer):
            with RequestTimeout(RequestTimeouts(LIMIT)):
                await asyncio.sleep(99.0)

    async def main(outer: float) -> float:
        with pytest.raises(TimeoutError):
            await nested(outer)
        await asyncio.sleep(0)
        return asyncio.get_running_loop().time()

    assert run_virtual(main(10.0)) == pytest.approx(10.0, abs=0.01)
    assert run_virtual(main(50.0)) == pytest.approx(30.0, abs=0.01)


def test_error_of_the_request() -> None:
    """If a request raises an error, the error is passed on unchanged, and the timer stops."""

    async def main() -> None:
        timeouts = RequestTimeouts(LIMIT)
        with pytest.raises(ConnectionResetError), RequestTimeout(timeouts):
            raise ConnectionResetError
        assert not timeouts.running
        await asyncio.sleep(99.0)

    run_virtual(main())
