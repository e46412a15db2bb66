"""Per-loop runtime of one client. Internal."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING

from suno_async._polling.poller import Poller
from suno_async._polling.waiters import CHUNK, QueueWaiter
from suno_async._submitter import Submitter
from suno_async.errors import TaskTimeoutError
from suno_async.files.downloads import Downloader
from suno_async.files.uploads import Uploader
from suno_async.outcomes import Outcome
from suno_async.statistics import Statistics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    import aiohttp

    from suno_async._schedule.durations import Durations
    from suno_async._transport.exchange import Transport
    from suno_async.handles import TaskHandle
    from suno_async.policy import PollPolicy


class Core:
    """Transport, poller, downloads and uploads of one client."""

    def __init__(
        self,
        transport: Transport,
        policy: PollPolicy,
        durations: Durations,
        session: aiohttp.ClientSession | None,
    ) -> None:
        """Open them; needs a running event loop."""
        self.loop = asyncio.get_running_loop()
        self.transport = transport
        self.durations = durations
        self.submitter = Submitter(transport)
        # Jitter, not secrets.
        self.poller = Poller(transport, policy, random.random, durations)
        self.downloader = Downloader(session)
        self.uploader = Uploader(session)

    async def close(self) -> None:
        """End every wait, finish the creates in flight, and close what was opened.

        A cancelled close can be completed by another one.
        """
        self.transport.end_calls()
        await self.poller.close()
        await self.submitter.close(self.transport.request_timeout)
        await self.downloader.close()
        await self.uploader.close()
        await self.transport.close()

    def statistics(self) -> Statistics:
        """A snapshot."""
        limiter, poller = self.transport.limiter, self.poller
        delays = sorted(poller.delays)
        pause = limiter.paused
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
            paused_until=None if pause is None else time.time() + pause.until - limiter.now(),
            pause_reason="" if pause is None else pause.reason,
            delay_mean=sum(delays) / len(delays) if delays else None,
            delay_p95=delays[int(0.95 * (len(delays) - 1))] if delays else None,
            price=poller.price,
            learnt={kind: self.durations.summary(kind) for kind in self.durations.kinds()},
        )

    async def completions(
        self, tasks: Iterable[tuple[str, TaskHandle | None]], timeout: float | None
    ) -> AsyncIterator[Outcome]:
        """Yield what `SunoClient.as_completed` yields. An error of `tasks` is raised first."""
        queue = QueueWaiter(interactive=False)
        watchers = (queue,)
        pending = set[str]()
        ends_at = None if timeout is None else self.loop.time() + timeout
        try:
            given = await _read(tasks)
            for number, (task_id, handle) in enumerate(given.items(), 1):
                pending.add(task_id)
                if handle is None:
                    self.poller.watch(task_id, watchers, None)
                else:
                    self.poller.watch(task_id, watchers, handle.born, handle.kind)
                if number % CHUNK == 0:
                    await asyncio.sleep(0)
            given.clear()
            while pending:
                outcome = await _next_outcome(queue, ends_at)
                if outcome is None:
                    break
                if outcome.task_id not in pending:
                    continue
                pending.remove(outcome.task_id)
                if len(pending) % CHUNK == 0:
                    # Outcomes that have arrived are yielded without a turn of the loop.
                    await asyncio.sleep(0)
                yield outcome
            async for outcome in self._timeouts(pending, queue, timeout):
                yield outcome
        finally:
            self.poller.leave(pending, queue)

    async def _timeouts(
        self, pending: set[str], queue: QueueWaiter, timeout: float | None
    ) -> AsyncIterator[Outcome]:
        """Unwatch all of `pending`, then yield the timeout of each."""
        late: list[tuple[str, tuple[str, float | None]]] = []
        while pending:
            task_id = pending.pop()
            late.append((task_id, self.poller.last_seen(task_id)))
            self.poller.unwatch(task_id, queue)
            if len(late) % CHUNK == 0:
                await asyncio.sleep(0)
        for number, (task_id, seen) in enumerate(late, 1):
            if number % CHUNK == 0:
                await asyncio.sleep(0)
            reason = f"not finished within the timeout of {timeout:g} s"
            yield Outcome(task_id, None, TaskTimeoutError(task_id, reason, *seen))


async def _read(
    tasks: Iterable[tuple[str, TaskHandle | None]],
) -> dict[str, TaskHandle | None]:
    given: dict[str, TaskHandle | None] = {}
    for number, (task_id, handle) in enumerate(tasks, 1):
        given[task_id] = handle
        if number % CHUNK == 0:
            await asyncio.sleep(0)
    return given


async def _next_outcome(queue: QueueWaiter, ends_at: float | None) -> Outcome | None:
    try:
        async with asyncio.timeout_at(ends_at):
            item = await queue.get()
    except TimeoutError:
        return None
    return item if isinstance(item, Outcome) else None
