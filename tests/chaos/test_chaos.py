"""Create songs through a proxy that breaks connections, and check each result.

By default, the seed is fixed. `make fuzz` sets other seeds in the environment variable CHAOS_SEED.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
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
    SunoError,
    TaskHandle,
)
from suno_async.limits.local import LocalLimiter
from suno_async.sandbox import Faults, Sandbox
from tests.chaos.chaos_proxy import ChaosProxy, Extent, Fate, How, Point

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

FIXED_SEED = 1
SEED = int(os.environ.get("CHAOS_SEED", FIXED_SEED))

#: Seconds. A stalled connection stays open longer than the request timeout. The longest outage is
#: longer than the time for retries.
TIMEOUT = 1.0
STALL = 1.5
RETRY_FOR = 3.0
OUTAGE = 4.5

#: Requests per second, more than the vendor would grant.
RATE = 5000

#: Share of the creates that the proxy refuses, by code. The client receives each refusal in full.
#: It retries after a 429 or a 455, but not after a 422. The share of 429 is small, because each 429
#: lowers the rate.
REFUSALS = {422: 0.02, 429: 0.01, 455: 0.02}

#: Faults that the sandbox adds to requests that reach it.
FAULTS = Faults(error=0.03, garbage=0.02, latency_out=(0.0, 0.05))

#: The prompt of the song that the current asyncio task creates.
_song: ContextVar[str] = ContextVar("song")


class Retries(logging.Handler):
    """Collects the logged errors that made the client retry create requests.

    Attributes:
        errors_of: The classes of the errors, by the prompt of the song.
    """

    def __init__(self) -> None:
        super().__init__()
        self.errors_of: defaultdict[str, list[type[object]]] = defaultdict(list)

    def emit(self, record: logging.LogRecord) -> None:
        """Record the class of an error that is logged for a song."""
        arguments = record.args if isinstance(record.args, tuple) else ()
        errors = [each for each in arguments if isinstance(each, SunoError)]
        if errors and (song := _song.get(None)) is not None:
            self.errors_of[song].append(type(errors[-1]))


@pytest.fixture
def retries() -> Iterator[Retries]:
    """Yield a `Retries` that reads the log during the test."""
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
    *,
    session: aiohttp.ClientSession | None = None,
    request_timeout: float = TIMEOUT,
    retry_for: float = RETRY_FOR,
) -> SunoClient:
    """Return a client that sends at most `RATE` requests per second."""
    return SunoClient(
        sandbox.key,
        base_url=url,
        session=session,
        limiter=LocalLimiter(RATE),
        request_timeout=request_timeout,
        retry_for=retry_for,
    )


async def create_all(
    client: SunoClient, songs: Sequence[str], at_once: int
) -> dict[str, TaskHandle | BaseException]:
    """Create all songs, at most `at_once` at a time. Return each song's handle or error."""
    free = asyncio.Semaphore(at_once)

    async def create(song: str) -> TaskHandle:
        _song.set(song)
        async with free:
            return await client.create(GenerateMusic(prompt=song))

    async with asyncio.timeout(60):
        ended = await asyncio.gather(*map(create, songs), return_exceptions=True)
    return dict(zip(songs, ended, strict=True))


def song_in(body: bytes) -> str:
    """Return the prompt in the body of a CreateTask request."""
    return str(json.loads(body)["input"]["prompt"])


def check(
    ended: Mapping[str, TaskHandle | BaseException],
    sandbox: Sandbox,
    proxy: ChaosProxy,
    retries: Retries,
) -> dict[str, set[str]]:
    """Assert that the result of each `create` call agrees with the tasks on the server.

    Return the prompts of the songs by kind of result, such as ``"created"``.
    """
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
    # A create that reached the proxy is sent again only if the client received a refusal.
    for song, times in Counter(map(song_in, proxy.arrived)).items():
        refusals = [why for why in retries.errors_of[song] if why is not NotSentError]
        assert set(refusals) <= {RateLimitError, MaintenanceError}
        assert times <= 1 + len(refusals)
    return verdicts


