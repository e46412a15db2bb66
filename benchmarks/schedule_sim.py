"""A discrete-event simulation of one request budget, in virtual time.

It drives any `Schedule`, so the very class that the client uses, as the client's poller does: take
a permit, take the task most worth it, tell the schedule what came of it. One permit each 1/15 s
while anything is due; a request takes no time. The simulation trusts no policy: a check below the
floor, a task asked after its end was seen, or a deadline that passes without a last check raises
`BrokenPolicyError`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks.schedule_tasks import BUDGET, DEADLINE, FLOOR
from suno_async._schedule import Entry

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.schedule_tasks import TaskSet
    from suno_async._schedule import Schedule

    Floats = NDArray[np.float64]

_SLACK: Final = 1e-6  # floating-point sums of ages; seconds
_STALLS: Final = 1000  # empty-handed pops at one instant before a schedule counts as stuck


class BrokenPolicyError(Exception):
    """A schedule did what the vendor's limits or its own protocol forbid."""


class Job(Entry):
    """An entry whose end the simulation, and the clairvoyant, know.

    Attributes:
        number: Its place in the task set.
        born: When it was created.
        ends_at: When it ends; ``inf`` for never.
        checked_at: When it was last checked; its creation before the first time.
        seen_at: When its end was noticed; ``inf`` until then.
        closed: No check of it may follow.
    """

    __slots__ = ("born", "checked_at", "closed", "ends_at", "number", "seen_at")

    def __init__(
        self, number: int, created: float, duration: float, kind: str, *, interactive: bool
    ) -> None:
        super().__init__(
            str(number), added_at=created, created_at=created, kind=kind, interactive=interactive
        )
        self.number = number
        self.born = created
        self.ends_at = created + duration
        self.checked_at = created
        self.seen_at = math.inf
        self.closed = False


@dataclass(frozen=True, slots=True)
class Run:
    """What became of a task set.

    Attributes:
        created: When each task was created.
        ended: When each ended; ``inf`` for never.
        seen: When each end was noticed; ``inf`` for never.
        requests: How many requests were made.
        asked_at: When each request was made, if traced.
        asked_age: How old its task was, if traced.
    """

    created: Floats
    ended: Floats
    seen: Floats
    requests: int
    asked_at: Floats
    asked_age: Floats

    def delays(self) -> Floats:
        """Seconds from end to notice of each noticed task, in order of creation."""
        noticed = np.isfinite(self.seen)
        return self.seen[noticed] - self.ended[noticed]

    def mean_delay(self) -> float:
        """Mean of `delays`."""
        return float(np.mean(self.delays()))

    def finished(self) -> int:
        """How many tasks ended at all."""
        return int(np.isfinite(self.ended).sum())

    def lost(self) -> int:
        """How many tasks ended unnoticed."""
        return int((np.isfinite(self.ended) & ~np.isfinite(self.seen)).sum())

    def makespan(self) -> float:
        """When the last noticed end was noticed."""
        return float(np.max(self.seen, where=np.isfinite(self.seen), initial=0.0))


class Simulation:
    """One run of one schedule over one task set."""

    def __init__(
        self, tasks: TaskSet, schedule: Schedule, *, floor: float = FLOOR, trace: bool = False
    ) -> None:
        self._schedule = schedule
        self._floor = floor - _SLACK
        self._requests = 0
        self._free_at = 0.0
        self._trace: list[tuple[float, float]] | None = [] if trace else None
        self._jobs = [
            Job(n, created, duration, kind, interactive=n in tasks.interactive)
            for n, (created, duration, kind) in enumerate(
                zip(tasks.created, tasks.durations, tasks.kinds, strict=True)
            )
        ]

    def run(self) -> Run:
        """Run until every task is seen or given up."""
        schedule = self._schedule
        waiting = iter(self._jobs)
        coming = next(waiting, None)
        now, stalls = 0.0, 0
        while True:
            due = schedule.next_due()
            at = math.inf if due is None else max(due, self._free_at, now)
            if coming is not None and coming.born <= at:
                now = coming.born
                schedule.add(coming, now)
                coming = next(waiting, None)
                continue
            if at == math.inf:
                break
            stalls = stalls + 1 if at == now else 0
            now = at
            entry = schedule.pop(now)
            if isinstance(entry, Job):
                stalls = 0
                self._check(entry, now)
            elif stalls > _STALLS:
                raise BrokenPolicyError(f"next_due() says {due}, but pop({now}) gives nothing")
        self._close()
        return self._outcome()

    def _check(self, job: Job, now: float) -> None:
        """Spend one permit on `job` and tell the schedule what came of it."""
        if job.closed or now - job.checked_at < self._floor:
            raise BrokenPolicyError(f"{job} asked at {now}, last at {job.checked_at}")
        self._requests += 1
        self._free_at = now + 1.0 / BUDGET
        job.checked_at = now
        if self._trace is not None:
            self._trace.append((now, now - job.born))
        if job.ends_at <= now:
            job.seen_at = now
            job.closed = True
            self._schedule.settle(job, now, job.ends_at - job.born)
        elif not self._schedule.defer(job, now):
            job.closed = True

    def _close(self) -> None:
        """Every task must have been seen, or asked at its deadline."""
        for job in self._jobs:
            if not job.closed or (
                job.seen_at == math.inf and job.checked_at - job.born < DEADLINE - _SLACK
            ):
                raise BrokenPolicyError(f"{job} given up at age {job.checked_at - job.born}")

    def _outcome(self) -> Run:
        trace = np.array(self._trace or [], dtype=np.float64).reshape(-1, 2)
        return Run(
            created=np.array([job.born for job in self._jobs]),
            ended=np.array([job.ends_at for job in self._jobs]),
            seen=np.array([job.seen_at for job in self._jobs]),
            requests=self._requests,
            asked_at=trace[:, 0],
            asked_age=trace[:, 1],
        )


def simulate(
    tasks: TaskSet, schedule: Schedule, *, floor: float = FLOOR, trace: bool = False
) -> Run:
    """Drive `schedule` over `tasks` until each is seen or given up."""
    return Simulation(tasks, schedule, floor=floor, trace=trace).run()
