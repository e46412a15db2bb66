"""Export results to JSONL, CSV, Parquet and SQLite files.

A file appears under its name only when it is complete. Records are written in batches, so the
memory in use does not grow with the number of records.
"""

from __future__ import annotations

import asyncio
import contextlib
import csv
import os
import sqlite3
import sys
from collections.abc import AsyncGenerator, AsyncIterable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, Protocol, TypeVar, cast

import msgspec

from suno_async.errors import ConfigurationError, ExportError
from suno_async.files import part_files
from suno_async.records import ResultRecord, TrackRecord, result_record, track_records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from os import PathLike

    from suno_async.records import ResultSource

T = TypeVar("T")

#: Results written at a time. At 10 KB for each reply, a batch takes about 10 MB.
BATCH = 1_000

FileFormat = Literal["jsonl", "csv", "parquet", "sqlite"]
Rows = Literal["results", "tracks"]

#: The format of each suffix.
SUFFIXES: dict[str, FileFormat] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".parquet": "parquet",
    ".sqlite": "sqlite",
    ".sqlite3": "sqlite",
    ".db": "sqlite",
}

_RECORDS: dict[Rows, type[msgspec.Struct]] = {"results": ResultRecord, "tracks": TrackRecord}

#: A spreadsheet treats a cell that starts with one of these as a formula. The last four are the
#: full-width forms of the first four.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


async def export_results(
    source: Iterable[ResultSource] | AsyncIterable[ResultSource],
    path: str | PathLike[str],
    *,
    file_format: FileFormat | None = None,
    rows: Rows = "results",
    overwrite: bool = False,
) -> int:
    """Write results to a file, and return the number of rows.

    Args:
        source: Outcomes, `TaskInfo` objects, or the entries of a journal. A synchronous iterable
            must not block the event loop. If the export fails after it began to read, an
            asynchronous generator is closed, so a `SunoClient.pipeline` creates no further tasks.
        path: The file. It appears only when it is complete. Its directory must exist.
        file_format: ``"jsonl"``, ``"csv"``, ``"parquet"`` or ``"sqlite"``. If None, the suffix of
            `path` decides. Parquet needs the extra ``parquet``.
        rows: ``"results"`` writes a `ResultRecord` for each item of `source`. ``"tracks"`` writes a
            `TrackRecord` for each song, stem, video or other result file. In SQLite, the value of
            `rows` is also the name of the table.
        overwrite: Whether to replace an existing file. If False, a file that appears during the
            export is not replaced either. An SQLite database with other tables than ``results``
            and ``tracks`` is never replaced. While an SQLite log of the file exists (the same name
            plus ``-wal`` or ``-journal``), the file is not replaced either.

    Raises:
        ConfigurationError: The format or the value of `rows` is unknown, or the extra ``parquet``
            is missing. Or `path` is not a valid file name, or the export must not be written there
            (see `overwrite`). Nothing was read from `source`.
        ExportError: The file cannot be written, or it appeared during the export and must not be
            replaced.
        Exception: An error of `source` is raised unchanged.
    """
    path = Path(path)
    file_format = _format_of(path, file_format)
    if rows not in _RECORDS:
        raise ConfigurationError(f"rows must be 'results' or 'tracks', not {rows!r}")
    writer_class = _WRITERS[file_format]
    cleanup = contextlib.ExitStack()
    count = 0
    try:
        await _in_thread(_check_target, path, file_format, overwrite)
        part, locked = await _in_thread(_open_part, path.parent, cleanup)
        writer = await _in_thread(_open_writer, writer_class, part, rows, cleanup)
        async with contextlib.aclosing(_batches(source)) as batches:
            async for batch in batches:
                count += await _in_thread(_write, writer, batch, rows)
        await _in_thread(_finish, writer, part, locked, path, file_format, overwrite)
    finally:
        await _in_thread(cleanup.close)
    return count


def _format_of(path: Path, file_format: FileFormat | None) -> FileFormat:
    found = file_format or SUFFIXES.get(path.suffix.lower())
    if found not in _WRITERS:
        known = ", ".join(_WRITERS)
        wrong = f"{str(path)!r} (pass file_format)" if file_format is None else f"{file_format!r}"
        raise ConfigurationError(f"unknown format: {wrong}; the formats are {known}")
    return found


async def _batches(
    source: Iterable[ResultSource] | AsyncIterable[ResultSource],
) -> AsyncGenerator[list[ResultSource]]:
    batch: list[ResultSource] = []
    async with contextlib.aclosing(_iterate(source)) as items:
        async for item in items:
            batch.append(item)
            if len(batch) == BATCH:
                yield batch
                batch = []
    if batch:
        yield batch


