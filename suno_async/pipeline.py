"""An async stream of inputs in, outcomes out, bounded: what is created, and what becomes of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterable
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from suno_async.errors import (
    AuthenticationError,
    ClientClosedError,
    CreateOutcomeUnknownError,
    NotSentError,
    SunoError,
)
from suno_async.handles import TaskHandle
from suno_async.inputs import Input
from suno_async.models import Outcome, TaskInfo

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable

    from suno_async._core import Core

logger = logging.getLogger("suno_async")

#: Creates on their way at once. The budget is first come, first served, so everyone else who uses
#: the account waits behind so many requests, half a second, at most.
CREATES_AT_ONCE = 8

T = TypeVar("T")


class Creation(msgspec.Struct, frozen=True):
    """What became of creating one of many jobs.

    Attributes:
        index: Which of the inputs, counted from 0.
        job: The input.
        handle: The task; None if it was not created.
        error: None if it was created. `CreateOutcomeUnknownError` if that is not known.
    """

    index: int
    job: Input
    handle: TaskHandle | None = None
    error: SunoError | None = None

    @property
    def ok(self) -> bool:
        """The task was created."""
        return self.error is None


class JobOutcome(Outcome, frozen=True, kw_only=True):
    """How one of a pipeline's jobs ended: an `Outcome` that knows its input.

    Attributes:
        task_id: Which task; empty if none was created, or if that is not known.
        info: Its last record; None if none was read.
        error: None if the task succeeded.
        index: Which of the inputs, counted from 0.
        job: The input.
    """

    index: int
    job: Input


class _Fate:
    """Waits for one job's task."""

    __slots__ = ("_creation", "_outcomes", "task_id")
    interactive = False

    def __init__(
        self, creation: Creation, task_id: str, outcomes: asyncio.Queue[JobOutcome | None]
    ) -> None:
        self._creation = creation
        self._outcomes = outcomes
        self.task_id = task_id

    def read(self, info: TaskInfo) -> None:
        """Readings are not wanted."""

    def settled(self, outcome: Outcome) -> None:
        """The task has ended."""
        self._outcomes.put_nowait(_joined(self._creation, outcome))


def _joined(creation: Creation, outcome: Outcome) -> JobOutcome:
    return JobOutcome(
        outcome.task_id, outcome.info, outcome.error, index=creation.index, job=creation.job
    )


