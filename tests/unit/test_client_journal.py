"""Tests of a client with a journal: what the journal stores, and when.

A *create* is the request that creates a task.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from suno_async import (
    ConfigurationError,
    JournalError,
    NotSentError,
    SubmissionState,
    SunoClient,
    TaskHandle,
    TaskInfo,
    TaskTimeoutError,
)
from suno_async.limits.local import LocalLimiter
from tests.finishing import JOB, Finishing, collect, jobs
from tests.memory_journal import MemoryJournal, Store
from tests.scripted import Server
from tests.virtual import run_virtual

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection

    from suno_async._protocol.requests import Request
    from suno_async._transport.http import Reply
    from suno_async.journal.base import TaskRecord


def test_every_step_is_stored_before_the_next_one_happens() -> None:
    """The journal stores each step of a create before the next step happens."""

    async def work() -> None:
        server, journal = Finishing(), MemoryJournal()
        states: list[tuple[str, list[str]]] = []

        def answer(request: Request) -> Reply:
            name = request.path.rpartition("/")[2]
            states.append((name, [state for _, state in journal.store.log]))
            return server.finishing(request)

        server.answer = answer
        async with server.client(journal=journal) as suno:
            handle = await suno.create(JOB)
            (record,) = journal.store.submissions.values()
            assert record.state is SubmissionState.CREATED
            assert record.task_id == handle.id
            assert record.created_at == handle.created_at
            assert not journal.store.tasks[handle.id].ended
            info = await handle
            assert isinstance(info, TaskInfo)
            assert journal.store.tasks[handle.id].status == "success"
            assert journal.store.tasks[handle.id].raw == info.raw
        assert states[0] == ("CreateTask", ["planned", "sending"])
        assert states[1] == ("TaskInfo", ["planned", "sending", "created"])

    run_virtual(work())


def test_a_result_is_stored_before_a_stream_yields_it() -> None:
    """`as_completed` yields an outcome only after it was stored in the journal."""

    async def work() -> None:
        server, journal = Finishing(), MemoryJournal()
        ids = [f"task-{number}" for number in range(40)]
        async with server.client(journal=journal) as suno:
            async for outcome in suno.as_completed(ids):
                assert journal.store.tasks[outcome.task_id].ended
        async with server.client(journal=MemoryJournal(journal.store)) as suno:
            again = [each.task_id async for each in suno.as_completed(ids)]
        assert sorted(again) == sorted(ids)
        assert len(server.polls) == len(ids)

    run_virtual(work())


class SlowToRead(MemoryJournal):
    """A journal that needs 10 seconds to find tasks."""

    async def find_tasks(self, task_ids: Collection[str]) -> dict[str, TaskRecord]:
        """Wait for 10 seconds, then return the tasks."""
        await asyncio.sleep(10)
        return await super().find_tasks(task_ids)


def test_a_timeout_includes_the_look_into_the_journal() -> None:
    """A timeout includes the time that the client needs to read the journal."""

    async def work() -> None:
        server, loop = Server(), asyncio.get_running_loop()
        async with server.client(journal=SlowToRead()) as suno:
            handle = await suno.create(JOB)
            started = loop.time()
            with pytest.raises(TaskTimeoutError):
                await handle.result(timeout=15)
            assert loop.time() - started == pytest.approx(15, abs=0.1)
            started = loop.time()
            assert len(await suno.outcomes(slowly([handle, handle]), timeout=15)) == 2
            assert loop.time() - started == pytest.approx(15, abs=0.1)
            started = loop.time()
            (outcome,) = await collect(suno.pipeline(jobs(1), timeout=15))
            assert isinstance(outcome.error, TaskTimeoutError)
            assert loop.time() - started == pytest.approx(15, abs=0.5)

    async def slowly(tasks: list[TaskHandle]) -> AsyncIterator[TaskHandle]:
        await asyncio.sleep(3)
        for task in tasks:
            yield task

    run_virtual(work())


def test_a_stored_result_needs_no_time() -> None:
    """`result` returns a stored result even if the timeout is 0."""

    async def work() -> None:
        server, journal = Finishing(), SlowToRead()
        async with server.client(journal=journal) as suno:
            handle = await suno.create(JOB)
            info = await handle
            assert await handle.result(timeout=0) == info
        assert len(server.polls) == 1

    run_virtual(work())


def test_a_journal_that_fails_before_the_request_prevents_it() -> None:
    """If the journal cannot store a create, the create is not sent."""

    async def work() -> None:
        server, journal = Finishing(), MemoryJournal()

        def fail(name: str) -> None:
            if name == "advance sending":
                raise JournalError("disk full")

        journal.before = fail
        async with server.client(journal=journal) as suno:
            with pytest.raises(JournalError, match="disk full"):
                await suno.create(JOB)
            assert suno.statistics().requests == 0
        assert not server.requests

    run_virtual(work())


def test_a_journal_that_fails_after_the_reply_loses_no_id(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """If a task id cannot be stored, the id is logged, and `create` still returns the task."""

    async def work() -> str:
        server, journal = Finishing(), MemoryJournal()

        def fail(name: str) -> None:
            if name in {"advance created", "keep_results", "find_tasks"}:
                raise JournalError("disk full")

        journal.before = fail
        async with server.client(journal=journal) as suno:
            handle = await suno.create(JOB)
            assert (await handle).task_id == handle.id
            return handle.id

    assert run_virtual(work()) in caplog.text


def test_two_clients_share_the_rate_of_the_account() -> None:
    """Two clients of the same account share the rate limit equally."""

    async def work() -> None:
        store = Store()
        server = Finishing()
        # Separate limiters, as in two processes.
        first, second = LocalLimiter(), LocalLimiter()
        async with server.client(journal=MemoryJournal(store), limiter=first) as one:
            assert first.rate == 15.0
            async with server.client(journal=MemoryJournal(store), limiter=second) as two:
                assert first.rate == second.rate == 7.5
                ids = [f"task-{number}" for number in range(60)]
                await asyncio.gather(one.outcomes(ids), two.outcomes([f"b-{each}" for each in ids]))
            await asyncio.sleep(3)
            assert first.rate == 15.0
        times = [at for at, _ in server.requests]
        assert max(sum(start <= at < start + 1 for at in times) for start in times) <= 15

    run_virtual(work())


def test_learnt_durations_survive_a_restart() -> None:
    """A new client loads the task durations that an earlier client stored in the journal."""

    async def work() -> None:
        server, store = Finishing(), Store()
        async with server.client(journal=MemoryJournal(store)) as suno:
            await suno.outcomes([f"task-{number}" for number in range(30)])
        async with server.client(journal=MemoryJournal(store)) as suno:
            assert suno.statistics().learnt["suno/music-generate"].samples == 30
        store.durations = b"nonsense"
        async with server.client(journal=MemoryJournal(store)) as suno:
            assert not suno.statistics().learnt

    run_virtual(work())


def test_a_journal_must_be_opened() -> None:
    """If a client with a journal is used without `async with`, it raises an error."""

    async def work() -> None:
        suno = Finishing().client(journal=MemoryJournal())
        with pytest.raises(ConfigurationError, match="async with"):
            await suno.balance()
        await suno.close()

    run_virtual(work())


async def by_dedupe_key(suno: SunoClient) -> object:
    """Create a task with a dedupe key."""
    return await suno.create(JOB, dedupe_key="a")


async def by_settle(suno: SunoClient) -> None:
    """Call `settle`, which needs a journal."""
    await suno.settle("a", None)


async def by_run(suno: SunoClient) -> object:
    """Start a run, and return its first outcome."""
    return await anext(suno.pipeline([JOB], run="a"))


async def by_resume(suno: SunoClient) -> object:
    """Resume the unfinished tasks, and return the first outcome."""
    return await anext(suno.resume())


@pytest.mark.parametrize("use", [by_dedupe_key, by_settle, by_run, by_resume])
def test_what_needs_a_journal_says_so(use: Callable[[SunoClient], Awaitable[object]]) -> None:
    """If a client has no journal, each feature that needs one raises `ConfigurationError`."""

    async def work() -> None:
        async with Finishing().client() as suno:
            with pytest.raises(ConfigurationError, match="journal"):
                await use(suno)

    run_virtual(work())


def test_a_slow_process_whose_submission_was_taken_over_sends_nothing() -> None:
    """If another client takes over a planned create, the first client does not send the create."""

    async def work() -> None:
        server, journal = Finishing(), MemoryJournal()

        def stolen(name: str) -> None:
            if name == "advance sending":
                for key in journal.store.owned:
                    journal.store.owned[key] = MemoryJournal(journal.store)

        journal.before = stolen
        async with server.client(journal=journal) as suno:
            with pytest.raises((JournalError, NotSentError)):
                await suno.create(JOB)
        assert server.creates == 0

    run_virtual(work())
