"""Stop ``suno-async poll`` with signals and resume it. Each id must be in the results exactly once.

``python -m benchmarks.kills.poll [--ids 10000] [--stops 9] [--seed 1]``

All tasks have ended before the command starts, so one status request for each id is enough. At 15
requests per second, 10,000 ids take about eleven minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from suno_async.sandbox import Sandbox

#: The signals that stop the command, one after the other, and the exit code that each must cause.
STOPS = ((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL))


async def main(count: int, stops: int, seed: int) -> dict[str, float]:
    """Run the benchmark. Return its figures by name.

    Raises:
        RuntimeError: An id is missing in the results or appears twice, or a stopped process has a
            wrong exit code.
    """
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with Sandbox(seed=seed, failure_share=0.1) as sandbox:
            ids = sandbox.add_tasks(count, created_ago=3600.0, durations=[60.0] * count)
            (folder / "ids.txt").write_text("".join(f"{each}\n" for each in ids))
            environment = os.environ | {
                "SUNO_API_KEY": sandbox.key,
                "SUNO_BASE_URL": sandbox.url,
            }
            started = time.monotonic()
            # The stops are spread over the first four fifths of the run.
            longest = 2 * 0.8 * count / 15.0 / max(1, stops)
            for number in range(stops):
                how, expected = STOPS[number % len(STOPS)]
                life = draw.uniform(1.0, max(1.5, longest))
                code = await _poll(folder, environment, how, life)
                if code != expected:
                    raise RuntimeError(f"{how.name}: exit code {code}, not {expected}")
            await _poll(folder, environment, signal.SIGINT, None)
            seconds = time.monotonic() - started
            requests = sandbox.statistics.requests
            worst = sandbox.statistics.worst_window
        rows = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    found = Counter(str(row["task_id"]) for row in rows)
    if found != Counter(ids):
        twice = sum(number > 1 for number in found.values())
        raise RuntimeError(f"{len(found)} of {count} ids are in the results, {twice} twice")
    return {
        "ids": count,
        "stops": stops,
        "requests": requests,
        "worst_second": worst,
        "seconds": seconds,
    }


async def _poll(
    folder: Path, environment: dict[str, str], how: signal.Signals, life: float | None
) -> int | None:
    """Run ``suno-async poll`` and return its exit code.

    Send the signal `how` after `life` seconds. If `life` is None, send no signal.
    """
    words = ("poll", "ids.txt", "--output", "out.jsonl", "--journal", "runs.db", "--resume", "-q")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "suno_async", *words), cwd=folder, env=environment
    )
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(life):
            return await process.wait()
    process.send_signal(how)
    return await process.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ids", type=int, default=10_000)
    parser.add_argument("--stops", type=int, default=9)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    for key, value in asyncio.run(main(given.ids, given.stops, given.seed)).items():
        print(f"{key:>14} {value:g}")
