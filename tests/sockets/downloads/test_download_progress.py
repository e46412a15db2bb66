"""Tests of the progress callbacks of downloads."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from suno_async import DownloadError, DownloadProgress, SunoClient
from suno_async.files.names import file_name
from suno_async.files.progress import Reporter
from tests.file_host import FileHost, song

if TYPE_CHECKING:
    from pathlib import Path


async def test_progress(host: FileHost, suno: SunoClient, tmp_path: Path) -> None:
    """In progress events, `received` grows to the file size. Only the last event has `done` set."""
    host.body = song(5_000_000)
    host.cuts = [1_000_000]
    events: list[DownloadProgress] = []

    def fail(_event: DownloadProgress) -> None:
        raise ValueError("a bug in the callback")

    joined: list[asyncio.Future[Path]] = []

    def note(event: DownloadProgress) -> None:
        events.append(event)
        if not joined:
            # The second call joins the running download, so the first callback gets every event.
            other = suno.download(f"{host.url}/x.mp3", tmp_path, progress=fail)
            joined.append(asyncio.ensure_future(other))

    await suno.download(f"{host.url}/x.mp3", tmp_path, progress=note)
    await joined[0]
    received = [each.received for each in events]
    assert received[0] == 0
    assert received == sorted(received)
    assert 1_000_000 in received
    assert received[-1] == events[-1].total == 5_000_000
    assert [each.done for each in events] == [False] * (len(events) - 1) + [True]
    assert {each.path for each in events} == {str(tmp_path / file_name(f"{host.url}/x.mp3"))}
    host.statuses = [404]
    with pytest.raises(DownloadError):
        await suno.download(f"{host.url}/y.mp3", tmp_path, progress=events.append)
    assert events[-1].error == "HTTP 404"


async def test_a_callback_that_two_calls_share(
    host: FileHost, suno: SunoClient, tmp_path: Path
) -> None:
    """If a callback raises, it is not called again, even if two calls download the same file."""
    events: list[DownloadProgress] = []

    def fail(event: DownloadProgress) -> None:
        events.append(event)
        raise ValueError("a bug in the callback")

    calls = [suno.download(f"{host.url}/x.mp3", tmp_path, progress=fail) for _ in range(2)]
    await asyncio.gather(*calls)
    assert len(host.requests) == 1
    assert len(events) == 1


async def test_a_callback_that_failed_before() -> None:
    """A callback that raised is not called again, even if `Reporter.add` adds it again."""
    events: list[DownloadProgress] = []

    def fail(event: DownloadProgress) -> None:
        events.append(event)
        raise ValueError("a bug in the callback")

    reporter = Reporter("x.mp3")
    reporter.add(fail)
    reporter.add(fail)
    reporter.begin(0, 100)
    reporter.add(fail)
    reporter.end()
    assert len(events) == 1
