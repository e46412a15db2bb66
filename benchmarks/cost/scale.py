"""Measure the load of very many tasks: CPU time, memory, and pauses of the event loop.

The CPU time is per decision. In a decision, the schedule chooses the next task to poll.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import heapq
import random
import statistics
import time
import tracemalloc
from typing import TYPE_CHECKING, Any

from benchmarks.cost.polls import FREE, client_at, new_ids, reset, until
from benchmarks.schedule.simulation import REPLY_DELAY
from suno_async import Durations, PollPolicy
from suno_async._schedule.adaptive import AdaptiveSchedule
from suno_async._schedule.entry import Entry
from suno_async.limits import LocalLimiter

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Sequence

    from suno_async import SunoClient

    Wait = Callable[[SunoClient, list[str]], Coroutine[Any, Any, object]]

#: Seconds of virtual time between two decisions: the request rate of an account.
SLOT = 1 / 15

#: Probability that a checked task has ended. A new task then takes its place.
ENDED = 0.2

_draw = random.Random(2)

#: A policy without a second check, for measuring memory.
ONCE = PollPolicy(interval=3600.0, max_interval=3600.0, deadline=None)


#: Greatest age of the tasks at the start, in seconds.
YOUNG = 600.0
DAYS = 10 * 86_400.0

#: How many times each measurement is repeated.
TRIES = 2

#: Greatest age and policy of each kind of run, by the suffix of its figures.
SETTINGS = {
    "": (YOUNG, PollPolicy()),
    "_days": (DAYS, PollPolicy()),
    "_days_endless": (DAYS, PollPolicy(deadline=None)),
}


def decisions(sizes: Sequence[int], steps: int) -> dict[str, float]:
    """Return the CPU time per decision, its growth with the number of tasks, and the longest step.

    In a decision, the schedule chooses the next task to check. A *step* is a decision, or the
    addition of one task at the start. The names of the figures contain their units.

    Young tasks are up to ten minutes old. They are measured with each number of tasks in `sizes`.
    Old tasks are up to ten days old. They are measured only with `sizes[-1]` tasks. The growth is
    the time per decision with `sizes[-1]` tasks (young or old), divided by the time per decision
    with `sizes[0]` young tasks.

    Each measurement is repeated with the same work. The lowest value counts, because other
    processes can only make a time longer.
    """
    figures: dict[str, float] = {}
    least, most = sizes[0], sizes[-1]
    worst: list[float] = []
    for suffix, (oldest, policy) in SETTINGS.items():
        for size in sizes if not suffix else (most,):
            tries = [_decide(size, steps, oldest, policy) for _ in range(TRIES)]
            medians, means = (
                [kind(steady) for steady, _ in tries]
                for kind in (statistics.median, statistics.mean)
            )
            worst.append(min(step for _, step in tries) * 1e3)
            figures[f"decision_us{suffix}_{size}"] = min(medians) * 1e6
            figures[f"decision_mean_us{suffix}_{size}"] = min(means) * 1e6
            figures[f"step_worst_ms{suffix}_{size}"] = worst[-1]
        for kind in ("", "_mean"):
            # Do not compare with a thousand old tasks: they are soon all checked, and decisions are
            # then cheap.
            few = figures[f"decision{kind}_us_{least}"]
            growth = figures[f"decision{kind}_us{suffix}_{most}"] / few
            figures[f"decision_growth{kind}{suffix}"] = growth
    figures["step_worst_ms"] = max(worst)
    return figures


def _decide(size: int, steps: int, oldest: float, policy: PollPolicy) -> tuple[list[float], float]:
    """Return the CPU time in seconds of each *steady* decision, and of the longest *step*.

    A decision first passes the replies since the previous decision to the schedule. Then it calls
    the schedule's methods `pop` and `next_due`. A decision is *steady* if it is in the second half
    of the run and `pop` returns a task. A *step* is a decision, or the addition of one task before
    the first decision. Each task that has ended is replaced with a new task.
    """
    draw = random.Random(1)
    gc.collect()
    # Earlier objects, such as imported modules, must not add to the pauses.
    gc.freeze()
    schedule = AdaptiveSchedule[Entry](policy, Durations())
    entries = [
        Entry(str(number), added_at=0.0, created_at=-draw.uniform(0, oldest))
        for number in range(size)
    ]
    now, worst, steady = 0.0, 0.0, list[float]()
    gc.collect()
    # While tasks are added, most pauses would come from the creation of a million objects.
    gc.disable()
    for each in entries:
        # CPU time of this thread: the work of other processes does not count.
        before = time.thread_time()
        schedule.add(each, now)
        worst = max(worst, time.thread_time() - before)
    # Otherwise the first decisions would include a collection over all these objects.
    gc.collect()
    gc.enable()
    del entries
    now = 20.0
    replies: list[tuple[float, int, Entry, bool]] = []
    for step in range(2 * steps):
        now += SLOT
        fresh = [
            Entry(f"new {step} {n}", added_at=now, created_at=now) for n in range(len(replies))
        ]
        arrival, ended = now + draw.uniform(*REPLY_DELAY), draw.random() < ENDED
        before = time.thread_time()
        while replies and replies[0][0] <= now:
            _, _, asked, has_ended = heapq.heappop(replies)
            if has_ended:
                schedule.settle(asked, now - asked.known_since)
            if has_ended or not schedule.defer(asked, now):
                schedule.add(fresh.pop(), now)
        entry = schedule.pop(now)
        due = schedule.next_due()
        spent = time.thread_time() - before
        worst = max(worst, spent)
        if entry is not None:
            heapq.heappush(replies, (arrival, step, entry, ended))
            if step >= steps:
                steady.append(spent)
        else:
            events = [due] if due is not None else []
            now = max(now, min([*events, *(arrival for arrival, *_ in replies[:1])], default=now))
    gc.unfreeze()
    return steady, worst


def memory(base_url: str, count: int) -> dict[str, float]:
    """Return the memory per task id and the number of asyncio tasks, for each way to get results.

    `tracemalloc` counts the memory in bytes. The memory does not include the caller's list of ids.
    In ``own_tasks``, the caller creates one asyncio task per id. These tasks and their memory are
    not counted.
    """
    figures: dict[str, float] = {}
    for name, wait, rate in (
        ("as_completed", _as_completed, 0.01),
        ("results", _results, 0.01),
        ("answered_once", _as_completed, FREE),
        ("own_tasks", _own_tasks, 0.01),
    ):
        used, tasks = asyncio.run(_tracked(base_url, count, wait, rate))
        figures[f"bytes_per_id_{name}"], figures[f"asyncio_tasks_{name}"] = used / count, tasks
    bare = asyncio.run(_bare_tasks(count)) / count
    figures["bytes_per_id_own_tasks_bare"] = bare
    figures["bytes_per_id_own_tasks"] -= bare
    figures["asyncio_tasks_own_tasks"] -= count
    return figures


async def _as_completed(client: SunoClient, ids: list[str]) -> None:
    async for _ in client.as_completed(ids):
        pass


async def _results(client: SunoClient, ids: list[str]) -> None:
    await client.outcomes(ids)


async def _own_tasks(client: SunoClient, ids: list[str]) -> None:
    async with asyncio.TaskGroup() as group:
        for task_id in ids:
            group.create_task(client.task(task_id).result())


async def _bare_tasks(count: int) -> int:
    loop = asyncio.get_running_loop()

    async def wait() -> None:
        await loop.create_future()

    async def run() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(wait())

    with _traced() as used:
        async with _cancelled_at_last(run()):
            await asyncio.sleep(1.0)
            return used()


async def _tracked(base_url: str, count: int, wait: Wait, rate: float) -> tuple[int, int]:
    ids = new_ids(count, _draw)
    # No reply is "success", so all tasks stay tracked.
    await reset(base_url, 10 * count)
    limiter = LocalLimiter(rate)
    async with client_at(base_url, limiter, policy=ONCE) as client:
        with _traced() as used:
            async with _cancelled_at_last(wait(client, ids)):
                await until(lambda: client.statistics().watched >= count, 0.05)
                # At the low rate at most one poll happens. At `FREE`, every task is polled once.
                if rate == FREE:
                    await until(lambda: limiter.granted >= count, 0.05)
                await asyncio.sleep(0.5)
                return used(), len(asyncio.all_tasks()) - 1


@contextlib.contextmanager
def _traced() -> Generator[Callable[[], int]]:
    gc.collect()
    tracemalloc.start()

    def used() -> int:
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    try:
        yield used
    finally:
        tracemalloc.stop()


@contextlib.asynccontextmanager
async def _cancelled_at_last(work: Coroutine[Any, Any, object]) -> AsyncGenerator[None]:
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


class _Watch:
    """Records the longest event loop cycle and the longest pause of the garbage collector."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._started = 0.0
        self._last = time.perf_counter()
        self.longest = 0.0
        self.longest_collection = 0.0
        self._turn()
        gc.callbacks.append(self._collection)

    def lap(self) -> tuple[float, float]:
        """Return the longest event loop cycle and the longest pause of the garbage collector.

        Both times are in milliseconds. Only the time since the previous call of `lap` counts.
        """
        laps = self.longest * 1e3, self.longest_collection * 1e3
        self.longest = self.longest_collection = 0.0
        return laps

    def stop(self) -> None:
        self._handle.cancel()
        gc.callbacks.remove(self._collection)

    def _turn(self) -> None:
        now = time.perf_counter()
        self.longest = max(self.longest, now - self._last)
        self._last = now
        self._handle = self._loop.call_soon(self._turn)

    def _collection(self, phase: str, _info: dict[str, int]) -> None:
        now = time.perf_counter()
        if phase == "start":
            self._started = now
        else:
            self.longest_collection = max(self.longest_collection, now - self._started)


