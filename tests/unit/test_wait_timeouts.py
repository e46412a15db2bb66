"""Outcomes that arrive at nearly the same time as the timeout of the wait, in virtual time.

A client *sees* the end of a task when it calls `Observer.task_ended`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from suno_async import NullObserver, Outcome, SunoClient, SunoError, TaskRef, TaskTimeoutError
from tests.finishing import Finishing
from tests.scripted import EPOCH
from tests.virtual import run_virtual

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from suno_async._protocol.requests import Request
    from suno_async._transport.http import Reply
    from suno_async.limits import Permit

OLD = TaskRef("t", EPOCH - 100.0)

#: Each turn of the virtual event loop takes a nanosecond. The reply to the only poll arrives after
#: 0.1 s, and some turns later the client sees the end of the task.
TURNS = [0.1 + turn * 1e-9 for turn in range(40)]


class Ended(NullObserver):
    """Records the ids of the tasks whose end the client sees."""

    def __init__(self) -> None:
        self.task_ids: set[str] = set()

    def task_ended(self, task_id: str, error: SunoError | None) -> None:  # noqa: ARG002 (the protocol)
        """Record the id of a task."""
        self.task_ids.add(task_id)


async def by_result(suno: SunoClient, timeout: float) -> bool:
    """Return whether `TaskHandle.result` returns the record of the task."""
    try:
        await suno.task(OLD).result(timeout=timeout)
    except TaskTimeoutError:
        return False
    return True


async def by_outcomes(suno: SunoClient, timeout: float) -> bool:
    """Return whether the outcome in `outcomes` is a success."""
    (outcome,) = await suno.outcomes([OLD], timeout=timeout)
    return outcome.ok


@pytest.mark.parametrize("wait", [by_result, by_outcomes])
def test_an_outcome_that_arrives_together_with_the_timeout(
    wait: Callable[[SunoClient, float], Awaitable[bool]],
) -> None:
    """If the client sees the end of a task before the wait ends, the wait does not time out."""

    async def main(timeout: float) -> tuple[bool, bool]:
        ended = Ended()
        async with Finishing().client(observer=ended) as suno:
            succeeded = await wait(suno, timeout)
            return succeeded, bool(ended.task_ids)

    assert {run_virtual(main(timeout)) for timeout in TURNS} == {(True, True), (False, False)}


class Holding(Finishing):
    """A server that sends no reply before `open` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.open = asyncio.Event()

    async def send(self, request: Request, permit: Permit) -> Reply:
        """Wait for `open`, and return the reply."""
        permit.sent()
        await self.open.wait()
        permit.answered()
        return self.answer(request)


def test_outcomes_that_arrive_while_a_stream_times_out() -> None:
    """The outcomes that arrive while a stream stops its waits come before the timeouts."""
    count = 10_000

    async def main() -> None:
        server, ended = Holding(), Ended()
        async with server.client(observer=ended) as suno:
            # The stream stops 256 waits in each turn. The replies arrive some turns after it began.
            loop = asyncio.get_running_loop()
            loop.call_at(loop.time() + 10.0, server.open.set)
            ids = [str(number) for number in range(count)]
            outcomes: list[Outcome] = [each async for each in suno.as_completed(ids, timeout=10)]
            assert suno.statistics().watched == 0
        assert sorted(ids) == sorted(each.task_id for each in outcomes)
        assert ended.task_ids
        first = outcomes[: len(ended.task_ids)]
        assert {each.task_id for each in first if each.ok} == ended.task_ids

    run_virtual(main())
