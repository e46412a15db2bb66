"""Tests of downloads in virtual time: slow hosts, waits before retries, timeouts and slots.

Each attempt of a download occupies one of `PARALLEL` *slots*. The speed of a host is measured
over *windows* of 30 s.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, cast

import pytest
from multidict import CIMultiDict

from suno_async import DownloadError, DownloadsFailedError, Track
from suno_async.files.downloads import PARALLEL, READ_AHEAD, Downloader
from suno_async.files.fetching import DownloadTerms
from suno_async.files.sources import FileSource
from suno_async.sandbox._media_files import mp3
from tests.file_host import song
from tests.virtual import run_virtual

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
    from pathlib import Path

    from yarl import URL

    from suno_async.files.connections import Connections

BODY = song(1_000_000)


class Body:
    """A body that arrives at `speed` bytes per second. At speed 0, no byte ever arrives."""

    def __init__(self, data: bytes, speed: float) -> None:
        self._data = data
        self._speed = speed

    async def readany(self) -> bytes:
        """Return the bytes that arrive in the next second."""
        if self._data and self._speed:
            await asyncio.sleep(1)
        elif self._data:
            await asyncio.Event().wait()
        size = int(self._speed)
        piece, self._data = self._data[:size], self._data[size:]
        return piece

    def _read_nowait(self, _count: int) -> bytes:
        return b""


class Reply:
    """A reply of a host. Its body arrives at `speed` bytes per second."""

    def __init__(
        self,
        status: int = 200,
        *,
        speed: float = len(BODY),
        headers: Mapping[str, str] | None = None,
        body: bytes = BODY,
    ) -> None:
        self.status = status
        self.headers = CIMultiDict(headers or {})
        self.content_length = len(body)
        self.content = Body(body, speed)


class Hosts:
    """Connections to scripted hosts.

    Attributes:
        answer: A function that returns the reply to a request for a URL.
        requests: The virtual time and the host of each request.
    """

    def __init__(self, answer: Callable[[URL], Reply]) -> None:
        self.answer = answer
        self.requests: list[tuple[float, str]] = []

    @contextlib.asynccontextmanager
    async def get(self, url: URL, headers: Mapping[str, str]) -> AsyncGenerator[Reply]:  # noqa: ARG002 (the real signature)
        """Record the request and yield the scripted reply."""
        self.requests.append((asyncio.get_running_loop().time(), url.host or ""))
        await asyncio.sleep(0.1)
        yield self.answer(url)

    def downloader(self) -> Downloader:
        """Return a downloader that uses these connections."""
        return Downloader(cast("Connections", self))


@pytest.fixture(autouse=True)
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do file work in the event loop, because the virtual clock does not wait for threads."""

    async def inline(work: Callable[..., Any], *args: object) -> Any:  # noqa: ANN401 (any work)
        await asyncio.sleep(0)
        return work(*args)

    monkeypatch.setattr(asyncio, "to_thread", inline)


async def download(
    hosts: Hosts, directory: Path, timeout: float | None = None, track: Track | None = None
) -> tuple[float, str]:
    """Download a file. If `track` is given, write the tags of the track into the file.

    Return the virtual time after the download, and the text of the error (empty after a success).
    """
    source = FileSource("https://a.example/a.mp3", "a.mp3", identity="a", track=track)
    terms = DownloadTerms(False, timeout, 2**30, track is not None)  # noqa: FBT003 (a tuple)
    error = ""
    try:
        await hosts.downloader().download(source, directory, terms)
    except DownloadError as raised:
        error = str(raised)
    return asyncio.get_running_loop().time(), error


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 451])
def test_final_errors_take_no_time(tmp_path: Path, status: int) -> None:
    """A permanent error, such as a 404, ends a download after one request."""
    hosts = Hosts(lambda _: Reply(status))
    ended, error = run_virtual(download(hosts, tmp_path))
    assert ended < 0.2
    assert len(hosts.requests) == 1
    assert f"HTTP {status}" in error


