"""The policies that the benchmark compares: the schedules of the client and the baselines.

A policy decides when each task is checked.

fixed        checks every task every 15 s, behind a FIFO limiter
backoff      checks after 15 s, then every 15 to 30 s (equal jitter), behind a FIFO limiter
edf          the client with schedule="backoff": exponential backoff, earliest due first
adaptive     the client with schedule="adaptive": starts with a prior and learns durations
trained      as adaptive, but has already learnt from 5,000 tasks with the same durations
eager        as trained, but with intervals as short as 2 s if the rate limit allows
clairvoyant  knows when each task ends; checks each task once, tasks that never end last

A FIFO limiter sends requests in the order in which they join its queue. A request joins the queue
when the timer of its task ends. The next timer of the task starts when the reply arrives.
"""

from __future__ import annotations

import heapq
import math
from random import Random
from typing import TYPE_CHECKING

from benchmarks.schedule.sets import DEADLINE, EAGER_FLOOR, FLOOR, draw_durations
from suno_async import Durations as Learner
from suno_async import PollPolicy
from suno_async._schedule.adaptive import AdaptiveSchedule
from suno_async._schedule.backoff import BackoffSchedule
from suno_async._schedule.entry import Entry, Schedule
from suno_async._schedule.tuning import DEFAULT_TUNING

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.schedule.sets import Durations, TaskSet
    from benchmarks.schedule.simulation import Poller
    from suno_async._schedule.tuning import Tuning

BASELINES = ("fixed", "backoff", "clairvoyant")
SCHEDULES = ("edf", "adaptive", "trained", "eager")

#: Number of tasks that a trained schedule has seen.
LESSONS = 5000


class Timers:
    """A policy with one timer per task. The task whose timer ended first is checked first."""

    def __init__(self, tasks: TaskSet, interval: Callable[[int], float]) -> None:
        """Create the policy. No timer runs until a task is added.

        `interval` is called with the number of checks of a task so far. It returns the length of
        the task's next timer in seconds.
        """
        self._created = tasks.created
        self._interval = interval
        self._checks = [0] * len(tasks)
        self._heap: list[tuple[float, int]] = []

    def add(self, task: int, now: float) -> None:
        """Start the timer for the first check of a task."""
        heapq.heappush(self._heap, (now + self._interval(0), task))

    def next_due(self) -> float | None:
        """Return the time at which the next timer ends; None if no timer is running."""
        return self._heap[0][0] if self._heap else None

    def pop(self, now: float) -> int | None:
        """Return the task whose timer ended first; None if no timer has ended."""
        if not self._heap or self._heap[0][0] > now:
            return None
        return heapq.heappop(self._heap)[1]

    def running(self, task: int, now: float) -> None:
        """Start the next timer of a running task if the task's deadline has not passed."""
        self._checks[task] += 1
        last = self._created[task] + DEADLINE
        if now < last:
            due = now + self._interval(self._checks[task])
            # A check less than the floor before the deadline moves to the deadline.
            heapq.heappush(self._heap, (due if due <= last - FLOOR else max(last, due), task))

    def ended(self, task: int, now: float, duration: float) -> None:
        """Do nothing, because no timer of the task is running."""


class Clairvoyant:
    """A policy that knows when each task ends, and checks each task only once.

    A task is due when it ends, but not earlier than `FLOOR` seconds after its creation. A task that
    never ends is due `DEADLINE` seconds after its creation, but all ended tasks are checked first.

    Ended tasks may be checked in any order. As long as requests are sent at the full rate, the
    order does not change the sum of the delays.
    """

    def __init__(self, tasks: TaskSet) -> None:
        self._tasks = tasks
        self._future: list[tuple[float, int]] = []
        self._ready: list[tuple[bool, float, int]] = []

    def add(self, task: int, now: float) -> None:
        """Calculate and store the time at which a task is to be checked."""
        duration = min(max(self._tasks.durations[task], FLOOR), DEADLINE)
        heapq.heappush(self._future, (now + duration, task))

    def next_due(self) -> float | None:
        """Return the earliest time at which a task is due; None if there are no tasks."""
        if self._ready:
            return self._ready[0][1]
        return self._future[0][0] if self._future else None

    def pop(self, now: float) -> int | None:
        """Remove and return a task that is due, first one that ends; None if no task is due."""
        while self._future and self._future[0][0] <= now:
            due, task = heapq.heappop(self._future)
            heapq.heappush(self._ready, (math.isinf(self._tasks.durations[task]), due, task))
        return heapq.heappop(self._ready)[2] if self._ready else None

    def running(self, task: int, now: float) -> None:
        """Do nothing, because the task is not checked again."""

    def ended(self, task: int, now: float, duration: float) -> None:
        """Do nothing, because this policy has nothing to learn."""


