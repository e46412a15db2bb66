"""Tests of `create` with a dedupe key: a repeated create returns the earlier task."""

from __future__ import annotations

import asyncio

import pytest

from suno_async import (
    CreateOutcomeUnknownError,
    GenerateMusic,
    InputChangedError,
    JournalError,
    MaintenanceError,
    SunoError,
    ValidationError,
)
from tests.finishing import JOB, Finishing
from tests.memory_journal import MemoryJournal, Store
from tests.virtual import run_virtual


def test_a_dedupe_key_pays_once_also_after_a_restart() -> None:
    """A second create with the same dedupe key returns the first task, even after a restart."""

    async def work() -> None:
        server, store = Finishing(), Store()
        creations: list[object] = []
        async with server.client(
            journal=MemoryJournal(store), on_creation=creations.append
        ) as suno:
            first = await suno.create(JOB, dedupe_key="a")
            second = await suno.create(JOB, dedupe_key="a")
            other = await suno.create(JOB, dedupe_key="b")
        async with server.client(journal=MemoryJournal(store)) as suno:
            third = await suno.create(JOB, dedupe_key="a")
            assert third.created_at == first.created_at
        assert first.id == second.id == third.id != other.id
        assert server.creates == 2
        assert len(creations) == 2

    run_virtual(work())


def test_concurrent_creates_with_one_key_pay_once() -> None:
    """Concurrent creates with the same key return the same task."""

    async def work() -> None:
        server, store = Finishing(), Store()
        async with (
            server.client(journal=MemoryJournal(store)) as one,
            server.client(journal=MemoryJournal(store)) as two,
        ):
            handles = await asyncio.gather(
                *(each.create(JOB, dedupe_key="a") for each in (one, two, one, two))
            )
        assert len({each.id for each in handles}) == 1
        assert server.creates == 1

    run_virtual(work())


@pytest.mark.parametrize(("code", "error"), [(422, ValidationError), (455, MaintenanceError)])
def test_a_refused_key_creates_again(code: int, error: type[SunoError]) -> None:
    """If the server refuses a create, the create can be repeated with the same key."""

    async def work() -> None:
        server, store = Finishing(), Store()
        async with server.client(journal=MemoryJournal(store), retry_for=0) as suno:
            server.refuse = code
            with pytest.raises(error):
                await suno.create(JOB, dedupe_key="a")
            server.refuse = 0
            await asyncio.sleep(100)
            handle = await suno.create(JOB, dedupe_key="a")
        assert [each.task_id for each in store.submissions.values()] == [handle.id]

    run_virtual(work())


def test_an_unknown_key_is_not_sent_again_until_it_is_settled() -> None:
    """If the reply to a create is lost, the key cannot be used again until `settle` is called."""

    async def work() -> None:
        server, store = Finishing(), Store()
        server.lose = {"slow piano"}
        async with server.client(journal=MemoryJournal(store)) as suno:
            with pytest.raises(CreateOutcomeUnknownError) as first:
                await suno.create(JOB, dedupe_key="a")
            with pytest.raises(CreateOutcomeUnknownError) as second:
                await suno.create(JOB, dedupe_key="a")
            assert server.creates == 1
            assert first.value.submission_id == second.value.submission_id != ""
            await suno.settle(first.value.submission_id, "task-0")
            assert (await suno.create(JOB, dedupe_key="a")).id == "task-0"
            with pytest.raises(CreateOutcomeUnknownError) as third:
                await suno.create(JOB, dedupe_key="b")
            await suno.settle(third.value.submission_id, None)
            server.lose = set()
            assert (await suno.create(JOB, dedupe_key="b")).id == "task-2"
            with pytest.raises(JournalError):
                await suno.settle(third.value.submission_id, None)

    run_virtual(work())


def test_a_key_belongs_to_one_input() -> None:
    """A second create with the same key but another input raises `InputChangedError`."""

    async def work() -> None:
        server = Finishing()
        async with server.client(journal=MemoryJournal()) as suno:
            await suno.create(JOB, dedupe_key="a")
            with pytest.raises(InputChangedError, match="'a'"):
                await suno.create(GenerateMusic(prompt="loud drums"), dedupe_key="a")
        assert server.creates == 1

    run_virtual(work())
