"""Tests of the file of an SQLite journal: schema, migrations, settings and unusable files."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from suno_async import JournalError, SqliteJournal, SubmissionState
from suno_async.journal import _schema
from suno_async.journal.base import TaskRecord
from tests.journals import (
    Clock,
    check_integrity,
    client,
    opened,
    planned,
    read_with,
    states,
    stored,
    write_with,
)

if TYPE_CHECKING:
    from collections.abc import Generator

#: A journal of version 1 with a few rows, as ``.dump`` of the sqlite3 shell wrote it.
VERSION_1 = Path(__file__).parents[1] / "samples" / "journal_v1.sql"


@contextlib.contextmanager
def database(path: Path) -> Generator[sqlite3.Connection]:
    """Connect to a database file directly, without `SqliteJournal`."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


def schema(path: Path) -> dict[str, str]:
    """Return the SQL that created each table and index, by the name of the table or index.

    In the SQL, each sequence of spaces and line breaks is replaced by a single space.
    """
    with database(path) as connection:
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
        return {name: " ".join(sql.split()) for name, sql in rows}


def pragma(connection: sqlite3.Connection, name: str) -> object:
    """Return the value of a PRAGMA of an SQLite connection."""
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return value


async def test_every_connection_syncs(tmp_path: Path) -> None:
    """Every connection uses WAL, syncs on each commit, waits for locks and checks foreign keys."""
    async with opened(SqliteJournal(tmp_path / "j.db", busy_timeout=7.0)) as journal:
        wanted = {
            "journal_mode": "wal",
            "synchronous": 2,
            "fullfsync": 1,
            "busy_timeout": 7000,
            "foreign_keys": 1,
        }
        found: list[dict[str, object]] = []

        def look(connection: sqlite3.Connection) -> None:
            found.append({name: pragma(connection, name) for name in wanted})

        await write_with(journal, look)
        await read_with(journal, look)
        assert found == [wanted, wanted]
        with pytest.raises(JournalError, match="read-only"):
            await read_with(journal, lambda reader: pragma(reader, "user_version = 7"))


def modes(directory: Path) -> dict[str, int]:
    """Return the permission bits of each file in a directory, by file name."""
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
async def test_the_file_is_private(tmp_path: Path) -> None:
    """Only the user who creates a journal can read its files."""
    async with opened(SqliteJournal(tmp_path / "j.db")) as journal:
        await journal.claim(planned("s"))
        assert modes(tmp_path) == {"j.db": 0o600, "j.db-wal": 0o600, "j.db-shm": 0o600}
    assert modes(tmp_path) == {"j.db": 0o600}


async def test_the_identity_of_the_file(tmp_path: Path) -> None:
    """A new journal has an application id, the newest schema version and a list of migrations."""
    clock, path = Clock(), tmp_path / "j.db"
    async with opened(client(path, clock)):
        pass
    with database(path) as connection:
        assert pragma(connection, "application_id") == int.from_bytes(b"SunA")
        assert pragma(connection, "user_version") == len(_schema.MIGRATIONS)
        rows = connection.execute("SELECT * FROM migrations").fetchall()
    assert rows == [
        (version, step.name, clock.now) for version, step in enumerate(_schema.MIGRATIONS, 1)
    ]
    check_integrity(path)


def load_version_1(path: Path) -> None:
    """Create a journal with schema version 1 and a few rows."""
    with database(path) as connection:
        connection.executescript(VERSION_1.read_text("utf-8"))


async def test_a_journal_of_version_1(tmp_path: Path) -> None:
    """A journal of schema version 1 is migrated to the newest version and keeps its rows."""
    old, new = tmp_path / "old.db", tmp_path / "new.db"
    load_version_1(old)
    async with opened(client(old, Clock())) as journal:
        entries = await stored(journal)
        assert await states(journal) == {"s1": "created", "s2": "unknown", "s3": "refused"}
        assert entries[0].task is not None
        assert (entries[0].task.status, entries[0].task.raw) == ("success", b"{}")
        assert await journal.load_durations() == b"durations"
        assert (await journal.claim(planned("new", key="k2", run="night"))).id == "s2"
    async with opened(client(new, Clock())):
        pass
    assert schema(old) == schema(new)


