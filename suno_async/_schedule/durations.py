"""Learn how long jobs take, separately for each kind of job. No I/O.

Each kind of job has a life table (see `distribution`). For each range of ages, the table stores the
number of tasks that ended, and the time for which tasks were watched. For a task that ended, the
watched time is the time from creation to completion. It is exact, because the task's record
contains both times. For a task that is still running, only the watched time is stored. This is a
censored observation (E. L. Kaplan and P. Meier, JASA 53, 1958, 457-481).

Before any job was observed, the durations are assumed to have a log-normal distribution: the
*prior*. The prior is wide and counts only as much as a few tasks, so real tasks soon outweigh it.
A new observation counts a little more than an older one. So the estimate adapts when jobs begin to
take longer or shorter.
"""

from __future__ import annotations

import itertools
import math
from typing import Annotated

import msgspec

from suno_async._schedule.distribution import (
    BIN_SHARE,
    BIN_WIDTH,
    BINS,
    EDGES,
    LONGEST,
    PRIOR_MEDIAN,
    DurationDistribution,
    bin_of,
    least_hazard,
)
from suno_async.errors import ConfigurationError
from suno_async.statistics import DurationSummary

#: The prior is log-normal. This is the standard deviation of the logarithm: 19 of 20 jobs are
#: assumed to take between a fifth of the median and five times the median.
PRIOR_SIGMA = 0.8

#: The prior counts as much as this many observed tasks.
PRIOR_TASKS = 5.0

#: After this many further ends, an end counts 1/e of a new one.
MEMORY = 1500.0


def _prior() -> list[tuple[float, float]]:
    """Return the prior: a number of ended tasks and a watched time for each range of ages.

    The module explains these terms. The unit of time is the median of the prior.
    """
    scale = PRIOR_SIGMA * math.sqrt(2.0)
    shares = [0.5 * (1.0 + math.erf(math.log(edge) / scale)) if edge else 0.0 for edge in EDGES]
    return [
        # The tiny time prevents a division by zero for a bin that no task reaches.
        (PRIOR_TASKS * (b - a), PRIOR_TASKS * (1.0 - (a + b) / 2.0) * (high - low) + 1e-6)
        for (a, b), (low, high) in zip(
            itertools.pairwise(shares), itertools.pairwise(EDGES), strict=True
        )
    ]


_PRIOR = _prior()


class _Table(msgspec.Struct):
    """The life table of one kind of job: ended tasks and time watched in each bin of ages.

    The unit of ages and times is the median of the prior.

    Attributes:
        ends: For each bin, the weight of the tasks that ended in the bin.
        times: For each bin, the weighted time of the observations that start or end in the bin.
            Only the part of each observation within the bin counts.
        whole: For each bin, its *cover* minus the cover of the previous bin. The cover of a bin is
            the weight of all observations that contain the whole bin. An observation changes at
            most two of these differences, but it would change the cover of many bins.
        samples: Number of tasks that ended, without weights.
        observations: Number of calls of `watched`. If the table was loaded from JSON, earlier calls
            do not count.
        weight: Weight of the next observation.
    """

    ends: list[float] = msgspec.field(default_factory=lambda: [0.0] * BINS)
    times: list[float] = msgspec.field(default_factory=lambda: [0.0] * BINS)
    whole: list[float] = msgspec.field(default_factory=lambda: [0.0] * (BINS + 1))
    samples: int = 0
    observations: int = 0
    weight: float = 1.0

    def watched(self, start: float, end: float) -> None:
        """Add an observation: a task was running from the age `start` to the age `end`."""
        self.observations += 1
        first, last, weight = bin_of(start), bin_of(end), self.weight
        if first == last:
            self.times[first] += weight * (end - start)
            return
        self.times[first] += weight * (EDGES[first + 1] - start)
        self.times[last] += weight * (end - EDGES[last])
        self.whole[first + 1] += weight
        self.whole[last] -= weight

    def ended(self, age: float) -> None:
        """Add a task that ended at `age`.

        Increase the weight of later observations, so that new ones count more than old ones.
        """
        self.ends[bin_of(age)] += self.weight
        self.samples += 1
        self.weight *= 1.0 + 1.0 / MEMORY

    def normalised(self) -> tuple[list[float], list[float]]:
        """Return the ended tasks and the watched time of each bin, both divided by `weight`."""
        scale = 1.0 / self.weight
        covers = itertools.accumulate(self.whole)
        times = [
            scale * (part + cover * (high - low))
            for part, cover, (low, high) in zip(
                self.times, covers, itertools.pairwise(EDGES), strict=False
            )
        ]
        return [scale * ends for ends in self.ends], times


