"""Several processes on one SQLite journal: kill -9 loses nothing, and no key is claimed twice.

A process that *claims* a key stores a create request under this key. Only this process may send
the request.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from benchmarks.journal.kills import kill_again_and_again
from suno_async import SqliteJournal
from tests.journals import check_integrity, opened, stored

if TYPE_CHECKING:
    from pathlib import Path

KEYS = 300

CLAIM = f"""
import asyncio, sys
from suno_async import SqliteJournal, SubmissionRecord, SubmissionState

async def main():
    journal = SqliteJournal(sys.argv[1])
    await journal.open("a")
    print("open", flush=True)
    sys.stdin.readline()

    async def claim(number):
        name = f"{{sys.argv[2]}}-{{number}}"
        record = SubmissionRecord(id=name, run="r", key=str(number), digest="d")
        if (await journal.claim(record)).id == name:
            await journal.advance(name, SubmissionState.SENDING)
            print(number, flush=True)

    for start in range(0, {KEYS}, 5):
        await asyncio.gather(*(claim(number) for number in range(start, start + 5)))
    print("done", flush=True)
    sys.stdin.readline()
    await journal.close()

asyncio.run(main())
"""


def start(path: Path, name: str) -> subprocess.Popen[str]:
    """Start a process that opens a journal, waits for a line on stdin, and then claims all keys."""
    process = subprocess.Popen(  # noqa: S603 (a program of this test)
        [sys.executable, "-c", CLAIM, str(path), name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    return process


def resume(process: subprocess.Popen[str]) -> None:
    """Send a line to the stdin of a process, so that the process continues."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def claimed(process: subprocess.Popen[str]) -> set[int]:
    """Wait until a process has tried to claim all keys. Return the keys that it claimed."""
    assert process.stdout is not None
    found: set[int] = set()
    for line in process.stdout:
        if line == "done\n":
            break
        found.add(int(line))
    return found


def test_two_processes_claim_the_same_keys(tmp_path: Path) -> None:
    """If two processes claim the same keys at the same time, no key is claimed by both."""
    path = tmp_path / "j.db"
    with start(path, "one") as one, start(path, "two") as two:
        for process in (one, two):
            resume(process)
        found = [claimed(process) for process in (one, two)]
        for process in (one, two):
            resume(process)
    assert (one.returncode, two.returncode) == (0, 0)
    assert not found[0] & found[1]
    assert found[0] | found[1] == set(range(KEYS))
    check_integrity(path)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows waits for the lease to expire")
def test_a_killed_process_is_dead_at_once(tmp_path: Path) -> None:
    """The creates of a killed process are ``unknown`` as soon as the journal is reopened."""
    path = tmp_path / "j.db"
    with start(path, "one") as one:
        resume(one)
        assert claimed(one) == set(range(KEYS))
        one.send_signal(signal.SIGKILL)

    async def look() -> set[tuple[str, str]]:
        async with opened(SqliteJournal(path)) as journal:
            found = [each.submission for each in await stored(journal)]
        return {(each.key, each.state.value) for each in found if each}

    assert asyncio.run(look()) == {(str(number), "unknown") for number in range(KEYS)}
    check_integrity(path)


@pytest.mark.skipif(sys.platform == "win32", reason="the next process would wait for a lease")
def test_kill_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """If a process is killed at a random moment, no change that the journal confirmed is lost."""
    found = kill_again_and_again(tmp_path / "j.db", kills=5, rows=3000, seed=3)
    assert found.rows >= 3000
    assert found.kills >= 5
    assert (found.lost, found.open, found.intact) == (0, 0, True)
