"""Compare the real client with its simulation. Both poll the same tasks.

    python -m benchmarks.agreement                    2,000 tasks: about 18 minutes
    python -m benchmarks.agreement --tasks 200        a few minutes; less exact

What is measured: the delay of each task, in the client and in the simulation. The delay is the time
from the end of the task to the arrival of the reply that reports this end.

How: `benchmarks.schedule` draws the tasks, with log-normal durations and the load p200. At this
load, checking every task every 15 s would need twice the request budget. Each task is created on
the sandbox at its own time. A new `SunoClient`, which does not yet know how long tasks take, polls
the tasks. It works in real time over real sockets, with 15 requests a second. Reply times are drawn
from the same range as in the simulation.

What it does not show: failed requests, 429s, and the network delay before a request arrives. The
client and the simulation get different random reply times, and each runs only once. So, by chance,
their mean delays can differ by up to 10 %.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.schedule.policies import make_poller
from benchmarks.schedule.report import mean
from benchmarks.schedule.sets import LOG_NORMAL, draw_set
from benchmarks.schedule.simulation import REPLY_DELAY, quantile, simulate
from suno_async import SunoClient
from suno_async.sandbox import Faults, Sandbox

if TYPE_CHECKING:
    from benchmarks.schedule.sets import TaskSet

#: Largest allowed difference of the means, relative to the simulation.
TOLERANCE = 0.1


async def poll(tasks: TaskSet) -> tuple[list[float], int]:
    """Poll `tasks` with a real client.

    Return the delays of the tasks that ended, in seconds, and the number of status requests. A
    delay is the time from the end of a task until the client returns the result of the task.
    """
    delays: list[float] = []
    async with (
        Sandbox(seed=1, failure_share=0.0, faults=Faults(latency_out=REPLY_DELAY)) as sandbox,
        SunoClient(sandbox.key, base_url=sandbox.url) as suno,
    ):
        begun = time.monotonic()

        async def one(created: float, duration: float) -> None:
            await asyncio.sleep(begun + created - time.monotonic())
            now = time.time()
            (task_id,) = sandbox.add_tasks(1, durations=[duration])
            async for outcome in suno.as_completed([suno.task(task_id, created_at=now)]):
                outcome.result()
                delays.append(time.time() - (now + duration))

        polled = [
            asyncio.create_task(one(created, duration))
            for created, duration in zip(tasks.created, tasks.durations, strict=True)
        ]
        finite = [
            task
            for task, duration in zip(polled, tasks.durations, strict=True)
            if math.isfinite(duration)
        ]
        # The tasks that never finish are polled until all other tasks have ended.
        await asyncio.gather(*finite)
        requests = suno.statistics().polls
        for task in polled:
            task.cancel()
        await asyncio.gather(*polled, return_exceptions=True)
    return delays, requests


def main() -> None:
    """Run the simulation and the client, and print the delays of both.

    Exit with 1 if the client's mean delay differs from that of the simulation by more than the
    share `TOLERANCE`.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.agreement")
    parser.add_argument("--tasks", type=int, default=2000)
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args()
    tasks = draw_set(given.tasks, "p200", LOG_NORMAL, 1)
    simulated = simulate(tasks, make_poller("adaptive", tasks, LOG_NORMAL, 1))
    expected = list(simulated.delays.values())
    measured, requests = asyncio.run(poll(tasks))
    ratio = mean(measured) / mean(expected)
    figures = {
        "tasks": given.tasks,
        "mean_delay_simulated": mean(expected),
        "mean_delay_measured": mean(measured),
        "ratio": ratio,
        "p95_delay_simulated": quantile(expected, 0.95),
        "p95_delay_measured": quantile(measured, 0.95),
        "requests_measured": requests,
    }
    for name, value in figures.items():
        print(f"{name:>24} {value:>10.3f}")
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n")
    sys.exit(abs(ratio - 1) > TOLERANCE)


if __name__ == "__main__":
    main()
