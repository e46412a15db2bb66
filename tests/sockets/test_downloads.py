"""Downloads over real sockets: a file is complete or absent, whatever the host does."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from base64 import b64encode
from typing import TYPE_CHECKING

import pytest

from suno_async import (
    ClientClosedError,
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
from suno_async.files import fetching, parts, transfers
from suno_async.files.names import file_name
from suno_async.files.progress import ProgressCallback, Reporter
from suno_async.sandbox import KEY
from tests.file_host import FileHost, record_path, song

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the pauses before retries, so that the tests are fast."""
    monkeypatch.setattr(transfers, "PAUSE", 0.0)
    monkeypatch.setattr(fetching, "RESUME_PAUSE", 0.0)


@pytest.fixture
async def host() -> AsyncIterator[FileHost]:
    """Yield a running host that serves the same file under every path."""
    async with FileHost().serving() as serving:
        yield serving


@pytest.fixture
async def suno(host: FileHost) -> AsyncIterator[SunoClient]:
    """Yield an open client that uses the URL of the host as its base URL."""
    async with SunoClient(KEY, base_url=host.url) as client:
        yield client


def names(directory: Path) -> list[str]:
    """Return the names of all files in a directory, including incomplete downloads."""
    return sorted(each.name for each in directory.iterdir())


async def test_resumed(host: FileHost, suno: SunoClient, tmp_path: Path) -> None:
    """A download that breaks off continues at the same byte, even several times."""
    host.cuts = [100_000, 50_000, 1, 0, 0, 10_000]
    path = await suno.download(f"{host.url}/x.mp3", tmp_path)
    assert path.read_bytes() == host.body
    starts = (100_000, 150_000, 150_001, 150_001, 150_001, 160_001)
    assert host.ranges_asked == [None, *(f"bytes={start}-" for start in starts)]
    assert {each.get("if-range") for each in host.requests[1:]} == {'"1"'}
    assert all("x-api-key" not in each for each in host.requests)
    assert names(tmp_path) == [path.name]


async def test_attempts_without_progress(host: FileHost, suno: SunoClient, tmp_path: Path) -> None:
    """A download fails after three attempts without progress, and leaves no incomplete file."""
    host.cuts = [100_000, 0, 0, 0, 0]
    with pytest.raises(DownloadError):
        await suno.download(f"{host.url}/x.mp3", tmp_path)
    assert len(host.requests) == 4
    assert names(tmp_path) == []


@pytest.mark.parametrize("change", ["version", "no ranges", "weak", "no validator", "young"])
async def test_restarted(host: FileHost, suno: SunoClient, tmp_path: Path, change: str) -> None:
    """If a download cannot be resumed safely, it starts again at the first byte."""
    first, host.cuts = host.body, [100_000]
    now = "Tue, 15 Nov 1994 12:45:26 GMT"
    if change == "no ranges":
        host.ranges = False
    elif change == "weak":
        host.headers = {"ETag": 'W/"1"'}
    elif change == "no validator":
        host.headers = {}
    elif change == "young":
        host.headers = {"Last-Modified": now, "Date": now}
    downloading = asyncio.ensure_future(suno.download(f"{host.url}/x.mp3", tmp_path))
    await host.arrived.wait()
    if change == "version":
        host.body, host.headers = first[::-1].replace(b"", b"", 0), {"ETag": '"2"'}
        host.body = b"ID3" + host.body
    path = await downloading
    assert path.read_bytes() == host.body
    conditional = change in {"version", "no ranges"}
    assert host.ranges_asked == [None, "bytes=100000-" if conditional else None]


async def test_resumed_by_date(host: FileHost, suno: SunoClient, tmp_path: Path) -> None:
    """Without an ETag, a download is resumed if the file changed at least 1 s before the reply."""
    modified = "Tue, 15 Nov 1994 12:45:26 GMT"
    host.headers = {"Last-Modified": modified, "Date": "Tue, 15 Nov 1994 12:45:27 GMT"}
    host.cuts = [100_000]
    path = await suno.download(f"{host.url}/x.mp3", tmp_path)
    assert path.read_bytes() == host.body
    assert host.requests[1]["if-range"] == modified


