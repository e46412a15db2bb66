"""The objects that one client opens in its event loop. Internal."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from typing import TYPE_CHECKING

from suno_async._checks import check_task_id
from suno_async._polling.poller import Poller
from suno_async._protocol.requests import task_info_request
from suno_async._protocol.task_info import read_task_info
from suno_async._submitter import Submitter
from suno_async.files.downloads import Downloader
from suno_async.files.uploads import Uploader
from suno_async.statistics import Statistics

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from suno_async._clock import Clock
    from suno_async._recording import Recorder
    from suno_async._schedule.durations import Durations
    from suno_async._transport.account import Account
    from suno_async._transport.exchange import Transport
    from suno_async.files.connections import Connections
    from suno_async.models import TaskInfo, TaskRef
    from suno_async.outcomes import Outcome
    from suno_async.policy import PollPolicy
    from suno_async.telemetry import Observer

#: How many created tasks a client remembers, and how many of these tasks may have ended.
MOST_REMEMBERED = 100_000
ENDED_REMEMBERED = 1_000


class Runtime:
    """The objects that one client opens in its event loop.

    Attributes:
        loop: The event loop.
        clock: Converts between loop time and Unix time.
        account: The limiter and the circuit breaker. Clients of the same account usually share
            them.
        transport: Sends requests to the API and decodes the replies.
        recorder: Reads and writes the journal; None without a journal.
        submitter: Sends the requests that create tasks and personas.
        poller: Polls the tasks for which callers wait.
        connections: The connections for downloads and uploads of files.
        downloader: Downloads result files.
        uploader: Uploads local audio files.
        on_close: Functions to call when the client is closed.
    """

    def __init__(  # noqa: PLR0913 (all named)
        self,
        *,
        account: Account,
        transport: Transport,
        policy: PollPolicy,
        durations: Durations,
        connections: Connections,
        clock: Clock,
        observer: Observer,
        recorder: Recorder | None = None,
    ) -> None:
        """Open the runtime. A running event loop is required."""
        self.loop = asyncio.get_running_loop()
        self.clock = clock
        self.account = account
        self.transport = transport
        self.recorder = recorder
        self.submitter = Submitter(transport, observer, clock.unix, recorder)
        # `random` is only used for jitter. No secret depends on it.
        self.poller = Poller(
            transport,
            policy,
            random.random,
            durations,
            clock,
            observer,
            self._forget_later,
            None if recorder is None else recorder.keep,
        )
        self.connections = connections
        self.downloader = Downloader(connections, self.task_info)
        self.uploader = Uploader(connections)
        self.on_close: set[Callable[[], None]] = set()
        self._durations = durations
        self._refs: dict[str, TaskRef] = {}
        self._ended: deque[str] = deque()

    async def close(self) -> None:
        """End all waits and create requests, and close the objects that this client opened.

        A create request that was not sent is cancelled. A request in flight may still finish.
        If `close` is cancelled, call it again to complete the work.

        Raises:
            JournalError: The journal cannot be written. Everything is closed nevertheless.
        """
        self.transport.end_calls()
        for function in list(self.on_close):
            function()
        await self.poller.close()
        await self.submitter.close(self.transport.request_timeout)
        await self.downloader.close()
        await self.connections.close()
        await self.transport.close()
        self.account.linger()
        if self.recorder is not None:
            await self.recorder.close()

    async def task_info(self, task_id: str) -> TaskInfo:
        """Request and return the record of one task.

        If the task has ended and the client has a journal, also store the record in the journal.

        Raises:
            InvalidInputError: The value cannot be a task id.
            SunoError: The server returned an error, or no usable reply arrived.
        """
        check_task_id(task_id)
        info = await self.transport.get(
            task_info_request(task_id),
            lambda status, headers, body: read_task_info(status, headers, body, task_id),
        )
        if self.recorder is not None and info.status.terminal:
            await self.recorder.keep(info)
        return info

    async def stored(self, task_ids: Collection[str]) -> dict[str, Outcome]:
        """Return the outcomes that the journal contains for these tasks, by task id.

        If the client has no journal, return an empty dict.
        """
        return {} if self.recorder is None else await self.recorder.stored(task_ids)

    def remember(self, ref: TaskRef) -> None:
        """Remember a created task.

        If more than `MOST_REMEMBERED` tasks are remembered, forget the oldest of them.
        """
        self._refs[ref.task_id] = ref
        if len(self._refs) > MOST_REMEMBERED:
            del self._refs[next(iter(self._refs))]

    def recall(self, ref: TaskRef) -> TaskRef:
        """Return `ref`, with the creation time of the task if this client remembers the task."""
        if ref.created_at is not None:
            return ref
        return self._refs.get(ref.task_id, ref)

    def _forget_later(self, task_id: str) -> None:
        """Forget an ended task, but only after `ENDED_REMEMBERED` more tasks have ended."""
        if task_id in self._refs:
            self._ended.append(task_id)
            if len(self._ended) > ENDED_REMEMBERED:
                self._refs.pop(self._ended.popleft(), None)

    def statistics(self) -> Statistics:
        """Return the current statistics of the client."""
        limiter, poller, durations = self.account.limiter, self.poller, self._durations
        delays = sorted(poller.replies.delays)
        pause = limiter.paused
        return Statistics(
            watched=poller.watched,
            in_flight=poller.in_flight,
            finished=poller.replies.finished,
            failed=poller.replies.failed,
            requests=limiter.granted,
            polls=poller.polls,
            rate=limiter.recent_rate,
            rate_limit=limiter.rate,
            rate_limited=limiter.rate_limited,
            paused_until=None if pause is None else self.clock.to_unix(pause.until),
            pause_reason="" if pause is None else pause.reason,
            delay_mean=sum(delays) / len(delays) if delays else None,
            delay_p95=delays[int(0.95 * (len(delays) - 1))] if delays else None,
            price=poller.price,
            learnt={kind: durations.summary(kind) for kind in durations.kinds()},
        )
