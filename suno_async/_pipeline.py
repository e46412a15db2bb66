"""Create tasks from a stream of inputs, wait for the tasks, and collect their outcomes."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, TypeVar

from suno_async._completions import iterate
from suno_async._polling.waiters import CHUNK
from suno_async.errors import TaskTimeoutError
from suno_async.outcomes import Failure, JobFailure, JobOutcome, Outcome, with_job

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Iterable

    from suno_async._runtime import Runtime
    from suno_async._streams import CreateStream
    from suno_async.handles import Created, Creation
    from suno_async.inputs import Input
    from suno_async.models import TaskInfo

T = TypeVar("T")


class _PipelineWaiter:
    """Puts the outcome of one task into the queue of a pipeline."""

    __slots__ = ("_created", "_outcomes", "timer")
    interactive = False

    def __init__(self, created: Created, outcomes: asyncio.Queue[JobOutcome | None]) -> None:
        self._created = created
        self._outcomes = outcomes
        self.timer: asyncio.TimerHandle | None = None

    @property
    def task_id(self) -> str:
        """The id of the task."""
        return self._created.handle.id

    def read(self, info: TaskInfo) -> None:
        """Ignore the record of a task that is not finished."""

    def settled(self, outcome: Outcome) -> None:
        """Add the outcome of the task to the queue of the pipeline."""
        self.stop_timer()
        self._outcomes.put_nowait(with_job(outcome, self._created.index, self._created.job))

    def stop_timer(self) -> None:
        """Cancel the timer of the timeout. Until it fires, it would keep the client in memory."""
        if self.timer is not None:
            self.timer.cancel()


class Pipeline:
    """One call of `SunoClient.pipeline`: creates tasks, waits for them, and collects the outcomes.

    Args:
        runtime: The runtime of the client.
        stream: The stream that creates the tasks.
        max_pending: Maximum number of inputs in progress. An input is in progress until the
            consumer receives its outcome.
        timeout: Maximum seconds to wait for each task. None means no timeout.
            `PollPolicy.deadline` also ends the wait.
        run: The name of the run in the journal; empty if there is no run.
    """

    def __init__(
        self,
        runtime: Runtime,
        stream: CreateStream,
        max_pending: int,
        timeout: float | None,
        run: str = "",
    ) -> None:
        self._runtime = runtime
        self._run = run
        self._stream = stream
        self._timeout = timeout
        # An input is in progress until the consumer receives its outcome.
        self._places = asyncio.Semaphore(max_pending)
        self._outcomes: asyncio.Queue[JobOutcome | None] = asyncio.Queue()
        self._pending: dict[int, _PipelineWaiter] = {}

    async def outcomes(
        self, jobs: Iterable[Input] | AsyncIterable[Input]
    ) -> AsyncGenerator[JobOutcome]:
        """Yield the outcome of each input that was read. See `SunoClient.pipeline`."""
        recorder = self._runtime.recorder
        async with contextlib.AsyncExitStack() as stack:
            if recorder is not None:
                await stack.enter_async_context(recorder.holding(self._run))
            outcomes = await stack.enter_async_context(contextlib.aclosing(self._outcomes_of(jobs)))
            async for outcome in outcomes:
                yield outcome

    async def _outcomes_of(
        self, jobs: Iterable[Input] | AsyncIterable[Input]
    ) -> AsyncGenerator[JobOutcome]:
        feeding = asyncio.create_task(self._feed(jobs), name="suno_async pipeline")
        reading = True
        try:
            while reading or self._pending:
                outcome = await self._outcomes.get()
                if outcome is None:
                    reading = False
                    continue
                waited = self._pending.pop(outcome.index, None) is not None
                if outcome.task_id and not waited:
                    continue  # a second outcome for the same job
                self._places.release()
                yield outcome
            await feeding
        finally:
            self._leave()
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)

    def _leave(self) -> None:
        """Stop waiting for the pending tasks: `CHUNK` of them now, the others a little later."""
        for _ in range(min(CHUNK, len(self._pending))):
            _, waiter = self._pending.popitem()
            waiter.stop_timer()
            self._runtime.poller.unwatch(waiter.task_id, waiter)
        if self._pending:
            self._runtime.loop.call_soon(self._leave)

    async def _feed(self, jobs: Iterable[Input] | AsyncIterable[Input]) -> None:
        creations = self._stream.creations(_bounded(iterate(jobs), self._places))
        try:
            async with contextlib.aclosing(creations):
                async for creation in creations:
                    await self._take(creation)
        finally:
            self._outcomes.put_nowait(None)

    async def _take(self, creation: Creation) -> None:
        if creation.error is not None:
            self._outcomes.put_nowait(
                JobFailure("", creation.error, index=creation.index, job=creation.job)
            )
            return
        started = self._runtime.loop.time()
        stored = await self._runtime.stored([creation.handle.id])
        waiter = self._pending[creation.index] = _PipelineWaiter(creation, self._outcomes)
        if stored:
            waiter.settled(stored[waiter.task_id])
            return
        if self._timeout is not None:
            waiter.timer = self._runtime.loop.call_at(
                started + self._timeout, self._time_out, creation
            )
        self._runtime.poller.watch(creation.handle.ref, (waiter,))

    def _time_out(self, created: Created) -> None:
        waiter = self._pending.get(created.index)
        if waiter is None:
            return
        poller, task_id = self._runtime.poller, created.handle.id
        seen = poller.last_seen(task_id)
        poller.unwatch(task_id, waiter)
        reason = f"not finished within the timeout of {self._timeout:g} s"
        waiter.settled(Failure(task_id, TaskTimeoutError(task_id, reason, *seen)))


async def _bounded(items: AsyncGenerator[T], places: asyncio.Semaphore) -> AsyncGenerator[T]:
    """Yield the items. Acquire the semaphore `places` before each item is read.

    The consumer of the items releases the semaphore.
    """
    async with contextlib.aclosing(items):
        while True:
            await places.acquire()
            try:
                item = await anext(items)
            except StopAsyncIteration:
                return
            yield item
