"""Access the SQLite connections of a journal, and count their commits."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, Any
from unittest import mock

from suno_async import SqliteJournal

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path


@contextlib.asynccontextmanager
async def observed(
    path: str | Path,
) -> AsyncGenerator[tuple[SqliteJournal, list[sqlite3.Connection]]]:
    """Open a journal for a ``with`` block. Yield the journal and its SQLite connections.

    Use the connections only while the journal is idle.
    """
    connections: list[sqlite3.Connection] = []
    connect: Callable[..., sqlite3.Connection] = sqlite3.connect

    def recorded(*arguments: Any, **options: Any) -> sqlite3.Connection:  # noqa: ANN401 (passed on)
        # The threads of the journal open the connections, and this thread observes them.
        connection = connect(*arguments, **options, check_same_thread=False)
        connections.append(connection)
        return connection

    journal = SqliteJournal(path)
    with mock.patch.object(sqlite3, "connect", recorded):
        await journal.open("benchmark")
    try:
        yield journal, connections
    finally:
        await journal.close()


def count_commits(connections: list[sqlite3.Connection]) -> list[str]:
    """Start to record commits. Return the list to which each commit is appended.

    Connections that can only read are ignored.
    """
    commits: list[str] = []

    def trace(statement: str) -> None:
        if statement == "COMMIT":
            commits.append(statement)

    for connection in connections:
        (only_reads,) = connection.execute("PRAGMA query_only").fetchone()
        if not only_reads:
            connection.set_trace_callback(trace)
    return commits
