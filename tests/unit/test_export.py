"""Tests of the export of results to files.

A *part file* is the incomplete file of an export that still runs or was killed.
"""

from __future__ import annotations

import asyncio
import csv
import errno
import sqlite3
import sys
import tracemalloc
from contextlib import closing
from typing import IO, TYPE_CHECKING, Any

import msgspec
import pytest

from suno_async import (
    ConfigurationError,
    ExportError,
    Failure,
    GenerateMusic,
    InvalidInputError,
    JobFailure,
    Success,
    TaskInfo,
    TaskStatus,
    TaskTimeoutError,
    Track,
    TrackRecord,
    export_results,
)
from suno_async import ResultRecord as Result
from suno_async import export as export_module
from suno_async.files.parts import Part
from suno_async.journal.base import JournalEntry, TaskRecord
from tests.mutations import SAMPLES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from suno_async import ResultSource

#: Columns whose number may be unknown. In a CSV file, an unknown number is an empty cell.
NUMBERS = ("created_at", "credits", "duration", "ended_at", "position")

FORMATS = ("jsonl", "csv", "parquet", "sqlite")

AWKWARD = [
    "=HYPERLINK(1)",
    "+1",
    "-1",
    "@x",
    " =1",
    "\t=1",
    "\uff1d1",
    'a "quoted", text',
    "two\r\nlines\n",
    "NUL \0 here",
    "雨の朝 \ud800",
    "",
    "plain",
]


def outcomes(count: int = 3) -> list[ResultSource]:
    """Return `count` successful outcomes with two songs each, and one failure."""
    found: list[ResultSource] = []
    for number in range(count):
        tracks = tuple(
            Track(task_id=f"t{number}", suno_id=f"s{number}-{side}", title=AWKWARD[number % 13])
            for side in range(2)
        )
        info = TaskInfo(task_id=f"t{number}", status=TaskStatus.SUCCESS, tracks=tracks, credits=0.5)
        found.append(Success(info.task_id, info))
    return [*found, Failure("lost", TaskTimeoutError("lost", "too late"))]


def files_in(directory: Path) -> list[Path]:
    """Return the paths in a directory, sorted."""
    return sorted(directory.iterdir())


def read(path: Path, kind: type[Any]) -> list[Any]:
    """Return the rows of an exported file as records of the class `kind`."""
    rows: list[dict[str, Any]]
    if path.suffix == ".jsonl":
        return [msgspec.json.decode(line, type=kind) for line in path.read_bytes().splitlines()]
    if path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as file:
            rows = [
                {name: value or (None if name in NUMBERS else "") for name, value in row.items()}
                for row in csv.DictReader(file, strict=True)
            ]
    elif path.suffix == ".parquet":
        from pyarrow import parquet  # noqa: PLC0415 # pyright: ignore[reportMissingTypeStubs]

        module: Any = parquet
        rows = module.read_table(path).to_pylist()
    else:
        with closing(sqlite3.connect(path)) as db:
            db.row_factory = sqlite3.Row
            table = "tracks" if kind is TrackRecord else "results"
            rows = [dict(row) for row in db.execute(f"SELECT * FROM {table}")]  # noqa: S608 (our own names)
            assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    return [msgspec.convert(row, kind, strict=False) for row in rows]


@pytest.mark.parametrize("suffix", FORMATS)
async def test_round_trip(tmp_path: Path, suffix: str) -> None:
    """Every format keeps all records and their order. A finished export leaves no part file."""
    path = tmp_path / f"songs.{suffix}"
    assert await export_results(outcomes(13), path, rows="tracks") == 26
    songs = read(path, TrackRecord)
    assert [song.suno_id for song in songs] == [f"s{n}-{k}" for n in range(13) for k in range(2)]
    titles = [song.title for song in songs[::2]]
    clean = [text.replace("\0", "").replace("\ud800", "?") for text in AWKWARD]
    marked = [f"'{text}" for text in clean[:7]]
    assert titles == (marked + clean[7:] if suffix == "csv" else clean)
    assert songs[0].duration is None

    other = tmp_path / f"results.{suffix}"
    assert await export_results(outcomes(13), other) == 14
    results = read(other, Result)
    assert [row.status for row in results] == ["success"] * 13 + ["open"]
    assert (results[0].credits, results[0].songs) == (0.5, 2)
    assert "too late" in results[-1].error
    assert files_in(tmp_path) == sorted([path, other])