@pytest.mark.parametrize(
    "fields",
    [
        {"Content-Range": "bytes 5-9/10"},
        {"Content-Range": "bytes 999-299999/300000"},
        {"Content-Range": "bytes 1000-299998/299999"},
        {"ETag": '"2"'},
        {},
    ],
)
async def test_wrong_ranges(
    suno: SunoClient, host: FileHost, tmp_path: Path, fields: dict[str, str]
) -> None:
    """If a partial reply has a wrong range or file version, the download starts again."""
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(request := await reader.readuntil(b"\r\n\r\n"))
        size, body = len(host.body), host.body
        if b"Range: bytes" in request:
            given = {"Content-Range": f"bytes 1000-{size - 1}/{size}"} if "ETag" in fields else {}
            lines = "".join(f"{name}: {value}\r\n" for name, value in (given | fields).items())
            head, body = f"HTTP/1.1 206 X\r\n{lines}Content-Length: {size - 1000}", body[1000:]
        else:
            head = f'HTTP/1.1 200 X\r\nETag: "1"\r\nContent-Length: {size}'
        body = body[:1000] if len(asked) == 1 else body
        writer.write(head.encode() + b"\r\nConnection: close\r\n\r\n" + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x.mp3"
    path = await suno.download(url, tmp_path)
    server.close()
    assert path.read_bytes() == host.body
    assert [b"If-Range" in each for each in asked] == [False, True, False]


@pytest.fixture
def joins(monkeypatch: pytest.MonkeyPatch) -> asyncio.Queue[None]:
    """Return a queue that gets an item when a call of `download` begins to wait for its file."""
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
    """Downloads of the same file share one request. If two are cancelled, the others continue."""
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
    assert names(tmp_path) == [file_name(url)]


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
        while not names(tmp_path):  # noqa: ASYNC110 (no event to wait for)
            await asyncio.sleep(0.01)
    downloading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await downloading
    assert names(tmp_path) == []


async def test_closed(host: FileHost, tmp_path: Path) -> None:
    """If the client is closed, its downloads end and their incomplete files are removed."""
    host.hold = asyncio.Event()
    suno = SunoClient(KEY, base_url=host.url)
    downloading = asyncio.ensure_future(
        suno.download_all([f"{host.url}/{each}.mp3" for each in range(20)], tmp_path)
    )
    async with asyncio.timeout(10):
        while len(names(tmp_path)) < 8:  # noqa: ASYNC110 (no event to wait for)
            await asyncio.sleep(0.01)
    await suno.close()
    with pytest.raises(ClientClosedError):
        await downloading
    assert names(tmp_path) == []
    assert len(host.requests) == 8


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 416, 451, 501, 206])
async def test_final_statuses(
    host: FileHost, suno: SunoClient, tmp_path: Path, status: int
) -> None:
    """After an HTTP status that a retry cannot change, the download fails without a retry."""
    host.statuses = [status] * 3
    with pytest.raises(DownloadError, match=f"HTTP {status}"):
        await suno.download(f"{host.url}/x.mp3?signature=secret", tmp_path)
    assert len(host.requests) == 1
    assert names(tmp_path) == []


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_temporary_statuses(
    host: FileHost, suno: SunoClient, tmp_path: Path, status: int
) -> None:
    """After a temporary HTTP error status, the download is retried and succeeds."""
    host.statuses = [status] * 2
    assert (await suno.download(f"{host.url}/x.mp3", tmp_path)).read_bytes() == host.body


async def test_errors_hide_signatures(host: FileHost, suno: SunoClient, tmp_path: Path) -> None:
    """The error of a download does not contain the query of the URL."""
    host.statuses = [404]
    with pytest.raises(DownloadError) as caught:
        await suno.download(f"{host.url}/x.mp3?signature=secret", tmp_path)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"<!DOCTYPE html><title>Sign in</title>", "HTML"),
        (b'{"error": "expired"}', "JSON"),
        (b"", "empty"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "image instead of audio"),
    ],
)
async def test_not_a_song(
    host: FileHost, suno: SunoClient, tmp_path: Path, body: bytes, problem: str
) -> None:
    """A download fails at once if the host sends HTML, JSON, an image or nothing."""
    host.body = body
    track = Track(suno_id="s", suno_audio_url=f"{host.url}/x.mp3")
    with pytest.raises(DownloadError, match=problem):
        await suno.download(track, tmp_path)
    assert len(host.requests) == 1
    assert names(tmp_path) == []


async def test_any_media(host: FileHost, suno: SunoClient, tmp_path: Path) -> None:
    """The argument `media` sets which types of file are accepted. ``"any"`` accepts even text."""
    host.body = b"[Verse]\nla la"
    path = await suno.download(f"{host.url}/x.txt", tmp_path, media="any", name="lyrics")
    assert path.read_bytes() == host.body
    assert (path.name[:7], path.suffix) == ("lyrics-", ".txt")
    with pytest.raises(DownloadError, match="instead of video"):
        await suno.download(f"{host.url}/x.txt", tmp_path, media="video")


