"""Tests of a client that opens no sockets: requests, replies, errors, closing and the API key.

The *key* is the API key, which must stay secret.
"""

# aioresponses ships no types for its requests.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import asyncio
import logging
import math
import time
import traceback
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from yarl import URL

from suno_async import (
    AuthenticationError,
    ClientClosedError,
    ConfigurationError,
    CreateOutcomeUnknownError,
    GenerateMusic,
    InsufficientCreditsError,
    InvalidInputError,
    Outcome,
    PollPolicy,
    SunoClient,
    SunoError,
    TaskRef,
    WrongEventLoopError,
)
from suno_async import client as client_module
from suno_async._runtime import Runtime

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aioresponses import aioresponses

CANARY = "ak_canary7d1f0c"
BASE = "https://api.example"
API = f"{BASE}/api/v1/client"
CREATE = f"{API}/job/CreateTask"
JOB = GenerateMusic(prompt="x")


@pytest.fixture
async def client() -> AsyncIterator[SunoClient]:
    """Yield a client that does not retry requests."""
    async with SunoClient(CANARY, base_url=BASE, retry_for=0) as suno:
        yield suno


async def test_create(client: SunoClient, http: aioresponses) -> None:
    """A create request sends the API key only in a header, and follows no redirect."""
    http.post(CREATE, payload={"code": 200, "data": {"task_id": "t1"}})
    task = await client.create(JOB)
    assert task.id == "t1"
    (call,) = http.requests[("POST", URL(CREATE))]
    sent: dict[str, Any] = call.kwargs
    assert sent["headers"]["x-api-key"] == CANARY
    assert sent["allow_redirects"] is False
    assert CANARY.encode() not in sent["data"]


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        ({"status": 500}, CreateOutcomeUnknownError),
        ({"status": 502, "body": "<html>"}, CreateOutcomeUnknownError),
        ({"status": 200, "body": "{"}, CreateOutcomeUnknownError),
        ({"status": 200, "payload": {"code": 402}}, InsufficientCreditsError),
        ({"status": 401, "payload": {"code": 401}}, AuthenticationError),
    ],
)
async def test_create_is_never_sent_twice(
    http: aioresponses, reply: dict[str, Any], error: type[SunoError]
) -> None:
    """A create request is not repeated after a 401 or 402, or if its outcome is unknown."""
    http.post(CREATE, repeat=True, **reply)
    async with SunoClient(CANARY, base_url=BASE) as suno:
        with pytest.raises(error):
            await suno.create(JOB)
    assert len(http.requests[("POST", URL(CREATE))]) == 1


async def test_create_again_after_429(http: aioresponses) -> None:
    """After a 429 with Retry-After, a create request is sent again."""
    http.post(CREATE, status=429, headers={"Retry-After": "0.01"})
    http.post(CREATE, payload={"code": 200, "data": {"task_id": "t1"}})
    async with SunoClient(CANARY, base_url=BASE) as suno:
        assert (await suno.create(JOB)).id == "t1"
        assert suno.statistics().rate_limited == 1


async def test_bad_input_sends_nothing(client: SunoClient, http: aioresponses) -> None:
    """An invalid input raises an error before any request is sent."""
    with pytest.raises(InvalidInputError):
        await client.create(GenerateMusic())
    with pytest.raises(InvalidInputError):
        await client.create(JOB, callback_url="ftp://x")
    with pytest.raises(InvalidInputError):
        await anext(aiter(client.as_completed(["ok", ""])))
    with pytest.raises(InvalidInputError):
        client.as_completed("one-string")
    with pytest.raises(InvalidInputError):
        await client.task_info("")
    assert http.requests == {}


@pytest.mark.parametrize(
    "created_at", [-math.inf, math.nan, -1e308, pytest.param(10**400, id="huge"), "yesterday"]
)
async def test_bad_creation_times(
    created_at: Any,  # noqa: ANN401 (wrong values)
    client: SunoClient,
    http: aioresponses,
) -> None:
    """A creation time that is not a finite number raises an error, and nothing is polled."""
    ref = TaskRef("t", created_at)
    with pytest.raises(InvalidInputError, match="created_at"):
        client.task("t", created_at=created_at)
    with pytest.raises(InvalidInputError, match="created_at"):
        client.task(ref)
    with pytest.raises(InvalidInputError, match="created_at"):
        await anext(aiter(client.as_completed(["ok", ref])))
    with pytest.raises(InvalidInputError, match="created_at"):
        await client.outcomes(["ok", ref])
    assert client.statistics().watched == 0
    assert http.requests == {}


