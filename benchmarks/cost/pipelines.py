"""Measure how much memory a long pipeline uses.

The memory must not grow with the number of inputs.
"""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections import deque
from typing import TYPE_CHECKING

from benchmarks.cost.polls import FREE, client_at, reset
from suno_async import GenerateMusic, LocalLimiter, PollPolicy

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Number of inputs before memory is traced, and before it is measured for the first time. The
#: client remembers the last 1,000 ended tasks. At the first measurement, it already has that many.
#: After that, each newly ended task replaces the oldest one.
UNTRACED, EARLY = 200, 1_500

#: Maximum number of open tasks.
BOUND = 100

#: The default policy, a thousand times as fast and without a deadline.
FAST = PollPolicy(deadline=None).scaled(1_000)


def memory(base_url: str, count: int) -> dict[str, float]:
    """Return the growth of the client's memory, in bytes per ended task.

    A pipeline creates and polls `EARLY + count` tasks. The memory is measured when `EARLY` tasks
    have ended, and again when all but `BOUND` tasks have ended. Both times, `BOUND` tasks are open.
    """
    return {"bytes_per_ended_input": asyncio.run(_growth(base_url, count))}


async def _growth(base_url: str, count: int) -> float:
    await reset(base_url, 2)
    early = taken = 0
    try:
        async with client_at(base_url, _Limiter(), policy=FAST) as client:
            async for outcome in client.pipeline(_jobs(EARLY + count), max_pending=BOUND):
                outcome.result()
                taken += 1
                if taken == UNTRACED:
                    tracemalloc.start()
                elif taken == EARLY:
                    early = _used()
                elif taken == EARLY + count - BOUND:
                    # The same number of tasks is open as at the first measurement.
                    return (_used() - early) / (count - BOUND)
    finally:
        tracemalloc.stop()
    raise RuntimeError(f"the pipeline ended after {taken} inputs")


def _jobs(count: int) -> Iterator[GenerateMusic]:
    for number in range(count):
        yield GenerateMusic(prompt=f"song {number}", instrumental=True)


def _used() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


class _Limiter(LocalLimiter):
    """A limiter that stores only the time at which it allowed the latest request.

    At the very high rate `FREE`, a `LocalLimiter` would store the times of all requests, so its
    memory would grow with the number of inputs.
    """

    def __init__(self) -> None:
        super().__init__(FREE)
        self._recent = deque(maxlen=1)