def holds(base_url: str, count: int, tries: int) -> dict[str, float]:
    """Return how many milliseconds the event loop is blocked when many ids are added or removed.

    `count` task ids are added to a client together, and later removed together. A separate figure
    is the longest pause of the garbage collector while ids are added. The other figures include
    such pauses. Each figure is the lowest value of `tries` measurements.
    """
    tried = [asyncio.run(_hold(base_url, count)) for _ in range(tries)]
    return {name: min(each[name] for each in tried) for name in tried[0]}


async def _hold(base_url: str, count: int) -> dict[str, float]:
    figures: dict[str, float] = {}
    ids = new_ids(count, _draw)
    await reset(base_url, 10 * count)
    gc.collect()
    watch = _Watch()
    async with client_at(base_url, LocalLimiter(), policy=PollPolicy()) as client:
        for leaving in ("leave", "close"):
            await asyncio.sleep(0.05)
            watch.lap()
            task = asyncio.ensure_future(_as_completed(client, ids))
            await until(lambda: client.statistics().watched >= count, 0.0)
            figures["hold_ms_add"], figures["hold_ms_add_collector"] = watch.lap()
            if leaving == "leave":
                task.cancel()
            else:
                await client.close()
            await asyncio.wait([task])
            await asyncio.sleep(0)
            figures[f"hold_ms_{leaving}"], _ = watch.lap()
    watch.stop()
    return figures
