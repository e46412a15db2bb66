"""Calculate the price of a request for every second of a run with changing load.

The price at a time is the delay, in seconds, that one more request at this time would save. The
prices are the dual values of a linear programme. The programme groups tasks into classes by
creation time. It describes the checks of a task as a path. Each arc of the path leads from the age
at one check to the age at the next check. The programme decides how many tasks of each class use
each arc. It minimises the sum of the expected delays, and keeps the number of requests in each
interval of time within the rate limit. Times are rounded to a coarse grid, so the minimum is not a
lower bound of the delays. `benchmarks.bound.mean_delay` calculates such a bound from the prices.
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

#: Seconds after the deadline in which the last check must happen, unless all tasks start at once.
LATE = 60.0

#: Steps of age to try in seconds, and the largest number of arcs that is solved in reasonable time.
STEPS = (5.0, 7.5, 15.0, 30.0, 60.0)
MOST_ARCS = 120_000


@dataclass(frozen=True)
class _Grid:
    """The times that the linear programme uses.

    Attributes:
        step: Length of one step in seconds. All ages are multiples of this step.
        width: Number of steps in one bin. A bin is an interval of the run; the number of requests
            in it is limited. Tasks that are created in the same bin form a class.
        classes: Number of classes; 1 if `together`.
        ages: Age of a task at its deadline, in steps.
        late: Greatest age of a task at its last check, in steps.
        reach: Maximum number of steps between two checks. Does not apply to the last check.
        bins: Number of bins. After the last bin, the price of a request is 0.
        together: Whether all tasks are created at 0 s.
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
        """Return the start ages and the end ages, in steps, of all arcs of one class of tasks.

        An arc leads from the creation or a check of a task to the next check of the task. Every arc
        is at least `gap` steps long.
        """
        s, t = np.meshgrid(np.arange(self.ages), np.arange(self.late + 1), indexing="ij")
        keep = (t - s >= gap) & ((t - s <= self.reach) | (t >= self.ages))
        return s[keep], t[keep]


def dual_prices(n: int, rate: float, durations: Durations, floor: float) -> NDArray[np.float64]:
    """Return the price of a request at 0, 1, 2, … s of the run.

    The price is in seconds of delay (see the module). At times after the last item of the result,
    the price is 0.

    Args:
        n: Number of tasks.
        rate: Number of tasks created per second from 0 s on. If infinite, all are created at 0 s.
        durations: The distribution of the durations of the tasks.
        floor: Shortest time in seconds between two checks of a task.
    """
    for step in STEPS:
        grid = _grid(n, rate, step)
        gap = math.ceil(floor / step)
        if grid.classes * len(grid.arcs(gap)[0]) <= MOST_ARCS:
            break
    else:
        raise RuntimeError("no grid is coarse enough for so many tasks")
    prices = _solve(n, durations, grid, gap)
    # A price belongs to the middle of a bin. If all tasks start together, it belongs to a point
    # in time.
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
    # More tasks mean longer intervals. Longer arcs than these are not needed.
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
    # Flow out of an age equals flow into it. All tasks of the class start at the first age.
    inner = np.flatnonzero(t < grid.ages)
    ones = np.concatenate((np.ones(count), -np.ones(len(inner))))
    places = np.concatenate((s, t[inner])), np.concatenate((np.arange(count), inner))
    balance = sparse.coo_array((ones, places), shape=(grid.ages, count))
    supply = np.zeros(grid.ages)
    supply[0] = n / grid.classes
    # The tasks of a class are created evenly over a bin, so checks at one age fall into two bins.
    bins, part = np.divmod(t, grid.width)
    share = part / grid.width
    use = (1 - done[s]) * np.stack((1 - share, share))
    rows = np.concatenate((bins, bins + 1))
    arcs = np.tile(np.arange(count), 2)
    shape = (grid.bins, count)
    blocks = [
        sparse.coo_array((use.ravel()[kept], ((rows + first)[kept], arcs[kept])), shape=shape)
        for first in range(grid.classes)
        # Requests after the last bin are free.
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
