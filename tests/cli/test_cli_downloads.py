"""Downloads by the command line: incomplete songs are deleted, and existing files are kept."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shlex
import signal
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from suno_async import DownloadProgress
from suno_async.cli.downloads import Downloads, size_text
from suno_async.cli.file_options import FileOptions
from suno_async.sandbox import Sandbox
from tests.cli.test_cli import GENEROUS, run, start

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator
    from pathlib import Path

    from suno_async import SunoClient

#: One second of MP3 frames.
SONG = (b"\xff\xfb\x10\xc0" + bytes(100)) * 40


class FileHost:
    """An HTTP server that sends a song for every path, with two exceptions.

    If a path begins with ``/slow``, the server sends half of the song, and the rest only after
    `go` is set. If a path begins with ``/gone``, the server sends a 404.

    Attributes:
        url: The base URL.
        requests: The path of each request.
        halfway: Event that is set when half of a slow song was sent.
        go: Event that a test sets to let slow songs continue.
    """

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[str] = []
        self.halfway = asyncio.Event()
        self.go = asyncio.Event()

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncGenerator[None]:
        """Serve the songs until the ``with`` block ends."""
        app = web.Application()
        app.router.add_get("/{name}", self._song)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield
        finally:
            self.go.set()
            await runner.cleanup()

    async def _song(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request.path)
        if request.path.startswith("/gone"):
            raise web.HTTPNotFound
        response = web.StreamResponse(headers={"Content-Length": str(len(SONG))})
        await response.prepare(request)
        await response.write(SONG[:2000])
        if request.path.startswith("/slow"):
            self.halfway.set()
            await self.go.wait()
        await response.write(SONG[2000:])
        return response


@pytest.fixture
async def files() -> AsyncIterator[FileHost]:
    """Yield a `FileHost` that is running."""
    host = FileHost()
    async with host.serving():
        yield host


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """Yield a sandbox in which every job succeeds, with a high rate limit."""
    async with Sandbox(seed=1, time_scale=1e4, failure_share=0.0, rate_limit=GENEROUS) as server:
        yield server


def songs_in(directory: Path) -> dict[str, int]:
    """Return the times at which the MP3 files in a directory were last changed.

    The result maps each file name to a time in ns.
    """
    return {each.name: each.stat().st_mtime_ns for each in directory.glob("*.mp3")}


def row(task_id: str, url: str) -> str:
    """Return a row of a results file, as JSON, for a task with one song."""
    song = {"task_id": task_id, "suno_id": f"song-{task_id}", "suno_audio_url": url}
    return json.dumps({"index": 0, "task_id": task_id, "status": "success", "tracks": [song]})


def login_page(name: str, seconds: float) -> bytes:
    """Return a login page, which the sandbox sends instead of a song."""
    return f"<html>log in for {name}, {seconds} s</html>".encode()


async def test_tasks(sandbox: Sandbox, tmp_path: Path) -> None:
    """`download` saves the songs of tasks and prints their paths; a second run keeps the files."""
    ids = sandbox.add_tasks(3, created_ago=1e6)
    words = ("download", *ids, "--directory", "songs")
    code, out, errors = await run(sandbox, *words, cwd=tmp_path)
    assert code == 0, errors
    assert sorted(out.splitlines()) == sorted(
        f"songs/{name}" for name in songs_in(tmp_path / "songs")
    )
    saved = songs_in(tmp_path / "songs")
    assert len(saved) == 6
    code, out, _ = await run(sandbox, *words, "--json", cwd=tmp_path)
    assert (code, len([json.loads(line)["file"] for line in out.splitlines()])) == (0, 6)
    assert songs_in(tmp_path / "songs") == saved
    assert (await run(sandbox, *words, "--overwrite", cwd=tmp_path))[0] == 0
    assert not songs_in(tmp_path / "songs").items() & saved.items()


async def test_unfinished_tasks(sandbox: Sandbox, tmp_path: Path) -> None:
    """A task that has not ended is reported, and does not stop the other downloads."""
    (done,) = sandbox.add_tasks(1, created_ago=1e6)
    (running,) = sandbox.add_tasks(1, durations=[1e9])
    code, out, errors = await run(sandbox, "download", running, done, "-q", cwd=tmp_path)
    assert (code, len(out.splitlines())) == (5, 2)
    assert errors == f"error: task {running}: is running, so wait for its end first\n"


async def test_urls(sandbox: Sandbox, files: FileHost, tmp_path: Path) -> None:
    """`download` of URLs needs no key, and a 404 does not stop the other downloads."""
    words = ("download", "-q", "--base-url", sandbox.url)
    targets = (f"{files.url}/a.mp3", f"{files.url}/gone.mp3", f"{files.url}/b.mp3")
    code, out, errors = await run(None, *words, *targets, cwd=tmp_path)
    assert (code, sorted(out.split()), errors.count("\n")) == (7, sorted(songs_in(tmp_path)), 1)
    assert "gone.mp3: HTTP 404" in errors
    assert [(tmp_path / name).read_bytes() for name in songs_in(tmp_path)] == [SONG, SONG]


@pytest.mark.parametrize("way", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
async def test_interrupted(
    sandbox: Sandbox, files: FileHost, tmp_path: Path, way: signal.Signals
) -> None:
    """An interrupted `download` leaves no incomplete song. The next run gets the missing songs."""
    urls = (f"{files.url}/a.mp3", f"{files.url}/slow.mp3")
    options = ("--name", "{title}", "--covers", "--allow-host", "a.test", "--allow-host", "b.test")
    words = ("download", *urls, "--directory", "songs", *options)
    process = await start(sandbox, *words, cwd=tmp_path)
    async with asyncio.timeout(60):
        await files.halfway.wait()
        while not songs_in(tmp_path / "songs"):  # noqa: ASYNC110 (another process has no Event)
            await asyncio.sleep(0.01)
    process.send_signal(way)
    _, printed = await process.communicate()
    if way is not signal.SIGKILL:
        assert process.returncode == 128 + way
        assert shlex.split(printed.decode().splitlines()[-1]) == [
            *("suno-async", "download", *options, "--directory", "songs", "--", *urls)
        ]
        assert len(list((tmp_path / "songs").iterdir())) == 1
    assert [name[0] for name in songs_in(tmp_path / "songs")] == ["a"]
    files.go.set()
    code, _, errors = await run(sandbox, *words, cwd=tmp_path)
    assert code == 0, errors
    assert files.requests.count("/a.mp3") == 1
    assert {each.read_bytes() for each in (tmp_path / "songs").glob("*.mp3")} == {SONG}
    assert len(songs_in(tmp_path / "songs")) == 2


async def test_poll(sandbox: Sandbox, tmp_path: Path) -> None:
    """`poll --download` saves every song. With --resume, it saves only the missing songs."""
    (tmp_path / "ids.txt").write_text("\n".join(sandbox.add_tasks(3, created_ago=1e6)))
    words = ("poll", "ids.txt", "--download", "songs", "--json")
    code, out, errors = await run(sandbox, *words, cwd=tmp_path)
    summary = json.loads(out)
    assert (code, summary["files"], summary["files_missing"]) == (0, 6, 0), errors
    assert "files: 6 of 6; " in errors
    saved = songs_in(tmp_path / "songs")
    lost = sorted(saved)[::3]
    for name in lost:
        (tmp_path / "songs" / name).unlink()
    code, out, errors = await run(sandbox, *words, "--resume", cwd=tmp_path)
    assert (code, json.loads(out)["skipped"], json.loads(out)["files_missing"]) == (0, 3, 0)
    again = songs_in(tmp_path / "songs")
    assert again.keys() == saved.keys()
    assert {name for name in saved if again[name] != saved[name]} == set(lost)


async def test_batch(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A resumed batch with --download also saves the songs of tasks that ended in the first run."""
    monkeypatch.setenv("SUNO_TIME_SCALE", "100")
    (tmp_path / "in.jsonl").write_text('{"prompt": "x", "instrumental": true}\n' * 3)
    words = ("create", "--batch", "in.jsonl", "--output", "out.jsonl", "--json")
    code, _, errors = await run(sandbox, *words, cwd=tmp_path)
    assert code == 0, errors
    more = ("--resume", "--download", "songs")
    code, out, errors = await run(sandbox, *words, *more, cwd=tmp_path)
    assert (code, json.loads(out)["files"], len(songs_in(tmp_path / "songs"))) == (0, 6, 6), errors
    assert sandbox.statistics.created == 3


