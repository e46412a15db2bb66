"""Tests of a client with a journal: cancellations, faults of the journal, and wrong arguments.

A *create* is the request that creates a task. A *submission* is the record of a create. A
*key* identifies a create, so that a repeated create returns the earlier task.

A *run* is a named group of submissions. A stream, such as a pipeline, *reserves* its run. Then no
other stream works on the same run.

The clients of one account divide the rate limit equally. Each client regularly writes a *heartbeat*
to the journal, so that the other clients know how many clients are open.
"""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, cast

import msgspec
import pytest

from suno_async import (
    ConfigurationError,
    CreateOutcomeUnknownError,
    ExtendMusic,
    GenerateMusic,
    JournalError,
    Peers,
    RunInUseError,
    SubmissionRecord,
    SubmissionState,
)
from suno_async.journal.sqlite import SqliteJournal
from suno_async.limits.local import LocalLimiter
from tests.finishing import JOB, Finishing, collect, jobs
from tests.memory_journal import MemoryJournal, Store
from tests.scripted import EPOCH, reply
from tests.virtual import VirtualLoop, run_virtual

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from pathlib import Path

    from suno_async._protocol.requests import Request
    from suno_async._transport.http import Reply
    from suno_async.inputs import Input


class Late(MemoryJournal):
    """A journal that completes `claim` and `hold` even if their caller is cancelled."""

    async def claim(self, record: SubmissionRecord) -> SubmissionRecord:
        """Store a planned submission. See `Journal.claim`."""
        return await asyncio.shield(asyncio.ensure_future(super().claim(record)))

    async def hold(self, run: str) -> None:
        """Reserve a run. See `Journal.hold`."""
        await asyncio.shield(asyncio.ensure_future(super().hold(run)))


async def cancelled_at(journal: MemoryJournal, name: str, work: Awaitable[object]) -> None:
    """Start `work`, and cancel it after the journal has started the step `name`."""
    reached = asyncio.Event()

    def note(called: str) -> None:
        if called == name:
            reached.set()

    journal.before = note
    task = asyncio.ensure_future(work)
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("name", ["claim", "advance sending", "advance created"])
def test_a_cancelled_create_leaves_its_key_usable(name: str) -> None:
    """If a create is cancelled and repeated with the same key, only one task is created."""

    async def work() -> None:
        server, journal = Finishing(), Late()
        async with server.client(journal=journal) as suno:
            await cancelled_at(journal, name, suno.create(JOB, dedupe_key="a"))
            async with asyncio.timeout(10):
                await suno.create(JOB, dedupe_key="a")
        assert server.creates == 1

    run_virtual(work())


def test_a_cancelled_start_of_a_run_releases_it() -> None:
    """A run can be started again after its start was cancelled."""

    async def work() -> None:
        server, journal = Finishing(), Late()
        async with server.client(journal=journal) as suno:
            await cancelled_at(journal, "hold", collect(suno.pipeline(jobs(2), run="album")))
            assert len(await collect(suno.pipeline(jobs(2), run="album"))) == 2

    run_virtual(work())


def test_a_refused_start_of_a_run_does_not_release_it() -> None:
    """If a second stream of a run cannot start, the run stays reserved for the first stream."""

    async def work() -> None:
        server, journal = Finishing(), Late()
        async with server.client(journal=journal) as suno:
            first = suno.pipeline(jobs(2), run="album")
            await anext(first)
            with pytest.raises(RunInUseError):
                await collect(suno.pipeline(jobs(2), run="album"))
            assert journal.store.held
            await cancelled_at(journal, "hold", collect(suno.pipeline(jobs(2), run="album")))
            assert journal.store.held
            await first.aclose()
            assert not journal.store.held

    run_virtual(work())


