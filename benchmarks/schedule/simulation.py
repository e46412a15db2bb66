"""Simulate one account, one policy and one set of tasks in virtual time, event by event.

Requests are at least 1/15 s apart, and unused requests cannot be saved for later. The server reads
the status of a task when the request is sent. The reply arrives 50 to 250 ms later. So several
requests are in flight at once, and replies do not arrive in the order of the requests. A policy
learns a status when the reply arrives, not before.

The delay of a task is the time from its end to the arrival of the reply that reports this end. It
always includes the time that this reply takes, and no policy can predict this time.

The lower bound of the mean delay is a sum. The first part is a lower bound for replies that take
no time. The second part is the mean time that a reply takes (`MEAN_REPLY_DELAY`). The first part
also holds if replies take time. The reason: if a policy gets each reply at once, it can still wait
before it uses the reply. So no policy does better only because its replies are slow.
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

#: Shortest and longest time from a request to its reply in seconds, uniformly distributed.
REPLY_DELAY = (0.05, 0.25)

#: Mean time from a request to its reply in seconds; part of the mean delay of every policy.
MEAN_REPLY_DELAY = sum(REPLY_DELAY) / 2

#: The `reply_delay` of a simulation in which replies take no time.
AT_ONCE = (0.0, 0.0)


class Poller(Protocol):
    """The interface of a polling policy. Times are in seconds.

    Each task is represented by its index in the set of tasks.
    """

    def add(self, task: int, now: float) -> None:
        """Start to poll a task that was created at `now`."""
        ...

    def next_due(self) -> float | None:
        """Return the earliest time at which `pop` can return a task; None if no task is left."""
        ...

    def pop(self, now: float) -> int | None:
        """Return the task to check at `now`; None if no task is due."""
        ...

    def running(self, task: int, now: float) -> None:
        """Process a reply about a task that was still running when the request was sent."""
        ...

    def ended(self, task: int, now: float, duration: float) -> None:
        """Process a reply about a task that had ended when the request was sent.

        `duration` is how long the task ran.
        """
        ...


@dataclass
class Run:
    """The result of one simulation. Times are in seconds.

    Attributes:
        delays: Index of a task → time from its end to the reply that reported this end.
        seen: Index of a task → time at which its end was reported.
        requests: Number of requests sent.
        makespan: Time of the last request.
        lost: Number of finished tasks whose end the policy did not detect.
        early: Number of requests that were sent before the shortest allowed interval had passed.
        asked: For each request, its time and the age of its task. Empty unless `simulate` ran with
            ``trace=True``.
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
        """Mean of the delays in seconds; NaN if no end was reported."""
        return math.fsum(self.delays.values()) / len(self.delays) if self.delays else math.nan

    @property
    def requests_per_finished(self) -> float:
        """Number of requests per reported end; infinity if no end was reported."""
        return self.requests / len(self.delays) if self.delays else math.inf


def simulate(
    tasks: TaskSet,
    poller: Poller,
    *,
    floor: float = FLOOR,
    trace: bool = False,
    reply_delay: tuple[float, float] = REPLY_DELAY,
) -> Run:
    """Let `poller` poll `tasks` until no task is left to check. Return what happened.

    Args:
        tasks: The tasks, with their creation times and durations.
        poller: The policy.
        floor: Shortest allowed time in seconds between two requests for a task, and from a
            task's creation to its first request. Requests that come too early are still sent.
            `Run.early` counts them.
        trace: Whether to store every request in `Run.asked`.
        reply_delay: Shortest and longest time from a request to its reply, in seconds.
    """
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
    """Return the smallest value v such that at least the fraction `share` of the values is <= v.

    Return NaN if there are no values.
    """
    if not values:
        return math.nan
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
