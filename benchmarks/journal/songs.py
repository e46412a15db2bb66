"""Store many songs in a journal, with four changes for each song. Print a line for each change.

    python -m benchmarks.journal.songs PATH --run NAME [--callers N] [--songs N]

The benchmark runs this program in a separate process. Each line contains the number of a song, and
the number of the change that the journal has just confirmed: 0 claimed (the input is stored),
1 sending, 2 created, 3 ended. Without ``--songs``, the process runs until it is killed. With
``--songs``, the first line is "start", and the last line contains the number of transactions that
were committed.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import itertools
import os
from typing import TYPE_CHECKING

from benchmarks.journal.connections import count_commits, observed
from suno_async import SubmissionRecord, SubmissionState, TaskRecord

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from suno_async import SqliteJournal

#: About as large as the JSON of a song with lyrics, and as the reply with two songs.
JOB = b"x" * 300
RAW = b"x" * 1_500

STEPS = 4


def submission_id(run: str, number: int) -> str:
    """Return the id of the submission of a song. The same arguments always give the same id."""
    return _scattered(f"submission {run} {number}")


def task_id(run: str, number: int) -> str:
    """Return the id of the task of a song. The same arguments always give the same id."""
    return _scattered(f"task {run} {number}")


def _scattered(text: str) -> str:
    # Like random ids, these change many pages of the indexes. But they can be computed again.
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def steps(
    journal: SqliteJournal, run: str, number: int
) -> Iterable[Callable[[], Awaitable[object]]]:
    """Return four functions. Each function stores one change of a song in the journal."""
    name, task = submission_id(run, number), task_id(run, number)
    record = SubmissionRecord(
        id=name, kind="suno/music-generate", job=JOB, digest=name, run=run, key=str(number)
    )
    result = TaskRecord(task_id=task, status="success", raw=RAW)
    return (
        lambda: journal.claim(record),
        lambda: journal.advance(name, SubmissionState.SENDING),
        lambda: journal.advance(name, SubmissionState.CREATED, task_id=task, created_at=1.0),
        lambda: journal.keep_results([result]),
    )


async def store(
    journal: SqliteJournal,
    run: str,
    callers: int,
    songs: Iterable[int],
    acknowledged: Callable[[int, int], None],
) -> None:
    """Store the changes of all songs, with `callers` concurrent callers.

    After each change that the journal has confirmed, call `acknowledged` with the number of the
    song and the number of the change.
    """
    numbers = iter(songs)

    async def caller() -> None:
        for number in numbers:
            for step, change in enumerate(steps(journal, run, number)):
                await change()
                acknowledged(number, step)

    await asyncio.gather(*(caller() for _ in range(callers)))


async def _main(path: str, run: str, callers: int, songs: int | None) -> None:
    def acknowledged(number: int, step: int) -> None:
        # Not buffered: a line in a buffer would be lost when the process is killed.
        os.write(1, b"%d %d\n" % (number, step))

    async with observed(path) as (journal, connections):
        commits = count_commits(connections)
        if songs is not None:
            os.write(1, b"start\n")
        numbers = itertools.count() if songs is None else range(songs)
        await store(journal, run, callers, numbers, acknowledged)
        os.write(1, b"commits %d\n" % len(commits))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.journal.songs")
    parser.add_argument("path")
    parser.add_argument("--run", required=True)
    parser.add_argument("--callers", type=int, default=50)
    parser.add_argument("--songs", type=int)
    given = parser.parse_args()
    asyncio.run(_main(given.path, given.run, given.callers, given.songs))
