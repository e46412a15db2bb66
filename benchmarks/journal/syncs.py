"""Count the disk syncs of a journal, and read the settings of its connections."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.journal.connections import observed

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

_CALL = re.compile(r"^\d+ +(?:<\.\.\. )?(\w+)(\(| resumed)(.*)$")
_ACKNOWLEDGED = re.compile(r'^1(?:<[^>]*>)?, "\d')
_START = re.compile(r'^1(?:<[^>]*>)?, "start')


class Syncs(NamedTuple):
    """The disk syncs and the commits of two tests.

    Attributes:
        commits: Number of transactions in the first test, with 50 callers at the same time.
        syncs: Number of disk syncs in the first test.
        alone: Number of changes in the second test, where one caller makes one change at a time.
        unsynced: Number of changes in the second test that were acknowledged before they were
            synced.
    """

    commits: int
    syncs: int
    alone: int
    unsynced: int


def count(directory: Path, *, songs: int) -> Syncs | None:
    """Store songs in two journals, and count the disk syncs with strace.

    In the first journal, 50 concurrent callers store `songs` songs. In the second journal, a single
    caller stores a tenth of this number. Return None if strace is missing or fails.
    """
    many = _trace(directory, "many", callers=50, songs=songs)
    one = _trace(directory, "one", callers=1, songs=songs // 10)
    if many is None or one is None:
        return None
    commits, calls = many
    changes = unsynced = 0
    pending = True
    for name, acknowledged in _started(one[1]):
        if name == "pwrite64":
            pending = True
        elif name in {"fsync", "fdatasync"}:
            pending = False
        elif acknowledged:
            changes += 1
            unsynced += pending
            # The next change has to write and sync again.
            pending = True
    return Syncs(commits, _syncs(calls), changes, unsynced)


def _started(calls: list[tuple[str, bool]]) -> list[tuple[str, bool]]:
    # Without the calls that opened the journal.
    return calls[next(index for index, (name, _) in enumerate(calls) if name == "start") :]


def _syncs(calls: list[tuple[str, bool]]) -> int:
    # Syncs after the last acknowledgement do not count, because closing the journal syncs, too.
    last = max(index for index, (_, acknowledged) in enumerate(calls) if acknowledged)
    return sum(name in {"fsync", "fdatasync"} for name, _ in _started(calls[:last]))


def _trace(
    directory: Path, name: str, *, callers: int, songs: int
) -> tuple[int, list[tuple[str, bool]]] | None:
    # Return the number of commits, and each system call with whether it acknowledges a change.
    strace = shutil.which("strace")
    if strace is None:
        return None
    log = directory / f"{name}.strace"
    traced = (strace, "-f", "-o", str(log), "-e", "trace=fsync,fdatasync,pwrite64,write")
    program = (sys.executable, "-m", "benchmarks.journal.songs", str(directory / f"{name}.db"))
    given = ("--run", name, "--callers", str(callers), "--songs", str(songs))
    done = subprocess.run(  # noqa: S603 (strace, and a program of this package)
        [*traced, *program, *given], capture_output=True, check=False
    )
    if done.returncode:
        return None
    commits = int(done.stdout.split()[-1])
    calls = map(_call, log.read_text(errors="replace").splitlines())
    return commits, [call for call in calls if call is not None]


def _call(line: str) -> tuple[str, bool] | None:
    # Return a system call, and whether it acknowledges a change. A call that another thread
    # interrupts has two lines. A write counts at its first line, a sync at its last line.
    found = _CALL.match(line)
    if found is None:
        return None
    name, resumed = found[1], found[2] == " resumed"
    is_sync = name in {"fsync", "fdatasync"}
    if (resumed and not is_sync) or (is_sync and "<unfinished ...>" in line):
        return None
    if name == "write" and _START.match(found[3]):
        return "start", False
    return name, name == "write" and bool(_ACKNOWLEDGED.match(found[3]))


async def settings(path: Path) -> list[dict[str, object]]:
    """Open a journal. Return the durability settings of each of its SQLite connections."""

    def read(connection: sqlite3.Connection) -> dict[str, object]:
        names = ("journal_mode", "synchronous")
        return {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names}

    async with observed(path) as (_, connections):
        return [read(connection) for connection in connections]
