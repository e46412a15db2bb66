"""Draw the tasks of a simulation: when each is created and how long it takes.

All times are in seconds. A set depends only on its size, arrivals, durations and seed, so every
policy gets the same set.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from random import Random

#: Requests per second of one account: one every 1/15 s. An unused slot is lost.
RATE = 15.0

#: Earliest age at the first check of a task, and shortest time between two checks of it.
FLOOR = 15.0

#: The same for `PollPolicy(eager=True)`, which may check more often while the budget is idle.
EAGER_FLOOR = 2.0

#: Age of a task at its last check.
DEADLINE = 1200.0

#: Share of tasks that never finish.
ENDLESS = 0.03


@dataclass(frozen=True)
class Durations:
    """The distribution of durations of the tasks that finish: a mixture of log-normals.

    Attributes:
        name: Its name on the command line.
        humps: Share, median and sigma (of the logarithm) of each log-normal in the mixture.
    """

    name: str
    humps: tuple[tuple[float, float, float], ...]

    def draw(self, random: Random) -> float:
        """Draw the duration of one task."""
        shares = [share for share, _, _ in self.humps]
        _, median, sigma = random.choices(self.humps, shares)[0]
        return median * math.exp(random.gauss(0.0, sigma))

    def cdf(self, age: float) -> float:
        """Return the share of durations that are at most `age`."""
        if age <= 0:
            return 0.0
        return sum(
            share * 0.5 * math.erfc(-math.log(age / median) / (sigma * math.sqrt(2)))
            for share, median, sigma in self.humps
        )

    def scaled(self, factor: float) -> Durations:
        """Return the same distribution with every duration multiplied by `factor`."""
        humps = tuple((share, median * factor, sigma) for share, median, sigma in self.humps)
        return Durations(f"{self.name}*{factor:g}", humps)


LOG_NORMAL = Durations("log-normal", ((1.0, 90.0, 0.5),))
#: A density with two peaks: half of the tasks take about 60 s, the other half about 240 s.
TWO_HUMPED = Durations("two-humped", ((0.5, 60.0, 0.15), (0.5, 240.0, 0.15)))
DURATIONS = {each.name: each for each in (LOG_NORMAL, TWO_HUMPED)}


@dataclass
class TaskSet:
    """Tasks in the order of their creation.

    Attributes:
        created: Creation time of each task. A policy gets the task at this time.
        durations: Duration of each task; infinite if it never finishes.
        kinds: Kind of job of each task.
        interactive: Indexes of the interactive tasks: a caller awaits each of them separately.
    """

    created: list[float]
    durations: list[float]
    kinds: list[str] = field(default_factory=list[str])
    interactive: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        self.kinds = self.kinds or [""] * len(self.created)

    def __len__(self) -> int:
        return len(self.created)

    def ends(self) -> list[float]:
        """Return the time at which each task finishes; infinite if it never does."""
        return [a + b for a, b in zip(self.created, self.durations, strict=True)]


def fixed_requests(durations: Durations) -> float:
    """Return the mean requests per task of a fixed poller with enough budget.

    The poller checks a task at 15, 30, … s until the task has finished. The last check of a task
    that does not finish is at the deadline.
    """
    rounds = math.ceil(DEADLINE / FLOOR)
    return sum(ENDLESS + (1 - ENDLESS) * (1 - durations.cdf(k * FLOOR)) for k in range(rounds))


def arrival_rate(arrivals: str, durations: Durations) -> float:
    """Return the number of tasks created per second; infinite for ``once``.

    At ``p90``, checking every task every 15 s would use 90 % of the request rate. At ``d90``, one
    request per task would use 90 % of it.

    Raises:
        ValueError: There are no arrivals of this name.
    """
    if arrivals == "once":
        return math.inf
    if arrivals[:1] not in {"p", "d"} or not arrivals[1:].isdigit() or int(arrivals[1:]) == 0:
        raise ValueError(f"arrivals are once, p<percent> or d<percent>, not {arrivals!r}")
    share = int(arrivals[1:]) / 100
    return share * RATE / (fixed_requests(durations) if arrivals[0] == "p" else 1.0)


def draw_durations(n: int, durations: Durations, seed: str) -> list[float]:
    """Draw the durations of `n` tasks; a share of `ENDLESS` is infinite."""
    random = Random(seed)
    drawn: list[float] = []
    for _ in range(n):
        ends = random.random() >= ENDLESS
        duration = durations.draw(random)
        drawn.append(duration if ends else math.inf)
    return drawn


def draw_set(n: int, arrivals: str, durations: Durations, seed: int) -> TaskSet:
    """Draw `n` tasks, either all created at 0 or as a Poisson process that starts at 0."""
    rate = arrival_rate(arrivals, durations)
    random = Random(f"arrivals {seed}")
    gaps = (random.expovariate(1.0) / rate for _ in range(n))
    return TaskSet(
        list(itertools.accumulate(gaps)), draw_durations(n, durations, f"durations {seed}")
    )
