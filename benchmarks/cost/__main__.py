"""Measure what polling costs: CPU time per poll and per scheduling decision, memory, and stalls.

    python -m benchmarks.cost              all measurements, a few minutes
    python -m benchmarks.cost --quick      fewer tasks and rounds, under 20 s
    python -m benchmarks.cost --check      exit with 1 if a target is missed

A stall is a step that blocks the event loop.

How: the server runs in another process and answers at once with prepared replies. The client is an
ordinary `SunoClient`. To measure the CPU time per poll, the client's limiter is set to a million
requests per second. So each request passes every step of the limiter without waiting.

The figures with ``paced`` in their names are measured at the real rate of 15 requests per second,
with thousands of tasks to poll. These figures compare the client with a loop that sleeps, sends
a request and decodes the reply. They include the CPU time that the client uses between two
requests.

What it does not measure: TLS and networks, because all connections are local and unencrypted.
`benchmarks.polling` and `benchmarks.schedule` measure how late the client notices results.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import NamedTuple

from benchmarks.cost import pipelines, polls, scale
from benchmarks.cost.server import running_server

#: Largest allowed value of each figure.
TARGETS = {
    # A public trace hook of aiohttp reports that a request was sent. It costs 7 to 21 us a request.
    # Without it a create could be sent twice, so the cost is accepted.
    "cpu_of_aiohttp": 1.35,
    "cpu_of_httpx": 0.2,
    "cpu_with_journal": 1.1,
    "decision_growth": 3.0,
    "decision_growth_mean": 3.0,
    "decision_growth_mean_days": 3.0,
    "decision_growth_mean_days_endless": 3.0,
    "step_worst_ms": 20.0,
    "hold_ms_add": 20.0,
    "bytes_per_id_as_completed": 600.0,
    "bytes_per_id_results": 600.0,
    "bytes_per_id_answered_once": 600.0,
    "bytes_per_id_own_tasks": 600.0,
    # The client must keep nothing of a task that ended. The figure is 233 if the reference of the
    # task is never removed. Two runs over 2,000 and 4,000 inputs gave 41 and 56. With few inputs
    # the figure is noise.
    "bytes_per_ended_input": 100.0,
    # Asyncio tasks of the consumer, the dispatcher and the requests in flight, but not of the ids.
    "asyncio_tasks_as_completed": 20.0,
    "asyncio_tasks_results": 20.0,
    "asyncio_tasks_answered_once": 20.0,
    "asyncio_tasks_own_tasks": 20.0,
}


class _Size(NamedTuple):
    polled: int
    rounds: int
    decisions: tuple[int, ...]
    steps: int
    tracked: int
    tries: int
    seconds: float
    inputs: int


_FULL = _Size(2_000, 9, (1_000, 10_000, 100_000, 1_000_000), 20_000, 100_000, 5, 20.0, 5_000)
_QUICK = _Size(400, 3, (1_000, 10_000, 100_000), 4_000, 5_000, 2, 1.5, 500)


def measure(size: _Size, *, full: bool) -> dict[str, float]:
    """Run the measurements. Return the figures by name.

    If `full`, also measure the polls with 1 and with 20 requests in flight.
    """
    figures: dict[str, float] = {}
    with running_server() as base_url:
        figures |= polls.measure(base_url, size.polled, size.rounds)
        if full:
            for in_flight in (1, 20):
                found = polls.measure(base_url, size.polled, size.rounds, in_flight)
                figures |= {f"{name}_of_{in_flight}": value for name, value in found.items()}
        figures |= polls.with_journal(base_url, 4 * size.polled, size.rounds)
        figures |= asyncio.run(polls.paced(base_url, size.tracked, size.seconds))
        figures |= scale.decisions(size.decisions, size.steps)
        figures |= scale.holds(base_url, size.tracked, size.tries)
        figures |= scale.memory(base_url, size.tracked)
        figures |= pipelines.memory(base_url, size.inputs)
    return figures


def missed(figures: dict[str, float]) -> list[str]:
    """Return the names of the figures that exceed their limits in `TARGETS`."""
    return [name for name, most in TARGETS.items() if not figures[name] <= most]


def main() -> None:
    """Run the measurements, and print the figures with their targets.

    With ``--json``, also write the figures to a file. With ``--check``, exit with 1 if a target is
    missed.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cost")
    parser.add_argument("--quick", action="store_true", help="fewer tasks and rounds")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    given = parser.parse_args()
    figures = measure(_QUICK if given.quick else _FULL, full=not given.quick)
    wrong = missed(figures)
    for name, value in figures.items():
        most = TARGETS.get(name)
        target = "" if most is None else f"   at most {most:g}{': MISSED' * (name in wrong)}"
        print(f"{name:>36} {value:>12.3f}{target}")
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n")
    if given.check and wrong:
        sys.exit(f"missed: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
