"""Download each file with two calls at the same time, while a proxy breaks connections."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import multiprocessing
import random
import threading
import time
from typing import TYPE_CHECKING

from aiohttp import web

from suno_async import SunoClient
from suno_async.files.names import file_name

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from pathlib import Path

SEED = 12

#: Maximum number of bytes that the proxy copies at a time.
_PIECE = 1 << 16


class CuttingProxy:
    """Copies bytes between clients and a server, and breaks connections at random.

    Attributes:
        cuts: How many connections the proxy broke before the reply was complete.
    """

    def __init__(self, port: int, mean: int, randomness: random.Random) -> None:
        self._port = port
        self._mean = mean
        self._random = randomness
        self.cuts = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward one connection to the server, and break it after a random number of bytes."""
        left = self._random.randrange(2 * self._mean)
        upstream, sending = await asyncio.open_connection("127.0.0.1", self._port)
        upload = asyncio.create_task(_copy(reader, sending))
        with contextlib.suppress(ConnectionError):
            while piece := await upstream.read(min(_PIECE, left) or 1):
                if not left:
                    self.cuts += 1
                    # Reset the connection instead of closing it normally.
                    writer.transport.abort()
                    break
                left -= len(piece)
                writer.write(piece)
                await writer.drain()
        upload.cancel()
        for each in (writer, sending):
            each.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while piece := await reader.read(_PIECE):
            writer.write(piece)
            await writer.drain()


def serve(directory: Path, mean: int, pipe: Connection) -> None:
    """Run a file server and a `CuttingProxy`, until a message arrives through `pipe`.

    At the start, send the proxy's port through `pipe`. At the end, send the number of broken
    connections. The server serves the files in `directory`. A connection breaks after `mean` bytes
    on average.
    """

    async def run() -> None:
        application = web.Application()
        application.router.add_static("/", directory)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port: int = runner.addresses[0][1]
        proxy = CuttingProxy(port, mean, random.Random(SEED))
        server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await asyncio.to_thread(pipe.recv)
        pipe.send(proxy.cuts)
        server.close()
        await runner.cleanup()

    asyncio.run(run())


class Watcher(threading.Thread):
    """Checks each file as soon as it appears under its final name.

    Attributes:
        seen: Names of the files that have appeared.
        wrong: Names of the files that were not complete when they appeared.
        stopping: Set this event to end the thread.
    """

    def __init__(self, directory: Path, digests: dict[str, str]) -> None:
        super().__init__(daemon=True)
        self._directory = directory
        self._digests = digests
        self.seen: set[str] = set()
        self.wrong: list[str] = []
        self.stopping = threading.Event()

    def run(self) -> None:
        """Look for new files about a thousand times a second, until `stopping` is set."""
        while True:
            last = self.stopping.is_set()
            for name in self._digests.keys() - self.seen:
                path = self._directory / name
                if path.exists():
                    self.seen.add(name)
                    if digest_of(path) != self._digests[name]:
                        self.wrong.append(name)
            if last:
                return
            time.sleep(0.001)


def digest_of(path: Path) -> str:
    """Return the SHA-256 digest of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_files(directory: Path, count: int, size: int) -> dict[str, str]:
    """Write files of random bytes that look like MP3. Return their SHA-256 digests by file name."""
    randomness = random.Random(SEED)
    digests: dict[str, str] = {}
    for number in range(count):
        path = directory / f"{number}.mp3"
        path.write_bytes(b"ID3" + randomness.randbytes(size - 3))
        digests[path.name] = digest_of(path)
    return digests


def measure_cut(directory: Path, quick: bool) -> bool:  # noqa: FBT001 (a table of functions)
    """Download files through a proxy that breaks connections, and print the results.

    Return True if every file was complete, no unexpected file was saved, and enough connections
    were broken.
    """
    count, size, mean, least = (
        (8, 2_000_000, 300_000, 20) if quick else (40, 20_000_000, 3_000_000, 100)
    )
    source, target = directory / "source", directory / "target"
    source.mkdir()
    target.mkdir()
    digests = make_files(source, count, size)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=serve, args=(source, mean, theirs), daemon=True)
    server.start()
    port: int = ours.recv()
    url = f"http://127.0.0.1:{port}"
    saved = {file_name(f"{url}/{name}"): digest for name, digest in digests.items()}
    watcher = Watcher(target, saved)
    watcher.start()

    async def download() -> list[Path]:
        async with SunoClient("key", base_url=url) as suno:
            # Each file is requested twice, from the same loop.
            return await asyncio.gather(
                *(suno.download(f"{url}/{name}", target) for name in [*digests] * 2)
            )

    started = time.perf_counter()
    asyncio.run(download())
    seconds = time.perf_counter() - started
    watcher.stopping.set()
    watcher.join()
    ours.send(None)
    cuts: int = ours.recv()
    server.join()
    equal = sum(digest_of(target / name) == digest for name, digest in saved.items())
    others = [path.name for path in target.iterdir() if path.name not in saved]
    print(
        f"files with the right SHA-256   {equal} of {count}, {size / 1e6:g} MB each, twice at once"
    )
    print(f"cuts                           {cuts} (at least {least})")
    print(f"files incomplete when seen     {len(watcher.wrong)} of {len(watcher.seen)} seen")
    print(f"other files left               {len(others)}")
    print(f"time                           {seconds:.1f} s")
    complete = equal == count == len(watcher.seen)
    return complete and cuts >= least and not watcher.wrong and not others
