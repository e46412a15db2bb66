"""A proxy that breaks connections at any point of an exchange and in several ways.

An *exchange* is one request and its reply. Which exchanges break depends on the seed and the
requests, but not on time.
"""

from __future__ import annotations

import asyncio
import enum
import json
import random
import re
import socket
import struct
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple, Self

from yarl import URL

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Point(enum.Enum):
    """Where in an exchange the connection breaks."""

    BEFORE = "before the request"
    REQUEST = "in the request"
    REPLY = "in the reply"


class Extent(enum.Enum):
    """How much of the request or the reply is forwarded before the connection breaks."""

    NONE = 0
    PART = 1
    WHOLE = 2


class How(enum.Enum):
    """How the connection breaks: it is closed, it is reset, or it stays open without data."""

    CUT = "FIN"
    RESET = "RST"
    STALL = "nothing"


class Fate(NamedTuple):
    """How one exchange (a request and its reply) breaks."""

    point: Point
    extent: Extent
    how: How


class _End:
    """One connection of the proxy, to a client or to the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def receive(self) -> bytes:
        """Return one whole HTTP message."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(head)
        return head + await self._reader.readexactly(int(length[1]) if length else 0)

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def swallow(self) -> None:
        while await self._reader.read(65536):
            pass

    def close(self, how: How) -> None:
        if how is How.RESET:
            # With a linger of zero seconds the kernel sends RST instead of FIN.
            sock: socket.socket = self._writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._writer.transport.abort()
        else:
            self._writer.close()


class ChaosProxy:
    """Forwards HTTP/1.1, but breaks the connection of some exchanges.

    Args:
        url: The server to forward to.
        seed: Seed of all random draws.
        breaks: Share of the exchanges that break. One third of the breaks happen before the request
            is received.
        refusals: HTTP status → share of the POST requests that the proxy refuses with this status.
        retry_after: Value of the header Retry-After of these refusals, in seconds.
        stall: How many seconds a connection that breaks with `How.STALL` stays open without data.
        idle: How many seconds the proxy waits for the next request on a connection.
        outages: Position of a connection (the first is 1) → how many seconds the port is closed
            after the proxy has accepted this connection.

    Attributes:
        url: The URL on which the proxy listens.
        arrived: The body of each POST that reached the proxy, forwarded or not.
        broken: For each `Fate`, the number of exchanges that broke in this way.
        refused: For each HTTP status, the number of requests that the proxy refused.
        connections: Number of connections that the proxy accepted.
    """

    def __init__(  # noqa: PLR0913 (the settings of a test tool)
        self,
        url: str,
        *,
        seed: int = 0,
        breaks: float = 0.0,
        refusals: Mapping[int, float] | None = None,
        retry_after: float = 0.05,
        stall: float = 1.0,
        idle: float = 60.0,
        outages: Mapping[int, float] | None = None,
    ) -> None:
        self._to = URL(url)
        self._seed = seed
        self._breaks = breaks
        self._refusals = refusals or {}
        self._retry_after = retry_after
        self._stall = stall
        self._idle = idle
        self._outages = outages or {}
        self._port = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._asked: Counter[bytes] = Counter()
        self.url = ""
        self.arrived: list[bytes] = []
        self.broken: Counter[Fate] = Counter()
        self.refused: Counter[int] = Counter()
        self.connections = 0

    async def __aenter__(self) -> Self:
        listener = self._listen()
        self.url = f"http://127.0.0.1:{self._port}"
        self._accepting = asyncio.create_task(self._accept(listener))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Let each task start. A task that is cancelled before its first step closes no connection.
        await asyncio.sleep(0)
        tasks = [self._accepting, *self._tasks]
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        for each in ended:
            if isinstance(each, Exception):
                raise each

    def _listen(self) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", self._port))
        listener.settimeout(0)
        self._port = listener.getsockname()[1]
        return listener

    async def _accept(self, listener: socket.socket) -> None:
        # asyncio's own server leaks a connection that it accepts while it is being closed.
        loop = asyncio.get_running_loop()
        try:
            while True:
                connection, _ = await loop.sock_accept(listener)
                client = _End(*await asyncio.open_connection(sock=connection))
                self.connections += 1
                self._keep(asyncio.create_task(self._carry(client, self.connections)))
                if (seconds := self._outages.get(self.connections)) is not None:
                    listener.close()
                    await asyncio.sleep(seconds)
                    listener = self._listen()
        finally:
            listener.close()

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, client: _End, number: int) -> None:
        ends, how = [client], How.CUT
        try:
            how = await self._exchanges(client, number, ends)
            if how is How.STALL:
                async with asyncio.timeout(self._stall):
                    await client.swallow()
        except (EOFError, OSError):
            # One side closed its connection, or timed out. All connections are closed below.
            pass
        finally:
            for end in ends:
                end.close(how)

    async def _exchanges(self, client: _End, number: int, ends: list[_End]) -> How:
        """Forward exchanges until one breaks. Return how this exchange broke."""
        server, idle, turn = None, None, 0
        while True:
            turn += 1
            draw = random.Random(f"{self._seed} connection {number} {turn}")
            if draw.random() < self._breaks / 3:
                return self._break(Fate(Point.BEFORE, Extent.NONE, draw.choice(list(How))))
            async with asyncio.timeout(idle):
                request = await client.receive()
            idle = self._idle
            draw = self.draw_for(request)
            if request.startswith(b"POST"):
                self.arrived.append(request.partition(b"\r\n\r\n")[2])
                if (refusal := self._refusal(draw)) is not None:
                    await client.send(refusal)
                    continue
            fate = self.fate(draw)
            if server is None:
                server = _End(*await asyncio.open_connection(self._to.host, self._to.port))
                ends.append(server)
            if fate is not None and fate.point is Point.REQUEST:
                await server.send(_cut(request, fate.extent, draw))
                return self._break(fate)
            await server.send(request)
            reply = await server.receive()
            if fate is not None:
                await client.send(_cut(reply, fate.extent, draw))
                return self._break(fate)
            await client.send(reply)

    def draw_for(self, request: bytes) -> random.Random:
        """Return a random generator for a request.

        Its seed depends on the request and on how often the same request has arrived before.
        """
        head, _, body = request.partition(b"\r\n\r\n")
        # Headers are left out, because they contain the port, which changes from run to run.
        asked = head.partition(b"\r\n")[0] + b" " + body
        self._asked[asked] += 1
        return random.Random(b"%d %d " % (self._seed, self._asked[asked]) + asked)

    def fate(self, draw: random.Random) -> Fate | None:
        """Decide at random how an exchange breaks. Return None if it does not break."""
        if draw.random() >= self._breaks * 2 / 3:
            return None
        point = draw.choice([Point.REQUEST, Point.REPLY])
        return Fate(point, draw.choice(list(Extent)), draw.choice(list(How)))

    def _break(self, fate: Fate) -> How:
        self.broken[fate] += 1
        return fate.how

    def _refusal(self, draw: random.Random) -> bytes | None:
        drawn = draw.random()
        for code, share in self._refusals.items():
            if drawn < share:
                self.refused[code] += 1
                body = json.dumps({"code": code, "message": "refused by the proxy"}).encode()
                return (
                    f"HTTP/1.1 {code} Refused\r\nContent-Type: application/json\r\n"
                    f"Retry-After: {self._retry_after}\r\nContent-Length: {len(body)}\r\n\r\n"
                ).encode() + body
            drawn -= share
        return None


def _cut(message: bytes, extent: Extent, draw: random.Random) -> bytes:
    part = draw.randrange(1, len(message))
    return message[: (0, part, len(message))[extent.value]]
