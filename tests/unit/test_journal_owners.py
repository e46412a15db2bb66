"""Tests of the owners of an SQLite journal. An *owner* is a client that opened the journal.

Each owner has a *lease* (a time limit) that the owner must extend regularly. An owner is *dead* if
its lease has expired. An owner whose process has ended is dead, too, but other machines cannot
detect this.

A *submission* is the record of a request that creates a task. A submission is *unfinished* in the
states ``planned`` and ``sending``. A *run* is a named group of submissions. To *hold* a run means
to reserve it. The tests use a fake clock.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from suno_async import JournalError, RunInUseError, SubmissionState
from suno_async.journal._owners import Host
from suno_async.journal.base import Peers
from suno_async.journal.sqlite import SqliteJournal
from tests.journals import TTL, Clock, client, opened, planned, states

if TYPE_CHECKING:
    from pathlib import Path

SENDING, CREATED = SubmissionState.SENDING, SubmissionState.CREATED
SWEPT = {"p": "not_sent", "s": "unknown"}


async def plan_and_send(journal: SqliteJournal) -> None:
    """Store a submission "p" in the state ``planned``, and "s" in the state ``sending``."""
    await journal.claim(planned("p", key="p"))
    await journal.claim(planned("s", key="s"))
    await journal.advance("s", SENDING)


async def test_close_ends_what_is_open(tmp_path: Path) -> None:
    """Closing the journal ends the owner's unfinished submissions and releases the owner's runs."""
    clock, path = Clock(), tmp_path / "j.db"
    async with opened(client(path, clock, 2)) as other:
        async with opened(client(path, clock)) as journal:
            await plan_and_send(journal)
            await journal.hold("r")
        assert await states(other) == SWEPT
        await other.hold("r")
        assert (await other.heartbeat()).count == 1


async def test_a_process_that_forks_before_it_opens_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal stores the id of the process that opened it, not of the one that created it."""
    journal = SqliteJournal(tmp_path / "j.db")
    monkeypatch.setattr(os, "getpid", lambda: 4711)
    async with opened(journal):
        with closing(sqlite3.connect(journal.path)) as connection:
            assert connection.execute("SELECT pid FROM owners").fetchall() == [(4711,)]


@pytest.mark.parametrize("account", ["a", "b", None])
async def test_open_sweeps(tmp_path: Path, account: str | None) -> None:
    """Opening a journal ends the unfinished submissions of dead owners, but not of live owners."""
    clock, path = Clock(), tmp_path / "j.db"
    async with opened(client(path, clock)) as lost:
        await plan_and_send(lost)
        clock.now += TTL - 1
        async with opened(client(path, clock, 2), account):
            assert await states(lost) == {"p": "planned", "s": "sending"}
        clock.now += 1
        async with opened(client(path, clock, 3), account):
            assert await states(lost) == SWEPT


async def test_a_dead_process_is_swept_at_once(tmp_path: Path) -> None:
    """If the process of an owner ends, owners on the same machine treat this owner as dead at once.

    Owners on other machines treat it as live until its lease expires.
    """
    clock, path = Clock(), tmp_path / "j.db"
    dead = set[int]()
    async with (
        opened(client(path, clock, 1)) as lost,
        opened(client(path, clock, 2, "another machine", dead)) as away,
        opened(client(path, clock, 3, dead=dead)) as here,
    ):
        await plan_and_send(lost)
        dead.add(1)
        assert (await away.heartbeat()).count == 3
        assert await states(away) == {"p": "planned", "s": "sending"}
        assert (await here.heartbeat()).count == 2
        assert await states(here) == SWEPT


