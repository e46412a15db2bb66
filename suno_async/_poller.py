"""One dispatcher that drives the schedule for every watched task; no asyncio task per id."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Protocol

from suno_async import _wire
from suno_async._backoff import BackoffSchedule
from suno_async._policy import Entry, PollPolicy, Schedule
from suno_async._schedule import IndexSchedule
from suno_async.errors import (
    APIError,
    AuthenticationError,
    ClientClosedError,
    FeatureDisabledError,
    SunoError,
    TaskFailedError,
    TaskNotFoundError,
    TaskTimeoutError,
    ValidationError,
)
from suno_async.models import Outcome, TaskInfo, TaskStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from suno_async._durations import Durations
    from suno_async._limiter import Permit
    from suno_async._transport import Transport

logger = logging.getLogger("suno_async")

#: Seconds in which a 404 may be lag after a create ("for a short while", API contract, "Codes").
NOT_FOUND_GRACE = 60.0

#: Ids taken up or let go between two turns of the event loop, so that thousands do not stall it.
CHUNK = 256

#: Most status requests on their way at once; a server that answers nothing costs no more.
MOST_IN_FLIGHT = 200


class Watcher(Protocol):
    """Who waits for a task."""

    interactive: bool

    def read(self, info: TaskInfo) -> None:
        """A reading of a task that goes on."""
        ...

    def settled(self, outcome: Outcome) -> None:
        """The wait is over. Called once."""
        ...


class Watched(Entry, eq=False, gc=False):
    """An entry, and who waits for it."""

    watchers: tuple[Watcher, ...] = ()


class Poller:
    """Watches tasks until they end, for whoever asks, with one request budget."""

    def __init__(
        self,
        transport: Transport,
        policy: PollPolicy,
        random: Callable[[], float],
        durations: Durations,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._transport = transport
        self._schedule: Schedule[Watched] = (
            BackoffSchedule(policy, random)
            if policy.schedule == "backoff"
            else IndexSchedule(policy, durations)
        )
        self._wall = wall
        self._loop = asyncio.get_running_loop()
        self._watched: dict[str, Watched] = {}
        self._in_flight: set[asyncio.Task[None]] = set()
        self._dispatcher: asyncio.Task[None] | None = None
        self._closed = False
        self._wake = asyncio.Event()
        self._unknown_words: set[str] = set()
        self.delays: deque[float] = deque(maxlen=1000)
        self.polls = 0
        self.finished = 0
        self.failed = 0

    @property
    def watched(self) -> int:
        """Tasks being polled."""
        return len(self._watched)

    @property
    def price(self) -> float | None:
        """Seconds of waiting that a request saves now; None while unknown, or by a backoff."""
        return self._schedule.price

    @property
    def in_flight(self) -> int:
        """Status requests on their way."""
        return len(self._in_flight)

    def watch(
        self, task_id: str, watchers: tuple[Watcher], created_at: float | None, kind: str = ""
    ) -> None:
        """Tell a watcher of every reading of a task, and of its end.

        Args:
            task_id: The task.
            watchers: The watcher alone, in a tuple that all the tasks it watches can share.
            created_at: Loop time; None if unknown.
            kind: Of the job; may be empty.
        """
        (watcher,) = watchers
        if self._closed:
            watcher.settled(Outcome(task_id, None, _closed(task_id)))
            return
        now = self._loop.time()
        entry = self._watched.get(task_id)
        if entry is None:
            entry = Watched(
                task_id,
                added_at=now,
                created_at=created_at,
                kind=kind,
                interactive=watcher.interactive,
                watchers=watchers,
            )
            self._watched[task_id] = entry
            self._schedule.add(entry, now)
        else:
            entry.watchers += watchers
            if watcher.interactive:
                self._schedule.promote(entry)
        self._wake.set()
        if self._dispatcher is None:
            self._dispatcher = self._loop.create_task(self._dispatch(), name="suno_async poller")

    def unwatch(self, task_id: str, watcher: Watcher) -> None:
        """Forget a watcher; a task that nobody waits for is no longer polled."""
        entry = self._watched.get(task_id)
        if entry is None:
            return
        entry.watchers = tuple(each for each in entry.watchers if each is not watcher)
        if not entry.watchers:
            del self._watched[task_id]
            self._schedule.discard(entry)

    def leave(self, task_ids: set[str], watcher: Watcher) -> None:
        """Unwatch them all, and empty the set: some at once, the rest in the loop's next turns.

        Not by awaiting, so that no second cancellation can leave tasks behind that nobody wants.
        """
        for _ in range(min(CHUNK, len(task_ids))):
            self.unwatch(task_ids.pop(), watcher)
        if task_ids:
            self._loop.call_soon(self.leave, task_ids, watcher)

    def age_to_loop_time(self, created_at: float) -> float:
        """Loop time of a moment given in Unix seconds; one in the future counts as now."""
        return self._loop.time() - max(0.0, self._wall() - created_at)

    async def close(self) -> None:
        """End every wait with `ClientClosedError`, and everything under way."""
        self._closed = True
        running = [*self._in_flight, *([self._dispatcher] if self._dispatcher else [])]
        for task in running:
            task.cancel()
        await self._end_all(_closed)
        await asyncio.gather(*running, return_exceptions=True)
        self._dispatcher = None

    async def _dispatch(self) -> None:
        while True:
            self._wake.clear()
            due = self._schedule.next_due()
            if due is None or len(self._in_flight) >= MOST_IN_FLIGHT:
                await self._wake.wait()
                continue
            if due > self._loop.time():
                await self._sleep_until(due)
                continue
            # Permit first, id second: nothing chosen grows stale in the limiter's queue.
            permit = await self._transport.limiter.acquire()
            entry = self._schedule.pop(self._loop.time())
            if entry is None:
                permit.cancel()
                continue
            self.polls += 1
            task = self._loop.create_task(self._ask(entry, permit))
            self._in_flight.add(task)
            task.add_done_callback(self._landed)

    async def _sleep_until(self, when: float) -> None:
        timer = self._loop.call_at(when, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            timer.cancel()

    def _landed(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        self._wake.set()

    async def _ask(self, entry: Watched, permit: Permit) -> None:
        task_id = entry.task_id
        try:
            info = await self._transport.once(
                _wire.task_info_request(task_id),
                lambda status, headers, body: _wire.read_task_info(status, headers, body, task_id),
                permit,
            )
        except SunoError as error:
            if isinstance(error, AuthenticationError) and error.understood:
                # Every other question would get the same answer.
                refusal = error
                await self._end_all(lambda _: refusal)
            else:
                self._take_failure(entry, error)
        else:
            self._take(entry, info)

    def _take(self, entry: Watched, info: TaskInfo) -> None:
        if self._watched.get(entry.task_id) is not entry:
            return  # everyone left while the request was on its way
        if entry.created_at is None and info.create_at is not None:
            entry.created_at = self.age_to_loop_time(info.create_at)
        entry.kind = entry.kind or sys.intern(info.param.model)
        if info.status.terminal:
            self._schedule.settle(entry, info.elapsed)
            self._note_delay(info)
        if info.status is TaskStatus.SUCCESS:
            self.finished += 1
            self._end(entry, None, info)
        elif info.status is TaskStatus.FAILED:
            self.failed += 1
            reason = info.failure.message if info.failure is not None else ""
            self._end(entry, TaskFailedError(entry.task_id, reason, info), info)
        else:
            self._go_on(entry, info)

    def _go_on(self, entry: Watched, info: TaskInfo) -> None:
        if info.status is TaskStatus.UNKNOWN and info.raw_status not in self._unknown_words:
            self._unknown_words.add(info.raw_status)
            logger.warning("unknown task status %r: polling on", info.raw_status)
        for watcher in entry.watchers:
            watcher.read(info)
        if not self._schedule.defer(entry, self._loop.time()):
            error = TaskTimeoutError(entry.task_id, "still going at its deadline", info.raw_status)
            self._end(entry, error, info)

    def _take_failure(self, entry: Watched, error: SunoError) -> None:
        if self._watched.get(entry.task_id) is not entry:
            return
        if self._is_final(entry, error):
            self._end(entry, error)
        elif not self._schedule.retry(entry, self._loop.time()):
            reason = f"past its deadline, and its last checks failed: {error}"
            self._end(entry, TaskTimeoutError(entry.task_id, reason))
        else:
            logger.info("task %s: %s; asking again later", entry.task_id, error)

    def _is_final(self, entry: Watched, error: SunoError) -> bool:
        if not isinstance(error, APIError) or not error.understood:
            return False
        if isinstance(error, TaskNotFoundError):
            return self._loop.time() - entry.known_since > NOT_FOUND_GRACE
        return isinstance(error, ValidationError | FeatureDisabledError)

    def _note_delay(self, info: TaskInfo) -> None:
        if info.complete_at is not None:
            self.delays.append(max(0.0, self._wall() - info.complete_at))

    async def _end_all(self, error_of: Callable[[str], SunoError]) -> None:
        """End every wait that is under way now, each with an error of its own."""
        for number, entry in enumerate(list(self._watched.values()), 1):
            if self._watched.get(entry.task_id) is entry:
                self._end(entry, error_of(entry.task_id))
            if number % CHUNK == 0:
                await asyncio.sleep(0)

    def _end(self, entry: Watched, error: SunoError | None, info: TaskInfo | None = None) -> None:
        del self._watched[entry.task_id]
        self._schedule.discard(entry)
        outcome = Outcome(entry.task_id, info, error)
        for watcher in entry.watchers:
            watcher.settled(outcome)
        entry.watchers = ()


def _closed(task_id: str) -> ClientClosedError:
    return ClientClosedError(f"client closed; task {task_id} goes on")
