"""Poll thousands of tasks of a sandbox with the real client over real sockets.

    python -m benchmarks.polling                          5,000 tasks for 300 s, as in the README
    python -m benchmarks.polling --tasks 60 --seconds 8   a smoke run

What is measured: delays, requests, 429s, the most requests in any period of one second, CPU, memory
and the longest stall of the event loop. A delay runs from the end of a task, by the sandbox's
clock, to the moment when the client returns the outcome. So a delay includes the time that
the reply takes.

How: the tasks all exist at the start, and the client polls them in real time. Replies take 50 to
250 ms, so a later request may be answered first. During the run one more task is created and
awaited. Two figures show how long the creation of this task takes, and how long the task then waits
for its first check.

What it does not show: the cost of TLS, and the cost of the client alone. The sandbox runs in the
same event loop as the client; `benchmarks.cost` measures the client alone.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import resource
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.schedule.simulation import REPLY_DELAY
from suno_async import GenerateMusic, PollPolicy, SunoClient
from suno_async.sandbox import Faults, Sandbox

if TYPE_CHECKING:
    from collections.abc import Sequence


async def measure(
    tasks: int,
    seconds: float,
    jitter: float,
    time_scale: float,
    reply_delay: tuple[float, float] = REPLY_DELAY,
) -> dict[str, float | int]:
    """Poll `tasks` tasks for `seconds` seconds. Return the measured numbers by name."""
    policy = PollPolicy().scaled(time_scale)
    faults = Faults(latency_in=(0.0, jitter), latency_out=reply_delay)
    async with (
        Sandbox(seed=1, endless_share=0.03, time_scale=time_scale, faults=faults) as sandbox,
        SunoClient(sandbox.key, base_url=sandbox.url, policy=policy) as suno,
    ):
        ids = sandbox.add_tasks(tasks)
        watch = _Watch()
        memory, cpu, started = _memory(), time.process_time(), time.monotonic()
        async with asyncio.TaskGroup() as group:
            stalls = group.create_task(watch.run())
            probe = group.create_task(_probe(suno, sandbox, policy, seconds * 0.4))
            delays, wrong, seen = await _drain(suno, sandbox, ids, seconds)
            spent, used = time.monotonic() - started, time.process_time() - cpu
            numbers, counted = suno.statistics(), sandbox.statistics
            probe_figures = await probe
            stalls.cancel()
        return {
            "tasks": tasks,
            "seconds": round(spent, 1),
            "ended": len(seen),
            "delivered_twice": len(delays) - len(seen),
            "wrong_outcomes": wrong,
            "requests": counted.requests,
            "requests_per_second": round(counted.requests / spent, 2),
            "requests_per_finished": round(numbers.polls / max(1, len(seen)), 3),
            "worst_window": counted.worst_window,
            "answers_of_429": counted.rate_limited,
            **_percentiles(delays),
            "cpu_share": round(used / spent, 3),
            "memory_bytes_per_task": round((_memory() - memory) / tasks),
            "longest_stall_ms": round(watch.longest * 1000, 1),
            "most_asyncio_tasks": watch.most_tasks,
            **probe_figures,
        }


async def _drain(
    suno: SunoClient, sandbox: Sandbox, ids: list[str], seconds: float
) -> tuple[list[float], int, set[str]]:
    delays: list[float] = []
    wrong = 0
    seen = set[str]()
    async for outcome in suno.as_completed(ids, timeout=seconds):
        if outcome.info is None or not outcome.info.status.terminal:
            continue
        job = sandbox.tasks[outcome.task_id]
        wrong += outcome.ok == job.fails
        seen.add(outcome.task_id)
        delays.append(time.time() - job.ends_at)
    return delays, wrong, seen


async def _probe(
    suno: SunoClient, sandbox: Sandbox, policy: PollPolicy, after: float
) -> dict[str, float]:
    await asyncio.sleep(after)
    asked = time.monotonic()
    task = await suno.create(GenerateMusic(prompt="a probe among thousands"))
    created = time.monotonic()
    with contextlib.suppress(TimeoutError):
        await task.result(timeout=4 * policy.interval)
    polls = sandbox.tasks[task.id].polls
    return {
        "create_took_ms": round((created - asked) * 1000, 1),
        # At least one interval. The schedule waits longer if few jobs of this kind end so early.
        "await_first_check_s": round(polls[0] - created, 2) if polls else math.inf,
    }


class _Watch:
    """Records the longest stall of the event loop, and the highest number of asyncio tasks."""

    def __init__(self) -> None:
        self.longest = 0.0
        self.most_tasks = 0

    async def run(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            while True:
                before = time.monotonic()
                await asyncio.sleep(0.005)
                self.longest = max(self.longest, time.monotonic() - before - 0.005)
                self.most_tasks = max(self.most_tasks, len(asyncio.all_tasks()))


def _percentiles(delays: Sequence[float]) -> dict[str, float]:
    if len(delays) < 2:
        return {}
    cuts = statistics.quantiles(delays, n=100)
    shown = {f"delay_p{p}_s": round(cuts[p - 1], 2) for p in (50, 95, 99)}
    return {"delay_mean_s": round(statistics.fmean(delays), 2)} | shown


def _memory() -> int:
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Measure and print the figures. With `--json`, also write them to a file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.polling")
    parser.add_argument("--tasks", type=int, default=5000)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument(
        "--jitter",
        type=float,
        default=0.0,
        help="longest time in seconds from sending a request to its arrival",
    )
    parser.add_argument(
        "--reply-delay",
        type=float,
        nargs=2,
        default=REPLY_DELAY,
        metavar=("LEAST", "MOST"),
        help="shortest and longest time of a reply in seconds (default: %(default)s)",
    )
    parser.add_argument("--time-scale", type=float, default=1.0)
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args()
    figures: dict[str, Any] = asyncio.run(
        measure(
            given.tasks,
            given.seconds,
            given.jitter,
            given.time_scale,
            (given.reply_delay[0], given.reply_delay[1]),
        )
    )
    for name, value in figures.items():
        print(f"{name:>24}  {value}")
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
