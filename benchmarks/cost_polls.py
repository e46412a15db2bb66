"""CPU of one poll, end to end: the client's poller beside what one would write without it.

Every contender asks the same server, in another process, once about each of the same number of
tasks, keeps the records of those that ended, and never has more requests on their way than the
others. For the client that includes taking up each task, and dropping it again if it goes on.
CPU is this process's own (`time.process_time`), sessions and connections included, divided by the
requests made. Contenders take turns, round after round, and ratios are taken within a round.
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import statistics
import time
import uuid
from collections import deque
from typing import TYPE_CHECKING, Any

import aiohttp
import httpx
import msgspec

from benchmarks.cost_server import SUCCESS_EVERY
from suno_async import SunoClient
from suno_async._polling import poller as polling
from suno_async.limits.local import RATE_LIMIT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from suno_async import Outcome, PollPolicy

KEY = "not-a-secret"
PATH = "/api/v1/client/job/TaskInfo"

#: Requests on their way at once: 15 a second with replies that take half a second. More make httpx
#: look worse (its pool looks at every connection for every request), one alone makes us look worse
#: (nobody shares a turn of the event loop); the full run tells both.
IN_FLIGHT = 8

#: Requests a second: more than can be made, so that the limiter is passed through, step by step,
#: but never waited for.
FREE = 1e6

_draw = random.Random(1)


def client_at(base_url: str, *, rate: float = FREE, policy: PollPolicy | None = None) -> SunoClient:
    """A client with a budget that the vendor would not grant, for the benchmark's own server."""
    client = SunoClient(KEY, base_url=base_url, policy=policy)
    client._rate_limit = rate  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # refused in public
    return client


def poller_of(client: SunoClient) -> polling.Poller:
    """Its counters, which cost nothing to read; a snapshot by `statistics` does."""
    return client._runtime().poller  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


async def suno_async(base_url: str, ids: Sequence[str], in_flight: int) -> int:
    """`SunoClient.as_completed`: one poller for all."""
    # The poller's own bound is 200; all contenders shall have the same.
    polling.MOST_IN_FLIGHT = in_flight
    async with client_at(base_url) as client:
        ended: list[Outcome] = []

        async def collect() -> None:
            async for outcome in client.as_completed(ids):
                ended.append(outcome)  # noqa: PERF401 (it is cancelled, and must keep what came)

        task = asyncio.ensure_future(collect())
        poller = poller_of(client)
        await until(lambda: poller.polls >= len(ids) and not poller.in_flight, 0.005)
        task.cancel()
        await asyncio.wait([task])
        if len(ended) != len(ids) // SUCCESS_EVERY or not all(outcome.ok for outcome in ended):
            raise RuntimeError(f"{len(ended)} of {len(ids)} tasks ended")
        return poller.polls


async def bare_aiohttp(base_url: str, ids: Sequence[str], in_flight: int) -> int:
    """`session.get` and `json.loads`, in as many loops as may be in flight; nothing else."""
    async with aiohttp.ClientSession(headers={"x-api-key": KEY}) as session:

        async def ask(task_id: str) -> Any:  # noqa: ANN401 (JSON)
            async with session.get(f"{base_url}{PATH}?task_id={task_id}") as response:
                return json.loads(await response.read())

        return await _in_loops(ids, in_flight, ask)


async def bare_httpx(base_url: str, ids: Sequence[str], in_flight: int) -> int:
    """`client.get` and ``.json()``, in as many loops as may be in flight."""
    limits = httpx.Limits(max_connections=in_flight, max_keepalive_connections=in_flight)
    async with httpx.AsyncClient(headers={"x-api-key": KEY}, limits=limits) as client:

        async def ask(task_id: str) -> Any:  # noqa: ANN401 (JSON)
            return (await client.get(f"{base_url}{PATH}?task_id={task_id}")).json()

        return await _in_loops(ids, in_flight, ask)


async def task_per_id(base_url: str, ids: Sequence[str], in_flight: int) -> int:
    """One asyncio task per id, all behind one semaphore."""
    polls, told = 0, dict[str, Any]()
    free = asyncio.Semaphore(in_flight)
    async with aiohttp.ClientSession(headers={"x-api-key": KEY}) as session:

        async def follow(task_id: str) -> None:
            nonlocal polls
            async with free, session.get(f"{base_url}{PATH}?task_id={task_id}") as response:
                reply = json.loads(await response.read())
            polls += 1
            if reply["data"]["status"] == "success":
                told[task_id] = reply

        async with asyncio.TaskGroup() as group:
            for task_id in ids:
                group.create_task(follow(task_id))
    return polls