@pytest.mark.parametrize("name", ["claim", "advance sending", "advance created", "keep_results"])
def test_a_bug_in_a_journal_ends_no_stream_without_its_outcomes(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Each input gets an outcome, even if the journal raises an unexpected error."""

    async def work() -> list[str]:
        server, journal = Finishing(), MemoryJournal()

        def fail(called: str) -> None:
            if called == name:
                raise RuntimeError("bug")

        journal.before = fail
        async with server.client(journal=journal) as suno:
            outcomes = await collect(suno.pipeline(jobs(3), run="album"))
        assert sorted(each.index for each in outcomes) == [0, 1, 2]
        assert all(each.task_id for each in outcomes) == bool(server.creates)
        return [each.task_id for each in outcomes]

    assert all(task_id in caplog.text for task_id in run_virtual(work()))


@pytest.mark.parametrize("wrong", ["", None, 0, 7])
def test_a_key_must_be_text(wrong: object) -> None:
    """If the key of an input is empty or not a string, the run fails before it creates a task."""

    async def work() -> None:
        server = Finishing()

        def key(_: Input) -> str:
            return cast("str", wrong)

        async with server.client(journal=MemoryJournal()) as suno:
            with pytest.raises(ConfigurationError, match="key must return a non-empty string"):
                await collect(suno.pipeline(jobs(2), run="album", key=key))
        assert server.creates == 0

    run_virtual(work())


def test_a_run_needs_a_name() -> None:
    """`pipeline` refuses an empty run name. It also refuses a `key` without a run name."""

    async def work() -> None:
        async with Finishing().client(journal=MemoryJournal()) as suno:
            with pytest.raises(ConfigurationError, match="run must not be empty"):
                suno.pipeline(jobs(1), run="")
            with pytest.raises(ConfigurationError, match="needs the name of a run"):
                suno.pipeline(jobs(1), key=lambda _: "a")

    run_virtual(work())


def test_a_client_that_could_not_join_can_be_opened_again() -> None:
    """If the first heartbeat of a client fails, the client can be opened again."""

    async def work() -> None:
        server, journal = Finishing(), MemoryJournal()
        closed = 0

        async def close() -> None:
            nonlocal closed
            closed += 1

        server.close = close  # type: ignore[method-assign]

        def fail(name: str) -> None:
            if name == "heartbeat":
                raise JournalError("locked")

        suno = server.client(journal=journal)
        journal.before = fail
        with pytest.raises(JournalError, match="locked"):
            await suno.__aenter__()
        assert closed == 1
        assert not journal.store.owners
        journal.before, journal.killed = MemoryJournal().before, False
        async with suno:
            await suno.create(JOB)

    run_virtual(work())


def test_a_share_of_the_rate_ends_with_the_clients() -> None:
    """A client uses the whole rate of the account after all other clients were closed."""

    async def work() -> None:
        server, store = Finishing(), Store()
        async with (
            server.client(journal=MemoryJournal(store)),
            server.client(journal=MemoryJournal(store)) as suno,
        ):
            assert suno.statistics().rate_limit == 7.5
        async with server.client(journal=MemoryJournal(store)) as suno:
            assert suno.statistics().rate_limit == 15.0

    run_virtual(work())


def test_a_client_that_cannot_join_does_not_stop_others() -> None:
    """If the opening of a client is cancelled, the other clients keep the whole rate."""

    async def work() -> None:
        server, journal = Finishing(), MemoryJournal()
        limiter = LocalLimiter()

        async def heartbeat() -> Peers:
            return Peers(2, aware=False)

        journal.heartbeat = heartbeat  # type: ignore[method-assign]
        async with server.client(limiter=limiter) as suno:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1.0), server.client(journal=journal, limiter=limiter):
                    pass
            gc.collect()
            assert limiter.rate == 15.0
            async with asyncio.timeout(60.0):
                await asyncio.sleep(30.0)
                await suno.balance()

    run_virtual(work())


def test_of_several_counts_of_clients_the_highest_takes_effect() -> None:
    """If two journals report different numbers of clients, the limiter uses the higher number."""

    async def work() -> None:
        limiter = LocalLimiter()
        one, two = MemoryJournal(), MemoryJournal()
        limiter.share(3, one)
        limiter.share(1, two)
        assert limiter.rate == 5.0
        limiter.tighten(12.0, 60.0)
        assert limiter.rate == 4.0
        limiter.share(1, one)
        assert limiter.rate == 12.0

    run_virtual(work())


def test_a_client_that_was_stopped_waits_until_the_others_share() -> None:
    """A client whose process was suspended sends nothing until the others reduce their rate."""

    async def work() -> None:
        server, store = Finishing(), Store()
        loop = asyncio.get_running_loop()
        limiter = LocalLimiter()
        journal = MemoryJournal(store)
        peers = Peers()

        async def heartbeat() -> Peers:
            return peers

        journal.heartbeat = heartbeat  # type: ignore[method-assign]
        async with server.client(journal=journal, limiter=limiter) as suno:
            await asyncio.sleep(3)
            await suno.balance()
            # The process is stopped, and another process takes the whole rate.
            cast("VirtualLoop", loop).stop_for(60.0)
            peers = Peers(2, aware=False)
            balance = asyncio.create_task(suno.balance())
            await asyncio.sleep(1.5)
            assert server.count("balance") == 1
            peers = Peers(2)
            known_at = loop.time()
            await balance
            assert limiter.rate == 7.5
            # By then, the last requests of the other process have arrived.
            assert server.requests[-1][0] - known_at > 2 / 15

    run_virtual(work())


def test_a_journal_without_heartbeats_does_not_stop_the_client() -> None:
    """If a client cannot write heartbeats, it still sends requests."""

    async def work() -> None:
        server, journal = Finishing(), MemoryJournal()
        async with server.client(journal=journal) as suno:

            def fail(name: str) -> None:
                if name == "heartbeat":
                    raise JournalError("disk full")

            journal.before = fail
            for _ in range(20):
                await asyncio.sleep(1)
                await suno.balance()
            for task in asyncio.all_tasks():
                if "heartbeat" in task.get_name():
                    task.cancel()
            await asyncio.sleep(60)
            async with asyncio.timeout(5):
                await suno.balance()

    run_virtual(work())


def test_a_result_that_is_stored_slowly() -> None:
    """A success that arrived in time ends as a success, even if storing it takes 90 s."""

    async def work() -> str:
        server, journal = Finishing(), MemoryJournal()
        loop = asyncio.get_running_loop()

        def answer(_: Request) -> Reply:
            if loop.time() < 1190:
                return reply({"task_id": "t", "status": "running"})
            journal.delay = 90.0
            return reply({"task_id": "t", "status": "success"})

        server.answer = answer
        async with server.client(journal=journal) as suno:
            info = await suno.task("t", created_at=EPOCH).result()
            journal.delay = 0.0
        return info.status

    assert run_virtual(work()) == "success"


def test_a_client_that_is_cancelled_while_it_joins() -> None:
    """If two cancellations end the opening of a client, other clients still get permits."""

    async def work() -> None:
        server, slow, journal = Finishing(), Finishing(), MemoryJournal()

        async def heartbeat() -> Peers:
            return Peers(2, aware=False)

        async def close() -> None:
            await asyncio.sleep(1)

        journal.heartbeat = heartbeat  # type: ignore[method-assign]
        slow.close = close  # type: ignore[method-assign]
        async with server.client() as other:
            opening = asyncio.ensure_future(slow.client(journal=journal).__aenter__())
            await asyncio.sleep(1)
            opening.cancel()
            await asyncio.sleep(0.1)
            opening.cancel()
            await asyncio.wait([opening])
            await asyncio.sleep(60)
            async with asyncio.timeout(5):
                await other.balance()
            assert other.statistics().rate_limit == 15.0

    run_virtual(work())


def test_resume_leaves_out_what_it_cannot_read(caplog: pytest.LogCaptureFixture) -> None:
    """`resume` skips and logs each persona, and each job that it cannot decode."""

    async def work() -> None:
        server, store = Finishing(), Store()
        server.lose = {"song 2"}
        async with server.client(journal=MemoryJournal(store)) as suno:
            _ = [each async for each in suno.create_many(jobs(6))]
        for record in list(store.submissions.values()):
            if b"song 0" in record.job:
                store.change(record.id, kind="suno/newer")
            elif b"song 5" in record.job:
                store.change(record.id, job=record.job.replace(b"song 5", b"song \xff"))
            elif b"song 1" in record.job:
                store.change(record.id, kind="persona", state=SubmissionState.UNKNOWN, task_id="")
        async with server.client(journal=MemoryJournal(store)) as suno:
            outcomes = await collect(suno.resume())
        assert sorted(str(each.job.payload()["prompt"]) for each in outcomes) == [
            "song 2",
            "song 3",
            "song 4",
        ]
        assert isinstance(outcomes[0].error, CreateOutcomeUnknownError)

    run_virtual(work())
    assert "suno/newer" in caplog.text
    assert "persona" in caplog.text


def test_a_damaged_result_is_read_again() -> None:
    """If a stored result cannot be decoded, its task is polled again."""

    async def work() -> None:
        server, store = Finishing(), Store()
        async with server.client(journal=MemoryJournal(store)) as suno:
            done = await suno.run(JOB)
        store.tasks[done.task_id] = msgspec.structs.replace(store.tasks[done.task_id], raw=b"{")
        async with server.client(journal=MemoryJournal(store)) as suno:
            assert (await suno.task(done.task_id)).status == "success"
            (outcome,) = await suno.outcomes([done.task_id])
            assert outcome.error is None

    run_virtual(work())


def test_a_job_has_the_digest_of_its_copy_in_the_journal() -> None:
    """A job that was read from the journal has the same digest as the original job."""

    async def work() -> None:
        server, journal = Finishing(), MemoryJournal()
        job = ExtendMusic(prompt="p", task_id="a", suno_id="b", continue_at=1, style_weight=1)
        async with server.client(journal=journal) as suno:
            handle = await suno.create(job, dedupe_key="a")
            (outcome,) = await collect(suno.resume())
            assert (await suno.create(outcome.job, dedupe_key="a")).id == handle.id

    run_virtual(work())


async def test_a_journal_is_opened_once_at_a_time(tmp_path: Path) -> None:
    """If a journal is opened twice at the same time, one of the two calls fails."""
    journal = SqliteJournal(tmp_path / "runs.db")
    results = await asyncio.gather(journal.open("a"), journal.open("a"), return_exceptions=True)
    assert sorted(type(each).__name__ for each in results) == ["JournalError", "NoneType"]
    assert (await journal.heartbeat()).count == 1
    await journal.close()


def remove_files(directory: Path) -> None:
    """Remove all files of a directory."""
    for each in directory.iterdir():
        each.unlink()


@pytest.mark.parametrize("replaced", [False, True])
async def test_a_journal_whose_file_is_gone_accepts_nothing(
    tmp_path: Path, *, replaced: bool
) -> None:
    """If the journal file was removed or replaced, a create is not sent."""
    path = tmp_path / "runs.db"
    server = Finishing()
    suno = await server.client(journal=path).__aenter__()
    await suno.create(JOB)
    remove_files(tmp_path)
    if replaced:
        other = SqliteJournal(path)
        await other.open("a")
        await other.close()
    with pytest.raises(JournalError, match="removed or replaced"):
        await suno.create(GenerateMusic(prompt="another"))
    assert server.creates == 1
    with pytest.raises(JournalError, match="removed or replaced"):
        await suno.close()
