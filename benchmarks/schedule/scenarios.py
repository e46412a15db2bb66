"""Simulate special cases of polling.

The cases are interactive tasks, durations that differ from the prior, durations that change, and
two kinds of job. The *delay* of a task is the time from its end until a reply reports its end.
"""

from __future__ import annotations

import math
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.schedule.policies import LESSONS, Scheduled, make_poller
from benchmarks.schedule.report import mean
from benchmarks.schedule.sets import (
    LOG_NORMAL,
    Durations,
    TaskSet,
    draw_durations,
    draw_set,
)
from benchmarks.schedule.simulation import quantile, simulate

if TYPE_CHECKING:
    from benchmarks.schedule.simulation import Run

#: Number of bulk sets, and number of interactive tasks that are tried in each, one at a time.
BULKS, PROBES = 4, 15

#: Number of tasks in a run that learns, and how many of them finish before delays count.
LEARNERS, LEARNT = 5000, 1000

SHORT = Durations("short", ((1.0, 30.0, 0.3),))
LONG = Durations("long", ((1.0, 240.0, 0.3),))


class Interactive(NamedTuple):
    """How long interactive tasks wait among bulk tasks, and how much they delay the bulk tasks.

    A task is *interactive* if a caller awaits this one task. All other tasks are *bulk* tasks.

    Attributes:
        delays: Seconds from the end of each interactive task until a reply reports its end.
            Infinity if no reply reports its end.
        growth: How much one interactive task increases the mean delay of the bulk tasks, as a share
            of this delay. It is the mean over all runs.
    """

    delays: list[float]
    growth: float


def interactive(policy: str, n: int = 10_000) -> Interactive:
    """Measure how long interactive tasks wait, and how much they delay bulk tasks.

    Each run has `n` bulk tasks, which are created at time 0. One interactive task is created later,
    at a random time.
    """
    delays: list[float] = []
    growths: list[float] = []
    for seed in range(1, BULKS + 1):
        bulk = draw_set(n, "once", LOG_NORMAL, seed)
        alone = simulate(bulk, make_poller(policy, bulk, LOG_NORMAL, seed)).mean_delay
        random = Random(f"interactive {seed}")
        for _ in range(PROBES):
            tasks = TaskSet(
                [*bulk.created, random.uniform(0.0, n / 20)],
                [*bulk.durations, LOG_NORMAL.draw(random)],
                interactive=frozenset([n]),
            )
            run = simulate(tasks, make_poller(policy, tasks, LOG_NORMAL, seed))
            delays.append(run.delays.pop(n, math.inf))
            growths.append(run.mean_delay / alone - 1)
    return Interactive(delays, mean(growths))


def untaught(policy: str, truth: Durations, seeds: range) -> float:
    """Return the mean delay of an untrained schedule, divided by that of a trained schedule.

    Before the first task, the trained schedule learns durations that are drawn from `truth`. The
    first `LEARNT` results of each run are not part of the mean.
    """
    cold, taught = list[float](), list[float]()
    for seed in seeds:
        tasks = draw_set(LEARNERS, "p200", truth, seed)
        lessons = draw_durations(LESSONS, truth, f"lessons {seed}")
        cold.append(_later(_run(policy, tasks, seed, {}), 0))
        taught.append(_later(_run(policy, tasks, seed, {0: [("", lessons)]}), 0))
    return mean(cold) / mean(taught)


def doubled(policy: str, seeds: range) -> float:
    """Return the mean delay of an untrained schedule, divided by that of a trained schedule.

    The tasks in the second half of each run take twice as long as those in the first half. At the
    start of each half, the trained schedule learns how long the tasks of this half take. Both means
    include only the tasks of the second half, without the first `LEARNT` results of this half.
    """
    cold, taught = list[float](), list[float]()
    half = LEARNERS // 2
    for seed in seeds:
        tasks = draw_set(LEARNERS, "p200", LOG_NORMAL, seed)
        tasks.durations[half:] = [2 * each for each in tasks.durations[half:]]
        before = draw_durations(LESSONS, LOG_NORMAL, f"lessons {seed}")
        after = draw_durations(LESSONS, LOG_NORMAL.scaled(2), f"lessons {seed}")
        cold.append(_later(_run(policy, tasks, seed, {}), half))
        taught.append(
            _later(_run(policy, tasks, seed, {0: [("", before)], half: [("", after)]}), half)
        )
    return mean(cold) / mean(taught)


def two_kinds(policy: str, seeds: range) -> float:
    """Return the mean delay of an untrained schedule, divided by that of a trained schedule.

    Each task is of a short or a long kind of job. The trained schedule learns the durations of both
    kinds before the first task. The first `LEARNT` results of each run do not count.
    """
    cold, taught = list[float](), list[float]()
    truth = Durations("both", tuple((0.5, *each.humps[0][1:]) for each in (SHORT, LONG)))
    for seed in seeds:
        tasks = draw_set(LEARNERS, "p200", truth, seed)
        random = Random(f"kinds {seed}")
        of_kind = {
            each.name: iter(draw_durations(LEARNERS, each, f"durations {seed}"))
            for each in (SHORT, LONG)
        }
        tasks.kinds = random.choices(list(of_kind), k=LEARNERS)
        tasks.durations = [next(of_kind[kind]) for kind in tasks.kinds]
        lessons = [
            (each.name, draw_durations(LESSONS, each, f"lessons {seed}")) for each in (SHORT, LONG)
        ]
        cold.append(_later(_run(policy, tasks, seed, {}), 0))
        taught.append(_later(_run(policy, tasks, seed, {0: lessons}), 0))
    return mean(cold) / mean(taught)


def _run(
    policy: str, tasks: TaskSet, seed: int, lessons: dict[int, list[tuple[str, list[float]]]]
) -> Run:
    poller = make_poller(policy, tasks, LOG_NORMAL, seed)
    if isinstance(poller, Scheduled):
        poller.lessons = lessons
    return simulate(tasks, poller)


def _later(run: Run, first: int) -> float:
    """Return the mean delay in seconds of the tasks whose index is at least `first`.

    The first `LEARNT` results of these tasks do not count.
    """
    seen = sorted((at, task) for task, at in run.seen.items() if task >= first)
    return mean(run.delays[task] for _, task in seen[LEARNT:])


def interactive_p95(met: Interactive) -> float:
    """Return the 95th percentile of the delays of the interactive tasks, in seconds."""
    return quantile(met.delays, 0.95)
