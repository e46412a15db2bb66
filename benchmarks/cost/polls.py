"""Measure the CPU time per poll of `SunoClient` and of other ways to poll.

A *contender* is a function that polls. It sends one request per task to a server in another
process, and stores the records of the tasks that ended. All contenders have the same number of
requests in flight.

The CPU time per poll is the CPU time of this process (`time.process_time`) divided by the number of
requests. It includes opening sessions and connections. For `SunoClient`, it also includes adding
every task, and removing the tasks that are still running. In each round, all contenders run one
after another.

The CPU time of `SunoClient` is also divided by the CPU time of each other contender in the same
round.
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import statistics
import tempfile
import time
import uuid
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import aiohttp
import httpx
import msgspec

from benchmarks.cost.server import SUCCESS_EVERY
from benchmarks.schedule.sets import RATE
from suno_async import SunoClient
from suno_async._polling import poller as polling
from suno_async.limits import LocalLimiter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from suno_async import Outcome, PollPolicy

#: As long as the vendor's keys, because the client does not search replies for shorter keys.
KEY = "ak_" + "0" * 32
PATH = "/api/v1/client/job/TaskInfo"

#: Requests in flight at once: 15 a second with replies that take half a second. With more, httpx
#: gets slower, because its pool checks every connection for each request. With one, this client
#: gets slower, because requests do not share cycles of the event loop. The full run reports both.
IN_FLIGHT = 8

#: Requests per second: more than possible, so that no request waits in the limiter.
FREE = 1e6

_draw = random.Random(1)

_directory = tempfile.TemporaryDirectory()


def client_at(
    base_url: str,
    limiter: LocalLimiter,
    *,
    policy: PollPolicy | None = None,
    journal: Path | None = None,
) -> SunoClient:
    """Return a client that sends its requests to the benchmark's server."""
    return SunoClient(KEY, base_url=base_url, policy=policy, limiter=limiter, journal=journal)


class Contender(Protocol):
    """A function that polls each id once, with at most `in_flight` requests in flight."""

    __name__: str

    def __call__(self, base_url: str, ids: Sequence[str], in_flight: int, /) -> Awaitable[int]:
        """Poll each id once, and return the number of polls."""
        ...


async def suno_async_journal(base_url: str, ids: Sequence[str], in_flight: int) -> int:
    """Poll with `SunoClient.as_completed` and a journal, which stores each result."""
    return await suno_async(base_url, ids, in_flight, Path(_directory.name) / "runs.db")


