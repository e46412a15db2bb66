"""Generate random tasks for a simulation: when each is created and how long it takes.

All times are in seconds. The tasks depend only on the arguments of `draw_set`. So every polling
policy is tested with the same tasks.
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

#: Age at which a task that is still running gets its last check.
DEADLINE = 1200.0

#: Share of tasks that never finish.
ENDLESS = 0.03


@dataclass(frozen=True)
class Durations:
    """The durations of the tasks that finish: a mixture of log-normal distributions.

    Attributes:
        name: The name of the mixture on the command line.
        humps: For each log-normal distribution: its share of the tasks, its median in seconds, and
            the standard deviation of the logarithm.
    """

    name: str
    humps: tuple[tuple[float, float, float], ...]

    def draw(self, random: Random) -> float:
        """Return a random duration of one task, in seconds."""
        shares = [share for share, _, _ in self.humps]
        _, median, sigma = random.choices(self.humps, shares)[0]
        return median * math.exp(random.gauss(0.0, sigma))

    def cdf(self, age: float) -> float:
        """Return the share of durations that are at most `age` seconds."""
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
        created: Creation time of each task. The policy receives the task at this time.
        durations: Duration of each task; infinite if it never finishes.
        kinds: Kind of job of each task.
        interactive: Indexes of the *interactive* tasks. A caller awaits each of these tasks
            separately. All other tasks are awaited in groups.
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
    """Return the mean number of requests per task if the poll interval is always 15 s.

    Each task is checked at the age of 15, 30, … s until it has finished. A task that never finishes
    is checked for the last time at its deadline. The request rate is not limited.
    """
    rounds = math.ceil(DEADLINE / FLOOR)
    return sum(ENDLESS + (1 - ENDLESS) * (1 - durations.cdf(k * FLOOR)) for k in range(rounds))


def arrival_rate(arrivals: str, durations: Durations) -> float:
    """Return the number of tasks created per second.

    `arrivals` has one of these forms:

    - ``once``: all tasks are created at the same time, so the number is infinite.
    - ``p90``: checks of every task every 15 s would use 90 % of the allowed request rate.
    - ``d90``: one request per task would use 90 % of the allowed request rate.

    Other percentages are also possible.

    Raises:
        ValueError: `arrivals` has none of these forms.
    """
    if arrivals == "once":
        return math.inf
    if arrivals[:1] not in {"p", "d"} or not arrivals[1:].isdigit() or int(arrivals[1:]) == 0:
        raise ValueError(f"arrivals are once, p<percent> or d<percent>, not {arrivals!r}")
    share = int(arrivals[1:]) / 100
    return share * RATE / (fixed_requests(durations) if arrivals[0] == "p" else 1.0)


def draw_durations(n: int, durations: Durations, seed: str) -> list[float]:
    """Return random durations of `n` tasks. Each is infinite with probability `ENDLESS`."""
    random = Random(seed)
    drawn: list[float] = []
    for _ in range(n):
        ends = random.random() >= ENDLESS
        duration = durations.draw(random)
        drawn.append(duration if ends else math.inf)
    return drawn


def draw_set(n: int, arrivals: str, durations: Durations, seed: int) -> TaskSet:
    """Return `n` random tasks.

    If `arrivals` is ``once``, all tasks are created at 0 s. Otherwise, they are created at random
    times (a Poisson process) from 0 s on.
    """
    rate = arrival_rate(arrivals, durations)
    random = Random(f"arrivals {seed}")
    gaps = (random.expovariate(1.0) / rate for _ in range(n))
    return TaskSet(
        list(itertools.accumulate(gaps)), draw_durations(n, durations, f"durations {seed}")
    )
