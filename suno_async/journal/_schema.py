"""The schema of an SQLite journal, its migrations, and how a connection is opened."""

from __future__ import annotations

import os
import sqlite3
import time
from typing import TYPE_CHECKING, NamedTuple

from suno_async.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

#: ``SunA`` in ASCII. It marks an SQLite database as a journal of this library.
APPLICATION_ID = 0x53756E41

#: The oldest version of SQLite that is accepted.
OLDEST_SQLITE = (3, 35)

#: Seconds between two attempts to switch a new file to the write-ahead log (WAL) while another
#: process does the same.
RETRY_EVERY = 0.01


class Migration(NamedTuple):
    """One change of the schema.

    After the change, the version of the schema is the index of the change in `MIGRATIONS` plus 1.
    """

    name: str
    statements: tuple[str, ...]


#: Never edit a migration that was released. Append a new one.
MIGRATIONS: tuple[Migration, ...] = (
    Migration(
        "first tables",
        (
            """
            CREATE TABLE migrations (
                version INTEGER PRIMARY KEY,
                name TEXT NOT NULL,
                applied_at REAL NOT NULL
            )
            """,
            """
            CREATE TABLE owners (
                owner TEXT PRIMARY KEY,
                account TEXT NOT NULL,
                host TEXT NOT NULL,
                machine TEXT NOT NULL,
                pid INTEGER NOT NULL,
                joined_at REAL NOT NULL,
                renewed_at REAL NOT NULL,
                expires_at REAL NOT NULL,
                joined_turn INTEGER NOT NULL,
                beat_turn INTEGER NOT NULL DEFAULT 0
            ) WITHOUT ROWID
            """,
            """
            CREATE TABLE leases (
                account TEXT NOT NULL,
                run TEXT NOT NULL,
                owner TEXT NOT NULL REFERENCES owners (owner) ON DELETE CASCADE,
                taken_at REAL NOT NULL,
                PRIMARY KEY (account, run)
            ) WITHOUT ROWID
            """,
            "CREATE INDEX leases_of_owner ON leases (owner)",
            """
            CREATE TABLE submissions (
                seq INTEGER PRIMARY KEY,
                id TEXT NOT NULL UNIQUE,
                account TEXT NOT NULL,
                kind TEXT NOT NULL,
                job BLOB NOT NULL,
                digest TEXT NOT NULL,
                run TEXT NOT NULL,
                position INTEGER NOT NULL,
                key TEXT NOT NULL,
                callback_url TEXT,
                state TEXT NOT NULL CHECK (state IN
                    ('planned', 'sending', 'created', 'refused', 'not_sent', 'unknown')),
                task_id TEXT NOT NULL DEFAULT '',
                error TEXT NOT NULL DEFAULT '',
                planned_at REAL NOT NULL,
                changed_at REAL NOT NULL,
                owner TEXT NOT NULL
            )
            """,
            """
            CREATE UNIQUE INDEX submissions_by_key ON submissions (account, run, key)
                WHERE key <> ''
            """,
            "CREATE INDEX submissions_by_run ON submissions (run, account)",
            "CREATE INDEX submissions_by_task ON submissions (task_id) WHERE task_id <> ''",
            """
            CREATE INDEX submissions_open ON submissions (owner)
                WHERE state IN ('planned', 'sending')
            """,
            """
            CREATE TABLE tasks (
                seq INTEGER PRIMARY KEY,
                task_id TEXT NOT NULL,
                account TEXT NOT NULL,
                kind TEXT NOT NULL DEFAULT '',
                created_at REAL,
                status TEXT NOT NULL DEFAULT '',
                ended_at REAL,
                raw BLOB NOT NULL DEFAULT x'',
                UNIQUE (task_id, account)
            )
            """,
            """
            CREATE TABLE durations (
                account TEXT PRIMARY KEY,
                data BLOB NOT NULL,
                saved_at REAL NOT NULL
            ) WITHOUT ROWID
            """,
        ),
    ),
    Migration(
        "when a submission created its task",
        (
            "ALTER TABLE submissions ADD COLUMN created_at REAL",
            """
            UPDATE submissions SET created_at = (
                SELECT created_at FROM tasks
                WHERE tasks.task_id = submissions.task_id AND tasks.account = submissions.account
            ) WHERE task_id <> ''
            """,
        ),
    ),
)


_LOCKED = "another process has locked it for too long; end that process, or try again"
_CLOSED_TO_US = (
    "it cannot be opened ({error}); check the path, and the permissions of the file and of its "
    "directory"
)
_IO = (
    "reading or writing failed ({error}); check the disk, and use a local one: network file "
    "systems do not work"
)

#: What to do about an error, by its primary code.
_REMEDIES = {
    sqlite3.SQLITE_NOTADB: "this is not a journal, or it is damaged; choose another file",
    sqlite3.SQLITE_CORRUPT: (
        "the file is damaged ({error}); restore a copy, or save what is left with the command "
        ".recover of the sqlite3 shell"
    ),
    sqlite3.SQLITE_FULL: "the disk is full; free space and start again; stored data is not lost",
    sqlite3.SQLITE_READONLY: (
        "it is read-only; allow writing to the file and to its directory, or copy the file to "
        "another directory"
    ),
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_CANTOPEN: _CLOSED_TO_US,
    sqlite3.SQLITE_PERM: _CLOSED_TO_US,
    sqlite3.SQLITE_IOERR: _IO,
    sqlite3.SQLITE_PROTOCOL: _IO,
}