class Watched(Entry, eq=False, gc=False):
    """A schedule's record of one task. `number` is the index of the task in the `TaskSet`."""

    number: int = -1


class Scheduled:
    """A policy that runs one of the client's own schedules.

    Attributes:
        schedule: The schedule.
        lessons: Durations that the schedule learns just before a task is added, by the index of the
            task. Each item of a list is for one kind of job: the name of the kind, and a list of
            durations in seconds.
    """

    def __init__(self, tasks: TaskSet, schedule: Schedule[Watched], learner: Learner) -> None:
        self.schedule = schedule
        self.lessons: dict[int, list[tuple[str, list[float]]]] = {}
        self._learner = learner
        self._tasks = tasks
        self._entries: dict[int, Watched] = {}

    def add(self, task: int, now: float) -> None:
        """Let the schedule learn the `lessons` for this task. Then add the task to the schedule."""
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
        """Return the earliest time at which `pop` can return a task; None if no task is left."""
        return self.schedule.next_due()

    def pop(self, now: float) -> int | None:
        """Return the task that the schedule wants to check at `now`; None if no task is due."""
        entry = self.schedule.pop(now)
        return None if entry is None else entry.number

    def running(self, task: int, now: float) -> None:
        """Put a running task back into the schedule if the task must be checked again."""
        if not self.schedule.defer(self._entries[task], now):
            del self._entries[task]

    def ended(self, task: int, now: float, duration: float) -> None:
        """Let the schedule learn the duration of a task that ended."""
        del now
        self.schedule.settle(self._entries.pop(task), duration)

    def _teach(self, kind: str, durations: list[float]) -> None:
        """Let the schedule learn the durations of tasks of one kind.

        An infinite duration means that the task was still running at its deadline.
        """
        for duration in durations:
            if math.isfinite(duration):
                self._learner.ended(kind, 0.0, duration)
            else:
                self._learner.still_running(kind, 0.0, DEADLINE)


def adaptive_poller(
    tasks: TaskSet, *, eager: bool = False, tuning: Tuning = DEFAULT_TUNING
) -> Scheduled:
    """Return a policy that runs an adaptive schedule, which has not learnt any durations yet."""
    learner = Learner()
    schedule = AdaptiveSchedule[Watched](PollPolicy(eager=eager), learner, tuning)
    return Scheduled(tasks, schedule, learner)


def make_poller(policy: str, tasks: TaskSet, durations: Durations, seed: int) -> Poller:
    """Return a new poller that applies the policy with the name `policy` to a set of tasks.

    Args:
        policy: One of `BASELINES` and `SCHEDULES`.
        tasks: The tasks.
        durations: The distribution from which the policies ``trained`` and ``eager`` learn before
            the first task.
        seed: Seed of all random draws.

    Raises:
        ValueError: No policy has this name.
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
            return adaptive_poller(tasks)
        case "trained" | "eager":
            poller = adaptive_poller(tasks, eager=policy == "eager")
            poller.lessons[0] = [("", draw_durations(LESSONS, durations, f"lessons {seed}"))]
            return poller
        case _:
            raise ValueError(f"no policy is called {policy!r}")


def floor_of(policy: str) -> float:
    """Return the shortest time between two checks of a task with this policy, in seconds."""
    return EAGER_FLOOR if policy == "eager" else FLOOR
