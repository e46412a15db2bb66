"""Kill a program that creates many songs, restart it, and check its results at the end.

``python -m benchmarks.kills [--check] [--quick] [--signal KILL|TERM]``

A sandbox, which simulates the API, runs in this process. A worker process creates songs, polls them
and downloads their files. The worker is killed many times at random moments (fixed seed) and
started again. Then it runs to the end. A create is the request that creates a song. The sandbox
breaks some connections on purpose, so some replies to creates are lost. At the end, the benchmark
checks:

- No song was created twice.
- Every create is stored with the right task id, or is listed as unknown.
- After `settle` was called for each unknown create, one more run completes all songs.
- The files of every song are on disk, and have the same SHA-256 as those of the sandbox. There are
  no other files.
- SQLite's integrity check passes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import os
import random
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp

from benchmarks.kills.worker import RUN, jobs
from suno_async import SqliteJournal, SubmissionState, SunoClient
from suno_async.sandbox import Faults, Sandbox

if TYPE_CHECKING:
    from suno_async import SubmissionRecord, TaskInfo

#: A worker is killed after a time in this range, in seconds, counted from when it opened the
#: journal. A run lasts longer than 100 such times, because of the budget of 15 requests per second.
LIFE = (0.0, 1.1)


async def main(songs: int, kills: int, how: signal.Signals, seed: int) -> dict[str, float]:
    """Run the benchmark and return its figures. Raise RuntimeError if a check fails."""
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        journal, directory = str(Path(name) / "runs.db"), Path(name) / "songs"
        async with Sandbox(
            seed=seed,
            time_scale=20.0,
            failure_share=0.0,
            song_seconds=120.0,
            faults=Faults(reset=0.02, latency_in=(0.0, 0.1), latency_out=(0.0, 0.1)),
        ) as sandbox:
            environment = os.environ | {
                "SUNO_API_KEY": sandbox.key,
                "SUNO_BASE_URL": sandbox.url,
                "SUNO_TIME_SCALE": str(sandbox.time_scale),
            }
            started = time.monotonic()
            codes: Counter[int] = Counter()
            phases: Counter[str] = Counter()
            while codes[-how] + codes[143] < kills:
                life = draw.uniform(*LIFE)
                code = await _worker(journal, directory, songs, environment, how, life)
                codes[code] += 1
                if code:
                    phases[_phase(sandbox, directory, songs)] += 1
            codes[await _worker(journal, directory, songs, environment, how, None)] += 1
            seconds = time.monotonic() - started
            sandbox.faults = Faults()
            figures = await _verify(sandbox, journal, directory, songs, environment, how)
    counts = {f"during {phase}": float(count) for phase, count in phases.items()}
    return {"kills": codes[-how] + codes[143], **counts, "seconds": seconds} | figures


def _phase(sandbox: Sandbox, directory: Path, songs: int) -> str:
    """Return the phase in which a worker was killed.

    The phase is "creates" until 90 % of the tasks exist, then "polls" until 90 % of the files
    exist, then "the end".
    """
    if len(sandbox.tasks) < 0.9 * songs:
        return "creates"
    return "polls" if len(_files_in(directory)) < 1.8 * songs else "the end"


async def _worker(  # noqa: PLR0913, PLR0917 (what a worker needs)
    journal: str,
    directory: Path,
    songs: int,
    environment: dict[str, str],
    how: signal.Signals,
    life: float | None,
) -> int:
    """Run a worker process and return its exit code.

    If `life` is not None, send the signal `how` to the worker, `life` seconds after it opened the
    journal.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.kills.worker", journal, str(directory), str(songs)),
        env=environment,
        stderr=asyncio.subprocess.PIPE,
    )
    reading = asyncio.ensure_future(process.communicate())
    while life is not None and not reading.done() and not _is_open_in(journal, process.pid):  # noqa: ASYNC110 (another process)
        await asyncio.sleep(0.01)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(life):
            await asyncio.shield(reading)
    if not reading.done():
        process.send_signal(how)
    _, errors = await reading
    code = process.returncode
    if code not in {0, 143, -how}:
        raise RuntimeError(f"the worker ended with {code}: {errors.decode()[-3000:]}")
    return code


def _is_open_in(journal: str, pid: int) -> bool:
    """Return whether the process `pid` has opened the journal."""
    if not Path(journal).exists():
        return False
    with contextlib.closing(sqlite3.connect(journal)) as database:
        try:
            rows = database.execute("SELECT 1 FROM owners WHERE pid = ?", (pid,)).fetchall()
        except sqlite3.OperationalError:
            return False
    return bool(rows)