async def test_aiohttp_errors_do_not_escape(
    client: SunoClient, http: aioresponses, caplog: pytest.LogCaptureFixture
) -> None:
    """Errors of aiohttp and of sockets become a `SunoError` that does not show the API key."""
    caplog.set_level(logging.DEBUG)
    info = SunoClient(CANARY, base_url=BASE)
    seen = [repr(client), repr(info), info.account]
    for error in (
        aiohttp.ServerDisconnectedError(),
        aiohttp.ClientPayloadError(),
        ConnectionResetError(),
        TimeoutError(),
        aiohttp.InvalidURL("x"),
        aiohttp.ContentTypeError(None, (), headers={"x-api-key": CANARY}),  # type: ignore[arg-type]
    ):
        http.get(f"{API}/account/balance", exception=error)
        with pytest.raises(SunoError) as caught:
            await client.balance()
        assert caught.value.__context__ is None
        frames = traceback.StackSummary.extract(
            traceback.walk_tb(caught.value.__traceback__), capture_locals=True
        )
        # The frame of this test contains the key. No frame of the library may contain it.
        seen += [str(frame.locals) for frame in frames if "suno_async" in frame.filename]
        seen += [repr(caught.value), str(caught.value), *traceback.format_exception(caught.value)]
    assert CANARY not in "".join([*seen, *(record.getMessage() for record in caplog.records)])


