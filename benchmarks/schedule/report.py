"""Build rows and tables from the results of simulations."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, TypedDict

from benchmarks.schedule.simulation import quantile

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.schedule.simulation import Run


class Row(TypedDict):
    """The results of one policy on one set of tasks.

    With ``--json FILE``, the benchmark writes its rows to this file, as a JSON list.

    Times are in seconds. `n` is the number of tasks. `bound` is a lower bound of `mean_delay`. It
    does not hold for the policy ``clairvoyant``, which knows each duration in advance. `bound` and
    `mean_delay` include the reply delay. `makespan` is the time of the last request. `lost` is the
    number of finished tasks whose end the policy did not detect.
    """

    n: int
    arrivals: str
    durations: str
    policy: str
    seed: int
    mean_delay: float
    p50_delay: float
    p95_delay: float
    p99_delay: float
    requests: int
    requests_per_finished: float
    makespan: float
    lost: int
    bound: float


def make_row(where: tuple[int, str, str], policy: str, seed: int, run: Run, bound: float) -> Row:
    """Return the row with the results of one simulation.

    `where` contains the number of tasks, the name of their rate of arrival (such as ``p90``), and
    the name of the distribution of durations.
    """
    delays = sorted(run.delays.values())
    return Row(
        n=where[0],
        arrivals=where[1],
        durations=where[2],
        policy=policy,
        seed=seed,
        mean_delay=round(run.mean_delay, 4),
        p50_delay=round(quantile(delays, 0.50), 4),
        p95_delay=round(quantile(delays, 0.95), 4),
        p99_delay=round(quantile(delays, 0.99), 4),
        requests=run.requests,
        requests_per_finished=round(run.requests_per_finished, 4),
        makespan=round(run.makespan, 3),
        lost=run.lost,
        bound=round(bound, 4),
    )


def figure(row: Row, column: str) -> float:
    """Return the number in the column `column` of a row."""
    value = dict(row)[column]
    if not isinstance(value, int | float):
        raise TypeError(f"the column {column} does not contain numbers")
    return value


def mean(values: Iterable[float]) -> float:
    """Return the mean of the values; NaN if there are no values."""
    given = list(values)
    return statistics.fmean(given) if given else math.nan


def standard_error(values: Sequence[float]) -> float:
    """Return the standard error of the mean; NaN for fewer than two values."""
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan


def pick(rows: Iterable[Row], where: tuple[int, str, str], policy: str) -> list[Row]:
    """Return the rows of one policy for one kind of task set.

    `where` describes the task set: the number of tasks, the name of the arrivals (such as ``p90``),
    and the name of the distribution of durations.
    """
    return [
        row
        for row in rows
        if (row["n"], row["arrivals"], row["durations"]) == where and row["policy"] == policy
    ]


HEAD = (
    f"{'policy':<12}{'mean delay':>16}{'x bound':>9}{'p50':>8}{'p95':>8}{'p99':>8}"
    f"{'requests/finished':>19}{'makespan':>10}{'lost':>6}"
)


def table(rows: Sequence[Row], where: tuple[int, str, str]) -> str:
    """Return a table as text: one line for each policy, with means over the seeds.

    The column "lost" is a sum over the seeds. `where` selects the rows, as in `pick`.
    """
    n, arrivals, durations = where
    lines = ["", f"N = {n:,}, {arrivals}, {durations}", HEAD]
    for policy in dict.fromkeys(row["policy"] for row in rows):
        if not (of := pick(rows, where, policy)):
            continue
        delays = [row["mean_delay"] for row in of]
        error = standard_error(delays)
        shown = f"{mean(delays):.2f}" + ("" if math.isnan(error) else f" ± {error:.2f}")
        against = mean(delays) / mean(row["bound"] for row in of)
        lines.append(
            f"{policy:<12}{shown:>16}{against:>9.3f}"
            + "".join(
                f"{mean(values):>8.1f}"
                for values in (
                    [row["p50_delay"] for row in of],
                    [row["p95_delay"] for row in of],
                    [row["p99_delay"] for row in of],
                )
            )
            + f"{mean(row['requests_per_finished'] for row in of):>19.3f}"
            + f"{mean(row['makespan'] for row in of):>10.0f}"
            + f"{sum(row['lost'] for row in of):>6}"
        )
    return "\n".join(lines)
