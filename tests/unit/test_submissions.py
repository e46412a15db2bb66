"""Create requests: cancelled callers, closing, pauses and missing credits."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING, Any

import pytest

from suno_async import (
    ClientClosedError,
    CreateOutcomeUnknownError,
    Creation,
    GenerateMusic,
    PersonaCreation,
    RateLimitError,
    SunoClient,
    TaskHandle,
)
from suno_async.limits.local import LocalLimiter
from suno_async.sandbox import Faults, Sandbox
from tests.scripted import Server, reply
from tests.virtual import run_virtual

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from suno_async._transport.http import Reply


class Lost(Exception):  # noqa: N818 (no error of the library's)
    """Raised by one asyncio task to end its task group."""


async def by_cancel(work: Coroutine[Any, Any, TaskHandle], after: float) -> TaskHandle:
    """Await the `create` call `work` in an asyncio task. Cancel the task after `after` seconds."""
    task = asyncio.ensure_future(work)
    asyncio.get_running_loop().call_later(after, task.cancel)
    return await task


async def by_timeout(work: Coroutine[Any, Any, TaskHandle], after: float) -> TaskHandle:
    """Await the `create` call `work` with a timeout of `after` seconds."""
    async with asyncio.timeout(after):
        return await work


async def by_wait_for(work: Coroutine[Any, Any, TaskHandle], after: float) -> TaskHandle:
    """Await the `create` call `work` with `asyncio.wait_for` and a timeout of `after` seconds."""
    return await asyncio.wait_for(work, after)


async def by_group(work: Coroutine[Any, Any, TaskHandle], after: float) -> TaskHandle:
    """Await the `create` call `work` in a task group that fails after `after` seconds."""

    async def fail() -> None:
        await asyncio.sleep(after)
        raise Lost

    async with asyncio.TaskGroup() as group:
        task = group.create_task(work)
        group.create_task(fail())
    return task.result()


async def by_inner_task(work: Coroutine[Any, Any, TaskHandle], after: float) -> TaskHandle:
    """Await the `create` call `work` in an inner asyncio task, and this task in an outer one.

    Cancel the outer task after `after` seconds.
    """

    async def outer() -> TaskHandle:
        return await asyncio.create_task(work)

    return await by_cancel(outer(), after)


#: Ways to end a `create` call after some seconds.
WAYS: list[Callable[[Coroutine[Any, Any, TaskHandle], float], Awaitable[TaskHandle]]] = [
    *(by_cancel, by_timeout, by_wait_for, by_group, by_inner_task)
]


async def cancel_all(suno: SunoClient, seed: int, count: int, longest: float) -> set[str]:
    """Call `create` for `count` songs. Cancel each call at a random time within `longest` seconds.

    Return the ids of the tasks whose `create` call returned before its cancellation.
    """
    draw = random.Random(seed)

    async def one(number: int) -> TaskHandle:
        work = suno.create(GenerateMusic(prompt=f"song {number}"))
        # About half of the creates are cancelled at once, at or before their first await.
        after = draw.choice([0.0, draw.uniform(0.0, longest)])
        return await draw.choice(WAYS)(work, after)

    ended = await asyncio.gather(*map(one, range(count)), return_exceptions=True)
    expected = (TimeoutError, asyncio.CancelledError, ExceptionGroup)
    assert all(isinstance(end, (TaskHandle, *expected)) for end in ended)
    return {end.id for end in ended if isinstance(end, TaskHandle)}


@pytest.mark.parametrize("seed", range(5))
def test_every_cancelled_create_is_accounted_for(seed: int) -> None:
    """`on_creation` receives every created task, even if `create` is cancelled at a random time."""
    server = Server()
    reported: list[Creation] = []

    async def report(creation: Creation) -> None:
        await asyncio.sleep(0.02)
        reported.append(creation)

    async def main() -> None:
        async with server.client(limiter=LocalLimiter(100), on_creation=report) as suno:
            received = await cancel_all(suno, seed, 2000, longest=20.0)
        ids = [each.handle.id for each in reported if each.handle is not None]
        at_server = [task_id for ids in server.created.values() for task_id in ids]
        assert sorted(ids) == sorted(at_server)
        assert received <= set(ids)
        assert all(len(each) == 1 for each in server.created.values())
        assert 100 < len(at_server) < 1900
        assert 100 < len(received) < len(at_server)

    run_virtual(main())


async def test_cancelled_creates_over_sockets(caplog: pytest.LogCaptureFixture) -> None:
    """Over real sockets, `on_creation` receives every new task, even if `create` is cancelled."""
    caplog.set_level(logging.CRITICAL, logger="suno_async")
    reported: list[Creation | PersonaCreation] = []
    async with Sandbox(rate_limit=100_000, faults=Faults(latency_out=(0.0, 0.02))) as sandbox:
        async with SunoClient(
            sandbox.key,
            base_url=sandbox.url,
            limiter=LocalLimiter(2000),
            on_creation=reported.append,
        ) as suno:
            await cancel_all(suno, 1, 500, longest=1.0)
        ids = [each.handle.id for each in reported if each.handle is not None]
        assert sorted(ids) == sorted(sandbox.tasks)
        assert ids


def test_cancelled_while_planned() -> None:
    """If `create` is cancelled before its request is sent, the request is never sent."""
    server = Server()
    reported: list[Creation] = []

    async def main() -> None:
        async with server.client(on_creation=reported.append) as suno:
            waiting = [
                asyncio.ensure_future(suno.create(GenerateMusic(prompt=str(n)))) for n in range(30)
            ]
            await asyncio.sleep(0.01)
            for each in waiting[1:]:
                each.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
            await asyncio.sleep(10)
            assert list(server.created) == ["0"]
            assert suno.statistics().requests == 1
        assert [creation.job.payload()["prompt"] for creation in reported] == ["0"]

    run_virtual(main())


def test_cancelled_in_flight(caplog: pytest.LogCaptureFixture) -> None:
    """If `create` is cancelled during its request, `on_creation` still gets the new task, once.

    The client also logs the task.
    """
    server = Server(delay=1.0)
    reported: list[Creation] = []

    async def main() -> None:
        async with server.client(on_creation=reported.append) as suno:
            with pytest.raises(TimeoutError):
                await by_timeout(suno.create(GenerateMusic(prompt="rain")), 0.5)
            assert not reported
            await asyncio.sleep(5)
        (creation,) = reported
        assert creation.handle is not None
        assert [creation.handle.id] == server.created["rain"]

    run_virtual(main())
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "task-0" in record.getMessage()


@pytest.mark.parametrize("code", [429, 455])
def test_an_abandoned_create_is_not_retried(code: int) -> None:
    """A cancelled `create` does not retry its request.

    The request is in flight when `create` is cancelled. Then the server replies with an error.
    """
    server = Server(delay=1.0)
    reported: list[Creation] = []
    server.answer = lambda _: reply(None, code)

    async def main() -> None:
        async with server.client(on_creation=reported.append) as suno:
            with pytest.raises(TimeoutError):
                await by_timeout(suno.create(GenerateMusic(prompt="rain")), 0.5)
            await asyncio.sleep(300)
        assert server.count("CreateTask") == 1
        (creation,) = reported
        assert getattr(creation.error, "code", 0) == code

    run_virtual(main())


def test_close_waits_for_creates_in_flight() -> None:
    """`close` waits for the replies to the create requests in flight.

    Unsent creates raise `ClientClosedError`.
    """
    server = Server(delay=4.0)
    reported: list[Creation] = []

    async def main() -> None:
        suno = server.client(on_creation=reported.append)
        creates = [
            asyncio.ensure_future(suno.create(GenerateMusic(prompt=str(n)))) for n in range(30)
        ]
        await asyncio.sleep(0.3)
        await suno.close()
        ended = await asyncio.gather(*creates, return_exceptions=True)
        created = [each for each in ended if isinstance(each, TaskHandle)]
        assert {type(each) for each in ended} == {TaskHandle, ClientClosedError}
        assert 3 <= len(created) <= 6
        assert {each.handle.id for each in reported if each.handle} == {one.id for one in created}
        assert len(reported) == len(created) == len(server.created)
        assert asyncio.get_running_loop().time() < 9

    run_virtual(main())


def test_close_does_not_wait_for_ever() -> None:
    """`close` stops waiting for a reply after the request timeout."""
    server = Server(delay=1e6)
    reported: list[Creation] = []

    async def main() -> None:
        suno = server.client(request_timeout=5.0, on_creation=reported.append)
        create = asyncio.ensure_future(suno.create(GenerateMusic(prompt="rain")))
        await asyncio.sleep(0.3)
        await suno.close()
        assert asyncio.get_running_loop().time() == pytest.approx(5.3, abs=0.1)
        with pytest.raises(CreateOutcomeUnknownError):
            await create
        (creation,) = reported
        assert isinstance(creation.error, CreateOutcomeUnknownError)
        assert b"rain" in creation.error.body

    run_virtual(main())


def test_a_cancelled_close_can_be_completed() -> None:
    """If `close` is cancelled, a second call of `close` closes the client."""
    server = Server(delay=4.0)
    reported: list[Creation] = []

    async def main() -> None:
        suno = server.client(on_creation=reported.append)
        create = asyncio.ensure_future(suno.create(GenerateMusic(prompt="rain")))
        waiting = asyncio.ensure_future(suno.task("other").result())
        await asyncio.sleep(0.3)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await suno.close()
        await suno.close()
        assert (await create).id == "task-0"
        with pytest.raises(ClientClosedError):
            await waiting
        assert len(reported) == 1
        assert suno.statistics().watched == 0
        await suno.close()

    run_virtual(main())


def test_calls_that_wait_for_the_budget_end_at_close() -> None:
    """`close` ends all waiting calls of `balance`."""
    server = Server(delay=0.5)

    async def main() -> None:
        suno = server.client()
        calls = [asyncio.ensure_future(suno.balance()) for _ in range(73)]
        await asyncio.sleep(2.0)
        await suno.close()
        ended = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(each) for each in ended} == {float, ClientClosedError}
        assert sum(isinstance(each, ClientClosedError) for each in ended) > 40
        assert asyncio.get_running_loop().time() < 2.1
        with pytest.raises(ClientClosedError):
            await suno.balance()
        assert suno.statistics().requests > 0

    run_virtual(main())


def test_a_pause_fails_no_input_of_a_stream() -> None:
    """A stream waits for the end of a long pause, but `create` raises an error at once."""
    server = Server()
    down = True

    def answer(request: Any) -> Reply:  # noqa: ANN401 (a request)
        return reply(None, 429, **{"Retry-After": "1000000000"}) if down else server.usual(request)

    server.answer = answer

    async def main() -> None:
        nonlocal down
        loop = asyncio.get_running_loop()
        async with server.client(retry_for=30.0) as suno:
            jobs = [GenerateMusic(prompt=str(n)) for n in range(20)]
            stream = suno.create_many(jobs)
            first = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(5)
            paused = suno.statistics()
            assert paused.paused_until is not None
            assert "429" in paused.pause_reason
            began = loop.time()
            for call in (suno.create(GenerateMusic(prompt="x")), suno.balance()):
                with pytest.raises(RateLimitError) as caught:
                    await call
                assert caught.value.retry_after == pytest.approx(115, abs=1)
            assert loop.time() - began < 0.01
            # This is much longer than `retry_for`.
            await asyncio.sleep(500)
            down = False
            creations = [await first, *[each async for each in stream]]
        assert all(each.ok for each in creations)
        assert len(server.created) == 20
        assert server.count("CreateTask") < 40

    run_virtual(main())


def test_wait_for_credits() -> None:
    """With `wait_for_credits`, a stream reads the balance every 30 s until there are credits."""
    server = Server()
    credit = 5

    def answer(request: Any) -> Reply:  # noqa: ANN401 (a request)
        nonlocal credit
        if request.path.endswith("balance"):
            return reply({"balance": credit})
        if credit == 0:
            return reply(None, 402)
        credit -= 1
        return server.usual(request)

    server.answer = answer

    async def main() -> None:
        nonlocal credit
        async with server.client() as suno:
            jobs = [GenerateMusic(prompt=str(n)) for n in range(40)]
            stream = suno.create_many(jobs, wait_for_credits=True)
            taken = [await anext(stream) for _ in range(5)]
            rest = asyncio.ensure_future(anext(stream))
            refused = server.count("CreateTask")
            await asyncio.sleep(300)
            assert 9 <= server.count("balance") <= 11
            assert server.count("CreateTask") <= refused + 8
            credit = 100
            taken += [await rest, *[each async for each in stream]]
        assert all(each.ok for each in taken)
        assert sorted(each.index for each in taken) == list(range(40))
        assert all(len(ids) == 1 for ids in server.created.values())

    run_virtual(main())


@pytest.mark.parametrize("code", [0, 418, 500, 503])
def test_a_code_that_proves_nothing(code: int) -> None:
    """After an unknown code or a server error, `create` raises `CreateOutcomeUnknownError`."""
    server = Server()
    server.answer = lambda _: reply(None, code)._replace(status=200)

    async def main() -> None:
        async with server.client() as suno:
            with pytest.raises(CreateOutcomeUnknownError):
                await suno.create(GenerateMusic(prompt="rain"))
        assert server.count("CreateTask") == 1

    run_virtual(main())