@pytest.mark.parametrize("key", ["", " ", "a\nb", "clé"])
async def test_bad_keys(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing or invalid API key raises an error. The error does not contain the key."""
    monkeypatch.delenv("SUNO_API_KEY", raising=False)
    monkeypatch.delenv("CRUN_API_KEY", raising=False)
    with pytest.raises(ConfigurationError) as caught:
        SunoClient(key, base_url=BASE)
    assert not key.strip() or key not in str(caught.value)


async def test_environment(http: aioresponses, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without arguments, a client reads its key and its base URL from environment variables.

    If SUNO_API_KEY and CRUN_API_KEY are both set, the client uses SUNO_API_KEY.
    """
    monkeypatch.setenv("CRUN_API_KEY", "second")
    monkeypatch.setenv("SUNO_API_KEY", "first")
    monkeypatch.setenv("CRUN_BASE_URL", BASE)
    monkeypatch.delenv("SUNO_BASE_URL", raising=False)
    http.get(f"{API}/account/balance", payload={"code": 200, "data": {"balance": "7.5"}})
    async with SunoClient() as suno:
        assert await suno.balance() == 7.5
    (call,) = http.requests[("GET", URL(f"{API}/account/balance"))]
    assert call.kwargs["headers"]["x-api-key"] == "first"


async def test_bad_options() -> None:
    """An invalid `rate_limit`, `request_timeout` or `account` raises `ConfigurationError`."""
    with pytest.raises(ConfigurationError):
        SunoClient(CANARY, rate_limit=16)
    with pytest.raises(ConfigurationError):
        SunoClient(CANARY, request_timeout=0)
    with pytest.raises(ConfigurationError):
        SunoClient(CANARY, account="")


@pytest.mark.parametrize(
    "url", ["ftp://x", "https://api..crun.ai", f"https://{'a' * 64}.ai", "http://xn--.com"]
)
def test_bad_urls(url: str) -> None:
    """A `base_url` or `proxy` with another scheme or an invalid host name raises an error."""
    with pytest.raises(ConfigurationError, match="base_url"):
        SunoClient(CANARY, base_url=url)
    with pytest.raises(ConfigurationError, match="proxy"):
        SunoClient(CANARY, proxy=url)


async def test_closed() -> None:
    """Using a closed client raises `ClientClosedError`, but closing it again is allowed."""
    suno = SunoClient(CANARY, base_url=BASE)
    await suno.close()
    await suno.close()
    with pytest.raises(ClientClosedError):
        await suno.balance()


async def test_leaving_thousands(client: SunoClient, http: aioresponses) -> None:
    """If a loop over 1,000 tasks is cancelled, the client stops polling these tasks.

    If the client is closed instead, each task gets an outcome with `ClientClosedError`.
    """
    born = time.time()
    handles = [client.task(f"t{n}", created_at=born) for n in range(1000)]

    async def listen() -> list[Outcome]:
        return [outcome async for outcome in client.as_completed(handles)]

    for leave in (True, False):
        listening = asyncio.ensure_future(listen())
        async with asyncio.timeout(10):
            while client.statistics().watched < len(handles):  # noqa: ASYNC110 (no event to wait for)
                await asyncio.sleep(0)
        if leave:
            listening.cancel()
            await asyncio.wait([listening])
            for _ in range(10):
                await asyncio.sleep(0)
            assert client.statistics().watched == 0
        else:
            await client.close()
            errors = [type(outcome.error) for outcome in await listening]
            assert errors == [ClientClosedError] * len(handles)
    assert http.requests == {}


async def test_closing_while_thousands_are_taken_up(client: SunoClient, http: aioresponses) -> None:
    """If a client is closed while `as_completed` starts, each outcome has a `ClientClosedError`."""
    born = time.time()
    handles = [client.task(f"t{n}", created_at=born) for n in range(5000)]

    async def listen() -> list[Outcome]:
        return [outcome async for outcome in client.as_completed(handles)]

    listening = asyncio.ensure_future(listen())
    async with asyncio.timeout(10):
        while not client.statistics().watched:  # noqa: ASYNC110 (no event to wait for)
            await asyncio.sleep(0)
        assert client.statistics().watched < len(handles)
        await client.close()
        outcomes = await listening
    assert {outcome.task_id for outcome in outcomes} == {handle.id for handle in handles}
    assert {type(outcome.error) for outcome in outcomes} == {ClientClosedError}
    assert (len(outcomes), client.statistics().watched) == (len(handles), 0)
    assert "suno_async poller" not in {task.get_name() for task in asyncio.all_tasks()}
    assert http.requests == {}


async def test_injected_session_stays_open(http: aioresponses) -> None:
    """If the user passes a session to a client, the client does not close this session."""
    http.get(f"{API}/account/balance", payload={"code": 200, "data": {"balance": 1}})
    async with aiohttp.ClientSession() as session:
        async with SunoClient(CANARY, base_url=BASE, session=session) as suno:
            assert await suno.balance() == 1
        assert not session.closed


def test_second_event_loop() -> None:
    """If a client is used or closed in a second event loop, it raises `WrongEventLoopError`."""
    suno = SunoClient(CANARY, base_url=BASE)

    async def use() -> None:
        suno.as_completed([])

    async def close() -> None:
        await suno.close()

    with asyncio.Runner() as first:
        first.run(use())
        with asyncio.Runner() as second:
            for call in (use, close):
                with pytest.raises(WrongEventLoopError):
                    second.run(call())
        first.run(close())


async def test_time_scale_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment variable SUNO_TIME_SCALE scales the times of the default `PollPolicy`.

    A value that is not a finite positive number raises `ConfigurationError`.
    """
    used: list[PollPolicy] = []

    def runtime(*, policy: PollPolicy, **parts: Any) -> Runtime:  # noqa: ANN401 (passed on)
        used.append(policy)
        return Runtime(policy=policy, **parts)

    monkeypatch.setattr(client_module, "Runtime", runtime)
    monkeypatch.setenv("SUNO_TIME_SCALE", "30")
    own = PollPolicy(interval=20.0)
    for policy in (None, own):
        async with SunoClient(CANARY, base_url=BASE, policy=policy):
            pass
    assert used[0] == PollPolicy().scaled(30)
    assert used[1] is own
    for wrong in ("0", "-1", "nan", "inf", "fast"):
        monkeypatch.setenv("SUNO_TIME_SCALE", wrong)
        with pytest.raises(ConfigurationError, match="SUNO_TIME_SCALE"):
            SunoClient(CANARY, base_url=BASE)