async def test_a_claim_meets_a_dead_owner(tmp_path: Path) -> None:
    """`claim` replaces a ``planned`` submission of a dead owner.

    It keeps a ``sending`` submission, because the request may have created a task.
    """
    clock, path = Clock(), tmp_path / "j.db"
    async with opened(client(path, clock)) as lost, opened(client(path, clock, 2)) as other:
        await plan_and_send(lost)
        assert (await other.claim(planned("new p", key="p"))).id == "p"
        clock.now += TTL
        assert (await other.claim(planned("new p", key="p"))).id == "new p"
        found = await other.claim(planned("new s", key="s"))
        assert (found.id, found.state) == ("s", SubmissionState.UNKNOWN)


async def test_settle_meets_a_dead_owner(tmp_path: Path) -> None:
    """`settle` stores the outcome of a ``sending`` submission only if its owner is dead."""
    clock, path = Clock(), tmp_path / "j.db"
    async with opened(client(path, clock)) as lost, opened(client(path, clock, 2)) as other:
        await plan_and_send(lost)
        with pytest.raises(JournalError, match="is sending, not unknown"):
            await other.settle("s", "t")
        clock.now += TTL
        assert (await other.settle("s", "t")).task_id == "t"


async def test_a_slow_owner(tmp_path: Path) -> None:
    """If an owner is dead, its ``planned`` submissions become ``not_sent``. It cannot send them.

    It can still store created tasks, and send new submissions.
    """
    clock, path = Clock(), tmp_path / "j.db"
    async with opened(client(path, clock)) as slow, opened(client(path, clock, 2)) as other:
        await plan_and_send(slow)
        clock.now += TTL
        await other.heartbeat()
        with pytest.raises(JournalError, match="'p' is not_sent: it must not be sent"):
            await slow.advance("p", SENDING)
        await slow.advance("s", CREATED, task_id="t")
        assert await states(slow) == {"p": "not_sent", "s": "created"}
        await slow.claim(planned("next"))
        await slow.advance("next", SENDING)
        assert (await other.heartbeat()).count == 2


@pytest.mark.parametrize("beat", ["heartbeat", "claim"])
async def test_leases_are_extended(tmp_path: Path, beat: str) -> None:
    """Heartbeats and changes to the journal extend the lease of an owner."""
    clock, path = Clock(), tmp_path / "j.db"
    async with opened(client(path, clock)) as journal, opened(client(path, clock, 2)) as other:
        await plan_and_send(journal)
        for number in range(5):
            clock.now += TTL * 0.6
            if beat == "heartbeat":
                await journal.heartbeat()
            else:
                await journal.claim(planned(f"more {number}"))
            assert (await other.heartbeat()).count == 2
        assert (await states(other))["s"] == "sending"


