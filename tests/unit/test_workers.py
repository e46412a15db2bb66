"""The pool of asyncio tasks that send the status requests."""

from __future__ import annotations

import asyncio
import contextlib
import sys

import pytest

from suno_async._polling.workers import MOST_IDLE, Workers
from tests.virtual import run_virtual


class Pool(Workers[float]):
    """Workers whose jobs sleep. A job is a number of seconds.

    Attributes:
        handled: The jobs that ended normally, in order.
        dropped: The jobs whose worker was cancelled, in order.
    """

    def __init__(self) -> None:
        super().__init__(self.sleep, self.drop)
        self.handled: list[float] = []
        self.dropped: list[float] = []

    async def sleep(self, job: float) -> None:
        """Sleep for `job` seconds, and record the job."""
        await asyncio.sleep(job)
        self.handled.append(job)

    def drop(self, job: float, error: BaseException) -> None:
        """Record a job whose worker was cancelled."""
        assert isinstance(error, asyncio.CancelledError)
        self.dropped.append(job)


def workers() -> set[asyncio.Task[object]]:
    """Return all asyncio tasks except the current task."""
    return {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}


def test_jobs_run_at_once_and_workers_are_reused() -> None:
    """Jobs run concurrently. At most `MOST_IDLE` idle workers are kept. Later jobs reuse them."""

    async def main() -> None:
        pool = Pool()
        for _ in range(2 * MOST_IDLE):
            pool.start(5.0)
        await asyncio.sleep(5.1)
        assert len(pool.handled) == 2 * MOST_IDLE
        assert not pool.jobs
        before = workers()
        assert len(before) == MOST_IDLE
        for _ in range(MOST_IDLE):
            pool.start(1.0)
        assert len(pool.jobs) == MOST_IDLE
        assert workers() == before
        await asyncio.sleep(1.1)
        assert len(pool.handled) == 3 * MOST_IDLE
        await asyncio.wait(pool.cancel())
        assert not pool.dropped
        assert not workers()

    run_virtual(main())


def test_cancelled_workers_lose_no_job_silently() -> None:
    """Every job whose worker is cancelled is reported, even if the job had not begun."""

    async def main() -> None:
        pool = Pool()
        pool.start(1.0)
        await asyncio.sleep(1.1)
        (idle,) = workers()
        pool.start(2.0)  # the idle worker does not begin before the next cycle of the event loop
        pool.start(3.0)
        for task in workers():
            task.cancel()
        await asyncio.sleep(0.1)
        assert pool.dropped == [2.0, 3.0]
        assert not pool.jobs
        assert idle.done()

    run_virtual(main())


def test_cancelled_idle_worker_gets_no_job() -> None:
    """A job is not given to an idle worker that was just cancelled."""

    async def main() -> None:
        pool = Pool()
        pool.start(1.0)
        await asyncio.sleep(1.1)
        (idle,) = workers()
        idle.cancel()
        pool.start(2.0)
        await asyncio.sleep(2.1)
        assert pool.handled == [1.0, 2.0]
        assert not pool.dropped
        await asyncio.wait(pool.cancel())

    run_virtual(main())


@pytest.mark.parametrize("is_closing", [True, False])
def test_job_that_ends_normally_although_it_was_cancelled(is_closing: bool) -> None:  # noqa: FBT001 (a parameter of the test)
    """A cancelled worker ends, even if its job catches the cancellation."""

    class Stubborn(Pool):
        async def sleep(self, job: float) -> None:
            with contextlib.suppress(asyncio.CancelledError):
                await super().sleep(job)

    async def main() -> None:
        pool = Stubborn()
        pool.start(5.0)
        await asyncio.sleep(1.0)
        tasks = pool.cancel() if is_closing else workers()
        for task in tasks:
            task.cancel()
        async with asyncio.timeout(60.0):
            await asyncio.wait(tasks)
        assert not pool.jobs
        assert not workers()

    run_virtual(main())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="has no eager tasks")
def test_eager_tasks() -> None:
    """With an eager task factory, jobs that end without waiting are handled like all other jobs."""

    class Quick(Pool):
        async def sleep(self, job: float) -> None:
            self.handled.append(job)

    async def main() -> None:
        if sys.version_info >= (3, 12):
            asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        pool = Quick()
        for number in range(3):
            pool.start(float(number))
        await asyncio.sleep(1.0)
        assert pool.handled == [0.0, 1.0, 2.0]
        assert not pool.jobs
        assert not pool.dropped
        await asyncio.wait(pool.cancel())

    run_virtual(main())
