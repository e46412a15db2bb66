"""The owners of a journal. An *owner* is a client that opened the journal; see `Journal`.

The table ``owners`` stores each owner and the end of its *lease*. A live owner extends its lease
regularly. An owner counts as dead if its lease has expired or its process has ended.

A *run* is a named group of create requests. The table ``leases`` stores which owner has reserved
which run. It does not store the leases of owners.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from suno_async.errors import JournalError, RunInUseError
from suno_async.journal.base import Peers

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

#: The `error` of a submission whose owner was no longer live: `NOT_SENT` if the state was
#: ``planned``, `UNKNOWN` if the state was ``sending``.
NOT_SENT = "the client ended or was suspended before it sent the request"
UNKNOWN = "the client ended or was suspended before it recorded the reply"


class Host:
    """Identifies this process and its machine, and checks whether other processes have ended.

    Tests pass a fake `Host` to `SqliteJournal`.

    Attributes:
        name: The host name.
        machine: Identifies the machine or container of this process; empty if unknown.
        pid: The id of this process.
    """

    def __init__(self) -> None:
        self.name = socket.gethostname()
        self.machine = _machine(self.name)
        self.pid = os.getpid()

    def ended(self, machine: str, pid: int) -> bool:
        """Return True only if it is certain that a process has ended."""
        # On Windows, os.kill would end the process.
        if sys.platform == "win32" or not machine or machine != self.machine:
            return False
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        except (OSError, OverflowError):
            return False
        return False


def _machine(name: str) -> str:
    if not sys.platform.startswith("linux"):
        return name
    # Several containers may have the same host name, and each container has its own process ids.
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{name} {boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


class Owner:
    """One client of a journal. Call each method in a thread of the journal, within a transaction.

    Attributes:
        id: Identifies this owner.
        account: The label of the account. None means all accounts.
        clock: Returns the Unix time.
    """

    def __init__(
        self,
        owner: str,
        account: str | None,
        *,
        ttl: float,
        host: Host,
        clock: Callable[[], float],
    ) -> None:
        self.id = owner
        self.account = account
        self.clock = clock
        self._ttl = ttl
        self._host = host
        #: Runs that this owner reserved and did not release. Another owner may have them now.
        self._held: set[str] = set()

    def join(self, connection: sqlite3.Connection) -> None:
        """Remove dead owners. Then add this owner if it has an account."""
        self.sweep(connection)
        if self.account is None:
            return
        now, host = self.clock(), self._host
        values = (self.id, self.account, host.name, host.machine, host.pid)
        connection.execute(
            "INSERT INTO owners (owner, account, host, machine, pid, joined_at, renewed_at,"
            " expires_at, joined_turn) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*values, now, now, now + self._ttl, _next_turn(connection)),
        )

    def leave(self, connection: sqlite3.Connection) -> None:
        """Remove this owner and release its runs.

        Give a final state to its unfinished submissions.
        """
        connection.execute("DELETE FROM owners WHERE owner = ?", (self.id,))
        self.sweep(connection)

    def renew(self, connection: sqlite3.Connection) -> None:
        """Extend the lease of this owner. Each writing transaction calls this method.

        If this owner is not in the journal yet, add it. If it was removed, add it again, and
        reserve its runs again. If another owner has reserved one of these runs in the meantime,
        leave it to that owner.
        """
        if self.account is None:
            return
        found = connection.execute(
            "SELECT account, expires_at FROM owners WHERE owner = ?", (self.id,)
        ).fetchone()
        if found is None:
            # This is the first transaction, or the process was suspended for too long.
            self.join(connection)
            for run in self._held:
                self._take(connection, run)
            return
        self.account = found[0]
        now = self.clock()
        # Most transactions do not write the lease.
        if abs(found[1] - now - self._ttl) > self._ttl / 6:
            connection.execute(
                "UPDATE owners SET expires_at = ? WHERE owner = ?", (now + self._ttl, self.id)
            )

    def require(self) -> str:
        """Return the label of the account.

        Raises:
            JournalError: The journal was opened without an account.
        """
        if self.account is None:
            raise JournalError(
                "the journal was opened without an account, only to inspect it; pass an account "
                "to open"
            )
        return self.account

    def live(self, connection: sqlite3.Connection, owner: str) -> bool:
        """Return whether the owner with the id `owner` is live; always True for `self`."""
        if owner == self.id:
            return True
        found = connection.execute(
            "SELECT machine, pid, expires_at FROM owners WHERE owner = ?", (owner,)
        ).fetchone()
        return found is not None and self._is_live(*found)

    def _is_live(self, machine: str, pid: int, expires_at: float) -> bool:
        return expires_at > self.clock() and not self._host.ended(machine, pid)

    def sweep(self, connection: sqlite3.Connection) -> None:
        """Remove dead owners. Give a final state to unfinished submissions of removed owners."""
        rows = connection.execute(
            "SELECT machine, pid, expires_at, owner FROM owners WHERE owner <> ?", (self.id,)
        ).fetchall()
        dead = [(owner,) for *found, owner in rows if not self._is_live(*found)]
        connection.executemany("DELETE FROM owners WHERE owner = ?", dead)
        connection.execute(
            "UPDATE submissions SET"
            " error = CASE state WHEN 'planned' THEN ? ELSE ? END,"
            " state = CASE state WHEN 'planned' THEN 'not_sent' ELSE 'unknown' END,"
            " changed_at = ?"
            " WHERE state IN ('planned', 'sending') AND owner NOT IN (SELECT owner FROM owners)",
            (NOT_SENT, UNKNOWN, self.clock()),
        )

    def hold(self, connection: sqlite3.Connection, run: str) -> None:
        """Reserve a run, so that no other owner works on it. See `Journal.hold`."""
        account = self.require()
        holder = self.holder(connection, account, run)
        if holder is not None and not self.live(connection, holder[0]):
            self.sweep(connection)
            holder = None
        if holder is not None:
            raise RunInUseError(run, describe(*holder[1:]))
        self._take(connection, run)
        self._held.add(run)

    def _take(self, connection: sqlite3.Connection, run: str) -> None:
        connection.execute(
            "INSERT OR IGNORE INTO leases (account, run, owner, taken_at) VALUES (?, ?, ?, ?)",
            (self.account, run, self.id, self.clock()),
        )

    def release(self, connection: sqlite3.Connection, run: str) -> None:
        """Let other owners reserve a run again. See `Journal.release`."""
        self._held.discard(run)
        connection.execute(
            "DELETE FROM leases WHERE account = ? AND run = ? AND owner = ?",
            (self.account, run, self.id),
        )

    def check_held(self, connection: sqlite3.Connection, run: str) -> None:
        """Check that no other owner has taken a run that this owner reserved.

        If the run is free now, reserve it again. Do nothing if this owner never reserved the run,
        or released it.

        Raises:
            RunInUseError: Another owner has reserved the run.
        """
        if run not in self._held:
            return
        holder = self.holder(connection, self.require(), run)
        if holder is None:
            # Another owner reserved the run while this owner counted as dead, and released it.
            self._take(connection, run)
        elif holder[0] != self.id:
            raise RunInUseError(run, describe(*holder[1:]))

    @staticmethod
    def holder(
        connection: sqlite3.Connection, account: str, run: str
    ) -> tuple[str, int, str] | None:
        """Return the id, the process id and the host of the owner that reserved a run.

        Return None if no owner has reserved the run. The returned owner may be dead.
        """
        found: tuple[str, int, str] | None = connection.execute(
            "SELECT owner, pid, host FROM leases JOIN owners USING (owner)"
            " WHERE leases.account = ? AND run = ?",
            (account, run),
        ).fetchone()
        return found

    def heartbeat(self, connection: sqlite3.Connection) -> Peers:
        """Extend the lease of this owner, and count the live owners. See `Journal.heartbeat`."""
        account = self.require()
        self.sweep(connection)
        now = self.clock()
        connection.execute(
            "UPDATE owners SET renewed_at = ?, expires_at = ?, beat_turn = ? WHERE owner = ?",
            (now, now + self._ttl, _next_turn(connection), self.id),
        )
        count, aware = connection.execute(
            "SELECT count(*), min(other.owner = me.owner OR other.beat_turn > me.joined_turn)"
            " FROM owners AS me JOIN owners AS other USING (account)"
            " WHERE me.owner = ? AND account = ?",
            (self.id, account),
        ).fetchone()
        return Peers(count, bool(aware))


def describe(pid: int, host: str) -> str:
    """Return the text that describes a process to users."""
    return f"process {pid} on {host}"


def _next_turn(connection: sqlite3.Connection) -> int:
    # Joins and heartbeats are numbered in their order, because two of them may have the same time.
    (turn,) = connection.execute(
        "SELECT coalesce(max(max(joined_turn, beat_turn)), 0) + 1 FROM owners"
    ).fetchone()
    return int(turn)
