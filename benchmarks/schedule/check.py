"""The targets that the adaptive schedule must reach in simulations.

Most targets limit a ratio. The numerator is a result of the adaptive schedule, such as its mean
delay. The denominator is the same result of another policy for the same tasks, or a lower bound of
the mean delay.

The delay of a task is the time from its end to the arrival of the reply that reports the end. In
every run, replies take 50 to 250 ms. The bound includes the mean time of one reply.

The bound assumes that the distribution of durations is known. So a schedule that is compared with
the bound is trained: it has learnt from 5,000 jobs. `check` prints a line for each target. Most
lines also show the result of an untrained schedule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from benchmarks.schedule import scenarios
from benchmarks.schedule.policies import make_poller
from benchmarks.schedule.report import Row, figure, mean, pick
from benchmarks.schedule.sets import EAGER_FLOOR, LOG_NORMAL, RATE, draw_set
from benchmarks.schedule.simulation import simulate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

#: The sets of the check, and the policies that run on each.
SETS: dict[tuple[int, str, str], tuple[str, ...]] = {
    (10_000, "p30", "log-normal"): ("fixed", "backoff", "adaptive", "trained", "eager"),
    (10_000, "p90", "log-normal"): ("fixed", "backoff", "adaptive", "trained", "eager"),
    (10_000, "p90", "two-humped"): ("fixed", "backoff", "adaptive", "trained"),
    (10_000, "p200", "log-normal"): ("fixed", "backoff", "adaptive", "trained"),
    (10_000, "p200", "two-humped"): ("fixed", "backoff", "adaptive", "trained"),
    (1000, "d90", "log-normal"): ("fixed", "backoff", "adaptive", "trained"),
    (1000, "d90", "two-humped"): ("fixed", "backoff", "adaptive", "trained"),
    (10_000, "once", "log-normal"): ("fixed", "backoff", "adaptive", "trained", "clairvoyant"),
    (10_000, "once", "two-humped"): ("fixed", "backoff", "adaptive", "trained", "clairvoyant"),
}


class Point(NamedTuple):
    """One target: `figure` must be at most `limit`.

    `cold` is the same figure for an untrained schedule; None if it was not measured.
    """

    number: int
    what: str
    figure: float
    limit: float
    cold: float | None = None

    @property
    def passed(self) -> bool:
        """Whether the figure is at most the limit; False if the figure is NaN."""
        return self.figure <= self.limit

    def __str__(self) -> str:
        verdict = "pass" if self.passed else "FAIL"
        cold = "" if self.cold is None else f"   untrained {self.cold:.4f}"
        return (
            f"{verdict}  {self.number}  {self.what:<62}{self.figure:>9.4f}"
            f"  (<= {self.limit:g}){cold}"
        )


def from_rows(rows: Sequence[Row]) -> Iterator[Point]:
    """Yield the targets that are calculated from `rows`, the results of policies on task sets."""
    for durations in ("log-normal", "two-humped"):
        plain = durations == "log-normal"
        p90, p200, d90, once = (
            _Ratios(rows, (n, arrivals, durations))
            for n, arrivals in ((10_000, "p90"), (10_000, "p200"), (1000, "d90"), (10_000, "once"))
        )
        yield p90.point(1, "bound", "mean_delay", 1.03)
        yield p90.point(1, "backoff", "mean_delay", 0.67)
        yield p90.point(1, "fixed", "mean_delay", 1.03)
        yield p90.point(1, "fixed", "requests_per_finished", 0.70)
        yield p200.point(2, "bound", "mean_delay", 1.05)
        yield p200.point(2, "fixed", "mean_delay", 0.65 if plain else 0.56)
        yield p200.point(2, "fixed", "requests_per_finished", 1.0)
        yield d90.point(3, "fixed", "mean_delay", 0.83 if plain else 0.58)
        yield once.point(4, "fixed", "requests_per_finished", 0.80)
        if plain:
            yield once.point(4, "bound", "mean_delay", 1.01)
            yield once.point(4, "clairvoyant", "makespan", 1.12)
            for arrivals, limit in (("p90", 1.06), ("p30", 1.4)):
                ratios = _Ratios(rows, (10_000, arrivals, durations))
                eager = ratios.ratio("mean_delay", "bound", "eager")
                yield Point(5, f"{arrivals} {durations}: eager / its bound", eager, limit)


def from_scenarios(seeds: range) -> Iterator[Point]:
    """Run the special cases of the module `scenarios`. Yield a `Point` for each target."""
    yield Point(5, "p90 log-normal: eager, most requests in a second", _busiest("eager"), RATE)
    met = scenarios.interactive("adaptive")
    late = scenarios.interactive_p95(met)
    yield Point(6, "an interactive task among 10,000: p95 of its delay, s", late, 20.0)
    yield Point(6, "the same: growth of the bulk's mean delay", met.growth, 0.01)
    for median in (300.0, 20.0):
        ratio = scenarios.untaught("adaptive", LOG_NORMAL.scaled(median / 90.0), seeds)
        yield Point(7, f"true median {median:g} s: mean delay / distribution known", ratio, 1.1)
    ratio = scenarios.doubled("adaptive", seeds)
    yield Point(7, "durations double mid-run: mean delay / known", ratio, 1.1)
    ratio = scenarios.two_kinds("adaptive", seeds)
    yield Point(7, "two kinds, 30 s and 240 s: mean delay / known", ratio, 1.1)


def check(measure: Callable[[tuple[int, str, str], list[str]], list[Row]], seeds: range) -> bool:
    """Run all simulations, and print a line for each target. Return whether all targets are met.

    `measure` simulates policies on sets of tasks, and returns the results.
    """
    rows: list[Row] = []
    for where, policies in SETS.items():
        rows += measure(where, list(policies))
    passed = True
    for points in (from_rows(rows), from_scenarios(seeds)):
        for point in points:
            print(point, flush=True)
            passed &= point.passed
    return passed


class _Ratios:
    """Compares the results of policies on one kind of task set.

    A result is the mean over all seeds.
    """

    def __init__(self, rows: Sequence[Row], where: tuple[int, str, str]) -> None:
        self._rows, self._where = rows, where

    def ratio(self, column: str, other: str, policy: str) -> float:
        """Return the mean of `column` for `policy`, divided by the mean for `other`.

        If `other` is ``"bound"``, divide by the lower bound of the mean delay instead.
        """
        own = pick(self._rows, self._where, policy)
        if other == "bound":
            against = mean(row["bound"] for row in own)
        else:
            against = mean(figure(row, column) for row in pick(self._rows, self._where, other))
        return mean(figure(row, column) for row in own) / against

    def point(self, number: int, other: str, column: str, limit: float) -> Point:
        """Return a target of the trained schedule: a ratio must be at most `limit`.

        The numerator is the mean of `column` for the trained schedule. The denominator is the mean
        for `other`, which is a policy or ``"bound"``. The target belongs to the group `number`.
        """
        _, arrivals, durations = self._where
        what = f"{arrivals} {durations}: {column.replace('_', ' ')} / {other}"
        taught, cold = (self.ratio(column, other, each) for each in ("trained", "adaptive"))
        return Point(number, what, taught, limit, cold)


def _busiest(policy: str) -> float:
    """Return the largest number of requests within any second of one simulated run."""
    tasks = draw_set(10_000, "p90", LOG_NORMAL, 1)
    poller = make_poller(policy, tasks, LOG_NORMAL, 1)
    times = [at for at, _ in simulate(tasks, poller, floor=EAGER_FLOOR, trace=True).asked]
    most, oldest = 0, 0
    for newest, at in enumerate(times):
        # Sums of fifteenths of a second have rounding errors.
        while at - times[oldest] >= 1 - 1e-6:
            oldest += 1
        most = max(most, newest - oldest + 1)
    return float(most)
