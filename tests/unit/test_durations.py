"""Tests of the learnt durations of jobs, and of the inspection plans that use these durations.

The *age* of a job is the time since its creation. For each age, the distribution function gives the
share of jobs that end before this age. An inspection plan determines the ages at which a running
job is checked.
"""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suno_async import ConfigurationError, Durations, PollPolicy, TaskInfo, TaskStatus
from suno_async._schedule.adaptive import AdaptiveSchedule
from suno_async._schedule.distribution import EDGES, LONGEST, DurationDistribution, bin_of
from suno_async._schedule.entry import Entry
from suno_async._schedule.inspection import InspectionPlan
from suno_async._schedule.tuning import Tuning

GRID = Tuning().grid_steps


def plan_for(
    distribution: DurationDistribution,
    *,
    floor: float = 15.0,
    horizon: float = 1200.0,
    price: float = 0.35,
    weight: float = 1.0,
) -> InspectionPlan:
    """Return an inspection plan. The default arguments match the default `PollPolicy`."""
    tuning = Tuning()
    return InspectionPlan(
        distribution,
        floor=floor,
        horizon=horizon,
        price=price,
        future_price=tuning.future_saving,
        weight=weight,
        steps=tuning.grid_steps,
        slope_steps=tuning.slope_steps,
    )


@given(age=st.floats(0, 10 * LONGEST))
def test_bin_holds_its_age(age: float) -> None:
    """`bin_of` returns the number of the bin (range of ages) that contains an age."""
    number = bin_of(age)
    assert EDGES[number] <= age + 1e-9 * age
    assert age < EDGES[number + 1] * (1 + 1e-9) or number == len(EDGES) - 2


@given(durations=st.lists(st.floats(0, 5000), max_size=200))
def test_it_is_a_distribution(durations: list[float]) -> None:
    """The learnt distribution function rises from 0 and stays below 1."""
    learner = Durations()
    for duration in durations:
        learner.ended("", 0.0, duration)
    distribution = learner.distribution("")
    shares = distribution.resampled(1.0, 1200)
    assert shares[0] == 0.0
    assert all(a < b < 1.0 for a, b in itertools.pairwise(shares[:400]))
    assert shares[77] == pytest.approx(distribution.finished_by(77.0))
    assert distribution.finished_by(distribution.quantile(0.5)) == pytest.approx(0.5)


#: Ages in seconds: any floats, but mostly ages that occur in practice and extreme values.
ages = st.one_of(
    st.just(0.0),
    st.floats(0, 2000),
    st.sampled_from([-1.0, 1e-300, 14_400.0, 1e6, 1e300, math.inf, math.nan]),
    st.floats(),
)
observations = st.lists(
    st.tuples(st.sampled_from(["ended", "running"]), ages, ages, st.sampled_from([1, 1, 500])),
    max_size=20,
)


@settings(max_examples=60)
@given(observed=observations, again=st.booleans(), median=st.floats(0.01, 1e5))
def test_no_observation_makes_an_end_certain(
    observed: list[tuple[str, float, float, int]], median: float, *, again: bool
) -> None:
    """For any observations, the distribution function stays below 1 and never decreases."""
    learner = Durations(median)
    for what, since, age, times in observed:
        for _ in range(times):
            if what == "ended":
                learner.ended("", since, age)
            else:
                learner.still_running("", since, age)
    if again:
        learner = Durations.from_json(learner.to_json())
    distribution = learner.distribution("")
    shares = [
        distribution.finished_by(age) for age in (-1.0, 0.0, *(1.3**n for n in range(-20, 2000)))
    ]
    assert all(0.0 <= a <= b < 1.0 for a, b in itertools.pairwise(shares))
    assert all(0.0 < distribution.quantile(share) < math.inf for share in (0.05, 0.5, 0.95))
    for horizon in (1200.0, 864_000.0):
        plan = plan_for(distribution, horizon=horizon)
        for since, age in itertools.product([-1.0, 0.0, 16.0, horizon - 1.0, 1e9], repeat=2):
            assert math.isfinite(plan.due(since)) or since >= horizon
            assert math.isfinite(plan.urgency(since, age))
            assert math.isfinite(plan.price(since, age))


