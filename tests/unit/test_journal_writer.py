"""Tests of the thread that writes an SQLite journal: shared commits, errors and shutdown.

An *operation* is a change that the thread makes to the journal.
"""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from suno_async import JournalError, SqliteJournal, WrongEventLoopError
from suno_async.journal import _writer
from tests.journals import Clock, client, opened, planned, states, submit, write_with

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Gate:
    """An operation that blocks the writing thread until the test calls `open`.

    Attributes:
        passed: An asyncio task that waits for the operation. It ends after `open` is called.
    """

    passed: asyncio.Task[None]

    def __init__(self) -> None:
        self._entered = threading.Event()
        self._opened = threading.Event()

    @classmethod
    async def shut(cls, journal: SqliteJournal) -> Gate:
        """Block the writing thread of a journal. Return the gate that blocks it."""
        gate = cls()
        gate.passed = await submit(journal, gate._wait)
        assert gate._entered.wait(30)
        return gate

    def _wait(self, connection: sqlite3.Connection) -> None:
        assert connection.in_transaction
        self._entered.set()
        assert self._opened.wait(30)

    def open(self) -> None:
        """Let the writing thread continue."""
        self._opened.set()


async def record_statements(journal: SqliteJournal) -> list[str]:
    """Record the BEGIN, COMMIT and ROLLBACK statements that the writing thread executes.

    Return the list of these statements, which grows later. The recording starts inside a
    transaction, so the first item is the COMMIT of this transaction.
    """
    found: list[str] = []

    def keep(statement: str) -> None:
        if statement.split(maxsplit=1)[0] in {"BEGIN", "COMMIT", "ROLLBACK"}:
            found.append(statement)

    def trace(connection: sqlite3.Connection) -> None:
        connection.set_trace_callback(keep)

    await write_with(journal, trace)
    return found


async def test_group_commit(tmp_path: Path) -> None:
    """All waiting operations are committed in one transaction."""
    async with opened(client(tmp_path / "j.db", Clock())) as journal:
        statements = await record_statements(journal)
        gate = await Gate.shut(journal)
        claims = [asyncio.create_task(journal.claim(planned(f"s{each}"))) for each in range(100)]
        await asyncio.sleep(0)
        statements.clear()
        gate.open()
        await asyncio.gather(gate.passed, *claims)
        assert statements == ["COMMIT", "BEGIN IMMEDIATE", "COMMIT"]
        assert len(await states(journal)) == 100


