"""Tests of `benchmarks.alternatives`: the random durations, the table and the report."""

from __future__ import annotations

import math
import statistics

import pytest

from benchmarks.alternatives import OURS, Result, Setting, draw, report, table


def result(contender: str, tasks: int, ended: int, mean_delay: float) -> Result:
    """Return a result in which `ended` tasks succeeded and all others failed with status 429."""
    return Result(
        tasks=tasks,
        contender=contender,
        ended=ended,
        died_of_429=tasks - ended,
        died_otherwise=0,
        answers_of_429=tasks - ended,
        mean_delay=mean_delay,
        p95_delay=2 * mean_delay,
        requests=12_345,
        worst_second=29,
        took=60.0,
    )


def test_table_has_a_row_for_each_result() -> None:
    """The table shows the figures of each result in one row."""
    rows = table([result("loop", 1000, 0, math.nan), result(OURS, 1000, 1000, 4.24)]).splitlines()
    assert len({row.count("|") for row in rows}) == 1
    assert rows[2] == "| 1,000 | loop | 0 | 1,000 | 1,000 | none | none | 12,345 | 29 |"
    assert rows[3] == f"| 1,000 | {OURS} | 1,000 | 0 | 0 | 4.2 s | 8.5 s | 12,345 | 29 |"


@pytest.mark.parametrize(("scale", "speed"), [(1.0, "in real time"), (6.0, "at time scale 6")])
def test_report_states_the_scale(scale: float, speed: str) -> None:
    """The report states the time scale and the command that repeats the benchmark."""
    text = " ".join(report([result(OURS, 150, 150, 1.0)], Setting(scale, 0.02, 7)).split())
    assert f"Measured {speed}" in text
    assert f"`python -m benchmarks.alternatives --tasks 150 --time-scale {scale:g}" in text
    assert "--jitter 0.02 --seed 7`" in text


def test_durations_depend_on_the_seed_only() -> None:
    """`draw` returns equal durations for equal seeds. The median duration is near 90 s."""
    assert draw(1000, 1) == draw(1000, 1)
    assert draw(1000, 1) != draw(1000, 2)
    assert statistics.median(draw(1000, 1)) == pytest.approx(90.0, rel=0.1)
