"""A server that answers HTTP requests with any bytes that a test chooses, and a client for it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from suno_async import SunoClient
from suno_async.limits.local import LocalLimiter
from suno_async.sandbox import KEY

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable


async def receive(reader: asyncio.StreamReader) -> bytes:
    """Return one request, with its head and its body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    return head + await reader.readexactly(length)


@contextlib.asynccontextmanager
async def serving(
    answer: Callable[[bytes, asyncio.StreamWriter], Awaitable[bool]],
) -> AsyncGenerator[str]:
    """Run a server on a free local port until the ``with`` block ends. Yield its URL.

    Args:
        answer: Writes the reply to a request. Returns whether the connection stays open.
    """

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await answer(await receive(reader), writer):
                await writer.drain()
            writer.close()
        except (EOFError, ConnectionError):
            pass
        finally:
            if not writer.is_closing():
                writer.transport.abort()

    connections: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(handle(reader, writer))
        connections.add(task)
        task.add_done_callback(connections.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        server.close()
        for task in tuple(connections):
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


def response(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """Return a complete HTTP response with the content type JSON and this `body`."""
    lines = [
        f"HTTP/1.1 {status}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def client(url: str) -> SunoClient:
    """Return a client that has a high rate limit and does not retry."""
    return SunoClient(KEY, base_url=url, limiter=LocalLimiter(1000), retry_for=0)
