"""Create tasks from a stream of inputs.

A *create* is a request that creates a task. A *submission* is one create and its state. A *run* is
a named series of submissions in a journal.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from suno_async._completions import iterate
from suno_async._credit_wait import CreditWait
from suno_async._submitter import Terms, call
from suno_async.errors import (
    AuthenticationError,
    ClientClosedError,
    ConfigurationError,
    InsufficientCreditsError,
    JournalError,
    NotSentError,
)
from suno_async.handles import Creation
from suno_async.inputs import Input
from suno_async.submissions import Submission

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

    from suno_async._runtime import Runtime

#: Maximum number of creates in flight in one stream. Permits are granted in the order of the calls,
#: so another request of the account waits for at most this many requests of the stream: about half
#: a second at 15 requests per second.
CREATES_AT_ONCE = 8

#: Errors that end a stream, because further inputs would probably fail, too.
_STOPPING = (AuthenticationError, ClientClosedError, InsufficientCreditsError, JournalError)


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
        conclude: A function that returns the `Creation` of a submission that has ended. Its second
            argument is an error handler: if the `on_creation` of the client raises a
            `BaseException` such as `KeyboardInterrupt`, the handler is called with this error.
    """

    def __init__(
        self,
        runtime: Runtime,
        options: StreamOptions,
        conclude: Callable[[Submission, Callable[[BaseException], None]], Awaitable[Creation]],
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
        self._failure: BaseException | None = None

    async def creations(
        self, jobs: Iterable[Input] | AsyncIterable[Input]
    ) -> AsyncGenerator[Creation]:
        """Yield a `Creation` for each input that was read. See `SunoClient.create_many`."""
        runtime = self._runtime
        # An eager task factory would run the first part before `_reader` is set.
        reader = asyncio.Task(self._read(jobs), loop=runtime.loop, name="suno_async create_many")
        self._reader = reader
        reader.add_done_callback(self._reader_ended)
        runtime.on_close.add(self._client_closed)
        try:
            if runtime.transport.closed:
                self._client_closed()
            while (creation := await self._known.get()) is not None:
                self._places.release()
                yield creation
        finally:
            runtime.on_close.discard(self._client_closed)
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
                task = self._runtime.submitter.start(submission, self._terms)
                self._open[submission] = task
                task.add_done_callback(partial(self._create_ended, submission))
                index += 1
        except StopAsyncIteration:
            pass
        except asyncio.CancelledError as error:
            # If stopped, `_stop` or `_leave` cancelled this task. Submissions still end normally.
            if not self._stopped:
                self._failure = self._failure or _unasked("the source of the inputs", error)
        except BaseException as error:  # noqa: BLE001 (the source's own, raised at the end of the stream)
            self._failure = self._failure or error
        finally:
            self._stopped = True
            await source.aclose()
        while self._open:
            await asyncio.wait(self._open.values())

    def _reader_ended(self, reader: asyncio.Task[None]) -> None:
        # If `_leave` cancelled the reader, the stream does not raise this error.
        failure = (
            RuntimeError("the asyncio task that reads the inputs was cancelled")
            if reader.cancelled()
            else reader.exception()
        )
        self._failure = self._failure or failure
        self._known.put_nowait(None)

    def _create_ended(self, submission: Submission, task: asyncio.Task[None]) -> None:
        del self._open[submission]
        if task.cancelled():
            self._stop(_unasked("a create", asyncio.CancelledError()))
        elif error := task.exception():
            self._stop(error)

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
        except BaseException as error:
            self._stop(error)
            submission.abandoned = True
            raise NotSentError(f"on_submission failed: {error}") from error

    async def _ended(self, submission: Submission) -> None:
        creation = await self._conclude(submission, self._stop)
        # A reply that is no envelope of the API may be from a proxy.
        if isinstance(creation.error, _STOPPING) and getattr(creation.error, "understood", True):
            self._stop(creation.error)
        try:
            await call(self._options.on_creation, creation)
        except asyncio.CancelledError as error:
            if _is_asked_for():
                # `Submitter.close` has waited long enough for `on_creation`.
                self._stop(ClientClosedError("the client was closed while on_creation ran"))
            else:
                self._stop(_unasked("on_creation", error))
        except BaseException as error:  # noqa: BLE001 (the user's own, raised at the end of the stream)
            self._stop(error)
        self._known.put_nowait(creation)

    def _client_closed(self) -> None:
        """Stop reading inputs, because the client was closed."""
        if not self._stopped:
            self._stop(ClientClosedError("the client was closed before all inputs were read"))

    def _stop(self, failure: BaseException) -> None:
        """Stop reading inputs because of `failure`.

        When the stream ends, it raises the first failure.
        """
        self._failure = self._failure or failure
        if not self._stopped:
            self._stopped = True
            # The source may wait for its next input without a limit. If the source itself closes
            # the client, this must not be interrupted.
            if self._reader is not asyncio.current_task():
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