def test_jobs_that_took_no_time() -> None:
    """After 500 jobs that took 0 s, a long job is still checked until its deadline (20 minutes)."""
    learner = Durations()
    for _ in range(500):
        learner.ended("", 0.0, 0.0)
    plan, asked = AdaptiveSchedule[Entry](PollPolicy(), learner), list[float]()
    plan.add(Entry("t", added_at=0.0, created_at=0.0), 0.0)
    while (due := plan.next_due()) is not None:
        if entry := plan.pop(due):
            asked.append(due)
            plan.defer(entry, due)
    assert asked[0] == pytest.approx(15.0)
    assert asked[-1] >= 1200.0
    assert all(b - a <= max(60.0, a) + 2.0 for a, b in itertools.pairwise(asked))


def test_tasks_that_run_for_days() -> None:
    """Jobs that still run after ten days do not change the learnt durations."""
    learner, taught = Durations(), Durations()
    for each in (learner, taught):
        for _ in range(100):
            each.ended("", 0.0, 80.0)
    for _ in range(1000):
        learner.still_running("", 800_000.0, 864_000.0)
    assert learner.distribution("").hazard == taught.distribution("").hazard


@pytest.mark.parametrize(
    ("duration_s", "create_at", "complete_at", "elapsed"),
    [
        (86.0, 1000.0, 1086.0, 86.0),
        (87.0, 1000.0, 1086.2, 87.0),
        (0.0, 1000.0, 1086.0, 86.0),
        (300.0, 1000.0, 1086.0, 86.0),
        (-5.0, 1000.0, 1086.0, 86.0),
        (math.nan, 1000.0, 1086.0, 86.0),
        (None, 1000.0, 1086.0, 86.0),
        (86.0, 1086.0, 1000.0, 86.0),
        (86.0, -1e308, 1e308, 86.0),
        (86.0, None, 1086.0, 86.0),
        (math.inf, 1000.0, None, None),
        (None, 1086.0, 1000.0, None),
        (-1.0, 1000.0, math.nan, None),
    ],
)
def test_elapsed(
    duration_s: float | None,
    create_at: float | None,
    complete_at: float | None,
    elapsed: float | None,
) -> None:
    """`TaskInfo.elapsed` ignores invalid values, and a duration that contradicts the timestamps."""
    info = TaskInfo(
        task_id="t",
        status=TaskStatus.SUCCESS,
        raw_status="success",
        duration_s=duration_s,
        create_at=create_at,
        complete_at=complete_at,
    )
    assert info.elapsed == elapsed


def test_prior_is_outweighed() -> None:
    """After 400 jobs with a median of 300 s, the learnt median moves from 90 s to about 300 s."""
    learner, draw = Durations(), random.Random(1)
    assert learner.distribution("").quantile(0.5) == pytest.approx(90.0, rel=0.1)
    for _ in range(400):
        learner.ended("", 0.0, 300.0 * draw.lognormvariate(0.0, 0.3))
    assert learner.distribution("").quantile(0.5) == pytest.approx(300.0, rel=0.07)
    assert learner.summary("").samples == 400


def test_censored_answers_count() -> None:
    """A job that still runs at a high age increases the learnt durations.

    The number of its checks does not matter.
    """
    ended_only, with_running, asked_often = Durations(), Durations(), Durations()
    for learner in (ended_only, with_running, asked_often):
        for n in range(100):
            learner.ended("", 0.0, 80.0 + n * 0.4)
    for _ in range(100):
        with_running.still_running("", 0.0, 150.0)
        for since in range(0, 150, 15):
            asked_often.still_running("", float(since), since + 15.0)
    assert ended_only.distribution("").finished_by(140.0) > 0.9
    assert with_running.distribution("").finished_by(140.0) == pytest.approx(0.5, abs=0.06)
    assert asked_often.distribution("").hazard == pytest.approx(
        with_running.distribution("").hazard, rel=1e-4
    )


def test_old_observations_fade() -> None:
    """The learnt median adapts when jobs become slower or faster."""
    learner = Durations()
    for _ in range(3000):
        learner.ended("", 0.0, 80.0)
    for _ in range(1000):
        learner.ended("", 0.0, 160.0)
    assert learner.distribution("").quantile(0.5) == pytest.approx(160.0, rel=0.05)
    for _ in range(40_000):  # enough ends to scale the weights back
        learner.ended("", 0.0, 40.0)
    assert learner.distribution("").quantile(0.5) == pytest.approx(40.0, rel=0.1)


