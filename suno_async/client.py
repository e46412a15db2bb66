"""The session manager: everything in a process that uses one account shares one `SunoClient`."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import time
from typing import TYPE_CHECKING, Self, cast

from suno_async._checks import check_job, check_max_credits, check_persona, check_task_id
from suno_async._protocol.replies import read_balance, read_models, read_schema, read_upload
from suno_async._protocol.requests import (
    balance_request,
    models_request,
    schema_request,
    task_info_request,
    upload_request,
)
from suno_async._protocol.task_info import read_task_info
from suno_async._runtime import Core
from suno_async._schedule.durations import Durations
from suno_async._streams import CreateStream, StreamOptions, pipeline
from suno_async._submitter import Terms, call
from suno_async._transport.account import Account
from suno_async._transport.exchange import Transport
from suno_async.errors import (
    ClientClosedError,
    ConfigurationError,
    InvalidInputError,
    WrongEventLoopError,
)
from suno_async.handles import Creation, TaskHandle
from suno_async.limits.local import MAX_PAUSE, RATE_LIMIT
from suno_async.models import Persona
from suno_async.policy import PollPolicy
from suno_async.statistics import Statistics

if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        AsyncIterable,
        AsyncIterator,
        Callable,
        Iterable,
        Iterator,
    )
    from os import PathLike
    from pathlib import Path
    from types import TracebackType

    import aiohttp

    from suno_async.inputs import GeneratePersona, Input
    from suno_async.limits.local import AccountLimiter
    from suno_async.models import Estimate, ModelInfo, ModelSchema, TaskInfo, Track
    from suno_async.outcomes import JobOutcome, Outcome
    from suno_async.submissions import Submission

logger = logging.getLogger("suno_async")

#: The median duration taken for granted before any job has ended: 90 s, in intervals of 15 s.
PRIOR_INTERVALS = 6.0


class SunoClient:
    """A connection pool, a request budget and a poll scheduler, shared by all who use them.

    Clients with the same key and host in one event loop share one budget without being told to.
    Keys and URLs come from the arguments, or from SUNO_API_KEY, then CRUN_API_KEY, and
    SUNO_BASE_URL, then CRUN_BASE_URL.

    Args:
        api_key: The account's key. It is sent to the API host alone, and shown nowhere.
        base_url: The API host; ``https://api.crunai.com`` for mainland China.
        session: An aiohttp session to use instead of one of its own; it stays open. Its kept
            connections serve creates too, so a create is likelier to end as
            `CreateOutcomeUnknownError` than with the client's own, which opens one for each.
        policy: When to poll a task; by default `PollPolicy()`, faster by the factor in the
            environment variable SUNO_TIME_SCALE, if it is set (for a sandbox with a time scale).
        durations: What an earlier client learnt of how long jobs take, and where this one adds
            what it learns (`Durations`). It may be shared between clients. Without it jobs are
            taken to last about six of the policy's intervals, until some have ended.
        limiter: The request budget to use instead of the one that all clients of this key and host
            in the event loop share. For tests.
        on_creation: Called exactly once for each create whose request was sent, whether it
            succeeded or not, and also when its caller was cancelled: the place to save the ids of
            what was paid for. A coroutine function is awaited. What it raises is logged.
        rate_limit: Most requests per second, 15 at most (the vendor's limit). Lower it where other
            processes use the same key. Of an account's clients the lowest holds.
        max_pause: Longest pause of the account in seconds after a 429 or 455, whatever the server
            asks for. Of an account's clients the shortest holds.
        request_timeout: Seconds for one request.
        retry_for: Seconds for which a direct call or a create is retried. Waiting for the request
            budget counts, and so does a pause: one that ends later raises `RateLimitError` or
            `MaintenanceError` at once.

    Raises:
        ConfigurationError: No key, or an argument that cannot work.
    """

    def __init__(  # noqa: PLR0913 (all but the key are options with defaults)
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        session: aiohttp.ClientSession | None = None,
        policy: PollPolicy | None = None,
        durations: Durations | None = None,
        limiter: AccountLimiter | None = None,
        on_creation: Callable[[Creation], object] | None = None,
        rate_limit: float = RATE_LIMIT,
        max_pause: float = MAX_PAUSE,
        request_timeout: float = 30.0,
        retry_for: float = 60.0,
    ) -> None:
        if not 0 < rate_limit <= RATE_LIMIT:
            raise ConfigurationError(f"rate_limit must be above 0 and at most {RATE_LIMIT:g}")
        if not request_timeout > 0 or not retry_for >= 0 or not max_pause > 0:
            raise ConfigurationError(
                "request_timeout and max_pause must be above 0, retry_for must not be below 0"
            )
        self._account = Account(api_key, base_url)
        self._session = session
        self._policy = policy or _default_policy()
        self.durations = durations or Durations(PRIOR_INTERVALS * self._policy.interval)
        self._limiter = limiter
        self._on_creation = on_creation
        self._rate_limit = rate_limit
        self._max_pause = max_pause
        self._timeout = request_timeout
        self._retry_for = retry_for
        self._core: Core | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"<SunoClient {self._account.base_url}{' closed' if self._closed else ''}>"

    async def __aenter__(self) -> Self:
        self.core()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End every wait with `ClientClosedError` and close what this client opened.

        Creates in flight are finished first, which takes `request_timeout` at most. A cancelled
        close can be completed by another one.
        """
        self._closed = True
        if self._core is not None:
            await self._core.close()

    async def create(
        self, job: Input, *, callback_url: str | None = None, max_credits: float | None = None
    ) -> TaskHandle:
        """Create a task. Costs credits.

        It is sent again only when it certainly was not accepted: no connection, 429, 455. If this
        call is cancelled before the request left, nothing is sent. If it is cancelled later, the
        create is finished in the background, and its outcome goes to the client's ``on_creation``
        and to the log.

        Args:
            job: What to make.
            callback_url: POSTed by the server when the task ends.
            max_credits: Ask for the price first, and create nothing that costs more.

        Raises:
            InvalidInputError: The input breaks a rule; nothing was sent.
            CreditLimitError: It would cost more than `max_credits`; nothing was spent.
            InsufficientCreditsError: Not enough credits. Further creates raise it at once, without
                a request, for 30 s or until `balance` sees credits; polling goes on.
            CreateOutcomeUnknownError: It may or may not have been accepted; it was not resent.
            SunoError: It was refused, or could not be sent.
        """
        core = self.core()
        check_job(job, callback_url)
        check_max_credits(max_credits)
        submission = core.submitter.submission(job, callback_url)
        terms = Terms(max_credits=max_credits, on_end=self._conclude)
        task_id = await core.submitter.run(submission, terms)
        return TaskHandle(self, task_id, core.loop.time(), job.KIND)

    async def create_persona(self, persona: GeneratePersona) -> Persona:
        """Make a voice out of a song; later songs sing with it by its id.

        Like a create, it is sent again only when it certainly was not accepted.

        Raises:
            InvalidInputError: The input breaks a rule; nothing was sent.
            ValidationError: The server does not know the song.
            CreateOutcomeUnknownError: It may or may not have been made; it was not resent.
            SunoError: It was refused, or could not be sent.
        """
        core = self.core()
        check_persona(persona)
        submission = core.submitter.submission(persona)
        return Persona(await core.submitter.run(submission, Terms()), persona.name)

    async def estimate(self, job: Input, *, callback_url: str | None = None) -> Estimate:
        """Return what a job would cost. Costs a request, but no credits.

        Raises:
            InvalidInputError: The input breaks a rule; nothing was sent.
            SunoError: The server refused, or could not be asked.
        """
        core = self.core()
        check_job(job, callback_url)
        return await core.submitter.estimate(job, callback_url)

    def create_many(  # noqa: PLR0913 (all but the source are options with defaults)
        self,
        jobs: Iterable[Input] | AsyncIterable[Input],
        *,
        callback_url: str | None = None,
        max_credits: float | None = None,
        wait_for_credits: bool = False,
        on_creation: Callable[[Creation], object] | None = None,
        on_submission: Callable[[Submission], object] | None = None,
    ) -> AsyncGenerator[Creation]:
        """Create many tasks, a few at once; yield one `Creation` for each input read.

        One failing input does not stop the others, and a pause of the account fails none. The
        source is read only as fast as the creations are taken. It is read no further once the key
        is refused, the credits are used up or the client is closed; that error, or the source's
        own, is raised at the end. Leaving the loop early sends nothing more, and waits for the
        replies to what was sent: they reach `on_creation`.

        Args:
            jobs: What to make; a plain iterable must not block.
            callback_url: As in `create`, for each input.
            max_credits: As in `create`, for each input.
            wait_for_credits: After a 402, hold the creates back, ask for the balance every 30 s and
                go on once there are credits, instead of ending the stream.
            on_creation: Called exactly once for each input read, as soon as its outcome is known,
                also after the loop was left. A coroutine function is awaited. If it raises, no
                further input is read, and the error is raised at the end.
            on_submission: Called with each `Submission` right before its request may leave
                (``state`` is ``"sending"``), and when a request that was not accepted is planned
                again: the place to note down what may be paid for. A coroutine function is
                awaited. If it raises, the request is not sent and the stream ends as above.

        Raises:
            InvalidInputError: `max_credits` is below 0.
            SunoError: While iterating; see above.
        """
        options = StreamOptions(
            callback_url=callback_url,
            max_credits=check_max_credits(max_credits),
            wait_for_credits=wait_for_credits,
            on_creation=on_creation,
            on_submission=on_submission,
        )
        return CreateStream(self.core(), options, self._conclude).creations(jobs)

    def pipeline(  # noqa: PLR0913 (all but the source are options with defaults)
        self,
        jobs: Iterable[Input] | AsyncIterable[Input],
        *,
        max_pending: int = 500,
        callback_url: str | None = None,
        max_credits: float | None = None,
        wait_for_credits: bool = False,
        on_creation: Callable[[Creation], object] | None = None,
        on_submission: Callable[[Submission], object] | None = None,
    ) -> AsyncGenerator[JobOutcome]:
        """Create each job and wait for it; yield each one's outcome as it ends.

        Every input that is read yields exactly one `JobOutcome`. One failure does not stop the
        rest. The source is read, and left, as by `create_many`.

        Args:
            jobs: What to make; a plain iterable must not block.
            max_pending: Most inputs that are read and not yet taken as outcomes. The default is
                about what one account's budget can follow: 15 requests a second, three or four to
                a job, jobs of one to several minutes.
            callback_url: As in `create`, for each input.
            max_credits: As in `create`, for each input.
            wait_for_credits: As in `create_many`. Otherwise tasks already created are finished, and
                the 402 is raised at the end.
            on_creation: As in `create_many`.
            on_submission: As in `create_many`.

        Raises:
            ConfigurationError: `max_pending` is not above 0.
            InvalidInputError: `max_credits` is below 0.
            SunoError: While iterating, as by `create_many`.
        """
        if max_pending < 1:
            raise ConfigurationError("max_pending must be above 0")
        core = self.core()
        options = StreamOptions(
            callback_url=callback_url,
            max_credits=check_max_credits(max_credits),
            wait_for_credits=wait_for_credits,
            on_creation=on_creation,
            on_submission=on_submission,
        )
        return pipeline(core, jobs, max_pending, CreateStream(core, options, self._conclude))

    def task(self, task_id: str, *, created_at: float | None = None) -> TaskHandle:
        """A handle for an id kept from before; no request.

        Args:
            task_id: The id.
            created_at: When it was created, in Unix seconds; without it the task may be asked
                about at once, as the vendor's first interval is about a task just created.

        Raises:
            InvalidInputError: That cannot be an id.
        """
        check_task_id(task_id)
        if created_at is None:
            return TaskHandle(self, task_id, None)
        age = max(0.0, time.time() - created_at)
        return TaskHandle(self, task_id, self.core().loop.time() - age)

    async def task_info(self, task_id: str) -> TaskInfo:
        """Ask about one task, now: one request, and more only while it fails for passing reasons.

        Raises:
            InvalidInputError: That cannot be an id.
            SunoError: The server refused, or could not be asked.
        """
        check_task_id(task_id)
        return await self.core().transport.get(
            task_info_request(task_id),
            lambda status, headers, body: read_task_info(status, headers, body, task_id),
        )

    async def balance(self) -> float:
        """The account's credits; may be a fraction.

        Raises:
            SunoError: The server refused, or could not be asked.
        """
        core = self.core()
        balance = await core.transport.get(balance_request(), read_balance)
        core.transport.gate.saw_balance(balance)
        return balance

    async def models(
        self, *, modality: str | None = None, operation: str | None = None
    ) -> tuple[ModelInfo, ...]:
        """What the service offers, by the server's account.

        Args:
            modality: Only these, such as ``"audio"``.
            operation: Only these; the server's own word.

        Raises:
            SunoError: The server refused, or could not be asked.
        """
        request = models_request(modality, operation)
        return await self.core().transport.get(request, read_models)

    async def model_schema(self, model: str) -> ModelSchema:
        """What a model takes, such as ``"suno/music-generate"``, by the server's account.

        Raises:
            InvalidInputError: That cannot be the name of a model.
            TaskNotFoundError: The server does not know it.
            SunoError: The server refused, or could not be asked.
        """
        return await self.core().transport.get(
            schema_request(model),
            lambda status, headers, body: read_schema(status, headers, body, model),
        )

    async def upload(self, path: str | PathLike[str], *, content_type: str | None = None) -> str:
        """Send a local audio file; the URL to give as an input's ``audio_url``.

        It is streamed to the store that the API names, which never gets the key.

        Args:
            path: The file.
            content_type: Its media type; told by its suffix if None.

        Raises:
            InvalidInputError: The suffix tells no audio type; nothing was sent.
            UploadError: The file cannot be read, or could not be sent whole.
            SunoError: The server named no place for it.
        """
        core = self.core()
        file = await core.uploader.inspect(path, content_type)
        request = upload_request(file.content_type, file.suffix)
        target = await core.transport.get(request, read_upload)
        await core.uploader.send(file, target.presigned_url)
        return target.file_url

    def as_completed(
        self, tasks: Iterable[str | TaskHandle], *, timeout: float | None = None
    ) -> AsyncIterator[Outcome]:
        """Poll any number of tasks together; yield each one's outcome as it ends.

        Every id ends as exactly one `Outcome`: a success, a failure, or what kept it from being
        known. An id given twice ends once. Leaving the loop early leaves the jobs alone.

        Args:
            tasks: Ids or handles.
            timeout: Seconds for all of them together; what has not ended by then ends as
                `TaskTimeoutError`. None: only the policy's deadline, task by task.

        Raises:
            InvalidInputError: Something among them cannot be an id; nothing was asked yet.
        """
        if isinstance(tasks, str):
            raise InvalidInputError((f"give a list of task ids, not the one string {tasks!r}",))
        return self.core().completions(_checked(tasks), timeout)

    async def results(
        self, tasks: Iterable[str | TaskHandle], *, timeout: float | None = None
    ) -> list[Outcome]:
        """Like `as_completed`, but all outcomes at once, in the order given."""
        given = list(tasks)
        ended = {each.task_id: each async for each in self.as_completed(given, timeout=timeout)}
        return [ended[task.id if isinstance(task, TaskHandle) else task] for task in given]

    async def download(
        self,
        track: Track | str,
        directory: str | PathLike[str] = ".",
        *,
        overwrite: bool = False,
    ) -> Path:
        """Fetch a song's audio, or any result URL, into a file in `directory`.

        The file appears under its name only when it is whole. Downloads go to other hosts: they
        cost nothing of the request budget and carry no key.

        Raises:
            DownloadError: It could not be fetched whole.
        """
        return await self.core().downloader.download(track, directory, overwrite=overwrite)

    def statistics(self) -> Statistics:
        """Return a snapshot of what this client does, or did before it was closed."""
        return (
            Statistics(rate_limit=self._rate_limit)
            if self._core is None
            else self._core.statistics()
        )

    def core(self) -> Core:
        """What this client opened in its event loop: what handles stand on, not for callers."""
        if self._closed:
            raise ClientClosedError("this SunoClient is closed; make a new one")
        loop = asyncio.get_running_loop()
        if self._core is None:
            self._core = Core(
                Transport(
                    self._account,
                    session=self._session,
                    rate=self._rate_limit,
                    timeout=self._timeout,
                    retry_for=self._retry_for,
                    max_pause=self._max_pause,
                    limiter=self._limiter,
                ),
                self._policy,
                self.durations,
                self._session,
            )
        elif self._core.loop is not loop:
            raise WrongEventLoopError(
                "this SunoClient was first used in another event loop; make one client per loop"
            )
        return self._core

    async def _conclude(self, submission: Submission) -> Creation:
        """Return what became of a submission; report it to `on_creation` if it was sent."""
        job = submission.job
        handle = None
        if submission.task_id:
            born = asyncio.get_running_loop().time()
            handle = TaskHandle(self, submission.task_id, born, submission.kind)
        creation = Creation(submission.index, cast("Input", job), handle, submission.error)
        if submission.sent:
            try:
                await call(self._on_creation, creation)
            except Exception:
                logger.exception("on_creation failed")
        return creation


def _checked(tasks: Iterable[str | TaskHandle]) -> Iterator[tuple[str, TaskHandle | None]]:
    for task in tasks:
        if isinstance(task, TaskHandle):
            yield task.id, task
        else:
            yield check_task_id(task), None


def _default_policy() -> PollPolicy:
    text = os.environ.get("SUNO_TIME_SCALE", "1")
    try:
        scale = float(text)
    except ValueError:
        scale = 0.0
    if not 0.0 < scale < math.inf:
        raise ConfigurationError(f"SUNO_TIME_SCALE must be a number above 0, not {text!r}")
    return PollPolicy().faster(scale)
