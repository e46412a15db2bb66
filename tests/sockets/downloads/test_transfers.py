"""Downloads over real sockets: a file is complete or absent, whatever the host does."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import os
import sys
import threading
from base64 import b64encode
from typing import TYPE_CHECKING

import pytest

from suno_async import DownloadError, DownloadProgress, SunoClient, Track
from suno_async.files import parts
from suno_async.files.names import file_name
from suno_async.files.parts import Part
from tests.file_host import FileHost, names_in, song
from tests.hostile import serving

if TYPE_CHECKING:
    from pathlib import Path


async def test_resumed(host: FileHost, suno: SunoClient, tmp_path: Path) -> None:
    """A download that breaks off continues at the same byte, even several times."""
    host.cuts = [100_000, 50_000, 1, 0, 0, 10_000]
    path = await suno.download(f"{host.url}/x.mp3", tmp_path)
    assert path.read_bytes() == host.body
    starts = (100_000, 150_000, 150_001, 150_001, 150_001, 160_001)
    assert host.ranges_asked == [None, *(f"bytes={start}-" for start in starts)]
    assert {each.get("if-range") for each in host.requests[1:]} == {'"1"'}
    assert all("x-api-key" not in each for each in host.requests)
    assert names_in(tmp_path) == [path.name]


async def test_attempts_without_progress(host: FileHost, suno: SunoClient, tmp_path: Path) -> None:
    """A download fails after three attempts without progress, and leaves no incomplete file."""
    host.cuts = [100_000, 0, 0, 0, 0]
    with pytest.raises(DownloadError):
        await suno.download(f"{host.url}/x.mp3", tmp_path)
    assert len(host.requests) == 4
    assert names_in(tmp_path) == []


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
    """Without an ETag, a download is resumed if Last-Modified is at least 1 s before Date."""
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
    """If a partial reply has a wrong range, no range or another ETag, the download starts again."""
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


async def test_truncated_without_a_length(suno: SunoClient, tmp_path: Path) -> None:
    """A truncated reply is not saved if only its Content-Range states the size of the file."""
    requests, body = 0, song(300_000)

    async def answer(_request: bytes, writer: asyncio.StreamWriter) -> bool:
        nonlocal requests
        requests += 1
        if requests == 1:
            head = "200 X\r\nTransfer-Encoding: chunked"
            part = b"3e8\r\n" + body[:1000] + b"\r\n"
        elif requests == 2:
            head, part = "206 X\r\nContent-Range: bytes 1000-299999/300000", body[1000:5000]
        else:
            head, part = "206 X\r\nContent-Range: bytes 5000-299999/300000", body[5000:]
        writer.write(f'HTTP/1.1 {head}\r\nETag: "1"\r\nConnection: close\r\n\r\n'.encode() + part)
        await writer.drain()
        writer.close()
        return False

    async with serving(answer) as url:
        path = await suno.download(f"{url}/x.mp3", tmp_path)
    assert path.read_bytes() == body
    assert requests == 3


@pytest.mark.parametrize("start", ["direct", "absolute redirect", "relative redirect"])
async def test_signed_urls(host: FileHost, suno: SunoClient, tmp_path: Path, start: str) -> None:
    """The path and the query of a URL are requested unchanged, because they may be signed."""
    target = "/a%3Db/x%2Fy.mp3?key=tenant%2Fsong%3A1&plus=a+b%20c&sig=Zm9v%2b%3D&empty="
    url = f"{host.url}{target}"
    if start != "direct":
        host.locations["/start"] = url if start == "absolute redirect" else target
        url = f"{host.url}/start"
    path = await suno.download(url, tmp_path, media="audio")
    assert path.read_bytes() == host.body
    assert host.requests[-1][":path"] == target


async def test_urls_with_other_characters(host: FileHost, suno: SunoClient, tmp_path: Path) -> None:
    """Characters that a URL must not contain are escaped."""
    await suno.download(f"{host.url}/a b/\u96e8.mp3?x=%", tmp_path)
    await suno.download(f"{host.url}?x=%3D", tmp_path, media="audio")
    await suno.download(f"{host.url}/a/../x.mp3#part", tmp_path)
    assert [each[":path"] for each in host.requests] == [
        "/a%20b/%E9%9B%A8.mp3?x=%25",
        "/?x=%3D",
        "/x.mp3",
    ]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 416, 451, 501, 206])
async def test_final_statuses(
    host: FileHost, suno: SunoClient, tmp_path: Path, status: int
) -> None:
    """If an HTTP status shows that a retry cannot help, the download fails without a retry."""
    host.statuses = [status] * 3
    with pytest.raises(DownloadError, match=f"HTTP {status}"):
        await suno.download(f"{host.url}/x.mp3?signature=secret", tmp_path)
    assert len(host.requests) == 1
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_temporary_statuses(
    host: FileHost, suno: SunoClient, tmp_path: Path, status: int
) -> None:
    """After a temporary HTTP error status, the download is retried and succeeds."""
    host.statuses = [status] * 2
    assert (await suno.download(f"{host.url}/x.mp3", tmp_path)).read_bytes() == host.body


async def test_timeout_while_the_file_is_saved(
    host: FileHost, suno: SunoClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the timeout passes while the complete file is being saved, the download succeeds."""
    loop = asyncio.get_running_loop()
    timeout, sync, discard = asyncio.timeout, os.fsync, Part.discard
    scopes: list[asyncio.Timeout] = []
    discarding = threading.Event()

    def recorded(delay: float | None) -> asyncio.Timeout:
        scopes.append(timeout(delay))
        return scopes[-1]

    def slow_sync(descriptor: int) -> None:
        if not discarding.is_set():
            loop.call_soon_threadsafe(scopes[1].reschedule, loop.time())
            discarding.wait(10)
        sync(descriptor)

    def observed(part: Part) -> None:
        discarding.set()
        discard(part)

    monkeypatch.setattr(asyncio, "timeout", recorded)
    monkeypatch.setattr(os, "fsync", slow_sync)
    monkeypatch.setattr(Part, "discard", observed)
    path = await suno.download(f"{host.url}/x.mp3", tmp_path)
    # The first scope is that of the call, the second one is that of the download.
    assert scopes[1].expired()
    assert path.read_bytes() == host.body


