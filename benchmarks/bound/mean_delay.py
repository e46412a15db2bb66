"""A mean delay that no policy can beat which knows the distribution of durations, not the draws.

Weak duality. Drop "at most 15 requests a second" and charge p(u) >= 0 for a request at time u
instead. For every policy that keeps the limit, the sum of delays is at least

    E[sum of delays + charges] - (15 * integral of p + sum of the rises of p),

because requests 1/15 s apart cannot be charged more than the bracket. In the first term nothing
couples the tasks any more: each is a problem of optimal inspection by itself (Barlow, Hunter and
Proschan 1963; in price form Keller 1974), solved by dynamic programming over the age at the last
check. So every price function gives a lower bound; a good one gives a good bound. Where arrivals
are steady a constant price does (`steady`); elsewhere the prices are the duals of a linear
programme (`benchmarks.bound.prices`), whose coarseness costs tightness, never validity.

Ages lie on a grid. Rounding the checks of any policy up to the grid keeps them a floor apart and
delays each by less than a step, so the grid's optimum is at most a step above the true one; in
practice the error is of second order: halving the step moves no figure here by 0.1 %.

Every policy is held to the floor, and to a last check of each unfinished task at the deadline or up
to a minute later (all at once: or any time later, as no budget could keep that). That a policy
knows the arrivals to come is allowed.
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

#: Arrivals this close to the end of a steady run are told apart by this many seconds.
EDGE = 40.0

#: Arrivals valued in one go, in seconds.
BLOCK = 32

#: Prices tried for steady runs: 0, then a geometric grid, in seconds per request.
PRICES = (0.0, *(0.02 * 1.15**k for k in range(66)))


class Steady:
    """The bound of a long run: one price until some time after the last arrival, then none."""

    def __init__(self, durations: Durations, floor: float) -> None:
        # The shorter the intervals, the finer the grid that tells them apart.
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

    @cache  # noqa: B019 (a handful of instances, kept anyway)
    def _edge(self, price: float) -> Floats:
        """Values where the price ends at age 0, `EDGE`, 2 `EDGE`, … and beyond the deadline."""
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
        """At least this is the sum of delays of tasks created then (in order)."""
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
        # The value rises with the age at which the price ends: round that down.
        which = np.minimum((end - arrivals) // EDGE, len(values) - 1).astype(int)
        # Nobody can be asked before the first task is a floor old: no charge is needed there.
        charged = RATE * max(0.0, end - float(arrivals[0]) - self._floor) + 1
        return float(values[which].sum()) - price * charged


class Transient:
    """The bound of a short run: prices by the second, from a linear programme."""

    def __init__(self, n: int, rate: float, durations: Durations, floor: float) -> None:
        """`n` tasks arriving at `rate` a second; an infinite rate is all at once."""
        self._inspection = Inspection(durations, floor, 1.0)
        self._prices = dual_prices(n, rate, durations, floor)
        if math.isfinite(rate):
            self._prices = polished(self._prices, self._inspection, n, rate)
        # All at once, a last check may come when the budget allows.
        self._reach = max(DEADLINE + LATE, len(self._prices) if math.isinf(rate) else 0.0)
        rises = np.diff(self._prices, prepend=0.0)
        self._charged = RATE * float(np.trapezoid(self._prices)) + float(rises[rises > 0].sum())

    @cache  # noqa: B019 (a handful of instances, kept anyway)
    def _values(self, block: int) -> Floats:
        """Of tasks arriving in the whole seconds of this block."""
        first = block * BLOCK
        reach = int(self._reach) + 1
        padded = np.zeros(first + BLOCK + reach)
        kept = self._prices[: len(padded)]
        padded[: len(kept)] = kept
        return self._inspection.values(
            np.stack([padded[a : a + reach] for a in range(first, first + BLOCK)])
        )

    def total(self, created: Sequence[float]) -> float:
        """At least this is the sum of delays of tasks created then (in order).

        The prices are linear between whole seconds and a value is concave in the prices, so
        between whole seconds it is at least the line through its neighbours.
        """
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
    """The least mean delay over the tasks that finish; `created` as drawn for `arrivals`.

    The clairvoyant may do better; nobody else, beyond the luck of the draw.
    """
    n, rate = len(created), arrival_rate(arrivals, durations)
    scarce = rate * fixed_requests(durations) > 0.95 * RATE
    # A floor of 2 s leaves no load unscarce, and its short intervals want the finer grid of a long
    # run, but where there are fewer than two requests for each task.
    long = n / rate >= 5000 or (arrivals.startswith("p") and (floor < FLOOR or not scarce))
    if not long:
        total = _transient(n, arrivals, durations, floor).total(created)
    else:
        total = _steady(durations, floor).total(created)
    return total / (n * (1 - ENDLESS))
