"""Tests of changes that the journal accepts only later, and of the error texts in the journal.

A *run* is a named group of creates. A stream, such as a pipeline, *reserves* its run. Then no other
stream works on the same run.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from suno_async import (
    ClientClosedError,
    CreateOutcomeUnknownError,
    Durations,
    JournalError,
    ResponseError,
    SqliteJournal,
    SubmissionState,
)
from suno_async._recording import LATE_TRIES, Recorder
from suno_async.submissions import Submission
from tests.finishing import JOB, Finishing, collect, jobs
from tests.journals import opened, stored
from tests.memory_journal import MemoryJournal
from tests.virtual import run_virtual

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from suno_async import Creation


class Locked(MemoryJournal):
    """A journal that refuses some changes while `locked` contains their names."""

    def __init__(self, *locked: str) -> None:
        super().__init__()
        self.locked = set(locked)
        self.before = self.refuse

    def refuse(self, name: str) -> None:
        """Raise an error if the change is locked."""
        if name in self.locked:
            raise JournalError("locked")

    def unlock(self) -> None:
        """Accept all changes from now on."""
        self.locked.clear()


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("heartbeats", [0, 2])
def test_an_end_that_is_stored_late(heartbeats: int, *, lost: bool) -> None:
    """If the end of a create is stored late, a later create with its key still gets this end."""

    async def work() -> None:
        server, journal = Finishing(), Locked("advance created", "advance unknown")
        server.lose = {"song 0"} if lost else set()
        (job,) = jobs(1)
        async with server.client(journal=journal) as suno, asyncio.timeout(30):

            async def end() -> str:
                try:
                    return (await suno.create(job, dedupe_key="a")).id
                except CreateOutcomeUnknownError as error:
                    return str(error)

            first = await end()
            if not heartbeats:
                with pytest.raises(JournalError, match="locked"):
                    await end()
            journal.unlock()
            await asyncio.sleep(2.5 * heartbeats)
            (record,) = journal.store.submissions.values()
            assert record.state.ended == bool(heartbeats)
            assert await end() == first
        assert server.creates == 1

    run_virtual(work())


def test_an_end_is_stored_before_the_journal_is_closed() -> None:
    """If the journal did not accept a task id at first, it is stored when the client closes."""

    async def work() -> None:
        server, journal = Finishing(), Locked("advance created")
        async with server.client(journal=journal) as suno:
            handle = await suno.create(JOB)
            journal.unlock()
        (record,) = journal.store.submissions.values()
        assert (record.state, record.task_id) == (SubmissionState.CREATED, handle.id)

    run_virtual(work())


@pytest.mark.parametrize("heartbeats", [0, 2])
def test_a_run_that_is_released_late(heartbeats: int) -> None:
    """If a run cannot be released at its end, it is released later, at the latest for its reuse."""

    async def work() -> None:
        server, journal = Finishing(), Locked("release")
        async with server.client(journal=journal) as suno:
            assert len(await collect(suno.pipeline(jobs(2), run="album"))) == 2
            assert journal.store.held
            journal.unlock()
            await asyncio.sleep(2.5 * heartbeats)
            assert bool(journal.store.held) == (not heartbeats)
            assert len(await collect(suno.pipeline(jobs(2), run="album"))) == 2
            assert not journal.store.held

    run_virtual(work())


def test_a_late_release_does_not_free_a_run_in_use() -> None:
    """A run that was released late and reserved again stays reserved after the next heartbeats."""

    async def work() -> None:
        server, journal = Finishing(), Locked("release")
        async with server.client(journal=journal) as suno:
            await collect(suno.pipeline(jobs(2), run="album"))
            journal.unlock()
            again = suno.pipeline(jobs(2), run="album")
            await anext(again)
            await asyncio.sleep(5)
            assert journal.store.held
            await again.aclose()
            assert not journal.store.held

    run_virtual(work())


def test_a_cancelled_release() -> None:
    """A run can be used again after its release was cancelled."""

    async def work() -> None:
        server, journal = Finishing(), Locked("release")
        journal.delay = 0.2
        async with server.client(journal=journal) as suno:
            released = asyncio.Event()

            def note(name: str) -> None:
                if name == "release":
                    released.set()

            journal.before = note
            work = asyncio.create_task(collect(suno.pipeline(jobs(1), run="album")))
            await released.wait()
            work.cancel()
            with pytest.raises(asyncio.CancelledError):
                await work
            assert journal.store.held
            assert len(await collect(suno.pipeline(jobs(1), run="album"))) == 1

    run_virtual(work())


@pytest.mark.parametrize("is_sent", [False, True])
async def test_the_reason_of_a_failure(tmp_path: Path, *, is_sent: bool) -> None:
    """The journal stores only the reason of a failed create, and as valid Unicode."""
    async with opened(SqliteJournal(tmp_path / "j.db")) as journal:
        recorder = Recorder(journal, "a", Durations(), lambda: 0.0)
        submission = Submission("s", JOB)
        assert await recorder.claim(submission)
        if is_sent:
            submission.sending()
        submission.failed(ResponseError("bad name caf\udce9"))
        await recorder.note_end(submission)
        (entry,) = await stored(journal)
    assert entry.submission is not None
    assert entry.submission.state.value == ("unknown" if is_sent else "not_sent")
    assert entry.submission.error == str(ResponseError("bad name caf?"))


def test_an_end_that_the_journal_never_accepts(caplog: pytest.LogCaptureFixture) -> None:
    """After `LATE_TRIES` tries to store the end of a create, the client logs an error."""

    async def work() -> int:
        server, journal = Finishing(), Locked("advance created")
        tries = 0

        def refuse(name: str) -> None:
            nonlocal tries
            tries += name == "advance created"
            journal.refuse(name)

        journal.before = refuse
        async with server.client(journal=journal) as suno:
            await suno.create(JOB, dedupe_key="a")
            await asyncio.sleep(600)
        return tries

    assert run_virtual(work()) == 1 + LATE_TRIES
    assert "is not stored: locked" in caplog.text


def test_close_in_on_submission() -> None:
    """If `on_submission` closes the client, the create is stored as not sent."""

    async def work() -> None:
        server, journal = Finishing(), MemoryJournal()
        suno = server.client(journal=journal)

        async def close(_: Submission) -> None:
            await suno.close()

        async with suno:
            stream = suno.create_many(jobs(1), on_submission=close)
            (creation,) = [each async for each in stream_until_error(stream)]
        assert isinstance(creation.error, ClientClosedError)
        assert server.count("CreateTask") == 0
        (record,) = journal.store.submissions.values()
        assert record.state is not SubmissionState.UNKNOWN

    run_virtual(work())


async def stream_until_error(stream: AsyncIterator[Creation]) -> AsyncIterator[Creation]:
    """Yield the creations of a stream. Its `ClientClosedError` only ends the iteration."""
    with contextlib.suppress(ClientClosedError):
        async for each in stream:
            yield each
