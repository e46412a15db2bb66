"""Measure how much memory a hostile reply uses, and how long it blocks the event loop.

    python -m benchmarks.bodies [--check]

What is measured: the peak of the memory that Python allocates during a call of
`SunoClient.balance`, and the longest stall of the event loop. A second call measures the stall,
because tracing memory slows the loop down.

How: a server in another process replies with a hostile body. In the first test, the body is a gzip
bomb (1 MB compressed, 1 GB decompressed). In the second test, it is a chunked body that never ends.

What it does not show: memory outside Python's allocators, and hostile replies to downloads.
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

#: Bytes of memory allowed. A reply may have 1 MiB, and joining its parts needs as much again. The
#: compressed body of the bomb needs another 1 MiB.
MOST_MEMORY = 6 * 1024 * 1024

#: Longest allowed stall of the loop in seconds, on a busy machine. The longest step decompresses
#: one piece of the body.
LONGEST_HOLD = 0.1

KEY = "ak_" + "0" * 32


def bomb() -> bytes:
    """Return a reply with a gzip body of 1 MB that decompresses to 1 GB."""
    body = gzip.compress(bytes(1_000_000_000), 9)
    head = (
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def serve(kind: str, ready: Connection) -> None:
    """Answer every request with a hostile body until the process is terminated.

    Args:
        kind: ``"bomb"`` for a gzip bomb; any other text for a body that never ends.
        ready: The server sends its port number through this connection when it starts to
            listen.
    """
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


async def record_cycles(holds: list[float]) -> None:
    """Measure each event loop cycle until cancelled. Append its length in seconds to `holds`."""
    last = time.perf_counter()
    while True:
        await asyncio.sleep(0)
        now = time.perf_counter()
        holds.append(now - last)
        last = now


async def ask(url: str) -> None:
    """Call `SunoClient.balance` and check that it raises `ResponseError`."""
    async with SunoClient(KEY, base_url=url, retry_for=0) as suno:
        try:
            await suno.balance()
        except ResponseError:
            return
    raise AssertionError("a hostile body was accepted")


async def measure(url: str) -> tuple[float, float]:
    """Call the hostile server at `url` twice.

    Return the peak memory in bytes during the first call, and the longest stall of the event loop
    in seconds during the second call.
    """
    tracemalloc.start()
    await ask(url)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    holds: list[float] = []
    ticking = asyncio.ensure_future(record_cycles(holds))
    await ask(url)
    ticking.cancel()
    return peak, max(holds)


def main() -> None:
    """Measure each kind of hostile body, and print one line for each kind.

    With ``--check``, exit with 1 if a limit is exceeded.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="exit with 1 if a limit is exceeded")
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
            f"{kind}: {memory / 2**20:.1f} MiB (limit {MOST_MEMORY / 2**20:.0f}), loop blocked "
            f"{hold * 1000:.0f} ms (limit {LONGEST_HOLD * 1000:.0f}): {'ok' if good else 'MISSED'}"
        )
    sys.exit(1 if missed and check else 0)


if __name__ == "__main__":
    main()
