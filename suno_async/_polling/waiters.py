"""The tasks that are waited for, and their waiters: a future for one task, a queue for many."""

from __future__ import annotations

import asyncio
import copy
import logging
from collections import deque
from typing import TYPE_CHECKING, Protocol

from suno_async._schedule.entry import Entry
from suno_async.errors import InternalError
from suno_async.outcomes import Failure, Outcome, outcome_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from suno_async._polling.safe_schedule import SafeSchedule
    from suno_async.errors import SunoError
    from suno_async.models import TaskInfo
    from suno_async.telemetry import Observer

logger = logging.getLogger("suno_async")

#: Ids added or removed between two turns of the event loop, so that thousands do not stall it.
CHUNK = 256


class Watcher(Protocol):
    """Waits for tasks. Its methods must not block.

    Attributes:
        interactive: A person waits for this very task.
    """

    interactive: bool

    def read(self, info: TaskInfo) -> None:
        """Take the record of a task that is not finished."""
        ...

    def settled(self, outcome: Outcome) -> None:
        """Take the outcome. Called once for each task."""
        ...


class Watched(Entry, eq=False, gc=False):
    """An entry and its waiters.

    Attributes:
        watchers: Who waits for it.
        last_status: The server's word for the last status seen; empty if none was seen.
        missing_since: When the first 404 of an unbroken row was asked for; None without one.
    """

    watchers: tuple[Watcher, ...] = ()
    last_status: str = ""
    missing_since: float | None = None


class FutureWaiter:
    """One await of one task.

    There may be a hundred thousand of them, so this is a bare future and nothing more.
    """

    __slots__ = ("outcome",)
    interactive = True

    def __init__(self) -> None:
        """Need a running event loop."""
        self.outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    def read(self, info: TaskInfo) -> None:
        """Ignore it."""

    def settled(self, outcome: Outcome) -> None:
        """End the wait, unless it was cancelled."""
        if not self.outcome.done():
            self.outcome.set_result(outcome)


class QueueWaiter:
    """Collects records and outcomes for one consumer."""

    def __init__(self, *, interactive: bool, readings: bool = False) -> None:
        self.interactive = interactive
        self._readings = readings
        self._items: deque[Outcome | TaskInfo] = deque()
        self._arrived = asyncio.Event()

    def read(self, info: TaskInfo) -> None:
        """Keep a record if the consumer wants them."""
        if self._readings:
            self._items.append(info)
            self._arrived.set()

    def settled(self, outcome: Outcome) -> None:
        """Keep an outcome."""
        self._items.append(outcome)
        self._arrived.set()

    async def get(self) -> Outcome | TaskInfo:
        """Wait for the next item. A cancelled wait loses none."""
        while not self._items:
            self._arrived.clear()
            await self._arrived.wait()
        return self._items.popleft()


class WatchList:
    """All tasks that someone waits for.

    An entry leaves the list before anything else happens at its end, so an exception in a waiter or
    in the schedule cannot keep it here.
    """

    def __init__(self, schedule: SafeSchedule[Watched], observer: Observer) -> None:
        """Discard entries that end from `schedule`."""
        self._schedule = schedule
        self._observer = observer
        self._entries: dict[str, Watched] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, task_id: str) -> Watched | None:
        """Return the entry of a task; None if nobody waits for it."""
        return self._entries.get(task_id)

    def holds(self, entry: Watched) -> bool:
        """Return whether someone still waits for this entry."""
        return self._entries.get(entry.task_id) is entry

    def snapshot(self) -> list[Watched]:
        """Return all entries."""
        return list(self._entries.values())

    def add(self, entry: Watched) -> None:
        """Add a new entry."""
        self._entries[entry.task_id] = entry

    def remove(self, task_id: str, watcher: Watcher) -> None:
        """Remove a waiter, and with its last waiter the entry."""
        entry = self._entries.get(task_id)
        if entry is None:
            return
        entry.watchers = tuple(each for each in entry.watchers if each is not watcher)
        if not entry.watchers:
            del self._entries[task_id]
            self._schedule.discard(entry)

    def end(self, entry: Watched, error: SunoError | None, info: TaskInfo | None = None) -> None:
        """End all waits for an entry, each with its own instance of `error`."""
        if not self.holds(entry):
            return
        del self._entries[entry.task_id]
        watchers, entry.watchers = entry.watchers, ()
        self._schedule.discard(entry)
        self._observer.task_ended(entry.task_id, error)
        for watcher in watchers:
            # A shared instance would collect the traceback of every waiter that raises it.
            own = error if error is None or len(watchers) == 1 else own_copy(error)
            _settle(watcher, outcome_of(entry.task_id, info, own))

    async def end_all(self, error_of: Callable[[str], SunoError]) -> None:
        """End every wait that there is now. A cancellation does not leave any of them behind."""
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
    """Return a new instance of an error, with its cause and without its traceback."""
    copied = copy.copy(error)
    copied.__cause__ = error.__cause__
    return copied


def internal_error(what: str, task_id: str, cause: BaseException) -> InternalError:
    """Return the error of a wait that a bug ended."""
    error = InternalError(what, task_id)
    error.__cause__ = cause
    return error


def _settle(watcher: Watcher, outcome: Outcome) -> None:
    """Hand over an outcome. If that raises, try once more with the error of the bug."""
    task_id = outcome.task_id
    try:
        watcher.settled(outcome)
    except Exception as bug:
        logger.exception("bug: the outcome of task %s could not be handed over", task_id)
        try:
            watcher.settled(
                Failure(task_id, internal_error("handing over its outcome", task_id, bug))
            )
        except Exception:
            logger.exception("bug: the waiter of task %s cannot be reached", task_id)
