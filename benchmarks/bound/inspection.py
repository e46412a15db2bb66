"""Calculate the best ages at which to check a single task, if each check has a price.

The delay is the time in seconds from the end of the task to the next check. A check with a price of
2 counts as much as a delay of 2 s. The best ages minimise the expected sum of the delay and the
prices of all checks. The method is dynamic programming over the age of the task at the previous
check. The problem is known as optimal inspection (Barlow, Hunter and Proschan 1963; Keller 1974).
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
    """Computes the best ages at which to check one task.

    An age is the time since the task was created. Only the ages on a grid are considered.
    """

    def __init__(self, durations: Durations, floor: float, step: float) -> None:
        """Prepare the grid of ages.

        Args:
            durations: Distribution of the durations.
            floor: Shortest time between two checks in seconds, a multiple of `step`.
            step: Distance in seconds between neighbouring ages of the grid.
        """
        self.step = step
        self.gap = round(floor / step)
        self.last = round(DEADLINE / step)
        self._durations = durations

    @cache  # noqa: B019 (the few instances exist until the end anyway)
    def tables(self, ages: int) -> tuple[Floats, Floats, Floats]:
        """Return F, the integral of F, and 1 - F as arrays for the first `ages` ages of the grid.

        F(age) is the probability that the task has ended by this age.
        """
        grid = np.arange(ages) * self.step
        fine = np.array([self._durations.cdf(a) for a in grid])
        middle = np.array([self._durations.cdf(a + self.step / 2) for a in grid[:-1]])
        # Simpson's rule.
        parts = self.step / 6 * (fine[:-1] + 4 * middle + fine[1:])
        integral = np.concatenate(([0.0], np.cumsum(parts)))
        finishing = 1 - ENDLESS
        return finishing * fine, finishing * integral, 1 - finishing * fine

    def values(self, prices: Floats) -> Floats:
        """Return the smallest possible expected cost of a task, for each row of `prices`.

        The cost is the delay in seconds plus the prices of all checks.

        Args:
            prices: Each row contains the prices of a check in seconds: one for each age of the
                grid, starting at age 0. A row must reach at least the age `DEADLINE`. After the
                last age of a row, no check is allowed.
        """
        return self.solve(prices)[0]

    def solve(self, prices: Floats) -> tuple[Floats, Places]:
        """Return the result of `values`, and an array with the best age for the next check.

        The array has one row for each row of `prices`. In a row, the index is the age at the
        previous check, and the item is the best age for the next check. The index 0 stands for the
        creation of the task. Ages are numbers of grid steps.
        """
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
        """Return the best ages for all checks of one task, and the probability of each check.

        Ages are numbers of grid steps. The probability of a check is the probability that the task
        is still running at the previous check.

        Args:
            after: The best age for the next check, by the age at the previous check: one row of the
                second array that `solve` returns.
        """
        _, _, unseen = self.tables(self.last + 1)
        ages, chances, age = list[int](), list[float](), 0
        while age < self.last:
            chances.append(float(unseen[age]))
            age = int(after[age])
            ages.append(age)
        return np.array(ages), np.array(chances)
