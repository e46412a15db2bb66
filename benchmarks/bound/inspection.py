"""Optimal inspection of a single task: when to check the task if each request has a price.

The method (Barlow, Hunter and Proschan 1963; with prices Keller 1974) is dynamic programming over
the age at the last check.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.schedule.sets import DEADLINE, ENDLESS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.schedule.sets import Durations

    Floats = NDArray[np.float64]
    Places = NDArray[np.intp]


class Inspection:
    """Optimal inspection of one task with ages on a grid."""

    def __init__(self, durations: Durations, floor: float, step: float) -> None:
        """Prepare the grid of ages.

        Args:
            durations: Distribution of the durations.
            floor: Shortest time between two checks in seconds, a multiple of `step`.
            step: Step of the grid in seconds.
        """
        self.step = step
        self.gap = round(floor / step)
        self.last = round(DEADLINE / step)
        self._durations = durations

    @cache  # noqa: B019 (the few instances exist until the end anyway)
    def tables(self, ages: int) -> tuple[Floats, Floats, Floats]:
        """Return, by age: the chance F that the task has ended, the integral of F, and 1 - F."""
        grid = np.arange(ages) * self.step
        fine = np.array([self._durations.cdf(a) for a in grid])
        middle = np.array([self._durations.cdf(a + self.step / 2) for a in grid[:-1]])
        # Simpson's rule.
        parts = self.step / 6 * (fine[:-1] + 4 * middle + fine[1:])
        integral = np.concatenate(([0.0], np.cumsum(parts)))
        finishing = 1 - ENDLESS
        return finishing * fine, finishing * integral, 1 - finishing * fine

    def values(self, prices: Floats) -> Floats:
        """Return the least expected sum of delay and prices of a task, for each row of prices.

        A row has one price for each age, up to the latest possible age of the last check. That age
        is at least the deadline.
        """
        return self.solve(prices)[0]

    def solve(self, prices: Floats) -> tuple[Floats, Places]:
        """Return the values, and for each row and age of a check the best age of the next check."""
        rows, ages = prices.shape
        done, integral, unseen = self.tables(ages)
        grid = np.arange(ages, dtype=np.float64) * self.step
        best = np.zeros((rows, ages))
        # A check before the deadline needs a later check. The cost stays infinite if none fits into
        # the grid.
        best[:, : self.last] = np.inf
        after = np.zeros((rows, self.last), dtype=np.intp)
        every = np.arange(rows, dtype=np.intp)
        # With the price p, a check at t after one at s costs
        # unseen(s) p(t) + integral of F(x) - F(s) over (s, t).
        for s in range(min(self.last, ages - self.gap) - 1, -1, -1):
            t = slice(s + self.gap, ages)
            cost: Floats = prices[:, t] * unseen[s]
            cost += best[:, t]
            cost += integral[t] - done[s] * grid[t]
            least: Places = cost.argmin(axis=1)
            after[:, s] = least + s + self.gap
            best[:, s] = cost[every, least] - integral[s] + done[s] * grid[s]
        return best[:, 0], after

    def plan(self, after: Places) -> tuple[Places, Floats]:
        """Return the ages of the checks in the best plan, and the chance that each is needed."""
        _, _, unseen = self.tables(self.last + 1)
        ages, chances, age = list[int](), list[float](), 0
        while age < self.last:
            chances.append(float(unseen[age]))
            age = int(after[age])
            ages.append(age)
        return np.array(ages), np.array(chances)
