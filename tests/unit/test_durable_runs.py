"""Tests of runs and of `resume`: a stopped program continues, and pays nothing twice.

A *run* is a `pipeline` with a name and a journal.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from suno_async import (
    CreateOutcomeUnknownError,
    GenerateMusic,
    InputChangedError,
    RunInUseError,
    SqliteJournal,
    SubmissionState,
    SunoClient,
    TaskFailedError,
)
from tests.finishing import JOB, Finishing, collect, jobs
from tests.memory_journal import MemoryJournal, Store
from tests.virtual import run_virtual

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("stop_after", [0, 1, 7, 13, 30])
def test_a_run_continues_where_it_was_stopped(stop_after: int) -> None:
    """A run that is stopped and continued creates exactly one task for each input."""

    async def work() -> None:
        server, store = Finishing(), Store()
        inputs = [*jobs(20), GenerateMusic(prompt="will fail")]
        async with server.client(journal=MemoryJournal(store)) as suno:
            count = 0
            outcomes = suno.pipeline(inputs, run="album")
            while count < stop_after and await anext(outcomes, None) is not None:
                count += 1
            await outcomes.aclose()
        async with server.client(journal=MemoryJournal(store)) as suno:
            ended = await collect(suno.pipeline(inputs, run="album"))
            polls = len(server.polls)
            again = await collect(suno.pipeline(inputs, run="album"))
        assert sorted(each.index for each in ended) == list(range(21))
        assert server.creates == 21
        assert all(len(ids) == 1 for ids in server.created.values())
        assert len(server.polls) == polls
        for outcomes_of in (ended, again):
            errors = {each.index: each.error for each in outcomes_of if each.error is not None}
            assert isinstance(errors.pop(20), TaskFailedError)
            assert not errors

    run_virtual(work())


def test_a_killed_run_marks_what_was_in_flight_as_unknown() -> None:
    """If a process is killed during a run, continuing the run creates no task twice."""

    async def work(seed: int) -> int:
        draw = random.Random(seed)
        server, store = Finishing(), Store()
        inputs = jobs(25)
        unknown: set[int] = set()
        for _ in range(4):
            journal = MemoryJournal(store)
            suno = await server.client(journal=journal).__aenter__()
            running = asyncio.create_task(collect(suno.pipeline(inputs, run="album")))
            await asyncio.sleep(draw.uniform(0.0, 0.8))
            store.kill(journal)
            running.cancel()
            await asyncio.wait([running])
            await suno.close()
        async with server.client(journal=MemoryJournal(store)) as suno:
            ended = await collect(suno.pipeline(inputs, run="album"))
            for each in ended:
                if each.error is not None:
                    assert isinstance(each.error, CreateOutcomeUnknownError)
                    unknown.add(each.index)
            listed = [each async for each in suno.resume(run="album")]
        assert sorted(each.index for each in ended) == list(range(25))
        assert {each.index for each in listed} == unknown
        assert all(len(ids) == 1 for ids in server.created.values())
        created = {int(prompt.split()[1]) for prompt in server.created}
        assert created | unknown == set(range(25))
        return len(unknown)

    assert sum(run_virtual(work(seed)) for seed in range(10)) > 0


def test_keys_follow_inputs_whose_order_changes() -> None:
    """If a run uses a `key` function, it can be continued with a different order of inputs."""

    async def work() -> None:
        server, store = Finishing(), Store()
        inputs = jobs(10)

        def key(job: object) -> str:
            assert isinstance(job, GenerateMusic)
            return job.prompt or ""

        async with server.client(journal=MemoryJournal(store)) as suno:
            await collect(suno.pipeline(inputs[:5], run="album", key=key))
            ended = await collect(suno.pipeline(inputs[::-1], run="album", key=key))
        assert len(ended) == server.creates == 10

    run_virtual(work())


def test_a_changed_input_ends_a_run_before_anything_is_paid() -> None:
    """If an input of a run has changed, continuing the run raises an error and creates no task."""

    async def work() -> None:
        server = Finishing()
        async with server.client(journal=MemoryJournal()) as suno:
            await collect(suno.pipeline(jobs(3), run="album"))
            changed = [GenerateMusic(prompt="another"), *jobs(3)[1:]]
            with pytest.raises(InputChangedError, match="input 0 of run 'album'"):
                await collect(suno.pipeline(changed, run="album"))
        assert server.creates == 3

    run_virtual(work())


def test_one_stream_at_a_time_works_on_a_run() -> None:
    """While a stream uses a run, every other stream of this run raises `RunInUseError`."""

    async def work() -> None:
        server, store = Finishing(), Store()
        async with (
            server.client(journal=MemoryJournal(store)) as one,
            server.client(journal=MemoryJournal(store)) as two,
        ):
            first = one.pipeline(jobs(3), run="album")
            await anext(first)
            for suno in (one, two):
                with pytest.raises(RunInUseError, match="album"):
                    await collect(suno.pipeline(jobs(3), run="album"))
                with pytest.raises(RunInUseError, match="album"):
                    await collect(suno.resume(run="album"))
            await first.aclose()
            assert len(await collect(two.pipeline(jobs(3), run="album"))) == 3

    run_virtual(work())


def test_resume_waits_for_all_that_is_open() -> None:
    """`resume` yields the outcome and the input of each unfinished task."""

    async def work() -> None:
        server, store = Finishing(), Store()
        async with server.client(journal=MemoryJournal(store)) as suno:
            created = [each async for each in suno.create_many(jobs(5))]
            done = await suno.run(JOB)
        ids = {each.handle.id: each.job for each in created if each.error is None}
        async with server.client(journal=MemoryJournal(store)) as suno:
            outcomes = await collect(suno.resume())
            assert {each.task_id: each.job for each in outcomes} == ids
            assert done.task_id not in ids
            assert await collect(suno.resume()) == []

    run_virtual(work())


def test_handles_of_all_that_is_open() -> None:
    """`open_tasks` returns a handle for each task that has not ended, and sends no request."""

    async def work() -> None:
        server, store = Finishing(), Store()
        async with server.client(journal=MemoryJournal(store)) as suno:
            await suno.run(JOB)
            created = [each async for each in suno.create_many(jobs(3))]
        open_ids = {each.handle.id for each in created if each.handle is not None}
        async with server.client(journal=MemoryJournal(store)) as suno:
            requests = len(server.requests)
            handles = await suno.open_tasks()
            assert {each.id for each in handles} == open_ids
            assert len(server.requests) == requests
            assert all(each.created_at is not None for each in handles)
            await handles[0]
            assert len(await suno.open_tasks()) == 2

    run_virtual(work())


async def test_an_open_task_without_a_submission(tmp_path: Path) -> None:
    """`open_tasks` includes a task whose submission was replaced before its id was known."""
    journal = SqliteJournal(tmp_path / "runs.db")
    async with SunoClient("key", journal=journal) as suno:
        await journal.advance("replaced", SubmissionState.CREATED, task_id="late", created_at=5.0)
        (handle,) = await suno.open_tasks()
        assert (handle.id, handle.created_at) == ("late", 5.0)
        assert await suno.open_tasks(run="album") == []