def test_pauses(tmp_path: Path) -> None:
    """After a temporary error, a download waits and retries.

    A Retry-After header in the reply can extend the wait to at most 60 s.
    """
    hosts = Hosts(lambda _: Reply(503))
    run_virtual(download(hosts, tmp_path))
    assert [round(each, 1) for each, _ in hosts.requests] == [0.0, 2.1, 6.2]
    for value, second in (("30", 30.1), ("100000", 60.1), ("-5", 2.1), ("tomorrow", 2.1)):
        reply = Reply(429, headers={"Retry-After": value})
        hosts = Hosts(lambda _, reply=reply: reply)  # type: ignore[misc]
        run_virtual(download(hosts, tmp_path))
        assert round(hosts.requests[1][0], 1) == second


def test_slow_host(tmp_path: Path) -> None:
    """A download below the minimum speed fails after three attempts of 30 s each."""
    ended, error = run_virtual(download(Hosts(lambda _: Reply(speed=4000)), tmp_path))
    assert "slower" in error
    assert 90 < ended < 100
    ended, error = run_virtual(download(Hosts(lambda _: Reply(speed=5000)), tmp_path))
    assert not error
    assert 200 <= ended < 210
    assert [each.name for each in tmp_path.iterdir()] == ["a.mp3"]


def test_timeout(tmp_path: Path) -> None:
    """The timeout ends a download and removes the incomplete file."""
    ended, error = run_virtual(download(Hosts(lambda _: Reply(speed=5000)), tmp_path, timeout=100))
    assert ended == pytest.approx(100, abs=1)
    assert "timeout of 100" in error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("timeout", "expected"), [(None, 31.3), (20.0, 10.7), (1.4, 1.35)])
def test_slow_cover(tmp_path: Path, timeout: float | None, expected: float) -> None:
    """If a cover image does not arrive, the song is saved without an image."""
    body = mp3("song", 1.0)

    def answer(url: URL) -> Reply:
        return Reply(speed=0.0 if "slow" in (url.host or "") else len(body), body=body)

    hosts = Hosts(answer)
    track = Track(suno_id="song-1", suno_image_url="https://slow.example/x.png")
    ended, error = run_virtual(download(hosts, tmp_path, timeout, track))
    assert not error
    assert ended == pytest.approx(expected, abs=0.3)
    assert [host for _, host in hosts.requests] == ["a.example", "slow.example"]
    (path,) = tmp_path.iterdir()
    assert path.name == "a.mp3"
    assert "song-1".encode("utf-16-le") in path.read_bytes()


def test_names_that_lead_out_of_the_directory(tmp_path: Path) -> None:
    """A download refuses an empty file name and a path outside its directory."""
    hosts = Hosts(lambda _: Reply())

    async def outside(name: str) -> None:
        source = FileSource("https://a.example/a.mp3", name, identity="a")
        await hosts.downloader().download(source, tmp_path / "in", DownloadTerms(True, None, 9))  # noqa: FBT003 (a tuple)

    for name in ("../x.mp3", "/x.mp3", "a/../../x.mp3", ""):
        with pytest.raises(DownloadError, match="not a name"):
            run_virtual(outside(name))
    assert not hosts.requests
    assert not list(tmp_path.iterdir())


def test_slow_hosts_do_not_occupy_every_slot(tmp_path: Path) -> None:
    """Hosts that send nothing delay the downloads from other hosts by about 30 s at most."""

    def answer(url: URL) -> Reply:
        return Reply(speed=0.0 if "slow" in (url.host or "") else len(BODY))

    hosts = Hosts(answer)
    downloader = hosts.downloader()

    async def one(host: str) -> float:
        source = FileSource(f"https://{host}.example/", f"{host}.mp3", identity=host)
        with contextlib.suppress(DownloadError):
            await downloader.download(source, tmp_path, DownloadTerms(False, None, 2**30))  # noqa: FBT003 (a tuple)
        return asyncio.get_running_loop().time()

    async def both() -> tuple[list[float], list[float]]:
        slow = [asyncio.create_task(one(f"slow{each}")) for each in range(PARALLEL)]
        fast = [asyncio.create_task(one(f"fast{each}")) for each in range(PARALLEL)]
        return await _all(slow), await _all(fast)

    slow, fast = run_virtual(both())
    assert max(fast) < 33
    assert max(slow) < 110
    assert len(list(tmp_path.iterdir())) == PARALLEL