async def test_a_run_of_another_label(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """`hold` logs a warning if a run is new, but may have tasks under another account label."""
    path = tmp_path / "j.db"
    async with opened(client(path, Clock()), "old") as journal:
        await journal.claim(planned("s", run="r"))
        await journal.claim(planned("refused", run="refused"))
        await journal.advance("refused", SubmissionState.REFUSED)
        await journal.hold("r")
    async with opened(client(path, Clock()), "old") as journal:
        await journal.advance("s", CREATED, task_id="t")
    async with opened(client(path, Clock()), "new") as journal:
        await journal.hold("refused")
        await journal.hold("another run")
        assert caplog.messages == []
        await journal.hold("r")
        assert [each.levelname for each in caplog.records] == ["WARNING"]
        assert "run 'r' is new under the account label 'new', but it exists under 'old'" in (
            caplog.text
        )
        await journal.release("r")
        await journal.claim(planned("first", run="r"))
        await journal.hold("r")
    assert len(caplog.records) == 1


async def test_hold(tmp_path: Path) -> None:
    """In each account, only one live owner can hold a run."""
    clock, path = Clock(), tmp_path / "j.db"
    async with (
        opened(client(path, clock)) as journal,
        opened(client(path, clock, 2)) as other,
        opened(client(path, clock, 3), "another account") as elsewhere,
    ):
        await journal.hold("r")
        for each in (journal, other):
            with pytest.raises(RunInUseError) as caught:
                await each.hold("r")
            assert (caught.value.run, caught.value.holder) == ("r", "process 1 on host")
        await elsewhere.hold("r")
        await other.release("r")
        await journal.release("r")
        await other.hold("r")
        clock.now += TTL
        await journal.hold("r")
        with pytest.raises(RunInUseError, match="process 1 on host"):
            await other.claim(planned("x", run="r"))
        await journal.release("r")
        assert (await other.claim(planned("x", run="r"))).id == "x"


async def test_a_free_run_is_taken_back(tmp_path: Path) -> None:
    """An owner that was treated as dead loses its runs.

    Its next heartbeat reserves these runs again if they are still free.
    """
    clock, path = Clock(), tmp_path / "j.db"
    async with opened(client(path, clock)) as journal, opened(client(path, clock, 2)) as other:
        await journal.hold("r")
        clock.now += TTL
        await other.heartbeat()
        await journal.heartbeat()
        with pytest.raises(RunInUseError, match="process 1 on host"):
            await other.hold("r")


async def test_a_run_that_was_reserved_meanwhile(tmp_path: Path) -> None:
    """If an owner has lost its run to another owner, a `claim` of the first owner fails.

    When the other owner has released the run, the next `claim` reserves it for the first owner.
    """
    clock, path = Clock(), tmp_path / "j.db"
    async with opened(client(path, clock)) as journal, opened(client(path, clock, 2)) as other:
        await journal.hold("r")
        clock.now += TTL
        await other.hold("r")
        await journal.heartbeat()
        with pytest.raises(RunInUseError, match="process 2 on host"):
            await journal.claim(planned("x", key="k", run="r"))
        await other.release("r")
        await journal.claim(planned("x", key="k", run="r"))
        with pytest.raises(RunInUseError, match="process 1 on host"):
            await other.hold("r")


async def test_peers(tmp_path: Path) -> None:
    """A heartbeat returns the number of live owners with the same account.

    It also returns whether all other owners have sent a heartbeat since the caller joined.
    """
    clock, path = Clock(), tmp_path / "j.db"
    async with opened(client(path, clock)) as first:
        assert await first.heartbeat() == Peers(1, aware=True)
        async with opened(client(path, clock, 2)) as second:
            assert await second.heartbeat() == Peers(2, aware=False)
            assert await first.heartbeat() == Peers(2, aware=True)
            assert await second.heartbeat() == Peers(2, aware=True)
            async with opened(client(path, clock, 3), "another account") as third:
                assert await third.heartbeat() == Peers(1, aware=True)
            async with opened(client(path, clock, 4)) as fourth:
                await first.heartbeat()
                assert await fourth.heartbeat() == Peers(3, aware=False)
                assert await second.heartbeat() == Peers(3, aware=True)
                assert await fourth.heartbeat() == Peers(3, aware=True)
        assert await first.heartbeat() == Peers(1, aware=True)


async def test_two_journals_of_one_process_are_two_owners(tmp_path: Path) -> None:
    """If one process opens a journal file twice, the process counts as two owners."""
    clock, path = Clock(), tmp_path / "j.db"
    async with opened(client(path, clock)) as one, opened(client(path, clock)) as other:
        await one.claim(planned("s"))
        assert (await other.heartbeat()).count == 2
        with pytest.raises(JournalError, match="another client owns it"):
            await other.advance("s", SENDING)


@pytest.mark.skipif(sys.platform == "win32", reason="on Windows, os.kill would end the process")
def test_a_process_that_ended() -> None:
    """`Host.ended` returns True only for a process of the same machine that has ended."""
    host = Host()
    assert not host.ended(host.machine, os.getpid())
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert not host.ended(host.machine, process.pid)
    process.communicate(b"\n")
    assert host.ended(host.machine, process.pid)
    assert not host.ended("another machine", process.pid)
    assert not host.ended("", process.pid)
