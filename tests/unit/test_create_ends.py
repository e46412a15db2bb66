"""Create requests that end at an unusual moment: during a close, a pause, or the opening."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from suno_async import (
    ClientClosedError,
    Created,
    Creation,
    InsufficientCreditsError,
    JournalError,
    NotSentError,
    PersonaCreation,
    Submission,
)
from suno_async.limits.local import LocalLimiter
from tests.finishing import JOB
from tests.memory_journal import MemoryJournal
from tests.scripted import Server, reply, songs
from tests.virtual import run_virtual

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from suno_async import TaskHandle
    from suno_async._protocol.requests import Request
    from suno_async._transport.http import Reply
    from suno_async.journal.base import Peers


@pytest.mark.parametrize("tries", [1, 2])
def test_a_402_after_close(tries: int) -> None:
    """If a 402 arrives after `close`, the create does not wait for credits any more."""
    server = Server(delay=1.0)

    def answer(request: Request) -> Reply:
        return reply(None, 402) if request.path.endswith("CreateTask") else server.usual(request)

    server.answer = answer

    async def main() -> None:
        loop = asyncio.get_running_loop()
        suno = server.client()
        taking = asyncio.ensure_future(anext(suno.create_many(songs(1), wait_for_credits=True)))
        # The second try is sent after the request for the balance, which takes two seconds.
        await asyncio.sleep(1.5 if tries == 1 else 1.5 + 2 + 30 + 2)
        began = loop.time()
        await suno.close()
        assert loop.time() - began < 1
        assert isinstance((await taking).error, InsufficientCreditsError)
        assert server.count("CreateTask") == tries

    run_virtual(main())


@pytest.mark.parametrize("ends", ["leave", "close"])
@pytest.mark.parametrize("pause_after", [0.05, 0.105])
def test_a_pause_before_the_second_permit(ends: str, pause_after: float) -> None:
    """During a pause, a create that was not sent is planned, so `close` does not wait for it.

    After a slow `on_submission`, a create needs a second permit. The pause begins during
    `on_submission`, or during the wait for the second permit.
    """
    server, journal = Server(), MemoryJournal()

    noted = asyncio.Event()

    async def note(_: Submission) -> None:
        noted.set()
        await asyncio.sleep(0.1)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with server.client(journal=journal) as suno:
            limiter = suno.accounts[0].limiter
            stream = suno.create_many(songs(1), on_submission=note)
            async with contextlib.aclosing(stream):
                taking = asyncio.ensure_future(anext(stream))
                await noted.wait()
                # Without these, the second permit would be granted at once.
                others = [asyncio.ensure_future(suno.balance()) for _ in range(3)]
                await asyncio.sleep(pause_after)
                limiter.pause(100.0)
                await asyncio.sleep(2)
                if pause_after < 0.1:
                    assert [state for _, state in journal.store.log][-1] == "planned"
                began = loop.time()
                if ends == "close":
                    await suno.close()
                else:
                    taking.cancel()
                await asyncio.wait([taking])
                assert loop.time() - began < 1
        await asyncio.gather(*others, return_exceptions=True)
        assert server.count("CreateTask") == 0
        assert [state for _, state in journal.store.log][-1] == "not_sent"

    run_virtual(main())


class OwnPermit:
    """A permit that adds itself to a list each time it is returned."""

    def __init__(self, returned: list[OwnPermit]) -> None:
        self.returned = returned
        self.sent_at: float | None = None

    def sent(self) -> None:
        """Record that the request is being sent."""
        self.sent_at = 0.0

    def answered(self) -> None:
        """Do nothing."""

    def cancel(self) -> None:
        """Return the permit, unless the request was sent."""
        if self.sent_at is None:
            self.returned.append(self)


class OwnLimiter(LocalLimiter):
    """A limiter that refuses its second permit.

    Attributes:
        unused: The permits that were cancelled before their request was sent.
    """

    def __init__(self) -> None:
        super().__init__()
        self.unused: list[OwnPermit] = []

    async def acquire(self, give_up_at: float | None = None) -> Any:  # noqa: ANN401 (another permit)
        """Return a permit, but raise an error at the second call."""
        del give_up_at
        self.granted += 1
        if self.granted == 2:
            raise NotSentError("no permit")
        return OwnPermit(self.unused)


def test_a_permit_is_returned_once() -> None:
    """If a slow `on_submission` uses up a permit, the client returns this permit only once."""
    server = Server()

    async def note(_: Submission) -> None:
        await asyncio.sleep(0.1)

    async def main() -> None:
        limiter = OwnLimiter()
        async with server.client(limiter=limiter) as suno:
            stream = suno.create_many(songs(1), on_submission=note)
            assert [each.ok async for each in stream] == [True]
        # Permit 1, and permit 3 of the second attempt, which sends with permit 4.
        assert len(limiter.unused) == len(set(limiter.unused)) == 2

    run_virtual(main())


def test_a_closed_session_sends_nothing() -> None:
    """If the aiohttp session of the caller is closed, `on_creation` is not called."""
    server = Server()
    reported: list[Creation | PersonaCreation] = []

    def answer(_: Request) -> Reply:
        raise ClientClosedError("the aiohttp session is closed")

    server.answer = answer

    async def main() -> None:
        async with server.client(on_creation=reported.append) as suno:
            with pytest.raises(ClientClosedError):
                await suno.create(JOB)
        assert not reported

    run_virtual(main())


def test_a_cancelled_create_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """If `create` is cancelled while the journal stores the new task, its id is logged once."""
    server, journal = Server(), MemoryJournal()

    async def main() -> None:
        async with server.client(journal=journal) as suno:
            creating = asyncio.ensure_future(suno.create(JOB))

            def cancel(name: str) -> None:
                if name == "advance created":
                    creating.cancel()

            journal.before = cancel
            await asyncio.wait([creating])
            assert creating.cancelled()

    run_virtual(main())
    assert sum("task-0" in each for each in caplog.messages) == 1


async def take(stream: AsyncIterator[Creation], taken: list[Creation]) -> None:
    """Append the items of a stream to `taken`."""
    async for each in stream:
        taken.append(each)  # noqa: PERF401 (it raises)


@pytest.mark.parametrize("method", ["create", "create_many"])
def test_close_in_on_creation(method: str) -> None:
    """`on_creation` may await `close`. It closes the client, and does not wait for itself."""
    server = Server(delay=0.2)
    times: list[float] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()

        async def close(_: Creation | PersonaCreation) -> None:
            await suno.close()
            times.append(loop.time())

        suno = server.client(on_creation=close)
        if method == "create":
            assert (await suno.create(JOB)).id == "task-0"
        else:
            taken: list[Creation] = []
            with pytest.raises(ClientClosedError):
                await take(suno.create_many(songs(100)), taken)
            assert sum(each.ok for each in taken) == len(server.created) == len(times)
        assert max(times) < 2
        with pytest.raises(ClientClosedError):
            await suno.balance()

    run_virtual(main())


def test_a_create_while_the_client_cannot_be_opened() -> None:
    """If the opening of a client fails, a create in flight still reports its task."""
    server, journal = Server(delay=1.0), MemoryJournal()
    creating: list[asyncio.Future[TaskHandle]] = []
    reported: list[Creation | PersonaCreation] = []

    async def main() -> None:
        suno = server.client(journal=journal, on_creation=reported.append)

        async def heartbeat() -> Peers:
            creating.append(asyncio.ensure_future(suno.create(JOB)))
            await asyncio.sleep(1.5)
            raise JournalError("disk full")

        journal.heartbeat = heartbeat  # type: ignore[method-assign]
        with pytest.raises(JournalError):
            await suno.__aenter__()
        (created,) = reported
        assert isinstance(created, Created)
        assert created.handle.id == "task-0"

    run_virtual(main())


def test_statistics_before_the_first_use() -> None:
    """Before the first request, `statistics` already shows the rate of the caller's limiter."""

    async def main() -> None:
        assert Server().client(limiter=LocalLimiter(5)).statistics().rate_limit == 5
        assert Server().client(rate_limit=4).statistics().rate_limit == 4

    run_virtual(main())