async def _iterate(
    source: Iterable[ResultSource] | AsyncIterable[ResultSource],
) -> AsyncGenerator[ResultSource]:
    if not isinstance(source, AsyncIterable):
        for item in source:
            yield item
        return
    try:
        async for item in source:
            yield item
    finally:
        # After a failed export, an open pipeline would continue to create tasks.
        if isinstance(source, AsyncGenerator):
            await source.aclose()


async def _in_thread(function: Callable[..., T], *arguments: object) -> T:
    """Run a function in a thread. If this call is cancelled, wait until the function has ended."""
    # Not `asyncio.to_thread`: its asyncio task could be cancelled, for example at the end of
    # `asyncio.run`. It would then count as done, although the function is still running.
    work = asyncio.get_running_loop().run_in_executor(None, function, *arguments)
    try:
        await asyncio.shield(work)
    except asyncio.CancelledError:
        while not work.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([work])
        # Retrieve the error, or asyncio would log it. The cancellation is raised instead.
        work.exception()
        raise
    except (OSError, sqlite3.Error) as error:
        problem = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise ExportError(
            f"cannot write the export: {problem}; check the directory, its permissions and the disk"
        ) from error
    return work.result()


def _check_target(path: Path, file_format: FileFormat, overwrite: bool) -> None:  # noqa: FBT001 (run_in_executor passes it by position)
    try:
        is_valid = b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        is_valid = False
    if not is_valid:
        raise ConfigurationError(f"{str(path)!r} is not a valid file name: choose another path")
    if path.exists() and not overwrite:
        raise ConfigurationError(f"{path} exists: choose another file, or set overwrite")
    _check_replaceable(path, file_format)


def _check_replaceable(path: Path, file_format: FileFormat) -> None:
    """Check that a new file at `path` replaces only an earlier export, or a file of another kind.

    Raises:
        ConfigurationError: The file must not be replaced.
    """
    exists = path.exists()
    if exists and not path.is_file():
        raise ConfigurationError(f"{path} is not a file: choose another path")
    if exists or file_format == "sqlite":
        # SQLite would apply the log of another database to the new file, and damage it.
        for log in (Path(f"{path}{end}") for end in ("-wal", "-journal")):
            if log.exists():
                raise ConfigurationError(
                    f"cannot write {path}: there is the log of another database, {log.name}; "
                    "close the database, or choose another file (if no program uses the database, "
                    "remove the log)"
                )
    if exists and not _tables(path) <= _RECORDS.keys():
        raise ConfigurationError(
            f"cannot replace {path}: it is another database, such as a journal; choose another file"
        )


def _tables(path: Path) -> set[str]:
    """Return the names of all tables and other objects in an SQLite database.

    Return an empty set for a file of another kind.
    """
    with path.open("rb") as file:
        if file.read(16) != b"SQLite format 3\0":
            return set()
    # `immutable`: otherwise, SQLite would create a log beside a database in WAL mode.
    database = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
    with contextlib.closing(sqlite3.connect(database, uri=True)) as db:
        return {name for (name,) in db.execute("SELECT name FROM sqlite_schema")}


def _open_part(directory: Path, cleanup: contextlib.ExitStack) -> tuple[Path, IO[bytes]]:
    """Create a temporary file for an export. Return its path, and the open file.

    First, remove the temporary files of processes that have ended. The new file is locked while it
    is open, so other exports and downloads do not remove the new file.
    """
    part_files.sweep(directory)
    part, locked = part_files.create(directory)
    cleanup.callback(part.unlink, missing_ok=True)
    cleanup.callback(locked.close)
    return part, locked


def _open_writer(
    writer_class: type[_Writer], part: Path, rows: Rows, cleanup: contextlib.ExitStack
) -> _Writer:
    writer = writer_class(part, rows)
    cleanup.callback(_close, writer)
    return writer


def _close(writer: _Writer) -> None:
    # Closing may fail, for example if the disk is full. Only the first error is reported.
    with contextlib.suppress(OSError, ValueError, sqlite3.Error):
        writer.close()


def _write(writer: _Writer, batch: list[ResultSource], rows: Rows) -> int:
    """Convert a batch of results to records, and write them. Return the number of records."""
    if rows == "results":
        records: list[msgspec.Struct] = [result_record(each) for each in batch]
    else:
        records = [record for each in batch for record in track_records(each)]
    writer.write(records)
    return len(records)


def _finish(  # noqa: PLR0913, PLR0917 (run_in_executor passes them by position)
    writer: _Writer,
    part: Path,
    locked: IO[bytes],
    path: Path,
    file_format: FileFormat,
    overwrite: bool,  # noqa: FBT001 (as above)
) -> None:
    writer.close()
    os.fsync(locked.fileno())
    if sys.platform == "win32":
        # Windows cannot rename an open file.
        locked.close()
    # Another program may have created or opened the file during the export.
    try:
        _check_replaceable(path, file_format)
    except ConfigurationError as error:
        raise ExportError(str(error)) from None
    if not part_files.publish(part, path, overwrite=overwrite):
        raise ExportError(f"{path} appeared during the export: choose another file")


