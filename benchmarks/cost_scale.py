"""What a great many tasks cost: CPU per decision, memory per id, and how long the loop is held."""

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

from benchmarks.cost_polls import FREE, client_at, new_ids, poller_of, reset, until
from benchmarks.schedule_simulation import REPLY_DELAY
from suno_async import Durations, PollPolicy
from suno_async._schedule.adaptive import AdaptiveSchedule
from suno_async._schedule.entry import Entry
from suno_async.limits.local import RATE_LIMIT

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Sequence

    from suno_async import SunoClient

    Wait = Callable[[SunoClient, list[str]], Coroutine[Any, Any, object]]

#: Seconds of virtual time between two decisions: the vendor's limit.
SLOT = 1 / 15

#: The chance that a task which was asked about has ended; a new one then takes its place.
ENDED = 0.2

_draw = random.Random(2)

#: No second check of a task while memory is measured.
ONCE = PollPolicy(interval=3600.0, max_interval=3600.0, deadline=None)


#: How old the tasks are at first: at most so many seconds.
YOUNG = 600.0
DAYS = 10 * 86_400.0

#: How often each run is repeated.
TRIES = 2

#: Ages and policy of each run, by the suffix of its figures.
SETTINGS = {
    "": (YOUNG, PollPolicy()),
    "_days": (DAYS, PollPolicy()),
    "_days_endless": (DAYS, PollPolicy(deadline=None)),
}


def decisions(sizes: Sequence[int], steps: int) -> dict[str, float]:
    """Microseconds to choose a task and to take it back, in steady virtual time, and the worst.

    Young tasks at every size; ages of up to ten days, with and without a deadline, at the last. A
    growth is over young tasks at the first size. Every try does the same, so of two the least
    counts: the machine can only make a step longer.
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
            # Of a thousand old tasks all are soon asked, and little is left to decide.
            few = figures[f"decision{kind}_us_{least}"]
            growth = figures[f"decision{kind}_us{suffix}_{most}"] / few
            figures[f"decision_growth{kind}{suffix}"] = growth
    figures["step_worst_ms"] = max(worst)
    return figures


def _decide(size: int, steps: int, oldest: float, policy: PollPolicy) -> tuple[list[float], float]:
    """Seconds of each steady decision, and of the worst step of all, the first ones included.

    A decision is `pop`, `next_due` and what the replies bring that arrived since the last one: for
    four tasks in five `defer`; else the task has ended, or came to its deadline, and a new one is
    added. Replies take 50 to 250 ms and overtake each other.

    Times are this thread's CPU time: a step waits for nothing, and time that another process takes
    is not the schedule's. Python's collector stays on, except while the tasks are set up: its
    pauses then are those of a program that makes a million objects. Its pauses later are part of
    the steps, as far as they come from the schedule: what the benchmark imported is left out.
    """
    draw = random.Random(1)
    gc.collect()
    gc.freeze()
    schedule = AdaptiveSchedule[Entry](policy, Durations())
    entries = [
        Entry(str(number), added_at=0.0, created_at=-draw.uniform(0, oldest))
        for number in range(size)
    ]
    now, worst, steady = 0.0, 0.0, list[float]()
    gc.collect()
    gc.disable()
    for each in entries:
        before = time.thread_time()
        schedule.add(each, now)
        worst = max(worst, time.thread_time() - before)
    # Or the first decisions would pay for looking through the million.
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
    """Bytes per tracked id, by `tracemalloc`, and asyncio tasks, for each way to await many.

    What the caller holds anyway is not counted: the ids, the handles and, where each handle is
    awaited by a task of the caller's, as much as that task takes to await a bare future.
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
    # No answer of "success": all shall stay tracked.
    await reset(base_url, 10 * count)
    async with client_at(base_url, rate=rate, policy=ONCE) as client:
        poller = poller_of(client)
        with _traced() as used:
            async with _cancelled_at_last(wait(client, ids)):
                await until(lambda: poller.watched >= count, 0.05)
                # At the lowest rate one may be answered; at this one all shall be, exactly once.
                if rate == FREE:
                    await until(lambda: poller.polls >= count, 0.05)
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
    """The longest time between two turns of the loop, and the collector's longest pause."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._started = 0.0
        self._last = time.perf_counter()
        self.longest = 0.0
        self.longest_collection = 0.0
        self._turn()
        gc.callbacks.append(self._collection)

    def lap(self) -> tuple[float, float]:
        """Both in milliseconds, since the last lap."""
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
    """Milliseconds for which the loop is held when `count` ids come, or go, at once.

    The collector is on, and its pauses are part of the holds; the longest is told beside them. Of
    several tries the least counts: another process can only lengthen a hold.
    """
    tried = [asyncio.run(_hold(base_url, count)) for _ in range(tries)]
    return {name: min(each[name] for each in tried) for name in tried[0]}


async def _hold(base_url: str, count: int) -> dict[str, float]:
    figures: dict[str, float] = {}
    ids = new_ids(count, _draw)
    await reset(base_url, 10 * count)
    gc.collect()
    watch = _Watch()
    async with client_at(base_url, rate=RATE_LIMIT, policy=PollPolicy()) as client:
        poller = poller_of(client)
        for leaving in ("leave", "close"):
            await asyncio.sleep(0.05)
            watch.lap()
            task = asyncio.ensure_future(_as_completed(client, ids))
            await until(lambda: poller.watched >= count, 0.0)
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
