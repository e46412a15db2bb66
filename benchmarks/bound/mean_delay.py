"""A lower bound of the mean delay that any polling policy can reach.

A policy decides when to check each task. The policy knows the distribution of the durations, but
not the duration of a single task. The delay of a task is the time from its end to the next check.

The bound follows from weak duality. Replace the limit of 15 requests per second by a price: a
request at time u costs p(u) >= 0 seconds. If a policy respects the limit, its requests are at least
1/15 s apart, and the prices of all its requests add up to at most

    B = 15 * integral of p + sum of the increases of p.

The *cost* of a task is its delay plus the prices of its checks. So the sum of all delays is at
least the sum of all costs minus B. The *value* of a task is its expected cost if it is checked at
the best times. The tasks are independent, so no policy has a lower expected cost for a task than
the value of the task. So the expected sum of all delays is at least

    sum of the values of all tasks - B.

The bound of the mean delay is this difference, divided by the expected number of tasks that finish.
The value of a task is calculated by dynamic programming over its age at the previous check. This
problem is known as optimal inspection (Barlow, Hunter and Proschan 1963; Keller 1974).

Every price function gives a valid lower bound, and good prices give a tight bound. For steady
arrivals, a constant price is enough (`Steady`). For other arrivals, the prices are the dual values
of a linear programme (`benchmarks.bound.prices`). That programme rounds times to a coarse grid. So
the bound is less tight, but still valid.

The floor is the shortest allowed time between two checks of a task, and from the creation of a task
to its first check. The computation only allows checks at ages that are multiples of a step. A
policy can also check at other ages, so the computed bound can be too high. But it is only a little
too high. Suppose that a policy moves each check to the next multiple of a step. Then each delay
grows by less than a step. The checks are still at least a floor apart, because the floor is a
multiple of the step. If the price rises, a later check also costs a little more. In practice, with
half the step, every figure changes by less than 0.1 %.

The bound only holds for policies that respect the floor and the deadline. The deadline is the age
`DEADLINE`. A task that has not ended by then must get its last check within the next minute. There
is one exception: if all tasks are created at once, the bound also holds for later last checks. The
bound also holds for policies that know when future tasks will be created.
"""

from __future__ import annotations

import math
from functools import cache, cached_property
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.bound.inspection import Inspection
from benchmarks.bound.polish import polished
from benchmarks.bound.prices import LATE, dual_prices
from benchmarks.schedule.sets import DEADLINE, ENDLESS, FLOOR, RATE, arrival_rate, fixed_requests

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from benchmarks.schedule.sets import Durations

    Floats = NDArray[np.float64]

#: Width in seconds of the classes of arrivals near the end of a steady run.
EDGE = 40.0

#: Seconds of arrivals whose values are computed together.
BLOCK = 32

#: Prices to try for steady runs, in seconds per request: 0, then a geometric grid.
PRICES = (0.0, *(0.02 * 1.15**k for k in range(66)))


