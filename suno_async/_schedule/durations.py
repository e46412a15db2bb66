"""What has been learnt about how long jobs take, per kind of job. Pure.

The estimate is the life table of actuaries (the Kaplan-Meier estimate on bins of age): in each bin
the *hazard*, how many tasks ended there over how many task-seconds were watched there. A task that
ended adds its time up to then and one end, exactly, since its record tells when it was created and
when it completed; an answer of "still running" adds the time watched and no end (a censored
observation: E. L. Kaplan and P. Meier, JASA 53, 1958, 457-481).

Before anything is known there is a log-normal prior worth a few tasks, wide enough to be soon
outweighed. Every new end counts a little more than the one before it, so the old ones fade and a
slow day is noticed. No age is ever hopeless: the hazard has a floor that falls as 1/age, which is
the tail of a Pareto law.
"""

from __future__ import annotations

import bisect
import itertools
import math
from typing import Annotated

import msgspec

from suno_async.errors import ConfigurationError
from suno_async.statistics import Learnt

#: The prior: log-normal, this wide (standard deviation of the logarithm), worth so many tasks.
PRIOR_MEDIAN = 90.0
PRIOR_SIGMA = 0.8
PRIOR_TASKS = 5.0

#: Ages are kept in medians of the prior. Bins of age are this wide (2 s where the median is 90 s),
#: or this share of the age, whichever is more.
BIN_WIDTH = 1 / 45
BIN_SHARE = 0.03

#: Ages up to this are told apart: four hours where the median is 90 s.
LONGEST = 160.0

#: Ends after which an old one counts 1/e of a new one.
MEMORY = 1500.0

#: The hazard's floor, in ends per task-second: this over the age, and for young tasks over the
#: age at which it begins to fall, in medians of the prior.
TAIL = 0.02
TAIL_FROM = 3.3


#: Once a learnt distribution has only this share of survivors left, only the hazard's floor applies
#: further on. Otherwise hundreds of tasks that took no time make F exactly 1 in floating point, and
#: the worth of a request is divided by the survivors. At 1e-12 rounding errors hide that worth; at
#: 1e-6 a kind known from hundreds of tasks loses the prior's hazards for its last tasks.
LEAST_SURVIVAL = 1e-9
MOST_HAZARD = -math.log(LEAST_SURVIVAL)

#: The bound of the whole integral: at ages of months the floor adds up, too.
MOST_HAZARD_AT_LAST = 1.25 * MOST_HAZARD


def _edges() -> list[float]:
    edges = [0.0]
    while edges[-1] < LONGEST:
        edges.append(edges[-1] + max(BIN_WIDTH, BIN_SHARE * edges[-1]))
    return edges


#: Where bins of age begin and end.
EDGES = _edges()
_BINS = len(EDGES) - 1
_LINEAR = next(n for n, edge in enumerate(EDGES) if edge * BIN_SHARE > BIN_WIDTH)
_LOG_STEP = math.log1p(BIN_SHARE)


def bin_of(age: float) -> int:
    """The bin that holds `age`; the last one holds every greater age."""
    if age < EDGES[_LINEAR]:
        return max(0, int(age / BIN_WIDTH))
    if age >= EDGES[-1]:
        return _BINS - 1
    number = _LINEAR + int(math.log(age / EDGES[_LINEAR]) / _LOG_STEP)
    # Rounding may put an age that stands on an edge one bin off.
    if number < _BINS and EDGES[min(number + 1, _BINS)] <= age:
        number += 1
    return min(number, _BINS - 1)


class _Table(msgspec.Struct):
    """Ends and watched time of one kind, weighted; ages and times in medians of the prior.

    Time watched in a run of whole bins is kept as two differences, so that an observation costs
    the same however long it was.

    Attributes:
        ends: Weight of tasks that ended in each bin.
        times: Weighted time watched in the bins where a watch began or ended.
        whole: Differences of the weight of watches that cover a bin whole.
        samples: Tasks that ended, unweighted.
        observations: Watches, unweighted.
        weight: What the next observation counts.
    """

    ends: list[float] = msgspec.field(default_factory=lambda: [0.0] * _BINS)
    times: list[float] = msgspec.field(default_factory=lambda: [0.0] * _BINS)
    whole: list[float] = msgspec.field(default_factory=lambda: [0.0] * (_BINS + 1))
    samples: int = 0
    observations: int = 0
    weight: float = 1.0

    def watched(self, start: float, end: float) -> None:
        """Watched from one age to another."""
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
        """Ended at that age. From now on all that was seen before counts less."""
        self.ends[bin_of(age)] += self.weight
        self.samples += 1
        self.weight *= 1.0 + 1.0 / MEMORY

    def normalised(self) -> tuple[list[float], list[float]]:
        """Ends and watched time per bin, as if the next observation counted 1."""
        scale = 1.0 / self.weight
        covers = itertools.accumulate(self.whole)
        times = [
            scale * (part + cover * (high - low))
            for part, cover, (low, high) in zip(
                self.times, covers, itertools.pairwise(EDGES), strict=False
            )
        ]
        return [scale * ends for ends in self.ends], times