async def test_a_download_into_the_same_directory(tmp_path: Path) -> None:
    """A download into the directory of a running export does not remove the export's part file."""

    async def source() -> AsyncIterator[ResultSource]:
        part = Part(tmp_path, None, 1000)
        part.restart("identity", None)
        part.discard()
        for outcome in outcomes():
            yield outcome

    assert await export_results(source(), tmp_path / "r.jsonl") == 4
    assert files_in(tmp_path) == [tmp_path / "r.jsonl"]


@pytest.mark.parametrize("suffix", FORMATS)
async def test_part_files_of_dead_exports(tmp_path: Path, suffix: str) -> None:
    """An export removes the part files of killed exports, but not those of running exports."""

    async def running() -> AsyncIterator[ResultSource]:
        assert len(files_in(tmp_path)) == 1
        (tmp_path / ".suno-dead.part").write_bytes(b"left behind")
        await export_results(outcomes(), tmp_path / f"second.{suffix}")
        assert len(files_in(tmp_path)) == 2
        for outcome in outcomes():
            yield outcome

    assert await export_results(running(), tmp_path / f"first.{suffix}") == 4
    assert files_in(tmp_path) == [tmp_path / f"first.{suffix}", tmp_path / f"second.{suffix}"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
async def test_a_killed_export(tmp_path: Path) -> None:
    """An export removes the part file of an earlier export that was killed."""
    script = f"""
import asyncio, os, signal
from suno_async import export_results

async def source():
    os.kill(os.getpid(), signal.SIGKILL)
    yield

asyncio.run(export_results(source(), {str(tmp_path / "dead.csv")!r}))
"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script)
    assert await process.wait() != 0
    assert len(files_in(tmp_path)) == 1
    await export_results(outcomes(), tmp_path / "r.csv")
    assert files_in(tmp_path) == [tmp_path / "r.csv"]


@pytest.mark.parametrize("suffix", FORMATS)
async def test_nothing_to_export(tmp_path: Path, suffix: str) -> None:
    """An export without rows creates a valid file that contains no records."""
    path = tmp_path / f"none.{suffix}"
    assert await export_results([], path) == 0
    assert read(path, Result) == []


async def entries(count: int) -> AsyncIterator[ResultSource]:
    """Yield `count` journal entries of successful tasks."""
    for number in range(count):
        raw = SAMPLES["success"].replace(b"d6956973", b"%08d" % number)
        task_id = f"{number:08d}-2f17-43d4-8514-af6cc3a2f55d"
        yield JournalEntry(None, TaskRecord(task_id=task_id, status="success", raw=raw))
        if number % 100 == 0:
            await asyncio.sleep(0)


@pytest.mark.parametrize("suffix", FORMATS)
async def test_entries_of_a_journal(tmp_path: Path, suffix: str) -> None:
    """An export of many journal entries contains all songs, although it is written in batches."""
    path = tmp_path / f"songs.{suffix}"
    assert await export_results(entries(2_050), path, rows="tracks") == 4_100
    songs = read(path, TrackRecord)
    assert len({(song.task_id, song.index) for song in songs}) == 4_100


async def test_memory_stays_flat(tmp_path: Path) -> None:
    """The memory that an export needs hardly grows with the number of rows."""
    peaks: list[int] = []
    for count in (2_000, 20_000):
        tracemalloc.start()
        await export_results(entries(count), tmp_path / f"{count}.jsonl")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


async def failing(count: int, error: BaseException) -> AsyncIterator[ResultSource]:
    """Yield `count` entries, then raise `error`."""
    async for entry in entries(count):
        yield entry
    raise error


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("error", [RuntimeError("no more"), asyncio.CancelledError()])
async def test_a_source_that_fails(tmp_path: Path, suffix: str, error: BaseException) -> None:
    """If the source raises an error, the existing file stays unchanged and no part file remains."""
    path = tmp_path / f"songs.{suffix}"
    await export_results(outcomes(), path)
    before = path.read_bytes()
    with pytest.raises(type(error)):
        await export_results(failing(1_500, error), path, overwrite=True)
    assert path.read_bytes() == before
    assert files_in(tmp_path) == [path]


async def test_a_cancellation_waits_for_the_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cancelled export waits for its current write, and then removes its part file."""
    loop = asyncio.get_running_loop()
    seen: list[str] = []

    def write(*_: object) -> int:
        loop.call_soon_threadsafe(export.cancel)
        loop.call_soon_threadsafe(export.cancel)
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result()
        seen.extend(path.name for path in tmp_path.iterdir())
        return 1

    monkeypatch.setattr(export_module, "_write", write)
    export = asyncio.create_task(export_results(outcomes(), tmp_path / "songs.csv"))
    with pytest.raises(asyncio.CancelledError):
        await export
    assert len(seen) == 1
    assert files_in(tmp_path) == []


async def test_the_end_of_the_program_waits_for_the_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file is closed after its current write, even if all asyncio tasks are cancelled.

    `asyncio.run` cancels all of them at its end.
    """
    loop = asyncio.get_running_loop()
    others = asyncio.all_tasks()
    steps: list[str] = []

    def cancel_all() -> None:
        for task in asyncio.all_tasks() - others:
            task.cancel()

    async def other_work() -> None:
        for _ in range(20):
            await loop.run_in_executor(None, lambda: None)

    def write(*_: object) -> int:
        loop.call_soon_threadsafe(cancel_all)
        asyncio.run_coroutine_threadsafe(other_work(), loop).result()
        steps.append("written")
        return 1

    def close(writer: IO[bytes]) -> None:
        steps.append("closed")
        writer.close()

    monkeypatch.setattr(export_module, "_write", write)
    monkeypatch.setattr(export_module, "_close", close)
    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(export_results(outcomes(), tmp_path / "songs.csv"))
    assert steps == ["written", "closed"]


async def test_a_failed_export_closes_its_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a write fails, the source is closed, so that a pipeline creates no further tasks."""
    closed: list[bool] = []

    async def source() -> AsyncIterator[ResultSource]:
        try:
            async for entry in entries(1_500):
                yield entry
        finally:
            closed.append(True)

    def write(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(export_module, "_write", write)
    # The traceback of the error keeps the frames of the export alive.
    with pytest.raises(ExportError) as kept:
        await export_results(source(), tmp_path / "songs.csv")
    assert closed
    del kept


@pytest.mark.parametrize("suffix", FORMATS)
async def test_an_invalid_input(tmp_path: Path, suffix: str) -> None:
    """A job whose input cannot be encoded does not end the export of the other outcomes."""
    path = tmp_path / f"songs.{suffix}"
    lost = JobFailure("", InvalidInputError(("x",)), index=0, job=GenerateMusic("caf\udce9"))
    assert await export_results([*outcomes(), lost], path) == 5
    assert read(path, Result)[-1].status == "not_created"


@pytest.mark.parametrize("suffix", FORMATS)
async def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    """If a write fails, the export raises `ExportError` and leaves no file."""

    def write(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(export_module, "_write", write)
    with pytest.raises(ExportError, match="No space left"):
        await export_results(outcomes(), tmp_path / f"songs.{suffix}")
    assert files_in(tmp_path) == []


async def test_a_missing_directory(tmp_path: Path) -> None:
    """Exporting to a directory that does not exist raises `ExportError`."""
    for suffix in FORMATS:
        with pytest.raises(ExportError, match="No such file"):
            await export_results(outcomes(), tmp_path / f"missing/songs.{suffix}")


async def test_wrong_arguments(tmp_path: Path) -> None:
    """An unknown format, or an unknown value of `rows`, raises `ConfigurationError`."""
    anything: Any = "songs"
    with pytest.raises(ConfigurationError, match="the formats are jsonl, csv, parquet, sqlite"):
        await export_results([], tmp_path / "songs.xls")
    with pytest.raises(ConfigurationError, match="unknown format: 'songs'"):
        await export_results([], tmp_path / "songs.csv", file_format=anything)
    with pytest.raises(ConfigurationError, match="rows must be"):
        await export_results([], tmp_path / "songs.csv", rows=anything)


async def test_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pyarrow, a Parquet export raises an error that says what to install."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    source = entries(1)
    with pytest.raises(ConfigurationError, match=r'pip install "suno_async\[parquet\]"'):
        await export_results(source, tmp_path / "songs.parquet")
    assert [entry async for entry in source]
    assert files_in(tmp_path) == []
