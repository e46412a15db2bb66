"""Run a sandbox server in a separate thread, for the programs in the documentation.

The programs call ``asyncio.run`` in the main thread.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from suno_async.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: A job takes about 0.1 s, and a wait times out after 4 s, which is enough even on a busy machine.
SCALE = 300.0
MEDIAN = 30.0


@pytest.fixture
def service() -> Iterator[Sandbox]:
    """Yield a sandbox that runs in another thread, and in which no job fails."""
    started, stop = threading.Event(), asyncio.Event()
    sandboxes: list[tuple[Sandbox, asyncio.AbstractEventLoop]] = []

    async def serve() -> None:
        async with Sandbox(
            seed=1, time_scale=SCALE, median=MEDIAN, sigma=0.3, failure_share=0.0
        ) as sandbox:
            sandboxes.append((sandbox, asyncio.get_running_loop()))
            started.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert started.wait(10)
    sandbox, loop = sandboxes[0]
    yield sandbox
    loop.call_soon_threadsafe(stop.set)
    thread.join()


def serve_one_request(app: web.Application, **_options: Any) -> None:  # noqa: ANN401 (as run_app's)
    """Start a server for `app`, create one song with a request, and stop the server.

    Programs in the docs call this function instead of `web.run_app`.
    """

    async def request() -> None:
        async with TestClient(TestServer(app)) as client:
            reply = await client.post("/songs", params={"prompt": "slow piano"})
            text = await reply.text()
            assert reply.status == 200, text
            assert "http" in text

    asyncio.run(request())


@pytest.fixture
def surroundings(service: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the environment variables and write the files that the programs in the docs use."""
    monkeypatch.setenv("SUNO_API_KEY", service.key)
    monkeypatch.setenv("SUNO_BASE_URL", service.url)
    monkeypatch.setenv("SUNO_TIME_SCALE", str(SCALE))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(web, "run_app", serve_one_request)
    (tmp_path / "ids.txt").write_text("\n".join(service.add_tasks(6)) + "\n", "utf-8")
    (tmp_path / "demo.mp3").write_bytes(b"\xff\xfb" + bytes(1000))
