"""A journal in an SQLite file."""

from __future__ import annotations

import contextlib
import logging
import os
import time
import uuid
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from suno_async.errors import JournalError
from suno_async.journal import _queries, _rows
from suno_async.journal._owners import Host, Owner
from suno_async.journal._schema import connect, migrate, prepare_file
from suno_async.journal._writer import Worker

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncIterator, Callable, Collection

    from suno_async.journal.base import (
        JournalEntry,
        Peers,
        RunSummary,
        SubmissionRecord,
        TaskRecord,
    )
    from suno_async.submissions import SubmissionState

logger = logging.getLogger("suno_async")


class _Opened(NamedTuple):
    owner: Owner
    writer: Worker
    reader: Worker


class SqliteJournal:
    """A journal in an SQLite file. Several processes may use one file at the same time.

    The changes of a call are on disk before the call returns. The file must be on a local disk,
    because SQLite's write-ahead log does not work on network file systems. A new file can be read
    only by the user who creates it.

    One object serves one client, in one event loop. In another event loop, the methods raise
    `WrongEventLoopError`.

    Attributes:
        path: The absolute path of the file.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        lease: float = 30.0,
        busy_timeout: float = 10.0,
        clock: Callable[[], float] = time.time,
        host: Host | None = None,
    ) -> None:
        """Prepare the journal. Call `open` before any other method.

        Args:
            path: The file. If it does not exist, `open` with an account creates it.
            lease: Seconds from the last heartbeat or change until other clients consider this
                client dead. Must be above 2 s, the time between two heartbeats. If the process of
                this client ends, clients on the same machine usually notice this at once.
            busy_timeout: Maximum number of seconds to wait while another process writes. If the
                database is still locked after this time, `JournalError` is raised.
            clock: Function that returns the Unix time in seconds.
            host: Identifies this process. Only tests pass it. None means the real process and
                machine.
        """
        self.path = Path(path).absolute()
        self._lease = lease
        self._busy_timeout = busy_timeout
        self._clock = clock
        self._host = host
        self._opened: _Opened | None = None
        self._opening = False
        self._closing = False

    async def open(self, account: str | None) -> None:
        """Open the journal. See `Journal.open`."""
        if self._opened is not None or self._opening:
            raise JournalError(
                f"journal {self.path}: it is already open; use one SqliteJournal for each client"
            )
        self._opening = True
        try:
            await self._open(account)
        finally:
            self._opening = False

    async def _open(self, account: str | None) -> None:
        # Not in `__init__`, because the process may fork before it opens the journal.
        host = Host() if self._host is None else self._host
        owner = Owner(uuid.uuid4().hex, account, ttl=self._lease, host=host, clock=self._clock)
        path, timeout, clock = self.path, self._busy_timeout, self._clock

        found: list[os.stat_result] = []

        def connect_writer() -> sqlite3.Connection:
            connection = _connect_writer(path, timeout, clock, create=account is not None)
            found.append(path.stat())
            return connection

        def prepare(connection: sqlite3.Connection) -> None:
            _check_in_place(path, found[0])
            owner.renew(connection)

        def connect_reader() -> sqlite3.Connection:
            return connect(path, timeout, read_only=True)

        # `renew` runs in each writing transaction. In the first one, it adds the owner if there is
        # an account.
        writer = Worker(path, connect_writer, prepare=prepare)
        reader: Worker | None = None
        try:
            await writer.submit(owner.sweep)
            reader = Worker(path, connect_reader, begin="BEGIN")
            await reader.submit(_queries.ends)
        except BaseException:
            await _abandon(owner, writer, reader)
            raise
        self._opened = _Opened(owner, writer, reader)
        self._closing = False
        # Stop the threads even if the journal is garbage-collected without `close`.
        weakref.finalize(self, _stop, writer, reader).atexit = False

    async def close(self) -> None:
        """Write the changes of all earlier calls, and close the file. See `Journal.close`."""
        if self._opened is None:
            return
        owner, writer, reader = self._opened
        writer.check_loop()
        if self._closing:
            await writer.join()
            # The first call does not get this far if it is cancelled twice.
            self._opened = None
            return
        self._closing = True
        try:
            await writer.submit(owner.leave)
        finally:
            reader.stop()
            try:
                # Close the writer last. The connection that closes last copies the write-ahead log
                # into the file and removes the log.
                await reader.join()
            finally:
                writer.stop()
                await writer.join()
                self._opened = None

    async def claim(self, record: SubmissionRecord) -> SubmissionRecord:
        """Store a planned submission, or return an earlier submission with the same run and key.

        See `Journal.claim`.
        """
        owner, writer, _ = self._use()
        return await writer.submit(_rows.claim, owner, record)

    async def advance(
        self,
        submission_id: str,
        state: SubmissionState,
        *,
        task_id: str = "",
        created_at: float | None = None,
        error: str = "",
    ) -> None:
        """Record a new state of a submission. See `Journal.advance`."""
        owner, writer, _ = self._use()
        await writer.submit(_rows.advance, owner, submission_id, state, task_id, created_at, error)

    async def settle(self, submission_id: str, task_id: str | None) -> SubmissionRecord:
        """Record the outcome of a submission whose state is ``unknown``. See `Journal.settle`."""
        owner, writer, _ = self._use()
        return await writer.submit(_rows.settle, owner, submission_id, task_id)

    async def keep_results(self, tasks: Collection[TaskRecord]) -> None:
        """Store the final records of tasks. See `Journal.keep_results`."""
        owner, writer, _ = self._use()
        await writer.submit(_rows.keep_results, owner, tuple(tasks))

    async def find_tasks(self, task_ids: Collection[str]) -> dict[str, TaskRecord]:
        """Return the records of the tasks with these ids, by task id. See `Journal.find_tasks`."""
        owner, _, reader = self._use()
        return await reader.submit(_queries.find_tasks, owner.account, list(task_ids))

    async def entries(
        self,
        *,
        run: str | None = None,
        states: Collection[SubmissionState] | None = None,
        open_only: bool = False,
    ) -> AsyncIterator[JournalEntry]:
        """Yield submissions with their tasks. See `Journal.entries`."""
        owner, _, reader = self._use()
        wanted = _queries.Selection(owner.account, run, states, open_only)
        # Entries that are added during the iteration are left out, so that the iteration ends.
        submissions, tasks = await reader.submit(_queries.ends)
        last = 0
        while last < submissions:
            page = await reader.submit(_queries.submissions_page, wanted, last, submissions)
            last = page.last
            for entry in page.entries:
                yield entry
        last = tasks if run or states is not None else 0
        while last < tasks:
            page = await reader.submit(_queries.tasks_page, wanted, last, tasks)
            last = page.last
            for entry in page.entries:
                yield entry

    async def runs(self) -> list[RunSummary]:
        """Return a summary of each run. See `Journal.runs`."""
        owner, _, reader = self._use()
        return await reader.submit(_queries.runs, owner)

    async def hold(self, run: str) -> None:
        """Reserve a run, so that no other client can reserve it. See `Journal.hold`.

        Log a warning if the run is new under this account label, but may have created tasks under
        another label.
        """
        owner, writer, reader = self._use()
        account = owner.require()
        other = await reader.submit(_queries.other_account, account, run)
        if other is not None:
            logger.warning(
                "journal %s: run %r is new under the account label %r, but it exists under %r. If "
                "this is the same account, a pipeline pays for its inputs again: stop, and pass "
                "account=%r, or rebind that label",
                *(self.path, run, account, other, other),
            )
        await writer.submit(owner.hold, run)

    async def release(self, run: str) -> None:
        """Let other clients reserve a run again. See `Journal.release`."""
        owner, writer, _ = self._use()
        await writer.submit(owner.release, run)

    async def heartbeat(self) -> Peers:
        """Extend the lease of this client, and count the live clients. See `Journal.heartbeat`."""
        owner, writer, _ = self._use()
        return await writer.submit(owner.heartbeat)

    async def save_durations(self, data: bytes) -> None:
        """Store data about the durations of jobs. See `Journal.save_durations`."""
        owner, writer, _ = self._use()
        await writer.submit(_rows.save_durations, owner, data)

    async def load_durations(self) -> bytes | None:
        """Return the stored data about the durations of jobs. See `Journal.load_durations`."""
        owner, _, reader = self._use()
        return await reader.submit(_queries.load_durations, owner.account)

    async def rebind(self, old: str, new: str) -> int:
        """Replace an account label in all records of the journal. See `Journal.rebind`."""
        owner, writer, _ = self._use()
        return await writer.submit(_rows.rebind, owner, old, new)

    def _use(self) -> _Opened:
        if self._opened is None or self._closing:
            raise JournalError(f"journal {self.path}: it is not open")
        return self._opened


def _connect_writer(
    path: Path, busy_timeout: float, clock: Callable[[], float], *, create: bool
) -> sqlite3.Connection:
    prepare_file(path, create=create)
    connection = connect(path, busy_timeout)
    try:
        migrate(connection, path, clock)
    except BaseException:
        connection.close()
        raise
    return connection


def _check_in_place(path: Path, opened: os.stat_result) -> None:
    # After the file was removed, SQLite continues to write to it without an error. Nobody can open
    # that file again.
    try:
        in_place = os.path.samestat(path.stat(), opened)
    except FileNotFoundError:
        in_place = False
    if not in_place:
        raise JournalError(
            f"journal {path}: the file was removed or replaced while it was open; no more changes "
            "are stored; open the journal again"
        )


def _stop(writer: Worker, reader: Worker | None) -> None:
    writer.stop()
    if reader is not None:
        reader.stop()


async def _abandon(owner: Owner, writer: Worker, reader: Worker | None) -> None:
    # Remove the owner and stop the threads after a failed or cancelled `open`.
    try:
        with contextlib.suppress(JournalError):
            await writer.submit(owner.leave)
    finally:
        _stop(writer, reader)
    if reader is not None:
        await reader.join()
    await writer.join()
