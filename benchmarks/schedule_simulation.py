"""One account, one policy, one set of tasks, in virtual time: exact, event by event.

Requests are at least 1/15 s apart, an unused slot is lost, and an answer is there at once (latency
0: a constant latency would shift every delay alike). The delay of a task is the time of the answer
that shows its end, minus its end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from benchmarks.schedule_sets import FLOOR, RATE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.schedule_sets import TaskSet


class Poller(Protocol):
    """What a policy does. Tasks are their places in the set; times are seconds."""

    def add(self, task: int, now: float) -> None:
        """A task was created."""
        ...

    def next_due(self) -> float | None:
        """The earliest time at which `pop` gives a task out."""
        ...

    def pop(self, now: float) -> int | None:
        """The task to ask at `now`."""
        ...

    def running(self, task: int, now: float) -> None:
        """It was asked and is still going."""
        ...

    def ended(self, task: int, now: float, duration: float) -> None:
        """It was asked and has ended."""
        ...


@dataclass
class Run:
    """What came of it.

    Attributes:
        delays: Of every task seen to end, by its place in the set.
        seen: When each of these was seen.
        requests: How many were made.
        makespan: When the last request was made: all were seen to end or given up.
        lost: Tasks that finished and were never seen to.
        early: Requests nearer than the floor to the task's creation or to its last check.
        asked: Time and age of every request, where that was wanted.
    """

    delays: dict[int, float] = field(default_factory=dict[int, float])
    seen: dict[int, float] = field(default_factory=dict[int, float])
    requests: int = 0
    makespan: float = 0.0
    lost: int = 0
    early: int = 0
    asked: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])

    @property
    def mean_delay(self) -> float:
        """Mean over the tasks seen to end; NaN if there is none."""
        return math.fsum(self.delays.values()) / len(self.delays) if self.delays else math.nan

    @property
    def requests_per_finished(self) -> float:
        """All requests, those for tasks that never finish too, per task seen to end."""
        return self.requests / len(self.delays) if self.delays else math.inf


def simulate(tasks: TaskSet, poller: Poller, *, floor: float = FLOOR, trace: bool = False) -> Run:
    """Let `poller` spend the budget on `tasks` until it has nothing left to ask."""
    run = Run()
    created, ends, durations = tasks.created, tasks.ends(), tasks.durations
    last_asked = list(created)
    arrived, free = 0, 0.0
    while True:
        due = poller.next_due()
        now = math.inf if due is None else max(due, free)
        if arrived < len(created) and created[arrived] <= now:
            poller.add(arrived, created[arrived])
            arrived += 1
            continue
        if due is None:
            break
        free = now + 1 / RATE
        task = poller.pop(now)
        if task is None:
            continue
        run.requests += 1
        run.makespan = now
        run.early += now - last_asked[task] < floor - 1e-6
        last_asked[task] = now
        if trace:
            run.asked.append((now, now - created[task]))
        if ends[task] <= now:
            run.seen[task], run.delays[task] = now, now - ends[task]
            poller.ended(task, now, durations[task])
        else:
            poller.running(task, now)
    run.lost = sum(map(math.isfinite, durations)) - len(run.delays)
    return run


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value with at least `share` of them at or below it; NaN of none."""
    if not values:
        return math.nan
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
