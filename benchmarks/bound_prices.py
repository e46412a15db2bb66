"""The search for the prices that make the bound high; it need not be exact to be valid.

Poisson arrivals: projected ascent (Adam) along the supergradient, which is how many more requests
each moment would see at these prices than the budget has, on a coarse grid of ages with all
creation times at once. All at once: the dual of a linear programme over the flow on (last check ->
next check) arcs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import coo_matrix

from benchmarks.bound import Inspection, Prices, mean_delay_bound, shares
from benchmarks.schedule_tasks import BUDGET, DEADLINE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.schedule_tasks import Law

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

_ROUNDS: Final = 160
_NONE: Final = -1


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is best at the present prices: value per task, and each one's next age by grid index."""

    value: float
    following: Ints


class Ascent:
    """Maximises the bound over the prices at the knots.

    Args:
        law: Of the durations.
        floor: Seconds between two checks.
        created: When each task is created.
        spacing: Seconds between knots, and between the creation times looked at.
        reach: Seconds after the last creation at which a request has no price any more.
    """

    def __init__(
        self, law: Law, floor: float, created: Floats, *, spacing: float, reach: float
    ) -> None:
        self._problem = Inspection(law, floor, max(floor / 6.0, 1.0), rest=1e-3)
        self._spacing = spacing
        nodes, weights = shares(created, spacing)
        self._mass = weights / len(created)
        self._knots = math.ceil((float(created[-1]) + reach) / spacing) + 1
        self._supply = np.full(self._knots, BUDGET * spacing / len(created))
        where = (nodes[:, None] + self._problem.ages[None, :]) / spacing
        self._below = np.minimum(where.astype(np.int64), self._knots)
        self._part = np.where(self._below < self._knots, where - self._below, 0.0)
        final = ((nodes + DEADLINE) / spacing).astype(np.int64)
        self._final = np.minimum(final, self._knots)

    def run(self, start: float) -> Prices:
        """Climb from a constant price; the best prices met."""
        prices = np.full(self._knots, start)
        prices[-1] = 0.0
        mean, square = np.zeros(self._knots), np.zeros(self._knots)
        best, best_value = prices, -math.inf
        for turn in range(1, _ROUNDS + 1):
            plan = self._solve(prices)
            value = plan.value - float(self._supply @ prices)
            if value > best_value:
                best, best_value = prices.copy(), value
            excess = self._asked(plan) / self._supply - 1.0
            mean = 0.9 * mean + 0.1 * excess
            square = 0.99 * square + 0.01 * excess**2
            pace = 0.15 * start / (1.0 + turn / 15.0)
            move = mean / (1.0 - 0.9**turn) / np.sqrt(square / (1.0 - 0.99**turn) + 1e-12)
            prices = np.maximum(prices + pace * move, 0.0)
            prices[-1] = 0.0
        return Prices(self._spacing, best)

    def _solve(self, prices: Floats) -> _Plan:
        problem = self._problem
        padded = np.append(prices, [0.0, 0.0])
        priced = padded[self._below] * (1.0 - self._part) + padded[self._below + 1] * self._part
        finished, ages = problem.finished, problem.ages
        alive, last = 1.0 - finished, len(ages) - 1
        final = padded[self._final]
        value = problem.straight(np.zeros(1), np.zeros((1, 1))) + alive * final[:, None]
        value[:, last] = problem.never * final
        following = np.full(value.shape, _NONE)
        ahead = problem.waited + value
        passed = problem.waited - finished * ages
        rows = np.arange(len(value))
        for s in range(last - 1, -1, -1):
            first = min(s + problem.floor, last)
            options = ahead[:, first:] - finished[s] * ages[first:] + alive[s] * priced[:, first:]
            at = options.argmin(axis=1)
            here = options[rows, at] - passed[s]
            better = here < value[:, s]
            value[better, s] = here[better]
            following[better, s] = first + at[better]
            ahead[:, s] = problem.waited[s] + value[:, s]
        return _Plan(float(self._mass @ value[:, 0]), following)

    def _asked(self, plan: _Plan) -> Floats:
        """Expected requests per task at each knot."""
        alive = 1.0 - self._problem.finished
        asked = np.zeros(self._knots + 2)
        rows, age = np.arange(len(self._mass)), np.zeros(len(self._mass), dtype=np.int64)
        while len(rows):
            following = plan.following[rows, age]
            checked = self._mass[rows] * alive[age]
            done = following == _NONE
            np.add.at(asked, self._final[rows[done]], checked[done])
            rows, age, checked = rows[~done], following[~done], checked[~done]
            below, part = self._below[rows, age], self._part[rows, age]
            np.add.at(asked, below, checked * (1.0 - part))
            np.add.at(asked, below + 1, checked * part)
        return asked[: self._knots]