async def _all(works: list[asyncio.Task[float]]) -> list[float]:
    awaited: list[Awaitable[float]] = list(works)
    return list(await asyncio.gather(*awaited))


def test_waiting_for_a_slot_does_not_count(tmp_path: Path) -> None:
    """The timeout of a download starts with the first attempt, after the wait for a slot."""
    hosts = Hosts(lambda _: Reply(speed=50_000))
    downloader = hosts.downloader()

    async def all_of_them() -> None:
        await asyncio.gather(
            *(
                downloader.download(
                    FileSource(f"https://{each}.example/", f"{each}.mp3", identity=str(each)),
                    tmp_path,
                    DownloadTerms(overwrite=False, timeout=30, max_bytes=2**30),
                )
                for each in range(3 * PARALLEL)
            )
        )

    run_virtual(all_of_them())
    assert len(list(tmp_path.iterdir())) == 3 * PARALLEL
    assert hosts.requests[-1][0] > 30


def test_waiting_for_a_slot_before_a_retry_does_not_count(tmp_path: Path) -> None:
    """The timeout of a download does not include the wait for a slot before a retry."""
    broken = ["0.example"]

    def answer(url: URL) -> Reply:
        if url.host in broken:
            broken.clear()
            return Reply(500)
        return Reply(speed=50_000)

    hosts = Hosts(answer)

    async def sources() -> AsyncGenerator[FileSource]:
        for each in range(4 * PARALLEL):
            yield FileSource(f"https://{each}.example/", f"{each}.mp3", identity=str(each))

    async def work() -> None:
        terms = DownloadTerms(overwrite=False, timeout=23, max_bytes=2**30)
        await hosts.downloader().download_all(sources(), tmp_path, terms)

    run_virtual(work())
    assert len(list(tmp_path.iterdir())) == 4 * PARALLEL


def test_sources_are_read_on_demand(tmp_path: Path) -> None:
    """`download_all` reads its source only as fast as files are downloaded."""
    hosts = Hosts(lambda _: Reply(speed=100_000))
    read = 0

    async def sources() -> AsyncGenerator[FileSource]:
        nonlocal read
        for each in range(100):
            read += 1
            yield FileSource(f"https://{each}.example/", f"{each}.mp3", identity=str(each))

    async def measured() -> int:
        terms = DownloadTerms(overwrite=False, timeout=None, max_bytes=2**30)
        downloader = hosts.downloader()
        work = asyncio.create_task(downloader.download_all(sources(), tmp_path, terms))
        await asyncio.sleep(5)
        first = read
        assert len(await work) == 100
        return first

    assert run_virtual(measured()) <= READ_AHEAD + 1


def test_retries_do_not_delay_download_all(tmp_path: Path) -> None:
    """`download_all` downloads from other hosts while failed downloads wait for a retry."""

    def answer(url: URL) -> Reply:
        busy = "busy" in (url.host or "")
        return Reply(429, headers={"Retry-After": "60"}) if busy else Reply()

    hosts = Hosts(answer)

    async def sources() -> AsyncGenerator[FileSource]:
        for name in [f"busy{each}" for each in range(PARALLEL)] + ["good"]:
            yield FileSource(f"https://{name}.example/", f"{name}.mp3", identity=name)

    async def failing() -> None:
        terms = DownloadTerms(overwrite=False, timeout=None, max_bytes=2**30)
        with pytest.raises(DownloadsFailedError):
            await hosts.downloader().download_all(sources(), tmp_path, terms)

    run_virtual(failing())
    (first,) = [when for when, host in hosts.requests if host == "good.example"]
    assert first < 1
    assert [each.name for each in tmp_path.iterdir()] == ["good.mp3"]
