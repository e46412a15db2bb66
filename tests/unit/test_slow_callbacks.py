"""Tests of callbacks that are slow or never return: `on_submission` and `on_creation`."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from suno_async import (
    ClientClosedError,
    CreateOutcomeUnknownError,
    Creation,
    InsufficientCreditsError,
    Submission,
    SubmissionState,
)
from tests.scripted import Server, songs
from tests.virtual import run_virtual


async def slow_callback(submission: Submission) -> None:
    """Wait one second before a create request is sent. Used as a slow `on_submission` callback."""
    if submission.state is SubmissionState.SENDING:
        await asyncio.sleep(1)


def test_close_during_on_submission() -> None:
    """If the client is closed while `on_submission` is running, no create request is sent."""
    server = Server()
    states: list[str] = []

    async def note(submission: Submission) -> None:
        states.append(submission.state.value)
        await slow_callback(submission)

    async def main() -> None:
        suno = server.client()
        stream = suno.create_many(songs(1), on_submission=note)
        taking = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0.5)
        await suno.close()
        assert isinstance((await taking).error, ClientClosedError)
        with pytest.raises(ClientClosedError):
            await anext(stream)
        assert not server.requests
        assert states == ["sending", "planned"]

    run_virtual(main())


def test_a_pause_during_on_submission() -> None:
    """A create request waits for the end of a pause that starts during `on_submission`."""
    server = Server()

    async def main() -> None:
        async with server.client() as suno:
            stream = suno.create_many(songs(8), on_submission=slow_callback)
            taking = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(0.8)
            suno.accounts[0].limiter.pause(100.0)
            creations = [await taking, *[each async for each in stream]]
            assert all(each.ok for each in creations)
            assert len(server.created) == 8
            assert min(at for at, _ in server.requests) > 100

    run_virtual(main())


def test_a_402_during_on_submission() -> None:
    """If another request gets a 402 during `on_submission`, the create request is not sent."""
    server = Server()
    reported: list[Creation] = []

    async def main() -> None:
        async with server.client(on_creation=reported.append) as suno:
            stream = suno.create_many(songs(1), on_submission=slow_callback)
            taking = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(0.5)
            suno.accounts[0].breaker.credit_refused(asyncio.get_running_loop().time())
            assert isinstance((await taking).error, InsufficientCreditsError)
            with pytest.raises(InsufficientCreditsError):
                await anext(stream)
        assert not server.requests
        assert not reported

    run_virtual(main())


@pytest.mark.parametrize("delay", [0.1, 1e6])
def test_close_while_callbacks_hang(delay: float) -> None:
    """`close` ends even if `on_creation` never returns."""
    server = Server(delay=delay)
    called: list[str] = []

    async def hang(creation: Creation) -> None:
        called.append(type(creation.error).__name__)
        await asyncio.Event().wait()

    async def main() -> None:
        suno = server.client(request_timeout=5.0, on_creation=hang)
        create = asyncio.ensure_future(suno.create(songs(1)[0]))
        stream = suno.create_many(songs(1), on_creation=hang)
        taking = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(1)
        await suno.close()
        assert asyncio.get_running_loop().time() < 15
        if delay > 1:
            with pytest.raises(CreateOutcomeUnknownError):
                await create
            assert isinstance((await taking).error, CreateOutcomeUnknownError)
        else:
            assert (await create).id == "task-0"
            assert (await taking).ok
        with pytest.raises(ClientClosedError):
            await anext(stream)
        assert len(called) == 3

    run_virtual(main())


def test_permits_do_not_pile_up_behind_a_slow_callback() -> None:
    """Create requests are sent at least 1/15 s apart, even after a slow `on_submission`."""
    server = Server()
    gate = asyncio.Event()

    async def note(_: Submission) -> None:
        await gate.wait()

    async def main() -> None:
        async with server.client() as suno:
            stream = suno.create_many(songs(8), on_submission=note)
            first = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(5.0)
            gate.set()
            await first
            assert len([each async for each in stream]) == 7
        times = [at for at, _ in server.requests]
        assert len(times) == 8
        assert min(b - a for a, b in itertools.pairwise(times)) > 1 / 15 - 1e-6

    run_virtual(main())