def test_the_first_migration_is_not_edited(tmp_path: Path) -> None:
    """The first migration creates exactly the schema that the sample journal of version 1 has."""
    load_version_1(tmp_path / "old.db")
    with database(tmp_path / "new.db") as connection:
        _schema.migrate(connection, tmp_path, Clock(), _schema.MIGRATIONS[:1])
    assert schema(tmp_path / "old.db") == schema(tmp_path / "new.db")


NEXT = (
    _schema.Migration("a column", ("ALTER TABLE tasks ADD COLUMN note TEXT NOT NULL DEFAULT ''",)),
    _schema.Migration("fill it", ("UPDATE tasks SET note = 'was ' || status",)),
)


def test_migrations_run_in_order(tmp_path: Path) -> None:
    """All missing migrations are applied once and in order."""
    path = tmp_path / "j.db"
    load_version_1(path)
    for _ in range(2):
        with database(path) as connection:
            _schema.migrate(connection, path, Clock(), _schema.MIGRATIONS[:1] + NEXT)
            assert pragma(connection, "user_version") == 3
            assert connection.execute("SELECT version, name FROM migrations").fetchall()[1:] == [
                (2, "a column"),
                (3, "fill it"),
            ]
            assert connection.execute("SELECT note FROM tasks").fetchall() == [("was success",)]
    check_integrity(path)


def test_a_failed_migration_changes_nothing(tmp_path: Path) -> None:
    """If one migration fails, none of the migrations changes the version or the schema."""
    path = tmp_path / "j.db"
    load_version_1(path)
    before = schema(path)
    broken = _schema.Migration("broken", ("UPDATE missing SET x = 1",))
    with database(path) as connection:
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            _schema.migrate(connection, path, Clock(), (*_schema.MIGRATIONS[:1], *NEXT, broken))
        assert pragma(connection, "user_version") == 1
    assert schema(path) == before


async def test_opening_a_new_file_at_the_same_time(tmp_path: Path) -> None:
    """Eight clients can open the same new journal at the same time."""
    path = tmp_path / "j.db"
    journals = [SqliteJournal(path) for _ in range(8)]
    await asyncio.gather(*(journal.open("a") for journal in journals))
    assert (await journals[0].heartbeat()).count == 8
    await asyncio.gather(*(journal.close() for journal in journals))
    check_integrity(path)


async def refused(path: Path, match: str, account: str | None = "a") -> None:
    """Check that two attempts to open a journal both raise an error that matches `match`."""
    journal = SqliteJournal(path, busy_timeout=0.1)
    for _ in range(2):
        with pytest.raises(JournalError, match=match) as caught:
            await journal.open(account)
        assert str(path) in str(caught.value)
    with pytest.raises(JournalError, match="not open"):
        await journal.heartbeat()
    await journal.close()


async def test_files_that_are_not_journals(tmp_path: Path) -> None:
    """A file that is not a usable journal cannot be opened, and stays unchanged."""
    text, other, newer = tmp_path / "text", tmp_path / "other.db", tmp_path / "newer.db"
    text.write_text("this is not a database, but it is long enough\n" * 100)
    content = text.read_bytes()
    await refused(text, "not a journal, or it is damaged; choose another file")
    assert text.read_bytes() == content
    with database(other) as connection:
        connection.execute("CREATE TABLE t (x)")
    before = other.read_bytes()
    await refused(other, "a database of another program; choose another file")
    assert other.read_bytes() == before
    load_version_1(newer)
    with database(newer) as connection:
        connection.execute("PRAGMA user_version = 99")
    await refused(newer, "version 99.*upgrade suno_async")
    await refused(tmp_path, "this is a directory")
    await refused(tmp_path / "none" / "j.db", "directory does not exist; create it first")
    await refused(tmp_path / ("x" * 300), "choose another path|cannot be opened")


async def test_inspecting_needs_a_journal(tmp_path: Path) -> None:
    """Without an account, opening a missing or empty file raises an error, and creates nothing."""
    await refused(tmp_path / "j.db", "there is no journal; check the path", None)
    assert modes(tmp_path) == {}
    (tmp_path / "j.db").touch()
    await refused(tmp_path / "j.db", "there is no journal; check the path", None)


async def use_everything(journal: SqliteJournal) -> None:
    """Open a journal, read all rows, and write a row."""
    async with opened(journal):
        await stored(journal)
        await journal.claim(planned("more"))