class Creator:
    """Creates many jobs, a few at once, for `SunoClient.create_many`.

    Args:
        core: Of the client.
        create: Creates one.
        on_creation: Told each creation as soon as it is known.
    """

    def __init__(
        self,
        core: Core,
        create: Callable[[Input], Awaitable[TaskHandle]],
        on_creation: Callable[[Creation], object] | None,
    ) -> None:
        self._core = core
        self._create = create
        self._on_creation = on_creation
        self._turn = asyncio.Lock()
        # Of one: a consumer that takes its time holds the creates back.
        self._known: asyncio.Queue[Creation | None] = asyncio.Queue(1)
        self._read = 0
        self._reading: asyncio.Task[Any] | None = None
        self._unsent: set[asyncio.Task[None] | None] = set()
        self._stopped = self._left = False
        self._failure: Exception | None = None

    async def creations(
        self, jobs: Iterable[Input] | AsyncIterable[Input]
    ) -> AsyncGenerator[Creation]:
        """What `SunoClient.create_many` yields."""
        source = _stream(jobs)
        workers = [
            asyncio.create_task(self._work(source), name="suno_async create")
            for _ in range(CREATES_AT_ONCE)
        ]
        working = len(workers)
        try:
            while working:
                creation = await self._known.get()
                if creation is None:
                    working -= 1
                else:
                    yield creation
        finally:
            await self._leave(workers)
            await source.aclose()
        if self._failure is not None:
            raise self._failure

    async def _work(self, source: AsyncGenerator[Input]) -> None:
        try:
            while (item := await self._next(source)) is not None:
                creation = await self._attempt(*item)
                self._tell(creation)
                await self._known.put(creation)
        except Exception as error:  # noqa: BLE001 (a bug: raised at the end, and no worker is waited for in vain)
            self._stop(error)
        await self._known.put(None)

    def _tell(self, creation: Creation) -> None:
        if self._on_creation is None:
            if self._left and creation.handle is not None:
                logger.warning("task %s was created while its stream was left", creation.handle.id)
            return
        try:
            self._on_creation(creation)
        except Exception as error:  # noqa: BLE001 (what was paid for is handed on; the error is raised at the end)
            self._stop(error)

    async def _next(self, source: AsyncGenerator[Input]) -> tuple[int, Input] | None:
        async with self._turn:
            if self._stopped:
                return None
            self._reading = asyncio.current_task()
            try:
                job = await anext(source)
            except StopAsyncIteration:
                self._stopped = True
                return None
            except asyncio.CancelledError:
                if self._left or self._failure is None:
                    raise
                return None  # by `_stop`
            except Exception as error:  # noqa: BLE001 (whatever it is, it is raised at the end)
                self._stop(error)
                return None
            finally:
                self._reading = None
            self._read += 1
            return self._read - 1, job

    async def _attempt(self, index: int, job: Input) -> Creation:
        try:
            return Creation(index, job, await self._create(job))
        except SunoError as error:
            if isinstance(error, AuthenticationError | ClientClosedError):
                # All others would get the same answer.
                self._stop(error)
            return Creation(index, job, None, error)
        except asyncio.CancelledError:
            left: SunoError = CreateOutcomeUnknownError("cancelled on its way", job.KIND)
            if asyncio.current_task() in self._unsent:
                left = NotSentError("its stream was left before it was sent")
            self._tell(Creation(index, job, None, left))
            raise

    def _stop(self, failure: Exception) -> None:
        self._stopped = True
        self._failure = self._failure or failure
        # A source may wait for its next input for ever.
        if self._reading is not None and self._reading is not asyncio.current_task():
            self._reading.cancel()

    async def _leave(self, workers: list[asyncio.Task[None]]) -> None:
        """Cancel what has not left; what has may be paid for, and its answer is waited for."""
        self._left = self._stopped = True
        self._unsent = {worker for worker in workers if self._core.transport.leave(worker)}
        # Who has an answer must not wait for a consumer that is gone.
        self._known = asyncio.Queue()
        try:
            await asyncio.wait(workers)
        except asyncio.CancelledError:
            for worker in workers:
                worker.cancel()
            raise


async def pipeline(
    core: Core,
    jobs: Iterable[Input] | AsyncIterable[Input],
    max_pending: int,
    creator: Creator,
) -> AsyncGenerator[JobOutcome]:
    """What `SunoClient.pipeline` yields."""
    places = asyncio.Semaphore(max_pending)
    outcomes: asyncio.Queue[JobOutcome | None] = asyncio.Queue()
    pending: dict[int, _Fate] = {}

    async def feed() -> None:
        try:
            async for creation in creator.creations(_bounded(_stream(jobs), places)):
                if creation.handle is None:
                    outcomes.put_nowait(_joined(creation, Outcome("", None, creation.error)))
                    continue
                handle = creation.handle
                fate = pending[creation.index] = _Fate(creation, handle.id, outcomes)
                core.poller.watch(handle.id, (fate,), handle.born, handle.kind)
        finally:
            outcomes.put_nowait(None)

    feeding = asyncio.create_task(feed(), name="suno_async pipeline")
    reading = True
    try:
        while reading or pending:
            outcome = await outcomes.get()
            if outcome is None:
                reading = False
                continue
            pending.pop(outcome.index, None)
            places.release()
            yield outcome
        await feeding
    finally:
        for fate in pending.values():
            core.poller.unwatch(fate.task_id, fate)
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)


async def _stream(items: Iterable[T] | AsyncIterable[T]) -> AsyncGenerator[T]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


async def _bounded(items: AsyncGenerator[T], places: asyncio.Semaphore) -> AsyncGenerator[T]:
    """Each item once there is a place for it; it is not even read before."""
    while True:
        await places.acquire()
        try:
            item = await anext(items)
        except StopAsyncIteration:
            return
        yield item
