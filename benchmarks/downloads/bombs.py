"""Download a gzip bomb, and responses whose bodies never end.

Each download must stop at `max_bytes` and use little memory.
"""

from __future__ import annotations

import asyncio
import gzip
import multiprocessing
import resource
import socket
import time
import tracemalloc
from typing import TYPE_CHECKING

from suno_async import DownloadError, SunoClient

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from pathlib import Path

#: Bytes that Python may allocate: two batches, the buffer of aiohttp, and steps of decompression.
MOST_MEMORY = 16 * 1024 * 1024

#: Longest allowed stall of the loop in seconds.
LONGEST_HOLD = 0.1


def _serve(kind: str, size: int, ready: Connection) -> None:
    """Answer every request with a gzip bomb or an endless body. Both start like an MP3 file."""
    head = b"HTTP/1.1 200 OK\r\n"
    chunk = b"ID3" + bytes((1 << 20) - 3)
    if kind == "gzip bomb":
        body = gzip.compress(b"ID3" + bytes(size), 9)
        head += f"Content-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        chunk = b""
    elif kind == "endless chunks":
        head += b"Transfer-Encoding: chunked\r\n\r\n"
        chunk = b"100000\r\n" + chunk + b"\r\n"
    else:
        head += b"\r\n"
    with socket.create_server(("127.0.0.1", 0)) as listening:
        ready.send(listening.getsockname()[1])
        while True:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                try:
                    connection.sendall(head)
                    while chunk:
                        connection.sendall(chunk)
                except OSError:
                    continue


async def _hold(longest: list[float]) -> None:
    while True:
        before = time.perf_counter()
        await asyncio.sleep(0)
        longest[0] = max(longest[0], time.perf_counter() - before)


async def _download(port: int, directory: Path, bound: int) -> tuple[str, float]:
    url, longest = f"http://127.0.0.1:{port}", [0.0]
    holding = asyncio.create_task(_hold(longest))
    error = ""
    async with SunoClient("key", base_url=url) as suno:
        try:
            await suno.download(f"{url}/x.mp3", directory, max_bytes=bound)
        except DownloadError as raised:
            error = str(raised)
    holding.cancel()
    return error, longest[0]


def measure_bombs(directory: Path, quick: bool) -> bool:  # noqa: FBT001 (a table of functions)
    """Download each hostile body. Print the memory used and the longest stall of the event loop.

    Return whether all downloads stopped within the limits. In a quick run, the stall has no limit.
    """
    size, bound = (100_000_000, 20_000_000) if quick else (1_000_000_000, 200_000_000)
    good = True
    context = multiprocessing.get_context("spawn")
    for kind in ("gzip bomb", "endless chunks", "endless body"):
        ours, theirs = context.Pipe()
        server = context.Process(target=_serve, args=(kind, size, theirs), daemon=True)
        server.start()
        port: int = ours.recv()
        # Once without tracemalloc, which slows the loop down, and once with it.
        _, hold = asyncio.run(_download(port, directory, bound))
        resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        tracemalloc.start()
        error, _ = asyncio.run(_download(port, directory, bound))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        server.terminate()
        server.join()
        left = len(list(directory.iterdir()))
        print(
            f"{kind:15} stopped: {'max_bytes' in error}, allocations {peak / 2**20:.1f} MiB, "
            f"process {resident / 1024:.0f} MiB, longest stall {hold * 1000:.0f} ms, "
            f"files left {left}"
        )
        # A quick run shares the machine with other tests.
        held = hold > LONGEST_HOLD and not quick
        good &= "max_bytes" in error and peak < MOST_MEMORY and not held and not left
    return good
