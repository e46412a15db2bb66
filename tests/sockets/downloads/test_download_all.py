"""Tests of `download_all`, and of songs whose URLs have expired."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from suno_async import (
    DownloadError,
    DownloadProgress,
    DownloadsFailedError,
    Failure,
    Success,
    SunoClient,
    SunoError,
    TaskInfo,
    TaskStatus,
    Track,
)
from suno_async.files.names import file_name
from tests.file_host import FileHost, names_in, record_path

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


def tracks(host: FileHost, count: int, task_id: str = "t") -> tuple[Track, ...]:
    """Return `count` songs of one task, with audio URLs on the host."""
    return tuple(
        Track(task_id=task_id, suno_id=f"{task_id}-{each}", suno_audio_url=f"{host.url}/{each}.mp3")
        for each in range(count)
    )


async def test_expired(host: FileHost, suno: SunoClient, tmp_path: Path) -> None:
    """An expired URL is replaced by the URL in the current task record.

    If the server refuses this URL too, the download raises `DownloadError`.
    """
    new = TaskInfo(
        task_id="t",
        status=TaskStatus.SUCCESS,
        tracks=tuple(
            Track(task_id="t", suno_id=f"t-{each}", suno_audio_url=f"{host.url}/new-{each}.mp3")
            for each in range(2)
        ),
    )
    host.serve_record(new)
    host.paths = {"/0.mp3": 403, "/1.mp3": 410, "/new-1.mp3": 403}
    first, second = tracks(host, 2)
    assert (await suno.download(first, tmp_path)).read_bytes() == host.body
    with pytest.raises(DownloadError, match="403"):
        await suno.download(second, tmp_path)
    paths = [each[":path"] for each in host.requests]
    assert paths[:3] == ["/0.mp3", record_path(), "/new-0.mp3"]
    assert paths[3:] == ["/1.mp3", record_path(), "/new-1.mp3"]
    host.requests.clear()
    # The current record has the same URL, so the download is not tried again.
    with pytest.raises(DownloadError, match="403"):
        await suno.download(new.tracks[1], tmp_path)
    assert [each[":path"] for each in host.requests] == ["/new-1.mp3", record_path()]


async def test_expired_with_another_title(host: FileHost, suno: SunoClient, tmp_path: Path) -> None:
    """An expired URL is replaced even if the title or the suffix in the task record has changed."""
    new = Track(task_id="t", suno_id="s", title="Rain", suno_audio_url=f"{host.url}/new.m4a")
    stems = {"vocals": f"{host.url}/new.wav"}
    record = TaskInfo(task_id="t", status=TaskStatus.SUCCESS, tracks=(new,), media_info=stems)
    host.serve_record(record)
    host.paths = {"/old.mp3": 403}
    old = f"{host.url}/old.mp3"
    await suno.download(Track(task_id="t", suno_id="s", suno_audio_url=old), tmp_path)
    assert host.requests[-1][":path"] == "/new.m4a"
    stale = TaskInfo(task_id="t", status=TaskStatus.SUCCESS, media_info={"vocals": old})
    await suno.download_all(stale, tmp_path)
    assert host.requests[-1][":path"] == "/new.wav"


async def test_expired_stem(host: FileHost, suno: SunoClient, tmp_path: Path) -> None:
    """Expired URLs of stems and other results are replaced by URLs in the current task record."""

    def info(task_id: str, name: str) -> TaskInfo:
        if task_id == "stems":
            urls = {"vocals": f"{host.url}/{name}"}
            return TaskInfo(task_id=task_id, status=TaskStatus.SUCCESS, media_info=urls)
        media = (f"{host.url}/{name}",)
        return TaskInfo(task_id=task_id, status=TaskStatus.SUCCESS, media_urls=media)

    for task_id in ("stems", "sounds"):
        host.serve_record(info(task_id, "new.mp3"))
    host.paths = {"/old.mp3": 404}
    paths = await suno.download_all([info("stems", "old.mp3"), info("sounds", "old.mp3")], tmp_path)
    assert [each.read_bytes() == host.body for each in paths] == [True, True]


async def test_expired_files_that_differ_in_the_suffix(
    host: FileHost, suno: SunoClient, tmp_path: Path
) -> None:
    """An expired URL is replaced by the URL of the file with the same suffix."""

    def info(prefix: str) -> TaskInfo:
        urls = tuple(f"{host.url}/{prefix}.{suffix}" for suffix in ("mp3", "wav"))
        return TaskInfo(task_id="t", status=TaskStatus.SUCCESS, media_urls=urls)

    host.serve_record(info("new"))
    host.paths = {"/old.mp3": 404, "/old.wav": 404}
    await suno.download_all(info("old"), tmp_path)
    asked = [each[":path"] for each in host.requests if "/new" in each[":path"]]
    assert sorted(asked) == ["/new.mp3", "/new.wav"]


async def test_download_all(host: FileHost, suno: SunoClient, tmp_path: Path) -> None:
    """`download_all` saves the files of each success. The paths have the order of the outcomes."""
    infos = [
        TaskInfo(task_id=each, status=TaskStatus.SUCCESS, tracks=tracks(host, 2, each))
        for each in ("a", "b")
    ]
    stems = {"vocals": f"{host.url}/1/vocals.mp3", "choir": f"{host.url}/2/vocals.mp3"}
    infos.append(TaskInfo(task_id="c", status=TaskStatus.SUCCESS, media_info=stems))

    async def outcomes() -> AsyncIterator[Success | Failure]:
        yield Failure("x", SunoError("failed"))
        for info in infos:
            yield Success(info.task_id, info)

    events: list[DownloadProgress] = []
    paths = await suno.download_all(outcomes(), tmp_path, progress=events.append)
    assert len(paths) == len(set(paths)) == 6
    assert [path.name[:3] for path in paths[:4]] == ["a-0", "a-1", "b-0", "b-1"]
    assert {each.path for each in events if each.done} == {str(path) for path in paths}
    asked = len(host.requests)
    assert await suno.download_all(infos[0], tmp_path) == paths[:2]
    assert len(host.requests) == asked


async def test_download_all_with_failures(host: FileHost, suno: SunoClient, tmp_path: Path) -> None:
    """A failed download does not stop the other downloads, and the error lists the saved files."""
    host.paths = {"/1.mp3": 404}
    urls = [f"{host.url}/0.mp3", "", f"{host.url}/1.mp3", f"{host.url}/2.mp3"]
    with pytest.raises(DownloadsFailedError) as caught:
        await suno.download_all([*urls, Track(suno_id="s-1")], tmp_path)
    assert len(caught.value.errors) == 3
    assert "no URL of the song 's-1'" in str(caught.value.errors[1])
    saved = [file_name(urls[0]), file_name(urls[3])]
    assert [each.name for each in caught.value.paths] == names_in(tmp_path) == saved


async def test_download_all_of_a_broken_source(
    host: FileHost, suno: SunoClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """If the source raises an error, the downloads in progress end before this error is raised."""
    host.hold = hold = asyncio.Event()
    host.paths = {"/1.mp3": 404}
    urls = [f"{host.url}/0.mp3", f"{host.url}/1.mp3"]

    async def source() -> AsyncIterator[str]:
        for url in urls:
            yield url
        await host.arrived.wait()
        asyncio.get_running_loop().call_soon(hold.set)
        raise LookupError("the source broke")

    with pytest.raises(LookupError):
        await suno.download_all(source(), tmp_path)
    assert names_in(tmp_path) == [file_name(urls[0])]
    assert [record.getMessage() for record in caplog.records if "404" in record.getMessage()]


async def test_cancelled_download_all(host: FileHost, suno: SunoClient, tmp_path: Path) -> None:
    """If `download_all` is cancelled, its downloads are cancelled and leave no file."""
    host.hold = asyncio.Event()
    work = asyncio.ensure_future(suno.download_all([f"{host.url}/0.mp3"], tmp_path))
    await host.arrived.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert names_in(tmp_path) == []