async def _in_loops(
    ids: Sequence[str], in_flight: int, ask: Callable[[str], Awaitable[Any]]
) -> int:
    polls, told, open_ids = 0, dict[str, Any](), deque(ids)

    async def work() -> None:
        nonlocal polls
        while open_ids:
            task_id = open_ids.popleft()
            reply = await ask(task_id)
            polls += 1
            if reply["data"]["status"] == "success":
                told[task_id] = reply

    async with asyncio.TaskGroup() as group:
        for _ in range(in_flight):
            group.create_task(work())
    return polls


CONTENDERS: dict[str, Callable[[str, Sequence[str], int], Awaitable[int]]] = {
    "suno_async": suno_async,
    "aiohttp": bare_aiohttp,
    "httpx": bare_httpx,
    "task_per_id": task_per_id,
}


def new_ids(count: int, draw: random.Random) -> list[str]:
    """Ids as the server makes them."""
    return [str(uuid.UUID(int=draw.getrandbits(128))) for _ in range(count)]


def measure(
    base_url: str,
    ids: int,
    rounds: int,
    in_flight: int = IN_FLIGHT,
    names: Sequence[str] = tuple(CONTENDERS),
) -> dict[str, float]:
    """Microseconds of CPU per poll, and the ratios; medians over the rounds, and their range."""
    table: dict[str, list[float]] = {name: [] for name in names}
    for name in names:
        # Imports, caches and branch predictors: not what is asked for.
        asyncio.run(_cpu_per_poll(base_url, name, 50, in_flight))
    for number in range(rounds):
        first = number % len(names)
        # Nobody always comes after the same one.
        for name in (*names[first:], *names[:first]):
            table[name].append(asyncio.run(_cpu_per_poll(base_url, name, ids, in_flight)))
    figures = {f"cpu_us_{name}": statistics.median(each) * 1e6 for name, each in table.items()}
    ours = table["suno_async"]
    for name in names[1:]:
        ratios = [mine / theirs for mine, theirs in zip(ours, table[name], strict=True)]
        figures[f"cpu_of_{name}"] = statistics.median(ratios)
        figures[f"cpu_of_{name}_least"] = min(ratios)
        figures[f"cpu_of_{name}_most"] = max(ratios)
    return figures


async def _cpu_per_poll(base_url: str, name: str, count: int, in_flight: int) -> float:
    ids = new_ids(count, _draw)
    await reset(base_url)
    gc.collect()
    before = time.process_time()
    polls = await CONTENDERS[name](base_url, ids, in_flight)
    cpu = time.process_time() - before
    counted = await reset(base_url)
    if not polls == counted["requests"] == count:
        raise RuntimeError(f"{name}: {polls} polls, {counted} counted, {count} expected")
    # One more connection is the question for the count.
    if counted["most_connections"] > in_flight + 1:
        raise RuntimeError(f"{name}: {counted['most_connections']} connections")
    return cpu / polls


async def paced(base_url: str, tracked: int, seconds: float) -> dict[str, float]:
    """Milliseconds of CPU per poll at the vendor's 15 a second, everything on, waiting included.

    The client's, while it tracks so many tasks; and those of a loop that sleeps, asks and decodes.
    """
    # No task ends before all are tracked.
    await reset(base_url, 10 * tracked)
    async with client_at(base_url, rate=RATE_LIMIT) as client:
        waiting = asyncio.ensure_future(client.outcomes(new_ids(tracked, _draw)))
        poller = poller_of(client)
        await until(lambda: poller.watched >= tracked, 0.05)
        await reset(base_url)
        polls, before = poller.polls, time.process_time()
        await asyncio.sleep(seconds)
        ours = (time.process_time() - before) / (poller.polls - polls)
        waiting.cancel()
        await asyncio.wait([waiting])
    async with aiohttp.ClientSession(headers={"x-api-key": KEY}) as session:
        count = int(seconds * RATE_LIMIT)
        before = time.process_time()
        for task_id in new_ids(count, _draw):
            await asyncio.sleep(1 / RATE_LIMIT)
            async with session.get(f"{base_url}{PATH}?task_id={task_id}") as response:
                json.loads(await response.read())
        bare = (time.process_time() - before) / count
    return {
        "paced_cpu_us_suno_async": ours * 1e6,
        "paced_cpu_us_aiohttp": bare * 1e6,
        "paced_cpu_of_aiohttp": ours / bare,
    }


async def until(holds: Callable[[], bool], every: float) -> None:
    """Wait, looking again after so many seconds; RuntimeError after five minutes."""
    give_up_at = time.monotonic() + 300
    while not holds():
        if time.monotonic() > give_up_at:
            raise RuntimeError("the client does not get there")
        await asyncio.sleep(every)


async def reset(base_url: str, success_every: int = SUCCESS_EVERY) -> dict[str, int]:
    """Set how often the server answers "success"; what it counted before."""
    url = f"{base_url}/reset?success_every={success_every}"
    async with aiohttp.ClientSession() as session, session.get(url) as reply:
        return msgspec.json.decode(await reply.read(), type=dict[str, int])
