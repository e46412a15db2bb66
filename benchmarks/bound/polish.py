"""Better prices for the bound, by cutting planes on the exact problem.

The bound is concave in the prices. At given prices each task's best plan is a tangent: what it
costs at any other prices is at least what the best plan there does. A linear programme over all
tangents so far finds the next prices to try, within a box around the best (Kelley 1960, with a
trust region). Tasks are represented by a sample of arrival times; that the result is a bound does
not rest on it.
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
    """Prices by the second at least as good as these, for `n` tasks arriving at `rate` a second."""
    # Later, requests are free.
    paid = np.flatnonzero(prices > 0)
    end = 60 + max(math.ceil(n / rate), int(paid[-1]) if len(paid) else 0)
    prices = np.append(prices, np.zeros(end))[:end]
    seconds = np.arange(len(prices), dtype=np.float64)
    arrivals = ((np.arange(SAMPLE) + 0.5) * n / rate / SAMPLE).astype(int)
    weight = n / SAMPLE
    knots = np.linspace(0.0, len(prices) - 1.0, KNOTS, dtype=np.float64)
    # How much of each second's price is each knot's.
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
    """The prices at which the tangents promise most, each within `width` of the best so far."""
    uses = np.stack([use for _, _, use in cuts])
    # A value is at most each of its tangents: z - use p <= cost without charges.
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
