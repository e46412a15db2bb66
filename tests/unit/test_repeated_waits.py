"""Waits for a task that end early and begin again. The tests run in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import pytest

from suno_async import PollPolicy, TaskNotFoundError, TaskTimeoutError
from suno_async._polling import waiters
from tests.scripted import EPOCH, Server, reply
from tests.virtual import run_virtual

if TYPE_CHECKING:
    from suno_async._protocol.requests import Request
    from suno_async._transport.http import Reply

ended = {"task_id": "t", "status": "success"}


def polls_of(server: Server) -> list[float]:
    """Return the arrival times of the status requests."""
    return [at for at, path in server.requests if path.endswith("TaskInfo")]


@pytest.mark.parametrize("schedule", ["adaptive", "backoff"])
def test_short_waits_in_a_loop(schedule: Literal["adaptive", "backoff"]) -> None:
    """If a task is awaited for a second again and again, its polls are still 15 s apart."""

    async def work() -> list[float]:
        server = Server()
        async with server.client(policy=PollPolicy(schedule=schedule)) as suno:
            handle = suno.task("t")
            for _ in range(100):
                with contextlib.suppress(TaskTimeoutError):
                    await handle.result(timeout=1)
        return polls_of(server)

    polls = run_virtual(work())
    assert 4 <= len(polls) <= 7
    assert all(later - earlier >= 15 for earlier, later in pairwise(polls))


def test_short_waits_for_an_unknown_id() -> None:
    """A loop of short waits for an unknown id ends with `TaskNotFoundError` after a minute."""

    async def work() -> float:
        server = Server()
        server.answer = lambda _: reply(None, 404)
        async with server.client() as suno:
            for _ in range(100):
                try:
                    await suno.task("t").result(timeout=1)
                except TaskTimeoutError:
                    continue
                except TaskNotFoundError:
                    break
        return asyncio.get_running_loop().time()

    assert run_virtual(work()) == pytest.approx(62, abs=3)


def test_a_wait_that_returns_while_a_request_is_in_flight() -> None:
    """A new wait gets the result of a request that was sent during an earlier wait."""

    async def work() -> tuple[str, int]:
        server = Server(delay=0.5)
        server.answer = lambda _: reply(ended)
        async with server.client() as suno:
            with contextlib.suppress(TaskTimeoutError):
                await suno.task("t").result(timeout=0.7)
            info = await suno.task("t").result(timeout=0.7)
        return info.task_id, server.count("TaskInfo")

    assert run_virtual(work()) == ("t", 1)


def test_a_reply_that_arrives_between_two_waits() -> None:
    """A reply that arrives while nobody waits counts as a check if the task still runs."""

    async def work() -> tuple[str, list[float]]:
        server = Server(delay=0.5)
        async with server.client() as suno:
            with contextlib.suppress(TaskTimeoutError):
                await suno.task("t").result(timeout=0.7)
            await asyncio.sleep(1)
            with pytest.raises(TaskTimeoutError) as late:
                await suno.task("t").result(timeout=20)
        return late.value.last_status, polls_of(server)

    status, polls = run_virtual(work())
    assert status == "running"
    assert len(polls) == 1 or polls[1] - polls[0] >= 15


def test_a_result_that_arrives_between_two_waits() -> None:
    """If a task ended while nobody waited, the next wait requests its record at once."""

    async def work() -> float:
        server = Server(delay=0.5)
        server.answer = lambda _: reply(ended)
        async with server.client() as suno:
            with contextlib.suppress(TaskTimeoutError):
                await suno.task("t").result(timeout=0.7)
            await asyncio.sleep(1)
            await suno.task("t").result()
        return polls_of(server)[1]

    assert run_virtual(work()) < 3


def test_a_wait_after_a_long_time() -> None:
    """A task that nobody awaited for a while is treated as new."""

    async def work() -> None:
        server = Server()
        answers = [reply({"task_id": "t", "status": "running"})]

        def answer(_: Request) -> Reply:
            return answers.pop() if answers else reply(ended)

        server.answer = answer
        async with server.client() as suno:
            with contextlib.suppress(TaskTimeoutError):
                await suno.task("t").result(timeout=5)
            await asyncio.sleep(3600)
            await suno.task("t").result(timeout=5)

    run_virtual(work())


def test_a_limited_number_of_tasks_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """After waits for many tasks, only the tasks that were left last are remembered."""
    monkeypatch.setattr(waiters, "LEFT_REMEMBERED", 2)

    async def work() -> list[int]:
        server = Server()
        async with server.client() as suno:
            for task_id in ("a", "b", "c"):
                with contextlib.suppress(TaskTimeoutError):
                    await suno.task(task_id).result(timeout=0.5)
            counts: list[int] = []
            for task_id in ("c", "b", "a"):
                with contextlib.suppress(TaskTimeoutError):
                    await suno.task(task_id).result(timeout=0.5)
                counts.append(server.count("TaskInfo"))
        return counts

    assert run_virtual(work()) == [3, 3, 4]


def test_many_waits_for_one_task() -> None:
    """Many waits for one task share its polls, and each of them can end early."""

    async def work() -> tuple[list[str], int]:
        server = Server()
        loop = asyncio.get_running_loop()
        server.answer = lambda _: reply(ended if loop.time() > 20 else {"task_id": "t"})
        async with server.client() as suno:
            handle = suno.task("t")
            waits = [
                asyncio.create_task(handle.result(timeout=5 if number % 2 else None))
                for number in range(40)
            ]
            results = await asyncio.gather(*waits, return_exceptions=True)
        return [type(each).__name__ for each in results], server.count("TaskInfo")

    kinds, polls = run_virtual(work())
    assert kinds == ["TaskInfo", "TaskTimeoutError"] * 20
    assert polls <= 3


@pytest.mark.parametrize("first", [reply(None, 500), reply({"task_id": "t", "status": "running"})])
def test_a_second_wait_for_an_old_task(first: Reply) -> None:
    """A second wait for a task that is hours old checks it after one interval."""

    async def work() -> float:
        server = Server()
        answers = [first]
        server.answer = lambda _: answers.pop() if answers else reply(ended)
        policy = PollPolicy(deadline=None)
        async with server.client(policy=policy) as suno:
            handle = suno.task("t", created_at=EPOCH - 7200)
            with contextlib.suppress(TaskTimeoutError):
                await handle.result(timeout=5)
            await handle.result()
        return asyncio.get_running_loop().time()

    assert run_virtual(work()) < 20


def test_a_404_that_arrives_between_two_waits() -> None:
    """A 404 that arrives while nobody waits counts, too."""

    async def work() -> float:
        server = Server(delay=0.5)
        server.answer = lambda _: reply(None, 404)
        async with server.client() as suno:
            with contextlib.suppress(TaskTimeoutError):
                await suno.task("t").result(timeout=0.7)
            await asyncio.sleep(50)
            with pytest.raises(TaskNotFoundError):
                await suno.task("t").result()
        return asyncio.get_running_loop().time()

    assert run_virtual(work()) < 80
