"""Tests of `rotate_key` with a journal: cancelled and failed calls, and concurrent clients."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from suno_async import (
    AuthenticationError,
    ConfigurationError,
    JournalError,
    MaintenanceError,
    RateLimitError,
    ServerError,
    SunoClient,
    SunoError,
)
from suno_async._transport.account import Account, Credentials, account_for
from tests.finishing import JOB, Finishing
from tests.memory_journal import MemoryJournal, Store
from tests.scripted import KEY, URL, Server, reply
from tests.virtual import run_virtual

if TYPE_CHECKING:
    from suno_async._protocol.requests import Request
    from suno_async._transport.http import Reply

NEW_KEY = "ak_" + "e" * 32


class SlowToReport(MemoryJournal):
    """A journal whose `rebind` changes the label of an account, but returns only after a delay."""

    async def rebind(self, old: str, new: str) -> int:
        """Change the label of an account from `old` to `new`. Return after a delay."""
        count = await super().rebind(old, new)
        await asyncio.sleep(self.delay)
        return count


def refuse_rebind(method: str) -> None:
    """Raise `JournalError` if `method` is ``rebind``. Used as `MemoryJournal.before`."""
    if method == "rebind":
        raise JournalError("another client uses the account")


def shared_account(key: str) -> Account:
    """Return the account that a new client with this key would use."""
    return account_for(Credentials(key, URL), 15.0, 120.0)


@pytest.mark.parametrize("after", [0.001 * n for n in range(0, 130, 2)])
def test_cancelled_rotation(after: float) -> None:
    """After a cancelled `rotate_key`, the client still finds its earlier creates in the journal."""

    async def work() -> None:
        server, store = Server(), Store()
        async with server.client(journal=SlowToReport(store)) as suno:
            first = await suno.create(JOB, dedupe_key="a")
            rotating = asyncio.create_task(suno.rotate_key(NEW_KEY))
            await asyncio.sleep(after)
            rotating.cancel()
            await asyncio.wait([rotating])
            second = await suno.create(JOB, dedupe_key="a")
            other = await suno.create(JOB, dedupe_key="b")
            assert second.id == first.id
        assert server.count("CreateTask") == 2
        assert len({record.account for record in store.submissions.values()}) == 1
        assert other.id != first.id

    run_virtual(work())


@pytest.mark.parametrize("fails", [False, True])
def test_a_client_that_opens_while_the_journal_changes(*, fails: bool) -> None:
    """During `rotate_key`, a second client with the new key shares the first client's account.

    After a failed rotation, a client with the new key gets its own account.
    """

    async def work() -> None:
        server, journal = Server(), MemoryJournal()
        found: list[Account] = []

        def before(method: str) -> None:
            if method == "rebind":
                found.append(shared_account(NEW_KEY))
                if fails:
                    raise JournalError("full")

        journal.before = before
        async with server.client(journal=journal) as suno:
            await suno.create(JOB)
            if fails:
                with pytest.raises(JournalError):
                    await suno.rotate_key(NEW_KEY)
            else:
                await suno.rotate_key(NEW_KEY)
            assert found == [suno.accounts[0]]
            assert (shared_account(NEW_KEY) is found[0]) is not fails

    run_virtual(work())


def test_rotation_to_the_current_key() -> None:
    """If `rotate_key` to the current key fails, clients with this key still share the account."""

    async def work() -> None:
        server, journal = Server(), MemoryJournal()
        async with server.client(journal=journal) as suno:
            await suno.rotate_key(NEW_KEY)

            def before(method: str) -> None:
                raise JournalError(method)

            journal.before = before
            with pytest.raises(JournalError):
                await suno.rotate_key(NEW_KEY)
            journal.before = lambda _: None
            assert shared_account(NEW_KEY) is suno.accounts[0]

    run_virtual(work())


def test_a_failed_rotation() -> None:
    """After a failed `rotate_key`, a second client with the new key gets a separate account."""

    async def work() -> None:
        server, journal = Server(), MemoryJournal()
        async with server.client(journal=journal) as suno:
            journal.killed = True
            with pytest.raises(JournalError):
                await suno.rotate_key(NEW_KEY)
            journal.killed = False
            async with SunoClient(NEW_KEY, base_url=URL) as other:
                other.statistics()
                account = shared_account(NEW_KEY)
                assert account is not suno.accounts[0]
                assert account.credentials.digest == Credentials(NEW_KEY, URL).digest

    run_virtual(work())


def test_a_failed_rotation_back() -> None:
    """If `rotate_key` back to the first key fails, both keys still belong to one account."""

    async def work() -> None:
        server, journal = Server(), MemoryJournal()
        async with server.client(journal=journal) as suno:
            await suno.rotate_key(NEW_KEY)
            journal.killed = True
            with pytest.raises(JournalError):
                await suno.rotate_key(KEY)
            journal.killed = False
            assert shared_account(KEY) is suno.accounts[0]
            assert shared_account(NEW_KEY) is suno.accounts[0]

    run_virtual(work())


@pytest.mark.parametrize("fails", [(True, False), (False, True), (True, True)])
def test_two_clients_rotate_at_the_same_time(fails: tuple[bool, bool]) -> None:
    """If two clients rotate to the same key at the same time, they still share one account.

    The new key belongs to this account if at least one rotation succeeds.
    """

    async def work() -> None:
        server = Server()
        journals = [MemoryJournal(delay=0.5) for _ in fails]
        one, two = [server.client(journal=journal) for journal in journals]
        async with one, two:
            one.statistics()
            two.statistics()
            for journal, fail in zip(journals, fails, strict=True):
                if fail:
                    journal.before = refuse_rebind
            results = await asyncio.gather(
                *(each.rotate_key(NEW_KEY) for each in (one, two)), return_exceptions=True
            )
            kinds = [JournalError if fail else type(None) for fail in fails]
            assert [type(each) for each in results] == kinds
            assert one.accounts[0] is two.accounts[0]
            assert (shared_account(NEW_KEY) is one.accounts[0]) is not all(fails)

    run_virtual(work())


def test_a_key_is_replaced_while_running() -> None:
    """After `rotate_key`, the data in the journal belongs to the new API key."""

    async def work() -> None:
        server, store = Finishing(), Store()
        async with server.client(journal=MemoryJournal(store)) as suno:
            handle = await suno.create(JOB, dedupe_key="a")
            before = next(iter(store.submissions.values())).account
            server.answer = lambda _: reply(None, 401)
            with pytest.raises(AuthenticationError):
                await suno.rotate_key("ak_" + "b" * 32)
            server.answer = lambda _: reply(None, 500)
            with pytest.raises(ServerError):
                await suno.rotate_key("ak_" + "b" * 32)
            assert next(iter(store.submissions.values())).account == before
            server.answer = server.finishing
            await suno.rotate_key("ak_" + "b" * 32)
            assert next(iter(store.submissions.values())).account != before
            assert (await suno.create(JOB, dedupe_key="a")).id == handle.id
            with pytest.raises(ConfigurationError):
                await suno.rotate_key(" ")
            async with SunoClient("ak_" + "c" * 32, base_url=URL) as other:
                other.statistics()
                with pytest.raises(ConfigurationError, match="already uses the new key"):
                    await suno.rotate_key("ak_" + "c" * 32)

    run_virtual(work())


def test_a_client_that_opens_while_a_key_is_replaced() -> None:
    """`rotate_key` raises an error if a client with the new API key opens during this call."""

    async def work() -> None:
        server, store = Finishing(), Store()
        other = SunoClient("ak_" + "d" * 32, base_url=URL)

        opening: list[asyncio.Task[SunoClient]] = []

        def answer(request: Request) -> Reply:
            opening.append(asyncio.create_task(other.__aenter__()))
            return server.finishing(request)

        async with server.client(journal=MemoryJournal(store)) as suno:
            await suno.create(JOB)
            before = next(iter(store.submissions.values())).account
            server.answer = answer
            with pytest.raises(ConfigurationError, match="already uses the new key"):
                await suno.rotate_key("ak_" + "d" * 32)
            assert opening[0].done()
            assert next(iter(store.submissions.values())).account == before
        await other.close()

    run_virtual(work())


@pytest.mark.parametrize(("code", "error"), [(429, RateLimitError), (455, MaintenanceError)])
def test_a_pause_during_the_check_of_a_key(code: int, error: type[SunoError]) -> None:
    """A 429 or 455 in reply to the request that checks the new key pauses the account."""

    async def work() -> None:
        server = Server()
        server.answer = lambda _: reply(None, code, **{"Retry-After": "30"})
        async with server.client() as suno:
            with pytest.raises(error):
                await suno.rotate_key(NEW_KEY)
            assert str(code) in suno.statistics().pause_reason
            assert suno.statistics().rate_limited == (code == 429)
            server.answer = server.usual
            await suno.balance()
            assert asyncio.get_running_loop().time() > 30

    run_virtual(work())
