"""Tests of `benchmarks.schedule`: the simulation, the bound and the command line.

A *policy* decides which task is checked next. A *delay* is the time from the end of a task to the
reply that reports this end. If a policy does not know when tasks will end, its mean delay is
expected to be at least the *bound*. The *floor* is the shortest allowed time between two checks of
the same task. A *fixed poller* checks every task every 15 s.

The *budget* is 15 requests per second. *Arrivals* describe when the tasks are created. With
``once``, all tasks are created at time 0. With ``p90``, tasks arrive at the rate at which a fixed
poller uses 90 % of the budget. With ``d90``, tasks arrive at the rate at which one request per
task uses 90 % of the budget.
"""

from __future__ import annotations

import json
import math
import sys
from itertools import combinations, pairwise
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("numpy")
pytest.importorskip("scipy")
pytest.importorskip("matplotlib")

import numpy as np

from benchmarks.bound import mean_delay_bound
from benchmarks.bound.inspection import Inspection
from benchmarks.schedule.__main__ import main
from benchmarks.schedule.check import Point, from_rows
from benchmarks.schedule.policies import Timers, make_poller
from benchmarks.schedule.report import Row, mean, standard_error
from benchmarks.schedule.sensitivity import Figures, changes, print_sensitivity
from benchmarks.schedule.sets import (
    DEADLINE,
    DURATIONS,
    ENDLESS,
    LOG_NORMAL,
    RATE,
    Durations,
    TaskSet,
    arrival_rate,
    draw_set,
    fixed_requests,
)
from benchmarks.schedule.simulation import (
    AT_ONCE,
    MEAN_REPLY_DELAY,
    REPLY_DELAY,
    Run,
    simulate,
)

if TYPE_CHECKING:
    from pathlib import Path

POLICIES = ("fixed", "backoff", "edf", "adaptive", "trained")


def run(
    policy: str,
    tasks: TaskSet,
    durations: Durations = LOG_NORMAL,
    reply_delay: tuple[float, float] = REPLY_DELAY,
) -> Run:
    """Simulate `policy` on `tasks`. Return the result, with the times of all requests."""
    poller = make_poller(policy, tasks, durations, 1)
    return simulate(tasks, poller, trace=True, reply_delay=reply_delay)


def test_fixed_poller_by_hand() -> None:
    """A task ends after 20 s. The fixed poller checks it after 15 s and 30 s: the delay is 10 s."""
    seen = run("fixed", TaskSet([0.0, 5.0], [20.0, math.inf]), reply_delay=AT_ONCE)
    assert seen.delays == {0: 10.0}
    assert seen.requests == 2 + 80
    assert seen.asked[-1] == (5.0 + DEADLINE, DEADLINE)
    assert seen.makespan == 5.0 + DEADLINE
    assert (seen.lost, seen.early) == (0, 0)


class Listener(Timers):
    """A policy that checks each task every 15 s, and records how long the replies take."""

    def __init__(self, tasks: TaskSet) -> None:
        super().__init__(tasks, lambda _: 15.0)
        self.asked = dict[int, float]()
        self.heard: list[tuple[int, float]] = []

    def pop(self, now: float) -> int | None:
        """Return the task to check now, if any, and record the time of this check."""
        if (task := super().pop(now)) is not None:
            self.asked[task] = now
        return task

    def ended(self, task: int, now: float, duration: float) -> None:
        """Record how long the reply for `task` took."""
        del duration
        self.heard.append((task, now - self.asked[task]))


def test_replies_overtake_each_other() -> None:
    """`simulate` delays replies by 50 to 250 ms, so many replies arrive out of order."""
    tasks = TaskSet([0.0] * 1000, [1.0] * 1000)
    listener = Listener(tasks)
    assert simulate(tasks, listener).requests == 1000
    waits = [wait for _, wait in listener.heard]
    assert 0.05 - 1e-9 <= min(waits) < 0.06
    assert 0.24 < max(waits) <= 0.25 + 1e-9
    assert mean(waits) == pytest.approx(MEAN_REPLY_DELAY, rel=0.05)
    order = [task for task, _ in listener.heard]
    assert sorted(order) == list(range(1000))
    assert sum(a > b for a, b in pairwise(order)) > 200


@pytest.mark.parametrize("arrivals", ["once", "p200"])
def test_slow_replies_add_little_delay(arrivals: str) -> None:
    """If replies take time, the mean delay grows by at most 1.1 times the mean time of a reply."""
    # The difference varies by 0.04 s between sets.
    sets = [draw_set(1000, arrivals, LOG_NORMAL, seed) for seed in range(1, 5)]
    at_once = mean(run("trained", each, reply_delay=AT_ONCE).mean_delay for each in sets)
    delayed = mean(run("trained", each).mean_delay for each in sets)
    assert delayed <= at_once + 1.1 * MEAN_REPLY_DELAY


