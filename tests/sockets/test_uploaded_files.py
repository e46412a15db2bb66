"""Uploads: presigned URLs, files that change, and reads that hang."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from suno_async import UploadError
from suno_async.files.connections import Connections, Network
from suno_async.files.uploads import LocalFile, Uploader
from tests.hostile import client, response, serving

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


async def test_signed_upload_urls(tmp_path: Path) -> None:
    """The path and the query of a presigned URL are requested unchanged."""
    file, lines = tmp_path / "up.mp3", list[bytes]()
    file.write_bytes(b"song")
    path = "/store/a%3Db?sig=x%2Fy%3D"

    async def answer(request: bytes, writer: asyncio.StreamWriter) -> bool:
        lines.append(request.partition(b"\r\n")[0])
        target = {"presigned_url": f"{url}{path}", "file_url": f"{url}/f"}
        writer.write(response(json.dumps({"code": 200, "data": target}).encode()))
        return True

    async with serving(answer) as url, client(url) as suno:
        await suno.upload(file)
    assert lines[1] == f"PUT {path} HTTP/1.1".encode()


@pytest.mark.parametrize(
    ("moment", "size", "requests"),
    [("/upload-url", 300, 0), ("/upload-url", 100, 0), ("PUT", 300, 1), ("PUT", 100, 1)],
)
async def test_a_file_that_changes(tmp_path: Path, moment: str, size: int, requests: int) -> None:
    """If the size of a file changes before or during its upload, the upload fails at once."""
    file, puts = tmp_path / "up.mp3", list[bytes]()
    file.write_bytes(b"x" * 200)

    async def answer(request: bytes, writer: asyncio.StreamWriter) -> bool:
        line = request.partition(b"\r\n")[0].decode()
        if moment in line:
            os.truncate(file, size)
        if line.startswith("PUT"):
            puts.append(request)
        target = {"presigned_url": f"{url}/store?sig=secret", "file_url": f"{url}/f"}
        writer.write(response(json.dumps({"code": 200, "data": target}).encode()))
        return True

    async with serving(answer) as url, client(url) as suno:
        with pytest.raises(UploadError, match="the file changed during the upload"):
            await suno.upload(file)
    assert len(puts) == requests


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes in directories")
async def test_a_read_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a read of the file hangs, a cancelled upload ends, and the event loop is not blocked."""
    path, reading = tmp_path / "pipe.mp3", asyncio.Event()
    loop, to_thread = asyncio.get_running_loop(), asyncio.to_thread
    os.mkfifo(path)
    # Reading a pipe without content hangs until every writer has closed it.
    writing = os.open(path, os.O_RDWR)
    unblocked = threading.Event()

    def unblock() -> None:
        unblocked.set()
        os.close(writing)

    guard = threading.Timer(10, unblock)
    guard.start()

    async def observed(work: Callable[..., Any], *arguments: object) -> Any:  # noqa: ANN401 (any work)
        def started() -> Any:  # noqa: ANN401 (as above)
            if work.__name__ == "read":
                loop.call_soon_threadsafe(reading.set)
            return work(*arguments)

        return await to_thread(started)

    monkeypatch.setattr(asyncio, "to_thread", observed)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/store"
    connections = Connections(Network(allow_hosts=["127.0.0.1"]))
    uploading = asyncio.ensure_future(
        Uploader(connections).send(LocalFile(path, "audio/mpeg", 0), url)
    )
    await reading.wait()
    uploading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await uploading
    assert not unblocked.is_set()
    guard.cancel()
    unblock()
    await connections.close()
    server.close()
