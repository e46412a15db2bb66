"""Improve the prices from which the lower bound of the mean delay is calculated.

The bound replaces the limit on requests by prices (see `benchmarks.bound.mean_delay`). A price is
the delay in seconds that one request costs. Each second of the run has its own price. The best
prices are those with the highest bound.

A plan is a list of the ages at which a task is checked. The cost of a plan is its expected delay
plus the expected prices of its checks. It is a linear function of the prices. For each task, the
bound uses the plan with the lowest cost. So the bound is a concave function of the prices, and the
method of cutting planes finds its maximum (Kelley 1960, with a trust region):

1. Find the best plan of each task at the current prices. The cost of this plan, as a function of
   the prices, is a *tangent*. At any prices, the lowest cost is at most the value of each tangent.
2. Solve a linear programme with all tangents found so far. Its solution is the next prices to try.
   These prices must be close to the best prices found so far.

A small sample of creation times represents all tasks. With a bad sample, the bound is less tight,
but still valid.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.bound.prices import LATE
from benchmarks.bound.programme import least
from benchmarks.schedule.sets import DEADLINE, RATE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.bound.inspection import Inspection

    Floats = NDArray[np.float64]

ROUNDS = 12
SAMPLE = 60
KNOTS = 80


def polished(prices: Floats, inspection: Inspection, n: int, rate: float) -> Floats:
    """Return improved prices of requests, one for each second of a run (see the module docstring).

    Prices are in seconds: in the bound, a request counts as a delay of this length. In the run, `n`
    tasks are created at `rate` per second.
    """
    # Requests after `end` are free.
    paid = np.flatnonzero(prices > 0)
    end = 60 + max(math.ceil(n / rate), int(paid[-1]) if len(paid) else 0)
    prices = np.append(prices, np.zeros(end))[:end]
    seconds = np.arange(len(prices), dtype=np.float64)
    arrivals = ((np.arange(SAMPLE) + 0.5) * n / rate / SAMPLE).astype(int)
    weight = n / SAMPLE
    knots = np.linspace(0.0, len(prices) - 1.0, KNOTS, dtype=np.float64)
    # Weight of each knot in the price of each second.
    hats = np.stack([np.interp(seconds, knots, row) for row in np.eye(KNOTS)], axis=1)
    budget = RATE * hats.sum(axis=0)
    reach = int(DEADLINE + LATE) + 1

    best: Floats = np.interp(knots, seconds, prices)
    centre = best
    best_total, width = -np.inf, 0.25 * float(best.max()) + 0.05
    cuts: list[tuple[int, float, Floats]] = []
    for _ in range(ROUNDS):
        by_second = np.append(hats @ centre, np.zeros(reach))
        values, after = inspection.solve(np.stack([by_second[a : a + reach] for a in arrivals]))
        total = weight * float(values.sum()) - float(budget @ centre)
        if total > best_total:
            best, best_total = centre, total
        else:
            width /= 2
        for k, arrival in enumerate(arrivals):
            ages, chances = inspection.plan(after[k])
            when = arrival + ages
            charged = when < len(seconds)
            use = chances[charged] @ hats[when[charged]]
            cuts.append((k, float(values[k] - use @ centre), use))
        centre = _next(cuts, budget, weight, best, width)
    return hats @ best


def _next(
    cuts: list[tuple[int, float, Floats]],
    budget: Floats,
    weight: float,
    best: Floats,
    width: float,
) -> Floats:
    """Return the next prices to try: those at which the bound could be highest.

    See the module docstring.

    Args:
        cuts: The tangents found so far. Each contains the index of the sampled task, the cost of
            its plan if all prices are 0, and, for each price, the expected number of requests at
            this price.
        budget: For each price, the number of requests that the rate limit allows.
        weight: Number of tasks that each sampled task represents.
        best: The best prices found so far.
        width: Maximum difference between a returned price and the price in `best`.
    """
    uses = np.stack([use for _, _, use in cuts])
    # Each tangent limits the value z of a sampled task: z - use p <= cost without charges.
    values = np.eye(SAMPLE)[[k for k, _, _ in cuts]]
    found, _ = least(
        np.concatenate((budget, np.full(SAMPLE, -weight))),
        (np.hstack((-uses, values)), np.array([cost for _, cost, _ in cuts])),
        bounds=[
            *((max(0.0, price - width), price + width) for price in best.tolist()),
            *((None, None) for _ in range(SAMPLE)),
        ],
    )
    return found[: len(best)]
