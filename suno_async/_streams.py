"""Create tasks from a stream of inputs. A pipeline also waits for these tasks.

A *create* is a request that creates a task. A *submission* is one create and its state. A *run* is
a named series of submissions in a journal.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterable, Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from suno_async._completions import iterate
from suno_async._submitter import CreditWait, Terms, call
from suno_async.errors import (
    AuthenticationError,
    ClientClosedError,
    ConfigurationError,
    InsufficientCreditsError,
    JournalError,
    NotSentError,
    TaskTimeoutError,
)
from suno_async.handles import Created, Creation
from suno_async.inputs import Input
from suno_async.outcomes import (
    Failure,
    JobFailure,
    JobOutcome,
    Outcome,
    with_job,
)
from suno_async.submissions import Submission

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

    from suno_async._runtime import Runtime
    from suno_async.models import TaskInfo

#: Maximum number of creates in flight in one stream. Permits are granted in the order of the calls,
#: so another request of the account waits for at most this many requests of the stream: about half
#: a second at 15 requests per second.
CREATES_AT_ONCE = 8

#: Errors that end a stream, because further inputs would probably fail, too.
_STOPPING = (AuthenticationError, ClientClosedError, InsufficientCreditsError, JournalError)

T = TypeVar("T")


class StreamOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of `SunoClient.create_many` and `SunoClient.pipeline`.

    A *create* is a request that creates a task. A *submission* is one create and its state.

    Attributes:
        callback_url: As in `SunoClient.create`, for each input.
        max_credits: As in `SunoClient.create`, for each input.
        wait_for_credits: If True, a 402 (not enough credits) pauses the creates until the account
            has credits again. If False, a 402 ends the stream.
        on_creation: Called once for each input that was read, as soon as the result of its create
            is known.
        on_submission: Called with each submission right before its request is sent. Called again
            when the state of the submission returns to ``planned``, for example after a 429.
        run: The name of the series of submissions (the *run*) in the journal; empty if there is no
            run.
        key: Returns the key that identifies an input within the run. If None, the position of the
            input is its key.
    """

    callback_url: str | None = None
    max_credits: float | None = None
    wait_for_credits: bool = False
    on_creation: Callable[[Creation], object] | None = None
    on_submission: Callable[[Submission], object] | None = None
    run: str = ""
    key: Callable[[Input], str] | None = None

    def key_of(self, job: Input, index: int) -> str:
        """Return the key that identifies an input within its run; empty if there is no run.

        Raises:
            ConfigurationError: The user's function `key` returned an empty string, or a value that
                is not a string.
        """
        if not self.run:
            return ""
        if self.key is None:
            return str(index)
        key: Any = self.key(job)
        if not isinstance(key, str) or not key:
            # Without a key, the input would be paid for again when the run is continued.
            raise ConfigurationError(f"key must return a non-empty string, not {key!r}")
        return key


class CreateStream:
    """Reads inputs, sends a few create requests at a time, and collects the results.

    Args:
        runtime: The runtime of the client.
        options: The options of the stream.
        conclude: Returns the `Creation` of a submission that has ended.
    """

    def __init__(
        self,
        runtime: Runtime,
        options: StreamOptions,
        conclude: Callable[[Submission], Awaitable[Creation]],
    ) -> None:
        self._runtime = runtime
        self._conclude = conclude
        self._options = options
        self._terms = Terms(
            max_credits=options.max_credits,
            waits_out=True,
            credits=CreditWait(runtime.transport) if options.wait_for_credits else None,
            on_change=self._changed if options.on_submission is not None else None,
            on_end=self._ended,
        )
        # Limits the inputs that were read and whose creations the consumer has not taken yet. So a
        # slow consumer slows the creates down.
        self._places = asyncio.Semaphore(CREATES_AT_ONCE)
        self._known: asyncio.Queue[Creation | None] = asyncio.Queue()
        self._open: dict[Submission, asyncio.Task[None]] = {}
        self._stopped = False
        self._failure: Exception | None = None

    async def creations(
        self, jobs: Iterable[Input] | AsyncIterable[Input]
    ) -> AsyncGenerator[Creation]:
        """Yield a `Creation` for each input that was read. See `SunoClient.create_many`."""
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
        """Read the inputs and submit each of them. Then wait until all submissions have ended."""
        source = iterate(jobs)
        index = 0
        try:
            while not self._stopped:
                await self._places.acquire()
                job = await anext(source)
                options = self._options
                submission = self._runtime.submitter.submission(
                    job,
                    options.callback_url,
                    index,
                    run=options.run,
                    key=options.key_of(job, index),
                )
                # A source that ignores its cancellation may yield one more input. This input is
                # reported, but not sent.
                submission.abandoned = self._stopped
                self._open[submission] = self._runtime.submitter.start(submission, self._terms)
                index += 1
        except StopAsyncIteration:
            pass
        except asyncio.CancelledError as error:
            # If stopped, `_stop` or `_leave` cancelled this task. Submissions still end normally.
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
            # Otherwise the submission would be retried, because it was not sent.
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
                # `Submitter.close` has waited long enough for `on_creation`.
                self._stop(ClientClosedError("the client was closed while on_creation ran"))
            else:
                self._stop(_unasked("on_creation", error))
        self._open.pop(submission, None)
        self._known.put_nowait(creation)

    def _stop(self, failure: Exception) -> None:
        """Stop reading inputs because of `failure`.

        When the stream ends, it raises the first failure.
        """
        self._failure = self._failure or failure
        if not self._stopped:
            self._stopped = True
            # The source may wait for its next input without a limit.
            self._reader.cancel()

    async def _leave(self, reader: asyncio.Task[None]) -> None:
        """Cancel the create requests that are not sent yet. Wait for the requests in flight."""
        self._stopped = True
        reader.cancel()
        for submission in list(self._open):
            self._runtime.submitter.abandon(submission)
        # A create in flight may cost credits. If this wait is cancelled, the client finishes the
        # create in the background.
        while running := [each for each in (reader, *self._open.values()) if not each.done()]:
            await asyncio.wait(running)


def _is_asked_for() -> bool:
    """Return whether a cancellation of the current asyncio task was requested."""
    current = asyncio.current_task()
    return current is not None and current.cancelling() > 0


def _unasked(what: str, error: asyncio.CancelledError) -> RuntimeError:
    """Return the error to raise instead of a `CancelledError` from the user's code.

    `what` names the function or iterable that raised `error`.
    """
    # The `CancelledError` itself would end the consumer's asyncio task silently.
    failure = RuntimeError(f"{what} was cancelled, but the stream was not")
    failure.__cause__ = error
    return failure


class _PipelineWaiter:
    """Puts the outcome of one task into the queue of a pipeline."""

    __slots__ = ("_created", "_outcomes")
    interactive = False

    def __init__(self, created: Created, outcomes: asyncio.Queue[JobOutcome | None]) -> None:
        self._created = created
        self._outcomes = outcomes

    @property
    def task_id(self) -> str:
        """The id of the task."""
        return self._created.handle.id

    def read(self, info: TaskInfo) -> None:
        """Ignore the record of a task that is not finished."""

    def settled(self, outcome: Outcome) -> None:
        """Add the outcome of the task to the queue of the pipeline."""
        self._outcomes.put_nowait(with_job(outcome, self._created.index, self._created.job))


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
            for waiter in self._pending.values():
                self._runtime.poller.unwatch(waiter.task_id, waiter)
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)

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
        self._runtime.poller.watch(creation.handle.ref, (waiter,))
        if self._timeout is not None:
            self._runtime.loop.call_at(started + self._timeout, self._time_out, creation)

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
