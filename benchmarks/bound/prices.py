"""Prices of a request by the second, for runs whose load changes: duals of a linear programme.

Tasks are classes by time of arrival; a plan for a task is a path of checks, each an arc from its
last age to its next. The programme chooses how many tasks take each arc, to the least sum of
expected delays, with as many requests in each step of time as the budget has. It lives on a coarse
grid: its optimum bounds nothing, but its duals are good prices.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.bound.programme import least, sparse
from benchmarks.schedule.sets import DEADLINE, ENDLESS, RATE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.schedule.sets import Durations

#: Seconds after the deadline within which the last check must come, unless all arrive together.
LATE = 60.0

#: Steps of age tried, in seconds, and the most arcs that are solved in reasonable time.
STEPS = (5.0, 7.5, 15.0, 30.0, 60.0)
MOST_ARCS = 120_000


@dataclass(frozen=True)
class _Grid:
    """How coarse the programme is.

    Attributes:
        step: Of ages, in seconds.
        width: Of a class of arrivals, and of a bin of the budget, in steps.
        classes: How many; one and all at 0 if `together`.
        ages: Steps to the deadline; afterwards a task is not asked again.
        late: Most steps from an age to the last check.
        reach: Most steps between two checks, but to the last.
        bins: Of the budget, before all is free.
    """

    step: float
    width: int
    classes: int
    ages: int
    late: int
    reach: int
    bins: int
    together: bool

    def arcs(self, gap: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Ages at the last check and at the next, of every arc of a class."""
        s, t = np.meshgrid(np.arange(self.ages), np.arange(self.late + 1), indexing="ij")
        keep = (t - s >= gap) & ((t - s <= self.reach) | (t >= self.ages))
        return s[keep], t[keep]


def dual_prices(n: int, rate: float, durations: Durations, floor: float) -> NDArray[np.float64]:
    """Seconds of delay that a request is worth, at 0, 1, 2, … s; afterwards nothing.

    `n` tasks arrive at `rate` a second from 0 on; an infinite rate is all at once.
    """
    for step in STEPS:
        grid = _grid(n, rate, step)
        gap = math.ceil(floor / step)
        if grid.classes * len(grid.arcs(gap)[0]) <= MOST_ARCS:
            break
    else:
        raise RuntimeError("no grid is coarse enough for so many tasks")
    prices = _solve(n, durations, grid, gap)
    # A price holds for a bin: put it at the middle. Budgets of tasks that arrive together are
    # about their points in time.
    middle = 0.0 if grid.together else 0.5
    width = grid.width * grid.step
    seconds = np.arange(math.ceil((len(prices) + 1) * width))
    points = (np.arange(len(prices) + 1) + middle) * width
    by_second: NDArray[np.float64] = np.interp(seconds, points, np.append(prices, 0.0))
    return by_second


def _grid(n: int, rate: float, step: float) -> _Grid:
    ages = round(DEADLINE / step)
    if math.isinf(rate):
        late = math.ceil((DEADLINE + 1.3 * n / RATE) / step)
        return _Grid(step, 1, 1, ages, late, late, late, together=True)
    span = n / rate
    width = math.ceil(max(span / 60, step) / step)
    classes = math.ceil(span / (width * step))
    late = ages + math.ceil(LATE / step)
    # Requests are further apart where there are more tasks for them; beyond, arcs are not missed.
    reach = math.ceil((120 + 60 * rate) / step)
    return _Grid(
        step, width, classes, ages, late, reach, classes + math.ceil(late / width), together=False
    )


def _solve(n: int, durations: Durations, grid: _Grid, gap: int) -> NDArray[np.float64]:
    points = np.arange(grid.late + 1) * grid.step
    done = np.array([(1 - ENDLESS) * durations.cdf(age) for age in points])
    parts = (done[1:] + done[:-1]) / 2 * grid.step
    integral = np.concatenate(([0.0], np.cumsum(parts)))

    s, t = grid.arcs(gap)
    count = len(s)
    cost = integral[t] - integral[s] - done[s] * (points[t] - points[s])
    # What leaves an age (the first: all tasks of the class) is what arrived there.
    inner = np.flatnonzero(t < grid.ages)
    ones = np.concatenate((np.ones(count), -np.ones(len(inner))))
    places = np.concatenate((s, t[inner])), np.concatenate((np.arange(count), inner))
    balance = sparse.coo_array((ones, places), shape=(grid.ages, count))
    supply = np.zeros(grid.ages)
    supply[0] = n / grid.classes
    # The tasks of a class arrive evenly over a bin: their checks at one age fall into two.
    bins, part = np.divmod(t, grid.width)
    share = part / grid.width
    use = (1 - done[s]) * np.stack((1 - share, share))
    rows = np.concatenate((bins, bins + 1))
    arcs = np.tile(np.arange(count), 2)
    shape = (grid.bins, count)
    blocks = [
        sparse.coo_array((use.ravel()[kept], ((rows + first)[kept], arcs[kept])), shape=shape)
        for first in range(grid.classes)
        # After the last bin there is room for all.
        for kept in [rows + first < grid.bins]
    ]
    capacity: Any = sparse.hstack(blocks, format="csr")
    flow: Any = sparse.block_diag([balance] * grid.classes, format="csr")
    _, prices = least(
        np.tile(cost, grid.classes),
        (capacity, np.full(grid.bins, RATE * grid.width * grid.step)),
        balance=(flow, np.tile(supply, grid.classes)),
        method="highs-ipm",
    )
    return prices
