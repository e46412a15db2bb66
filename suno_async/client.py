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

from suno_async._checks import check_job, check_max_credits, check_persona, check_ref, check_task_id
from suno_async._clock import Clock
from suno_async._completions import completions, resumed
from suno_async._pipeline import Pipeline
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
from suno_async._recording import (
    Recorder,
    in_spite_of_cancellation,
    load_durations,
    open_refs,
)
from suno_async._runtime import Runtime
from suno_async._schedule.durations import Durations
from suno_async._streams import CreateStream, StreamOptions
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

#: The median duration that is assumed before any job has ended, in units of `PollPolicy.interval`.
#: With the default interval of 15 s, this is 90 s.
PRIOR_INTERVALS = 6.0


class SunoClient:
    """A connection pool, a request budget and a poll scheduler for one account.

    Create one client per process and share it: ``async with SunoClient() as suno: ...``.

    Args:
        api_key: The account's key; by default from the variable SUNO_API_KEY or CRUN_API_KEY.
        base_url: URL of the API host; by default from the variable SUNO_BASE_URL or CRUN_BASE_URL,
            otherwise ``https://api.crun.ai``. For mainland China use ``https://api.crunai.com``.
        session: Your own aiohttp session for API calls. The client does not close it. `proxy`,
            `trust_env` and `ssl` do not apply to it. With your own session,
            creates reuse open connections. A reused connection can break during a create, so a
            `CreateOutcomeUnknownError` is more likely. For a moment after new connections were
            opened, more than 15 requests can arrive within a second.
        policy: When to poll tasks; by default `PollPolicy()`, with all times divided by the
            variable SUNO_TIME_SCALE if it is set.
        durations: Known durations of jobs; by default from the journal. The client learns further
            durations from finished tasks.
        limiter: The request budget; replaces `rate_limit` and `max_pause`. By default all clients
            of this account in the event loop share one budget, with the lowest of their limits.
        observer: Receives the events of the client, for metrics and traces.
        on_creation: Called once for each create whose request was sent, even if the create failed.
            Save the ids of paid tasks here. Errors that the function raises are logged. A coroutine
            function is awaited.
        journal: The path of an SQLite file, or a `Journal`. The journal stores creates, tasks
            and results. To avoid paying twice, also pass `dedupe_key` to `create`, or `run` to
            `pipeline`. A client with a journal must be used with ``async with``.
        account: The label of the account in the journal; by default a hash of the key and the host.
        rate_limit: Maximum requests per second, at most 15 (the vendor's limit). Lower it if other
            processes use the key with another journal or without one. Clients with the same
            journal share the rate automatically.
        max_pause: Longest pause in seconds after a 429 (too many requests) or a 455 (maintenance).
        request_timeout: Timeout of one API request in seconds.
        retry_for: Seconds for which a call such as `create` or `balance` retries its request. 0
            means one attempt. If a pause lasts longer than `retry_for`, or than `request_timeout`
            if `retry_for` is 0, the call raises an error. `create_many` and `pipeline` wait until
            the pause ends.
        proxy: URL of an HTTP proxy for API calls, uploads and downloads.
        trust_env: Whether to use HTTPS_PROXY, HTTP_PROXY and NO_PROXY if `proxy` is None.
        ssl: An `ssl.SSLContext` with the certificates to trust, for example those of a private CA.
        allow_hosts: Hosts that uploads and downloads may use without https, or at an address that
            is not public. Each entry is a name, an address, or a network such as ``"10.0.0.0/8"``.

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
        if account is not None and not account:
            raise ConfigurationError("account must not be empty")
        self._account = _label_of(self._credentials) if account is None else account
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

        Wait at most `request_timeout` seconds for the creates in flight. Creates that still have
        no reply end with a `CreateOutcomeUnknownError`. If functions such as `on_creation` still
        run then, cancel them, and wait at most a few seconds for them. If `close` is cancelled,
        call it again.

        Raises:
            WrongEventLoopError: The client was used in another event loop. The client stays open.
            JournalError: The journal cannot be written. Everything is closed nevertheless.
        """
        opened = self._opened
        if opened is not None and opened.loop is not asyncio.get_running_loop():
            raise WrongEventLoopError(
                "close must be awaited in the event loop in which this SunoClient was used"
            )
        self._closed = True
        if opened is not None:
            await opened.close()

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

        `timeout` is in seconds, for creating and waiting together. None means no timeout.
        `PollPolicy.deadline` also ends the wait. The other parameters are those of `create`.

        Raises:
            TaskFailedError: The job failed.
            TaskTimeoutError: The timeout or the deadline passed. A created task continues. The
                `task_id` of the error is empty if `create` had not returned.
            SunoError: `create` failed, or the outcome of the task is unknown.
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
            reason = (
                f"create did not end within the timeout of {timeout:g} s; a task may exist, or "
                "may be created later: see the log or on_creation"
            )
            raise TaskTimeoutError("", reason)
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

        The request is retried only after a 429 (too many requests), a 455 (maintenance) or a failed
        connection. If the call is cancelled after the request was sent, the log and the client's
        function `on_creation` receive the outcome later.

        Args:
            job: What to make.
            callback_url: The server sends a POST here when the task ends.
            max_credits: Highest price in credits. Before the create, it is compared with the
                server's estimate. None means no limit.
            dedupe_key: Identifies this create in the journal, also after a restart. If an earlier
                create with the same key made a task, return the handle of that task and pay
                nothing. If an earlier create with the same key has not ended, wait for its end
                first.

        Raises:
            InvalidInputError: The input or `max_credits` is not valid; nothing was sent.
            ConfigurationError: `dedupe_key` is empty, or was given to a client without a journal.
            InputChangedError: `dedupe_key` was used for another input; nothing was sent.
            CreditLimitError: The job would cost more than `max_credits`; nothing was spent.
            InsufficientCreditsError: Not enough credits. For the next 30 s, further creates
                normally raise this error without sending a request.
            CreateOutcomeUnknownError: A task may exist. Call `settle` before you use `dedupe_key`
                again.
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

        Creations are yielded as soon as they are known, not in the order of the inputs. If the
        create of one input fails, the other creates continue. During a pause of the account,
        creates wait. Inputs are read only as fast as the caller receives the creations. Reading
        stops if `jobs` raises an error, the API key is refused, the credits are used up, the
        journal fails, or the client is closed.

        If you leave the loop early, close the stream with `contextlib.aclosing`. Closing waits for
        the creates in flight and passes their outcomes to `on_creation`. `on_creation` and
        `on_submission` may be coroutine functions. If one of them raises an error, the stream ends.

        Args:
            jobs: What to make. A synchronous iterable must not block the event loop.
            callback_url: As in `create`, for each input.
            max_credits: As in `create`, for each input.
            wait_for_credits: Whether to wait for credits after a 402, instead of ending the stream.
            on_creation: Called once for each input that is read, with its `Creation`.
            on_submission: Called with a `Submission` before each attempt to send its request. Also
                called when the state returns to ``"planned"``, for example after a 429.

        Raises:
            InvalidInputError: `max_credits` is not valid.
            SunoError: The error that stopped the reading of inputs. Raised at the end of the
                iteration.
            Exception: An error that `jobs`, `on_creation` or `on_submission` raised, unchanged.
                Raised at the end of the iteration.
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
        """Create a task for each job, wait for the tasks, and yield their outcomes.

        Every input that is read yields one `JobOutcome`, as soon as the outcome is known. The only
        exception is an input for which `key` fails. Inputs are read as in `create_many`. If an
        error ends the reading, the created tasks are still awaited.

        If you leave the loop early, close the stream as in `create_many`. The created tasks
        continue at the server.

        Args:
            jobs: What to make. A synchronous iterable must not block the event loop.
            run: The name of this series of jobs (a *run*) in the journal. To continue an
                interrupted run, use the same name and inputs. Then no input is paid for twice.
            key: Returns the key that identifies an input in the run. By default, the position of
                the input is its key. Pass a function if the order of the inputs may change.
            max_pending: Maximum number of inputs that were read, but whose outcomes the caller has
                not received. With the default, 15 requests per second can poll each task about
                every 30 seconds.
            timeout: Maximum seconds to wait for each task after it was created, or after it was
                found in the journal. None means no timeout. `PollPolicy.deadline` also ends the
                wait.
            callback_url: As in `create`, for each input.
            max_credits: As in `create`, for each input.
            wait_for_credits: As in `create_many`.
            on_creation: As in `create_many`.
            on_submission: As in `create_many`.

        Raises:
            InvalidInputError: `max_credits` is not valid.
            ConfigurationError: `max_pending`, `run` or `key` is not valid, or `run` was given to a
                client without a journal. If `key` returns no text, this error is raised at the end
                of the iteration.
            RunInUseError: Another process, or another call of `pipeline` or `resume`, uses the run.
                Raised during the iteration.
            InputChangedError: The journal contains a different input for the same key. Raised at
                the end of the iteration.
            SunoError: As in `create_many`.
            Exception: An error that `jobs`, `key`, `on_creation` or `on_submission` raised,
                unchanged. Raised at the end of the iteration.
        """
        if max_pending < 1:
            raise ConfigurationError("max_pending must be above 0")
        runtime = self._runtime()
        if run is not None:
            self._required_recorder("run")
            if not run:
                raise ConfigurationError("run must not be empty")
        elif key is not None:
            raise ConfigurationError("key needs the name of a run: also pass run=")
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
        """Wait for unfinished tasks in the journal; yield each outcome.

        `run` is the name of a run of `pipeline`; None means all runs, and jobs without a run.
        First, yield a `JobFailure` for each create whose outcome is unknown. Call `settle` when you
        know what happened. Personas, and jobs that this version cannot decode, are skipped
        with a warning in the log. Tasks without a create in the journal are not included; see
        `open_tasks`. This method sends no creates. To send the missing creates of a run, call
        `pipeline` again with the same name and inputs.

        Raises:
            ConfigurationError: The client has no journal.
            RunInUseError: Another process, or another call of `pipeline` or `resume`, uses the run.
                Raised during the iteration.
            JournalError: The journal cannot be read or written. Raised during the iteration.
        """
        runtime = self._runtime()
        return resumed(runtime, self._required_recorder("resume"), run)

    async def open_tasks(self, *, run: str | None = None) -> list[TaskHandle]:
        """Return a handle for every unfinished task in the journal.

        If `run` is not None, return handles only for tasks of the run with this name.

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

        First find out the outcome, for example from a callback or the balance. The error contains
        `submission_id`. `task_id` is the id of the new task or persona. None means that nothing was
        created.

        Raises:
            InvalidInputError: `task_id` cannot be a task id.
            ConfigurationError: The client has no journal.
            JournalError: The journal does not contain the submission, or contains it under another
                account. Or its state there is not ``unknown``, or the journal cannot be written.
        """
        self._runtime()
        if task_id is not None:
            check_task_id(task_id)
        await self._required_recorder("settle").journal.settle(submission_id, task_id)

    async def rotate_key(self, new_key: str) -> None:
        """Replace the API key of this account with another key of the same account.

        One call replaces the key of all clients of the account in this event loop that have no
        `limiter` argument. A client with a `limiter` replaces only its own key. Call `rotate_key`
        in each event loop and process, and for each client with a `limiter`.

        The label of the account in a journal is by default a hash of the key. In this case, the
        call also changes the label, but only in the journal of this client. If other clients have
        other journals, call `rotate_key` for each of these journals. With the argument `account`,
        the label stays the same.

        If this call raises an error, the old key stays in use. If the call is cancelled, either key
        may be in use.

        Raises:
            ConfigurationError: The new key is not valid. Or, in this event loop, a client that does
                not share the request budget of this client uses the new key, or used it a short
                time ago.
            AuthenticationError: The server refuses the new key.
            JournalError: The label in the journal cannot be changed. One possible reason is another
                open client with the same label and journal.
            SunoError: The new key could not be checked.
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
        adopting = asyncio.ensure_future(self._adopt_key(runtime.account, fresh))
        try:
            await asyncio.shield(adopting)
        except asyncio.CancelledError:
            # The journal may have changed in spite of the cancellation.
            await in_spite_of_cancellation(adopting)
            raise

    async def _adopt_key(self, account: Account, fresh: Credentials) -> None:
        # This also raises if another client was opened with the new key in the meantime.
        async with account.replacing_key(fresh):
            if self._recorder is not None and self._account_is_derived:
                await self._recorder.rebind(_label_of(fresh))

    def task(self, task: str | TaskRef, *, created_at: float | None = None) -> TaskHandle:
        """Return the handle of a task from its id or from a saved `TaskRef`. Sends no request.

        `created_at` is the creation time of the task in Unix seconds. The time in a `TaskRef` takes
        precedence. If the creation time is unknown, the task may be polled at once.

        Raises:
            InvalidInputError: The id cannot be a task id, or the creation time is not a finite
                number.
        """
        ref = check_ref(task if isinstance(task, TaskRef) else TaskRef(task))
        if ref.created_at is None:
            if self._opened is not None:
                ref = self._opened.recall(ref)
            if created_at is not None:
                ref = check_ref(msgspec.structs.replace(ref, created_at=created_at))
        return TaskHandle(self._runtime_of, ref)

    async def task_info(self, task_id: str) -> TaskInfo:
        """Read the current record of one task. Needs one request, and one more for each retry.

        Raises:
            InvalidInputError: `task_id` cannot be a task id.
            TaskNotFoundError: The server does not know the task.
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

        Each task yields exactly one `Outcome`, even if its id is given twice. If the caller leaves
        the loop early, the jobs continue. The iterable `tasks` is read to its end before the first
        poll.

        `timeout` is in seconds, for all tasks together. None means no timeout. When the timeout has
        passed, each unfinished task yields a `Failure` with a `TaskTimeoutError`. So does each task
        that still runs at its `PollPolicy.deadline`.

        Raises:
            InvalidInputError: A value cannot be a task id, or the creation time in a `TaskRef` is
                not a finite number; nothing was polled.
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
        """Wait for many tasks. Return one outcome for each item of `tasks`, in the same order.

        `tasks` and `timeout` are as in `as_completed`. A task that does not succeed raises no
        error. Its outcome is a `Failure`.

        Raises:
            InvalidInputError: As for `as_completed`; nothing was polled.
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
        """Download a song's audio, or any result URL, into a file in `directory`.

        Return the path of the file. The file appears under its name only when it is complete. A
        broken download is resumed or started again. Downloads do not use the request budget, and
        never send the API key. But if the URL of a song has expired, the client reads the record of
        the song's task through the API, to get a new URL.

        Args:
            track: A song, or a URL.
            directory: Where to save the file. It is created if it does not exist.
            name: Template of the name without a suffix; a ``/`` makes directories. The default is
                ``{title}-{suno_id}`` for a song, and the last part of the path for a URL. The
                fields are ``title``, ``suno_id``, ``task_id``, ``index`` and ``kind``. For a URL,
                the name always gets a short hash. For a song, it gets one only if the fields in the
                template do not identify the song.
            overwrite: Whether to replace an existing file. If False, the existing file is kept.
            progress: Called with a `DownloadProgress`, at most about ten times per second.
            media: What the file must contain: ``"audio"``, ``"image"``, ``"video"``, or ``"any"``.
                None means audio for a song. For a URL with the suffix of an image file, None means
                an image. For other URLs, None means audio, an image or a video.
            tags: Whether to write the title, lyrics and cover into a song. Needs the extra
                ``tags``.
            timeout: Maximum seconds for all attempts of the download together. None means no limit.
            max_bytes: Maximum size of the file in bytes.

        Raises:
            InvalidInputError: `name` is not a valid template, or `media` is unknown. Nothing was
                sent.
            ConfigurationError: The extra ``tags`` is not installed. Nothing was sent.
            DownloadError: The file could not be downloaded completely.
            ClientClosedError: The client was closed before or during the download.
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

        At most 8 files are downloaded at once. If one download fails, the others continue.

        `items` is a `TaskInfo`, an outcome, a song or a URL, or an iterable of these. An outcome
        that is a failure has no files, and is skipped. An iterable is read only as fast as the
        files are downloaded. If the iterable raises an error, the downloads in progress end before
        this error is raised. `covers` also saves the cover image of each song of a task. It has no
        effect on items that are songs. The other parameters apply to each file, as in `download`.
        For stems, videos and sounds, the default of `name` is ``{kind}-{task_id}``.

        Raises:
            InvalidInputError: `name` is not a valid template. Nothing was sent.
            ConfigurationError: The extra ``tags`` is not installed. Nothing was sent.
            DownloadsFailedError: Some files could not be downloaded. All other files are complete.
            ClientClosedError: The client was closed before or during the downloads.
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

        `content_type` is the media type, such as ``"audio/mpeg"``. If None, the suffix decides.

        Raises:
            InvalidInputError: The content type is unknown or not valid; nothing was sent.
            UploadError: The file is empty, cannot be read, or could not be sent completely.
            SunoError: The server returned no URL for the upload, or the client was closed.
        """
        runtime = self._runtime()
        file = await runtime.uploader.inspect(path, content_type)
        request = upload_request(file.content_type, file.suffix)
        target = await runtime.transport.get(request, read_upload)
        sending = runtime.uploader.send(file, target.presigned_url)
        await runtime.transport.until_closed(sending)
        return target.file_url

    async def create_persona(self, persona: GeneratePersona) -> Persona:
        """Create a persona from a song. May cost credits.

        A persona is a voice for later songs. Pass its id to inputs as ``persona_id``. Retries and
        cancellation work as in `create`.

        Raises:
            InvalidInputError: The input breaks a rule; nothing was sent.
            CreateOutcomeUnknownError: The persona may exist. The request was not sent again.
            SunoError: The server refused the request, or it could not be sent.
        """
        runtime = self._runtime()
        check_persona(persona)
        submission = runtime.submitter.submission(persona)
        terms = Terms(persona=True, on_end=self._conclude_persona)
        return Persona(await runtime.submitter.run(submission, terms), persona.name)

    async def estimate(self, job: Input, *, callback_url: str | None = None) -> Estimate:
        """Return the estimated price of a job. Sends a request, but costs no credits.

        Raises:
            InvalidInputError: The input or `callback_url` is not valid; nothing was sent.
            SunoError: The server refused the request, or did not answer.
        """
        runtime = self._runtime()
        check_job(job, callback_url)
        return await runtime.submitter.estimate(job, callback_url)

    async def balance(self) -> float:
        """Return the account's credits, for example 12.5.

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

        `modality`, such as ``"audio"``, and `operation`, such as ``"text-to-music"``, are filters.
        None means no filter. Both can be given.

        Raises:
            SunoError: The server refused the request, or did not answer.
        """
        return await self._runtime().transport.get(models_request(modality, operation), read_models)

    async def model_schema(self, model: str) -> ModelSchema:
        """Return the server's schema for the input of a model.

        `model` is the name of the model, such as ``"suno/music-generate"``.

        Raises:
            InvalidInputError: `model` cannot be the name of a model.
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
            limiter = self._limiter
            return Statistics(rate_limit=self._rate_limit if limiter is None else limiter.rate)
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
        ref = check_ref(task if isinstance(task, TaskRef) else TaskRef(task))
        return ref if self._opened is None else self._opened.recall(ref)

    async def _conclude(
        self, submission: Submission, failed: Callable[[BaseException], None] | None = None
    ) -> Creation:
        """Return the result of a create that has ended.

        If the request was sent, also pass the result to the function `on_creation` of the client.
        If this function raises an error that is no `Exception`, pass the error to `failed`.
        """
        job = cast("Input", submission.job)
        creation: Creation
        if submission.error is None:
            ref = TaskRef(submission.task_id, submission.created_at, submission.kind)
            # None if `__aenter__` failed while the create was in flight.
            if self._opened is not None:
                self._opened.remember(ref)
            if submission.sent:
                self._observer.task_created(ref)
            creation = Created(submission.index, job, TaskHandle(self._runtime_of, ref))
        else:
            creation = NotCreated(submission.index, job, submission.error)
        await self._report(submission, creation, failed)
        return creation

    async def _conclude_persona(self, submission: Submission) -> None:
        """If the request for a persona was sent, pass its result to the function `on_creation`."""
        job, error = cast("GeneratePersona", submission.job), submission.error
        persona = Persona(submission.task_id, job.name) if error is None else None
        await self._report(submission, PersonaCreation(job, persona, error))

    async def _report(
        self,
        submission: Submission,
        creation: Creation | PersonaCreation,
        failed: Callable[[BaseException], None] | None = None,
    ) -> None:
        if not submission.sent:
            return
        try:
            await call(self._on_creation, creation)
        except BaseException as error:
            # A `CancelledError` means that `on_creation` cancelled itself, or that `close`
            # cancelled it after a long wait.
            what = submission.task_id or submission.error
            logger.exception("on_creation failed: %s, %s", submission.kind, what)
            if not isinstance(error, Exception | asyncio.CancelledError):
                if failed is None:
                    raise
                failed(error)


def _label_of(credentials: Credentials) -> str:
    return f"key-{credentials.digest}"


def _default_policy() -> PollPolicy:
    text = os.environ.get("SUNO_TIME_SCALE", "1")
    try:
        scale = float(text)
    except ValueError:
        scale = 0.0
    if not 0.0 < scale < math.inf:
        raise ConfigurationError(f"SUNO_TIME_SCALE must be a finite number above 0, not {text!r}")
    return PollPolicy().scaled(scale)
