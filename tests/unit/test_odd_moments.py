"""Pauses, errors, cancellations and calls of `close` at unusual moments."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from typing import TYPE_CHECKING, Any

import pytest

from suno_async import (
    ClientClosedError,
    Creation,
    GenerateMusic,
    MaintenanceError,
    NotSentError,
    RateLimitError,
    Submission,
)
from suno_async.limits.local import LocalLimiter
from tests.scripted import Server, reply, songs
from tests.virtual import run_virtual

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from suno_async._protocol.requests import Request
    from suno_async._transport.http import Reply
    from suno_async.limits import Permit


@pytest.mark.parametrize("turns", range(5))
def test_a_pause_grows_while_callers_give_up(turns: int) -> None:
    """If a pause is extended while it ends waits for permits, each wait raises `RateLimitError`."""

    async def main() -> None:
        limiter = LocalLimiter(1.0)
        await limiter.acquire()
        waiting = [asyncio.ensure_future(limiter.acquire(30.0)) for _ in range(3)]
        await asyncio.sleep(0.1)
        limiter.rate_exceeded(50.0)
        for _ in range(turns):
            await asyncio.sleep(0)
        limiter.rate_exceeded(60.0)
        ended = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(each) for each in ended} == {RateLimitError}

    run_virtual(main())


@pytest.mark.parametrize("turns", range(5))
def test_two_closes(turns: int) -> None:
    """Two concurrent calls of `close` raise no error."""
    server = Server(delay=5.0)

    async def main() -> None:
        suno = server.client()
        calls = [asyncio.ensure_future(suno.balance()) for _ in range(30)]
        waiting = asyncio.ensure_future(suno.task("other").result())
        await asyncio.sleep(0.3)
        first = asyncio.ensure_future(suno.close())
        for _ in range(turns):
            await asyncio.sleep(0)
        await suno.close()
        await first
        ended = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(each) for each in ended} == {ClientClosedError}
        with pytest.raises(ClientClosedError):
            await waiting

    run_virtual(main())


async def cancelled(*_: object) -> None:
    """Raise `CancelledError`, like a cancelled future."""
    raise asyncio.CancelledError


async def take_all(stream: AsyncIterator[Creation]) -> tuple[list[Creation], Exception | None]:
    """Return the items of a stream, and the `RuntimeError` that ended it.

    If the stream ended without an error, return None instead of the error.
    """
    taken: list[Creation] = []

    async def take() -> None:
        async for creation in stream:
            taken.append(creation)  # noqa: PERF401 (it raises)

    # In real time, because a stream that loops forever would stop virtual time.
    async with asyncio.timeout(10):
        try:
            await take()
        except RuntimeError as error:
            return taken, error
    return taken, None


async def test_a_source_that_is_cancelled_from_inside() -> None:
    """If the source raises `CancelledError`, the stream yields the earlier results, then fails."""
    server = Server(delay=0.01)

    async def source() -> AsyncIterator[GenerateMusic]:
        yield songs(1)[0]
        await cancelled()

    async with server.client() as suno:
        taken, error = await take_all(suno.create_many(source()))
        assert [each.ok for each in taken] == [True]
        assert isinstance(error, RuntimeError)
        outcomes = suno.pipeline(source())
        taking = asyncio.ensure_future(anext(outcomes))
        await asyncio.sleep(0)
        await suno.close()
        async with asyncio.timeout(10):
            with pytest.raises(ClientClosedError):
                await taking


@pytest.mark.parametrize("where", ["client", "on_creation", "on_submission"])
async def test_a_callback_that_is_cancelled_from_inside(where: str) -> None:
    """If a callback of a stream raises `CancelledError`, the stream ends with an error.

    If the client's `on_creation` raises `CancelledError`, the stream continues.
    """
    server = Server(delay=0.01)
    of_client = cancelled if where == "client" else None
    options: dict[str, Any] = {} if where == "client" else {where: cancelled}
    async with server.client(on_creation=of_client) as suno:
        taken, error = await take_all(suno.create_many(songs(3), **options))
    assert sorted(each.index for each in taken) == list(range(len(taken)))
    if where == "client":
        assert error is None
        assert len(taken) == len(server.created) == 3
    else:
        assert isinstance(error, RuntimeError)
        assert where in str(error)
        created = sum(each.ok for each in taken)
        assert created == len(server.created) == (0 if where == "on_submission" else len(taken))


def test_a_failed_note_is_not_tried_again() -> None:
    """If `on_submission` raises an error, it is not called again, and no create request is sent."""
    server = Server()
    noted: list[int] = []

    def note(submission: Submission) -> None:
        noted.append(submission.index)
        if len(noted) == 1:
            raise OSError("disk full")

    async def main() -> None:
        async with server.client() as suno:
            stream = suno.create_many(songs(1), on_submission=note)
            assert not (await anext(stream)).ok
            with pytest.raises(OSError, match="disk full"):
                await anext(stream)
            assert asyncio.get_running_loop().time() < 1
        assert noted == [0]
        assert not server.requests

    run_virtual(main())


def test_a_source_that_swallows_its_cancellation() -> None:
    """If `aclose` cancels a source, an input that the source still yields counts as not created."""
    server = Server()
    known: list[Creation] = []

    async def source() -> AsyncIterator[GenerateMusic]:
        first, *rest = songs(3)
        yield first
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        for job in rest:
            yield job

    async def main() -> None:
        async with server.client() as suno:
            stream = suno.create_many(source(), on_creation=known.append)
            assert (await anext(stream)).ok
            await stream.aclose()
        assert list(server.created) == ["0"]
        assert [(each.index, each.ok) for each in known] == [(0, True), (1, False)]

    run_virtual(main())


def test_estimates_at_once() -> None:
    """Two concurrent estimates both succeed if the server has only the second estimate endpoint.

    The replies of the first endpoint, both 404, arrive in the opposite order of the requests.
    """
    slow = [2.0, 0.0]

    class Slow(Server):
        async def send(self, request: Request, permit: Permit) -> Reply:
            permit.sent()
            if not request.path.endswith("estimate-credits"):
                return reply({"estimated_credits": 2, "balance": 50, "affordable": True})
            await asyncio.sleep(slow.pop(0))
            return reply(None, 404)

    server = Slow()

    async def main() -> None:
        async with server.client() as suno:
            (job,) = songs(1)
            prices = await asyncio.gather(suno.estimate(job), suno.estimate(job))
            assert [each.estimated_credits for each in prices] == [2, 2]

    run_virtual(main())


def test_no_connection_after_a_pause() -> None:
    """If a connection fails after a pause longer than `retry_for`, a stream retries the create."""
    server = Server()
    failures = 3

    def answer(request: Request) -> Reply:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise NotSentError("no connection")
        return server.usual(request)

    server.answer = answer

    async def main() -> None:
        async with server.client(retry_for=30.0) as suno:
            suno.accounts[0].limiter.pause(100.0)
            assert [each.ok async for each in suno.create_many(songs(2))] == [True, True]

    run_virtual(main())


def test_a_pause_outlives_its_client() -> None:
    """A new client waits for the pause of its account, even if all earlier clients are closed."""
    server = Server()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with server.client() as first:
            await asyncio.gather(*(first.balance() for _ in range(15)))
            first.accounts[0].limiter.pause(50.0)
        del first
        gc.collect()
        async with server.client() as second:
            await second.balance()
            assert loop.time() >= 50.0

    run_virtual(main())


def test_a_client_that_joins_shortens_a_pause() -> None:
    """A new client with a smaller `max_pause` shortens the current pause."""

    async def main() -> None:
        limiter = LocalLimiter()
        limiter.pause(120.0)
        waiting = asyncio.ensure_future(limiter.acquire())
        await asyncio.sleep(1.0)
        limiter.tighten(15.0, 5.0)
        await waiting
        assert 6.0 <= limiter.now() < 6.2

    run_virtual(main())


def test_a_pause_longer_than_the_retries() -> None:
    """If a pause lasts longer than `retry_for`, a call such as `balance` fails immediately."""
    server = Server()

    async def main() -> None:
        async with server.client(retry_for=5.0, request_timeout=30.0) as suno:
            suno.accounts[0].limiter.pause(25.0)
            with pytest.raises(MaintenanceError):
                await suno.balance()
            assert asyncio.get_running_loop().time() < 0.1

    run_virtual(main())


@pytest.mark.parametrize("code", [429, 455])
def test_retry_after_of_zero(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a 429 or 455 with a Retry-After of 0, the intervals between the attempts grow."""
    monkeypatch.setattr("random.random", lambda: 0.5)
    server = Server()
    server.answer = lambda _: reply(None, code, **{"Retry-After": "0"})

    async def main() -> None:
        async with server.client(retry_for=60.0) as suno:
            with pytest.raises((RateLimitError, MaintenanceError)):
                await suno.balance()
            assert 5 <= server.count("balance") <= 10
            stream = suno.create_many(songs(8))
            waiting = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(600)
            assert 100 < server.count("CreateTask") < 400
            server.answer = server.usual
            creations = [await waiting, *[each async for each in stream]]
        assert [each.ok for each in creations] == [True] * 8

    run_virtual(main())
