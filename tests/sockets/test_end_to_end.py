"""The client sends requests to the sandbox, over real sockets."""

from __future__ import annotations

import asyncio
import gc
import itertools
import math
import time
from typing import TYPE_CHECKING

import aiohttp
import pytest

from suno_async import (
    AuthenticationError,
    ClientClosedError,
    DownloadError,
    GenerateMusic,
    NotSentError,
    Outcome,
    PollPolicy,
    SunoClient,
    SunoError,
    TaskFailedError,
    TaskNotFoundError,
    TaskStatus,
    TaskTimeoutError,
)
from suno_async.sandbox import Faults, Sandbox
from tests.conftest import FAST
from tests.lag import Lag

if TYPE_CHECKING:
    from pathlib import Path

#: Seconds. The limiter allows for requests that arrive late by this much. After a longer stall of
#: the event loop, the tests do not check the rate at the server.
STALL = 0.05

JOB = GenerateMusic(prompt="slow piano, rain outside", instrumental=True)


async def test_create_await_download(suno: SunoClient, sandbox: Sandbox, tmp_path: Path) -> None:
    """A song is created, awaited and downloaded; the API key is not sent to the file host."""
    info = await (await suno.create(JOB)).result(timeout=10)
    assert info.status is TaskStatus.SUCCESS
    assert [track.model_version for track in info.tracks] == ["v5", "v5"]
    path = await suno.download(info.tracks[0], tmp_path / "music")
    assert path.read_bytes().startswith(b"\xff\xfb")
    assert path.suffix == ".mp3"
    assert not list(path.parent.glob("*.part"))
    assert sandbox.statistics.key_leaks == 0


