"""Repeatedly kill a process that writes to a journal, and look for missing changes."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
import subprocess
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.journal.songs import STEPS, submission_id, task_id
from suno_async import SqliteJournal

if TYPE_CHECKING:
    from pathlib import Path

#: The possible states of a submission after each acknowledged step (see `songs`). A later step may
#: have been stored as well before the kill. A create that was in flight at a kill becomes unknown.
_AFTER = (
    {"planned", "sending", "created", "not_sent", "unknown"},
    {"sending", "created", "unknown"},
    {"created"},
    {"created"},
)


#: Which one of every ten processes is killed while it starts.
STARTING = 4


class Killed(NamedTuple):
    """The results after all kills.

    A change is acknowledged if the journal reported it as stored before the kill. A row of the
    journal is one submission (a request to create a task) or one task.

    Attributes:
        kills: Number of processes that were killed.
        changes: Number of acknowledged changes.
        rows: Number of rows that were added by acknowledged changes.
        lost: Number of songs for which an acknowledged change is missing in the journal.
        open: Number of submissions with the state ``planned`` or ``sending`` after the journal was
            opened again.
        intact: Whether the journal passes SQLite's integrity check.
        seconds: Duration of the whole test in seconds.
    """

    kills: int
    changes: int
    rows: int
    lost: int
    open: int
    intact: bool
    seconds: float


def kill_again_and_again(
    path: Path, *, kills: int, rows: int, callers: int = 50, seed: int = 1
) -> Killed:
    """Start processes that write to a journal, kill each with SIGKILL, and return the results.

    Stop when at least `kills` processes were killed and at least `rows` rows were acknowledged in
    total. One process in ten is killed while it starts. The others are killed at random moments,
    after `rows` / `kills` rows on average. Each process stores the changes of `callers` songs at a
    time.
    """
    started = time.perf_counter()
    draw = random.Random(seed)
    done = changes = stored = lost = 0
    while done < kills or stored < rows:
        run = f"run-{done}"
        # One in ten is killed while it starts and opens the journal, most after many changes.
        starts = done % 10 == STARTING
        lines = 0 if starts else 1 + int(draw.uniform(0.0, 2.0) * rows / kills * 2)
        delay = draw.uniform(*(0.1, 0.5) if starts else (0.0, 0.01))
        acknowledged = _kill_after(path, run, callers, lines, delay)
        changes += sum(step + 1 for step in acknowledged.values())
        stored += sum(1 + (step >= 2) for step in acknowledged.values())
        lost += _missing(path, run, acknowledged)
        done += 1
    asyncio.run(_open(path))
    with contextlib.closing(sqlite3.connect(path)) as connection:
        (unfinished,) = connection.execute(
            "SELECT count(*) FROM submissions WHERE state IN ('planned', 'sending')"
        ).fetchone()
        intact = connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    seconds = time.perf_counter() - started
    return Killed(done, changes, stored, lost, unfinished, intact, seconds)


def _kill_after(path: Path, run: str, callers: int, lines: int, delay: float) -> dict[int, int]:
    # Kill a process after some lines and a delay. Return the last acknowledged step of each song.
    arguments = ("-m", "benchmarks.journal.songs", str(path), "--run", run)
    process = subprocess.Popen(  # noqa: S603 (a program of this package)
        [sys.executable, *arguments, "--callers", str(callers)], stdout=subprocess.PIPE
    )
    with process:
        assert process.stdout is not None  # noqa: S101 (it is a pipe)
        found: list[bytes] = []
        while len(found) < lines and (line := process.stdout.readline()):
            found.append(line)
        time.sleep(delay)
        process.kill()
        # The last output before the kill is still in the pipe.
        found += process.stdout.readlines()
    acknowledged: dict[int, int] = {}
    for line in found:
        if line.endswith(b"\n"):
            number, step = map(int, line.split())
            acknowledged[number] = step
    return acknowledged


def _missing(path: Path, run: str, acknowledged: dict[int, int]) -> int:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        rows = {
            name: (state, task, status)
            for name, state, task, status in connection.execute(
                "SELECT id, state, s.task_id, status FROM submissions AS s LEFT JOIN tasks AS t"
                " ON t.task_id = s.task_id AND t.account = s.account AND s.task_id <> ''"
                " WHERE run = ?",
                (run,),
            )
        }
    return sum(
        not _is_stored(rows.get(submission_id(run, number)), run, number, step)
        for number, step in acknowledged.items()
    )


def _is_stored(row: tuple[str, str, str | None] | None, run: str, number: int, step: int) -> bool:
    if row is None or row[0] not in _AFTER[step]:
        return False
    if step >= 2 and (row[1] != task_id(run, number) or row[2] is None):
        return False
    return step < STEPS - 1 or row[2] == "success"


async def _open(path: Path) -> None:
    journal = SqliteJournal(path)
    await journal.open(None)
    await journal.close()