async def test_errors_hide_signatures(host: FileHost, suno: SunoClient, tmp_path: Path) -> None:
    """The error of a download does not contain the query, the user or the password of the URL."""
    host.paths = dict.fromkeys(("/x.mp3", "/x.mp3?signature=secret"), 404)
    for url in (
        f"{host.url}/x.mp3?signature=secret",
        host.url.replace("//", "//me:secret@") + "/x.mp3",
        "ftp://me:secret@x.example/x.mp3?signature=secret",
        "https://me:secret@x.example:99999/x.mp3#secret",
        "https://me:secret@[::1/x.mp3?secret",
        "https://me:secret@x℀.example/x.mp3?secret",
    ):
        with pytest.raises(DownloadError) as caught:
            await suno.download(url, tmp_path)
        assert "x.mp3" in str(caught.value)
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
    assert names_in(tmp_path) == []


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
    assert names_in(tmp_path) == [path.name]


@pytest.mark.parametrize("chunked", [False, True])
async def test_too_large(
    host: FileHost, suno: SunoClient, tmp_path: Path, *, chunked: bool
) -> None:
    """The download of a file that is larger than `max_bytes` fails."""
    host.chunked = chunked
    url, bound, events = f"{host.url}/x.mp3", len(host.body) - 1, list[DownloadProgress]()
    with pytest.raises(DownloadError, match="max_bytes"):
        await suno.download(url, tmp_path, max_bytes=bound, progress=events.append)
    assert names_in(tmp_path) == []
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
    assert names_in(tmp_path) == ["file"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows users may not make symbolic links")
async def test_a_loop_of_links(host: FileHost, suno: SunoClient, tmp_path: Path) -> None:
    """A directory that is a symbolic link to itself raises a `DownloadError`."""
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(DownloadError, match="save"):
        await suno.download(f"{host.url}/x.mp3", tmp_path / "loop")


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
    assert names_in(tmp_path) == []