async def test_compressed(host: FileHost, suno: SunoClient, tmp_path: Path) -> None:
    """A compressed reply is decompressed. If the connection breaks, the download starts again."""
    body, host.body = host.body, gzip.compress(host.body)
    host.headers["Content-Encoding"] = "gzip"
    host.cuts = [len(host.body) // 2]
    path = await suno.download(f"{host.url}/x.mp3", tmp_path)
    assert path.read_bytes() == body
    assert host.ranges_asked == [None, None]


@pytest.mark.parametrize("cut", [None, 100_000])
async def test_checksum(host: FileHost, suno: SunoClient, tmp_path: Path, cut: int | None) -> None:
    """The host's checksum is checked, even after a resume. A wrong checksum is an error."""
    digest = b64encode(hashlib.sha256(host.body).digest()).decode()
    host.headers["Repr-Digest"] = f"sha-256=:{digest}:"
    host.cuts = [] if cut is None else [cut]
    path = await suno.download(f"{host.url}/x.mp3", tmp_path)
    assert path.read_bytes() == host.body
    host.body = host.body[:-1] + b"!"
    host.cuts = [] if cut is None else [cut]
    with pytest.raises(DownloadError, match="sha256"):
        await suno.download(f"{host.url}/other.mp3", tmp_path)
    assert names(tmp_path) == [path.name]


@pytest.mark.parametrize("chunked", [False, True])
async def test_too_large(
    host: FileHost, suno: SunoClient, tmp_path: Path, *, chunked: bool
) -> None:
    """The download of a file that is larger than `max_bytes` fails."""
    host.chunked = chunked
    url, bound, events = f"{host.url}/x.mp3", len(host.body) - 1, list[DownloadProgress]()
    with pytest.raises(DownloadError, match="max_bytes"):
        await suno.download(url, tmp_path, max_bytes=bound, progress=events.append)
    assert names(tmp_path) == []
    # If the size is announced, the body is not read.
    assert (events[-1].received > 0) == chunked
    path = await suno.download(f"{host.url}/x.mp3", tmp_path, max_bytes=len(host.body))
    assert path.read_bytes() == host.body


async def test_existing(host: FileHost, suno: SunoClient, tmp_path: Path) -> None:
    """Without `overwrite`, an existing file is kept and no request is sent."""
    url, events = f"{host.url}/x.mp3", list[DownloadProgress]()
    (tmp_path / file_name(url)).write_bytes(b"mine")
    path = await suno.download(url, tmp_path, progress=events.append)
    assert (path.read_bytes(), len(host.requests)) == (b"mine", 0)
    assert [(each.done, each.received) for each in events] == [(True, 0)]
    assert (await suno.download(url, tmp_path, overwrite=True)).read_bytes() == host.body


async def test_disk_errors(
    host: FileHost, suno: SunoClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every disk error, such as a full disk or an invalid path, becomes a `DownloadError`."""
    url = f"{host.url}/x.mp3"
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / file_name(url)).mkdir()
    with pytest.raises(DownloadError, match="save"):
        await suno.download(url, tmp_path / "file" / "below")
    with pytest.raises(DownloadError, match="not a file"):
        await suno.download(url, tmp_path)
    with pytest.raises(DownloadError, match="save"):
        await suno.download(url, tmp_path / "\0")
    with pytest.raises(DownloadError, match="too long"):
        await suno.download(url, tmp_path / ("x" * 300))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(parts, "write_all", full)
    before = len(host.requests)
    with pytest.raises(DownloadError, match="No space"):
        await suno.download(url, tmp_path, name="y")
    assert len(host.requests) == before + 1
    assert names(tmp_path) == ["file", file_name(url)]


async def test_invalid_urls(suno: SunoClient, tmp_path: Path) -> None:
    """A URL that cannot be requested raises a `DownloadError`, and no file is created."""
    for url in (
        *("", "x.mp3", "ftp://x.example/a", "file:///etc/passwd", "http://a..b/", "https://a..b/x"),
        *(
            "https://[::1/x",
            "https://" + "a" * 300 + "/x",
            "https://x.example:99999/x",
            "https:///",
        ),
    ):
        with pytest.raises(DownloadError):
            await suno.download(url, tmp_path)
    assert names(tmp_path) == []


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
    """If two calls share a download and a callback, a callback that raises is called only once."""
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


def tracks(host: FileHost, count: int, task_id: str = "t") -> tuple[Track, ...]:
    """Return `count` songs of one task, with audio URLs on the host."""
    return tuple(
        Track(task_id=task_id, suno_id=f"{task_id}-{each}", suno_audio_url=f"{host.url}/{each}.mp3")
        for each in range(count)
    )


async def test_expired(host: FileHost, suno: SunoClient, tmp_path: Path) -> None:
    """An expired URL is replaced by the URL in the current task record, but only once."""
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
        await suno.download_all(urls, tmp_path)
    assert len(caught.value.errors) == 2
    saved = [file_name(urls[0]), file_name(urls[3])]
    assert [each.name for each in caught.value.paths] == names(tmp_path) == saved


async def test_download_all_of_a_broken_source(
    host: FileHost, suno: SunoClient, tmp_path: Path
) -> None:
    """If the iterator of outcomes raises an error, `download_all` ends and raises this error."""
    host.hold = asyncio.Event()

    async def outcomes() -> AsyncIterator[str]:
        yield f"{host.url}/0.mp3"
        await host.arrived.wait()
        raise LookupError("the source broke")

    with pytest.raises(LookupError):
        await suno.download_all(outcomes(), tmp_path)
    assert names(tmp_path) == []
