"""Creates through a proxy that breaks connections: what the caller is told is what happened."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
from collections import Counter, defaultdict
from contextvars import ContextVar
from typing import TYPE_CHECKING

import aiohttp
import pytest

from suno_async import (
    APIError,
    CreateOutcomeUnknownError,
    GenerateMusic,
    MaintenanceError,
    NotSentError,
    RateLimitError,
    SunoClient,
    TaskHandle,
)
from suno_async._limiter import AccountLimiter
from suno_async.sandbox import Faults, Sandbox
from tests.chaos_proxy import ChaosProxy, Extent, How, Point

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

#: Draws every fate; what is asserted holds for any.
SEED = 1

#: Seconds. A stalled connection outlives the request, and the longest outage every retry.
TIMEOUT = 0.5
STALL = 0.8
RETRY_FOR = 2.0
OUTAGE = 2.5

#: Both are seen in full by the client: the one is final, after the other it tries again.
REFUSALS = {422: 0.02, 455: 0.02}

#: What befalls a request that reached the sandbox.
FAULTS = Faults(error=0.03, garbage=0.02, latency_out=(0.0, 0.05))

#: The song that the running task is creating.
_song: ContextVar[str] = ContextVar("song")


class Retries(logging.Handler):
    """Why each song's create was tried again, by the library's log."""

    def __init__(self) -> None:
        super().__init__()
        self.of: defaultdict[str, list[type[object]]] = defaultdict(list)

    def emit(self, record: logging.LogRecord) -> None:
        """Take the error out of a message about a retry."""
        if isinstance(record.args, tuple) and record.levelno == logging.INFO:
            self.of[_song.get()].append(type(record.args[1]))


@pytest.fixture
def retries() -> Iterator[Retries]:
    """The retries of the test."""
    handler, logger = Retries(), logging.getLogger("suno_async")
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.INFO)
    yield handler
    logger.setLevel(level)
    logger.removeHandler(handler)


def fast_client(
    url: str,
    sandbox: Sandbox,
    rate: float,
    *,
    session: aiohttp.ClientSession | None = None,
    retry_for: float = RETRY_FOR,
) -> SunoClient:
    """A client with a budget that the vendor would not grant."""
    return SunoClient(
        sandbox.key,
        base_url=url,
        session=session,
        limiter=AccountLimiter(rate),
        request_timeout=TIMEOUT,
        retry_for=retry_for,
    )


async def create_all(
    client: SunoClient, songs: Sequence[str], at_once: int
) -> dict[str, TaskHandle | BaseException]:
    """How the create of each song ended."""
    free = asyncio.Semaphore(at_once)

    async def create(song: str) -> TaskHandle:
        _song.set(song)
        async with free:
            return await client.create(GenerateMusic(prompt=song))

    async with asyncio.timeout(60):
        ended = await asyncio.gather(*map(create, songs), return_exceptions=True)
    return dict(zip(songs, ended, strict=True))


def song_in(body: bytes) -> str:
    """The prompt in a CreateTask's body."""
    return str(json.loads(body)["input"]["prompt"])


def check(
    ended: Mapping[str, TaskHandle | BaseException],
    sandbox: Sandbox,
    proxy: ChaosProxy,
    retries: Retries,
) -> dict[str, set[str]]:
    """Hold what the caller was told against the server; the songs by how their creates ended."""
    at_server = defaultdict[str, list[str]](list)
    for task_id, job in sandbox.tasks.items():
        at_server[job.body["input"]["prompt"]].append(task_id)
    verdicts = defaultdict[str, set[str]](set)
    for song, end in ended.items():
        ids = at_server[song]
        assert len(ids) <= 1, f"{song} was created {len(ids)} times: {end!r}"
        match end:
            case TaskHandle():
                verdicts["created"].add(song)
                assert ids == [end.id]
            case CreateOutcomeUnknownError():
                verdicts["unknown"].add(song)
                assert song_in(end.body) == song
            case NotSentError():
                verdicts["not sent"].add(song)
                assert not ids
            case APIError():
                verdicts["refused"].add(song)
                assert not ids
            case _:
                pytest.fail(f"{song} ended as {end!r}")
    assert set(at_server) <= set(ended)
    orphans = {song for song, ids in at_server.items() if ids} - verdicts["created"]
    assert orphans <= verdicts["unknown"]
    verdicts["orphaned"] = orphans
    # A request that was on its way is followed by another only if its refusal came back.
    for song, times in Counter(map(song_in, proxy.arrived)).items():
        refusals = [why for why in retries.of[song] if why is not NotSentError]
        assert set(refusals) <= {RateLimitError, MaintenanceError}
        assert times <= 1 + len(refusals)
    return verdicts


