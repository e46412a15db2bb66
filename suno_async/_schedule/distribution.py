"""The distribution of the age at which jobs of one kind end. No I/O.

The estimate is a life table: a Kaplan-Meier estimate in which ages are grouped into bins. The
*hazard* of a bin is the number of tasks that ended in the bin, divided by the total time for which
tasks were watched in the bin.

The hazard has a lower limit that falls as 1/age, like the hazard of a Pareto distribution. So even
very old tasks keep some probability of ending.

F is the share of the tasks that have ended by a given age, and S = 1 - F. The *prior* is the
distribution that is assumed before any task was observed (see `durations`).
"""

from __future__ import annotations

import bisect
import itertools
import math

#: Median of the prior in seconds: one music generation was seen to take 86 s (API contract).
PRIOR_MEDIAN = 90.0

#: Ages are counted in medians of the prior. The width of a bin is BIN_WIDTH (2 s if the median is
#: 90 s) or this share of the age, BIN_SHARE, whichever is more.
BIN_WIDTH = 1 / 45
BIN_SHARE = 0.03

#: The last bin holds all ages from this one on: four hours if the median is 90 s.
LONGEST = 160.0

#: The lower limit of the hazard, in ends per task and median of the prior, is TAIL / age. Below the
#: age TAIL_FROM it is constant.
TAIL = 0.02
TAIL_FROM = 3.3

#: Once S has fallen to this value, the lower limit of the hazard is also its upper limit. Without
#: this rule, hundreds of tasks that took no time would make F exactly 1 in floating point, and an
#: urgency is divided by S. With 1e-12, rounding errors are larger than the urgency. With 1e-6, a
#: kind learnt from hundreds of tasks loses the prior's hazards for the few tasks that run longest.
LEAST_SURVIVAL = 1e-9
MOST_HAZARD = -math.log(LEAST_SURVIVAL)

#: Upper limit of the integral of the hazard. Over months of age, even the hazard's lower limit adds
#: up to more than this.
MOST_HAZARD_AT_LAST = 1.25 * MOST_HAZARD


def _edges() -> list[float]:
    edges = [0.0]
    while edges[-1] < LONGEST:
        edges.append(edges[-1] + max(BIN_WIDTH, BIN_SHARE * edges[-1]))
    return edges


#: The edges of the bins, in medians of the prior.
EDGES = _edges()
BINS = len(EDGES) - 1
_LINEAR = next(n for n, edge in enumerate(EDGES) if edge * BIN_SHARE > BIN_WIDTH)
_LINEAR_END = EDGES[_LINEAR]
_LOG_STEP = math.log1p(BIN_SHARE)


def bin_of(age: float) -> int:
    """Return the index of the bin that contains `age`.

    The unit of `age` is the median of the prior (see the module docstring).
    """
    if age < _LINEAR_END:
        return int(age / BIN_WIDTH) if age > 0.0 else 0
    if age >= EDGES[-1]:
        return BINS - 1
    number = _LINEAR + int(math.log(age / _LINEAR_END) / _LOG_STEP)
    # Rounding can put an age that lies on an edge into the bin below.
    if number < BINS and EDGES[min(number + 1, BINS)] <= age:
        number += 1
    return min(number, BINS - 1)


def least_hazard(high: float) -> float:
    """Return the lowest allowed hazard in the bin whose upper end is the age `high`.

    The age and the hazard use the median of the prior as the unit of time.
    """
    return TAIL / max(high, TAIL_FROM)


class DurationDistribution:
    """The distribution of the age at which tasks of one kind end.

    Ages are grouped into bins. The hazard is the rate at which running tasks end. It is constant
    within a bin, and it is limited, so that F stays below 1. F is the share of the tasks that have
    ended by a given age.

    Attributes:
        hazard: The hazard in each bin, per `unit` of time.
        cumulative: The integral of the hazard from age 0 to each edge of a bin. At an edge, 1 - F
            is exp(-cumulative).
        samples: Number of ended tasks from which the distribution was learnt. Running tasks
            contribute, too, but are not counted.
        unit: The unit of time in seconds. The edges of the bins use this unit, too.
    """

    def __init__(self, hazard: list[float], samples: int, unit: float = PRIOR_MEDIAN) -> None:
        self.samples = samples
        self.unit = unit
        self.hazard: list[float] = []
        self.cumulative = [0.0]
        for rate, (low, high) in zip(hazard, itertools.pairwise(EDGES), strict=True):
            before, width = self.cumulative[-1], high - low
            most = max((MOST_HAZARD - before) / width, least_hazard(high))
            self.hazard.append(min(rate, most))
            self.cumulative.append(before + self.hazard[-1] * width)

    def finished_by(self, age: float) -> float:
        """Return the share of the tasks that have ended within `age` seconds."""
        age = max(0.0, age / self.unit)
        return self._finished(bin_of(age), age)

    def _finished(self, number: int, age: float) -> float:
        """Return the share of the tasks that have ended by `age`. `number` is the bin of `age`.

        The unit of `age` is `unit` seconds.
        """
        integral = self.cumulative[number] + self.hazard[number] * (age - EDGES[number])
        return -math.expm1(-min(integral, MOST_HAZARD_AT_LAST))

    def quantile(self, share: float) -> float:
        """Return the age in seconds by which this share of the tasks has ended."""
        wanted = -math.log1p(-share)
        number = min(max(bisect.bisect_right(self.cumulative, wanted) - 1, 0), BINS - 1)
        return self.unit * (
            EDGES[number] + (wanted - self.cumulative[number]) / self.hazard[number]
        )

    def resampled(self, step: float, count: int) -> list[float]:
        """Return the share of the tasks that have ended by each of `count` + 1 ages.

        The ages are 0, `step`, 2·`step`, …, `count`·`step` seconds.
        """
        step /= self.unit
        values: list[float] = []
        number, edge = 0, EDGES[1]
        for n in range(count + 1):
            age = n * step
            while age >= edge and number < BINS - 1:
                number += 1
                edge = EDGES[number + 1]
            values.append(self._finished(number, age))
        return values
