"""Start the status requests of all watched tasks, in one asyncio task: the dispatcher.

A schedule decides when each task is polled. `suno_async._polling.replies` handles the replies.

Nothing fails silently here. An unforeseen exception has one of three effects:

- It ends the waits for the task that is being polled (`_poll`).
- It makes the dispatcher start a new schedule (`_restart`).
- It ends all waits (`_died`, or `_restart` if new schedules do not help).

Each exception is logged at ERROR with its traceback.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING

from suno_async._polling.deadlines import DeadlineKeeper
from suno_async._polling.replies import ReplyHandler
from suno_async._polling.safe_schedule import SafeSchedule
from suno_async._polling.waiters import (
    CHUNK,
    Watched,
    Watcher,
    WatchList,
    internal_error,
    last_seen,
    own_copy,
)
from suno_async._polling.workers import Workers
from suno_async._protocol.requests import task_info_request
from suno_async._protocol.task_info import read_task_info
from suno_async._schedule.adaptive import AdaptiveSchedule
from suno_async._schedule.backoff import BackoffSchedule
from suno_async.errors import AuthenticationError, ClientClosedError, SunoError
from suno_async.outcomes import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from suno_async._clock import Clock
    from suno_async._schedule.durations import Durations
    from suno_async._schedule.entry import Schedule
    from suno_async._transport.exchange import Transport
    from suno_async.limits.base import Permit
    from suno_async.models import TaskInfo, TaskRef
    from suno_async.policy import PollPolicy
    from suno_async.telemetry import Observer

logger = logging.getLogger("suno_async")

#: Greatest number of status requests in flight. The limit matters when the server stops answering.
MOST_IN_FLIGHT = 200


class Poller:
    """Polls tasks until they end, for any number of waiters, within one request budget.

    Attributes:
        polls: Number of status requests that were started.
        replies: Handles the replies, and counts the tasks that ended.
    """

    def __init__(  # noqa: PLR0913, PLR0917 (its collaborators)
        self,
        transport: Transport,
        policy: PollPolicy,
        random: Callable[[], float],
        durations: Durations,
        clock: Clock,
        observer: Observer,
        on_ended: Callable[[str], None] = lambda _: None,
        keep: Callable[[TaskInfo], asyncio.Future[None]] | None = None,
    ) -> None:
        def make() -> Schedule[Watched]:
            if policy.schedule == "backoff":
                return BackoffSchedule(policy, random)
            return AdaptiveSchedule(policy, durations)

        self._transport = transport
        self._keep = keep
        # Entries whose final record is being stored by `keep`.
        self._keeping: set[Watched] = set()
        self._has_deadlines = policy.deadline is not None
        # After this time, the checks before a wait no longer delay the first check of the wait.
        self._remembered_for = policy.max_interval
        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self._observer = observer
        self._schedule = SafeSchedule(make, self._schedule_failed)
        self._watches = WatchList(self._schedule, observer)
        self._deadlines = DeadlineKeeper(self._watches, policy, clock, self._keeping)
        self.replies = ReplyHandler(
            self._watches, self._schedule, self._deadlines, policy, clock, observer, on_ended
        )
        self._requests = Workers(self._poll, self._lost)
        self._dispatcher: asyncio.Task[None] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._closed = False
        self._wake = asyncio.Event()
        self.polls = 0

    @property
    def watched(self) -> int:
        """Number of tasks being polled."""
        return len(self._watches)

    @property
    def price(self) -> float | None:
        """Seconds of waiting that one status request saves, averaged over recent requests.

        Waiting is the time from the end of a task to the status request that reports this end. The
        value is None before the first request for a task of known age. It is also None while the
        schedule is stopped after an internal error. With ``schedule="backoff"``, it is always None.
        """
        return self._schedule.price

    @property
    def in_flight(self) -> int:
        """Number of status requests in flight."""
        return len(self._requests.jobs)

    def watch(self, task: TaskRef, watchers: tuple[Watcher]) -> None:
        """Poll a task, and report its statuses and its outcome to a waiter.

        If the poller is closed, do not poll. Then this call passes a `ClientClosedError` to the
        waiter.

        Args:
            task: The task.
            watchers: A tuple that contains only the waiter. If a waiter waits for many tasks, pass
                the same tuple in every call to save memory.
        """
        task_id = task.task_id
        (watcher,) = watchers
        if self._closed:
            watcher.settled(Failure(task_id, _closed(task_id)))
            return
        now = self._clock.mono()
        entry = self._watches.get(task_id)
        if entry is not None:
            entry.add_waiter(watchers)
            if watcher.interactive:
                self._schedule.promote(entry)
                self._wake.set()
            return
        entry, is_out = self._entry_for(task, now)
        entry.interactive, entry.watchers = watcher.interactive, watchers
        self._watches.add(entry)
        try:
            # The reply to the request in flight puts the entry into the schedule.
            added = is_out or self._schedule.add(entry, now)
            self._wake.set()
            if self._dispatcher is None or self._dispatcher.done():
                self._dispatcher = self._supervised(self._dispatch(), "suno_async poller")
            if self._has_deadlines and (self._keeper is None or self._keeper.done()):
                self._keeper = self._supervised(self._deadlines.run(), "suno_async deadlines")
        except Exception as bug:  # noqa: BLE001 (a bug of any kind ends this wait)
            self.replies.end_by_bug(entry, bug, "starting to poll")
        else:
            if not added and self._schedule.failure is not None:
                self.replies.end_by_bug(entry, self._schedule.failure, "scheduling a new task")

    def _entry_for(self, task: TaskRef, now: float) -> tuple[Watched, bool]:
        """Return an entry for a task that is not watched, and whether the entry is out.

        An entry is out of the schedule while a status request for it is in flight, and while its
        final record is being stored.
        """
        is_out = False
        entry = self._watches.take_left(task.task_id)
        if entry is None or entry.asked_at is None or now - entry.asked_at > self._remembered_for:
            entry = Watched(task.task_id, added_at=now)
        else:
            in_flight = (each for each, _ in self._requests.jobs.values())
            is_out = entry in self._keeping or any(each is entry for each in in_flight)
            if not is_out:
                entry = entry.copy()
        if task.created_at is not None:
            entry.created_at = self._clock.to_mono(task.created_at)
        entry.kind = task.kind or entry.kind
        return entry, is_out

    def unwatch(self, task_id: str, watcher: Watcher) -> None:
        """Remove a waiter of a task. A task without waiters is no longer polled."""
        self._watches.remove(task_id, watcher)

    def leave(self, task_ids: set[str], watcher: Watcher) -> None:
        """Remove a waiter from many tasks, and empty the set `task_ids`.

        The waiter is removed from at most `CHUNK` tasks immediately. Callbacks of the event loop
        remove it from the other tasks a little later. They run even if the caller is cancelled.
        """
        for _ in range(min(CHUNK, len(task_ids))):
            self.unwatch(task_ids.pop(), watcher)
        if task_ids:
            self._loop.call_soon(self.leave, task_ids, watcher)

    def last_seen(self, task_id: str) -> tuple[str, float | None]:
        """Return the last known status of a watched task, and when this status was requested.

        The time is in Unix seconds. If no status is known, return an empty string and None.
        """
        return last_seen(self._watches.get(task_id), self._clock)

    async def close(self) -> None:
        """End every wait with `ClientClosedError`, and stop every background task.

        All waits end even if this call is cancelled. In that case, call `close` again to wait until
        the background tasks have stopped.
        """
        self._closed = True
        running = self._requests.cancel()
        for task in (self._dispatcher, self._keeper):
            if task is not None:
                task.cancel()
                running.add(task)
        await self._watches.end_all(_closed)
        if running:
            await asyncio.wait(running)

    def _supervised(self, work: Coroutine[None, None, None], name: str) -> asyncio.Task[None]:
        task = self._loop.create_task(work, name=name)
        task.add_done_callback(self._died)
        return task

    def _died(self, task: asyncio.Task[None]) -> None:
        """If a background task failed or was cancelled, end all waits.

        The next call of `watch` starts the background task again.
        """
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
                logger.warning("no request can be sent: %s; all waits end", error)
                await self._end_all_by(error)
            except Exception as bug:  # noqa: BLE001 (a bug of any kind: logged by `fail`)
                self._schedule.fail(bug)

    async def _poll_what_is_due(self) -> None:
        """Poll each task when it is due, until the schedule fails."""
        requests, entries = self._requests.jobs, self._watches.entries
        while True:
            self._wake.clear()
            if not entries:
                await self._wake.wait()
                continue
            if self._schedule.failure is not None:
                return
            if len(requests) >= MOST_IN_FLIGHT or (due := self._schedule.next_due()) is None:
                await self._wake.wait()
                continue
            now = self._clock.mono()
            if self._transport.breaker.doubts_key(now) and not await self._is_key_good():
                continue
            if due > now:
                await self._sleep_until(due)
                continue
            # Take the permit first. A task chosen earlier could be the wrong one by the time the
            # limiter grants the permit.
            permit = await self._transport.limiter.acquire()
            try:
                self._start(permit)
            except Exception:
                permit.cancel()
                raise

    def _start(self, permit: Permit) -> None:
        """Start a status request for the most urgent task, with a permit of the rate limiter.

        If no task is due any more, or if the API key must be confirmed first, cancel the permit
        instead.
        """
        suspected = self._transport.breaker.suspected_at is not None
        entry = None if suspected else self._schedule.pop(self._clock.mono())
        if entry is None:
            permit.cancel()
            return
        self._requests.start((entry, permit))
        self.polls += 1

    async def _poll(self, request: tuple[Watched, Permit]) -> None:
        """Send a status request, and handle its reply or its error."""
        entry, permit = request
        task_id = entry.task_id
        try:
            try:
                info = await self._transport.once(
                    task_info_request(task_id),
                    partial(read_task_info, task_id=task_id),
                    permit,
                )
            except SunoError as error:
                self.replies.handle_error(entry, error)
            else:
                if self._keep is None:
                    self.replies.handle_record(entry, info)
                else:
                    self._answered(entry, info, self._keep)
        except Exception as bug:  # noqa: BLE001 (a bug of any kind ends the waits of this task)
            permit.cancel()  # does nothing if the request was sent
            self.replies.end_by_bug(entry, bug, "polling")
        finally:
            self._wake.set()

    def _lost(self, request: tuple[Watched, Permit], error: BaseException) -> None:
        """End the waits for a task whose status request was cancelled."""
        entry, permit = request
        # A coroutine that is cancelled before its first step cannot return its permit.
        permit.cancel()
        self._wake.set()
        if self._closed:
            self._watches.end(entry, _closed(entry.task_id))
        else:
            self.replies.end_by_bug(entry, error, "polling")

    async def _sleep_until(self, when: float) -> None:
        timer = self._loop.call_at(when, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            timer.cancel()

    async def _is_key_good(self) -> bool:
        """Return True if the server has not refused the API key.

        A single 401 or 403 can be a temporary fault of the server. So after one refusal, test the
        key with a request for the balance, and return False, whatever the result. If the key is
        refused twice, end all waits, and return False. After a result of False, call this again.
        """
        breaker = self._transport.breaker
        if breaker.suspected_at is None:
            refusal = breaker.refusal(self._clock.mono())
            if refusal is None:
                return True
        else:
            try:
                await self._transport.confirm_key()
            except SunoError as error:
                if not isinstance(error, AuthenticationError) or not error.understood:
                    logger.info("could not confirm the key: %s; polling continues", error)
                    breaker.clear_suspicion()
                    return False
                refusal = error
            else:
                breaker.clear_suspicion()
                return False
        await self._end_all_by(refusal)
        return False

    def _schedule_failed(self, error: Exception) -> None:
        logger.error("bug: polling failed; it is restarted", exc_info=error)
        self._observer.internal_error(error)
        self._wake.set()

    async def _restart(self, failure: Exception) -> None:
        """Start a new schedule for all watched tasks, because the old one raised `failure`.

        If earlier restarts did not help (see `SafeSchedule.restart`), end all waits instead.
        """
        if not self._schedule.restart(self._clock.mono()):
            logger.error("bug: polling failed again; all waits end", exc_info=failure)
            await self._watches.end_all(
                lambda task_id: internal_error("scheduling polls", task_id, failure)
            )
            return
        entries = self._watches.snapshot()
        for entry in entries:
            entry.place = None
        # Tasks with a request in flight return to the schedule when the reply arrives. Tasks whose
        # final record is being stored need no more requests.
        out = {entry for entry, _ in self._requests.jobs.values()} | self._keeping
        for number, entry in enumerate(entries, 1):
            if entry not in out and self._watches.holds(entry):
                self._schedule.add(entry, self._clock.mono())
            if number % CHUNK == 0:
                await asyncio.sleep(0)

    def _answered(
        self, entry: Watched, info: TaskInfo, keep: Callable[[TaskInfo], asyncio.Future[None]]
    ) -> None:
        """Handle a task record. If the task has ended, store the record with `keep` first.

        The record is handled even if it could not be stored.
        """
        if not info.status.terminal:
            self.replies.handle_record(entry, info)
            return

        def kept(_: object) -> None:
            self._keeping.discard(entry)
            try:
                self.replies.handle_record(entry, info)
            except Exception as bug:  # noqa: BLE001 (as for every reply)
                self.replies.end_by_bug(entry, bug, "handling a reply")

        storing = keep(info)
        self._keeping.add(entry)
        storing.add_done_callback(kept)

    async def _end_all_by(self, error: SunoError) -> None:
        """End every wait with its own copy of `error`."""
        await self._watches.end_all(lambda _: own_copy(error))


def _closed(task_id: str) -> ClientClosedError:
    return ClientClosedError(f"client closed; task {task_id} continues at the server")
