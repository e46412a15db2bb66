"""What a hostile body costs: memory, and how long the event loop is held.

A gzip bomb (1 MB on the wire, 1 GB after decompression) and a chunked body without an end are sent
as replies to `SunoClient.balance`. Measured are the peak of Python's allocations during the call
(`tracemalloc`), and the longest time between two turns of the event loop in a second call without
`tracemalloc`, which would slow it down. The server writes from a process of its own.

    python -m benchmarks.bodies [--check]
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import multiprocessing
import socket
import sys
import time
import tracemalloc
from typing import TYPE_CHECKING

from suno_async import ResponseError, SunoClient

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

#: The bound of a reply is 8 MiB; reading it may need about as much again for joining its parts.
MOST_MEMORY = 24 * 1024 * 1024

#: Seconds for which one step may hold the loop: decompressing one piece, on a busy machine.
LONGEST_HOLD = 0.1

KEY = "ak_" + "0" * 32


def bomb() -> bytes:
    """A gzip body of 1 MB that decompresses to 1 GB."""
    body = gzip.compress(bytes(1_000_000_000), 9)
    head = (
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def serve(kind: str, ready: Connection) -> None:
    """Answer every request with a hostile body, until this process is ended."""
    reply = bomb() if kind == "bomb" else b""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    with socket.create_server(("127.0.0.1", 0)) as listening:
        ready.send(listening.getsockname()[1])
        while True:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                try:
                    connection.sendall(reply or head)
                    while not reply:
                        connection.sendall(chunk)
                    connection.recv(1)
                except OSError:
                    continue


async def longest_hold(holds: list[float]) -> None:
    """Note down the times between two turns of the loop."""
    last = time.perf_counter()
    while True:
        await asyncio.sleep(0)
        now = time.perf_counter()
        holds.append(now - last)
        last = now


async def ask(url: str) -> None:
    """Make the call; it must end as `ResponseError`."""
    async with SunoClient(KEY, base_url=url, retry_for=0) as suno:
        try:
            await suno.balance()
        except ResponseError:
            return
    raise AssertionError("a hostile body was accepted")


async def measure(url: str) -> tuple[float, float]:
    """Return the peak of the memory in bytes and the longest hold of the loop in seconds."""
    tracemalloc.start()
    await ask(url)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    holds: list[float] = []
    ticking = asyncio.ensure_future(longest_hold(holds))
    await ask(url)
    ticking.cancel()
    return peak, max(holds)


def main() -> None:
    """Print a line for each kind of body."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="exit with 1 if a limit is missed")
    check = parser.parse_args().check
    missed = False
    for kind in ("bomb", "endless"):
        mine, theirs = multiprocessing.Pipe()
        server = multiprocessing.Process(target=serve, args=(kind, theirs), daemon=True)
        server.start()
        memory, hold = asyncio.run(measure(f"http://127.0.0.1:{mine.recv()}"))
        server.terminate()
        server.join()
        good = memory <= MOST_MEMORY and hold <= LONGEST_HOLD
        missed |= not good
        print(
            f"{kind}: {memory / 2**20:.1f} MiB (limit {MOST_MEMORY / 2**20:.0f}), loop held "
            f"{hold * 1000:.0f} ms (limit {LONGEST_HOLD * 1000:.0f}): {'ok' if good else 'MISSED'}"
        )
    sys.exit(1 if missed and check else 0)


if __name__ == "__main__":
    main()
