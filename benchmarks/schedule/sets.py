"""The work of the schedule's benchmark: how long tasks take, when they arrive, drawn by seed.

Seconds throughout. A set is the same for every policy: it depends on its size, arrivals, durations
and seed alone.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from random import Random

#: Requests a second of one account, one each 1/15 s: no burst, and an unused one is lost.
RATE = 15.0

#: Earliest first check of a task, and shortest time between two checks of it.
FLOOR = 15.0

#: The same where `PollPolicy.eager` may spend an idle budget.
EAGER_FLOOR = 2.0

#: Age at which a task is asked for the last time.
DEADLINE = 1200.0

#: Share of the tasks that never finish.
ENDLESS = 0.03


@dataclass(frozen=True)
class Durations:
    """How long the tasks that finish take: a mixture of log-normals.

    Attributes:
        name: As the command line calls it.
        humps: Of each, its share, its median and the sigma of its logarithm.
    """

    name: str
    humps: tuple[tuple[float, float, float], ...]

    def draw(self, random: Random) -> float:
        """The duration of one task."""
        shares = [share for share, _, _ in self.humps]
        _, median, sigma = random.choices(self.humps, shares)[0]
        return median * math.exp(random.gauss(0.0, sigma))

    def cdf(self, age: float) -> float:
        """Share of the tasks that finish which have finished at `age`."""
        if age <= 0:
            return 0.0
        return sum(
            share * 0.5 * math.erfc(-math.log(age / median) / (sigma * math.sqrt(2)))
            for share, median, sigma in self.humps
        )

    def scaled(self, factor: float) -> Durations:
        """The same shape, every duration `factor` times as long."""
        humps = tuple((share, median * factor, sigma) for share, median, sigma in self.humps)
        return Durations(f"{self.name}*{factor:g}", humps)


LOG_NORMAL = Durations("log-normal", ((1.0, 90.0, 0.5),))
TWO_HUMPED = Durations("two-humped", ((0.5, 60.0, 0.15), (0.5, 240.0, 0.15)))
DURATIONS = {each.name: each for each in (LOG_NORMAL, TWO_HUMPED)}


@dataclass
class TaskSet:
    """Tasks in the order of their arrival.

    Attributes:
        created: When each was created; its tracking begins then.
        durations: How long each takes; infinite if it never finishes.
        kinds: The kind of job of each.
        interactive: Those somebody awaits by themselves.
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
        """When each finishes; infinite if never."""
        return [a + b for a, b in zip(self.created, self.durations, strict=True)]


def fixed_requests(durations: Durations) -> float:
    """Mean requests per task of the unhurried fixed poller.

    A task is asked at 15, 30, … s until it has finished, at the latest at the deadline.
    """
    rounds = math.ceil(DEADLINE / FLOOR)
    return sum(ENDLESS + (1 - ENDLESS) * (1 - durations.cdf(k * FLOOR)) for k in range(rounds))


def arrival_rate(arrivals: str, durations: Durations) -> float:
    """Tasks a second: infinite for ``once``.

    ``p90`` is 90 % of what the fixed poller can bear, ``d90`` is 90 % of one request per task.

    Raises:
        ValueError: no such arrivals.
    """
    if arrivals == "once":
        return math.inf
    if arrivals[:1] not in {"p", "d"} or not arrivals[1:].isdigit() or int(arrivals[1:]) == 0:
        raise ValueError(f"arrivals are once, p<percent> or d<percent>, not {arrivals!r}")
    share = int(arrivals[1:]) / 100
    return share * RATE / (fixed_requests(durations) if arrivals[0] == "p" else 1.0)


def draw_durations(n: int, durations: Durations, seed: str) -> list[float]:
    """The durations of `n` tasks, `ENDLESS` of them infinite."""
    random = Random(seed)
    drawn: list[float] = []
    for _ in range(n):
        ends = random.random() >= ENDLESS
        duration = durations.draw(random)
        drawn.append(duration if ends else math.inf)
    return drawn


def draw_set(n: int, arrivals: str, durations: Durations, seed: int) -> TaskSet:
    """`n` tasks, all at 0 or as a Poisson process from 0 on."""
    rate = arrival_rate(arrivals, durations)
    random = Random(f"arrivals {seed}")
    gaps = (random.expovariate(1.0) / rate for _ in range(n))
    return TaskSet(
        list(itertools.accumulate(gaps)), draw_durations(n, durations, f"durations {seed}")
    )
