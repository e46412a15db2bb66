"""The session manager: everything in a process that uses one account shares one `SunoClient`."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, Self

from suno_async import _wire
from suno_async._limiter import RATE_LIMIT
from suno_async._poller import Poller
from suno_async._schedule import PollPolicy
from suno_async._transport import Account, Transport
from suno_async._waiting import Queue
from suno_async.downloads import Downloader
from suno_async.errors import (
    ClientClosedError,
    ConfigurationError,
    InvalidInputError,
    TaskTimeoutError,
    WrongEventLoopError,
)
from suno_async.inputs import Input, check_task_id
from suno_async.models import Outcome, Statistics, TaskInfo

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Iterable
    from os import PathLike
    from pathlib import Path
    from types import TracebackType

    import aiohttp

    from suno_async.models import Track

#: Ids taken up between two turns of the event loop, so that adding thousands does not stall it.
_CHUNK = 256


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
        policy: When to ask about a task.
        rate_limit: Most requests a second, 15 at most (the vendor's limit). Lower it where other
            processes use the same key.
        request_timeout: Seconds for one request.
        retry_for: Seconds for which a direct call or a create is tried again.

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
        rate_limit: float = RATE_LIMIT,
        request_timeout: float = 30.0,
        retry_for: float = 60.0,
    ) -> None:
        if not 0 < rate_limit <= RATE_LIMIT:
            raise ConfigurationError(f"rate_limit must be above 0 and at most {RATE_LIMIT:g}")
        if request_timeout <= 0 or retry_for < 0:
            raise ConfigurationError("request_timeout must be above 0, retry_for not below 0")
        self._account = Account(api_key, base_url)
        self._session = session
        self._policy = policy or PollPolicy()
        self._rate_limit = rate_limit
        self._timeout = request_timeout
        self._retry_for = retry_for
        self._core: _Core | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"<SunoClient {self._account.base_url}{' closed' if self._closed else ''}>"

    async def __aenter__(self) -> Self:
        self._open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End every wait with `ClientClosedError` and close what this client opened."""
        core, self._core, self._closed = self._core, None, True
        if core is not None:
            await core.close()

    async def create(self, job: Input, *, callback_url: str | None = None) -> TaskHandle:
        """Create a task. Costs credits.

        It is sent again only when it certainly was not accepted: no connection, 429, 455.

        Raises:
            InvalidInputError: The input breaks a rule; nothing was sent.
            InsufficientCreditsError: Not enough credits.
            CreateOutcomeUnknownError: It may or may not have been accepted; it was not resent.
            SunoError: It was refused, or could not be sent.
        """
        job.check()
        if callback_url and not callback_url.startswith(("https://", "http://")):
            raise InvalidInputError((f"callback_url: must be http(s), not {callback_url!r}",))
        core = self._open()
        request = _wire.create_request(job, callback_url)
        task_id = await core.transport.create(request, job.KIND)
        return TaskHandle(self, task_id, core.loop.time())

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
        return TaskHandle(self, task_id, self._open().loop.time() - age)

    async def task_info(self, task_id: str) -> TaskInfo:
        """Ask about one task, now: one request, and more only while it fails for passing reasons.

        Raises:
            InvalidInputError: That cannot be an id.
            SunoError: The server refused, or could not be asked.
        """
        check_task_id(task_id)
        return await self._open().transport.get(
            _wire.task_info_request(task_id),
            lambda status, headers, body: _wire.read_task_info(status, headers, body, task_id),
        )

    async def balance(self) -> float:
        """The account's credits; may be a fraction.

        Raises:
            SunoError: The server refused, or could not be asked.
        """
        return await self._open().transport.get(_wire.balance_request(), _wire.read_balance)

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
        return self._completions(self._births(tasks), timeout)

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
        return await self._open().downloader.download(track, directory, overwrite=overwrite)

    def statistics(self) -> Statistics:
        """A snapshot of what this client is doing; zeros before it did anything."""
        core = self._open()
        limiter, poller = core.transport.limiter, core.poller
        delays = sorted(poller.delays)
        return Statistics(
            watched=poller.watched,
            in_flight=poller.in_flight,
            finished=poller.finished,
            failed=poller.failed,
            requests=limiter.granted,
            polls=poller.polls,
            rate=limiter.recent_rate,
            rate_limit=limiter.rate,
            rate_limited=limiter.rate_limited,
            delay_mean=sum(delays) / len(delays) if delays else None,
            delay_p95=delays[int(0.95 * (len(delays) - 1))] if delays else None,
        )

    def _open(self) -> _Core:
        if self._closed:
            raise ClientClosedError("this SunoClient is closed; make a new one")
        loop = asyncio.get_running_loop()
        if self._core is None:
            self._core = _Core(
                Transport(
                    self._account,
                    session=self._session,
                    rate=self._rate_limit,
                    timeout=self._timeout,
                    retry_for=self._retry_for,
                ),
                self._policy,
                self._session,
            )
        elif self._core.loop is not loop:
            raise WrongEventLoopError(
                "this SunoClient was first used in another event loop; make one client per loop"
            )
        return self._core

    def _births(self, tasks: Iterable[str | TaskHandle]) -> dict[str, float | None]:
        if isinstance(tasks, str):
            raise InvalidInputError((f"give a list of task ids, not the one string {tasks!r}",))
        return {
            task.id if isinstance(task, TaskHandle) else check_task_id(task): (
                task.born if isinstance(task, TaskHandle) else None
            )
            for task in tasks
        }

    async def _completions(
        self, births: dict[str, float | None], timeout: float | None
    ) -> AsyncIterator[Outcome]:
        core = self._open()
        queue = Queue(interactive=False)
        pending = set[str]()
        ends_at = None if timeout is None else core.loop.time() + timeout
        try:
            for number, (task_id, born) in enumerate(births.items(), 1):
                pending.add(task_id)
                core.poller.watch(task_id, queue, born)
                if number % _CHUNK == 0:
                    await asyncio.sleep(0)
            while pending:
                outcome = await _next_outcome(queue, ends_at)
                if outcome is None:
                    break
                pending.discard(outcome.task_id)
                yield outcome
            while pending:
                task_id = pending.pop()
                core.poller.unwatch(task_id, queue)
                error = TaskTimeoutError(task_id, f"not ended within the {timeout:g} s given")
                yield Outcome(task_id, None, error)
        finally:
            for task_id in pending:
                core.poller.unwatch(task_id, queue)

    async def wait_for(self, handle: TaskHandle, timeout: float | None = None) -> Outcome:
        """How one task ended: what `TaskHandle.result` stands on.

        Raises:
            TaskTimeoutError: `timeout` seconds passed; the job goes on.
        """
        core = self._open()
        queue = Queue(interactive=True)
        core.poller.watch(handle.id, queue, handle.born)
        try:
            ends_at = None if timeout is None else core.loop.time() + timeout
            outcome = await _next_outcome(queue, ends_at)
        finally:
            core.poller.unwatch(handle.id, queue)
        if outcome is None:
            raise TaskTimeoutError(handle.id, f"not ended within the {timeout:g} s given")
        return outcome

    async def updates_of(self, handle: TaskHandle) -> AsyncIterator[TaskInfo]:
        """Every reading of one task: what `TaskHandle.updates` stands on."""
        core = self._open()
        queue = Queue(interactive=True, readings=True)
        core.poller.watch(handle.id, queue, handle.born)
        try:
            while isinstance(item := await queue.get(), TaskInfo):
                yield item
        finally:
            core.poller.unwatch(handle.id, queue)
        if item.info is None or not item.info.status.terminal:
            item.result()
        else:
            yield item.info