async def test_download_that_fails(
    suno: SunoClient, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed download leaves no file behind."""
    monkeypatch.setattr("suno_async.files.transfers.PAUSE", 0.0)
    with pytest.raises(DownloadError):
        await suno.download("", tmp_path)
    with pytest.raises(DownloadError, match="no URL"):
        await suno.download("http://[broken/x.mp3", tmp_path)
    with pytest.raises(DownloadError, match="404"):
        await suno.download(f"{sandbox.url}/nowhere/x.mp3", tmp_path)
    assert not await asyncio.to_thread(lambda: list(tmp_path.iterdir()))


async def test_many_tasks(suno: SunoClient, sandbox: Sandbox) -> None:
    """Every id has one correct outcome; the server never gets 16 requests within one second."""
    ids = sandbox.add_tasks(40, created_ago=1.0)
    async with Lag() as lag:
        outcomes = [each async for each in suno.as_completed([*ids, ids[0]])]
    assert sorted(each.task_id for each in outcomes) == sorted(ids)
    for each in outcomes:
        assert each.ok != sandbox.tasks[each.task_id].fails
        assert each.ok or isinstance(each.error, TaskFailedError)
    if lag.worst < STALL:
        assert sandbox.statistics.worst_window <= 15
        assert sandbox.statistics.rate_limited == 0


async def test_results_in_order(suno: SunoClient, sandbox: Sandbox) -> None:
    """`outcomes` keeps the order of the given tasks. A task given twice has two outcomes."""
    a, b = sandbox.add_tasks(2, created_ago=10.0)
    outcomes = await suno.outcomes([b, suno.task(a), b])
    assert [each.task_id for each in outcomes] == [b, a, b]


async def test_waiters_share_polls(suno: SunoClient, sandbox: Sandbox) -> None:
    """All waiters for a task share each poll; cancelling a waiter does not affect other waiters."""
    (task_id,) = sandbox.add_tasks(1, durations=[1e9])
    async with Lag() as lag:
        waits = [asyncio.ensure_future(suno.task(task_id).result()) for _ in range(20)]
        await polled(sandbox, task_id)
        waits[0].cancel()
        await polled(sandbox, task_id, 4)
        sandbox.tasks[task_id].ends_at = time.time()
        infos = await asyncio.gather(*waits, return_exceptions=True)
    assert isinstance(infos[0], asyncio.CancelledError)
    assert len({id(info) for info in infos[1:]}) == 1
    assert shortest_gap(sandbox, task_id) >= FAST.interval - lag.worst


async def test_floor_at_the_server(suno: SunoClient, sandbox: Sandbox) -> None:
    """The create request and the polls of a task arrive at least one poll interval apart."""
    async with Lag() as lag:
        task = await suno.create(JOB)
        job = sandbox.tasks[task.id]
        job.ends_at = math.inf
        created = job.created_at - time.time() + time.monotonic()
        wait = asyncio.ensure_future(suno.outcomes([task]))
        await polled(sandbox, task.id, 3)
        job.ends_at = time.time()
        await wait
    assert job.polls[0] >= created + FAST.interval - lag.worst
    assert shortest_gap(sandbox, task.id) >= FAST.interval - lag.worst


async def polled(sandbox: Sandbox, task_id: str, times: int = 1) -> None:
    """Wait until the server has received `times` polls of a task."""
    async with asyncio.timeout(30):
        while len(sandbox.tasks[task_id].polls) < times:  # noqa: ASYNC110 (the sandbox has no event)
            await asyncio.sleep(0.001)


def shortest_gap(sandbox: Sandbox, task_id: str) -> float:
    """Return the shortest time in seconds between two polls of a task."""
    return min(b - a for a, b in itertools.pairwise(sandbox.tasks[task_id].polls))


async def test_updates(suno: SunoClient, sandbox: Sandbox) -> None:
    """`updates` yields the record of each poll; the last record has a final status."""
    (task_id,) = sandbox.add_tasks(1, durations=[1e9])
    statuses: list[TaskStatus] = []
    async for info in suno.task(task_id).updates():
        statuses.append(info.status)
        sandbox.tasks[task_id].ends_at = time.time()
    assert [status.terminal for status in statuses] == [False, True]


async def test_timeouts(suno: SunoClient, sandbox: Sandbox) -> None:
    """After a timeout, `result` raises `TaskTimeoutError`.

    `outcomes` returns an outcome with this error for each task.
    """
    ids = sandbox.add_tasks(3, durations=[10_000.0] * 3)
    with pytest.raises(TaskTimeoutError):
        await suno.task(ids[0]).result(timeout=0.05)
    outcomes = await suno.outcomes(ids, timeout=0.05)
    assert [type(each.error) for each in outcomes] == [TaskTimeoutError] * 3
    assert suno.statistics().watched == 0


async def test_timeouts_say_what_was_seen(suno: SunoClient, sandbox: Sandbox) -> None:
    """`TaskTimeoutError` contains the task's last status and the time when it was requested."""
    ids = sandbox.add_tasks(3, durations=[10_000.0] * 3)
    outcomes = await suno.outcomes(ids, timeout=1.0)
    errors = [each.error for each in outcomes]
    waiting = suno.task(ids[0])
    watch = asyncio.ensure_future(waiting.result())
    await asyncio.sleep(0.5)
    with pytest.raises(TaskTimeoutError) as caught:
        await waiting.result(timeout=0.01)
    watch.cancel()
    for error in (*errors, caught.value):
        assert isinstance(error, TaskTimeoutError)
        assert error.last_status in {"pending", "running"}
        assert 0.0 <= time.time() - (error.seen_at or 0.0) < 10.0


async def test_deadline(sandbox: Sandbox) -> None:
    """If a task does not end before the deadline, its outcome has an error and the last record."""
    policy = PollPolicy(interval=0.1, max_interval=0.2, deadline=0.5)
    async with SunoClient(sandbox.key, base_url=sandbox.url, policy=policy) as suno:
        (task_id,) = sandbox.add_tasks(1, durations=[10_000.0])
        (outcome,) = await suno.outcomes([task_id])
    assert isinstance(outcome.error, TaskTimeoutError)
    assert outcome.info is not None


async def test_leaving_early(suno: SunoClient, sandbox: Sandbox) -> None:
    """Leaving the loop over `as_completed` stops the polling of the remaining tasks."""
    ids = sandbox.add_tasks(30, created_ago=5.0)
    async for outcome in suno.as_completed(ids):
        assert isinstance(outcome, Outcome)
        break
    gc.collect()
    async with asyncio.timeout(10):
        while suno.statistics().watched:  # noqa: ASYNC110 (the loop closes the iterator unseen)
            await asyncio.sleep(0)


async def test_closing_ends_waits(sandbox: Sandbox) -> None:
    """If a client is closed, a caller that waits for a task gets `ClientClosedError`."""
    suno = SunoClient(sandbox.key, base_url=sandbox.url, policy=FAST)
    (task_id,) = sandbox.add_tasks(1, durations=[10_000.0])
    wait = asyncio.ensure_future(suno.task(task_id).result())
    await polled(sandbox, task_id)
    await suno.close()
    with pytest.raises(ClientClosedError):
        await wait


async def test_wrong_key(sandbox: Sandbox) -> None:
    """If the key is refused, each outcome has an `AuthenticationError`; few requests are sent."""
    ids = sandbox.add_tasks(20)
    async with SunoClient("ak_wrong", base_url=sandbox.url, policy=FAST) as suno:
        outcomes = await suno.outcomes(ids)
    assert {type(each.error) for each in outcomes} == {AuthenticationError}
    assert sandbox.statistics.requests < 10


async def test_unknown_task(suno: SunoClient) -> None:
    """`task_info` raises `TaskNotFoundError` for an id that the server does not know."""
    with pytest.raises(TaskNotFoundError):
        await suno.task_info("no-such-task")


async def test_nothing_listens() -> None:
    """If no server listens on the port, `create` raises `NotSentError`."""
    async with SunoClient("k", base_url="http://127.0.0.1:1", retry_for=0) as suno:
        with pytest.raises(NotSentError):
            await suno.create(JOB)


async def test_chaos() -> None:
    """If a fifth of all requests fail, every task still has the correct outcome."""
    faults = Faults(error=0.06, reset=0.05, stall=0.03, garbage=0.04, slow=0.02, stall_seconds=0.4)
    policy = PollPolicy(interval=0.1, max_interval=0.3, deadline=60.0, min_saving=0.001)
    async with (
        Sandbox(seed=3, time_scale=300, faults=faults, failure_share=0.2) as sandbox,
        SunoClient(sandbox.key, base_url=sandbox.url, policy=policy, request_timeout=0.2) as suno,
    ):
        ids = sandbox.add_tasks(40)
        async with Lag() as lag:
            async for outcome in suno.as_completed(ids):
                assert outcome.ok != sandbox.tasks[outcome.task_id].fails
                assert outcome.error is None or isinstance(outcome.error, TaskFailedError)
        assert sum(sandbox.statistics.faults.values()) > 5
        assert lag.worst >= STALL or sandbox.statistics.rate_limited == 0


async def test_creates_in_chaos() -> None:
    """If connections break, stall or send garbage at random, no song is created twice."""
    faults = Faults(error=0.1, reset=0.1, stall=0.05, garbage=0.1, stall_seconds=0.4)
    async with (
        Sandbox(seed=4, faults=faults) as sandbox,
        SunoClient(sandbox.key, base_url=sandbox.url, request_timeout=0.2) as suno,
    ):
        jobs = [GenerateMusic(prompt=f"song {n}") for n in range(40)]
        ended = await asyncio.gather(*map(suno.create, jobs), return_exceptions=True)
        assert all(
            not isinstance(each, BaseException) or isinstance(each, SunoError) for each in ended
        )
        prompts = [job.body["input"]["prompt"] for job in sandbox.tasks.values()]
        assert len(prompts) == len(set(prompts))


async def test_strict_sandbox(sandbox: Sandbox) -> None:
    """The sandbox refuses invalid requests with the status codes of the API contract."""
    url = f"{sandbox.url}/api/v1/client"
    key = {"x-api-key": sandbox.key}
    async with aiohttp.ClientSession() as http:

        async def code(method: str, path: str, **more: object) -> int:
            async with http.request(method, f"{url}/{path}", **more) as reply:  # type: ignore[arg-type]
                body = await reply.json()
                assert body["code"] == reply.status
                return reply.status

        assert await code("GET", "account/balance") == 401
        assert await code("GET", "job/TaskInfo", headers=key) == 422
        assert await code("GET", "job/TaskInfo?task_id=x", headers=key) == 404
        assert await code("GET", "job/Nothing", headers=key) == 404
        assert await code("POST", "job/CreateTask", headers=key, data="{}") == 422
        assert await code("POST", "job/CreateTask", headers=key, json={"model": "x"}) == 422
        async with asyncio.timeout(30):
            while await code("GET", "account/balance", headers=key) != 429:
                pass
    assert sandbox.statistics.worst_window > 15
