"""A lower bound on the mean delay of every policy, by weak duality.

A policy knows the law of durations but not the draws. Replace "at most 15 requests each second" by
a price p(t) >= 0 for a request at time t. A policy that keeps to the budget pays at most
15 * integral(p), so its expected waiting is at least what it would be if it also paid for its
requests, less that amount. With the price, nothing ties the tasks together any more: each becomes
an inspection problem of its own (R. E. Barlow, L. C. Hunter and F. Proschan, "Optimum Checking
Procedures", J. SIAM 11, 1963; J. B. Keller, "Optimum Checking Schedules for Systems Subject to
Random Failure", Management Science 21, 1974): choose the ages of the checks, at least the floor
apart, to minimise expected waiting + prices paid. With F the distribution of the finishing age,
G its integral and S = 1 - F, a check at age t after one at age s adds

    waiting G(t) - G(s) - F(s) (t - s),   price S(s) p(t),

and dynamic programming backwards over the age s of the last check solves it. The mean over the
tasks, less the price of the whole budget, bounds the mean delay whatever p is; the search for a
good p (`bound_prices`) need not be exact. The tasks that never finish are in F, as nobody can tell
them apart. A constant p gives the bound of a run without beginning or end; p may fall to nothing
while the first tasks are too young and after the last ones, so that finite runs have theirs.

How the grids round, and by how much:

- Ages are multiples of h, and so are the floor, the knots of p and the creation times looked at.
  The best ages are stationary, sit at a knot, or hang together by the floor, which the grid keeps;
  so moving each by at most h/2 costs second-order terms only. That *pessimism*, a few ms, is
  bounded (`Inspection.allowance`) and subtracted.
- p is piecewise linear. A task's value is concave in its prices, so for creation times between two
  nodes it is at least the chord between theirs; where p bends upwards in between, the nodes'
  prices are lowered by the bend (*optimistic*).
- Past the age by which all but `rest` of the tasks have finished, only the price of the check at
  the deadline is counted (*optimistic*).
- A last check may come up to `late` seconds after the deadline, at the lowest price until then and
  free of waiting (*optimistic*); no policy here needs that long, short of a burst that overwhelms
  the budget, for which `late` is infinite.
- n requests span (n - 1)/15 s, so each fall of the price may meet one more request (counted).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks.schedule_tasks import BUDGET, DEADLINE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.schedule_tasks import Law

    Floats = NDArray[np.float64]

#: Seconds after the deadline by which last checks are over, unless the budget is overwhelmed.
LATE: Final = 120.0
_FIRST_LOOK: Final = 64  # grid points tried before asking whether later ones can be any better
_BLOCK: Final = 128  # creation times worked out at once
_NEGATIVE: Final = 50.0  # checks that one task can make where a lowered price is below 0; plenty


@dataclass(frozen=True, slots=True)
class Prices:
    """Seconds of waiting that a request costs, piecewise linear over time, 0 before and after.

    Attributes:
        spacing: Seconds between knots, the first at time 0.
        knots: Price at each knot.
    """

    spacing: float
    knots: Floats

    def at(self, times: Floats) -> Floats:
        """The price at each of these times."""
        where = np.arange(len(self.knots)) * self.spacing
        return np.interp(times, where, self.knots, right=0.0)

    def cost(self) -> float:
        """Most that the whole budget can cost, one request per fall of the price included."""
        area = self.spacing * (self.knots.sum() - self.knots[0] / 2.0)
        falls = np.maximum(-np.diff(self.knots, append=0.0), 0.0)
        return float(BUDGET * area + falls.sum())

    def bend(self, times: Floats, width: float) -> Floats:
        """How far p may lie below its chord over `width` seconds that begin or end at each time."""
        slopes = np.diff(np.append(self.knots, [0.0, 0.0])) / self.spacing
        bends = np.maximum(np.diff(slopes, prepend=slopes[0]), 0.0)
        below = np.floor(times / self.spacing).astype(np.int64)
        worst = np.zeros_like(times)
        for knot in (below, below + 1):
            apart = np.minimum(np.abs(times - knot * self.spacing), width)
            here = bends[np.clip(knot, 0, len(bends) - 1)] * (knot < len(bends))
            worst = np.maximum(worst, here * apart * (width - apart) / width)
        return worst


class Inspection:
    """The inspection problem of one task on a grid of ages.

    The grid ends at the age by which all but `rest` of the tasks have finished or never will. Who
    finishes later is taken to wait for nothing.

    Attributes:
        step: Seconds between grid points.
        ages: The grid.
        finished: F at each age.
        waited: G at each age.
        never: Share of the tasks that never finish.
    """

    def __init__(self, law: Law, floor: float, step: float, rest: float = 1e-5) -> None:
        ages = np.arange(round(DEADLINE / step) + 1) * step
        finished = law.finished(ages)
        size = min(int(np.searchsorted(finished, finished[-1] - rest)) + 1, len(ages))
        middles = (finished[1:size] + finished[: size - 1]) * (step / 2.0)
        self.step = step
        self.floor = round(floor / step)
        self.ages: Floats = ages[:size]
        self.finished: Floats = finished[:size]
        self.waited: Floats = np.concatenate([[0.0], np.cumsum(middles)])
        self.never = 1.0 - float(finished[-1])
        self._seconds = floor

    def allowance(self, prices: Prices) -> float:
        """Most by which the grid can overstate the value, in seconds.

        With s, t, u consecutive checks, the second derivative of the objective with regard to t is
        2 f(t) - f'(t) (u - t + p(u)), and the mixed one for t and u -f(t) (1 - p'(u)). At most one
        check falls into each window as long as the floor; gaps up to ten floors are allowed for.
        """
        density = np.gradient(self.finished, self.step)
        curve = np.abs(np.gradient(density, self.step))
        steepest = float(np.max(np.abs(np.diff(prices.knots)), initial=0.0)) / prices.spacing
        gaps = 10.0 * self._seconds + float(prices.knots.max())
        terms = density * (4.0 + 2.0 * steepest) + curve * gaps
        worst = np.maximum.reduceat(terms, np.arange(0, len(terms), self.floor))
        return float(self.step**2 / 8.0 * worst.sum())

    def solve(self, prices: Floats, late: Floats, late_prices: Floats) -> Floats:
        """Least expected waiting + price of one task, for each row of prices.

        Args:
            prices: Of a request at each age of the grid; the last one stands for every later age.
            late: Seconds past the deadline at which the last check may be made.
            late_prices: What it then costs, in each row.
        """
        waited, ages = self.waited, self.ages
        last = len(ages) - 1
        value = self.straight(late, late_prices)
        value[:, last] = np.minimum(value[:, last], self.never * late_prices.min(axis=1))
        ahead = waited + value  # right for the ages already done
        slack = _NEGATIVE * max(0.0, -float(prices.min()))
        for s in range(last - 1, -1, -1):
            done, alive = float(self.finished[s]), 1.0 - float(self.finished[s])
            passed = waited[s] - done * ages[s]
            least = value[:, s] + passed
            stop, look = min(s + self.floor, last), _FIRST_LOOK
            while stop <= last:
                begin, stop = stop, stop + look
                options = prices[:, begin:stop] * alive
                options += ahead[:, begin:stop]
                options -= done * ages[begin:stop]
                least = np.minimum(least, options.min(axis=1))
                # Waiting alone only grows with the age of the next check.
                if stop <= last and waited[stop] - done * ages[stop] > least.max() + slack:
                    break
                look *= 2
            value[:, s] = least - passed
            ahead[:, s] = waited[s] + value[:, s]
        return value[:, 0].copy()

    def straight(self, late: Floats, late_prices: Floats) -> Floats:
        """Least waiting + price from each age on, if only the last check is left, by rows."""
        to_come = self.finished[-1] - self.finished
        rest = self.waited[-1] - self.waited - self.finished * (self.ages[-1] - self.ages)
        rest += to_come * (DEADLINE - self.ages[-1])
        least = np.full((len(late_prices), len(rest)), math.inf)
        for seconds, price in zip(late, late_prices.T, strict=True):
            option = (1.0 - self.finished) * price[:, None] + to_come * seconds
            np.minimum(least, option, out=least)
        return rest + least


def shares(created: Floats, width: float) -> tuple[Floats, Floats]:
    """Creation times as nodes `width` seconds apart, and how many tasks each stands for.

    A task between two nodes counts for both, in proportion to how near they are.
    """
    place = created / width
    below = np.floor(place).astype(np.int64)
    size = int(below.max()) + 2
    weights = np.bincount(below, 1.0 - (place - below), size)
    weights += np.bincount(below + 1, place - below, size)
    used = weights > 0.0
    return np.arange(size)[used] * width, weights[used]


def mean_delay_bound(
    problem: Inspection, created: Floats, prices: Prices, *, width: float, late: float = LATE
) -> float:
    """Lower bound on the mean delay over the finished tasks, for these prices.

    Args:
        problem: What one task asks of a policy.
        created: When each task is created.
        prices: Of a request over time.
        width: Seconds between the creation times that are worked out; divides the knots' spacing.
        late: Most seconds by which a last check may be late.
    """
    nodes, weights = shares(created, width)
    # No chord is needed when every creation time is a node.
    span = width if np.any(created % width) else 0.0
    total = 0.0
    known: dict[bytes, float] = {}
    for begin in range(0, len(nodes), _BLOCK):
        block = nodes[begin : begin + _BLOCK]
        rows = _priced(problem, prices, block, span)
        after, last_rows = _late(prices, block + DEADLINE, late, span)
        keys = [row.tobytes() + end.tobytes() for row, end in zip(rows, last_rows, strict=True)]
        new = {key: n for n, key in enumerate(keys) if key not in known}
        if new:
            which = list(new.values())
            values = problem.solve(rows[which], after, last_rows[which])
            known.update(zip(new, values.tolist(), strict=True))
        total += sum(
            weight * known[key]
            for weight, key in zip(weights[begin : begin + _BLOCK], keys, strict=True)
        )
    bound = (total - prices.cost()) / len(created) - problem.allowance(prices)
    return bound / (1.0 - problem.never)


def _lowered(prices: Prices, times: Floats, span: float) -> Floats:
    """The price at each time, less the bend."""
    return prices.at(times) - prices.bend(times, span) if span else prices.at(times)


def _priced(problem: Inspection, prices: Prices, nodes: Floats, span: float) -> Floats:
    """The price at each age of the grid, a row for each creation time."""
    rows = _lowered(prices, nodes[:, None] + problem.ages, span)
    if problem.ages[-1] < DEADLINE:
        # A piecewise linear price is lowest at a knot or at an end; nodes and knots share a grid.
        pace = span or prices.spacing
        ahead = np.arange(problem.ages[-1] // pace, DEADLINE // pace + 2.0) * pace
        rows[:, -1] = _lowered(prices, nodes[:, None] + ahead, span).min(axis=1)
    else:
        rows[:, -1] = math.inf  # `straight` has the check at the deadline
    return rows


def _late(prices: Prices, deadlines: Floats, late: float, span: float) -> tuple[Floats, Floats]:
    """Delays of the check at the deadline, and the price of each, a row for each deadline."""
    pace = span or prices.spacing
    end = len(prices.knots) * prices.spacing
    reach = min(late, max(end - float(deadlines.min()), 0.0) + pace)
    after = np.arange(0.0, reach + pace, pace)
    rows = _lowered(prices, deadlines[:, None] + after, span)
    return (after, rows) if math.isinf(late) else (np.zeros(1), rows.min(axis=1, keepdims=True))
