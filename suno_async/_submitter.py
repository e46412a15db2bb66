"""Run each create in its own asyncio task. If the caller is cancelled, a sent request completes.

A *create* is the request that creates a task or a persona. A *submission* is one create and its
state.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import inspect
import logging
import uuid
from typing import TYPE_CHECKING, cast

from suno_async._checks import check_job, check_persona
from suno_async._protocol.replies import read_created, read_estimate, read_persona
from suno_async._protocol.requests import (
    ESTIMATE_CREDITS,
    ESTIMATE_TASK,
    Request,
    create_request,
    estimate_request,
    persona_request,
)
from suno_async.errors import (
    ClientClosedError,
    ConnectionLostError,
    CreditLimitError,
    InsufficientCreditsError,
    InternalError,
    JournalError,
    NotSentError,
    SunoError,
    TaskNotFoundError,
)
from suno_async.inputs import GeneratePersona, Input
from suno_async.limits.base import check_pause
from suno_async.submissions import Submission, SubmissionState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from suno_async._credit_wait import CreditWait
    from suno_async._recording import Recorder
    from suno_async._transport.exchange import Transport
    from suno_async.limits.base import Permit
    from suno_async.models import Estimate
    from suno_async.telemetry import Observer

logger = logging.getLogger("suno_async")

#: How many times `close` cancels late submissions, and how many seconds it waits after each time.
#: One submission can wait for a request, and then for two functions of the user.
CANCELLATIONS = 3
GRACE = 2.0

#: Seconds after which an unused permit is replaced: less than the 1/15 s between two permits.
STALE_PERMIT = 0.05


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The options of a submission.

    Attributes:
        max_credits: Maximum estimated cost of the create in credits. None means no limit. Then
            the cost is not estimated.
        waits_out: Whether requests wait until a pause of the account ends, however long the pause
            is.
        credits: After a 402 (not enough credits), delays the create until the account has credits.
            If None, a 402 ends the submission with an error.
        persona: Whether the submission creates a persona instead of a task.
        on_change: Called before each request is sent, and when the state returns to `PLANNED`.
        on_end: Called when the submission has ended. It must not raise.
    """

    max_credits: float | None = None
    waits_out: bool = False
    credits: CreditWait | None = None
    persona: bool = False
    on_change: Callable[[Submission], object] | None = None
    on_end: Callable[[Submission], Awaitable[object]] | None = None


