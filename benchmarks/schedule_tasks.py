"""The task sets of the schedule benchmark: when tasks are created and how long they take.

Seconds throughout. Everything is drawn from a seed, so that every policy meets the very same tasks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.special import ndtr

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

#: Requests per second of one account (vendor limit).
BUDGET: Final = 15.0
#: Shortest time from creation to the first check and between two checks of one task.
FLOOR: Final = 15.0
#: The same for an eager client.
EAGER_FLOOR: Final = 2.0
#: Age of the last check.
DEADLINE: Final = 1200.0
#: Share of the tasks that never finish.
NEVER: Final = 0.03


@dataclass(frozen=True, slots=True)
class Law:
    """A distribution of durations: a mixture of log-normals, and a few tasks that never finish.

    Attributes:
        name: What tables call it.
        humps: (weight, median, sigma) of each log-normal; the weights add up to 1.
        never: Share of tasks that never finish.
    """

    name: str
    humps: tuple[tuple[float, float, float], ...]
    never: float = NEVER

    def scaled(self, factor: float) -> Law:
        """The same law with every duration multiplied by `factor`."""
        humps = tuple((weight, median * factor, sigma) for weight, median, sigma in self.humps)
        return Law(f"{self.name}*{factor:g}", humps, self.never)

    def finished(self, ages: Floats) -> Floats:
        """Probability of having finished by each age; stops growing at the deadline."""
        reached = np.minimum(np.maximum(ages, 1e-9), DEADLINE)
        total = np.zeros_like(reached)
        for weight, median, sigma in self.humps:
            total += weight * ndtr(np.log(reached / median) / sigma)
        return (1.0 - self.never) * total

    def draw(self, rng: np.random.Generator, count: int) -> Floats:
        """`count` independent durations, ``inf`` for a task that does not finish by the deadline."""
        weights = [weight for weight, _, _ in self.humps]
        hump = rng.choice(len(self.humps), size=count, p=weights)
        median = np.array([median for _, median, _ in self.humps])[hump]
        sigma = np.array([sigma for _, _, sigma in self.humps])[hump]
        drawn = median * np.exp(sigma * rng.standard_normal(count))
        drawn[(rng.random(count) < self.never) | (drawn > DEADLINE)] = math.inf
        return drawn

    def fixed_requests(self) -> float:
        """Mean requests per task of an unhindered 15 s loop, with those that never finish."""
        checks = np.arange(0.0, DEADLINE, FLOOR)
        return float(np.sum(1.0 - self.finished(checks)))


LOGNORMAL: Final = Law("lognormal", ((1.0, 90.0, 0.5),))
#: The spread of a hump is ours to choose; with 0.15 the fixed and bound columns come out at
#: 7.56 and 7.49 s (p90), and 14.4 and 7.55 s (p200).
TWOHUMPED: Final = Law("twohumped", ((0.5, 60.0, 0.15), (0.5, 240.0, 0.15)))
LAWS: Final = {law.name: law for law in (LOGNORMAL, TWOHUMPED)}

#: Poisson arrivals as a share of the load that fixed 15 s loops could bear.
LOADS: Final = {"p30": 0.3, "p90": 0.9, "p200": 2.0}
ARRIVALS: Final = (*LOADS, "d90", "once")


def arrival_rate(arrivals: str, law: Law) -> float:
    """Tasks per second of a kind of arrivals; ``inf`` when all come at once."""
    if arrivals == "once":
        return math.inf
    if arrivals == "d90":
        return 0.9 * BUDGET
    return LOADS[arrivals] * BUDGET / law.fixed_requests()


@dataclass(frozen=True, slots=True)
class TaskSet:
    """Tasks in order of creation.

    Attributes:
        created: When each task was created.
        durations: How long each takes; ``inf`` if it never finishes.
        kinds: What kind of job each is, as the schedule is told.
        interactive: Numbers of the tasks that somebody awaits.
    """

    created: Sequence[float]
    durations: Sequence[float]
    kinds: Sequence[str]
    interactive: frozenset[int] = frozenset()

    def __len__(self) -> int:
        return len(self.created)


def poisson(rng: np.random.Generator, count: int, rate: float) -> Floats:
    """`count` creation times, the first at 0; all 0 if the rate is infinite."""
    if math.isinf(rate):
        return np.zeros(count)
    gaps = rng.exponential(1.0 / rate, count)
    return np.cumsum(gaps) - gaps[0]


def task_set(count: int, arrivals: str, law: Law, seed: int, kind: str = "song") -> TaskSet:
    """The tasks that every policy meets for this seed."""
    when, what = np.random.default_rng([seed, count]).spawn(2)
    created = poisson(when, count, arrival_rate(arrivals, law))
    durations = law.draw(what, count)
    return TaskSet(created.tolist(), durations.tolist(), [kind] * count)


def merged(bulk: TaskSet, extra: TaskSet) -> TaskSet:
    """Both sets as one, in order of creation; those of `extra` are interactive."""
    rows = [(at, 0, n) for n, at in enumerate(bulk.created)]
    rows += [(at, 1, n) for n, at in enumerate(extra.created)]
    rows.sort()
    sides = (bulk, extra)
    return TaskSet(
        [at for at, _, _ in rows],
        [sides[side].durations[n] for _, side, n in rows],
        [sides[side].kinds[n] for _, side, n in rows],
        frozenset(place for place, (_, side, _) in enumerate(rows) if side),
    )