@pytest.mark.parametrize("policy", [*POLICIES, "clairvoyant"])
def test_budget_and_floor(policy: str) -> None:
    """Each policy sends at most 15 requests per second, and detects the end of each finished task.

    No task is checked again before the shortest allowed time (the floor) has passed.
    """
    seen = run(policy, draw_set(300, "once", LOG_NORMAL, 1))
    assert all(b - a >= 1 / RATE - 1e-9 for (a, _), (b, _) in pairwise(seen.asked))
    assert (seen.early, seen.lost) == (0, 0)


def test_clairvoyant_asks_once() -> None:
    """The policy ``clairvoyant`` knows when each task ends, so it sends one request per task."""
    tasks = draw_set(300, "p30", LOG_NORMAL, 1)
    seen = run("clairvoyant", tasks)
    assert seen.requests == len(tasks)
    assert seen.mean_delay == pytest.approx(MEAN_REPLY_DELAY, rel=0.02)


@pytest.mark.parametrize("durations", DURATIONS.values(), ids=list(DURATIONS))
def test_load_means_what_it_says(durations: Durations) -> None:
    """With ``p30``, checking every task every 15 s uses 30 % of the request budget.

    This is calculated with `fixed_requests`, which agrees with the simulation of the fixed poller.
    """
    runs = [run("fixed", draw_set(2000, "p30", durations, seed)) for seed in range(1, 5)]
    measured = mean(each.requests / 2000 for each in runs)
    assert measured == pytest.approx(fixed_requests(durations), rel=0.03)
    assert arrival_rate("p30", durations) * fixed_requests(durations) == pytest.approx(0.3 * RATE)


def test_same_seed_same_set() -> None:
    """`draw_set` returns equal tasks for equal arguments."""
    one, again, other = (
        draw_set(50, *each) for each in (("p90", LOG_NORMAL, 1),) * 2 + (("once", LOG_NORMAL, 1),)
    )
    assert one == again
    assert one.durations == other.durations
    assert draw_set(50, "p90", LOG_NORMAL, 2).durations != one.durations


def test_arrivals_that_do_not_exist() -> None:
    """`arrival_rate` accepts only ``once``, ``p<percent>`` and ``d<percent>``, with 1 % or more."""
    for wrong in ("p", "x90", "p0", "twice"):
        with pytest.raises(ValueError, match="arrivals are once"):
            arrival_rate(wrong, LOG_NORMAL)


@pytest.mark.parametrize("price", [0.0, 3.0, 40.0, 400.0])
def test_inspection_is_the_best_of_all_plans(price: float) -> None:
    """`Inspection` computes the same lowest cost as a search through all possible plans."""
    step, durations = 150.0, Durations("slow", ((1.0, 400.0, 0.5),))
    inspection = Inspection(durations, 2 * step, step)
    last = round(DEADLINE / step)
    value = inspection.values(np.full((1, last + 1), price))[0]

    def cost(plan: tuple[int, ...]) -> float:
        total = 0.0
        for s, t in pairwise((0, *plan)):
            ages = np.linspace(s * step, t * step, 2001)
            gained = [durations.cdf(age) - durations.cdf(s * step) for age in ages]
            total += (1 - ENDLESS) * float(np.trapezoid(gained, ages))
            total += price * (1 - (1 - ENDLESS) * durations.cdf(s * step))
        return total

    plans = [
        (*early, last)
        for count in range(last)
        for early in combinations(range(1, last), count)
        if all(b - a >= 2 for a, b in pairwise((0, *early, last)))
    ]
    assert value == pytest.approx(min(map(cost, plans)), rel=0.01)


def test_finer_grid_moves_the_inspection_little() -> None:
    """A smaller time step hardly changes the cost that `Inspection` computes."""
    for price in (0.5, 2.0, 10.0):
        coarse, fine = (
            Inspection(LOG_NORMAL, 15.0, step).values(
                np.full((1, round(DEADLINE / step) + 1), price)
            )[0]
            for step in (1.0, 0.5)
        )
        assert fine == pytest.approx(coarse, rel=1e-3)


# `python -m benchmarks.schedule --check` compares all combinations, with many more tasks.
@pytest.mark.parametrize(
    ("arrivals", "kind"),
    [("once", "two-humped"), ("p90", "log-normal"), ("d90", "log-normal")],
)
def test_no_policy_beats_the_bound(arrivals: str, kind: str) -> None:
    """No policy in `POLICIES` has a mean delay more than three standard errors below the bound."""
    durations = DURATIONS[kind]
    sets = [draw_set(80, arrivals, durations, seed) for seed in range(1, 9)]
    bounds = [
        mean_delay_bound(tasks.created, arrivals, durations) + MEAN_REPLY_DELAY for tasks in sets
    ]
    for policy in POLICIES:
        delays = [run(policy, tasks, durations).mean_delay for tasks in sets]
        above = [a - b for a, b in zip(delays, bounds, strict=True)]
        assert mean(above) > -3 * standard_error(above), policy


