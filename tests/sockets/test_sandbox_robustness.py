"""The sandbox when it is restarted, when it is slow, and when it receives hostile requests."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp
import pytest
from aiohttp import web

from suno_async.sandbox import Faults, Sandbox
from suno_async.sandbox._callbacks import Callbacks
from suno_async.sandbox._fault_injection import FaultInjector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

API = "/api/v1/client/"
SONG: dict[str, Any] = {
    "model": "suno/music-generate",
    "input": {"mode": "simple", "model": "v5", "prompt": "a song"},
}


class Receiver(NamedTuple):
    """A server that receives callbacks.

    Attributes:
        url: The callback URL.
        arrived: The bodies of the callbacks.
    """

    url: str
    arrived: asyncio.Queue[bytes]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Yield a `Receiver` that listens."""
    arrived: asyncio.Queue[bytes] = asyncio.Queue()

    async def listen(request: web.Request) -> web.Response:
        await arrived.put(await request.read())
        return web.Response()

    app = web.Application()
    app.router.add_post("/back", listen)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield Receiver(f"http://127.0.0.1:{runner.addresses[0][1]}/back", arrived)
    finally:
        await runner.cleanup()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """Yield an HTTP client."""
    async with aiohttp.ClientSession() as session:
        yield session


def headers_of(sandbox: Sandbox) -> dict[str, str]:
    """Return the headers of a JSON request to the sandbox."""
    return {"x-api-key": sandbox.key, "Content-Type": "application/json"}


async def create(sandbox: Sandbox, http: aiohttp.ClientSession, callback_url: str) -> None:
    """Create a task with a callback."""
    async with http.post(
        f"{sandbox.url}{API}job/CreateTask",
        json=SONG | {"callback_url": callback_url},
        headers=headers_of(sandbox),
    ) as reply:
        assert reply.status == 200


async def test_callbacks_after_a_restart(receiver: Receiver, http: aiohttp.ClientSession) -> None:
    """A sandbox that was stopped and started again delivers callbacks."""
    sandbox = Sandbox(seed=1, time_scale=1e6, failure_share=0.0)
    for _ in range(2):
        async with sandbox, asyncio.timeout(20):
            await create(sandbox, http, receiver.url)
            await receiver.arrived.get()


async def test_no_callbacks_after_the_end(
    http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A create in flight while the sandbox stops has its callback cancelled, too."""
    delay, post_later, close = FaultInjector.delay, Callbacks.post_later, Callbacks.close
    arrived = asyncio.Event()
    events: list[str] = []

    async def note_arrival(injector: FaultInjector, span: tuple[float, float]) -> None:
        arrived.set()
        await delay(injector, span)

    def note_callback(
        callbacks: Callbacks, seconds: float, url: str, body: Callable[[], object]
    ) -> None:
        events.append("scheduled")
        post_later(callbacks, seconds, url, body)

    async def note_close(callbacks: Callbacks) -> None:
        events.append("cancelled")
        await close(callbacks)

    monkeypatch.setattr(FaultInjector, "delay", note_arrival)
    monkeypatch.setattr(Callbacks, "post_later", note_callback)
    monkeypatch.setattr(Callbacks, "close", note_close)
    async with asyncio.timeout(20):
        async with Sandbox(median=1e6, faults=Faults(latency_in=(60.0, 60.0))) as sandbox:
            creating = asyncio.ensure_future(create(sandbox, http, "http://127.0.0.1:1/back"))
            await arrived.wait()
        await asyncio.gather(creating, return_exceptions=True)
    assert events == ["scheduled", "cancelled"]


async def test_callbacks_are_forgotten(receiver: Receiver) -> None:
    """Nothing is kept of a callback that was sent or cancelled."""
    callbacks = Callbacks()

    def schedule(seconds: float) -> weakref.ref[Callable[[], object]]:
        def body() -> object:
            return 1

        callbacks.post_later(seconds, receiver.url, body)
        return weakref.ref(body)

    sent = schedule(0.0)
    async with asyncio.timeout(20):
        assert await receiver.arrived.get() == b"1"
    gc.collect()
    assert sent() is None
    cancelled = schedule(1e6)
    await callbacks.close()
    gc.collect()
    assert cancelled() is None


async def test_slow_replies(http: aiohttp.ClientSession) -> None:
    """A slow reply has its usual headers, and its first byte has the delay `latency_out`."""
    faults = Faults(slow=1.0, slow_seconds=0.0, latency_out=(0.2, 0.2))
    async with Sandbox(faults=faults) as sandbox:
        began = time.monotonic()
        async with http.get(
            f"{sandbox.url}{API}account/balance", headers=headers_of(sandbox)
        ) as reply:
            assert (await reply.json())["data"] == {"balance": 1_000_000}
        assert time.monotonic() - began >= 0.2


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 200_000,
        b'{"model": "suno/music-generate", "input": {"prompt": "\\ud800", "mode": "simple"}}',
        b'{"model": "suno/music-generate", "input": {"prompt": "x", "y": NaN}}',
        b"\xff",
        b"",
    ],
)
async def test_hostile_bodies(http: aiohttp.ClientSession, body: bytes) -> None:
    """A body that is not JSON is refused with 422, and nothing is created."""
    async with Sandbox() as sandbox:
        url, headers = f"{sandbox.url}{API}job/CreateTask", headers_of(sandbox)
        async with http.post(url, data=body, headers=headers) as reply:
            assert (reply.status, (await reply.json())["code"]) == (422, 422)
        assert not sandbox.tasks


async def test_damaged_compression(http: aiohttp.ClientSession) -> None:
    """A body that cannot be decompressed is refused with 422, and the connection is closed."""
    async with Sandbox() as sandbox:
        url = f"{sandbox.url}{API}job/CreateTask"
        headers = headers_of(sandbox) | {"Content-Encoding": "gzip"}
        for _ in range(2):
            async with http.post(url, data=b"no gzip", headers=headers) as reply:
                assert reply.status == 422


async def test_content_types_with_parameters(http: aiohttp.ClientSession) -> None:
    """An uploaded file is served with the announced content type, also if it has parameters."""
    kind = "audio/mpeg; charset=x"
    async with Sandbox() as sandbox:
        query = {"content_type": kind, "ext": ".mp3"}
        async with http.get(
            f"{sandbox.url}{API}files/upload-url", params=query, headers=headers_of(sandbox)
        ) as reply:
            target = (await reply.json())["data"]
        async with http.put(
            target["presigned_url"], data=b"abc", headers={"Content-Type": kind}
        ) as reply:
            assert reply.status == 200
        async with http.get(target["file_url"]) as reply:
            assert (await reply.read(), reply.headers["Content-Type"]) == (b"abc", kind)
