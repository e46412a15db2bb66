"""Tests of what `export_results` refuses to replace, and of file names that it refuses."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from suno_async import ConfigurationError, ExportError, export_results
from tests.unit.test_export import entries, files_in, outcomes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from suno_async import ResultSource


async def test_existing_files(tmp_path: Path) -> None:
    """An existing file is replaced only with ``overwrite=True``."""
    path = tmp_path / "songs.csv"
    path.write_text("mine")
    with pytest.raises(ConfigurationError, match="set overwrite"):
        await export_results(outcomes(), path)
    assert path.read_text() == "mine"
    assert await export_results(outcomes(), path, overwrite=True) == 4
    with pytest.raises(ConfigurationError, match="is not a file"):
        await export_results(outcomes(), tmp_path, file_format="csv", overwrite=True)


async def test_a_file_that_appears_during_the_export(tmp_path: Path) -> None:
    """Without `overwrite`, an export fails if a file appears at its path during the export."""
    path = tmp_path / "songs.csv"

    async def source() -> AsyncIterator[ResultSource]:
        path.write_text("mine")
        for outcome in outcomes():
            yield outcome

    with pytest.raises(ExportError, match="appeared during the export"):
        await export_results(source(), path)
    assert path.read_text() == "mine"
    assert files_in(tmp_path) == [path]
    assert await export_results(source(), path, overwrite=True) == 4
    assert files_in(tmp_path) == [path]


async def test_a_database_that_appears_during_the_export(tmp_path: Path) -> None:
    """If a journal is created at the path of a running export, the export fails.

    It fails even with `overwrite`.
    """
    path = tmp_path / "songs.db"

    async def source() -> AsyncIterator[ResultSource]:
        with closing(sqlite3.connect(path)) as db:
            db.execute("CREATE TABLE submissions (id TEXT)")
        for outcome in outcomes():
            yield outcome

    with pytest.raises(ExportError, match="another database"):
        await export_results(source(), path, overwrite=True)
    with closing(sqlite3.connect(path)) as db:
        db.execute("SELECT id FROM submissions")
    assert files_in(tmp_path) == [path]


async def test_other_databases(tmp_path: Path) -> None:
    """`overwrite` replaces a database only if an earlier export wrote it and it is not open."""
    journal = tmp_path / "runs.db"
    with closing(sqlite3.connect(journal)) as db:
        db.execute("CREATE TABLE submissions (id TEXT)")
    for file_format in ("sqlite", "csv"):
        with pytest.raises(ConfigurationError, match="another database"):
            await export_results([], journal, file_format=file_format, overwrite=True)
    export = tmp_path / "songs.db"
    await export_results(outcomes(), export)
    assert await export_results([], export, overwrite=True) == 0
    (tmp_path / "songs.db-wal").write_bytes(b"")
    with pytest.raises(ConfigurationError, match=r"another database, songs\.db-wal"):
        await export_results([], export, overwrite=True)


@pytest.mark.parametrize("end", ["-wal", "-journal"])
@pytest.mark.parametrize("overwrite", [False, True])
async def test_the_log_of_a_missing_database(tmp_path: Path, end: str, *, overwrite: bool) -> None:
    """A database is not exported beside the log of an earlier database with this name.

    SQLite would apply the log to the new database.
    """
    path, log = tmp_path / "songs.db", tmp_path / f"songs.db{end}"
    log.write_bytes(b"old")
    source = entries(1)
    with pytest.raises(ConfigurationError, match="remove the log"):
        await export_results(source, path, overwrite=overwrite)
    assert [entry async for entry in source]
    log.unlink()

    async def appearing() -> AsyncIterator[ResultSource]:
        log.write_bytes(b"old")
        for outcome in outcomes():
            yield outcome

    with pytest.raises(ExportError, match="remove the log"):
        await export_results(appearing(), path, overwrite=overwrite)
    assert files_in(tmp_path) == [log]


async def test_an_export_in_wal_mode(tmp_path: Path) -> None:
    """An exported database is replaced even if a program switched it to SQLite's WAL mode."""
    path = tmp_path / "songs.db"
    await export_results(outcomes(), path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = WAL")
    assert await export_results(outcomes(), path, overwrite=True) == 4
    assert files_in(tmp_path) == [path]


@pytest.mark.parametrize("name", ["a\0b.csv", "a\ud800.csv"])
async def test_names_that_no_file_can_have(tmp_path: Path, name: str) -> None:
    """A path that no file can have raises `ConfigurationError` before the source is read."""
    source = entries(1)
    with pytest.raises(ConfigurationError, match="not a valid file name"):
        await export_results(source, tmp_path / name)
    assert [entry async for entry in source]
