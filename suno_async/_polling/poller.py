"""One dispatcher that polls every watched task; there is no asyncio task for each id.

Nothing dies silently here. An exception that nobody foresaw ends the waits of the one task that was
being handled (`_landed`), makes the dispatcher start a new schedule (`_restart`), or, if neither
helps, ends all waits (`_died`). Each is logged at ERROR with its traceback.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import deque
from typing import TYPE_CHECKING

from suno_async._polling.deadlines import DeadlineKeeper
from suno_async._polling.safe_schedule import SafeSchedule
from suno_async._polling.waiters import CHUNK, Watched, Watcher, WatchList, internal_error, own_copy
from suno_async._protocol.requests import task_info_request
from suno_async._protocol.task_info import read_task_info
from suno_async._schedule.adaptive import AdaptiveSchedule
from suno_async._schedule.backoff import BackoffSchedule
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
from suno_async.models import TaskInfo, TaskRef, TaskStatus
from suno_async.outcomes import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from suno_async._clock import Clock
    from suno_async._schedule.durations import Durations
    from suno_async._schedule.entry import Schedule
    from suno_async._transport.exchange import Transport
    from suno_async.limits.base import Permit
    from suno_async.policy import PollPolicy
    from suno_async.telemetry import Observer

logger = logging.getLogger("suno_async")

#: Most status requests in flight at once. It bounds the cost of a server that answers nothing.
MOST_IN_FLIGHT = 200


class Poller:
    """Polls tasks until they end, for any number of waiters, with one request budget."""

    def __init__(  # noqa: PLR0913, PLR0917 (its collaborators)
        self,
        transport: Transport,
        policy: PollPolicy,
        random: Callable[[], float],
        durations: Durations,
        clock: Clock,
        observer: Observer,
        on_ended: Callable[[str], None] = lambda _: None,
    ) -> None:
        def make() -> Schedule[Watched]:
            if policy.schedule == "backoff":
                return BackoffSchedule(policy, random)
            return AdaptiveSchedule(policy, durations)

        self._transport = transport
        self._policy = policy
        self._has_deadlines = policy.deadline is not None
        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self._observer = observer
        self._on_ended = on_ended
        self._schedule = SafeSchedule(make, self._schedule_failed)
        self._watches = WatchList(self._schedule, observer)
        self._deadlines = DeadlineKeeper(self._watches, policy, self._clock, self._timeout)
        self._in_flight: dict[asyncio.Task[TaskInfo], tuple[Watched, Permit]] = {}
        self._dispatcher: asyncio.Task[None] | None = None
        self._keeper: asyncio.Task[None] | None = None
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
        return len(self._watches)

    @property
    def price(self) -> float | None:
        """Seconds of waiting that a request saves now; None while unknown, or by a backoff."""
        return self._schedule.price

    @property
    def in_flight(self) -> int:
        """Status requests in flight."""
        return len(self._in_flight)

    def watch(self, task: TaskRef, watchers: tuple[Watcher]) -> None:
        """Report every status of a task, and its outcome, to a waiter.

        Args:
            task: The task.
            watchers: The waiter alone, in a tuple that all the tasks it waits for can share.
        """
        task_id = task.task_id
        (watcher,) = watchers
        if self._closed:
            watcher.settled(Failure(task_id, _closed(task_id)))
            return
        now = self._loop.time()
        entry = self._watches.get(task_id)
        if entry is not None:
            entry.watchers += watchers
            if watcher.interactive:
                self._schedule.promote(entry)
                self._wake.set()
            return
        entry = Watched(
            task_id,
            added_at=now,
            created_at=None if task.created_at is None else self._clock.to_mono(task.created_at),
            kind=task.kind,
            interactive=watcher.interactive,
            watchers=watchers,
        )
        self._watches.add(entry)
        try:
            added = self._schedule.add(entry, now)
            self._wake.set()
            if self._dispatcher is None or self._dispatcher.done():
                self._dispatcher = self._supervised(self._dispatch(), "suno_async poller")
            if self._has_deadlines and (self._keeper is None or self._keeper.done()):
                self._keeper = self._supervised(self._deadlines.run(), "suno_async deadlines")
        except Exception as bug:  # noqa: BLE001 (a bug of any kind ends this wait)
            self._end_by_bug(entry, bug, "starting to poll")
        else:
            if not added and self._schedule.failure is not None:
                self._end_by_bug(entry, self._schedule.failure, "scheduling a new task")

    def unwatch(self, task_id: str, watcher: Watcher) -> None:
        """Forget a waiter; a task that nobody waits for is no longer polled."""
        self._watches.remove(task_id, watcher)

    def leave(self, task_ids: set[str], watcher: Watcher) -> None:
        """Unwatch them all, and empty the set: some at once, the rest in the loop's next turns.

        Not by awaiting, so that no second cancellation can leave tasks behind that nobody wants.
        """
        for _ in range(min(CHUNK, len(task_ids))):
            self.unwatch(task_ids.pop(), watcher)
        if task_ids:
            self._loop.call_soon(self.leave, task_ids, watcher)

    def last_seen(self, task_id: str) -> tuple[str, float | None]:
        """Return the last status seen of a watched task, and when it was seen, in Unix seconds."""
        entry = self._watches.get(task_id)
        if entry is None or entry.seen_at is None:
            return "", None
        return entry.last_status, self._clock.to_unix(entry.seen_at)

    async def close(self) -> None:
        """End every wait with `ClientClosedError`, and every background task.

        A close that was cancelled has ended the waits too; a second one completes the rest.
        """
        self._closed = True
        running = [
            task for task in (*self._in_flight, self._dispatcher, self._keeper) if task is not None
        ]
        for task in running:
            task.cancel()
        await self._watches.end_all(_closed)
        if running:
            await asyncio.wait(running)

    def _supervised(self, work: Coroutine[None, None, None], name: str) -> asyncio.Task[None]:
        task = self._loop.create_task(work, name=name)
        task.add_done_callback(self._died)
        return task

    def _died(self, task: asyncio.Task[None]) -> None:
        """End all waits if a background task died; the next `watch` starts it again."""
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is None or self._closed:
            return
        entries = self._watches.snapshot()
        for entry in entries:
            self._watches.end(entry, internal_error("polling", entry.task_id, error))
        if entries or not task.cancelled():
            logger.error("bug: %s died; all waits end", task.get_name(), exc_info=error)
            self._observer.internal_error(error)

    async def _dispatch(self) -> None:
        while True:
            if self._schedule.failure is not None and self._watches:
                await self._restart(self._schedule.failure)
            try:
                await self._poll_what_is_due()
            except SunoError as error:
                logger.warning("no request can be made: %s; all waits end", error)
                await self._end_all_by(error)
            except Exception as bug:  # noqa: BLE001 (a bug of any kind: logged by `fail`)
                self._schedule.fail(bug)

    async def _poll_what_is_due(self) -> None:
        """Poll until the schedule fails."""
        while True:
            self._wake.clear()
            if not self._watches:
                await self._wake.wait()
                continue
            if self._schedule.failure is not None:
                return
            due = self._schedule.next_due()
            if due is None or len(self._in_flight) >= MOST_IN_FLIGHT:
                await self._wake.wait()
                continue
            if not await self._is_key_good():
                continue
            if due > self._loop.time():
                await self._sleep_until(due)
                continue
            # Permit first, id second: no choice grows stale in the limiter's queue.
            permit = await self._transport.limiter.acquire()
            try:
                self._start(permit)
            except Exception:
                permit.cancel()
                raise

    def _start(self, permit: Permit) -> None:
        """Poll the most urgent task, unless the wait for the permit has changed the situation."""
        suspected = self._transport.breaker.suspected
        entry = None if suspected else self._schedule.pop(self._loop.time())
        if entry is None:
            permit.cancel()
            return
        task = self._loop.create_task(self._ask(entry.task_id, permit))
        self._in_flight[task] = entry, permit
        task.add_done_callback(self._landed)
        self.polls += 1

    async def _ask(self, task_id: str, permit: Permit) -> TaskInfo:
        return await self._transport.once(
            task_info_request(task_id),
            lambda status, headers, body: read_task_info(status, headers, body, task_id),
            permit,
        )

    async def _sleep_until(self, when: float) -> None:
        timer = self._loop.call_at(when, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            timer.cancel()

    async def _is_key_good(self) -> bool:
        """Confirm a suspicion that the key is refused. End all waits if it is."""
        breaker = self._transport.breaker
        if not breaker.suspected:
            refusal = breaker.refusal(self._loop.time())
            if refusal is None:
                return True
        else:
            try:
                await self._transport.confirm_key()
            except SunoError as error:
                if not isinstance(error, AuthenticationError) or not error.understood:
                    logger.info("whether the key is refused is not known: %s; polling on", error)
                    breaker.clear_suspicion()
                    return False
                refusal = error
            else:
                breaker.clear_suspicion()
                return False
        await self._end_all_by(refusal)
        return False

    def _schedule_failed(self, error: Exception) -> None:
        logger.error("bug: polling failed; it starts again", exc_info=error)
        self._observer.internal_error(error)
        self._wake.set()

    async def _restart(self, failure: Exception) -> None:
        """Start a new schedule with all watched tasks; end all waits if that is no use."""
        if not self._schedule.restart(self._loop.time()):
            logger.error("bug: polling failed again; all waits end", exc_info=failure)
            await self._watches.end_all(
                lambda task_id: internal_error("scheduling polls", task_id, failure)
            )
            return
        entries = self._watches.snapshot()
        for entry in entries:
            entry.place = None
        # These come back when they are answered.
        out = {entry for entry, _ in self._in_flight.values()}
        for number, entry in enumerate(entries, 1):
            if entry not in out and self._watches.holds(entry):
                self._schedule.add(entry, self._loop.time())
            if number % CHUNK == 0:
                await asyncio.sleep(0)

    def _landed(self, task: asyncio.Task[TaskInfo]) -> None:
        """Handle an answered, failed or cancelled poll."""
        entry, permit = self._in_flight.pop(task)
        self._wake.set()
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        try:
            # Its coroutine may have been cancelled before it could use the permit or return it.
            permit.cancel()
            if self._closed:
                self._watches.end(entry, _closed(entry.task_id))
            elif error is None:
                self._take(entry, task.result())
            elif isinstance(error, SunoError):
                self._take_failure(entry, error)
            else:
                self._end_by_bug(entry, error, "polling")
        except Exception as bug:  # noqa: BLE001 (a bug of any kind ends the waits of this task)
            self._end_by_bug(entry, bug, "handling a reply")

    def _take(self, entry: Watched, info: TaskInfo) -> None:
        self._deadlines.answered_at = self._loop.time()
        self._observer.task_polled(info)
        if not self._watches.holds(entry):
            return  # the last waiter left while the request was in flight
        entry.missing_since = None
        if entry.created_at is None and info.create_at is not None:
            entry.created_at = self._clock.to_mono(info.create_at)
        entry.kind = entry.kind or sys.intern(info.param.model)
        if not info.status.terminal:
            self._go_on(entry, info)
        else:
            error = None
            if info.status is TaskStatus.SUCCESS:
                self.finished += 1
            else:
                self.failed += 1
                reason = info.failure.message if info.failure is not None else ""
                error = TaskFailedError(entry.task_id, reason, info)
            self._watches.end(entry, error, info)
            self._on_ended(entry.task_id)
            self._schedule.settle(entry, info.elapsed)
            if info.complete_at is not None:
                self.delays.append(max(0.0, self._clock.unix() - info.complete_at))
        self._schedule.prove()

    def _go_on(self, entry: Watched, info: TaskInfo) -> None:
        if info.status is TaskStatus.UNKNOWN and info.raw_status not in self._unknown_words:
            self._unknown_words.add(info.raw_status)
            logger.warning("unknown task status %r: polling on", info.raw_status)
        entry.last_status = sys.intern(info.raw_status)
        for watcher in entry.watchers:
            watcher.read(info)
        if not self._schedule.defer(entry, self._loop.time()):
            self._watches.end(entry, self._timeout(entry, "not finished at its deadline"), info)

    def _take_failure(self, entry: Watched, error: SunoError) -> None:
        if not self._watches.holds(entry):
            return
        now = self._loop.time()
        if self._is_final(entry, error):
            self._watches.end(entry, error)
            return
        since = entry.missing_since
        at = None if since is None else self._policy.next_not_found_check(since, now)
        if not self._schedule.retry(entry, now, at):
            reason = f"past its deadline, and its last checks failed: {error}"
            self._watches.end(entry, self._timeout(entry, reason))
        else:
            logger.info("task %s: %s; asking again later", entry.task_id, error)

    def _is_final(self, entry: Watched, error: SunoError) -> bool:
        if isinstance(error, ClientClosedError):
            return True  # the owner of the aiohttp session closed it
        if not isinstance(error, APIError) or not error.understood:
            return False
        if isinstance(error, TaskNotFoundError):
            self._deadlines.answered_at = now = self._loop.time()
            asked_at = now if entry.asked_at is None else entry.asked_at
            if entry.missing_since is None:
                entry.missing_since = asked_at
            return asked_at >= entry.missing_since + self._policy.not_found_grace
        return isinstance(error, ValidationError | FeatureDisabledError)

    def _timeout(self, entry: Watched, reason: str) -> TaskTimeoutError:
        return TaskTimeoutError(entry.task_id, reason, *self.last_seen(entry.task_id))

    def _end_by_bug(self, entry: Watched, bug: BaseException, what: str) -> None:
        self._watches.end(entry, internal_error(what, entry.task_id, bug))
        self._observer.internal_error(bug)
        logger.error("bug while %s (task %s)", what, entry.task_id, exc_info=bug)

    async def _end_all_by(self, error: SunoError) -> None:
        """End every wait with an instance of its own of `error`."""
        await self._watches.end_all(lambda _: own_copy(error))


def _closed(task_id: str) -> ClientClosedError:
    return ClientClosedError(f"client closed; task {task_id} continues at the server")
