"""The client: create one `SunoClient` per account and share it in the whole process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
from collections.abc import AsyncIterable
from os import PathLike
from typing import TYPE_CHECKING, Self, cast

import msgspec

from suno_async._checks import check_job, check_max_credits, check_persona, check_task_id
from suno_async._clock import Clock
from suno_async._completions import completions, resumed
from suno_async._protocol.replies import (
    read_balance,
    read_models,
    read_schema,
    read_upload,
)
from suno_async._protocol.requests import (
    balance_request,
    models_request,
    schema_request,
    upload_request,
)
from suno_async._recording import Recorder, load_durations, open_refs
from suno_async._runtime import Runtime
from suno_async._schedule.durations import Durations
from suno_async._streams import CreateStream, Pipeline, StreamOptions
from suno_async._submitter import Terms, call
from suno_async._transport.account import Account, Credentials, account_for
from suno_async._transport.exchange import Transport
from suno_async._transport.http import HttpSender
from suno_async.errors import (
    ClientClosedError,
    ConfigurationError,
    InvalidInputError,
    JournalError,
    TaskTimeoutError,
    WrongEventLoopError,
)
from suno_async.files.connections import Connections, Network
from suno_async.files.downloads import MAX_BYTES, TIMEOUT
from suno_async.files.fetching import DownloadTerms
from suno_async.files.name_templates import check_template
from suno_async.files.sources import source_of, sources_of
from suno_async.files.tags import require_mutagen
from suno_async.handles import Created, NotCreated, PersonaCreation, TaskHandle
from suno_async.journal.sqlite import SqliteJournal
from suno_async.limits.local import MAX_PAUSE, RATE_LIMIT
from suno_async.models import Persona, TaskRef
from suno_async.policy import PollPolicy
from suno_async.statistics import Statistics
from suno_async.telemetry import NullObserver, SafeObserver

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
    from pathlib import Path
    from ssl import SSLContext
    from types import TracebackType

    import aiohttp
    from yarl import URL

    from suno_async._transport.http import Sender
    from suno_async.files.media import Media
    from suno_async.files.progress import ProgressCallback
    from suno_async.files.sources import Downloadable
    from suno_async.handles import Creation
    from suno_async.inputs import GeneratePersona, Input
    from suno_async.journal.base import Journal
    from suno_async.limits.base import Limiter
    from suno_async.models import Estimate, ModelInfo, ModelSchema, TaskInfo, Track
    from suno_async.outcomes import JobOutcome, Outcome
    from suno_async.submissions import Submission
    from suno_async.telemetry import Observer

logger = logging.getLogger("suno_async")

#: The median duration assumed before any job has ended: 90 s, in intervals of 15 s.
PRIOR_INTERVALS = 6.0


class SunoClient:
    """A connection pool, a request budget and a poll scheduler for one account.

    Create one client per process and share it: ``async with SunoClient() as suno: ...``. Clients
    with the same key and host in one event loop share one request budget.

    Args:
        api_key: The account's key; by default the environment variable SUNO_API_KEY, then
            CRUN_API_KEY. The client sends the key only to the API host, and never shows it.
        base_url: The URL of the API host; by default the environment variable SUNO_BASE_URL, then
            CRUN_BASE_URL, then ``https://api.crun.ai``. For mainland China use
            ``https://api.crunai.com``.
        session: Your own aiohttp session for API calls. The client does not close it. `proxy`,
            `trust_env` and `ssl` have no effect on your session. Creates then may reuse open
            connections, so `CreateOutcomeUnknownError` becomes more likely. Uploads and downloads
            do not use your session, because for them the client checks the address of each host.
            If None, the client creates a session.
        policy: When to poll a task; by default `PollPolicy()`, scaled by the environment variable
            SUNO_TIME_SCALE if it is set (for a sandbox with a time scale).
        durations: What is known about the durations of jobs. The client adds the durations that it
            observes. Several clients may share one `Durations` object. If None, the client starts
            with the durations that the journal contains. Without these, it expects that a job takes
            about six times the policy's `interval`, until some jobs have ended.
        limiter: The request budget to use, for example one that several processes share. By default
            all clients of this account in the event loop share one budget.
        observer: Receives the events of the client, for metrics and traces.
        on_creation: Called exactly once for each create whose request was sent, even if the create
            failed or its caller was cancelled. Save the ids of paid tasks here. The argument is a
            `PersonaCreation` for a persona, and a `Creation` for every other create. A coroutine
            function is awaited. If the function raises, the error is logged.
        journal: The path of an SQLite file, or a `Journal`. The journal stores every create, its
            task, and every result, so that nothing is lost if the process stops. To also avoid
            paying twice, use `dedupe_key` or `run`. A client with a journal must be used with
            ``async with``, which opens the journal.
        account: The label of the account in the journal, by default a hash of the key and the host.
            If you set a label, a later client with another key can continue with the journal.
        rate_limit: Maximum requests per second, at most 15 (the vendor's limit). Lower the value if
            other processes use the same key without using the same journal. If several clients
            share the budget of the event loop, the lowest of their values takes effect. The value
            has no effect if `limiter` is set.
        max_pause: Longest pause of the account in seconds after a 429 (too many requests) or a 455
            (maintenance), even if the server asks for more. If several clients share the budget of
            the event loop, the lowest of their values takes effect. The value has no effect if
            `limiter` is set.
        request_timeout: Timeout of one API request in seconds.
        retry_for: Seconds for which a create, or a direct call such as `balance`, is retried. If 0,
            there is only one attempt, which waits at most `request_timeout` for the request budget.
            Otherwise the time includes waiting for the budget. If a pause of the account ends too
            late, the call raises `RateLimitError` or `MaintenanceError` at once. In `create_many`
            and `pipeline`, creates wait for the budget and for every pause. These waits do not
            count.
        proxy: URL of an HTTP proxy for API calls, uploads and downloads.
        trust_env: Whether to use the proxies in the environment variables HTTPS_PROXY, HTTP_PROXY
            and NO_PROXY if `proxy` is None.
        ssl: An `ssl.SSLContext` with the certificates to trust, for example those of a private CA.
            The context applies to API calls, uploads and downloads.
        allow_hosts: Hosts for uploads and downloads that may have an address that is not public,
            and may be used without https. Each entry is a name, an address, or a network such as
            ``"10.0.0.0/8"``. The host of `base_url` is always allowed, but only with https if
            `base_url` uses https.

    Raises:
        ConfigurationError: The key is missing, or an argument is not valid.
    """

    def __init__(  # noqa: PLR0913 (all but the key are options with defaults)
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        session: aiohttp.ClientSession | None = None,
        policy: PollPolicy | None = None,
        durations: Durations | None = None,
        limiter: Limiter | None = None,
        observer: Observer | None = None,
        on_creation: Callable[[Creation | PersonaCreation], object] | None = None,
        journal: str | PathLike[str] | Journal | None = None,
        account: str | None = None,
        rate_limit: float = RATE_LIMIT,
        max_pause: float = MAX_PAUSE,
        request_timeout: float = 30.0,
        retry_for: float = 60.0,
        proxy: str | URL | None = None,
        trust_env: bool = False,
        ssl: SSLContext | None = None,
        allow_hosts: Iterable[str] = (),
    ) -> None:
        if not 0 < rate_limit <= RATE_LIMIT:
            raise ConfigurationError(f"rate_limit must be above 0 and at most {RATE_LIMIT:g}")
        if not request_timeout > 0 or not retry_for >= 0 or not max_pause > 0:
            raise ConfigurationError(
                "request_timeout and max_pause must be above 0, retry_for must not be below 0"
            )
        self._credentials = Credentials(api_key, base_url)
        self._session = session
        hosts = allow_hosts if isinstance(allow_hosts, str) else tuple(allow_hosts)
        self._network = Network(proxy, trust_env, ssl, hosts)
        self._network.check()
        self._policy = policy or _default_policy()
        self.durations = durations or Durations(PRIOR_INTERVALS * self._policy.interval)
        self._limiter = limiter
        self._observer: Observer = NullObserver() if observer is None else SafeObserver(observer)
        self._on_creation = on_creation
        self._journal: Journal | None = (
            SqliteJournal(journal) if isinstance(journal, str | PathLike) else journal
        )
        self._account = account or _label_of(self._credentials)
        self._account_is_derived = account is None
        self._learns_from_journal = durations is None
        self._recorder: Recorder | None = None
        self._rate_limit = rate_limit
        self._max_pause = max_pause
        self._request_timeout = request_timeout
        self._retry_for = retry_for
        self._opened: Runtime | None = None
        self._closed = False
        # One bound method for all handles instead of one each.
        self._runtime_of = self._runtime

    def __repr__(self) -> str:
        return f"<SunoClient {self._credentials.base_url}{' closed' if self._closed else ''}>"

    async def __aenter__(self) -> Self:
        if self._journal is None or self._recorder is not None:
            self._runtime()
        else:
            await self._open_journal(self._journal)
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

        The client waits at most `request_timeout` seconds for the creates in flight. Those that are
        still without a reply end with a `CreateOutcomeUnknownError`, within a few more seconds. If
        `close` is cancelled, call `close` again to finish it.
        """
        self._closed = True
        if self._opened is not None:
            await self._opened.close()

    async def run(
        self,
        job: Input,
        *,
        timeout: float | None = None,
        callback_url: str | None = None,
        max_credits: float | None = None,
        dedupe_key: str | None = None,
    ) -> TaskInfo:
        """Create a task, wait until it has succeeded, and return its record. Costs credits.

        Args:
            job: What to make.
            timeout: Seconds for creating and waiting together. None means no timeout. The policy's
                deadline also ends the wait. If the timeout passes while the create is in flight,
                the client waits for the reply in the background, as described in `create`.
            callback_url: As in `create`.
            max_credits: As in `create`.
            dedupe_key: As in `create`.

        Raises:
            TaskFailedError: The job ended in failure.
            TaskTimeoutError: The timeout or the deadline passed. If the task was created, the job
                continues.
            SunoError: `create` failed, or the wait ended without an outcome for another reason.
        """
        loop = asyncio.get_running_loop()
        ends_at = math.inf if timeout is None else loop.time() + timeout
        handle: TaskHandle | None = None
        scope = asyncio.timeout(timeout)
        try:
            async with scope:
                handle = await self.create(
                    job,
                    callback_url=callback_url,
                    max_credits=max_credits,
                    dedupe_key=dedupe_key,
                )
        except TimeoutError:
            # Some of our own errors are TimeoutErrors, too.
            if not scope.expired():
                raise
        if handle is None:
            raise TaskTimeoutError("", f"not created within the timeout of {timeout:g} s")
        left = None if timeout is None else max(0.0, ends_at - loop.time())
        return await handle.result(timeout=left)

    async def create(
        self,
        job: Input,
        *,
        callback_url: str | None = None,
        max_credits: float | None = None,
        dedupe_key: str | None = None,
    ) -> TaskHandle:
        """Create a task. Costs credits.

        The create is retried only if the server certainly did not accept it: if there was no
        connection, or the reply was 429 or 455. If this call is cancelled before the request was
        sent, nothing is sent. If this call is cancelled later, the create is not retried. The
        client then waits for the reply in the background, and reports the outcome to `on_creation`
        and the log.

        Args:
            job: What to make.
            callback_url: The server sends a POST here when the task ends.
            max_credits: Highest price to pay. The client asks for the price of the job first. If
                the price is higher, the task is not created. None means no limit.
            dedupe_key: Identifies this create in the journal. If an earlier create with the same
                key made a task, the handle of that task is returned and nothing is paid. This also
                works in another process and after a restart. If the earlier create is in flight,
                this call waits for its outcome. If the earlier create was refused or not sent, the
                task is created now.

        Raises:
            InvalidInputError: The input breaks a rule, or `max_credits` is not a number of at least
                0; nothing was sent.
            ConfigurationError: `dedupe_key` is empty, or was given to a client without a journal.
            InputChangedError: `dedupe_key` was used for another input; nothing was sent.
            CreditLimitError: The job would cost more than `max_credits`; nothing was spent.
            InsufficientCreditsError: Not enough credits. For 30 s, or until `balance` returns
                credits, further creates are not sent, and raise this error. Polling continues.
            CreateOutcomeUnknownError: The create may or may not have been accepted. It was not sent
                again. Later calls with the same `dedupe_key` raise this error until you call
                `settle`.
            JournalError: The journal cannot be written; nothing was created.
            SunoError: The server refused the request, or it could not be sent.
        """
        runtime = self._runtime()
        check_job(job, callback_url)
        if dedupe_key is not None:
            self._required_recorder("dedupe_key")
            if not dedupe_key:
                raise ConfigurationError("dedupe_key must not be empty")
        terms = Terms(max_credits=check_max_credits(max_credits), on_end=self._conclude)
        submission = runtime.submitter.submission(job, callback_url, key=dedupe_key or "")
        task_id = await runtime.submitter.run(submission, terms)
        return self.task(task_id)

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
        """Create many tasks, a few at once; yield one `Creation` for each input that is read.

        One failing input does not stop the other inputs. During a pause of the account, creates
        wait. Inputs are read only as fast as the caller receives the creations.

        Reading stops if the key is refused, the credits are used up, the journal fails or the
        client is closed. That error, or an error that `jobs` raises, is raised at the end.

        If the caller closes the stream early, no further creates are sent. The stream then waits
        for the replies to the creates in flight and passes their outcomes to `on_creation`. Use
        `contextlib.aclosing` to close the stream when you leave the loop. Without it, Python closes
        the stream only after the last reference to it is gone.

        Args:
            jobs: What to make. A plain iterable must not block.
            callback_url: As in `create`, for each input.
            max_credits: As in `create`, for each input.
            wait_for_credits: Whether to wait for credits after a 402, instead of ending the stream.
                While it waits, the client asks for the balance every 30 s. If the balance is above
                0, the client sends one of the creates again.
            on_creation: Called exactly once for each input that is read, as soon as the outcome
                of its create is known, even if the stream was closed. A coroutine function
                is awaited. If the function raises, no further input is read, and the error is
                raised at the end.
            on_submission: Called with a `Submission` right before its request is sent. The
                state of the submission is then ``"sending"``. Called again with the state
                ``"planned"`` if the request was not sent after all, or if the server did not accept
                it for now (402, 429, 455, no connection). Use this function to save which creates
                may cost credits. A coroutine function is awaited. If the function raises, the
                request is not sent (again), no further input is read, and the error is raised at
                the end.

        Raises:
            InvalidInputError: `max_credits` is below 0.
            SunoError: While iterating: the error that stopped the reading of inputs.
        """
        options = StreamOptions(
            callback_url=callback_url,
            max_credits=check_max_credits(max_credits),
            wait_for_credits=wait_for_credits,
            on_creation=on_creation,
            on_submission=on_submission,
        )
        return CreateStream(self._runtime(), options, self._conclude).creations(jobs)

    def pipeline(  # noqa: PLR0913 (all but the source are options with defaults)
        self,
        jobs: Iterable[Input] | AsyncIterable[Input],
        *,
        run: str | None = None,
        key: Callable[[Input], str] | None = None,
        max_pending: int = 500,
        timeout: float | None = None,
        callback_url: str | None = None,
        max_credits: float | None = None,
        wait_for_credits: bool = False,
        on_creation: Callable[[Creation], object] | None = None,
        on_submission: Callable[[Submission], object] | None = None,
    ) -> AsyncGenerator[JobOutcome]:
        """Create a task for each job and wait for it; yield each outcome as soon as it is known.

        Every input that is read yields exactly one `JobOutcome`. One failure does not stop the
        other jobs. `create_many` describes how the inputs are read, and what happens if the caller
        closes the stream early.

        Args:
            jobs: What to make. A plain iterable must not block.
            run: A name for this series of jobs (a *run*) in the journal. To continue a run that was
                interrupted, call `pipeline` again with the same name and the same inputs. Then no
                input is paid twice, and outcomes that the journal contains are yielded without a
                request.
            key: Returns the key that identifies an input within the run. Use this function if the
                order of the inputs may change. By default the key is the position of the input.
            max_pending: Maximum number of inputs that were read and whose outcomes the caller has
                not received yet. The default is about the number of tasks that one account can poll
                with 15 requests per second. This assumes that a job takes one to several minutes
                and needs six or seven requests.
            timeout: Seconds per task, counted from its creation. If an earlier call created the
                task, the seconds are counted from the time when this call reads the input. A task
                that takes longer yields a `TaskTimeoutError`. None means no timeout. The policy's
                deadline also ends the wait.
            callback_url: As in `create`, for each input.
            max_credits: As in `create`, for each input.
            wait_for_credits: As in `create_many`. If False, a 402 ends the reading of inputs. The
                pipeline still waits for the tasks that were created. Then it raises the error.
            on_creation: As in `create_many`.
            on_submission: As in `create_many`.

        Raises:
            ConfigurationError: `max_pending` is not above 0, `run` is empty or was given to a
                client without a journal, or `key` was given without `run`. While iterating: `key`
                did not return a text, or returned an empty text.
            InvalidInputError: `max_credits` is below 0.
            RunInUseError: While iterating: another process, or another stream in this process, is
                using the run.
            InputChangedError: While iterating: an input differs from the input that the journal
                contains for the same key. No further input is read.
            SunoError: While iterating, as in `create_many`.
        """
        if max_pending < 1:
            raise ConfigurationError("max_pending must be above 0")
        runtime = self._runtime()
        if run is not None:
            self._required_recorder("run")
            if not run:
                raise ConfigurationError("run must not be empty")
        elif key is not None:
            raise ConfigurationError("key needs the name of a run")
        options = StreamOptions(
            callback_url=callback_url,
            max_credits=check_max_credits(max_credits),
            wait_for_credits=wait_for_credits,
            on_creation=on_creation,
            on_submission=on_submission,
            run=run or "",
            key=key,
        )
        stream = CreateStream(runtime, options, self._conclude)
        return Pipeline(runtime, stream, max_pending, timeout, run or "").outcomes(jobs)

    def resume(self, *, run: str | None = None) -> AsyncGenerator[JobOutcome]:
        """Wait for every unfinished task in the journal; yield each outcome.

        The index of an outcome is the position of the input in its run or stream. A create with an
        unknown outcome is yielded first, as a `JobFailure` with a `CreateOutcomeUnknownError`. This
        happens in every call until you call `settle` for the create. Inputs that were never sent
        are not created. To create them, call `pipeline` again with the same run. Personas, and jobs
        that this version cannot decode, are skipped and logged.

        Args:
            run: The name of a run: wait only for its tasks. If None, wait for all tasks in the
                journal, with and without a run.

        Raises:
            ConfigurationError: The client has no journal.
            RunInUseError: While iterating: another process, or another stream in this process, is
                using the run.
        """
        runtime = self._runtime()
        return resumed(runtime, self._required_recorder("resume"), run)

    async def open_tasks(self, *, run: str | None = None) -> list[TaskHandle]:
        """Return a handle for every unfinished task in the journal. Sends no request.

        Args:
            run: The name of a run: return only its tasks. If None, return all unfinished tasks in
                the journal, with and without a run.

        Raises:
            ConfigurationError: The client has no journal.
            JournalError: The journal cannot be read.
        """
        runtime = self._runtime()
        recorder = self._required_recorder("open_tasks")
        refs = await open_refs(recorder, run)
        for ref in refs:
            runtime.remember(ref)
        return [TaskHandle(self._runtime_of, ref) for ref in refs]

    async def settle(self, submission_id: str, task_id: str | None) -> None:
        """Store the outcome of a create that ended with a `CreateOutcomeUnknownError`.

        First find out the outcome from a callback, from the balance or from the vendor's website.

        Args:
            submission_id: The value of `CreateOutcomeUnknownError.submission_id`.
            task_id: The id of the task that was created. None means that no task was created. Then
                the next `create` with the same `dedupe_key`, or the next `pipeline` with the same
                run, creates the task.

        Raises:
            InvalidInputError: `task_id` cannot be a task id.
            ConfigurationError: The client has no journal.
            JournalError: The journal contains no create of this account with this submission id
                and an unknown outcome.
        """
        self._runtime()
        if task_id is not None:
            check_task_id(task_id)
        await self._required_recorder("settle").journal.settle(submission_id, task_id)

    async def rotate_key(self, new_key: str) -> None:
        """Replace the API key of this account with another key of the same account.

        One request checks the new key. Requests in flight are not affected. If this client's label
        in the journal is the default, it becomes the default for the new key. All clients that
        share the account in this event loop then use the new key. A client with a `limiter` of its
        own does not share the account. Call `rotate_key` for each such client, and in every other
        process that uses the account.

        Raises:
            ConfigurationError: The new key is empty, or is not allowed in HTTP headers. Or another
                client in this event loop already uses it.
            AuthenticationError: The server refuses the new key; the old key stays in use.
            JournalError: Another live client uses the journal under the old label, or the journal
                cannot be changed; the old key stays in use.
            SunoError: The new key could not be checked; the old key stays in use.
        """
        runtime = self._runtime()
        credentials = self._credentials
        fresh = credentials.with_key(new_key)
        runtime.account.check_new_key(fresh)
        sender = self._open_sender(Account(fresh, runtime.account.limiter))
        try:
            await runtime.transport.check_key(sender)
        finally:
            await sender.close()
        # Another client may have been opened with the new key during the request.
        runtime.account.check_new_key(fresh)
        if self._recorder is not None and self._account_is_derived:
            label = _label_of(fresh)
            await self._recorder.rebind(label)
        runtime.account.use_key(fresh)

    def task(self, task: str | TaskRef, *, created_at: float | None = None) -> TaskHandle:
        """Return the handle of a task. Sends no request.

        Args:
            task: An id, or a `TaskRef` saved earlier. The client remembers the creation time and
                the kind of a task that it created.
            created_at: When the task was created, in Unix seconds. The time in a `TaskRef` takes
                precedence. If no creation time is known, the client does not treat the task as new,
                and may poll it at once.

        Raises:
            InvalidInputError: The value cannot be a task id.
        """
        ref = task if isinstance(task, TaskRef) else TaskRef(task)
        check_task_id(ref.task_id)
        if ref.created_at is None:
            if self._opened is not None:
                ref = self._opened.recall(ref)
            if created_at is not None:
                ref = msgspec.structs.replace(ref, created_at=created_at)
        return TaskHandle(self._runtime_of, ref)

    async def task_info(self, task_id: str) -> TaskInfo:
        """Read the current record of one task. Needs one request, or more after errors.

        Raises:
            InvalidInputError: The value cannot be a task id.
            SunoError: The server refused the request, or did not answer.
        """
        return await self._runtime().task_info(task_id)

    def as_completed(
        self,
        tasks: Iterable[str | TaskRef | TaskHandle] | AsyncIterable[str | TaskRef | TaskHandle],
        *,
        timeout: float | None = None,
    ) -> AsyncIterator[Outcome]:
        """Poll any number of tasks together; yield each outcome as soon as it is known.

        Every id yields exactly one `Outcome`, even if the id is given twice. One failure does not
        stop the polling of other tasks. If the caller leaves the loop early, the jobs continue.

        Args:
            tasks: Ids, references or handles. All of them are read before the first task is polled.
            timeout: Seconds for all tasks together; a task that takes longer yields a
                `TaskTimeoutError`. None means no timeout. The policy's deadline also ends the wait
                for a task.

        Raises:
            InvalidInputError: `tasks` is a single text. While iterating: one of the values cannot
                be a task id; nothing was polled.
        """
        if isinstance(tasks, str):
            raise InvalidInputError((f"give a list of task ids, not the one string {tasks!r}",))
        is_async = isinstance(tasks, AsyncIterable)
        refs = self._refs(tasks) if is_async else map(self._ref, cast("Iterable[str]", tasks))
        return completions(self._runtime(), refs, timeout)

    async def outcomes(
        self,
        tasks: Iterable[str | TaskRef | TaskHandle] | AsyncIterable[str | TaskRef | TaskHandle],
        *,
        timeout: float | None = None,
    ) -> list[Outcome]:
        """Wait for many tasks, as with `as_completed`. Return all outcomes in the order of `tasks`.

        Args:
            tasks: As in `as_completed`. If an id is given twice, its outcome is returned twice.
            timeout: As in `as_completed`.

        Raises:
            InvalidInputError: One of the values cannot be a task id; nothing was polled.
        """
        if isinstance(tasks, str):
            raise InvalidInputError((f"give a list of task ids, not the one string {tasks!r}",))
        task_ids: list[str] = []

        async def refs() -> AsyncIterator[TaskRef]:
            async for ref in self._refs(tasks):
                task_ids.append(ref.task_id)
                yield ref

        # The stream reads the references, so that its timeout includes the time for reading them.
        stream = completions(self._runtime(), refs(), timeout)
        ended = {each.task_id: each async for each in stream}
        return [ended[task_id] for task_id in task_ids]

    async def download(  # noqa: PLR0913 (all but the file are options with defaults)
        self,
        track: Track | str,
        directory: str | PathLike[str] = ".",
        *,
        name: str | None = None,
        overwrite: bool = False,
        progress: ProgressCallback | None = None,
        media: Media | None = None,
        tags: bool = False,
        timeout: float | None = TIMEOUT,
        max_bytes: int = MAX_BYTES,
    ) -> Path:
        """Download a song's audio, or any result URL, into a file in `directory`. Return its path.

        The file appears under its name only when it is complete. If the connection breaks, the
        download is resumed, or starts again if the server cannot resume it. These requests do not
        use the request budget, and they never contain the key. If the URL of a song has expired,
        the client reads the record of its task from the API once, to get a new URL.

        If another call with the same `overwrite` already downloads the same file to the same path,
        wait for that download. The other options of that call then apply.

        Args:
            track: A song, or a URL.
            directory: Where to save the file. It is created if it does not exist.
            name: Template of the name, such as ``"{title}-{suno_id}"``, without a suffix. A ``/``
                makes directories. If None, the template is ``{title}-{suno_id}`` for a song. For a
                URL, the name is then the last part of the URL's path. If the template does not
                identify the file, a hash is added. This is always so for a URL.
            overwrite: Whether to replace an existing file. If False, the existing file is kept and
                no request is sent.
            progress: Called with a `DownloadProgress` when the body starts to arrive, then at most
                ten times per second, and when the download ends.
            media: What the file must contain, judged by its first bytes: ``"audio"``, ``"image"``,
                ``"video"``, or ``"any"``. If None, the file of a song must be audio. A URL
                with the suffix of an image must return an image. Any other URL may return audio, an
                image or a video.
            tags: Whether to write the title, the style, the lyrics, the cover and the ids of a song
                into the file. An existing file that is kept does not change. Needs the extra
                ``tags``.
            timeout: Maximum seconds for the whole download, from the start of its first attempt.
                The wait for other downloads before this start does not count. None means no limit.
            max_bytes: Maximum size of the file in bytes.

        Raises:
            InvalidInputError: The template is not valid. Nothing was sent.
            ConfigurationError: mutagen, which writes tags, is not installed. Nothing was sent.
            DownloadError: The file could not be downloaded completely.
            ClientClosedError: The client was closed during the download.
        """
        check_template(name)
        if tags:
            require_mutagen()
        runtime = self._runtime()
        source = source_of(track, name, media)
        terms = DownloadTerms(overwrite, timeout, max_bytes, tags)
        return await runtime.transport.until_closed(
            runtime.downloader.download(source, directory, terms, progress)
        )

    async def download_all(  # noqa: PLR0913 (all but the files are options with defaults)
        self,
        items: Downloadable | Iterable[Downloadable] | AsyncIterable[Downloadable],
        directory: str | PathLike[str] = ".",
        *,
        name: str | None = None,
        overwrite: bool = False,
        progress: ProgressCallback | None = None,
        covers: bool = False,
        tags: bool = False,
        timeout: float | None = TIMEOUT,
        max_bytes: int = MAX_BYTES,
    ) -> list[Path]:
        """Download all files of a task or of many outcomes. Return paths in the order of `items`.

        At most 8 files are downloaded at the same time. One failure does not stop the other
        downloads. A failed outcome has no files.

        Args:
            items: A `TaskInfo`, an outcome, a song or a URL, or an iterable of these, such as the
                stream of `as_completed` or `pipeline`. An iterable is read only as fast as the
                files are downloaded.
            directory: As in `download`.
            name: As in `download`. For stems, videos and sounds, None means
                ``{kind}-{task_id}``. Different files have different names.
            overwrite: As in `download`.
            progress: As in `download`; called for every file.
            covers: Whether to save the cover image of each song next to its audio.
            tags: As in `download`, for songs. Other audio files and videos get the ids and the
                title of their task.
            timeout: As in `download`, for each file.
            max_bytes: As in `download`, for each file.

        Raises:
            InvalidInputError: The template is not valid. Nothing was sent.
            ConfigurationError: mutagen, which writes tags, is not installed. Nothing was sent.
            DownloadsFailedError: Some files could not be downloaded. All other files are complete.
            ClientClosedError: The client was closed during the downloads.
        """
        check_template(name)
        if tags:
            require_mutagen()
        runtime = self._runtime()
        terms = DownloadTerms(overwrite, timeout, max_bytes, tags)
        sources = sources_of(items, name, covers=covers)
        return await runtime.transport.until_closed(
            runtime.downloader.download_all(sources, directory, terms, progress)
        )

    async def upload(self, path: str | PathLike[str], *, content_type: str | None = None) -> str:
        """Upload a local audio file. Return a URL for the field ``audio_url`` of an input.

        The API returns a storage URL, and the file is streamed to this URL. The key is not sent
        there.

        Args:
            path: The file.
            content_type: The media type of the file, such as ``"audio/mpeg"``. If None, the suffix
                of the file decides.

        Raises:
            InvalidInputError: `content_type` is not valid, or it is None and the suffix is not that
                of an audio file; nothing was sent.
            UploadError: The file is empty, cannot be read, or could not be sent completely.
            SunoError: The server returned no URL for the upload.
        """
        runtime = self._runtime()
        file = await runtime.uploader.inspect(path, content_type)
        request = upload_request(file.content_type, file.suffix)
        target = await runtime.transport.get(request, read_upload)
        sending = runtime.uploader.send(file, target.presigned_url)
        await runtime.transport.until_closed(sending)
        return target.file_url

    async def create_persona(self, persona: GeneratePersona) -> Persona:
        """Create a persona, which is a voice for later songs, from a song. May cost credits.

        Pass the persona's id to inputs as ``persona_id``. For retries, cancellation and
        `on_creation`, the same rules apply as for `create`.

        Raises:
            InvalidInputError: The input breaks a rule; nothing was sent.
            ValidationError: The server rejected the input, for example because it does not know the
                song.
            CreateOutcomeUnknownError: The persona may or may not have been created. The request was
                not sent again.
            SunoError: The server refused the request, or it could not be sent.
        """
        runtime = self._runtime()
        check_persona(persona)
        submission = runtime.submitter.submission(persona)
        terms = Terms(on_end=self._conclude_persona)
        return Persona(await runtime.submitter.run(submission, terms), persona.name)

    async def estimate(self, job: Input, *, callback_url: str | None = None) -> Estimate:
        """Return the price of a job. Sends a request, but costs no credits.

        Raises:
            InvalidInputError: The input breaks a rule; nothing was sent.
            SunoError: The server refused the request, or did not answer.
        """
        runtime = self._runtime()
        check_job(job, callback_url)
        return await runtime.submitter.estimate(job, callback_url)

    async def balance(self) -> float:
        """Return the account's credits, which may be a fraction.

        Raises:
            SunoError: The server refused the request, or did not answer.
        """
        runtime = self._runtime()
        balance = await runtime.transport.get(balance_request(), read_balance)
        runtime.account.breaker.saw_balance(balance)
        return balance

    async def models(
        self, *, modality: str | None = None, operation: str | None = None
    ) -> tuple[ModelInfo, ...]:
        """Return the models that the service offers.

        Args:
            modality: Return only models of this modality, such as ``"audio"``.
            operation: Return only models with this operation, in the server's spelling, such as
                ``"text-to-music"``.

        Raises:
            SunoError: The server refused the request, or did not answer.
        """
        return await self._runtime().transport.get(models_request(modality, operation), read_models)

    async def model_schema(self, model: str) -> ModelSchema:
        """Return the server's schema for the input of a model, such as ``"suno/music-generate"``.

        Raises:
            InvalidInputError: The value cannot be the name of a model.
            TaskNotFoundError: The server does not know the model.
            SunoError: The server refused the request, or did not answer.
        """
        return await self._runtime().transport.get(
            schema_request(model),
            lambda status, headers, body: read_schema(status, headers, body, model),
        )

    @property
    def journal(self) -> Journal | None:
        """The journal of the client; None if the client has no journal."""
        return self._journal

    @property
    def account(self) -> str:
        """The label of the account in the journal."""
        return self._account if self._recorder is None else self._recorder.account

    def statistics(self) -> Statistics:
        """Return the state and the counters of this client. This also works after `close`."""
        if self._opened is None:
            return Statistics(rate_limit=self._rate_limit)
        return self._opened.statistics()

    def _open_sender(self, account: Account) -> Sender:
        """Return the object that sends API requests. Tests override this method."""
        return HttpSender(
            account.credentials,
            account.limiter,
            self._session,
            self._request_timeout,
            self._network,
        )

    def _open_clock(self) -> Clock:
        """Return the clock of the client. Tests override this method."""
        return Clock()

    def _runtime(self) -> Runtime:
        if self._closed:
            raise ClientClosedError("this SunoClient is closed; make a new one")
        loop = asyncio.get_running_loop()
        if self._opened is None:
            if self._journal is not None and self._recorder is None:
                raise ConfigurationError(
                    "a SunoClient with a journal must be used with 'async with', which opens it"
                )
            self._opened = self._open()
        elif self._opened.loop is not loop:
            raise WrongEventLoopError(
                "this SunoClient was first used in another event loop; make one client per loop"
            )
        return self._opened

    def _open(self) -> Runtime:
        account = (
            account_for(self._credentials, self._rate_limit, self._max_pause)
            if self._limiter is None
            else Account(self._credentials, self._limiter)
        )
        transport = Transport(
            account,
            self._open_sender(account),
            observer=self._observer,
            request_timeout=self._request_timeout,
            retry_for=self._retry_for,
        )
        return Runtime(
            account=account,
            transport=transport,
            policy=self._policy,
            durations=self.durations,
            connections=Connections(self._network, account.credentials.base_url),
            clock=self._open_clock(),
            observer=self._observer,
            recorder=self._recorder,
        )

    async def _open_journal(self, journal: Journal) -> None:
        await journal.open(self._account)
        try:
            if self._learns_from_journal:
                self.durations = await load_durations(journal, self.durations)
            self._recorder = Recorder(
                journal, self._account, self.durations, self._open_clock().unix
            )
            await self._recorder.join(self._runtime().account.limiter)
        except BaseException:
            opened, self._opened, self._recorder = self._opened, None, None
            with contextlib.suppress(JournalError):
                await (journal if opened is None else opened).close()
            raise

    def _required_recorder(self, what: str) -> Recorder:
        if self._recorder is None:
            raise ConfigurationError(f"{what} needs a journal: SunoClient(journal='runs.db')")
        return self._recorder

    async def _refs(
        self,
        tasks: Iterable[str | TaskRef | TaskHandle] | AsyncIterable[str | TaskRef | TaskHandle],
    ) -> AsyncIterator[TaskRef]:
        if isinstance(tasks, AsyncIterable):
            async for task in tasks:
                yield self._ref(task)
        else:
            for task in tasks:
                yield self._ref(task)

    def _ref(self, task: str | TaskRef | TaskHandle) -> TaskRef:
        if isinstance(task, TaskHandle):
            return task.ref
        ref = task if isinstance(task, TaskRef) else TaskRef(task)
        check_task_id(ref.task_id)
        return ref if self._opened is None else self._opened.recall(ref)

    async def _conclude(self, submission: Submission) -> Creation:
        """Return the result of a create that has ended.

        If the request was sent, pass the result to `on_creation`.
        """
        runtime = self._opened
        job = cast("Input", submission.job)
        creation: Creation
        if submission.error is None and runtime is not None:
            ref = TaskRef(submission.task_id, submission.created_at, submission.kind)
            runtime.remember(ref)
            if submission.sent:
                self._observer.task_created(ref)
            creation = Created(submission.index, job, TaskHandle(self._runtime_of, ref))
        else:
            error = submission.error or ClientClosedError("this SunoClient was never opened")
            creation = NotCreated(submission.index, job, error)
        await self._report(submission, creation)
        return creation

    async def _conclude_persona(self, submission: Submission) -> None:
        """Pass the result of creating a persona to `on_creation`, if the request was sent."""
        job, error = cast("GeneratePersona", submission.job), submission.error
        persona = Persona(submission.task_id, job.name) if error is None else None
        await self._report(submission, PersonaCreation(job, persona, error))

    async def _report(self, submission: Submission, creation: Creation | PersonaCreation) -> None:
        if not submission.sent:
            return
        try:
            await call(self._on_creation, creation)
        except (Exception, asyncio.CancelledError):
            # `on_creation` cancelled itself, or a `close` that had waited long enough cancelled it.
            what = submission.task_id or submission.error
            logger.exception("on_creation failed: %s, %s", submission.kind, what)


def _label_of(credentials: Credentials) -> str:
    return f"key-{credentials.digest}"


def _default_policy() -> PollPolicy:
    text = os.environ.get("SUNO_TIME_SCALE", "1")
    try:
        scale = float(text)
    except ValueError:
        scale = 0.0
    if not 0.0 < scale < math.inf:
        raise ConfigurationError(f"SUNO_TIME_SCALE must be a number above 0, not {text!r}")
    return PollPolicy().scaled(scale)