class Durations:
    """How long jobs of each kind take, learnt from the replies about polled tasks.

    A client learns automatically while it polls, unless its policy has ``schedule="backoff"``. A
    client with a journal also saves the durations there. By default, the next client of the account
    loads them.

    Without a journal, save `to_json()` yourself. In the next process, pass
    `Durations.from_json(...)` as `SunoClient(durations=...)`.

    Args:
        median: The assumed median duration in seconds, for kinds of jobs that were not observed
            yet; by default 90. It also sets the precision: durations are grouped into ranges. The
            width of a range is a 45th of the median or 3 % of the duration, whichever is greater.

    Raises:
        ConfigurationError: `median` is not a finite number above 0.
    """

    def __init__(self, median: float = PRIOR_MEDIAN) -> None:
        if not 0.0 < median < math.inf:
            raise ConfigurationError("median must be a finite number of seconds above 0")
        self._median = median
        self._tables: dict[str, _Table] = {}

    def __repr__(self) -> str:
        learnt = ", ".join(f"{kind!r}: {self.samples(kind)}" for kind in self.kinds())
        return f"<Durations {learnt or 'nothing learnt'}>"

    @property
    def median(self) -> float:
        """The median duration in seconds that is assumed for a kind without observed jobs."""
        return self._median

    def kinds(self) -> list[str]:
        """Return the kinds of job that were observed or loaded, in alphabetical order."""
        return sorted(self._tables)

    def samples(self, kind: str) -> int:
        """Return the number of ended tasks from which the durations of a kind were learnt."""
        return self._tables[kind].samples if kind in self._tables else 0

    def observations(self, kind: str) -> int:
        """Return the number of observations of one kind of job.

        An observation is a period during which a task was known to run. Observations that
        `from_json` loaded do not count.
        """
        return self._tables[kind].observations if kind in self._tables else 0

    def still_running(self, kind: str, since: float, age: float) -> None:
        """Learn that a task was running from the age `since` to the age `age` (in seconds).

        An `age` above 160 times `median` counts as 160 times `median`. If `age` is then not above
        `since`, do nothing.
        """
        longest = LONGEST * self._median
        age = min(age, longest)
        if 0.0 <= since < age:
            self._table(kind).watched(since / self._median, age / self._median)

    def ended(self, kind: str, since: float, duration: float) -> None:
        """Learn that a task was running from the age `since` until it ended at the age `duration`.

        Both ages are in seconds. If `duration` is below 0, or at least 160 times `median` (by
        default four hours), do nothing.
        """
        if not 0.0 <= duration < LONGEST * self._median:
            return
        table = self._table(kind)
        if 0.0 <= since < duration:
            table.watched(since / self._median, duration / self._median)
        table.ended(duration / self._median)

    def summary(self, kind: str) -> DurationSummary:
        """Return statistics of a kind of job.

        These are the number of ended tasks, and the median and the 95th percentile of the
        durations in seconds. For a kind without observed jobs, the durations are assumed.
        """
        current = self.distribution(kind)
        return DurationSummary(
            samples=current.samples, median=current.quantile(0.5), p95=current.quantile(0.95)
        )

    def distribution(self, kind: str) -> DurationDistribution:
        """Return the current distribution of the durations of one kind of job.

        A call takes some tenths of a millisecond.
        """
        table = self._tables.get(kind) or _Table()
        ends, times = table.normalised()
        hazard = [
            max((ended + prior_ended) / (watched + prior_watched), least_hazard(high))
            for ended, watched, (prior_ended, prior_watched), high in zip(
                ends, times, _PRIOR, EDGES[1:], strict=True
            )
        ]
        return DurationDistribution(hazard, table.samples, self._median)

    def to_json(self) -> bytes:
        """Return the learnt durations as JSON: a few kB for each kind."""
        kinds: dict[str, _Saved] = {}
        for kind, table in self._tables.items():
            ends, times = table.normalised()
            length = max((n + 1 for n in range(BINS) if times[n] or ends[n]), default=0)
            kinds[kind] = _Saved(
                samples=table.samples,
                ends=[round(value, 3) for value in ends[:length]],
                times=[round(value, 3) for value in times[:length]],
            )
        return msgspec.json.encode(_File(median=self._median, kinds=kinds))

    @classmethod
    def from_json(cls, data: bytes | str) -> Durations:
        """Return the durations that `to_json` saved.

        Raises:
            ConfigurationError: `data` is not the output of `to_json`, or is from an incompatible
                version of this library.
        """
        problem: str
        try:
            saved = msgspec.json.decode(data, type=_File)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            problem = str(error)
        else:
            if saved.bins == [BIN_WIDTH, BIN_SHARE, LONGEST]:
                durations = cls(saved.median)
                for kind, table in saved.kinds.items():
                    durations._tables[kind] = table.restored()
                return durations
            problem = "another version of suno_async saved this data; start without it"
        raise ConfigurationError(f"expected the output of Durations.to_json: {problem}")

    def _table(self, kind: str) -> _Table:
        table = self._tables.get(kind)
        if table is None:
            table = self._tables[kind] = _Table()
        elif table.weight > 1e9:  # noqa: PLR2004 (long before floats lose digits)
            ends, times = table.normalised()
            table = self._tables[kind] = _Table(
                ends=ends, times=times, samples=table.samples, observations=table.observations
            )
        return table


#: A saved weight. It must not be negative, and no sum of weights may overflow.
_Weight = Annotated[float, msgspec.Meta(ge=0.0, le=1e15)]


class _Saved(msgspec.Struct):
    samples: Annotated[int, msgspec.Meta(ge=0)]
    ends: list[_Weight]
    times: list[_Weight]

    def restored(self) -> _Table:
        return _Table(
            ends=(self.ends + [0.0] * BINS)[:BINS],
            times=(self.times + [0.0] * BINS)[:BINS],
            samples=self.samples,
        )


class _File(msgspec.Struct):
    median: float
    kinds: dict[str, _Saved]
    bins: list[float] = msgspec.field(default_factory=lambda: [BIN_WIDTH, BIN_SHARE, LONGEST])