async def _next_outcome(queue: Queue, ends_at: float | None) -> Outcome | None:
    try:
        async with asyncio.timeout_at(ends_at):
            item = await queue.get()
    except TimeoutError:
        return None
    return item if isinstance(item, Outcome) else None


class _Core:
    """What a client opens in its event loop."""

    def __init__(
        self, transport: Transport, policy: PollPolicy, session: aiohttp.ClientSession | None
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.transport = transport
        # Jitter, not secrets.
        self.poller = Poller(transport, policy, random.random)
        self.downloader = Downloader(session)

    async def close(self) -> None:
        await self.poller.close()
        await self.downloader.close()
        await self.transport.close()


class TaskHandle:
    """The live reference to one task: await it, or ask it.

    Attributes:
        id: The server's id; keep it, and `SunoClient.task` gives the handle back.
        born: Loop time of the creation; None if unknown.
    """

    __slots__ = ("_client", "born", "id")

    def __init__(self, client: SunoClient, task_id: str, born: float | None) -> None:
        self._client = client
        self.id = task_id
        self.born = born

    def __repr__(self) -> str:
        return f"<TaskHandle {self.id}>"

    def __await__(self) -> Generator[object, None, TaskInfo]:
        return self.result().__await__()

    async def result(self, *, timeout: float | None = None) -> TaskInfo:
        """Wait for the task to succeed. Cancelling the wait stops neither the job nor other waits.

        Args:
            timeout: Seconds; None leaves it to the policy's deadline.

        Raises:
            TaskFailedError: The job ended in failure.
            TaskTimeoutError: The timeout or the deadline passed; the job goes on.
            SunoError: What else kept the outcome from being known.
        """
        return (await self._client.wait_for(self, timeout)).result()

    async def info(self) -> TaskInfo:
        """Ask now: `SunoClient.task_info`."""
        return await self._client.task_info(self.id)

    def updates(self) -> AsyncIterator[TaskInfo]:
        """Yield every reading the scheduler makes; the last one is terminal.

        Raises:
            SunoError: While iterating, if the outcome cannot be known.
        """
        return self._client.updates_of(self)