def translate(error: BaseException, path: Path) -> JournalError:
    """Return a `JournalError` for any error. The message usually says what the user can do."""
    if isinstance(error, JournalError):
        return error
    if isinstance(error, sqlite3.Error):
        return JournalError(f"journal {path}: {_remedy(error)}")
    if isinstance(error, OSError):
        return JournalError(f"journal {path}: {error.strerror or error}; choose another path")
    # For example, SQLite cannot store lone surrogates and integers of more than 64 bits.
    return JournalError(f"journal {path}: this cannot be stored or looked up: {error!r}")


def _remedy(error: sqlite3.Error) -> str:
    # An extended code has the primary code in its lowest byte. Errors that Python's sqlite3 module
    # raises itself have no code.
    remedy = _REMEDIES.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
    if remedy is None:
        return f"{error} ({getattr(error, 'sqlite_errorname', type(error).__name__)})"
    return remedy.format(error=error)


def prepare_file(path: Path, *, create: bool) -> None:
    """Check that `path` can be a journal.

    If the file does not exist and `create` is True, create an empty file that only this user can
    read. If `create` is False, the journal must exist.

    Raises:
        JournalError: SQLite is too old, or `path` cannot be a journal.
        OSError: The operating system cannot create the file.
    """
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        needed = ".".join(map(str, OLDEST_SQLITE))
        raise JournalError(f"SQLite {sqlite3.sqlite_version} is too old: {needed} is needed")
    if path.is_dir():
        raise JournalError(f"journal {path}: this is a directory; give the path of a file")
    if not create and not (path.exists() and path.stat().st_size):
        raise JournalError(f"journal {path}: there is no journal; check the path")
    if path.exists():
        return
    if not path.parent.is_dir():
        raise JournalError(f"journal {path}: the directory does not exist; create it first")
    # Mode 0600, because prompts are private. SQLite gives its additional files the same mode.
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


def connect(path: Path, busy_timeout: float, *, read_only: bool = False) -> sqlite3.Connection:
    """Open a connection that writes each commit to the disk. The file must exist.

    Raises:
        JournalError: The database is not a journal, or the file system does not support SQLite's
            write-ahead log (WAL).
        sqlite3.Error: The database cannot be opened.
    """
    connection = sqlite3.connect(
        path, timeout=busy_timeout, isolation_level=None, cached_statements=256
    )
    try:
        # Check this first, because the next lines change the database.
        _check_identity(connection, path)
        # This affects only a new file. A result has 2 to 3 kB, so a page of 4 kB has room for only
        # one, and storing a result would take a fifth more CPU. Pages of 16 kB also take more CPU,
        # because each change of an index writes a whole page.
        connection.execute("PRAGMA page_size = 8192")
        _switch_to_wal(connection, path, busy_timeout)
        connection.execute("PRAGMA synchronous = FULL")
        # On macOS, fsync alone does not reach the disk.
        connection.execute("PRAGMA fullfsync = ON")
        connection.execute("PRAGMA foreign_keys = ON")
        if read_only:
            connection.execute("PRAGMA query_only = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def _check_identity(connection: sqlite3.Connection, path: Path) -> None:
    # Read the tables before the id. Another process may create the journal at this moment, and it
    # commits both together. So this never finds tables of a journal without the id.
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    (found,) = connection.execute("PRAGMA application_id").fetchone()
    if found != APPLICATION_ID and (found or tables):
        raise JournalError(
            f"journal {path}: this is a database of another program; choose another file"
        )


def _switch_to_wal(connection: sqlite3.Connection, path: Path, busy_timeout: float) -> None:
    # SQLite does not apply its busy timeout to this switch.
    until = time.monotonic() + busy_timeout
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError as error:
            busy = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > until:
                raise
            time.sleep(RETRY_EVERY)
            continue
        if mode != "wal":
            raise JournalError(
                f"journal {path}: SQLite cannot use a write-ahead log there; use a local disk, "
                "network file systems do not work"
            )
        return


def version_of(connection: sqlite3.Connection) -> int:
    """Return the version of the schema; 0 for an empty file."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def migrate(
    connection: sqlite3.Connection,
    path: Path,
    clock: Callable[[], float],
    migrations: Sequence[Migration] = MIGRATIONS,
) -> None:
    """Migrate the schema to the newest version, in one transaction.

    Raises:
        JournalError: A newer version of the library made the schema.
        sqlite3.Error: The database is locked, or cannot be written.
    """
    if version_of(connection) == len(migrations):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have migrated the schema in the meantime.
        version = version_of(connection)
        _check_version(version, len(migrations), path)
        for number, step in enumerate(migrations[version:], version + 1):
            for statement in step.statements:
                connection.execute(statement)
            connection.execute(
                "INSERT INTO migrations (version, name, applied_at) VALUES (?, ?, ?)",
                (number, step.name, clock()),
            )
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(migrations)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _check_version(version: int, newest: int, path: Path) -> None:
    if version > newest:
        raise JournalError(
            f"journal {path}: its schema has version {version}, but this version of suno_async "
            f"supports versions up to {newest}; upgrade suno_async"
        )
