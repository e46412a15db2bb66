"""The watched tasks and their waiters.

A `FutureWaiter` waits for one task. A `QueueWaiter` collects the outcomes of many tasks.
"""

from __future__ import annotations

import asyncio
import copy
import logging
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Protocol

from suno_async._schedule.entry import Entry
from suno_async.errors import InternalError, TaskTimeoutError
from suno_async.outcomes import Failure, Outcome, outcome_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from suno_async._clock import Clock
    from suno_async._polling.safe_schedule import SafeSchedule
    from suno_async.errors import SunoError
    from suno_async.models import TaskInfo
    from suno_async.telemetry import Observer

logger = logging.getLogger("suno_async")

#: Greatest number of entries handled in one turn of the event loop. Handling thousands would block
#: the loop for too long.
CHUNK = 256

#: How many tasks are remembered after their last waiter left. A remembered task takes about half a
#: kilobyte.
LEFT_REMEMBERED = 10_000

#: With more waiters than this for one task, the waiters are stored in a dict. It needs more memory
#: than a tuple, but a waiter can be removed without copying all others.
FEW_WAITERS = 8


class Watcher(Protocol):
    """Receives the records and outcomes of tasks. The methods must not block.

    Attributes:
        interactive: Whether the caller awaits a single task, not a stream of many tasks.
    """

    interactive: bool

    def read(self, info: TaskInfo) -> None:
        """Receive the record of a task that has not ended."""
        ...

    def settled(self, outcome: Outcome) -> None:
        """Receive the outcome of a task. Normally called once for each task.

        If this method raises, it is called once more, with an `InternalError` as the outcome.
        """
        ...


class Watched(Entry, eq=False, gc=False):
    """A watched task: its entry in the schedule, and its waiters.

    Attributes:
        watchers: The waiters of the task. If there are many, they are the keys of a dict.
        last_status: The last status that the server reported, in the server's spelling. Empty
            before the first report.
        missing_since: Send time (loop time) of the first request that the server answered with a
            404. Further 404s do not change this time. A reply with a task record sets it to None.
    """

    watchers: tuple[Watcher, ...] | dict[Watcher, None] = ()
    last_status: str = ""
    missing_since: float | None = None

    def add_waiter(self, watchers: tuple[Watcher]) -> None:
        """Add the waiter in `watchers`. If it is the only waiter, share this tuple."""
        if isinstance(self.watchers, dict):
            self.watchers[watchers[0]] = None
        elif len(self.watchers) < FEW_WAITERS:
            self.watchers += watchers
        else:
            self.watchers = dict.fromkeys(self.watchers + watchers)

    def remove_waiter(self, watcher: Watcher) -> None:
        """Remove a waiter. If it does not wait for this task, do nothing."""
        if isinstance(self.watchers, dict):
            self.watchers.pop(watcher, None)
        elif len(self.watchers) == 1 and self.watchers[0] is watcher:
            self.watchers = ()
        else:
            self.watchers = tuple(each for each in self.watchers if each is not watcher)

    def copy(self) -> Watched:
        """Return a new entry with what the checks of this entry found.

        The schedule may still contain this entry as a discarded one, so it cannot be added again.
        """
        return Watched(
            self.task_id,
            added_at=self.added_at,
            created_at=self.created_at,
            kind=self.kind,
            asked_at=self.asked_at,
            seen_at=self.seen_at,
            checks=self.checks,
            last_status=self.last_status,
            missing_since=self.missing_since,
        )


class FutureWaiter:
    """One wait for one task.

    A client can have a hundred thousand waits. To save memory, each wait contains only a future.
    """

    __slots__ = ("outcome",)
    interactive = True

    def __init__(self) -> None:
        """Create the future. A running event loop is required."""
        self.outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    def read(self, info: TaskInfo) -> None:
        """Ignore the record."""

    def settled(self, outcome: Outcome) -> None:
        """Set the outcome as the result of the future, unless the wait was cancelled."""
        if not self.outcome.done():
            self.outcome.set_result(outcome)


class QueueWaiter:
    """Puts the records and outcomes of tasks into a queue, for one consumer.

    Args:
        interactive: Whether the caller awaits a single task, not a stream of many tasks.
        readings: Whether to put records of unfinished tasks into the queue, too.
    """

    def __init__(self, *, interactive: bool, readings: bool = False) -> None:
        self.interactive = interactive
        self._readings = readings
        self._items: deque[Outcome | TaskInfo] = deque()
        self._arrived = asyncio.Event()

    def read(self, info: TaskInfo) -> None:
        """Add a record to the queue if the consumer asked for records."""
        if self._readings:
            self._items.append(info)
            self._arrived.set()

    def settled(self, outcome: Outcome) -> None:
        """Add an outcome to the queue."""
        self._items.append(outcome)
        self._arrived.set()

    async def get(self) -> Outcome | TaskInfo:
        """Wait for the next outcome or record, and return it. A cancelled call loses nothing."""
        while not self._items:
            self._arrived.clear()
            await self._arrived.wait()
        return self._items.popleft()

    def get_nowait(self) -> Outcome | TaskInfo | None:
        """Return the next outcome or record; None if the queue is empty."""
        return self._items.popleft() if self._items else None


