"""Streams end after any exception, cancellation or close, and report each create before that."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import sys
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from suno_async import (
    ClientClosedError,
    Creation,
    GenerateMusic,
    GeneratePersona,
    InvalidInputError,
    JobOutcome,
    PersonaCreation,
    PollPolicy,
)
from suno_async._polling.waiters import CHUNK
from suno_async._transport.http import Reply
from tests.finishing import Finishing
from tests.memory_journal import MemoryJournal
from tests.scripted import Server, reply, songs
from tests.virtual import run_virtual

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from suno_async import SunoClient
    from suno_async._protocol.requests import Request

#: The names of the two methods that read a stream of inputs.
METHODS = ["create_many", "pipeline"]


class Skipped(BaseException):
    """An error that derives from `BaseException` only, as the one that `pytest.skip` raises."""


async def one_song(after: object = None) -> AsyncIterator[GenerateMusic]:
    """Yield one song. Then raise `after`, or wait forever if it is None."""
    yield songs(1)[0]
    if isinstance(after, BaseException):
        raise after
    await asyncio.Event().wait()


async def take(stream: AsyncIterator[Any], taken: list[Any]) -> None:
    """Append the items of a stream to `taken`."""
    async for each in stream:
        taken.append(each)  # noqa: PERF401 (it raises)


def raise_skipped(*_: object) -> None:
    """Raise `Skipped`. Used as a callback."""
    raise Skipped


@pytest.mark.parametrize("where", ["jobs", "on_submission", "on_creation", "client"])
async def test_an_exception_that_is_no_exception_class(
    where: str, caplog: pytest.LogCaptureFixture
) -> None:
    """If user code raises an exception such as that of `pytest.skip`, the stream raises it."""
    server = Server(delay=0.01)
    jobs = one_song(Skipped()) if where == "jobs" else one_song()
    options: dict[str, Any] = {where: raise_skipped} if where.startswith("on_") else {}
    taken: list[Creation] = []
    client = server.client(on_creation=raise_skipped if where == "client" else None)
    async with client as suno:
        with pytest.raises(Skipped):
            # In real time, because a stream that loops forever would stop virtual time.
            async with asyncio.timeout(10):
                await take(suno.create_many(jobs, **options), taken)
    assert [each.ok for each in taken] == [where != "on_submission"]
    assert bool(server.created) == (where != "on_submission")
    assert ("task-0" in caplog.text) == (where == "client")


@pytest.mark.parametrize("name", ["suno_async create", "suno_async create_many"])
@pytest.mark.parametrize("turns", range(6))
async def test_a_cancelled_asyncio_task_of_a_stream(name: str, turns: int) -> None:
    """If an inner asyncio task is cancelled, even before its first step, the stream ends.

    Without a creation for its input, the stream ends with an error.
    """
    server = Server(delay=0.01)
    taken: list[Creation] = []
    async with server.client() as suno:
        taking = asyncio.ensure_future(take(suno.create_many(songs(1)), taken))
        for _ in range(turns):
            await asyncio.sleep(0)
        for task in asyncio.all_tasks():
            if task.get_name() == name:
                task.cancel()
        async with asyncio.timeout(10):
            await asyncio.wait([taking])
        assert taken or isinstance(taking.exception(), RuntimeError)


@pytest.mark.parametrize("method", ["create", "create_many"])
@pytest.mark.parametrize("turns", range(3))
async def test_all_asyncio_tasks_are_cancelled(method: str, turns: int) -> None:
    """If every asyncio task is cancelled while the journal stores a new task, no task is lost.

    `asyncio.run` cancels them like this when its coroutine returns.
    """
    server, journal = Server(delay=0.01), MemoryJournal()
    reported: list[Creation | PersonaCreation] = []
    storing = asyncio.Event()
    journal.before = lambda name: storing.set() if name == "advance created" else None

    async def work() -> None:
        async with server.client(journal=journal, on_creation=reported.append) as suno:
            if method == "create":
                await suno.create(songs(1)[0])
            else:
                await take(suno.create_many(one_song()), [])

    working = asyncio.ensure_future(work())
    await storing.wait()
    for _ in range(turns):
        await asyncio.sleep(0)
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    async with asyncio.timeout(10):
        await asyncio.wait([working])
    assert [each.ok for each in reported] == [True]
    assert [each.state.value for each in journal.store.submissions.values()] == ["created"]
    assert list(journal.store.tasks) == ["task-0"]


@pytest.mark.parametrize("method", METHODS)
def test_close_while_a_stream_waits_for_an_input(method: str) -> None:
    """`close` ends a stream that waits for the next input."""
    server = Finishing()
    taken: list[Creation | JobOutcome] = []

    async def main() -> None:
        async with server.client() as suno:
            taking = asyncio.ensure_future(take(getattr(suno, method)(one_song()), taken))
            await asyncio.sleep(1000)
            assert [each.ok for each in taken] == [True]
            await suno.close()
            async with asyncio.timeout(1):
                with pytest.raises(ClientClosedError):
                    await taking

    run_virtual(main())


@pytest.mark.parametrize("method", METHODS)
def test_a_stream_that_starts_after_close(method: str) -> None:
    """A stream whose iteration begins after `close` reads no input, and raises an error."""
    server = Server()
    read: list[int] = []

    async def source() -> AsyncIterator[GenerateMusic]:
        read.append(1)
        await asyncio.Event().wait()
        yield songs(1)[0]

    async def main() -> None:
        async with server.client() as suno:
            stream = getattr(suno, method)(source())
        async with asyncio.timeout(1):
            with pytest.raises(ClientClosedError):
                await anext(stream)
        assert not read

    run_virtual(main())


def test_a_source_that_closes_the_client() -> None:
    """If the source of a stream closes the client, `close` is not interrupted."""
    server = Server()
    closed: list[bool] = []

    async def source(suno: SunoClient) -> AsyncIterator[GenerateMusic]:
        first, second = songs(2)
        yield first
        await asyncio.sleep(1)
        await suno.close()
        closed.append(True)
        yield second

    async def main() -> None:
        async with server.client() as suno:
            taken: list[Creation] = []
            with pytest.raises(ClientClosedError):
                await take(suno.create_many(source(suno)), taken)
        assert closed
        assert list(server.created) == ["0"]
        assert [each.ok for each in taken] == [True, False]

    run_virtual(main())


@pytest.mark.parametrize("method", METHODS)
def test_a_persona_is_no_job(method: str) -> None:
    """A stream refuses a `GeneratePersona`, and sends nothing for it."""
    server = Server()
    jobs = [GeneratePersona(task_id="t", suno_id="s", name="Ann")]

    async def main() -> None:
        async with server.client() as suno:
            (ended,) = [each async for each in getattr(suno, method)(jobs, max_credits=0)]
            assert isinstance(ended.error, InvalidInputError)
            with pytest.raises(InvalidInputError):
                await suno.create(jobs[0])  # type: ignore[arg-type]
        assert not server.requests

    run_virtual(main())


def test_a_page_of_a_proxy_ends_no_stream() -> None:
    """A 403 that is no reply of the API fails one estimate, and the stream continues."""
    server = Server()

    def answer(request: Request) -> Reply:
        if "estimate" not in request.path:
            return server.usual(request)
        if server.count("estimate-credits") == 3:
            return Reply(403, {}, b"<html>blocked</html>")
        return reply({"estimated_credits": 1, "balance": 50, "affordable": True})

    server.answer = answer

    async def main() -> None:
        async with server.client() as suno:
            ended = [each.ok async for each in suno.create_many(songs(20), max_credits=1)]
        assert sorted(ended) == [False] + [True] * 19

    run_virtual(main())


def test_a_page_of_a_proxy_does_not_end_the_wait_for_credits() -> None:
    """While a stream waits for credits, a 403 that is no reply of the API is ignored."""
    server = Server()

    def answer(request: Request) -> Reply:
        if not request.path.endswith("balance"):
            return reply(None, 402) if server.count("balance") < 3 else server.usual(request)
        if server.count("balance") == 2:
            return Reply(403, {}, b"<html>blocked</html>")
        return reply({"balance": 10 * (server.count("balance") == 3)})

    server.answer = answer

    async def main() -> None:
        async with server.client() as suno:
            stream = suno.create_many(songs(3), wait_for_credits=True)
            assert [each.ok async for each in stream] == [True] * 3
        assert server.count("balance") == 3

    run_virtual(main())


def test_timers_of_a_pipeline() -> None:
    """After a pipeline with a long timeout has ended, no timer keeps its client in memory."""
    server = Finishing()

    async def main() -> None:
        references: list[weakref.ref[object]] = []

        async def run() -> None:
            async with server.client() as suno:
                references.append(weakref.ref(suno))
                outcomes = [each async for each in suno.pipeline(songs(3), timeout=86_400)]
                assert all(each.ok for each in outcomes)
                running = Server()
            async with running.client() as suno:
                references.append(weakref.ref(suno))
                async with contextlib.aclosing(suno.pipeline(songs(3), timeout=86_400)) as stream:
                    leaving = asyncio.ensure_future(anext(stream))
                    await asyncio.sleep(5)
                    leaving.cancel()
                    await asyncio.wait([leaving])

        await run()
        await asyncio.sleep(200)  # A closed account stays in memory for up to 120 s.
        gc.collect()
        assert [each() for each in references] == [None, None]

    run_virtual(main())


def test_leaving_a_pipeline_with_many_tasks() -> None:
    """If a pipeline with many pending tasks is left, the event loop is not blocked for long."""
    server = Server()
    count = 3 * CHUNK

    async def main() -> None:
        async with server.client() as suno:
            pipeline = suno.pipeline(songs(count), max_pending=count)
            leaving = asyncio.ensure_future(anext(pipeline))
            await asyncio.sleep(200)
            watched = [suno.statistics().watched]
            assert watched == [count]
            leaving.cancel()
            while watched[-1]:
                await asyncio.sleep(0)
                watched.append(suno.statistics().watched)
            await asyncio.wait([leaving])
        assert max(before - after for before, after in itertools.pairwise(watched)) <= CHUNK

    run_virtual(main())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python 3.12 added eager asyncio tasks")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("fails", [False, True])
async def test_an_eager_task_factory(method: str, *, fails: bool) -> None:
    """With eager asyncio tasks, a stream also ends if a create ends before its first wait."""
    server = Finishing()
    jobs = [*songs(1), GenerateMusic(prompt="")]
    taken: list[Creation | JobOutcome] = []

    def check(creation: Creation) -> None:
        if fails and not creation.ok:
            raise ValueError("no task")

    asyncio.get_running_loop().set_task_factory(vars(asyncio)["eager_task_factory"])
    async with server.client(policy=PollPolicy().scaled(1000)) as suno, asyncio.timeout(10):
        with pytest.raises(ValueError, match="no task") if fails else contextlib.nullcontext():
            await take(getattr(suno, method)(jobs, on_creation=check), taken)
    assert sorted(each.ok for each in taken) == [False, True]