async def test_no_song_is_created_twice(retries: Retries) -> None:
    """If connections break, no song is created twice, and each result is correct."""
    songs = [f"song {number}" for number in range(1000)]
    async with (
        Sandbox(seed=SEED, rate_limit=10_000, faults=FAULTS) as sandbox,
        ChaosProxy(
            sandbox.url,
            seed=SEED,
            breaks=0.3,
            refusals=REFUSALS,
            stall=STALL,
            outages={300: 0.2, 600: OUTAGE, 800: 0.2},
        ) as proxy,
        fast_client(proxy.url, sandbox) as client,
    ):
        ended = await create_all(client, songs, at_once=50)
    verdicts = check(ended, sandbox, proxy, retries)
    if SEED != FIXED_SEED:
        return
    # The proxy must have broken connections at every point and in every way. Otherwise the test
    # would prove less than it says.
    assert {(fate.point, fate.how) for fate in proxy.broken} == set(itertools.product(Point, How))
    assert {fate.extent for fate in proxy.broken} == set(Extent)
    assert proxy.refused.keys() == REFUSALS.keys()
    assert all(verdicts[name] for name in ("created", "unknown", "not sent", "refused", "orphaned"))
    for reason in (NotSentError, RateLimitError, MaintenanceError):
        assert any(reason in retries.errors_of[song] for song in verdicts["created"])


async def test_a_session_of_the_callers_resends_no_create(retries: Retries) -> None:
    """With the caller's own aiohttp session, a client creates no song twice.

    A create request that reached the server is sent again only after a refusal.
    """
    songs = [f"song {number}" for number in range(300)]
    async with (
        Sandbox(seed=SEED, rate_limit=10_000, faults=FAULTS) as sandbox,
        ChaosProxy(
            sandbox.url, seed=SEED, breaks=0.2, refusals=REFUSALS, stall=STALL, outages={50: 0.2}
        ) as proxy,
        aiohttp.ClientSession() as session,
        fast_client(proxy.url, sandbox, session=session) as client,
    ):
        ended = await create_all(client, songs, at_once=20)
    verdicts = check(ended, sandbox, proxy, retries)
    if SEED == FIXED_SEED:
        assert proxy.connections < len(proxy.arrived)
        assert all(verdicts[name] for name in ("created", "unknown", "refused", "orphaned"))


async def test_idle_connections_that_the_server_closes() -> None:
    """Create requests succeed even if they are sent while the server closes idle connections."""
    idle, songs = 0.05, [f"song {number}" for number in range(100)]
    async with (
        Sandbox(seed=SEED, rate_limit=10_000) as sandbox,
        ChaosProxy(sandbox.url, seed=SEED, idle=idle) as proxy,
        # The GETs of the client reuse these connections, and may have to be sent again.
        fast_client(proxy.url, sandbox, request_timeout=30.0, retry_for=30.0) as client,
    ):
        for start in range(0, len(songs), 5):
            await asyncio.gather(*(client.balance() for _ in range(5)))
            # The server's timers started a little earlier, so some of these sleeps are shorter.
            await asyncio.sleep(idle - 0.001 * (start % 3))
            await asyncio.gather(
                *(client.create(GenerateMusic(prompt=song)) for song in songs[start : start + 5])
            )
        assert len(sandbox.tasks) == len(songs)


def test_fates_do_not_depend_on_the_order() -> None:
    """`ChaosProxy` breaks an exchange in the same way for every order of the requests."""
    numbers = [*range(40), *range(40)]
    first, second = (fates_of(order, port) for order, port in ((numbers, 1), (numbers[::-1], 2)))
    assert first == second
    assert len(set(map(str, first.values()))) > 10
    assert any(len(set(fates)) > 1 for fates in first.values())


def fates_of(numbers: Sequence[int], port: int) -> dict[int, list[Fate | None]]:
    """Return how the exchanges break: number of a song → `Fate` of each request for this song.

    `numbers` contains the number of the song of each request, in the order of the requests. None
    means that the exchange does not break. `port` is the port in the header Host.
    """
    proxy = ChaosProxy("http://127.0.0.1", seed=7, breaks=0.9)
    fates = defaultdict[int, list[Fate | None]](list)
    for number in numbers:
        request = b"POST / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\nsong %d" % (port, number)
        fates[number].append(proxy.fate(proxy.draw_for(request)))
    return fates
