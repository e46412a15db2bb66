"""Run ``examples/postgresql.py`` with a real PostgreSQL server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLE = Path(__file__).parents[2] / "examples/postgresql.py"

#: The environment variable with the URL of a database that the tests may use. They drop its tables
#: `results` and `tracks`. Without this variable, the tests start a server of their own.
VARIABLE = "SUNO_TEST_DATABASE_URL"

#: Timeout of each command in seconds. Starting a server takes 3 s.
PATIENCE = 120


def programs() -> Path | None:
    """Return the directory of ``initdb`` and ``pg_ctl``; None if they are not installed."""
    found = [Path(path).parent for name in ("initdb",) if (path := shutil.which(name))]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((path for path in found if (path / "pg_ctl").exists()), None)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Yield the URL of a PostgreSQL server: a given server, or else a new one.

    If neither is possible, skip the test.
    """
    if given := os.environ.get(VARIABLE):
        yield given
        return
    binaries = programs()
    if binaries is None:
        pytest.skip(f"needs PostgreSQL: install it, or name a server in {VARIABLE}")
    user: str | None = None
    directory = Path(tempfile.mkdtemp(prefix="suno-pg-"))
    try:
        if os.name == "posix" and os.geteuid() == 0:
            # PostgreSQL refuses to run as root. Its packages create this user.
            try:
                shutil.chown(directory, "postgres")
            except LookupError:
                pytest.skip(f"needs PostgreSQL: root cannot start it; name a server in {VARIABLE}")
            user = "postgres"

        def run(program: str, *arguments: str) -> None:
            subprocess.run(  # noqa: S603 (our own command)
                [str(binaries / program), "-D", str(directory / "data"), *arguments],
                check=True,
                user=user,
                cwd=directory,
                timeout=PATIENCE,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )

        run("initdb", "--no-sync", "-U", "suno", "-A", "trust")
        # Listen only on a socket in the private directory, because a TCP port could be in use.
        options = f"-c listen_addresses='' -c unix_socket_directories='{directory}' -c fsync=off"
        run("pg_ctl", "start", "-w", "-l", str(directory / "log"), "-o", options)
        try:
            yield f"postgresql://suno@/postgres?host={directory}"
        finally:
            run("pg_ctl", "stop", "-m", "immediate")
    finally:
        shutil.rmtree(directory)


def rows(address: str, query: str) -> list[tuple[Any, ...]]:
    """Return the rows that a query selects."""
    with psycopg.connect(address) as database:
        return database.execute(query.encode()).fetchall()


def test_the_example(address: str) -> None:
    """The example stores one result per job and one row per song. A second run adds no result."""
    with psycopg.connect(address, autocommit=True) as database:
        database.execute("DROP TABLE IF EXISTS results, tracks")
    output = ""
    for _ in range(2):
        done = subprocess.run(  # noqa: S603 (our own example)
            [sys.executable, str(EXAMPLE)],
            env={**os.environ, "DATABASE_URL": address},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        output = done.stdout
    statuses = dict(rows(address, "SELECT status, count(*) FROM results GROUP BY 1"))
    assert statuses.keys() == {"success", "failed"}
    assert sum(statuses.values()) == 20
    assert f"success: {statuses['success']} jobs" in output
    joined = "SELECT count(*) FROM results JOIN tracks USING (task_id) WHERE status = 'success'"
    assert rows(address, joined) == [(2 * statuses["success"],)]
    (longest,) = rows(address, "SELECT max(duration), min(credits) FROM results")
    assert longest[0] > 0
    errors = rows(address, "SELECT DISTINCT error FROM results WHERE status = 'failed'")
    assert all("this job of the sandbox fails" in error for (error,) in errors)