async def _verify(  # noqa: PLR0913, PLR0917 (everything that the run has produced)
    sandbox: Sandbox,
    journal: str,
    directory: Path,
    songs: int,
    environment: dict[str, str],
    how: signal.Signals,
) -> dict[str, float]:
    created = Counter(str(job.body["input"]["prompt"]) for job in sandbox.tasks.values())
    _require(max(created.values()) == 1, f"created twice: {created.most_common(3)}")
    records = await _records(journal)
    _require(len(records) == songs, f"{len(records)} submissions in the journal, not {songs}")
    tasks = {str(job.body["input"]["prompt"]): job.task_id for job in sandbox.tasks.values()}
    unknown = [each for each in records if each.state is SubmissionState.UNKNOWN]
    lost = 0
    prompts = [job.prompt for job in jobs(songs)]
    for record in records:
        task_id = tasks.get(str(prompts[record.position]), "")
        if record.state is SubmissionState.CREATED:
            _require(record.task_id == task_id, f"{record.id}: {record.task_id}, not {task_id}")
        else:
            _require(record in unknown, f"{record.id} ended as {record.state}")
            lost += bool(task_id)
    async with SunoClient(
        sandbox.key, base_url=sandbox.url, journal=journal, account="kills"
    ) as suno:
        for record in unknown:
            await suno.settle(record.id, tasks.get(str(prompts[record.position])))
    code = await _worker(journal, directory, songs, environment, how, None)
    _require(code == 0, f"the last run ended with {code}")
    _require(all(count == 1 for count in _created(sandbox).values()), "created twice at the end")
    _require(
        len(sandbox.tasks.values()) == songs, f"{len(sandbox.tasks.values())} tasks at the sandbox"
    )
    files = await _check_files(sandbox, journal, directory)
    with contextlib.closing(sqlite3.connect(journal)) as database:
        (verdict,) = database.execute("PRAGMA integrity_check").fetchone()
    _require(verdict == "ok", f"integrity check: {verdict}")
    return {"songs": songs, "files": files, "unknown": len(unknown), "unknown_created": lost}


async def _records(journal: str) -> list[SubmissionRecord]:
    opened = SqliteJournal(journal)
    await opened.open(None)
    try:
        entries = [each async for each in opened.entries(run=RUN)]
    finally:
        await opened.close()
    return [each.submission for each in entries if each.submission is not None]


def _created(sandbox: Sandbox) -> Counter[str]:
    return Counter(str(job.body["input"]["prompt"]) for job in sandbox.tasks.values())


async def _check_files(sandbox: Sandbox, journal: str, directory: Path) -> int:
    """Compare the files on disk with those of the sandbox, and return the number of files.

    Raise RuntimeError if a file is missing or unexpected, or if its content is different.
    """
    infos: list[TaskInfo] = []
    async with SunoClient(
        sandbox.key, base_url=sandbox.url, journal=journal, account="kills"
    ) as suno:
        ids = [job.task_id for job in sandbox.tasks.values()]
        infos = [each.result() for each in await suno.outcomes(ids)]
    expected: Counter[str] = Counter()
    async with aiohttp.ClientSession() as session:
        for info in infos:
            for track in info.tracks:
                async with session.get(track.suno_audio_url) as response:
                    expected[hashlib.sha256(await response.read()).hexdigest()] += 1
    paths = await asyncio.to_thread(_files_in, directory)
    found = Counter(hashlib.sha256(path.read_bytes()).hexdigest() for path in paths)
    left = [path.name for path in paths if path.suffix != ".mp3"]
    _require(found == expected, f"{len(found)} different files, {len(expected)} expected; {left}")
    return len(paths)


def _files_in(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


def _require(holds: bool, problem: str) -> None:  # noqa: FBT001 (like an assertion)
    if not holds:
        raise RuntimeError(problem)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="200 songs and 100 kills (default)")
    parser.add_argument("--quick", action="store_true", help="20 songs and 8 kills")
    parser.add_argument("--signal", choices=("KILL", "TERM"), default="KILL")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    size = (20, 8) if given.quick else (200, 100)
    number = signal.SIGKILL if given.signal == "KILL" else signal.SIGTERM
    for key, value in asyncio.run(main(*size, number, given.seed)).items():
        print(f"{key:>16} {value:g}")
