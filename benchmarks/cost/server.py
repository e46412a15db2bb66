"""The server of `benchmarks.cost`. It runs in its own process and sends prepared replies.

The server does as little work as possible, so that it never slows the client down. The task
records in the replies come from `benchmarks.decode`. Every N-th status request gets ``success``,
and the others get ``running``. A POST creates a task. A request for ``/reset?success_every=N``
returns the number of requests and the highest number of connections, restarts both counts, and sets
N.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import time
import uuid
from typing import TYPE_CHECKING, Any

from benchmarks.decode import RECORD, RUNNING

if TYPE_CHECKING:
    from collections.abc import Generator

#: One of this many replies is "success". In real use, a task needs about this many requests.
SUCCESS_EVERY = 5

_ID = str(RECORD["task_id"])


class _Replies:
    """Prepared replies, and counts of requests and connections.

    Each reply to a status request is stored in two parts. The task id is inserted between them.
    """

    def __init__(self) -> None:
        # Older tasks would be past their deadline.
        created = time.time() - 100
        self._running = _split(RUNNING | {"create_at": created})
        self._success = _split(RECORD | {"create_at": created, "complete_at": created + 86})
        self._success_every = SUCCESS_EVERY
        self._created = 0
        self.requests = 0
        self.connections = 0
        self.most_connections = 0

    def to(self, head: bytes) -> bytes:
        """Return the reply to a request with this head (request line and headers)."""
        method, target, _ = head.split(b" ", 2)
        if method == b"POST":
            # The body is not read. Each create has its own connection, so no request follows it.
            self._created += 1
            data = {"task_id": str(uuid.UUID(int=self._created))}
            return _http(json.dumps({"code": 200, "message": "success", "data": data}).encode())
        _, found, task_id = target.partition(b"task_id=")
        if not found:
            return self._reset(int(target.rpartition(b"=")[2]))
        self.requests += 1
        is_running = self.requests % self._success_every
        before, after = self._running if is_running else self._success
        return before + task_id + after

    def _reset(self, success_every: int) -> bytes:
        counted = {"requests": self.requests, "most_connections": self.most_connections}
        self.requests, self.most_connections = 0, self.connections
        self._success_every = success_every
        return _http(json.dumps(counted).encode())


class _Connection(asyncio.Protocol):
    def __init__(self, replies: _Replies) -> None:
        self._replies = replies
        self._read = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            self._transport = transport
        self._replies.connections += 1
        most = max(self._replies.most_connections, self._replies.connections)
        self._replies.most_connections = most

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio's signature)
        self._replies.connections -= 1

    def data_received(self, data: bytes) -> None:
        self._read += data
        while self._transport is not None and (end := self._read.find(b"\r\n\r\n")) >= 0:
            head, self._read = self._read[:end], self._read[end + 4 :]
            self._transport.write(self._replies.to(head))


def _http(body: bytes) -> bytes:
    head = (
        "HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Mon, 23 Nov 2026 12:00:00 GMT\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        "Connection: keep-alive\r\nX-Request-Id: 0123456789abcdef\r\n\r\n"
    )
    return head.encode() + body


def _split(record: dict[str, Any]) -> tuple[bytes, bytes]:
    envelope = {"code": 200, "message": "success", "data": record}
    before, _, after = _http(json.dumps(envelope).encode()).partition(_ID.encode())
    return before, after


async def _serve() -> None:
    replies = _Replies()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(replies), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    # The parent holds the other end of stdin. If the parent ends for any reason, read() returns.
    await loop.run_in_executor(None, sys.stdin.buffer.read)
    server.close()


@contextlib.contextmanager
def running_server() -> Generator[str]:
    """Run the server in a new process until the block ends. Yield its base URL."""
    command = [sys.executable, "-m", "benchmarks.cost.server"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:  # noqa: S603 (this very module)
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the server has no pipes")
        port = int(process.stdout.readline())
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.stdin.close()


if __name__ == "__main__":
    asyncio.run(_serve())
