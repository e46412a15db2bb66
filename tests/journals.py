"""Helpers to test journals: a clock, a simulated process, functions to open and read journals."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from typing import TYPE_CHECKING

import pytest

from suno_async.journal import _queries, _rows
from suno_async.journal._owners import Host
from suno_async.journal.base import SubmissionRecord
from suno_async.journal.sqlite import SqliteJournal

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Collection
    from pathlib import Path

    from suno_async.journal.base import JournalEntry
    from suno_async.submissions import SubmissionState

#: Seconds that a lease lasts in the tests.
TTL = 30.0


class Clock:
    """A clock that shows the same time until a test changes `now`."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        """Return the time in Unix seconds."""
        return self.now


class FakeHost(Host):
    """A simulated process on a simulated machine. The test sets the process id and the machine id.

    Attributes:
        dead: Ids of the ended processes on the simulated machine.
    """

    def __init__(self, pid: int, machine: str = "machine", dead: Collection[int] = ()) -> None:
        self.name = "host"
        self.machine = machine
        self.pid = pid
        self.dead = dead

    def ended(self, machine: str, pid: int) -> bool:
        """Return True if `machine` is the simulated machine and `pid` is in `dead`."""
        return machine == self.machine and pid in self.dead


def client(
    path: Path,
    clock: Clock,
    pid: int = 1,
    machine: str = "machine",
    dead: Collection[int] = (),
) -> SqliteJournal:
    """Return a journal for a client in the process `pid` on `machine`. The journal is not open.

    `dead` contains the ids of the ended processes on `machine`. The test may change `dead` later.
    """
    return SqliteJournal(path, lease=TTL, clock=clock, host=FakeHost(pid, machine, dead))


@contextlib.asynccontextmanager
async def opened(
    journal: SqliteJournal, account: str | None = "a"
) -> AsyncGenerator[SqliteJournal]:
    """Open a journal for a ``with`` block, and close it at the end of the block."""
    await journal.open(account)
    try:
        yield journal
    finally:
        await journal.close()


async def submit(
    journal: SqliteJournal, operation: Callable[[sqlite3.Connection], object]
) -> asyncio.Task[None]:
    """Add `operation` to the queue of the writing thread of `journal`.

    Return an asyncio task that ends when `operation` has ended. For this, one call of
    `SqliteJournal.save_durations` runs `operation` instead of storing durations.
    """

    def run(connection: sqlite3.Connection, *_: object) -> None:
        operation(connection)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_rows, "save_durations", run)
        call = asyncio.create_task(journal.save_durations(b""))
        await asyncio.sleep(0)
    return call


async def write_with(
    journal: SqliteJournal, operation: Callable[[sqlite3.Connection], object]
) -> None:
    """Run `operation` in the writing thread of `journal`. Wait until its changes are committed."""
    await (await submit(journal, operation))


async def read_with(
    journal: SqliteJournal, operation: Callable[[sqlite3.Connection], object]
) -> None:
    """Run `operation` in the reading thread of `journal`, and wait until the operation has ended.

    This calls `journal.load_durations`, with `operation` instead of the query.
    """

    def run(connection: sqlite3.Connection, *_: object) -> None:
        operation(connection)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_queries, "load_durations", run)
        await journal.load_durations()


def planned(
    submission_id: str, key: str = "", run: str = "", digest: str = "d"
) -> SubmissionRecord:
    """Return the record of a new submission in the state ``planned``, for `Journal.claim`."""
    return SubmissionRecord(
        id=submission_id,
        key=key,
        run=run,
        kind="suno/music-generate",
        job=b"{}",
        digest=digest,
    )


async def stored(
    journal: SqliteJournal,
    *,
    run: str | None = None,
    states: Collection[SubmissionState] | None = None,
    open_only: bool = False,
) -> list[JournalEntry]:
    """Return the entries of a journal that match the arguments, as a list."""
    found = journal.entries(run=run, states=states, open_only=open_only)
    return [entry async for entry in found]


async def states(journal: SqliteJournal) -> dict[str, str]:
    """Return the states of all submissions in a journal: id → state."""
    entries = await stored(journal)
    return {each.submission.id: each.submission.state.value for each in entries if each.submission}


def check_integrity(path: Path) -> None:
    """Assert that the file of a journal is not damaged."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
