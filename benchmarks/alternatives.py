"""Compare `SunoClient.as_completed` with two common ways to wait for many tasks.

    python -m benchmarks.alternatives --time-scale 1     real time: about half an hour
    python -m benchmarks.alternatives                    six times as fast: a few minutes
    python -m benchmarks.alternatives --quick            40 tasks, thirty times as fast

Three contenders wait for tasks with the same durations. They run one after another. Each has its
own sandbox: a local server that simulates the API. The contenders are:

- A loop per task. It sleeps 5 s, sends a request, and starts again until the task has ended. A
  refused request ends the loop with an error.
- The same loops, but all loops share one `AsyncLimiter(15, 1)`.
- `SunoClient.as_completed`.

All tasks are created at the start, and all loops start at that moment. Durations are log-normal
(median 90 s, sigma 0.5) and depend on the seed alone. Every task succeeds. The sandbox allows 15
requests in any period of one second, and answers every further request with 429. Requests take up
to `--jitter` seconds to arrive, and replies take 50 to 250 ms. A delay is the time from the end of
a task (by the sandbox's clock) until the contender knows its result.

`--time-scale` divides the durations, the sleep of 5 s and the client's polling intervals. It does
not change the limit of 15 requests per second. So the load grows with the scale, and figures of
different scales must not be compared.

What this does not show: a loop that catches the 429 and waits, a server that refuses less strictly,
or a request budget that is also used for creating tasks. The sandbox runs in the same event loop as
the contender, so the sandbox's CPU time is part of the delays.

Only a wait with a result has a delay. After most loops have failed, the remaining loops have the
whole request budget and check every 5 s. So their delays are shorter than those of `SunoClient`.
`SunoClient` waits at least 15 s between two checks of a task, as the vendor advises.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import json
import math
import os
import platform
import sys
import textwrap
import time
from http import HTTPStatus
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, NamedTuple

import aiohttp
from aiolimiter import AsyncLimiter

from benchmarks.schedule.report import mean
from benchmarks.schedule.sets import LOG_NORMAL
from benchmarks.schedule.simulation import REPLY_DELAY, quantile
from suno_async import PollPolicy, SunoClient
from suno_async.sandbox import Faults, Sandbox

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

#: Seconds that a loop sleeps before each request.
PAUSE = 5.0

SIZES = (150, 1000)
QUICK_SIZES = (40,)
TIME_SCALE = 6.0
QUICK_TIME_SCALE = 30.0

#: Longest time in seconds from sending a request to its arrival.
JITTER = 0.02

#: The contender that must get the result of every task.
OURS = "`SunoClient.as_completed`"


class Setting(NamedTuple):
    """The conditions that all contenders share.

    Attributes:
        time_scale: Factor by which durations and intervals are divided.
        jitter: Longest time in seconds from sending a request to its arrival.
        seed: Seed of the durations and of the sandbox.
    """

    time_scale: float
    jitter: float
    seed: int


class Ends:
    """How the waits of one contender ended: with a result, with a 429, or with a different error.

    A contender is one of the compared ways to wait for tasks. It waits for each task once.

    Attributes:
        delays: Seconds from the end of each task until the contender knew its result.
        refused: Number of waits that ended with a 429.
        broken: Number of waits that ended with an error other than a 429.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self.delays: list[float] = []
        self.refused = 0
        self.broken = 0

    def known(self, task_id: str) -> None:
        """Record the delay of a task: the time from its end until now."""
        self.delays.append(time.time() - self._sandbox.tasks[task_id].ends_at)

    def failed(self, error: BaseException) -> None:
        """Record that an error ended a wait."""
        refused = getattr(error, "status", None) == HTTPStatus.TOO_MANY_REQUESTS
        self.refused += refused
        self.broken += not refused


class Result(NamedTuple):
    """What was measured for one contender and one number of tasks.

    Delays are in seconds. They are NaN if `ended` is 0.
    """

    tasks: int
    contender: str
    ended: int
    died_of_429: int
    died_otherwise: int
    answers_of_429: int
    mean_delay: float
    p95_delay: float
    requests: int
    worst_second: int
    took: float


