"""Show the effect of each tuned constant: halve it and double it, with the others unchanged.

What is measured: the change of two figures in %, compared with the default constants on the same
tasks. The figures are the mean delay and the number of requests per finished task. A delay is the
time from the end of a task until a reply reports this end. A star marks a change of more than two
standard errors over the seeds. "=" marks a figure that did not change.

How: each scenario is a simulation of a schedule that has not learnt any durations before. The
durations are log-normal. The scenarios differ in their load, given as a share of what a fixed
poller can handle. A fixed poller checks every task every 15 s.

p90          90 % of what a fixed poller can handle
p200         twice what a fixed poller can handle
interactive  as p200, but one task of twenty is interactive (a caller waits for this single task);
             only the delays of the interactive tasks count
eager        30 % of what a fixed poller can handle, and the policy may check a task every 2 s

What it does not show: CPU time, which `benchmarks.cost` measures. So constants that only limit CPU
time have little effect here. Some constants have no effect here because they act only in other
situations, for example with a policy that has no deadline.
"""

from __future__ import annotations

import dataclasses
import math
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.schedule.policies import adaptive_poller
from benchmarks.schedule.report import mean, standard_error
from benchmarks.schedule.sets import EAGER_FLOOR, FLOOR, LOG_NORMAL, draw_set
from benchmarks.schedule.simulation import simulate
from suno_async._schedule.tuning import DEFAULT_TUNING, Tuning

if TYPE_CHECKING:
    from collections.abc import Sequence

FACTORS = (0.5, 2.0)


class Scenario(NamedTuple):
    """One kind of load.

    Attributes:
        name: Name of the scenario, used as the heading of its columns.
        arrivals: How often tasks are created, as a name such as ``p90`` (see the module docstring).
        interactive: Share of the tasks that are interactive. If it is above 0, only the delays of
            these tasks count.
        eager: Whether the policy may check a task every 2 s while there is budget to spare.
    """

    name: str
    arrivals: str
    interactive: float = 0.0
    eager: bool = False


SCENARIOS = (
    Scenario("p90", "p90"),
    Scenario("p200", "p200"),
    Scenario("interactive", "p200", interactive=0.05),
    Scenario("eager", "p30", eager=True),
)


class Figures(NamedTuple):
    """Mean delay in seconds, and requests per finished task, of one run."""

    delay: float
    requests: float


def measure(scenario: Scenario, n: int, seed: int, tuning: Tuning) -> Figures:
    """Simulate one scenario with `n` tasks and the constants in `tuning`. Return its figures."""
    tasks = draw_set(n, scenario.arrivals, LOG_NORMAL, seed)
    chosen = Random(f"interactive {seed}").sample(range(n), math.ceil(scenario.interactive * n))
    tasks = dataclasses.replace(tasks, interactive=frozenset(chosen))
    poller = adaptive_poller(tasks, eager=scenario.eager, tuning=tuning)
    run = simulate(tasks, poller, floor=EAGER_FLOOR if scenario.eager else FLOOR)
    judged = chosen or range(n)
    delay = mean(run.delays[task] for task in judged if task in run.delays)
    return Figures(delay, run.requests_per_finished)


def print_sensitivity(
    n: int, seeds: range, names: Sequence[str] = Tuning.__struct_fields__
) -> None:
    """Halve and double each constant in `names`, and print the effects.

    For each new value, print one line with the changes in each scenario: of the mean delay, and of
    the requests per finished task.
    """
    print(f"{n:,} tasks, seeds: {len(seeds)}; relative change with half and twice each constant\n")
    print(_line(("", "", *(text for each in SCENARIOS for text in (each.name, "")))))
    print(_line(("constant", "value", *("delay", "requests") * len(SCENARIOS))))
    usual = [[measure(each, n, seed, DEFAULT_TUNING) for seed in seeds] for each in SCENARIOS]
    cells = [
        text
        for of_seeds in usual
        for text in (
            f"{mean(each.delay for each in of_seeds):.2f} s",
            f"{mean(each.requests for each in of_seeds):.2f}",
        )
    ]
    print(_line(("as they are", "", *cells)), flush=True)
    for name in names:
        for factor in FACTORS:
            tuning = DEFAULT_TUNING.varied(name, factor)
            cells = list[str]()
            for scenario, before in zip(SCENARIOS, usual, strict=True):
                after = [measure(scenario, n, seed, tuning) for seed in seeds]
                cells += changes(before, after)
            print(_line((name, f"{getattr(tuning, name):g}", *cells)), flush=True)


def changes(before: Sequence[Figures], after: Sequence[Figures]) -> list[str]:
    """For each field of `Figures`, return a text that says how much the figure changed, in %.

    A star marks a change of more than two standard errors. "=" means no change.
    """
    cells: list[str] = []
    for old, new in zip(zip(*before, strict=True), zip(*after, strict=True), strict=True):
        if old == new:
            cells.append("= ")
            continue
        each = [100 * (b / a - 1) for a, b in zip(old, new, strict=True)]
        # With one seed the standard error is NaN, so nothing gets a star.
        star = "*" if abs(mean(each)) > 2 * standard_error(each) else " "
        cells.append(f"{mean(each):+.1f} %{star}")
    return cells


def _line(cells: Sequence[str]) -> str:
    first, second, *others = cells
    return (f"{first:<22}{second:>9}" + "".join(f"{each:>12}" for each in others)).rstrip()