class WatchList:
    """All watched tasks. Each has an entry, which is a `Watched` object.

    When a task ends, its entry is removed before anything else happens. So the entry is removed
    even if a waiter or the schedule raises.

    Attributes:
        entries: The watched tasks, by id. Callers must not change this dict.
    """

    def __init__(self, schedule: SafeSchedule[Watched], observer: Observer) -> None:
        """Create an empty list. An entry that leaves the list is also removed from `schedule`."""
        self._schedule = schedule
        self._observer = observer
        self.entries: dict[str, Watched] = {}
        # Tasks without waiters that were checked and had not ended. The task that was left first is
        # the first.
        self._left: OrderedDict[str, Watched] = OrderedDict()

    def __len__(self) -> int:
        return len(self.entries)

    def get(self, task_id: str) -> Watched | None:
        """Return the entry of a task; None if the task is not watched."""
        return self.entries.get(task_id)

    def holds(self, entry: Watched) -> bool:
        """Return whether this entry is still watched."""
        return self.entries.get(entry.task_id) is entry

    def snapshot(self) -> list[Watched]:
        """Return all entries."""
        return list(self.entries.values())

    def add(self, entry: Watched) -> None:
        """Add a new entry."""
        self.entries[entry.task_id] = entry

    def remove(self, task_id: str, watcher: Watcher) -> None:
        """Remove a waiter of a task. If the task has no other waiter, stop watching the task."""
        entry = self.entries.get(task_id)
        if entry is None:
            return
        entry.remove_waiter(watcher)
        if not entry.watchers:
            del self.entries[task_id]
            self._schedule.discard(entry)
            if entry.asked_at is not None:
                self._left[task_id] = entry
                if len(self._left) > LEFT_REMEMBERED:
                    self._left.popitem(last=False)

    def take_left(self, task_id: str) -> Watched | None:
        """Remove and return the entry of a task that all its waiters recently left; else None."""
        return self._left.pop(task_id, None) if self._left else None

    def answered(self, entry: Watched, info: TaskInfo, now: float) -> None:
        """Use a record that arrived after the last waiter of its task had left.

        If a caller already waits for the task again, the entry is another one, so do nothing.
        """
        if self._left.get(entry.task_id) is not entry:
            return
        if info.status.terminal:
            # The next wait must not delay its first check.
            del self._left[entry.task_id]
        else:
            entry.answered(now)
            entry.last_status = info.raw_status

    def end(self, entry: Watched, error: SunoError | None, info: TaskInfo | None = None) -> None:
        """End all waits for an entry. If the entry is no longer watched, do nothing.

        `error` is None if the task succeeded. If there are several waits, each gets its own copy of
        `error`. `info` is the task record that ends the waits; None if they end without a record.
        """
        if not self.holds(entry):
            return
        del self.entries[entry.task_id]
        watchers, entry.watchers = tuple(entry.watchers), ()
        self._schedule.discard(entry)
        self._observer.task_ended(entry.task_id, error)
        for watcher in watchers:
            # A shared error would get a longer traceback from each waiter that raises it.
            own = error if error is None or len(watchers) == 1 else own_copy(error)
            _settle(watcher, outcome_of(entry.task_id, info, own))

    async def end_all(self, error_of: Callable[[str], SunoError]) -> None:
        """End every wait with the error that `error_of` returns for the id of the task.

        All waits end even if this call is cancelled. Waits that begin during the call may continue.
        """
        entries = self.snapshot()
        try:
            for number, entry in enumerate(entries, 1):
                self.end(entry, error_of(entry.task_id))
                if number % CHUNK == 0:
                    await asyncio.sleep(0)
        except asyncio.CancelledError:
            for entry in entries:
                self.end(entry, error_of(entry.task_id))
            raise


def own_copy(error: SunoError) -> SunoError:
    """Return a copy of an error, with the same cause but without the traceback."""
    copied = copy.copy(error)
    copied.__cause__ = error.__cause__
    return copied


def internal_error(what: str, task_id: str, cause: BaseException) -> InternalError:
    """Return the error for a wait that ended because of a bug in the step `what`."""
    error = InternalError(what, task_id)
    error.__cause__ = cause
    return error


def last_seen(entry: Watched | None, clock: Clock) -> tuple[str, float | None]:
    """Return the last known status of a task, and the time when this status was requested.

    The time is in Unix seconds. If no status is known, return an empty string and None.
    """
    if entry is None or entry.seen_at is None:
        return "", None
    return entry.last_status, clock.to_unix(entry.seen_at)


def timeout_error(entry: Watched, reason: str, clock: Clock) -> TaskTimeoutError:
    """Return the error for a wait that ended at the deadline of its task."""
    return TaskTimeoutError(entry.task_id, reason, *last_seen(entry, clock))


def _settle(watcher: Watcher, outcome: Outcome) -> None:
    """Pass an outcome to a waiter. If the waiter raises, pass an `InternalError` to that waiter."""
    task_id = outcome.task_id
    try:
        watcher.settled(outcome)
    except Exception as bug:
        logger.exception("bug: the outcome of task %s could not be delivered", task_id)
        try:
            watcher.settled(
                Failure(task_id, internal_error("delivering its outcome", task_id, bug))
            )
        except Exception:
            logger.exception("bug: the wait for task %s could not be ended", task_id)
