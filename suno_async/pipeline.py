"""Streams of jobs: many inputs in, what was created or what came of it out, bounded."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterable, Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import msgspec

from suno_async._submitter import CreditWait, Terms, call
from suno_async.errors import (
    AuthenticationError,
    ClientClosedError,
    InsufficientCreditsError,
    NotSentError,
    SunoError,
)
from suno_async.handles import TaskHandle
from suno_async.inputs import Input
from suno_async.models import Outcome, TaskInfo
from suno_async.submissions import Submission

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

    from suno_async._core import Core

#: Creates in flight at once. The budget is first come, first served, so everyone else who uses the
#: account waits behind so many requests, half a second, at most.
CREATES_AT_ONCE = 8

#: Errors after which every further input would get the same answer.
_STOPPING = (AuthenticationError, ClientClosedError, InsufficientCreditsError)

T = TypeVar("T")


class Creation(msgspec.Struct, frozen=True):
    """What became of one create.

    Attributes:
        index: The position of the input in its stream, from 0; 0 for a single `create`.
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
        """Whether the task was created."""
        return self.error is None


class JobOutcome(Outcome, frozen=True, kw_only=True):
    """How one job of a pipeline ended: an `Outcome` with its input.

    Attributes:
        task_id: The task; empty if none was created, or if that is not known.
        info: Its last record; None if none was read.
        error: None if the task succeeded.
        index: The position of the input, from 0.
        job: The input.
    """

    index: int
    job: Input


class StreamOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What `SunoClient.create_many` and `pipeline` take besides the inputs.

    Attributes:
        callback_url: As in `SunoClient.create`, for each input.
        max_credits: As in `SunoClient.create`, for each input.
        wait_for_credits: Hold the creates back after a 402 until there are credits again.
        on_creation: Called once for each input read, as soon as its outcome is known.
        on_submission: Called with each submission before its request may leave, and when a request
            that was not accepted is planned again.
    """

    callback_url: str | None = None
    max_credits: float | None = None
    wait_for_credits: bool = False
    on_creation: Callable[[Creation], object] | None = None
    on_submission: Callable[[Submission], object] | None = None


class CreateStream:
    """The creates of one stream: reads inputs, submits a few at once, collects the creations."""

    def __init__(
        self,
        core: Core,
        options: StreamOptions,
        conclude: Callable[[Submission], Awaitable[Creation]],
    ) -> None:
        self._core = core
        self._conclude = conclude
        self._options = options
        self._terms = Terms(
            max_credits=options.max_credits,
            waits_out=True,
            credits=CreditWait(core.transport) if options.wait_for_credits else None,
            on_change=self._changed if options.on_submission is not None else None,
            on_end=self._ended,
        )
        # Inputs that were read and whose creations were not taken yet: a slow consumer holds the
        # creates back.
        self._places = asyncio.Semaphore(CREATES_AT_ONCE)
        self._known: asyncio.Queue[Creation | None] = asyncio.Queue()
        self._open: dict[Submission, asyncio.Task[None]] = {}
        self._stopped = False
        self._failure: Exception | None = None

    async def creations(
        self, jobs: Iterable[Input] | AsyncIterable[Input]
    ) -> AsyncGenerator[Creation]:
        """Yield what `SunoClient.create_many` yields."""
        reader = asyncio.create_task(self._read(jobs), name="suno_async create_many")
        self._reader = reader
        try:
            while (creation := await self._known.get()) is not None:
                self._places.release()
                yield creation
        finally:
            await self._leave(reader)
        if self._failure is not None:
            raise self._failure

    async def _read(self, jobs: Iterable[Input] | AsyncIterable[Input]) -> None:
        """Submit each input of the source, and wait for all of them."""
        source = iterate(jobs)
        index = 0
        try:
            while not self._stopped:
                await self._places.acquire()
                job = await anext(source)
                submission = self._core.submitter.submission(job, self._options.callback_url, index)
                # A source that swallows its cancellation may give one more: it is reported, unsent.
                submission.abandoned = self._stopped
                self._open[submission] = self._core.submitter.start(submission, self._terms)
                index += 1
        except StopAsyncIteration:
            pass
        except asyncio.CancelledError as error:
            # Once stopped: by `_stop` or by `_leave`, which want the rest to end in order.
            if not self._stopped:
                self._failure = self._failure or _unasked("the source of the inputs", error)
        except Exception as error:  # noqa: BLE001 (the source's own, raised at the end of the stream)
            self._failure = self._failure or error
        finally:
            self._stopped = True
            await source.aclose()
        while self._open:
            await asyncio.wait(self._open.values())
        self._known.put_nowait(None)

    async def _changed(self, submission: Submission) -> None:
        try:
            await call(self._options.on_submission, submission)
        except asyncio.CancelledError as error:
            if _is_asked_for():
                raise
            self._stop(_unasked("on_submission", error))
            # Or else it would be tried again, as it was not sent.
            submission.abandoned = True
            raise NotSentError("on_submission was cancelled") from error
        except Exception as error:
            self._stop(error)
            submission.abandoned = True
            raise NotSentError(f"on_submission failed: {error}") from error

    async def _ended(self, submission: Submission) -> None:
        creation = await self._conclude(submission)
        if isinstance(creation.error, _STOPPING):
            self._stop(creation.error)
        try:
            await call(self._options.on_creation, creation)
        except Exception as error:  # noqa: BLE001 (the user's own, raised at the end of the stream)
            self._stop(error)
        except asyncio.CancelledError as error:
            if _is_asked_for():
                # A close has waited long enough for it.
                self._stop(ClientClosedError("the client was closed while on_creation ran"))
            else:
                self._stop(_unasked("on_creation", error))
        self._open.pop(submission, None)
        self._known.put_nowait(creation)

    def _stop(self, failure: Exception) -> None:
        """Read no further input; raise `failure` once all that was read has ended."""
        self._failure = self._failure or failure
        if not self._stopped:
            self._stopped = True
            # The source may wait for its next input for ever.
            self._reader.cancel()

    async def _leave(self, reader: asyncio.Task[None]) -> None:
        """Drop what was not sent, and wait for the replies to what was: it may be paid for.

        A second cancellation leaves those to the client, which finishes them in the background.
        """
        self._stopped = True
        reader.cancel()
        for submission in list(self._open):
            self._core.submitter.abandon(submission)
        while running := [each for each in (reader, *self._open.values()) if not each.done()]:
            await asyncio.wait(running)


def _is_asked_for() -> bool:
    """Return whether someone asked to cancel the current asyncio task."""
    current = asyncio.current_task()
    return current is not None and current.cancelling() > 0


def _unasked(what: str, error: asyncio.CancelledError) -> RuntimeError:
    """Return the error for a cancellation that came out of a function of the user's.

    Passed on as it is, it would end the consumer's asyncio task without a word.
    """
    failure = RuntimeError(f"{what} was cancelled, but the stream was not")
    failure.__cause__ = error
    return failure


class _PipelineWaiter:
    """Waits for the task of one job."""

    __slots__ = ("_creation", "_outcomes", "task_id")
    interactive = False

    def __init__(
        self, creation: Creation, task_id: str, outcomes: asyncio.Queue[JobOutcome | None]
    ) -> None:
        self._creation = creation
        self._outcomes = outcomes
        self.task_id = task_id

    def read(self, info: TaskInfo) -> None:
        """Ignore readings of a task that goes on."""

    def settled(self, outcome: Outcome) -> None:
        """Pass the outcome on."""
        self._outcomes.put_nowait(_joined(self._creation, outcome))


def _joined(creation: Creation, outcome: Outcome) -> JobOutcome:
    return JobOutcome(
        outcome.task_id, outcome.info, outcome.error, index=creation.index, job=creation.job
    )


async def pipeline(
    core: Core,
    jobs: Iterable[Input] | AsyncIterable[Input],
    max_pending: int,
    stream: CreateStream,
) -> AsyncGenerator[JobOutcome]:
    """Yield what `SunoClient.pipeline` yields."""
    places = asyncio.Semaphore(max_pending)
    outcomes: asyncio.Queue[JobOutcome | None] = asyncio.Queue()
    pending: dict[int, _PipelineWaiter] = {}

    def take(creation: Creation) -> None:
        if creation.handle is None:
            outcomes.put_nowait(_joined(creation, Outcome("", None, creation.error)))
            return
        handle = creation.handle
        waiter = pending[creation.index] = _PipelineWaiter(creation, handle.id, outcomes)
        core.poller.watch(handle.id, (waiter,), handle.born, handle.kind)

    async def feed() -> None:
        creations = stream.creations(_bounded(iterate(jobs), places))
        try:
            async with contextlib.aclosing(creations):
                async for creation in creations:
                    take(creation)
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
        for waiter in pending.values():
            core.poller.unwatch(waiter.task_id, waiter)
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)


async def iterate(items: Iterable[T] | AsyncIterable[T]) -> AsyncGenerator[T]:
    """Yield the items of a plain or an async iterable."""
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


async def _bounded(items: AsyncGenerator[T], places: asyncio.Semaphore) -> AsyncGenerator[T]:
    """Yield each item once there is a place for it. It is not even read before."""
    async with contextlib.aclosing(items):
        while True:
            await places.acquire()
            try:
                item = await anext(items)
            except StopAsyncIteration:
                return
            yield item