async def test_a_damaged_file(tmp_path: Path) -> None:
    """Using a damaged journal raises `JournalError`, even if its first pages are intact."""
    path = tmp_path / "j.db"
    async with opened(client(path, Clock())) as journal:
        await asyncio.gather(*(journal.claim(planned(f"s{each}")) for each in range(500)))
    content = bytearray(path.read_bytes())
    content[4096 * 4 :] = bytes(len(content) - 4096 * 4)
    path.write_bytes(content)
    with pytest.raises(JournalError, match=r"the file is damaged.*restore a copy"):
        await use_everything(client(path, Clock(), 2))


def other_program(path: Path) -> sqlite3.Connection:
    """Lock a journal for writing, as another program would. Return the connection."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    return connection


async def test_a_locked_file(tmp_path: Path) -> None:
    """While another program has locked a journal, `open` and changes fail, but reading works."""
    path = tmp_path / "j.db"
    async with opened(SqliteJournal(path, busy_timeout=0.1)) as journal:
        await journal.claim(planned("before"))
        with contextlib.closing(other_program(path)):
            claims = [journal.claim(planned(f"s{each}")) for each in range(20)]
            results = await asyncio.gather(*claims, return_exceptions=True)
            assert all(isinstance(each, JournalError) for each in results)
            assert len({id(each) for each in results}) == 20
            assert "another process has locked it" in str(results[0])
            await refused(path, "another process has locked it")
            assert await states(journal) == {"before": "planned"}
        await journal.claim(planned("after"))
        assert await states(journal) == {"before": "planned", "after": "planned"}


def limit(connection: sqlite3.Connection, extra: int) -> None:
    """Let the database grow by at most `extra` pages."""
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages + extra}")


async def test_a_full_disk(tmp_path: Path) -> None:
    """If the disk becomes full, no record that was stored successfully is lost."""
    path = tmp_path / "j.db"
    async with opened(client(path, Clock())) as journal:
        await journal.claim(planned("before"))
        await write_with(journal, lambda writer: limit(writer, 3))
        results = [TaskRecord(task_id=f"t{each}", raw=bytes(1000)) for each in range(40)]
        kept = await asyncio.gather(
            *(journal.keep_results([each]) for each in results), return_exceptions=True
        )
        errors = [each for each in kept if each is not None]
        assert 0 < len(errors) < 40
        for error in errors:
            assert isinstance(error, JournalError)
            assert "the disk is full; free space" in str(error)
        acknowledged = {f"t{index}" for index, each in enumerate(kept) if each is None}
        assert set(await journal.find_tasks([each.task_id for each in results])) == acknowledged
        await journal.advance("before", SubmissionState.SENDING)
        await write_with(journal, lambda writer: limit(writer, 1000))
        await journal.keep_results([results[-1]])
    check_integrity(path)


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() == 0, reason="needs modes, which root ignores"
)
async def test_a_read_only_file(tmp_path: Path) -> None:
    """Opening a read-only file raises an error that says how to allow writing."""
    load_version_1(tmp_path / "j.db")
    (tmp_path / "j.db").chmod(0o400)
    await refused(tmp_path / "j.db", "read-only; allow writing to the file")


async def test_text_that_sqlite_cannot_store(tmp_path: Path) -> None:
    """If SQLite cannot store a text, only the `claim` call with this text fails."""
    async with opened(client(tmp_path / "j.db", Clock())) as journal:
        names = ("one", "text\ud800", "two")
        claims = [journal.claim(planned(each, key=each)) for each in names]
        one, bad, two = await asyncio.gather(*claims, return_exceptions=True)
        assert not isinstance(one, BaseException)
        assert not isinstance(two, BaseException)
        assert isinstance(bad, JournalError)
        assert "cannot be stored" in str(bad)
        assert set(await states(journal)) == {"one", "two"}


async def test_a_null_character_is_stored(tmp_path: Path) -> None:
    """A NUL character in an id and in a key is stored like any other character."""
    async with opened(client(tmp_path / "j.db", Clock())) as journal:
        await journal.claim(planned("a\x00b", key="k\x00"))
        assert (await journal.claim(planned("c", key="k\x00"))).id == "a\x00b"
        assert set(await states(journal)) == {"a\x00b"}


async def test_an_old_sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening a journal with an old SQLite raises an error that names the needed version."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    with pytest.raises(JournalError, match=r"too old: 3\.35 is needed"):
        await SqliteJournal(tmp_path / "j.db").open("a")