def test_bound_is_met_where_requests_are_free() -> None:
    """With a low load, the mean delay of the fixed poller is near the bound."""
    sets = [draw_set(2000, "p30", LOG_NORMAL, seed) for seed in range(1, 5)]
    delays = [run("fixed", tasks, reply_delay=AT_ONCE).mean_delay for tasks in sets]
    bounds = [mean_delay_bound(tasks.created, "p30", LOG_NORMAL) for tasks in sets]
    assert mean(delays) == pytest.approx(mean(bounds), rel=0.02)


def test_bound_knows_scarcity() -> None:
    """`mean_delay_bound` is higher for faster arrivals, and for a longer `floor`."""
    slow = mean_delay_bound(draw_set(300, "p90", LOG_NORMAL, 1).created, "p90", LOG_NORMAL)
    created = draw_set(300, "d90", LOG_NORMAL, 1).created
    fast = mean_delay_bound(created, "d90", LOG_NORMAL)
    assert 7.4 < slow < 0.96 * fast
    assert 0 < mean_delay_bound(created, "d90", LOG_NORMAL, 10.0) < 0.9 * fast


def row(policy: str, n: int, arrivals: str, durations: str, mean_delay: float) -> Row:
    """Return a row with the given values and a bound of 10 s."""
    return Row(
        n=n,
        arrivals=arrivals,
        durations=durations,
        policy=policy,
        seed=1,
        mean_delay=mean_delay,
        p50_delay=1.0,
        p95_delay=1.0,
        p99_delay=1.0,
        requests=10,
        requests_per_finished=1.0,
        makespan=1.0,
        lost=0,
        bound=10.0,
    )


def test_check_compares_like_with_like() -> None:
    """`from_rows` compares two results only if both were measured with the same tasks."""
    rows = [
        row("trained", 10_000, "p90", "log-normal", 10.2),
        row("fixed", 10_000, "p90", "log-normal", 20.4),
        row("trained", 10_000, "p90", "two-humped", 99.0),
    ]
    points = {point.what: point for point in from_rows(rows)}
    assert points["p90 log-normal: mean delay / bound"].figure == pytest.approx(1.02)
    assert points["p90 log-normal: mean delay / bound"].passed
    assert points["p90 log-normal: mean delay / fixed"].figure == pytest.approx(0.5)
    assert not points["p90 two-humped: mean delay / bound"].passed
    assert not points["p90 log-normal: mean delay / backoff"].passed
    assert not Point(1, "not measured", math.nan, 1.0).passed


def test_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``python -m benchmarks.schedule`` prints a table and writes all results to a JSON file."""
    file = tmp_path / "rows.json"
    arguments = "--n 60 --arrivals p90 --durations log-normal --policies fixed,edf --seeds 2"
    monkeypatch.setattr(sys, "argv", ["schedule", *arguments.split(), "--json", str(file)])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 0
    rows = json.loads(file.read_text())
    assert [(each["policy"], each["seed"]) for each in rows] == [
        ("fixed", 1),
        ("edf", 1),
        ("fixed", 2),
        ("edf", 2),
    ]
    assert all(set(each) == set(Row.__annotations__) for each in rows)
    assert "x bound" in capsys.readouterr().out


def test_sensitivity_marks_only_what_exceeds_the_noise() -> None:
    """`changes` adds a star to a difference only if it exceeds two standard errors."""
    before = [Figures(10.0, 5.0), Figures(20.0, 5.0), Figures(30.0, 5.0)]
    clear = [Figures(11.0, 5.0), Figures(22.2, 5.0), Figures(32.7, 5.0)]
    assert changes(before, clear) == ["+10.0 %*", "= "]
    noisy = [Figures(11.0, 5.0), Figures(17.0, 6.0), Figures(33.0, 5.0)]
    assert changes(before, noisy) == ["+1.7 % ", "+6.7 % "]
    assert changes(before[:1], clear[:1]) == ["+10.0 % ", "= "]


def test_sensitivity_varies_each_constant(capsys: pytest.CaptureFixture[str]) -> None:
    """`print_sensitivity` prints how the results change if a constant is halved or doubled."""
    print_sensitivity(60, range(1, 2), ("cohort_span", "price_span"))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [(line[0], float(line[1])) for line in lines[-4:]] == [
        ("cohort_span", 1.0),
        ("cohort_span", 4.0),
        ("price_span", 25.0),
        ("price_span", 100.0),
    ]
    assert any(cell != "=" for cell in lines[-3][2:])
    # The reported price influences no decision.
    assert lines[-1][2:] == ["="] * 8
