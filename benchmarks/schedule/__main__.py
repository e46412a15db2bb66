"""Simulate polling schedules, and compare them with baselines and a lower bound.

    python -m benchmarks.schedule                     every policy, 1,000 and 10,000 tasks, 3 seeds
    python -m benchmarks.schedule --quick             1,000 tasks, one seed, under a minute
    python -m benchmarks.schedule --check             pass or fail for each target
    python -m benchmarks.schedule --sensitivity       each tuned constant halved and doubled
    python -m benchmarks.schedule --n 10000 --arrivals p200 --policies fixed,adaptive --seeds 5

What is measured: the mean delay, and the number of requests per reported end. The delay is the time
from the end of a task to the reply that reports this end.

How: a discrete-event simulation in virtual time runs the schedule classes of the client. Replies
take 50 to 250 ms, so they do not arrive in the order of the requests (see `simulation`).

The column "x bound" is the mean delay divided by a lower bound (`benchmarks.bound`). The bound
holds for every policy that cannot know in advance how long a task takes. The bound depends on the
shortest time between two checks, and includes the mean reply delay of 0.15 s. Only the policy
``clairvoyant`` knows each duration in advance. Any other policy can be below the bound only by
chance.

The option ``--arrivals`` says when tasks are created. With ``once``, all tasks are created at time
0. With ``p90``, checking every task every 15 s would use 90 % of the request budget. ``p30`` and
``p200`` stand for 30 % and 200 %. With ``d90``, one request per task would use 90 % of the budget.
The module `policies` describes the policies.

What is not measured: CPU time, sockets, failed requests and 429s. `benchmarks.polling`,
`benchmarks.agreement` and `benchmarks.cost` measure the real client.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from benchmarks.bound import mean_delay_bound
from benchmarks.schedule.check import check
from benchmarks.schedule.plots import draw_plots
from benchmarks.schedule.policies import BASELINES, SCHEDULES, floor_of, make_poller
from benchmarks.schedule.report import Row, make_row, table
from benchmarks.schedule.sensitivity import print_sensitivity
from benchmarks.schedule.sets import DURATIONS, draw_set
from benchmarks.schedule.simulation import MEAN_REPLY_DELAY, simulate

ARRIVALS = ("once", "p30", "p90", "p200", "d90")


def measure(where: tuple[int, str, str], policies: list[str], seeds: range) -> list[Row]:
    """Simulate each policy on the same sets of tasks. Print a table, and return the results.

    The table contains means over the seeds. The returned list contains one row for each policy and
    seed.

    Args:
        where: Number of tasks, arrivals, and name of the distribution of durations.
        policies: Names of the policies.
        seeds: Each seed gives one set of tasks.
    """
    n, arrivals, name = where
    durations = DURATIONS[name]
    rows: list[Row] = []
    for seed in seeds:
        tasks = draw_set(n, arrivals, durations, seed)
        bounds = {
            floor: mean_delay_bound(tasks.created, arrivals, durations, floor) + MEAN_REPLY_DELAY
            for floor in {floor_of(policy) for policy in policies}
        }
        for policy in policies:
            floor = floor_of(policy)
            run = simulate(tasks, make_poller(policy, tasks, durations, seed), floor=floor)
            if run.early:
                print(f"{policy}: {run.early} requests came sooner than after {floor:g} s")
            rows.append(make_row(where, policy, seed, run, bounds[floor]))
    print(table(rows, where), flush=True)
    return rows


def main() -> None:
    """Run the benchmark with the options of the command line, and print the results.

    With ``--json`` or ``--plots``, also write files.
    """
    known = [*BASELINES, *SCHEDULES]
    given = _parse(known)
    started = time.perf_counter()
    seeds = range(1, given.seeds + 1)
    if given.sensitivity:
        for n in given.n:
            print_sensitivity(n, seeds)
        sys.exit()
    policies: list[str] = given.policies or known
    rows: list[Row] = []

    def run(where: tuple[int, str, str], some: list[str]) -> list[Row]:
        new = measure(where, some, seeds)
        rows.extend(new)
        return new

    passed = True
    if given.check:
        passed = check(run, seeds)
    else:
        for n in given.n:
            for name in given.durations:
                for arrivals in given.arrivals:
                    run((n, arrivals, name), policies)
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1) + "\n")
    if given.plots:
        draw_plots(given.plots, policies, run)
    print(f"\n{time.perf_counter() - started:.0f} s")
    sys.exit(not passed)


def _parse(known: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.schedule")

    def listed(text: str) -> list[str]:
        return text.split(",")

    def sizes(text: str) -> list[int]:
        return [int(each) for each in text.split(",")]

    parser.add_argument("--n", type=sizes, default=None, help="numbers of tasks, comma-separated")
    parser.add_argument("--arrivals", type=listed, default=list(ARRIVALS), help="once, p90, d90")
    parser.add_argument("--durations", type=listed, default=list(DURATIONS), help=str([*DURATIONS]))
    parser.add_argument("--policies", type=listed, default=None, help=",".join(known))
    parser.add_argument("--seeds", type=int, default=None, help="sets of each kind (default: 3)")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--plots", type=Path, metavar="DIR")
    parser.add_argument(
        "--sensitivity", action="store_true", help="vary the tuned constants (see `sensitivity`)"
    )
    parser.add_argument("--quick", action="store_true", help="fewer tasks, one seed")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    given = parser.parse_args()
    if given.sensitivity:
        given.n = given.n or ([200] if given.quick else [1000])
    given.n = given.n or ([1000] if given.quick else [1000, 10_000])
    given.seeds = given.seeds or (1 if given.quick else 3)
    return given


if __name__ == "__main__":
    main()
