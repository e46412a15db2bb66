"""One account, one policy, one set of tasks, in virtual time: exact, event by event.

Requests are at least 1/15 s apart and an unused slot is lost. The server judges a request when it
is sent; its reply arrives 50 to 250 ms later, so several requests are in flight at once and their
replies overtake each other. A policy learns a status when the reply arrives, not before.

The delay of a task is the arrival of the reply that shows its end, minus its end: what a user
waits. It includes one reply delay, whatever the policy, and a reply delay is drawn independently
of everything a policy can know. So a bound on the mean delay without reply delays plus the mean
reply delay (`MEAN_REPLY_DELAY`) is a bound with them: a policy that sees every status at once could
also ignore it for as long as a reply takes.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Protocol

from benchmarks.schedule.sets import FLOOR, RATE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.schedule.sets import TaskSet

#: Shortest and longest time from a request to its reply, in seconds; uniform between them.
REPLY_DELAY = (0.05, 0.25)

#: What every policy's mean delay includes.
MEAN_REPLY_DELAY = sum(REPLY_DELAY) / 2

#: Every reply is there at once.
AT_ONCE = (0.0, 0.0)


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
        """A reply arrives: the task was still going when it was asked."""
        ...

    def ended(self, task: int, now: float, duration: float) -> None:
        """A reply arrives: the task had ended when it was asked."""
        ...


@dataclass
class Run:
    """What came of it.

    Attributes:
        delays: Of every task seen to end, by its place in the set.
        seen: When the reply that showed each of these ended arrived.
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


def simulate(
    tasks: TaskSet,
    poller: Poller,
    *,
    floor: float = FLOOR,
    trace: bool = False,
    reply_delay: tuple[float, float] = REPLY_DELAY,
) -> Run:
    """Let `poller` spend the budget on `tasks` until it has nothing left to ask."""
    run = Run()
    created, ends = tasks.created, tasks.ends()
    last_asked = list(created)
    draw = Random("reply delays")
    # A heap of (arrival, number of the request, task, whether it had ended).
    replies: list[tuple[float, int, int, bool]] = []
    added, free = 0, 0.0
    while True:
        due = poller.next_due()
        now = math.inf if due is None else max(due, free)
        creation = created[added] if added < len(created) else math.inf
        reply = replies[0][0] if replies else math.inf
        if creation <= min(now, reply) and math.isfinite(creation):
            poller.add(added, creation)
            added += 1
        elif replies and reply <= now:
            _deliver(heapq.heappop(replies), tasks, poller, ends, run)
        elif due is None:
            break
        else:
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
            arrival = now + draw.uniform(*reply_delay)
            heapq.heappush(replies, (arrival, run.requests, task, ends[task] <= now))
    run.lost = sum(map(math.isfinite, tasks.durations)) - len(run.delays)
    return run


def _deliver(
    reply: tuple[float, int, int, bool],
    tasks: TaskSet,
    poller: Poller,
    ends: Sequence[float],
    run: Run,
) -> None:
    now, _, task, ended = reply
    if ended:
        run.seen[task], run.delays[task] = now, now - ends[task]
        poller.ended(task, now, tasks.durations[task])
    else:
        poller.running(task, now)


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value with at least `share` of them at or below it; NaN of none."""
    if not values:
        return math.nan
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