def stretched(prices: Prices, until: float, longer: float) -> Prices:
    """Prices of a run of `until` seconds for one that is `longer`: repeat the steady middle."""
    middle = int(until * 0.6 / prices.spacing)
    steady = float(np.mean(prices.knots[middle - 5 : middle + 6]))
    more = np.full(max(round((longer - until) / prices.spacing), 0), steady)
    flat = prices.knots.copy()
    flat[middle - 5 : middle + 6] = steady
    return Prices(prices.spacing, np.concatenate([flat[:middle], more, flat[middle:]]))


def burst_prices(law: Law, floor: float, count: int) -> Prices:
    """Prices for `count` tasks created at once, from the dual of the flow over arcs.

    A node is an age; the flow on an arc is the share of the tasks that are asked at its end if
    they were still going at its beginning; the last check is at or after the deadline.
    """
    reach = count / BUDGET + floor
    step = floor / 5.0 if reach < DEADLINE else floor * 0.8
    ages = np.arange(math.ceil(max(DEADLINE, 1.1 * reach) / step) + 1) * step
    final = int(np.searchsorted(ages, DEADLINE))
    longest = math.ceil(max(20.0 * floor, reach) / step)
    begin, end = _arcs(len(ages), final, max(1, math.ceil(floor / step)), longest)
    finished = law.finished(ages)
    fine = np.linspace(0.0, ages[-1], 20 * len(ages) + 1 - 20)
    middle = (law.finished(fine)[1:] + law.finished(fine)[:-1]) / 2.0 * (fine[1] - fine[0])
    waited = np.concatenate([[0.0], np.cumsum(middle)])[::20]
    cost = waited[end] - waited[begin] - finished[begin] * (ages[end] - ages[begin])
    arcs = np.arange(len(begin))
    supply = coo_matrix((1.0 - finished[begin], (end, arcs)), shape=(len(ages), len(arcs)))
    inner = end < final
    balance = coo_matrix((np.ones(len(arcs)), (begin, arcs)), shape=(final, len(arcs)))
    balance -= coo_matrix((np.ones(inner.sum()), (end[inner], arcs[inner])), shape=balance.shape)
    source = np.zeros(final)
    source[0] = 1.0
    limit = np.full(len(ages), BUDGET * step / count)
    limit[-1] = math.inf
    solved = linprog(
        cost, A_ub=supply.tocsr()[:-1], b_ub=limit[:-1], A_eq=balance.tocsr(), b_eq=source
    )
    prices = np.maximum(-np.asarray(solved.ineqlin.marginals, dtype=np.float64), 0.0)
    return Prices(step, np.append(prices, 0.0))


def _arcs(size: int, final: int, shortest: int, longest: int) -> tuple[Ints, Ints]:
    """Every arc no longer than `longest`, and those to the deadline and later."""
    begin, end = np.meshgrid(np.arange(final), np.arange(size), indexing="ij")
    apart = end - begin
    kept = (apart >= shortest) & ((apart <= longest) | (end >= final))
    return begin[kept], end[kept]


__all__ = ["Ascent", "burst_prices", "mean_delay_bound", "stretched"]