class Steady:
    """Computes a lower bound of the sum of the delays in a long run with steady arrivals.

    The bound uses a price for each request, in seconds of delay (see the module). Until some
    time after the last arrival, all requests have the same price. Later requests are free.
    """

    def __init__(self, durations: Durations, floor: float) -> None:
        # Shorter intervals need a finer grid. A floor in whole seconds is a multiple of the step.
        self._inspection = Inspection(durations, floor, min(1.0, floor / 8))
        self._floor = floor

    @cached_property
    def _plain(self) -> Floats:
        ages = self._inspection.last + round(LATE / self._inspection.step) + 1
        return np.concatenate(
            [
                self._inspection.values(np.repeat(np.array(some)[:, None], ages, axis=1))
                for some in np.array_split(np.array(PRICES), 8)
            ]
        )

    @cache  # noqa: B019 (the few instances exist until the end anyway)
    def _edge(self, price: float) -> Floats:
        """Return the value of a task for each age from which its requests can be free.

        A request before this age costs `price`. The ages are 0, `EDGE`, 2 * `EDGE`, … below
        `DEADLINE`, and infinity. The value is the lowest expected sum of the task's delay and the
        prices of its checks.
        """
        ages = self._inspection.last + round(LATE / self._inspection.step) + 1
        grid = np.arange(ages) * self._inspection.step
        ends = np.append(np.arange(0.0, DEADLINE, EDGE), math.inf)
        return np.concatenate(
            [
                self._inspection.values(np.where(grid[None, :] < some[:, None], price, 0.0))
                for some in np.array_split(ends, 8)
            ]
        )

    def total(self, created: Sequence[float]) -> float:
        """Return a lower bound of the sum of the delays of all tasks, in seconds.

        `created` contains the creation times of the tasks, sorted.
        """
        arrivals = np.array(created)
        budget = RATE * (created[-1] + 150.0) / len(created)
        near = int(np.argmax(self._plain - np.array(PRICES) * budget))
        return max(
            self._total(arrivals, PRICES[k], extra)
            for k in range(max(0, near - 1), min(len(PRICES), near + 2))
            for extra in (0.0, 60.0, 120.0, 200.0, 300.0, 450.0, DEADLINE)
        )

    def _total(self, arrivals: Floats, price: float, extra: float) -> float:
        end = float(arrivals[-1]) + extra
        values = self._edge(price)
        # The value grows with the age at which the price ends, so rounding down is safe.
        which = np.minimum((end - arrivals) // EDGE, len(values) - 1).astype(int)
        # No request is possible before the first task has the age `floor`, so the price is 0 there.
        charged = RATE * max(0.0, end - float(arrivals[0]) - self._floor) + 1
        return float(values[which].sum()) - price * charged


class Transient:
    """Computes a lower bound of the sum of the delays in a short run.

    The module explains the price of a request. Here, the price changes during the run. A linear
    programme finds the price for every second. Unless all tasks are created at once, `polished`
    then improves the prices.
    """

    def __init__(self, n: int, rate: float, durations: Durations, floor: float) -> None:
        """Compute the price for every second, for `n` tasks that are created at `rate` per second.

        If `rate` is infinite, all tasks are created at once.
        """
        self._inspection = Inspection(durations, floor, 1.0)
        self._prices = dual_prices(n, rate, durations, floor)
        if math.isfinite(rate):
            self._prices = polished(self._prices, self._inspection, n, rate)
        # If all tasks are created at once, their last checks may come late.
        self._reach = max(DEADLINE + LATE, len(self._prices) if math.isinf(rate) else 0.0)
        rises = np.diff(self._prices, prepend=0.0)
        self._charged = RATE * float(np.trapezoid(self._prices)) + float(rises[rises > 0].sum())

    @cache  # noqa: B019 (the few instances exist until the end anyway)
    def _values(self, block: int) -> Floats:
        """For each second of a block, return the value of a task that is created at this second.

        The value is the lowest expected sum of the task's delay and the prices of its checks. A
        block lasts `BLOCK` seconds. `block` is the number of the block, counted from 0.
        """
        first = block * BLOCK
        reach = int(self._reach) + 1
        padded = np.zeros(first + BLOCK + reach)
        kept = self._prices[: len(padded)]
        padded[: len(kept)] = kept
        return self._inspection.values(
            np.stack([padded[a : a + reach] for a in range(first, first + BLOCK)])
        )

    def total(self, created: Sequence[float]) -> float:
        """Return a lower bound of the sum of the delays of all tasks, in seconds.

        `created` contains the creation times of the tasks, sorted.
        """
        # Prices are linear between whole seconds, and the value of a task is concave in the prices.
        # So a linear interpolation of two values is never above the value.
        total = 0.0
        for at in created:
            whole, part = int(at), at - int(at)
            total += (1 - part) * self._value(whole)
            if part:
                total += part * self._value(whole + 1)
        return total - self._charged

    def _value(self, second: int) -> float:
        return float(self._values(second // BLOCK)[second % BLOCK])


@cache
def _steady(durations: Durations, floor: float) -> Steady:
    return Steady(durations, floor)


@cache
def _transient(n: int, arrivals: str, durations: Durations, floor: float) -> Transient:
    return Transient(n, arrival_rate(arrivals, durations), durations, floor)


def mean_delay_bound(
    created: Sequence[float], arrivals: str, durations: Durations, floor: float = FLOOR
) -> float:
    """Return a lower bound of the expected mean delay, in seconds, of the tasks that finish.

    For a single set of tasks, the mean delay of a policy can be lower than the bound by chance.

    Args:
        created: Sorted creation times of the tasks in seconds, from a run with `arrivals`.
        arrivals: How fast tasks are created, such as ``p90`` (see `arrival_rate`).
        durations: Distribution of the durations.
        floor: Shortest time between two checks of a task: a whole number of seconds.
    """
    n, rate = len(created), arrival_rate(arrivals, durations)
    scarce = rate * fixed_requests(durations) > 0.95 * RATE
    # With a floor of 2 s, requests are scarce at every load. The short intervals then need the
    # finer grid of `Steady`, unless the budget allows fewer than two requests per task (``d90``).
    long = n / rate >= 5000 or (arrivals.startswith("p") and (floor < FLOOR or not scarce))
    if not long:
        total = _transient(n, arrivals, durations, floor).total(created)
    else:
        total = _steady(durations, floor).total(created)
    return total / (n * (1 - ENDLESS))
