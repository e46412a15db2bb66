"""If the server refuses the API key, and a second request confirms the refusal, all waits end.

The tests run in virtual time.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from suno_async import AuthenticationError, Outcome, TaskTimeoutError
from suno_async._polling.waiters import QueueWaiter
from suno_async._schedule.frame import LAST_TRIES
from tests.scripted_transport import DELAY, Scripted, make_poller, wait_for, watch
from tests.virtual import run_virtual

if TYPE_CHECKING:
    from suno_async._polling.poller import Poller

#: Age of a task, in seconds, at which the wait for it ends at the latest.
GIVEN_UP = 1200.0 + LAST_TRIES * 15.0


async def ten_thousand(poller: Poller) -> tuple[QueueWaiter, int]:
    """Start to wait for 10,000 tasks. Return the queue of outcomes, and the number 10,000."""
    queue = QueueWaiter(interactive=False)
    for n in range(10_000):
        watch(poller, f"t{n}", queue, None)
    await asyncio.sleep(2.0)
    return queue, 10_000


@pytest.mark.parametrize("code", [401, 403])
def test_one_glitch_ends_nothing(code: int) -> None:
    """If the server refuses several polls but accepts the next request, no wait ends."""

    async def main() -> None:
        # More polls are sent before the first refusal arrives, so several polls are refused.
        transport = Scripted(lambda _id, now: code if 5.0 < now < 5.3 else "running")
        poller = make_poller(transport)
        _, count = await ten_thousand(poller)
        await asyncio.sleep(10.0)
        refused = [task_id for task_id, when in transport.asked if 5.0 < when < 5.3]
        assert len(refused) > 1
        assert len(transport.confirmed) == 1
        # No poll is sent until the confirming request returns.
        (asked_at,) = transport.confirmed
        assert not [when for _, when in transport.asked if asked_at <= when < asked_at + DELAY]
        assert poller.watched == count
        assert transport.asked[-1][1] > 11.0
        await asyncio.sleep(1500.0)
        assert refused[0] in [task_id for task_id, when in transport.asked if when > 5.3]
        await poller.close()

    run_virtual(main())


@pytest.mark.parametrize("code", [401, 403])
def test_confirmed_refusal_ends_all(code: int) -> None:
    """If a second request confirms that the key is refused, each wait gets its own error object."""

    async def main() -> None:
        transport = Scripted(lambda _id, now: code if now > 5.0 else "running")
        transport.key_code = code
        poller = make_poller(transport)
        queue, count = await ten_thousand(poller)
        errors: list[object] = []
        for _ in range(count):
            item = await queue.get()
            assert isinstance(item, Outcome)
            errors.append(item.error)
        assert asyncio.get_running_loop().time() < 5.5
        assert {type(error) for error in errors} == {AuthenticationError}
        assert len({id(error) for error in errors}) == count
        assert poller.watched == 0
        # While the breaker is open, new waits fail at once and without a request.
        requests = len(transport.asked)
        assert isinstance((await wait_for(poller, "new")).error, AuthenticationError)
        assert len(transport.asked) == requests
        await poller.close()

    run_virtual(main())


def test_no_verdict_on_the_key() -> None:
    """If polls get a 401 and the check of the key gets a 500, later polls are sent and succeed."""

    async def main() -> None:
        transport = Scripted(lambda _id, now: 401 if now < 0.05 else "success")
        transport.key_code = 500
        poller = make_poller(transport)
        outcomes = await asyncio.gather(*(wait_for(poller, f"t{n}") for n in range(100)))
        assert all(outcome.ok for outcome in outcomes)
        assert len(transport.confirmed) == 1
        await poller.close()

    run_virtual(main())


def test_deadline_while_the_key_is_being_confirmed() -> None:
    """If a pause blocks the check of a refused key, a wait ends within 60 s after its deadline."""

    async def main() -> None:
        transport = Scripted(lambda _id, _now: 401)
        poller = make_poller(transport)
        wait = wait_for(poller, "t", 0.0)
        await asyncio.sleep(40.0)
        assert transport.asked
        transport.limiter.paused_until = 1e6
        assert isinstance((await wait).error, TaskTimeoutError)
        assert asyncio.get_running_loop().time() <= GIVEN_UP + 0.1
        await poller.close()

    run_virtual(main())
