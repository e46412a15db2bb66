"""Measure the SQLite journal: changes per second, syncs, and what kill -9 loses.

    python -m benchmarks.journal            measure the rate and the syncs (less than a minute)
    python -m benchmarks.journal --kills    also kill 50 processes, which write a million rows in
                                            total (some minutes)
    python -m benchmarks.journal --quick    store fewer songs, kill fewer processes (a few seconds)
    python -m benchmarks.journal --check    exit with code 1 if a figure misses its target

The options can be combined. A sync is a request to the operating system to write data to the disk.

How: 50 concurrent callers store four changes for each song: claimed (the input is stored), sending,
created, ended. Each change is awaited, so it is counted only after it is on disk. The fastest of
three runs counts.

For ``--kills``, a separate process writes the same changes. It prints each change to a pipe when
the change is acknowledged. The process is killed at a random moment, and the journal is compared
with the printed changes. Then the next process continues on the same file. The syncs are counted
with strace, if it is installed.

What it does not show: power cuts. A power cut may lose data that the operating system has in
memory, but a kill does not. That is why the syncs are counted. Rates depend on the disk. The rate
of a single caller, `one_caller_per_s`, is close to the rate at which the disk can sync.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.journal import syncs
from benchmarks.journal.connections import count_commits, observed
from benchmarks.journal.kills import kill_again_and_again
from benchmarks.journal.songs import STEPS, store

CALLERS = 50

#: Smallest allowed value of each figure.
AT_LEAST = {"changes_per_s": 15_000.0, "kills": 50.0, "rows_acknowledged": 1_000_000.0}
#: Largest allowed value of each figure.
AT_MOST = {
    "unsynced_connections": 0.0,
    "acknowledged_unsynced": 0.0,
    "commits_without_sync": 0.0,
    "changes_lost": 0.0,
    "left_open": 0.0,
    "damaged": 0.0,
}
#: Figures whose targets do not apply to a quick run.
_FULL_ONLY = {"kills", "rows_acknowledged"}


async def rate(path: Path, callers: int, songs: int) -> dict[str, float]:
    """Return changes per second, changes per commit, and microseconds of CPU time per change.

    `callers` concurrent callers store the changes of `songs` songs in a new journal at `path`.
    """
    async with observed(path) as (journal, connections):
        commits = count_commits(connections)
        started, cpu = time.perf_counter(), time.process_time()
        await store(journal, "rate", callers, range(songs), lambda _number, _step: None)
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    changes = songs * STEPS
    return {
        "changes_per_s": changes / seconds,
        "changes_per_commit": changes / len(commits),
        "cpu_us_per_change": cpu / changes * 1e6,
    }


def measure(directory: Path, *, quick: bool, kills: bool) -> dict[str, float]:
    """Run the measurements, and return the figures by name.

    `quick` reduces the number of songs and of kills. If `kills` is True, processes are killed, too.
    """
    songs = 3_000 if quick else 30_000
    runs = [asyncio.run(rate(directory / f"{n}.db", CALLERS, songs)) for n in range(3)]
    figures = max(runs, key=lambda each: each["changes_per_s"])
    one = asyncio.run(rate(directory / "one.db", 1, songs // 30))
    figures["one_caller_per_s"] = one["changes_per_s"]
    found = asyncio.run(syncs.settings(directory / "settings.db"))
    wanted = {"journal_mode": "wal", "synchronous": 2}
    figures["unsynced_connections"] = sum(each != wanted for each in found)
    counted = syncs.count(directory, songs=300 if quick else 3_000)
    if counted is None:
        print("syncs: not measured, because strace is missing or may not be used")
    else:
        figures |= {
            "commits": counted.commits,
            "syncs": counted.syncs,
            "commits_without_sync": max(0, counted.commits - counted.syncs),
            "changes_of_one_caller": counted.alone,
            "acknowledged_unsynced": counted.unsynced,
        }
    if kills:
        size = (5, 5_000) if quick else (50, 1_000_000)
        killed = kill_again_and_again(directory / "kills.db", kills=size[0], rows=size[1])
        figures |= {
            "kills": killed.kills,
            "rows_acknowledged": killed.rows,
            "changes_acknowledged": killed.changes,
            "changes_lost": killed.lost,
            "left_open": killed.open,
            "damaged": not killed.intact,
            "kills_s": killed.seconds,
        }
    return figures


def missed(figures: dict[str, float], *, quick: bool) -> list[str]:
    """Return the names of the figures that miss their targets."""
    wrong = [name for name, most in AT_MOST.items() if figures.get(name, 0.0) > most]
    for name, least in AT_LEAST.items():
        if name in figures and not (quick and name in _FULL_ONLY) and figures[name] < least:
            wrong.append(name)
    return wrong


def main() -> None:
    """Measure and print the figures. On request, write them to a file and check the targets."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.journal")
    parser.add_argument("--quick", action="store_true", help="fewer songs and kills")
    parser.add_argument("--kills", action="store_true", help="also kill processes")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    parser.add_argument("--directory", type=Path, help="where to put the journals")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.directory) as directory:
        figures = measure(Path(directory), quick=given.quick, kills=given.kills)
    wrong = missed(figures, quick=given.quick)
    for name, value in figures.items():
        target = ""
        if name in AT_LEAST and not (given.quick and name in _FULL_ONLY):
            target = f"   at least {AT_LEAST[name]:g}{': MISSED' * (name in wrong)}"
        elif name in AT_MOST:
            target = f"   at most {AT_MOST[name]:g}{': MISSED' * (name in wrong)}"
        print(f"{name:>24} {value:>14,.1f}{target}")
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n")
    if given.check and wrong:
        sys.exit(f"missed: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
