"""Helpers for the tests of journals: a clock, a host, and journals of several clients."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

from suno_async.journal._owners import Host
from suno_async.journal.base import SubmissionRecord
from suno_async.journal.sqlite import SqliteJournal

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection
    from pathlib import Path

    from suno_async.journal.base import JournalEntry
    from suno_async.submissions import SubmissionState

#: Seconds that a lease lasts in the tests.
TTL = 30.0


class Clock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        """Return the time in Unix seconds."""
        return self.now


class FakeHost(Host):
    """A simulated process. The test chooses its id and the id of its machine.

    Attributes:
        dead: Ids of the processes that have ended.
    """

    dead: Collection[int] = ()

    def __init__(self, pid: int, machine: str = "machine") -> None:
        self.name = "host"
        self.machine = machine
        self.pid = pid

    def ended(self, machine: str, pid: int) -> bool:
        """Return whether `pid` is in `dead` and `machine` is the machine of this object."""
        return machine == self.machine and pid in self.dead


def client(path: Path, clock: Clock, pid: int = 1, machine: str = "machine") -> SqliteJournal:
    """Return the journal of one client, not yet open."""
    journal = SqliteJournal(path, lease=TTL, clock=clock)
    journal._host = FakeHost(pid, machine)  # pyright: ignore[reportPrivateUsage]
    return journal


@contextlib.asynccontextmanager
async def opened(
    journal: SqliteJournal, account: str | None = "a"
) -> AsyncGenerator[SqliteJournal]:
    """Open a journal, and close it when the block ends."""
    await journal.open(account)
    try:
        yield journal
    finally:
        await journal.close()


def planned(
    submission_id: str, key: str = "", run: str = "", digest: str = "d"
) -> SubmissionRecord:
    """Return the record of a planned submission, for `Journal.claim`."""
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
    """Return entries as a list."""
    found = journal.entries(run=run, states=states, open_only=open_only)
    return [entry async for entry in found]


async def states(journal: SqliteJournal) -> dict[str, str]:
    """Return the state of each submission by its id."""
    entries = await stored(journal)
    return {each.submission.id: each.submission.state.value for each in entries if each.submission}


def check_integrity(path: Path) -> None:
    """Assert that the file of a journal is not damaged."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