class Submitter:
    """Sends the requests of submissions, and updates the states of the submissions.

    If a caller is cancelled after its request was sent, the submission still completes.
    """

    def __init__(
        self,
        transport: Transport,
        observer: Observer,
        unix: Callable[[], float],
        recorder: Recorder | None = None,
    ) -> None:
        self._transport = transport
        self._unix = unix
        self._recorder = recorder
        self._observer = observer
        self._loop = asyncio.get_running_loop()
        self._running: dict[Submission, asyncio.Task[None]] = {}
        self._begun: set[Submission] = set()
        self._closed = False
        # The documented path comes first. The vendor's own client calls the second one.
        self._estimate_paths = [ESTIMATE_CREDITS, ESTIMATE_TASK]

    def submission(
        self,
        job: Input | GeneratePersona,
        callback_url: str | None = None,
        index: int = 0,
        *,
        run: str = "",
        key: str = "",
    ) -> Submission:
        """Return a new submission with a unique id and the state `PLANNED`. Send nothing."""
        return Submission(uuid.uuid4().hex, job, index, run, key, callback_url)

    async def run(self, submission: Submission, terms: Terms) -> str:
        """Run a submission. Return the id of the new task or persona.

        If this call is cancelled before the request was sent, the request is never sent. If the
        call is cancelled later, the submission completes in the background.

        Raises:
            SunoError: Nothing was created, or it is unknown whether something was created.
        """
        task = self.start(submission, terms)
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            self.abandon(submission)
            raise
        if submission.error is not None:
            raise submission.error
        return submission.task_id

    def start(self, submission: Submission, terms: Terms) -> asyncio.Task[None]:
        """Start a submission in a background asyncio task. Return this asyncio task.

        Errors are stored in `submission.error`. The asyncio task itself only fails if it is
        cancelled before its first step, or if a function of the user raises an exception that is
        not an `Exception`, such as `SystemExit`.
        """

        def ended(_: asyncio.Task[None]) -> None:
            del self._running[submission]
            if not submission.state.ended:
                # The asyncio task was cancelled before its first step.
                submission.failed(self._why_cancelled(submission))

        # An eager task factory would run the first part before `_running` contains the submission.
        task = asyncio.Task(
            self._drive(submission, terms), loop=self._loop, name="suno_async create"
        )
        self._running[submission] = task
        task.add_done_callback(ended)
        return task

    def abandon(self, submission: Submission) -> None:
        """End a submission whose caller was cancelled.

        If the request was not sent yet, it is never sent. If the request is in flight, it
        completes. If the request then fails, it is not sent again.
        """
        submission.abandoned = True
        if (task := self._running.get(submission)) is not None:
            self._cancel_if_planned(submission, task)
        # Before the end of `note_end`, `_drive` will log the outcome.
        if submission.state.ended and submission not in self._begun:
            _log_abandoned(submission)

    async def close(self, timeout: float) -> None:
        """End the submissions whose requests were not sent. Wait for the requests in flight.

        Wait at most `timeout` seconds. A create that has no reply after this time ends with an
        unknown outcome. If functions of the user still run then, cancel them, and wait up to
        `CANCELLATIONS` times `GRACE` seconds longer.
        """
        self._closed = True
        for submission, task in self._running.items():
            self._cancel_if_planned(submission, task)
        current = asyncio.current_task()
        is_inside = current in self._running.values()
        for submission, task in list(self._running.items()):
            # `on_submission` calls `close`. Otherwise the journal would be closed while its state
            # for this request is ``sending``.
            if task is current and submission in self._begun and self._recorder is not None:
                submission.state = SubmissionState.PLANNED
                with contextlib.suppress(JournalError):
                    await self._recorder.note(submission)
        # `on_creation` may call `close`, even several times at once. These calls must not wait for
        # each other, but only for the creates that have no outcome yet.
        running = {
            task
            for submission, task in self._running.items()
            if task is not current and (not is_inside or submission in self._begun)
        }
        if not running:
            return
        _, late = await asyncio.wait(running, timeout=timeout)
        # The first cancellation ends the request. The others end functions of the user.
        for _ in range(CANCELLATIONS):
            if not late:
                return
            for task in late:
                task.cancel()
            _, late = await asyncio.wait(late, timeout=GRACE)
        if late:
            logger.error(
                "the client is closed, but %d creates still wait for a function such as "
                "on_creation that ignores its cancellation",
                len(late),
            )

    async def estimate(
        self, job: Input, callback_url: str | None, *, waits_out: bool = False
    ) -> Estimate:
        """Return the estimated cost of a job in credits.

        Raises:
            SunoError: The server returned an error, or no usable reply arrived.
        """
        # A copy, because a concurrent call may change the order.
        paths = tuple(self._estimate_paths)
        for path in paths:
            request = estimate_request(job, callback_url, path)
            try:
                estimate = await self._transport.get(request, read_estimate, waits_out=waits_out)
            except TaskNotFoundError:
                if path == paths[-1]:
                    raise
            else:
                # From now on, try this path before the other one.
                self._estimate_paths.sort(key=lambda each: each != path)
                return estimate
        raise AssertionError("unreachable: the last path raises")

    def _cancel_if_planned(self, submission: Submission, task: asyncio.Task[None]) -> None:
        # An asyncio task cancelled before its first step would never run `on_end`.
        if submission.state is SubmissionState.PLANNED and submission in self._begun:
            task.cancel()

    async def _drive(self, submission: Submission, terms: Terms) -> None:
        body = b""
        self._begun.add(submission)
        try:
            if self._closed or submission.abandoned:
                raise self._why_cancelled(submission)  # noqa: TRY301 (one place handles errors)
            request = _request_for(submission, persona=terms.persona)
            body = request.body or b""
            if self._recorder is None or await self._recorder.claim(submission):
                await self._check_price(submission, terms)
                new_id = await self._attempts(submission, terms, request)
                submission.created(new_id, self._unix())
        except SunoError as error:
            submission.failed(error, body)
        except asyncio.CancelledError:
            submission.failed(self._why_cancelled(submission), body)
        except Exception as error:
            # A bug in this library, or in an object of the user, such as a journal or a limiter.
            logger.exception("unforeseen error while creating %s", submission.kind)
            self._observer.internal_error(error)
            bug = InternalError(f"creating {submission.kind}")
            bug.__cause__ = error
            submission.failed(bug, body)
        if self._recorder is not None:
            await self._recorder.note_end(submission)
        self._begun.discard(submission)
        if submission.abandoned:
            _log_abandoned(submission)
        try:
            await call(terms.on_end, submission)
        except Exception:
            logger.exception("unforeseen error after a create ended")

    def _why_cancelled(self, submission: Submission) -> SunoError:
        if submission.state is SubmissionState.SENDING:
            return ConnectionLostError("the client was closed before the reply arrived")
        if submission.abandoned:
            return NotSentError("cancelled before it was sent")
        return ClientClosedError("the client was closed before the create was sent")

    async def _check_price(self, submission: Submission, terms: Terms) -> None:
        job = submission.job
        if terms.max_credits is None or isinstance(job, GeneratePersona):
            return
        price = await self.estimate(job, submission.callback_url, waits_out=terms.waits_out)
        if price.estimated_credits > terms.max_credits:
            raise CreditLimitError(terms.max_credits, price)

    async def _attempts(self, submission: Submission, terms: Terms, request: Request) -> str:
        async def attempts() -> str:
            return await self._transport.retrying(
                lambda permit: self._attempt(submission, terms, request, permit),
                lambda error: not self._closed and submission.may_retry(error),
                f"create {submission.kind}",
                waits_out=terms.waits_out,
            )

        try:
            return await attempts()
        except InsufficientCreditsError:
            if terms.credits is None or submission.abandoned or self._closed:
                raise
        return await terms.credits.attempt(attempts, submission)

    async def _attempt(
        self, submission: Submission, terms: Terms, request: Request, permit: Permit
    ) -> str:
        noted, has_permit = False, True
        try:
            self._check_may_send(submission)
            submission.sending()
            began = self._loop.time()
            await self._changed(submission, terms)
            noted = True
            if self._loop.time() - began > STALE_PERMIT:
                # Otherwise several delayed creates could be sent at the same time.
                permit.cancel()
                has_permit = False
                self._check_may_send(submission)
                # Nothing is in flight during this wait, so `close` and `abandon` may end it.
                submission.state = SubmissionState.PLANNED
                by = (
                    None if terms.waits_out else self._loop.time() + self._transport.request_timeout
                )
                permit = await self._transport.limiter.acquire(by)
                has_permit = True
                submission.sending()
            # Check again, because `on_change` may have taken a long time.
            self._check_may_send(submission)
        except BaseException:
            if has_permit:
                permit.cancel()
            submission.state = SubmissionState.PLANNED
            if noted:
                # The journal may be closed by now. The error that is being raised says more.
                with contextlib.suppress(JournalError):
                    await self._changed(submission, terms)
            raise
        read = read_persona if isinstance(submission.job, GeneratePersona) else read_created
        try:
            return await self._transport.once(request, read, permit, spends=True)
        except SunoError as error:
            submission.attempt_failed(error)
            if submission.state is SubmissionState.PLANNED:
                await self._changed(submission, terms)
            raise

    async def _changed(self, submission: Submission, terms: Terms) -> None:
        """Report the new state of a submission to the journal, then to `on_change`."""
        if self._recorder is not None:
            await self._recorder.note(submission)
        await call(terms.on_change, submission)

    def _check_may_send(self, submission: Submission) -> None:
        """Raise an error if the create must not be sent now, for example during a pause."""
        now = self._loop.time()
        self._transport.breaker.check(now, spends=True)
        check_pause(self._transport.limiter.paused, now, now)
        if self._closed:
            raise ClientClosedError("the client was closed before the create was sent")
        if submission.abandoned:
            raise NotSentError("cancelled before it was sent")


async def call(function: Callable[..., object] | None, *arguments: object) -> None:
    """Call a function, unless it is None. If its result is awaitable, await it."""
    if function is not None:
        result = function(*arguments)
        if inspect.isawaitable(result):
            await result


def _request_for(submission: Submission, *, persona: bool) -> Request:
    job = submission.job
    if persona and isinstance(job, GeneratePersona):
        check_persona(job)
        return persona_request(job)
    # This refuses a persona in a stream of jobs.
    check_job(job, submission.callback_url)
    return create_request(cast("Input", job), submission.callback_url)


def _log_abandoned(submission: Submission) -> None:
    """Log the outcome of a create whose caller was cancelled."""
    kind = submission.kind
    if submission.state is SubmissionState.CREATED:
        logger.warning(
            "the caller of a create was cancelled, but %s %s was created", kind, submission.task_id
        )
    elif submission.sent:
        logger.warning("a create that was sent is not tried again: %s", submission.error)