def _least_hazard(high: float) -> float:
    """The hazard's floor in the bin that ends at this age."""
    return TAIL / max(high, TAIL_FROM)


class Law:
    """The distribution of the age at which tasks of one kind end: hazards constant in each bin.

    F never falls and never reaches 1, whatever the hazards: once `LEAST_SURVIVAL` is reached, the
    hazard of every later bin is at most its floor (`TAIL`).

    Attributes:
        hazard: Ends per task and `unit` of time in each bin.
        cumulative: The integral of the hazard up to each edge, so S = exp(-cumulative).
        samples: Tasks it was learnt from; 0 means the prior alone.
        unit: What the edges of the bins are counted in, in seconds.
    """

    def __init__(self, hazard: list[float], samples: int, unit: float = PRIOR_MEDIAN) -> None:
        self.samples = samples
        self.unit = unit
        self.hazard: list[float] = []
        self.cumulative = [0.0]
        for rate, (low, high) in zip(hazard, itertools.pairwise(EDGES), strict=True):
            before, width = self.cumulative[-1], high - low
            most = max((MOST_HAZARD - before) / width, _least_hazard(high))
            self.hazard.append(min(rate, most))
            self.cumulative.append(before + self.hazard[-1] * width)

    def finished_by(self, age: float) -> float:
        """F: the share of tasks that have ended at `age`, in seconds."""
        age = max(0.0, age / self.unit)
        return self._finished(bin_of(age), age)

    def _finished(self, number: int, age: float) -> float:
        """F at an age in this bin."""
        integral = self.cumulative[number] + self.hazard[number] * (age - EDGES[number])
        return -math.expm1(-min(integral, MOST_HAZARD_AT_LAST))

    def quantile(self, share: float) -> float:
        """The age by which `share` of the tasks have ended, in seconds."""
        wanted = -math.log1p(-share)
        number = min(max(bisect.bisect_right(self.cumulative, wanted) - 1, 0), _BINS - 1)
        return self.unit * (
            EDGES[number] + (wanted - self.cumulative[number]) / self.hazard[number]
        )

    def resampled(self, step: float, count: int) -> list[float]:
        """F at ages 0, step, 2·step, … seconds: `count` + 1 of them."""
        step /= self.unit
        values: list[float] = []
        number, edge = 0, EDGES[1]
        for n in range(count + 1):
            age = n * step
            while age >= edge and number < _BINS - 1:
                number += 1
                edge = EDGES[number + 1]
            values.append(self._finished(number, age))
        return values


