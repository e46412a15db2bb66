"""Improve the prices of the lower bound on the mean delay (see `benchmarks.bound.mean_delay`).

The bound uses prices instead of the limit on requests. A price is the delay in seconds that one
request costs, and each second of the run has its own price. The bound is a concave function of the
prices. The method of cutting planes finds the highest bound (Kelley 1960, with a trust region).

A plan is a list of the ages at which a task is checked. The cost of a plan is its expected delay
plus the expected prices of its checks. This cost is a linear function of the prices. The bound uses
the lowest cost of all plans. Take the plan that is best at some prices. Its cost is a tangent: at
other prices, this cost can be above the lowest cost, but never below. A linear programme over all
tangents found so far gives the next prices to try. The next prices stay close to the best prices
found so far.

A sample of creation times represents the tasks. A bad sample makes the bound less tight, but never
invalid.
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
    """Return improved prices of requests, one for each second of a run (see the module).

    A price is the delay in seconds that one request costs. In the run, `n` tasks are created at
    `rate` per second.
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
    """Return the prices to try next: those at which the bound could be highest (see the module).

    The tangents in `cuts` limit the bound. Each returned price differs by at most `width` from the
    corresponding price in `best`.
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