def test_saved_and_loaded() -> None:
    """Learnt durations can be saved as JSON and loaded again."""
    learner, draw = Durations(), random.Random(2)
    for _ in range(1000):
        learner.ended("song", 0.0, draw.lognormvariate(4.5, 0.5))
        learner.still_running("video", 0.0, 40.0)
    data = learner.to_json()
    assert len(data) < 8_000
    again = Durations.from_json(data)
    assert again.kinds() == ["song", "video"]
    for kind in again.kinds():
        wanted = learner.distribution(kind).resampled(5.0, 200)
        assert again.distribution(kind).resampled(5.0, 200) == pytest.approx(wanted, abs=1e-3)
    for _ in range(3000):
        again.ended("song", 0.0, 20.0)
    assert again.distribution("song").quantile(0.5) == pytest.approx(20.0, rel=0.2)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b'{"median": 1, "kinds": {}, "bins": [1, 2, 3]}',
        b'{"median": 1, "kinds": {"song": {"samples": -1, "ends": [], "times": []}}}',
        b'{"median": 1, "kinds": {"\xff": {"samples": 1, "ends": [], "times": []}}}',
        '{"median": 1, "kinds": {"\ud800": {"samples": 1, "ends": [], "times": []}}}',
        pytest.param(b'{"x": ' + 100_000 * b"[", id="deeply nested"),
    ],
)
def test_loading_something_else(data: bytes | str) -> None:
    """`from_json` raises `ConfigurationError` for data that `to_json` did not return."""
    with pytest.raises(ConfigurationError, match="to_json"):
        Durations.from_json(data)


@pytest.mark.parametrize("median", [0.0, -1.0, math.inf, math.nan])
def test_prior_median_is_checked(median: float) -> None:
    """`Durations` refuses a median that is not a finite number above 0."""
    with pytest.raises(ConfigurationError, match="median"):
        Durations(median)


def random_distribution(draw: random.Random) -> DurationDistribution:
    """Return a distribution in which jobs end at a random rate in each bin (range of ages)."""
    return DurationDistribution(
        [draw.expovariate(100.0) * draw.choice((0.05, 1.0)) for _ in EDGES[1:]], 1
    )


@settings(max_examples=6)
@given(seed=st.integers(0, 10**6), price=st.floats(0.01, 50))
def test_due_solves_the_inspection_problem(seed: int, price: float) -> None:
    """`due` chooses the age of the next check so that the expected cost is minimal.

    The cost is the delay from the end of a job to the next check, plus `price` seconds per check.
    """
    distribution = random_distribution(random.Random(seed))
    floor = 45.0
    plan = plan_for(distribution, floor=floor, horizon=3600.0, price=price)
    step, apart = 3600.0 / GRID, 15
    finished = distribution.resampled(step, GRID)
    area = [0.0, *itertools.accumulate((a + b) / 2 * step for a, b in itertools.pairwise(finished))]
    cost = [0.0] * (GRID + 1)
    for n in range(GRID - 1, -1, -1):
        checks = [*range(n + apart, GRID - apart + 1), GRID]
        waits = {m: area[m] - area[n] - finished[n] * (m - n) * step + cost[m] for m in checks}
        cost[n] = min(waits.values()) + price * (1 - finished[n])
        chosen = round(plan.due(n * step) / step)
        assert waits[chosen] == pytest.approx(min(waits.values()), abs=1e-6)


def test_urgency_grows_with_the_wait() -> None:
    """The urgency of a job grows with its weight, and with the time since its last check."""
    learner = Durations()
    for n in range(1000):
        learner.ended("", 0.0, 60.0 + n % 61)
    distribution = learner.distribution("")
    bulk = plan_for(distribution)
    person = plan_for(distribution, weight=10.0)
    assert bulk.urgency(30.0, 100.0) > bulk.urgency(60.0, 100.0) > bulk.urgency(85.0, 100.0)
    assert person.urgency(30.0, 100.0) > 5 * bulk.urgency(30.0, 100.0)
    assert person.due(60.0) <= bulk.due(60.0)
    assert bulk.price(30.0, 100.0) > bulk.price(85.0, 100.0) > 0