async def loop_per_task(sandbox: Sandbox, ids: Sequence[str], scale: float, ends: Ends) -> None:
    """Wait for the tasks with one polling loop per task."""
    await _loops(sandbox, ids, scale, ends, None)


async def loop_with_limiter(sandbox: Sandbox, ids: Sequence[str], scale: float, ends: Ends) -> None:
    """Wait with one polling loop per task. All loops share one `AsyncLimiter(15, 1)`."""
    await _loops(sandbox, ids, scale, ends, AsyncLimiter(15, 1))


async def _loops(
    sandbox: Sandbox,
    ids: Sequence[str],
    scale: float,
    ends: Ends,
    limiter: AbstractAsyncContextManager[None] | None,
) -> None:
    url = f"{sandbox.url}/api/v1/client/job/TaskInfo"
    async with aiohttp.ClientSession(headers={"x-api-key": sandbox.key}) as session:

        async def ask(task_id: str) -> str:
            async with session.get(url, params={"task_id": task_id}) as response:
                response.raise_for_status()
                reply = await response.json()
            return str(reply["data"]["status"])

        async def wait(task_id: str) -> None:
            status = "pending"
            while status not in {"success", "failed"}:
                await asyncio.sleep(PAUSE / scale)
                if limiter is None:
                    status = await ask(task_id)
                else:
                    async with limiter:
                        status = await ask(task_id)
            ends.known(task_id)

        for error in await asyncio.gather(*map(wait, ids), return_exceptions=True):
            if error is not None:
                ends.failed(error)


async def ours(sandbox: Sandbox, ids: Sequence[str], scale: float, ends: Ends) -> None:
    """Wait for the tasks with `SunoClient.as_completed`."""
    policy = PollPolicy().scaled(scale)
    async with SunoClient(sandbox.key, base_url=sandbox.url, policy=policy) as suno:
        handles = [suno.task(each, created_at=sandbox.tasks[each].created_at) for each in ids]
        async for outcome in suno.as_completed(handles):
            if outcome.error is None:
                ends.known(outcome.task_id)
            else:
                ends.failed(outcome.error)


CONTENDERS: dict[str, Callable[[Sandbox, Sequence[str], float, Ends], Awaitable[None]]] = {
    "a loop per task, every 5 s": loop_per_task,
    "the same behind `AsyncLimiter(15, 1)`": loop_with_limiter,
    OURS: ours,
}


def draw(tasks: int, seed: int) -> list[float]:
    """Return a random duration for each task, in seconds.

    The durations are not yet divided by the time scale.
    """
    random = Random(f"alternatives {seed}")
    return [LOG_NORMAL.draw(random) for _ in range(tasks)]


async def measure(contender: str, tasks: int, setting: Setting) -> Result:
    """Let one contender wait for `tasks` tasks on a new sandbox. Return the measurements."""
    faults = Faults(latency_in=(0.0, setting.jitter), latency_out=REPLY_DELAY)
    async with Sandbox(
        seed=setting.seed, failure_share=0.0, time_scale=setting.time_scale, faults=faults
    ) as sandbox:
        ends = Ends(sandbox)
        ids = sandbox.add_tasks(tasks, durations=draw(tasks, setting.seed))
        started = time.monotonic()
        await CONTENDERS[contender](sandbox, ids, setting.time_scale, ends)
        counted = sandbox.statistics
        return Result(
            tasks=tasks,
            contender=contender,
            ended=len(ends.delays),
            died_of_429=ends.refused,
            died_otherwise=ends.broken,
            answers_of_429=counted.rate_limited,
            mean_delay=mean(ends.delays),
            p95_delay=quantile(ends.delays, 0.95),
            requests=counted.requests,
            worst_second=counted.worst_window,
            took=time.monotonic() - started,
        )


