"""Tests of concurrent downloads of the same file, or of different files to the same path."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest
from yarl import URL

from suno_async import ClientClosedError, DownloadError, SunoClient
from suno_async.files.connections import Connections
from suno_async.files.fetching import DownloadTerms, Fetch
from suno_async.files.names import file_name
from suno_async.files.parts import Part
from suno_async.files.progress import ProgressCallback, Reporter
from suno_async.files.sources import FileSource
from suno_async.sandbox import KEY
from tests.file_host import FileHost, names_in

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def joins(monkeypatch: pytest.MonkeyPatch) -> asyncio.Queue[None]:
    """Return a queue that gets an item each time a call of `download` starts to wait for a file."""
    queue = asyncio.Queue[None]()
    add = Reporter.add

    def joined(self: Reporter, listener: ProgressCallback | None) -> None:
        add(self, listener)
        queue.put_nowait(None)

    monkeypatch.setattr(Reporter, "add", joined)
    return queue


async def test_joined(
    host: FileHost, suno: SunoClient, tmp_path: Path, joins: asyncio.Queue[None]
) -> None:
    """Downloads of the same file share one request. Cancelling some does not stop the rest."""
    host.hold = asyncio.Event()
    url = f"{host.url}/x.mp3"
    first = asyncio.ensure_future(suno.download(url, tmp_path))
    await host.arrived.wait()
    others = [asyncio.ensure_future(suno.download(url, tmp_path / ".")) for _ in range(3)]
    for _ in range(4):
        await joins.get()
    first.cancel()
    others[0].cancel()
    await asyncio.gather(first, others[0], return_exceptions=True)
    host.hold.set()
    paths = await asyncio.gather(*others[1:])
    assert [each.read_bytes() == host.body for each in paths] == [True, True]
    assert len(host.requests) == 1
    assert names_in(tmp_path) == [file_name(url)]


async def test_joined_failure(
    host: FileHost, suno: SunoClient, tmp_path: Path, joins: asyncio.Queue[None]
) -> None:
    """If downloads share a request that fails, each caller gets a separate error object."""
    host.hold, host.chunked = asyncio.Event(), True
    limit = len(host.body) - 1
    downloading = [
        asyncio.ensure_future(suno.download(f"{host.url}/x.mp3", tmp_path, max_bytes=limit))
        for _ in range(2)
    ]
    for _ in downloading:
        await joins.get()
    host.hold.set()
    errors = await asyncio.gather(*downloading, return_exceptions=True)
    assert all(isinstance(each, DownloadError) for each in errors)
    assert errors[0] is not errors[1]
    assert len(host.requests) == 1


async def test_other_file_of_the_same_name(
    host: FileHost, suno: SunoClient, tmp_path: Path
) -> None:
    """A download never writes to a path that another download is writing to."""
    host.hold = asyncio.Event()
    first = asyncio.ensure_future(suno.download(f"{host.url}/x.mp3", tmp_path, overwrite=True))
    await host.arrived.wait()
    with pytest.raises(DownloadError, match="another file"):
        await suno.download(f"{host.url}/x.mp3?id=2", tmp_path, overwrite=True)
    host.hold.set()
    await first


async def test_the_last_waiter_leaves(host: FileHost, suno: SunoClient, tmp_path: Path) -> None:
    """If the only caller of a download is cancelled, the incomplete file is removed."""
    host.hold = asyncio.Event()
    downloading = asyncio.ensure_future(suno.download(f"{host.url}/x.mp3", tmp_path))
    async with asyncio.timeout(10):
        while not names_in(tmp_path):  # noqa: ASYNC110 (no event to wait for)
            await asyncio.sleep(0.01)
    downloading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await downloading
    assert names_in(tmp_path) == []


async def test_cancelled_twice(
    host: FileHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second cancellation does not end a download before its part file is removed."""
    host.hold = asyncio.Event()
    discard, discarding, go_on = Part.discard, threading.Event(), threading.Event()

    def slow(part: Part) -> None:
        discarding.set()
        go_on.wait(10)
        discard(part)

    monkeypatch.setattr(Part, "discard", slow)
    source = FileSource(f"{host.url}/x.mp3", "x.mp3")
    terms = DownloadTerms(overwrite=False, timeout=None, max_bytes=2**30)
    connections = Connections(api=URL(host.url))
    path = tmp_path / "x.mp3"
    fetch = Fetch(connections, source, path, terms, Reporter(str(path)), None)
    downloading = asyncio.ensure_future(fetch.run(asyncio.Semaphore(1)))
    await host.arrived.wait()
    downloading.cancel()
    await asyncio.to_thread(discarding.wait, 10)
    for _ in range(3):
        downloading.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert not downloading.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await downloading
    assert names_in(tmp_path) == []
    await connections.close()


async def test_closed(host: FileHost, tmp_path: Path) -> None:
    """If the client is closed, its downloads end and their incomplete files are removed."""
    host.hold = asyncio.Event()
    suno = SunoClient(KEY, base_url=host.url)
    downloading = asyncio.ensure_future(
        suno.download_all([f"{host.url}/{each}.mp3" for each in range(20)], tmp_path)
    )
    async with asyncio.timeout(10):
        while len(names_in(tmp_path)) < 8:  # noqa: ASYNC110 (no event to wait for)
            await asyncio.sleep(0.01)
    await suno.close()
    with pytest.raises(ClientClosedError):
        await downloading
    assert names_in(tmp_path) == []
    assert len(host.requests) == 8