async def test_no_song_is_created_twice(retries: Retries) -> None:
    """1,000 creates over breaking connections: none made twice, each told as what it was."""
    songs = [f"song {number}" for number in range(1000)]
    async with (
        Sandbox(seed=SEED, rate_limit=100, retry_after=0.1, faults=FAULTS) as sandbox,
        ChaosProxy(
            sandbox.url,
            seed=SEED,
            breaks=0.3,
            refusals=REFUSALS,
            stall=STALL,
            outages={300: 0.2, 600: OUTAGE, 800: 0.2},
        ) as proxy,
        fast_client(proxy.url, sandbox, rate=1000) as client,
    ):
        ended = await create_all(client, songs, at_once=50)
    verdicts = check(ended, sandbox, proxy, retries)
    # Every way to break was taken, or the test proves less than it says.
    assert {(fate.point, fate.how) for fate in proxy.broken} == set(itertools.product(Point, How))
    assert {fate.extent for fate in proxy.broken} == set(Extent)
    assert all(verdicts[name] for name in ("created", "unknown", "not sent", "refused", "orphaned"))
    for reason in (NotSentError, RateLimitError, MaintenanceError):
        assert any(reason in retries.of[song] for song in verdicts["created"])


async def test_a_session_of_the_callers_resends_no_create(retries: Retries) -> None:
    """Over kept connections that break, too, only a refused create leaves again; no song twice."""
    songs = [f"song {number}" for number in range(300)]
    async with (
        Sandbox(seed=SEED, rate_limit=10_000, faults=FAULTS) as sandbox,
        ChaosProxy(
            sandbox.url, seed=SEED, breaks=0.2, refusals=REFUSALS, stall=STALL, outages={50: 0.2}
        ) as proxy,
        aiohttp.ClientSession() as session,
        fast_client(proxy.url, sandbox, rate=1000, session=session) as client,
    ):
        ended = await create_all(client, songs, at_once=20)
    verdicts = check(ended, sandbox, proxy, retries)
    assert proxy.connections < len(proxy.arrived)
    assert all(verdicts[name] for name in ("created", "unknown", "refused", "orphaned"))


async def test_idle_connections_that_the_server_closes() -> None:
    """Creates sent just as the server closes the connections of the requests before all succeed."""
    idle, songs = 0.05, [f"song {number}" for number in range(100)]
    async with (
        Sandbox(seed=SEED, rate_limit=10_000) as sandbox,
        ChaosProxy(sandbox.url, seed=SEED, idle=idle) as proxy,
        # Its GETs do ride those connections, and may have to be made again.
        fast_client(proxy.url, sandbox, rate=1000, retry_for=30.0) as client,
    ):
        for start in range(0, len(songs), 5):
            await asyncio.gather(*(client.balance() for _ in range(5)))
            # The server's timers started a little earlier than this one.
            await asyncio.sleep(idle - 0.001 * (start % 3))
            await asyncio.gather(
                *(client.create(GenerateMusic(prompt=song)) for song in songs[start : start + 5])
            )
        assert len(sandbox.tasks) == len(songs)