def table(results: Sequence[Result]) -> str:
    """Return a Markdown table with a row for each result."""
    rows = [
        (
            *("tasks", "contender", "waits with a result", "waits that failed with a 429"),
            *("answers of 429", "mean delay", "p95 delay", "requests", "worst sliding second"),
        ),
        ("--:", ":--", *["--:"] * 7),
    ]
    rows += [
        (
            f"{each.tasks:,}",
            each.contender,
            f"{each.ended:,}",
            f"{each.died_of_429:,}",
            f"{each.answers_of_429:,}",
            _seconds(each.mean_delay),
            _seconds(each.p95_delay),
            f"{each.requests:,}",
            f"{each.worst_second}",
        )
        for each in results
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def report(results: Sequence[Result], setting: Setting) -> str:
    """Return the table of the results, with the command, the machine and the date below it."""
    scale = setting.time_scale
    speed = "in real time" if scale == 1 else f"at time scale {scale:g}, so the load is higher"
    sizes = " ".join(dict.fromkeys(str(each.tasks) for each in results))
    command = (
        f"python -m benchmarks.alternatives --tasks {sizes} --time-scale {scale:g} "
        f"--jitter {setting.jitter:g} --seed {setting.seed}"
    )
    today = dt.datetime.now(dt.UTC).date()
    machine = (
        f"CPython {platform.python_version()}, aiohttp {aiohttp.__version__}, "
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    )
    notes = (
        f"Measured {speed}, on {today}, with `{command}` ({machine}). All tasks are created at "
        "the start, and all loops start at that moment. Durations are log-normal with median 90 s "
        f"and sigma 0.5 (seed {setting.seed}). "
        f"Requests take up to {setting.jitter * 1000:g} ms to arrive, replies 50 to 250 ms. The "
        "sandbox allows 15 requests in any sliding second. Only waits with a result have a delay. "
        "The loops that did not fail check every 5 s. `SunoClient` waits at least 15 s between two "
        "checks of a task, as the vendor advises."
    )
    wrapped = textwrap.fill(notes, 100, break_long_words=False, break_on_hyphens=False)
    return f"{table(results)}\n\n{wrapped}\n"


def _seconds(value: float) -> str:
    return "none" if math.isnan(value) else f"{value:.1f} s"


def main() -> None:
    """Measure all contenders and print the report.

    Exit with 1 if `SunoClient` did not get every result, or if a polling loop failed with an error
    other than a 429. Many loops are expected to fail with a 429.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.alternatives")
    parser.add_argument("--tasks", type=int, nargs="+", help=f"numbers of tasks (default {SIZES})")
    parser.add_argument("--time-scale", type=float, help=f"default {TIME_SCALE:g}")
    parser.add_argument("--jitter", type=float, default=JITTER, help="default %(default)s s")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="few tasks, for CI")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the table to this file")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    given = parser.parse_args()
    usual = QUICK_TIME_SCALE if given.quick else TIME_SCALE
    setting = Setting(given.time_scale or usual, given.jitter, given.seed)
    results: list[Result] = []
    for tasks in given.tasks or (QUICK_SIZES if given.quick else SIZES):
        for contender in CONTENDERS:
            result = asyncio.run(measure(contender, tasks, setting))
            print(f"{tasks:,} tasks, {contender}: {result.took:.0f} s", file=sys.stderr, flush=True)
            results.append(result)
    text = report(results, setting)
    print(text)
    if given.output:
        given.output.parent.mkdir(parents=True, exist_ok=True)
        given.output.write_text(text)
    if given.json:
        given.json.write_text(json.dumps([each._asdict() for each in results], indent=1) + "\n")
    lost = [each for each in results if each.contender == OURS and each.ended < each.tasks]
    broken = [each for each in results if each.died_otherwise]
    for each in (*lost, *broken):
        print(f"lost or broken waits: {each}", file=sys.stderr)
    sys.exit(bool(lost or broken))


if __name__ == "__main__":
    main()
