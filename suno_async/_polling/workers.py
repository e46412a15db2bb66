"""A pool of asyncio tasks that send the status requests."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

J = TypeVar("J")

#: Greatest number of idle workers. At 15 requests per second, with replies within a second, fewer
#: than 16 requests are in flight.
MOST_IDLE = 16


class Workers(Generic[J]):
    """Handles jobs concurrently in asyncio tasks, which are called *workers*.

    Workers are reused, because this takes a third less CPU time than a new asyncio task for each
    job.

    Args:
        handle: Handles one job. It must not raise, except when it is cancelled.
        lost: Called with a job and an error if the worker of the job was cancelled. In this case,
            it is unknown whether `handle` was called.

    Attributes:
        jobs: The current jobs, by worker.
    """

    def __init__(
        self, handle: Callable[[J], Awaitable[None]], lost: Callable[[J, BaseException], None]
    ) -> None:
        """Create a pool without workers. A running event loop is required."""
        self._handle = handle
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        # The future of an idle worker receives its next job.
        self._idle: list[tuple[asyncio.Task[None], asyncio.Future[J]]] = []
        self._closed = False
        self.jobs: dict[asyncio.Task[None], J] = {}

    def start(self, job: J) -> None:
        """Handle a job in a worker."""
        while self._idle:
            worker, next_job = self._idle.pop()
            if not next_job.done():  # it is cancelled if the worker was cancelled
                self.jobs[worker] = job
                next_job.set_result(job)
                return
        # Not `create_task`: with an eager task factory, it would run the first part of the job here
        # and now, before `jobs` contains the job.
        worker = asyncio.Task(self._work(job), loop=self._loop, name="suno_async worker")
        self._tasks.add(worker)
        self.jobs[worker] = job
        worker.add_done_callback(self._ended)

    def cancel(self) -> set[asyncio.Task[None]]:
        """Cancel all workers, and return them. No new job may be started after that."""
        self._closed = True
        for worker in self._tasks:
            worker.cancel()
        return set(self._tasks)

    async def _work(self, job: J) -> None:
        worker = asyncio.current_task()
        while worker is not None:  # always true
            await self._handle(job)
            del self.jobs[worker], job
            # A job may have ended normally although its worker was cancelled.
            if self._closed or worker.cancelling() or len(self._idle) >= MOST_IDLE:
                return
            next_job: asyncio.Future[J] = self._loop.create_future()
            self._idle.append((worker, next_job))
            job = await next_job

    def _ended(self, worker: asyncio.Task[None]) -> None:
        self._tasks.discard(worker)
        error = asyncio.CancelledError() if worker.cancelled() else worker.exception()
        job = self.jobs.pop(worker, None)
        if job is not None and error is not None:
            self._lost(job, error)