class Durations:
    """How long jobs take, learnt from every answer, per kind of job.

    A client learns by itself. To start the next process with what this one learnt, keep
    `to_json()` and give `Durations.from_json(...)` to `SunoClient(durations=...)`.

    Args:
        median: Of the prior, in seconds: half of the jobs of a kind nothing is known of are
            taken to end by then. One music generation was seen to take 86 s (API contract). It
            also sets how finely ages are told apart: a 45th of it, or 3 % of the age.

    Raises:
        ConfigurationError: `median` is not above 0.
    """

    def __init__(self, median: float = PRIOR_MEDIAN) -> None:
        if not 0.0 < median < math.inf:
            raise ConfigurationError("median must be above 0 seconds")
        self._median = median
        self._tables: dict[str, _Table] = {}

    def __repr__(self) -> str:
        learnt = ", ".join(f"{kind!r}: {self.samples(kind)}" for kind in self.kinds())
        return f"<Durations {learnt or 'nothing learnt'}>"

    def kinds(self) -> list[str]:
        """The kinds anything was seen of, sorted."""
        return sorted(self._tables)

    def samples(self, kind: str) -> int:
        """How many tasks of a kind were seen to end."""
        return self._tables[kind].samples if kind in self._tables else 0

    def observations(self, kind: str) -> int:
        """How many answers about tasks of a kind were learnt from."""
        return self._tables[kind].observations if kind in self._tables else 0

    def still_running(self, kind: str, since: float, age: float) -> None:
        """A task that was running at age `since` still runs at `age`; seconds."""
        longest = LONGEST * self._median
        age = min(age, longest)
        if 0.0 <= since < age:
            self._table(kind).watched(since / self._median, age / self._median)

    def ended(self, kind: str, since: float, duration: float) -> None:
        """A task last seen running at age `since` ended at the age `duration`; seconds."""
        if not 0.0 <= duration < LONGEST * self._median:
            return
        table = self._table(kind)
        if 0.0 <= since < duration:
            table.watched(since / self._median, duration / self._median)
        table.ended(duration / self._median)

    def summary(self, kind: str) -> Learnt:
        """The distribution in three numbers."""
        law = self.law(kind)
        return Learnt(samples=law.samples, median=law.quantile(0.5), p95=law.quantile(0.95))

    def law(self, kind: str) -> Law:
        """The distribution as it looks now; costs some tenths of a millisecond."""
        table = self._tables.get(kind) or _Table()
        ends, times = table.normalised()
        hazard = [
            max((ended + prior_ended) / (watched + prior_watched), _least_hazard(high))
            for ended, watched, (prior_ended, prior_watched), high in zip(
                ends, times, _PRIOR, EDGES[1:], strict=True
            )
        ]
        return Law(hazard, table.samples, self._median)

    def to_json(self) -> bytes:
        """What was learnt, as a few kB of JSON for each kind."""
        kinds: dict[str, _Saved] = {}
        for kind, table in self._tables.items():
            ends, times = table.normalised()
            length = max((n + 1 for n in range(_BINS) if times[n] or ends[n]), default=0)
            kinds[kind] = _Saved(
                samples=table.samples,
                ends=[round(value, 3) for value in ends[:length]],
                times=[round(value, 3) for value in times[:length]],
            )
        return msgspec.json.encode(_File(median=self._median, kinds=kinds))

    @classmethod
    def from_json(cls, data: bytes | str) -> Durations:
        """What `to_json` gave.

        Raises:
            ConfigurationError: It did not come from there.
        """
        problem: str
        try:
            saved = msgspec.json.decode(data, type=_File)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            problem = str(error)
        else:
            if saved.bins == [BIN_WIDTH, BIN_SHARE, LONGEST]:
                durations = cls(saved.median)
                for kind, table in saved.kinds.items():
                    durations._tables[kind] = table.restored()
                return durations
            problem = "made by a version with other bins of age"
        raise ConfigurationError(f"not what Durations.to_json gives: {problem}")

    def _table(self, kind: str) -> _Table:
        table = self._tables.get(kind)
        if table is None:
            table = self._tables[kind] = _Table()
        elif table.weight > 1e9:  # noqa: PLR2004 (long before a float loses digits)
            ends, times = table.normalised()
            table = self._tables[kind] = _Table(
                ends=ends, times=times, samples=table.samples, observations=table.observations
            )
        return table


#: What a table may hold: no saved value may overflow a sum, or be negative.
_Weight = Annotated[float, msgspec.Meta(ge=0.0, le=1e15)]


class _Saved(msgspec.Struct):
    samples: int
    ends: list[_Weight]
    times: list[_Weight]

    def restored(self) -> _Table:
        return _Table(
            ends=(self.ends + [0.0] * _BINS)[:_BINS],
            times=(self.times + [0.0] * _BINS)[:_BINS],
            samples=self.samples,
        )


class _File(msgspec.Struct):
    median: float
    kinds: dict[str, _Saved]
    bins: list[float] = msgspec.field(default_factory=lambda: [BIN_WIDTH, BIN_SHARE, LONGEST])


def _prior() -> list[tuple[float, float]]:
    """Per bin: prior tasks that end in it, and the time they spend in it."""
    scale = PRIOR_SIGMA * math.sqrt(2.0)
    shares = [0.5 * (1.0 + math.erf(math.log(edge) / scale)) if edge else 0.0 for edge in EDGES]
    return [
        # The tiny time keeps a bin that no task reaches from being a division by zero.
        (PRIOR_TASKS * (b - a), PRIOR_TASKS * (1.0 - (a + b) / 2.0) * (high - low) + 1e-6)
        for (a, b), (low, high) in zip(
            itertools.pairwise(shares), itertools.pairwise(EDGES), strict=True
        )
    ]


_PRIOR = _prior()
