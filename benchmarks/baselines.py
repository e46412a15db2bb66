"""What the index is measured against: the pollers that everybody writes, and a clairvoyant.

Every known client gives each task a timer of its own; a timer that fires joins one FIFO queue in
front of the limiter, and is set again when its request has been served. The queue's order is
therefore the order in which timers fire, and the whole machine is one heap by due time: a FIFO
fed by timers *is* earliest-due-first. What tells such pollers apart is only the interval.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Final

from benchmarks.schedule_sim import Job
from benchmarks.schedule_tasks import DEADLINE, FLOOR

if TYPE_CHECKING:
    import random

    from suno_async._schedule import Entry

_GONE: Final = object()


class Timers:
    """Earliest due first; subclasses say when an entry is due. Implements `Schedule`."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Entry]] = []
        self._sequence = 0

    def first_due(self, entry: Entry) -> float:
        """When `entry` is due for the first time."""
        return _created(entry) + FLOOR

    def interval(self, entry: Entry) -> float:
        """How long to leave `entry` alone after the check just made."""
        raise NotImplementedError

    def add(self, entry: Entry, now: float) -> None:
        """Start the entry's timer."""
        self._push(entry, max(now, self.first_due(entry)))

    def pop(self, now: float) -> Entry | None:
        """Give out the entry whose timer fired first."""
        due = self.next_due()
        if due is None or due > now:
            return None
        entry = heapq.heappop(self._heap)[2]
        entry.asked_at = now
        return entry

    def next_due(self) -> float | None:
        """When the next timer fires, or fired."""
        while self._heap and self._heap[0][2].home is _GONE:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def defer(self, entry: Entry, now: float) -> bool:
        """Start the timer again, unless this was the check at the deadline."""
        last_check = _created(entry) + DEADLINE
        if now >= last_check:
            return False
        entry.alive_at = now
        self._push(entry, max(now + FLOOR, min(now + self.interval(entry), last_check)))
        return True

    def retry(self, entry: Entry, now: float) -> bool:
        """Treat a failed check like an answered one."""
        return self.defer(entry, now)

    def settle(self, entry: Entry, now: float, duration: float | None) -> None:
        """Learn nothing: a timer needs no knowledge."""

    def discard(self, entry: Entry) -> None:
        """Forget the entry when its timer fires."""
        entry.home = _GONE

    def promote(self, entry: Entry, now: float) -> None:
        """Change nothing: a FIFO queue knows no one who waits."""

    def _push(self, entry: Entry, due: float) -> None:
        self._sequence += 1
        heapq.heappush(self._heap, (due, self._sequence, entry))


class FixedLoops(Timers):
    """Every task asked 15 s after its last answer, through a FIFO limiter."""

    def interval(self, entry: Entry) -> float:
        """Always the floor."""
        del entry
        return FLOOR


class BackoffLoops(Timers):
    """Exponential backoff with jitter, each task on its own timer, through a FIFO limiter.

    The first interval is 15 s, every later one uniform between 15 s and the backed-off one, which
    grows by `growth` up to `longest`.
    """

    def __init__(self, rng: random.Random, growth: float = 2.0, longest: float = 30.0) -> None:
        super().__init__()
        self._rng = rng
        self._growth = growth
        self._longest = longest
        self._checks: dict[str, int] = {}

    def interval(self, entry: Entry) -> float:
        """Between the floor and the interval that has grown so far."""
        checks = self._checks.get(entry.task_id, 0) + 1
        self._checks[entry.task_id] = checks
        return self._rng.uniform(FLOOR, min(self._longest, FLOOR * self._growth**checks))

    def settle(self, entry: Entry, now: float, duration: float | None) -> None:
        """Forget how often the entry was asked."""
        del now, duration
        self._checks.pop(entry.task_id, None)


class Clairvoyant(Timers):
    """Knows when each job ends: one request each, in order of the ends.

    A job that never ends gets its one request at the deadline. No policy that has to ask can see
    results earlier, so its makespan is the least there is.
    """

    def first_due(self, entry: Entry) -> float:
        """The end of the job, or its deadline."""
        if not isinstance(entry, Job):
            raise TypeError("only a simulated job's end is known beforehand")
        return max(entry.born + FLOOR, min(entry.ends_at, entry.born + DEADLINE))


def _created(entry: Entry) -> float:
    return entry.added_at if entry.created_at is None else entry.created_at