class _Writer(Protocol):
    """Writes records into an empty file. `close` may be called twice."""

    def __init__(self, path: Path, rows: Rows) -> None: ...

    def write(self, records: list[msgspec.Struct]) -> None: ...

    def close(self) -> None: ...


class _JsonLines:
    """Writes a JSONL file: one JSON object in each line."""

    def __init__(self, path: Path, rows: Rows) -> None:
        del rows
        self._file: IO[bytes] = path.open("wb")
        self._encoder = msgspec.json.Encoder()

    def write(self, records: list[msgspec.Struct]) -> None:
        self._file.write(self._encoder.encode_lines(records))

    def close(self) -> None:
        self._file.close()


class _Csv:
    """Writes a CSV file in UTF-8 with a header, in the format of RFC 4180."""

    def __init__(self, path: Path, rows: Rows) -> None:
        self._file = path.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file)
        self._writer.writerow(_RECORDS[rows].__struct_fields__)

    def write(self, records: list[msgspec.Struct]) -> None:
        rows = (msgspec.structs.astuple(record) for record in records)
        self._writer.writerows([_cell(value) for value in row] for row in rows)

    def close(self) -> None:
        self._file.close()


def _cell(value: object) -> object:
    """Return the value for a CSV cell. Put an apostrophe in front of text that may be a formula."""
    if isinstance(value, str) and (value.startswith(_FORMULA) or value.lstrip()[:1] in _FORMULA):
        return f"'{value}"
    return value


class _Sqlite:
    """Writes an SQLite database with one table, named ``results`` or ``tracks``."""

    def __init__(self, path: Path, rows: Rows) -> None:
        columns = _columns(_RECORDS[rows])
        kinds = {str: "TEXT", int: "INTEGER", float: "REAL"}
        definition = ", ".join(f'"{name}" {kinds[kind]}' for name, kind in columns.items())
        marks = ", ".join("?" * len(columns))
        # No locks: on some systems, the lock of the part file would keep SQLite out.
        database = f"{path.resolve().as_uri()}?mode=rw&nolock=1"
        # Batches are written in different threads, one after the other.
        self._db = sqlite3.connect(database, uri=True, check_same_thread=False)
        # The file has another name until it is complete. So SQLite needs no log, and it is enough
        # that `_finish` syncs the file once.
        self._db.execute("PRAGMA journal_mode = OFF")
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.execute(f'CREATE TABLE "{rows}" ({definition})')
        self._insert = f'INSERT INTO "{rows}" VALUES ({marks})'  # noqa: S608 (our own names)

    def write(self, records: list[msgspec.Struct]) -> None:
        self._db.executemany(self._insert, map(msgspec.structs.astuple, records))
        self._db.commit()

    def close(self) -> None:
        self._db.close()


class _Parquet:
    """Writes a Parquet file with one row group for each batch of records."""

    def __init__(self, path: Path, rows: Rows) -> None:
        try:
            import pyarrow as pa  # noqa: PLC0415 (an extra) # pyright: ignore[reportMissingTypeStubs]
            from pyarrow import parquet  # noqa: PLC0415 (an extra) # pyright: ignore[reportMissingTypeStubs]
        except ImportError:
            raise ConfigurationError(
                'Parquet needs pyarrow: pip install "suno_async[parquet]"'
            ) from None
        # pyarrow has no type hints.
        self._arrow, writer = cast("Any", pa), cast("Any", parquet).ParquetWriter
        kinds = {
            str: self._arrow.string(),
            int: self._arrow.int64(),
            float: self._arrow.float64(),
        }
        columns = _columns(_RECORDS[rows])
        self._schema = self._arrow.schema([(name, kinds[kind]) for name, kind in columns.items()])
        self._file: IO[bytes] = path.open("wb")
        self._writer = writer(self._file, self._schema)

    def write(self, records: list[msgspec.Struct]) -> None:
        rows = [msgspec.structs.asdict(record) for record in records]
        self._writer.write_table(self._arrow.Table.from_pylist(rows, schema=self._schema))

    def close(self) -> None:
        try:
            self._writer.close()
        finally:
            self._file.close()


_WRITERS: dict[FileFormat, type[_Writer]] = {
    "jsonl": _JsonLines,
    "csv": _Csv,
    "parquet": _Parquet,
    "sqlite": _Sqlite,
}


def _columns(kind: type[msgspec.Struct]) -> dict[str, type]:
    """Return a dict from each column name of a record class to its type: str, int or float."""
    hints = {field.name: field.type for field in msgspec.structs.fields(kind)}
    return {
        name: next(each for each in (str, int, float) if hint in (each, each | None))
        for name, hint in hints.items()
    }
