"""Plots of the results of the schedule benchmark, as SVG files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib import pyplot  # noqa: ICN001 (plt is its untyped name below)

from benchmarks.schedule.policies import floor_of, make_poller
from benchmarks.schedule.report import Row, mean, pick
from benchmarks.schedule.report import figure as figure_of
from benchmarks.schedule.sets import LOG_NORMAL, draw_set
from benchmarks.schedule.simulation import simulate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

# Draw into files, not into windows.
mpl.use("Agg")
# The type stubs of matplotlib leave many types unknown.
plt: Any = pyplot

LOADS = (10, 30, 60, 90, 120, 160, 200, 250)
SIZE = 2000
BANDS = (30.0, 60.0, 120.0, 240.0)


def draw_plots(
    directory: Path,
    policies: Sequence[str],
    measure: Callable[[tuple[int, str, str], list[str]], list[Row]],
) -> None:
    """Draw three plots: mean delay by load, requests per task by load, and requests by task age."""
    directory.mkdir(parents=True, exist_ok=True)
    shown = [each for each in policies if each not in {"clairvoyant", "eager", "trained"}]
    rows: list[Row] = []
    for load in LOADS:
        rows += measure((SIZE, f"p{load}", LOG_NORMAL.name), shown)
    _against_load(directory / "delay.svg", rows, shown, "mean_delay", "mean delay, s")
    _against_load(
        directory / "requests.svg",
        rows,
        shown,
        "requests_per_finished",
        "requests per finished task",
    )
    _budget(directory / "budget.svg", shown)


def _against_load(
    file: Path,
    rows: Sequence[Row],
    policies: Sequence[str],
    column: str,
    label: str,
) -> None:
    figure, axes = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
    for policy in policies:
        axes.plot(LOADS, [_mean(rows, load, policy, column) for load in LOADS], "o-", label=policy)
    if column == "mean_delay":
        bounds = [_mean(rows, load, policies[0], "bound") for load in LOADS]
        axes.plot(LOADS, bounds, "k--", label="bound")
    axes.set(xlabel="load, % of what polling every 15 s can handle", ylabel=label, ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(file)
    plt.close(figure)


def _mean(rows: Sequence[Row], load: int, policy: str, column: str) -> float:
    where = (SIZE, f"p{load}", LOG_NORMAL.name)
    return mean(figure_of(row, column) for row in pick(rows, where, policy))


def _budget(file: Path, policies: Sequence[str]) -> None:
    """For each minute, draw the share of the requests that each age range of tasks received.

    Each policy has its own panel. Save the chart as `file`.
    """
    tasks = draw_set(SIZE, "p200", LOG_NORMAL, 1)
    figure, panels = plt.subplots(
        1,
        len(policies),
        figsize=(3.0 * len(policies), 3.4),
        sharey=True,
        layout="constrained",
        squeeze=False,
    )
    edges = (0.0, *BANDS)
    labels = [*(f"{a:g} to {b:g} s" for a, b in zip(edges, BANDS, strict=False)), "older"]
    for axes, policy in zip(panels[0], policies, strict=True):
        poller = make_poller(policy, tasks, LOG_NORMAL, 1)
        run = simulate(tasks, poller, floor=floor_of(policy), trace=True)
        minutes = int(tasks.created[-1] // 60) + 1
        counts = [[0] * minutes for _ in range(len(BANDS) + 1)]
        for at, age in run.asked:
            if at < 60 * minutes:
                counts[sum(age >= edge for edge in BANDS)][int(at // 60)] += 1
        totals = [max(1, sum(column)) for column in zip(*counts, strict=True)]
        shares = [[a / b for a, b in zip(row, totals, strict=True)] for row in counts]
        axes.stackplot(range(minutes), *shares, labels=labels)
        axes.set(title=policy, xlabel="minute", ylim=(0, 1))
    panels[0][0].set_ylabel("share of requests, by age of task")
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside right center")
    figure.savefig(file)
    plt.close(figure)