async def test_large_groups_are_divided(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting operations are divided into transactions of at most `MOST_TOGETHER` operations."""
    monkeypatch.setattr(_writer, "MOST_TOGETHER", 10)
    async with opened(client(tmp_path / "j.db", Clock())) as journal:
        statements = await record_statements(journal)
        gate = await Gate.shut(journal)
        claims = [asyncio.create_task(journal.claim(planned(f"s{each}"))) for each in range(25)]
        await asyncio.sleep(0)
        gate.open()
        await asyncio.gather(gate.passed, *claims)
        assert statements.count("COMMIT") == 2 + 3


def journal_threads() -> set[threading.Thread]:
    """Return the running threads of all journals."""
    return {each for each in threading.enumerate() if "journal" in each.name}


def fail(error: BaseException) -> Callable[[sqlite3.Connection], None]:
    """Return an operation that changes the journal and then raises `error`."""

    def operation(connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE submissions SET error = 'half'")
        raise error

    return operation


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (sqlite3.IntegrityError("unexpected"), "unexpected"),
        (sqlite3.OperationalError("disk I/O error"), "disk I/O error"),
        (ValueError("a bug"), "cannot be stored or looked up: ValueError"),
    ],
)
async def test_only_the_bad_operation_fails(tmp_path: Path, error: Exception, message: str) -> None:
    """A failed operation does not affect the other operations in its transaction."""
    async with opened(client(tmp_path / "j.db", Clock())) as journal:
        gate = await Gate.shut(journal)
        before = [asyncio.create_task(journal.claim(planned(f"s{each}"))) for each in range(5)]
        await asyncio.sleep(0)
        bad = await submit(journal, fail(error))
        after = [asyncio.create_task(journal.claim(planned(f"t{each}"))) for each in range(5)]
        await asyncio.sleep(0)
        gate.open()
        await asyncio.gather(gate.passed, *before, *after)
        with pytest.raises(JournalError, match=message) as caught:
            await bad
        assert caught.value.__cause__ is error
        assert len(await states(journal)) == 10
        assert {each.submission.error async for each in journal.entries() if each.submission} == {
            ""
        }


async def test_a_refusal_does_not_divide_a_transaction(tmp_path: Path) -> None:
    """If an operation raises `JournalError`, the other operations still share one transaction."""
    async with opened(client(tmp_path / "j.db", Clock())) as journal:
        statements = await record_statements(journal)
        gate = await Gate.shut(journal)
        claims = [asyncio.create_task(journal.claim(planned(name))) for name in ("a", "a", "b")]
        await asyncio.sleep(0)
        statements.clear()
        gate.open()
        await gate.passed
        results = await asyncio.gather(*claims, return_exceptions=True)
        assert [isinstance(each, JournalError) for each in results] == [False, True, False]
        assert statements == ["COMMIT", "BEGIN IMMEDIATE", "COMMIT"]


async def test_a_cancelled_caller(tmp_path: Path) -> None:
    """An accepted operation is stored even if its caller is cancelled."""
    async with opened(client(tmp_path / "j.db", Clock())) as journal:
        gate = await Gate.shut(journal)
        one, two = (asyncio.create_task(journal.claim(planned(name))) for name in ("one", "two"))
        await asyncio.sleep(0)
        one.cancel()
        with pytest.raises(asyncio.CancelledError):
            await one
        gate.open()
        await two
        assert await states(journal) == {"one": "planned", "two": "planned"}


async def test_close_writes_what_was_accepted(tmp_path: Path) -> None:
    """`close` writes every accepted operation. A journal may be closed more than once."""
    path = tmp_path / "j.db"
    journal = client(path, Clock())
    await journal.close()
    await journal.open("a")
    with pytest.raises(JournalError, match="already open"):
        await journal.open("a")
    gate = await Gate.shut(journal)
    claims = [asyncio.create_task(journal.claim(planned(f"s{each}"))) for each in range(50)]
    await asyncio.sleep(0)
    closes = [asyncio.create_task(journal.close()) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(JournalError, match="not open"):
        await journal.claim(planned("late"))
    assert not any(each.done() for each in closes)
    gate.open()
    await asyncio.gather(*closes)
    assert all(each.done() for each in claims)
    with pytest.raises(JournalError, match="not open"):
        await journal.heartbeat()
    await journal.close()
    async with opened(journal):
        assert set((await states(journal)).values()) == {"not_sent"}
        assert len(await states(journal)) == 50


async def test_a_cancelled_close(tmp_path: Path) -> None:
    """If `close` is cancelled, the database file is still closed."""
    journal = client(tmp_path / "j.db", Clock())
    await journal.open("a")
    gate = await Gate.shut(journal)
    close = asyncio.create_task(journal.close())
    await asyncio.sleep(0)
    close.cancel()
    await asyncio.sleep(0)
    gate.open()
    with pytest.raises(asyncio.CancelledError):
        await close
    # The write-ahead log is gone, so both connections are closed.
    assert [path.name for path in tmp_path.iterdir()] == ["j.db"]  # noqa: ASYNC240 (a test)


async def test_a_close_that_is_cancelled_twice(tmp_path: Path) -> None:
    """After a `close` that was cancelled twice, another `close` makes the journal usable again."""
    journal = client(tmp_path / "j.db", Clock())
    await journal.open("a")
    gate = await Gate.shut(journal)
    close = asyncio.create_task(journal.close())
    await asyncio.sleep(0)
    for _ in range(3):
        close.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    gate.open()
    with pytest.raises(asyncio.CancelledError):
        await close
    await journal.close()
    async with opened(journal):
        assert (await journal.heartbeat()).count == 1


async def test_a_cancelled_open(tmp_path: Path) -> None:
    """A cancelled `open` leaves no thread running, and its client is not counted as live."""
    clock, path = Clock(), tmp_path / "j.db"
    async with opened(client(path, clock, 2)) as other:
        journal = client(path, clock)
        opening = asyncio.create_task(journal.open("a"))
        await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        assert (await other.heartbeat()).count == 1
        async with opened(journal):
            assert (await other.heartbeat()).count == 2
    assert not journal_threads()


class Killed(BaseException):
    """An exception that ends the writing thread."""


async def test_the_thread_dies(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """If the writing thread dies, each waiting or later call raises its own `JournalError`."""
    path = tmp_path / "j.db"
    journal = client(path, Clock())
    await journal.open("a")
    gate = await Gate.shut(journal)
    claims = [asyncio.create_task(journal.claim(planned(f"s{each}"))) for each in range(2)]
    await asyncio.sleep(0)
    killed = await submit(journal, fail(Killed("on purpose")))
    claims += [asyncio.create_task(journal.claim(planned(f"t{each}"))) for each in range(2)]
    await asyncio.sleep(0)
    gate.open()
    await gate.passed
    errors: list[object] = [*await asyncio.gather(*claims, return_exceptions=True)]
    errors.append(*await asyncio.gather(killed, return_exceptions=True))
    for call in (journal.claim(planned("later")), journal.heartbeat(), journal.close()):
        with pytest.raises(JournalError) as caught:
            await call
        errors.append(caught.value)
    assert {type(each) for each in errors} == {JournalError}
    assert {"on purpose" in str(each) for each in errors} == {True}
    assert len({id(each) for each in errors}) == len(errors)
    assert [record.exc_info is not None for record in caplog.records] == [True]
    async with opened(client(path, Clock(), 2)) as other:
        assert await states(other) == {}


def test_another_event_loop(tmp_path: Path) -> None:
    """If a journal is used in a second event loop, it raises `WrongEventLoopError`."""
    journal = client(tmp_path / "j.db", Clock())
    first = asyncio.new_event_loop()
    first.run_until_complete(journal.open("a"))

    async def use() -> None:
        for call in (journal.heartbeat(), journal.close(), journal.close()):
            with pytest.raises(WrongEventLoopError, match="opened in another event loop"):
                await call

    asyncio.run(use())
    first.run_until_complete(journal.heartbeat())
    first.run_until_complete(journal.close())
    first.close()


def test_the_event_loop_is_closed_first(tmp_path: Path) -> None:
    """Accepted operations are stored even if the event loop is closed before the journal."""
    path = tmp_path / "j.db"
    journal = client(path, Clock())
    loop = asyncio.new_event_loop()
    before = journal_threads()
    loop.run_until_complete(journal.open("a"))
    threads = journal_threads() - before
    assert len(threads) == 2

    async def leave(journal: SqliteJournal) -> Gate:
        gate = await Gate.shut(journal)
        claim = asyncio.create_task(journal.claim(planned("s")))
        await asyncio.sleep(0)
        gate.passed.cancel()
        claim.cancel()
        return gate

    gate = loop.run_until_complete(leave(journal))
    loop.close()
    gate.open()
    del journal, gate
    for thread in threads:
        for _ in range(600):
            # The thread may still refer to the journal during a collection.
            gc.collect()
            thread.join(0.05)
            if not thread.is_alive():
                break
        assert not thread.is_alive()

    async def look() -> dict[str, str]:
        async with opened(client(path, Clock(), 2)) as other:
            return await states(other)

    assert asyncio.run(look()) == {"s": "planned"}


ABANDONED = """
import asyncio, sys
from suno_async import SqliteJournal
journal = SqliteJournal(sys.argv[1])
loop = asyncio.new_event_loop()
loop.run_until_complete(journal.open("a"))
print("open", flush=True)
"""


def test_the_interpreter_exits(tmp_path: Path) -> None:
    """A journal that was never closed does not prevent the interpreter from exiting."""
    done = subprocess.run(  # noqa: S603 (a program of this test)
        [sys.executable, "-c", ABANDONED, tmp_path / "j.db"],
        timeout=60,
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "open\n"
