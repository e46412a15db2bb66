"""The value of checking a task now. Pure mathematics, without a clock.

The age at which a task of one kind ends is random. Let F be the distribution function of this age,
let f be its density, and let S = 1 - F. Only a check shows whether a task has ended. For one task,
let s be the age at which it was last known to run, and let t be its age now.

*The problem.* Choose the ages of the checks so that the expected cost is least. Two checks are at
least `floor` apart. The cost is the time from the end of the task to the check that detects this
end, plus a price for each check. This problem is called optimal inspection. Two papers on it are by
R. E. Barlow, L. C. Hunter and F. Proschan ("Optimum checking procedures", J. SIAM 11, 1963,
1078-1095) and by J. B. Keller ("Optimum checking schedules for systems subject to random failure",
Management Science 21, 1974, 256-260). The price represents the budget of 15 requests a second,
which all tasks share. By Lagrangian duality, the problem of all tasks splits into one such problem
for each task.

*Its solution.* Let J(t) be the least future cost just after a check at age t. It is weighted with
S(t), the probability that the task reaches this age. Let u be the age at the next check:

    J(t) = min over u of  ∫_t^u (F(x) - F(t)) dx + price · S(t) + J(u)

Let A be the integral of F. For each u, the expression A(u) + J(u) - F(t)·u is a line in the
variable F(t). The best u at t belongs to the line that is lowest at F(t). A convex-hull stack
maintains the lower envelope of these lines. So one pass over the ages gives J and the best next
check u*(s), in O(n). A distribution with two peaks needs no special treatment. (A first-order
condition would have several roots for such a distribution.)

*Two prices.* The first price decides when a task is due: at the age u*(s). Each check before the
last planned age saves at least this price. The second price is used only for the urgency, which
orders the due tasks. J in the urgency is calculated with the second price. So every check after the
next one is assumed to have the second price. The urgency is the expected cost of delaying the next
check by one more second:

    urgency(s, t) = (F(t) - F(s) + J'(t)) / S(s)

This is the probability that the task has already ended, minus the expected decrease of the future
cost per second of delay.

*Why tasks are not ordered by Whittle's rule.* Whittle's rule would order them by (F(t) - F(s))² /
(2·S(t)·f(t)). The rule assumes that the price stays constant. But the load varies: thousands of
tasks are created at the same time, then none. Unused requests cannot be saved for later. The
urgency above gave the same results under steady overload, and better results under bursts. Besides,
the urgency needs only F, the integral of f, and not f itself. So noise in an estimate of f does
less harm.
"""

from __future__ import annotations

import itertools
import math
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from suno_async._schedule.distribution import DurationDistribution


