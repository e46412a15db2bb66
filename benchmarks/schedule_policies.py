"""The policies compared: the schedule the client uses, and the baselines.

fixed        every task on its own 15 s timer, behind a FIFO limiter
backoff      15 s, then 30 s with equal jitter (15 to 30 s), behind a FIFO limiter
edf          suno_async's schedule="backoff": exponential backoff, earliest due first
adaptive     suno_async's schedule="adaptive", which starts from its prior and learns
trained      the same, having seen 5,000 tasks of the same durations before
eager        trained, and may go down to 2 s while the budget is idle
clairvoyant  knows every end: one request each, those that never finish last

Behind a FIFO limiter a request queues when its task's timer fires, so the earliest timer is served
first; the task's next timer starts at the answer.
"""

from __future__ import annotations

import heapq
import math
from random import Random
from typing import TYPE_CHECKING

from benchmarks.schedule_sets import DEADLINE, EAGER_FLOOR, FLOOR, draw_durations
from suno_async import Durations as Learner
from suno_async import PollPolicy
from suno_async._schedule.adaptive import AdaptiveSchedule
from suno_async._schedule.backoff import BackoffSchedule
from suno_async._schedule.entry import Entry, Schedule

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.schedule_sets import Durations, TaskSet
    from benchmarks.schedule_simulation import Poller

BASELINES = ("fixed", "backoff", "clairvoyant")
SCHEDULES = ("edf", "adaptive", "trained", "eager")

#: Tasks a pre-trained schedule has seen.
LESSONS = 5000


class Timers:
    """A FIFO limiter in front of one timer per task."""

    def __init__(self, tasks: TaskSet, interval: Callable[[int], float]) -> None:
        """`interval` gives the seconds to the check after so many."""
        self._created = tasks.created
        self._interval = interval
        self._checks = [0] * len(tasks)
        self._heap: list[tuple[float, int]] = []

    def add(self, task: int, now: float) -> None:
        """Its timer starts."""
        heapq.heappush(self._heap, (now + self._interval(0), task))

    def next_due(self) -> float | None:
        """The head of the queue, or the earliest timer."""
        return self._heap[0][0] if self._heap else None

    def pop(self, now: float) -> int | None:
        """The head of the queue."""
        if not self._heap or self._heap[0][0] > now:
            return None
        return heapq.heappop(self._heap)[1]

    def running(self, task: int, now: float) -> None:
        """Its timer starts again, unless the deadline has passed."""
        self._checks[task] += 1
        last = self._created[task] + DEADLINE
        if now < last:
            due = now + self._interval(self._checks[task])
            # A check that would leave less than the floor before the deadline moves onto it.
            heapq.heappush(self._heap, (due if due <= last - FLOOR else max(last, due), task))

    def ended(self, task: int, now: float, duration: float) -> None:
        """Nothing is left to ask."""


class Clairvoyant:
    """Asks each task once, at its end; the endless ones at the deadline, when nothing else waits.

    Any order that leaves no slot idle gives the same sum of delays: all requests cost the same.
    """

    def __init__(self, tasks: TaskSet) -> None:
        self._tasks = tasks
        self._future: list[tuple[float, int]] = []
        self._ready: list[tuple[bool, float, int]] = []

    def add(self, task: int, now: float) -> None:
        """Its end is known at once."""
        duration = min(max(self._tasks.durations[task], FLOOR), DEADLINE)
        heapq.heappush(self._future, (now + duration, task))

    def next_due(self) -> float | None:
        """The next end."""
        if self._ready:
            return self._ready[0][1]
        return self._future[0][0] if self._future else None

    def pop(self, now: float) -> int | None:
        """A task that has ended."""
        while self._future and self._future[0][0] <= now:
            due, task = heapq.heappop(self._future)
            heapq.heappush(self._ready, (math.isinf(self._tasks.durations[task]), due, task))
        return heapq.heappop(self._ready)[2] if self._ready else None

    def running(self, task: int, now: float) -> None:
        """It never finishes."""

    def ended(self, task: int, now: float, duration: float) -> None:
        """As foreseen."""


class Watched(Entry, eq=False, gc=False):
    """An entry that knows its number in the set."""

    number: int = -1


class Scheduled:
    """Drives the class the client uses.

    Attributes:
        schedule: The schedule driven.
        lessons: Kinds and durations that the schedule is shown before it sees a certain task.
    """

    def __init__(self, tasks: TaskSet, schedule: Schedule[Watched], learner: Learner) -> None:
        self.schedule = schedule
        self.lessons: dict[int, list[tuple[str, list[float]]]] = {}
        self._learner = learner
        self._tasks = tasks
        self._entries: dict[int, Watched] = {}

    def add(self, task: int, now: float) -> None:
        """Track it from its creation on."""
        for lesson in self.lessons.pop(task, ()):
            self._teach(*lesson)
        entry = Watched(
            "",
            added_at=now,
            created_at=now,
            kind=self._tasks.kinds[task],
            interactive=task in self._tasks.interactive,
            number=task,
        )
        self._entries[task] = entry
        self.schedule.add(entry, now)

    def next_due(self) -> float | None:
        """As the schedule says."""
        return self.schedule.next_due()

    def pop(self, now: float) -> int | None:
        """As the schedule says."""
        entry = self.schedule.pop(now)
        return None if entry is None else entry.number

    def running(self, task: int, now: float) -> None:
        """It is back in, unless that was its last check."""
        if not self.schedule.defer(self._entries[task], now):
            del self._entries[task]

    def ended(self, task: int, now: float, duration: float) -> None:
        """The schedule learns how long it took."""
        del now
        self.schedule.settle(self._entries.pop(task), duration)

    def _teach(self, kind: str, durations: list[float]) -> None:
        """Show the schedule tasks that were watched from their creation to their end."""
        for duration in durations:
            if math.isfinite(duration):
                self._learner.ended(kind, 0.0, duration)
            else:
                self._learner.still_running(kind, 0.0, DEADLINE)


def _index(tasks: TaskSet, *, eager: bool = False) -> Scheduled:
    learner = Learner()
    return Scheduled(tasks, AdaptiveSchedule(PollPolicy(eager=eager), learner), learner)


def make_poller(policy: str, tasks: TaskSet, durations: Durations, seed: int) -> Poller:
    """The policy of this name, at its start, for this set.

    Raises:
        ValueError: no such policy.
    """
    random = Random(f"backoff {seed}")
    match policy:
        case "fixed":
            return Timers(tasks, lambda _: FLOOR)
        case "backoff":
            return Timers(tasks, lambda k: random.uniform(FLOOR, 2 * FLOOR) if k else FLOOR)
        case "clairvoyant":
            return Clairvoyant(tasks)
        case "edf":
            jitter = Random(f"jitter {seed}").random
            schedule = BackoffSchedule[Watched](PollPolicy(schedule="backoff"), jitter)
            return Scheduled(tasks, schedule, Learner())
        case "adaptive":
            return _index(tasks)
        case "trained" | "eager":
            poller = _index(tasks, eager=policy == "eager")
            poller.lessons[0] = [("", draw_durations(LESSONS, durations, f"lessons {seed}"))]
            return poller
        case _:
            raise ValueError(f"no policy is called {policy!r}")


def floor_of(policy: str) -> float:
    """The least seconds between two checks of a task that this policy keeps."""
    return EAGER_FLOOR if policy == "eager" else FLOOR