async def test_missing_files(sandbox: Sandbox, files: FileHost, tmp_path: Path) -> None:
    """If a song of an earlier run cannot be downloaded, `poll --resume` exits with 7."""
    (tmp_path / "results.jsonl").write_text(row("t", f"{files.url}/gone.mp3") + "\n")
    (tmp_path / "ids.txt").write_text("t")
    words = ("poll", "ids.txt", "--resume", "--download", "songs", "--json", "-q")
    code, out, errors = await run(sandbox, *words, cwd=tmp_path)
    summary = json.loads(out)
    assert (code, summary["files_missing"], summary["exit_code"]) == (7, 1, 7)
    assert "gone.mp3" in json.loads(errors)["error"]


async def test_batch_with_missing_files(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch whose songs cannot be downloaded exits with 7. Later, --resume saves the songs."""
    monkeypatch.setenv("SUNO_TIME_SCALE", "100")
    (tmp_path / "in.jsonl").write_text('{"prompt": "x", "instrumental": true}\n' * 2)
    words = ("create", "--batch", "in.jsonl", "--output", "o.jsonl", "--download", "songs", "-q")
    with pytest.MonkeyPatch.context() as broken:
        broken.setattr("suno_async.sandbox._file_store.mp3", login_page)
        for more in ((), ("--resume",)):
            code, out, errors = await run(sandbox, *words, *more, "--json", cwd=tmp_path)
            assert (code, json.loads(out)["files_missing"], errors.count("HTML")) == (7, 4, 4)
    assert not songs_in(tmp_path / "songs")
    code, out, errors = await run(sandbox, *words, "--resume", "--json", cwd=tmp_path)
    assert (code, json.loads(out)["files_missing"], errors) == (0, 0, "")
    assert len(songs_in(tmp_path / "songs")) == 4
    assert sandbox.statistics.created == 2


async def test_figures(suno: SunoClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The progress line of downloads shows files, bytes, bytes per second and remaining time."""
    now = 0.0
    monkeypatch.setattr("suno_async.cli.downloads.time.monotonic", lambda: now)
    downloads = Downloads(suno, FileOptions(tmp_path))
    assert downloads.line() == "files: 0 of 0; 0 B of 0 B, 0 B/s, ETA 0:00:00"
    note = downloads.note
    note(DownloadProgress("a", received=1_000_000, total=4_000_000))
    note(DownloadProgress("b", received=500_000, total=500_000))
    note(DownloadProgress("b", received=500_000, total=500_000, done=True))
    now = 1.0
    assert downloads.line() == "files: 1 of 2; 1.5 MB of 4.5 MB, 1.5 MB/s, ETA 0:00:02"
    note(DownloadProgress("a", received=1_000_000, total=4_000_000, error="HTTP 404"))
    assert downloads.line() == "files: 2 of 2, 1 missing; 1.5 MB of 1.5 MB, 1.5 MB/s, ETA 0:00:00"
    now = 2.0
    note(DownloadProgress("c", received=999, total=1_000))
    downloads.line()
    note(DownloadProgress("c", received=0, total=1_000))
    now = 7.5
    assert ", 0 B/s, " in downloads.line()


@pytest.mark.parametrize(
    ("count", "text"),
    [(999, "999 B"), (999.7, "1 kB"), (999_600, "1 MB"), (999_700_000, "1.00 GB")],
)
def test_sizes(count: float, text: str) -> None:
    """A number of bytes is shown with a unit, and never as 1e+03."""
    assert size_text(count) == text


async def test_stems_of_an_earlier_run(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`poll --resume` gives stems the same names as the first run, also if names have a song id."""
    monkeypatch.setenv("SUNO_TIME_SCALE", "100")
    (song,) = sandbox.add_tasks(1, created_ago=1e6)
    _, out, _ = await run(sandbox, "separate", song, sandbox.tasks[song].songs[0], cwd=tmp_path)
    (tmp_path / "ids.txt").write_text(out)
    words = ("poll", "ids.txt", "--download", "stems", "--name", "{suno_id}-{kind}-{task_id}")
    assert (await run(sandbox, *words, cwd=tmp_path))[0] == 0
    saved = songs_in(tmp_path / "stems")
    assert saved
    assert (await run(sandbox, *words, "--resume", cwd=tmp_path))[0] == 0
    assert songs_in(tmp_path / "stems") == saved


async def test_failure_before_an_interruption(
    suno: SunoClient, files: FileHost, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that failed is counted at once, and is printed even after an interruption."""
    downloads = Downloads(suno, FileOptions(tmp_path))
    urls = [f"{files.url}/gone.mp3", f"{files.url}/slow.mp3"]
    fetching = asyncio.create_task(downloads.fetch(urls))
    async with asyncio.timeout(60):
        while downloads.count != (1, 2):  # noqa: ASYNC110 (progress events set no Event)
            await asyncio.sleep(0.01)
    assert downloads.missing == 1
    fetching.cancel()
    await asyncio.gather(fetching, return_exceptions=True)
    assert downloads.summary()["files_missing"] == 2
    assert "HTTP 404" in capsys.readouterr().err