class InspectionPlan:
    """Calculates when tasks of one kind are due for a check, and how urgent each check is.

    Args:
        distribution: The distribution of the durations of the tasks.
        floor: Shortest time between two checks, in seconds.
        horizon: Age of the last planned check, in seconds.
        price: Seconds of waiting that each check before the horizon must save if `weight` is 1.
            With a greater weight, `price / weight` seconds are enough.
        future_price: Like `price`, but for calculating the urgency of a check: the assumed price of
            all later checks of the task.
        weight: Factor for the cost of waiting: 1, or more if a caller awaits each task.
        steps: Number of steps into which the ages up to the horizon are divided.
        slope_steps: Number of steps over which the derivative J' is calculated (see the module
            docstring).
    """

    def __init__(  # noqa: PLR0913 (all named)
        self,
        distribution: DurationDistribution,
        *,
        floor: float,
        horizon: float,
        price: float,
        future_price: float,
        weight: float,
        steps: int,
        slope_steps: int,
    ) -> None:
        self.step = horizon / steps
        self._steps = steps
        self._weight = weight
        # Values are in tuples of numbers, because Python's garbage collector does not track them.
        self._finished = tuple(distribution.resampled(self.step, steps))
        self._apart = max(1, round(floor / self.step + 0.499))
        self._price = price
        self._future_price = future_price
        self._reach = max(1, slope_steps // 2)

    # `_due` and `_gain` take about a millisecond each, and many plans need only one of them: tasks
    # of unknown age have no due age, and young tasks have no urgency yet.

    @cached_property
    def _due(self) -> tuple[float, ...]:
        due, _ = self._inspect(self._price)
        # No check is planned after the horizon.
        return (*due[:-1], math.inf)

    @cached_property
    def _gain(self) -> tuple[float, ...]:
        _, cost = self._inspect(self._future_price)
        steps, reach = self._steps, self._reach
        return tuple(
            finished
            + (cost[high := min(n + reach, steps)] - cost[low := max(n - reach, 0)])
            / ((high - low) * self.step)
            for n, finished in enumerate(self._finished)
        )

    def _inspect(self, price: float) -> tuple[list[int], list[float]]:
        return _inspect(self._finished, self.step, self._apart, price / self._weight)

    def due(self, since: float) -> float:
        """Return the age at which to check a task that was last known to run at age `since`.

        Return infinity if `since` is past the horizon.
        """
        return self._due[int(min(max(since / self.step, 0.0), self._steps))] * self.step

    def urgency(self, since: float, age: float) -> float:
        """Return the expected cost of delaying a check of a task by 1 s.

        The cost is in seconds of waiting, multiplied by `weight`.

        Args:
            since: The age at which the task was last seen running.
            age: The age of the task now.
        """
        return self.urgency_given(self.finished(since), age)

    def finished(self, age: float) -> float:
        """Return F(age), the probability that a task has ended by this age."""
        return _at(self._finished, age / self.step)

    def urgency_given(self, finished: float, age: float) -> float:
        """Return the same value as `urgency`, without calling the method `finished`.

        This saves time if the caller stores the result of `finished`.

        Args:
            finished: The result of the method `finished` for the age at which the task was last
                seen running.
            age: The age of the task now.
        """
        # The code of `_at` is repeated here, because this method is called very often.
        position, gains = age / self.step, self._gain
        if position >= self._steps:
            gain = gains[-1]
        elif position <= 0.0:
            gain = gains[0]
        else:
            number = int(position)
            low = gains[number]
            gain = low + (gains[number + 1] - low) * (position - number)
        return self._weight * (gain - finished) / (1.0 - finished)

    def price(self, since: float, age: float) -> float:
        """Return how much waiting an immediate check saves: (F(t) - F(s))² / (2·S(t)·f(t)) seconds.

        Here t is `age`, the age of the task now. s is `since`, the age at which the task was last
        known to run. See the module docstring for F, S and f. The result is at most t - s. It does
        not depend on `weight`.
        """
        known, ended = self.finished(since), self.finished(age)
        soon = _at(self._finished, age / self.step + 1.0)
        scale = 2.0 * (1.0 - ended) * max(soon - ended, 1e-12) / self.step
        # At ages at which almost no task ends, the formula alone gives a huge value.
        return min((ended - known) ** 2 / scale, age - since)


def _at(values: tuple[float, ...], position: float) -> float:
    """Return the value at `position`, interpolated linearly.

    Beyond the first or the last position, return the nearest value.
    """
    if position >= len(values) - 1:
        return values[-1]
    if position <= 0.0:
        return values[0]
    number = int(position)
    low = values[number]
    return low + (values[number + 1] - low) * (position - number)


def _inspect(
    finished: tuple[float, ...], step: float, apart: int, price: float
) -> tuple[list[int], list[float]]:
    """Calculate the best next check and the cost J at each age, for one price.

    See the module docstring for J and F. Ages are counted in steps of `step` seconds, and
    `finished` contains F at each age. There are at least `apart` steps between two checks.
    There may be fewer steps only before a check at the greatest age.

    Returns:
        Two lists with a value for each age: the age of the best next check, and the cost J.
    """
    last = len(finished) - 1
    due = [last] * (last + 1)
    cost = [0.0] * (last + 1)
    area = [0.0]
    for low, high in itertools.pairwise(finished):
        area.append(area[-1] + (low + high) / 2.0 * step)
    # The lines of the lower envelope: `checks` are the ages u of the checks, in decreasing order,
    # and `heights` are the intercepts. The abscissas F(t) decrease too, so the best line only moves
    # towards the end. Variables for the last line and the best line save a third of the time. This
    # loop takes most of the time of a new plan.
    checks, heights = [last], [area[last]]
    tail_check, tail_height = best_check, best_height = last, area[last]
    best = 0
    for n in range(last - 1, -1, -1):
        ended = finished[n]
        abscissa = ended * step
        check = n + apart
        if check <= last - apart:
            height = area[check] + cost[check]
            # Drop the last lines, as long as the line before or the new line is lower everywhere.
            while len(checks) > 1 and (height - tail_height) * (checks[-2] - tail_check) <= (
                tail_height - heights[-2]
            ) * (tail_check - check):
                checks.pop()
                heights.pop()
                tail_check, tail_height = checks[-1], heights[-1]
            checks.append(check)
            heights.append(height)
            tail_check, tail_height = check, height
            if best >= len(checks) - 1:
                best, best_check, best_height = len(checks) - 1, check, height
        value = best_height - abscissa * best_check
        while best_check != tail_check:
            following = heights[best + 1] - abscissa * checks[best + 1]
            if following > value:
                break
            best += 1
            best_check, best_height, value = checks[best], heights[best], following
        due[n] = best_check
        cost[n] = best_height - area[n] - abscissa * (best_check - n) + price * (1.0 - ended)
    return due, cost
