"""Two clients that share the rate of an account through a journal, when heartbeats are late.

The tests run in virtual time. A `Leases` object replaces the journal file.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import pytest

from suno_async._rate_share import RateShare
from suno_async.errors import JournalError
from suno_async.journal.base import Peers
from suno_async.limits import LocalLimiter
from tests.memory_journal import MemoryJournal
from tests.unit.test_limiter import worst_window
from tests.virtual import VirtualLoop, run_virtual

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LEASE = 30.0


class Leases:
    """The owners of a journal, and when their leases expire.

    Attributes:
        broken: Whether every heartbeat fails.
    """

    def __init__(self) -> None:
        self.broken = False
        self._turns = 0
        self._expires: dict[object, float] = {}
        self._joined: dict[object, int] = {}
        self._beat: dict[object, int] = {}

    def join(self, owner: object) -> None:
        """Add an owner that has not sent a heartbeat yet."""
        self._expires[owner] = asyncio.get_running_loop().time() + LEASE
        self._joined[owner] = self._turns = self._turns + 1
        self._beat[owner] = 0

    def beat(self, owner: object) -> Peers:
        """Extend a lease, and remove the owners whose leases have expired."""
        if self.broken:
            raise JournalError("database is locked")
        now = asyncio.get_running_loop().time()
        for other, expires in list(self._expires.items()):
            if other is not owner and expires < now:
                del self._expires[other]
        if owner not in self._expires:
            self.join(owner)
        self._expires[owner] = now + LEASE
        self._beat[owner] = self._turns = self._turns + 1
        others = [each for each in self._expires if each is not owner]
        aware = all(self._beat[each] > self._joined[owner] for each in others)
        return Peers(len(self._expires), aware)


class Client(MemoryJournal):
    """A client that sends as many requests as its share allows.

    Attributes:
        sent: When each request of all clients was sent.
        stall: Seconds for which the next heartbeat hangs before it reaches the journal.
        slow: Seconds for which the next heartbeat hangs after it has reached the journal.
    """

    def __init__(self, leases: Leases, sent: list[float]) -> None:
        super().__init__()
        self.sent = sent
        self.stall = self.slow = 0.0
        self._leases = leases
        self._limiter = LocalLimiter()
        self._share = RateShare(self, self._limiter, self._nothing)

    async def heartbeat(self) -> Peers:
        """Send a heartbeat after `stall` seconds, and return its result after `slow` seconds."""
        stall, slow = self.stall, self.slow
        self.stall = self.slow = 0.0
        await asyncio.sleep(stall)
        peers = self._leases.beat(self)
        await asyncio.sleep(slow)
        return peers

    async def run(self) -> None:
        """Join the account. Then send requests until cancelled."""
        await self._share.join()
        try:
            async for permit_at in self._permits():
                self.sent.append(permit_at)
        finally:
            await self._share.leave()

    async def _permits(self) -> AsyncIterator[float]:
        while True:
            permit = await self._limiter.acquire()
            permit.sent()
            permit.answered()
            yield asyncio.get_running_loop().time()

    async def _nothing(self) -> None:
        pass


@pytest.mark.parametrize("where", ["stall", "slow"])
def test_a_heartbeat_that_hangs(where: str) -> None:
    """After a heartbeat that took longer than the lease, the clients together send at most 15/s.

    It hangs before (``stall``) or after (``slow``) it has reached the journal.
    """

    async def work() -> None:
        leases, sent = Leases(), list[float]()
        one, two = Client(leases, sent), Client(leases, sent)
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(one.run())]
            await asyncio.sleep(0.7)
            running.append(group.create_task(two.run()))
            await asyncio.sleep(10)
            setattr(two, where, 40.0)
            await asyncio.sleep(60)
            for each in running:
                each.cancel()
        assert worst_window(sent) <= 15
        # The hanging client lost its share, and got it back.
        assert len([at for at in sent if at > 60]) > 100

    run_virtual(work())


def test_a_journal_that_is_locked_for_longer_than_the_lease() -> None:
    """When heartbeats work again after 45 s, the clients together send at most 15/s."""

    async def work() -> None:
        leases, sent = Leases(), list[float]()
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(Client(leases, sent).run())]
            await asyncio.sleep(0.7)
            running.append(group.create_task(Client(leases, sent).run()))
            await asyncio.sleep(10)
            leases.broken = True
            await asyncio.sleep(45)
            during = len([at for at in sent if at > 50])
            leases.broken = False
            await asyncio.sleep(15)
            for each in running:
                each.cancel()
        assert during > 50  # Polling continues without the journal.
        assert worst_window(sent) <= 15

    run_virtual(work())


def test_a_heartbeat_between_open_and_join() -> None:
    """A client that joins also waits if the other client has just reduced its rate."""

    async def work() -> float:
        leases = Leases()
        one, two = object(), Client(leases, [])
        leases.join(one)
        leases.join(two)
        leases.beat(one)
        running = asyncio.create_task(two.run())
        await asyncio.sleep(1)
        running.cancel()
        return two.sent[0]

    # The last requests of the other client may take this long to arrive.
    assert run_virtual(work()) >= 0.2


def test_a_blocked_event_loop_and_a_broken_journal() -> None:
    """If the event loop was blocked before the journal broke, the client still sends requests."""

    async def work() -> None:
        leases, sent = Leases(), list[float]()
        running = asyncio.create_task(Client(leases, sent).run())
        await asyncio.sleep(10)
        cast("VirtualLoop", asyncio.get_running_loop()).stop_for(7.0)
        leases.broken = True
        await asyncio.sleep(60)
        running.cancel()
        assert len([at for at in sent if at > 20]) > 500

    run_virtual(work())