async def suno_async(
    base_url: str, ids: Sequence[str], in_flight: int, journal: Path | None = None
) -> int:
    """Poll with `SunoClient.as_completed`. If `journal` is None, the client stores nothing."""
    # The poller allows 200 in flight. All contenders must have the same limit.
    polling.MOST_IN_FLIGHT = in_flight
    limiter = LocalLimiter(FREE)
    async with client_at(base_url, limiter, journal=journal) as client:
        ended: list[Outcome] = []

        async def collect() -> None:
            async for outcome in client.as_completed(ids):
                ended.append(outcome)  # noqa: PERF401 (the loop is cancelled and must keep these)

        task = asyncio.ensure_future(collect())
        # Reading the number of permits costs almost no CPU, so it comes first. `statistics` costs
        # more. It is needed because a permit is granted before its request is in flight.
        await until(lambda: limiter.granted >= len(ids), 0.005)
        await until(lambda: _all_polled(client, len(ids)), 0.005)
        # The last outcome may still be on its way from the poller to the consumer.
        await until(lambda: len(ended) >= len(ids) // SUCCESS_EVERY, 0.005)
        polls = client.statistics().polls
        task.cancel()
        await asyncio.wait([task])
        if len(ended) != len(ids) // SUCCESS_EVERY or not all(outcome.ok for outcome in ended):
            raise RuntimeError(f"{len(ended)} of {len(ids)} tasks ended")
        return polls


def _all_polled(client: SunoClient, count: int) -> bool:
    snapshot = client.statistics()
    return snapshot.polls >= count and not snapshot.in_flight


async def bare_aiohttp(base_url: str, ids: Sequence[str], in_flight: int) -> int:
    """Poll with only `session.get` and `json.loads`, in `in_flight` concurrent loops."""
    async with aiohttp.ClientSession(headers={"x-api-key": KEY}) as session:

        async def ask(task_id: str) -> Any:  # noqa: ANN401 (JSON)
            async with session.get(f"{base_url}{PATH}?task_id={task_id}") as response:
                return json.loads(await response.read())

        return await _in_loops(ids, in_flight, ask)


async def bare_httpx(base_url: str, ids: Sequence[str], in_flight: int) -> int:
    """Poll with only `client.get` and ``.json()``, in `in_flight` concurrent loops."""
    limits = httpx.Limits(max_connections=in_flight, max_keepalive_connections=in_flight)
    async with httpx.AsyncClient(headers={"x-api-key": KEY}, limits=limits) as client:

        async def ask(task_id: str) -> Any:  # noqa: ANN401 (JSON)
            return (await client.get(f"{base_url}{PATH}?task_id={task_id}")).json()

        return await _in_loops(ids, in_flight, ask)


async def task_per_id(base_url: str, ids: Sequence[str], in_flight: int) -> int:
    """Poll with one asyncio task per id. A semaphore limits the number of requests in flight."""
    polls, finished = 0, dict[str, Any]()
    free = asyncio.Semaphore(in_flight)
    async with aiohttp.ClientSession(headers={"x-api-key": KEY}) as session:

        async def follow(task_id: str) -> None:
            nonlocal polls
            async with free, session.get(f"{base_url}{PATH}?task_id={task_id}") as response:
                reply = json.loads(await response.read())
            polls += 1
            if reply["data"]["status"] == "success":
                finished[task_id] = reply

        async with asyncio.TaskGroup() as group:
            for task_id in ids:
                group.create_task(follow(task_id))
    return polls


async def _in_loops(
    ids: Sequence[str], in_flight: int, ask: Callable[[str], Awaitable[Any]]
) -> int:
    polls, finished, open_ids = 0, dict[str, Any](), deque(ids)

    async def work() -> None:
        nonlocal polls
        while open_ids:
            task_id = open_ids.popleft()
            reply = await ask(task_id)
            polls += 1
            if reply["data"]["status"] == "success":
                finished[task_id] = reply

    async with asyncio.TaskGroup() as group:
        for _ in range(in_flight):
            group.create_task(work())
    return polls


CONTENDERS: dict[str, Contender] = {
    "suno_async": suno_async,
    "aiohttp": bare_aiohttp,
    "httpx": bare_httpx,
    "task_per_id": task_per_id,
}


def new_ids(count: int, draw: random.Random) -> list[str]:
    """Return `count` random task ids in the format of the server."""
    return [str(uuid.UUID(int=draw.getrandbits(128))) for _ in range(count)]


def measure(
    base_url: str,
    ids: int,
    rounds: int,
    in_flight: int = IN_FLIGHT,
    names: Sequence[str] = tuple(CONTENDERS),
) -> dict[str, float]:
    """Return the median CPU time per poll of each contender, in microseconds.

    For each contender except the client, also return the client's CPU time divided by the
    contender's CPU time: the median, the smallest and the largest ratio. Each contender runs once
    in each round.
    """
    table: dict[str, list[float]] = {name: [] for name in names}
    for name in names:
        # Warm up: imports and caches are not part of the figures.
        asyncio.run(_cpu_per_poll(base_url, CONTENDERS[name], 50, in_flight))
    for number in range(rounds):
        first = number % len(names)
        # The order changes, so no contender always runs after the same other one.
        for name in (*names[first:], *names[:first]):
            cpu = asyncio.run(_cpu_per_poll(base_url, CONTENDERS[name], ids, in_flight))
            table[name].append(cpu)
    figures = {f"cpu_us_{name}": statistics.median(each) * 1e6 for name, each in table.items()}
    ours = table["suno_async"]
    for name in names[1:]:
        ratios = [mine / theirs for mine, theirs in zip(ours, table[name], strict=True)]
        figures[f"cpu_of_{name}"] = statistics.median(ratios)
        figures[f"cpu_of_{name}_least"] = min(ratios)
        figures[f"cpu_of_{name}_most"] = max(ratios)
    return figures


def with_journal(base_url: str, ids: int, rounds: int) -> dict[str, float]:
    """Return the ratio of the CPU time per poll with a journal to the CPU time without one.

    The result contains the median and the smallest ratio over the rounds.

    Use many more `ids` here than for `measure`. Opening and closing a journal takes about 10 ms of
    CPU time. With few ids, these 10 ms would be a large part of the result.
    """
    ratios: list[float] = []
    contenders = (suno_async, suno_async_journal)
    for _ in range(rounds):
        plain, kept = [asyncio.run(_cpu_per_poll(base_url, each, ids)) for each in contenders]
        ratios.append(kept / plain)
    return {"cpu_with_journal": statistics.median(ratios), "cpu_with_journal_least": min(ratios)}


async def _cpu_per_poll(
    base_url: str, contender: Contender, count: int, in_flight: int = IN_FLIGHT
) -> float:
    ids = new_ids(count, _draw)
    await reset(base_url)
    gc.collect()
    before = time.process_time()
    polls = await contender(base_url, ids, in_flight)
    cpu = time.process_time() - before
    counted = await reset(base_url)
    if not polls == counted["requests"] == count:
        raise RuntimeError(
            f"{contender.__name__}: {polls} polls, {counted} counted, {count} expected"
        )
    # The request for the counts opens one more connection.
    if counted["most_connections"] > in_flight + 1:
        raise RuntimeError(f"{contender.__name__}: {counted['most_connections']} connections")
    return cpu / polls


async def paced(base_url: str, tracked: int, seconds: float) -> dict[str, float]:
    """Measure the CPU time per poll of a client and of a simple loop, at 15 requests per second.

    The client polls `tracked` tasks. Then the loop sleeps, sends a request and decodes the reply,
    again and again. Return three figures by name: both CPU times in microseconds, and the client's
    CPU time divided by that of the loop.
    """
    # No task ends before all are tracked.
    await reset(base_url, 10 * tracked)
    limiter = LocalLimiter()
    async with client_at(base_url, limiter) as client:
        waiting = asyncio.ensure_future(client.outcomes(new_ids(tracked, _draw)))
        await until(lambda: client.statistics().watched >= tracked, 0.05)
        await reset(base_url)
        polls, before = limiter.granted, time.process_time()
        await asyncio.sleep(seconds)
        ours = (time.process_time() - before) / (limiter.granted - polls)
        waiting.cancel()
        await asyncio.wait([waiting])
    async with aiohttp.ClientSession(headers={"x-api-key": KEY}) as session:
        count = int(seconds * RATE)
        before = time.process_time()
        for task_id in new_ids(count, _draw):
            await asyncio.sleep(1 / RATE)
            async with session.get(f"{base_url}{PATH}?task_id={task_id}") as response:
                json.loads(await response.read())
        bare = (time.process_time() - before) / count
    return {
        "paced_cpu_us_suno_async": ours * 1e6,
        "paced_cpu_us_aiohttp": bare * 1e6,
        "paced_cpu_of_aiohttp": ours / bare,
    }


async def until(holds: Callable[[], bool], every: float) -> None:
    """Call the function `holds` until it returns True. Wait `every` seconds between two calls.

    Raises:
        RuntimeError: `holds` still returns False after five minutes.
    """
    give_up_at = time.monotonic() + 300
    while not holds():
        if time.monotonic() > give_up_at:
            raise RuntimeError("the client did not reach the expected state in five minutes")
        await asyncio.sleep(every)


async def reset(base_url: str, success_every: int = SUCCESS_EVERY) -> dict[str, int]:
    """Restart the server's counts of requests and connections. Return the previous counts.

    After the reset, the server replies "success" to every `success_every`-th poll.
    """
    url = f"{base_url}/reset?success_every={success_every}"
    async with aiohttp.ClientSession() as session, session.get(url) as reply:
        return msgspec.json.decode(await reply.read(), type=dict[str, int])
