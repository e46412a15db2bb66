"""A proxy that breaks connections at any point of an exchange, in any of the ways they break."""

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
    """Where in an exchange its connection breaks."""

    BEFORE = "before the request"
    REQUEST = "in the request"
    REPLY = "in the reply"


class Extent(enum.Enum):
    """How much of that message was passed on."""

    NONE = 0
    PART = 1
    WHOLE = 2


class How(enum.Enum):
    """How it breaks."""

    CUT = "FIN"
    RESET = "RST"
    STALL = "nothing"


class Fate(NamedTuple):
    """What becomes of one exchange."""

    point: Point
    extent: Extent
    how: How


class _End:
    """One side's connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def receive(self) -> bytes:
        """One whole message: a head and what its Content-Length tells."""
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
            # A linger of no time makes the kernel send RST where it would send FIN.
            sock: socket.socket = self._writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._writer.transport.abort()
        else:
            self._writer.close()


class ChaosProxy:
    """Passes HTTP/1.1 on, or breaks the connection, exchange by exchange.

    Args:
        url: Where to pass it on to.
        seed: Draws the fates.
        breaks: Share of the exchanges in which the connection breaks.
        refusals: Code: share of the POSTs that the proxy answers so itself, as the API would.
        retry_after: Seconds that a refusal tells to wait.
        stall: Seconds for which a connection that stalls stays open.
        idle: Seconds after its last exchange at which a kept connection is closed.
        outages: Which connection, by number, is the last before the port is closed, for how many
            seconds.

    Attributes:
        url: Where it listens.
        arrived: The body of each POST that reached the proxy, passed on or not.
        broken: How many exchanges broke, by fate.
        refused: How many the proxy refused, by code.
        connections: How many were accepted.
    """

    def __init__(  # noqa: PLR0913 (a test bench has many screws)
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
        self._random = random.Random(seed)
        self._breaks = breaks
        self._refusals = refusals or {}
        self._retry_after = retry_after
        self._stall = stall
        self._idle = idle
        self._outages = outages or {}
        self._port = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.url = ""
        self.arrived: list[bytes] = []
        self.broken: Counter[Fate] = Counter()
        self.refused: Counter[int] = Counter()
        self.connections = 0

    async def __aenter__(self) -> Self:
        await self._listen()
        self.url = f"http://127.0.0.1:{self._port}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._server is not None:
            self._server.close()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._keep(asyncio.create_task(self._carry(_End(reader, writer))))
        if (seconds := self._outages.get(self.connections)) is not None:
            self._keep(asyncio.create_task(self._be_down(seconds)))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _be_down(self, seconds: float) -> None:
        if self._server is not None:
            self._server.close()
        await asyncio.sleep(seconds)
        await self._listen()

    async def _carry(self, client: _End) -> None:
        ends, how = [client], How.CUT
        try:
            how = await self._exchanges(client, ends)
            if how is How.STALL:
                async with asyncio.timeout(self._stall):
                    await client.swallow()
        except (EOFError, OSError):
            # One side left, or (a TimeoutError) was given up: the other has nobody to talk to.
            pass
        finally:
            for end in ends:
                end.close(how)

    async def _exchanges(self, client: _End, ends: list[_End]) -> How:
        """Carry exchanges until one breaks. Who opens a connection for it adds it to `ends`."""
        server, idle = None, None
        while True:
            fate = self._draw()
            if fate is not None and fate.point is Point.BEFORE:
                return self._break(fate)
            async with asyncio.timeout(idle):
                request = await client.receive()
            idle = self._idle
            if request.startswith(b"POST"):
                self.arrived.append(request.partition(b"\r\n\r\n")[2])
                if (refusal := self._refusal()) is not None:
                    await client.send(refusal)
                    continue
            if server is None:
                server = _End(*await asyncio.open_connection(self._to.host, self._to.port))
                ends.append(server)
            if fate is not None and fate.point is Point.REQUEST:
                await server.send(self._cut(request, fate.extent))
                return self._break(fate)
            await server.send(request)
            reply = await server.receive()
            if fate is not None:
                await client.send(self._cut(reply, fate.extent))
                return self._break(fate)
            await client.send(reply)

    def _draw(self) -> Fate | None:
        if self._random.random() >= self._breaks:
            return None
        choice = self._random.choice
        point = choice(list(Point))
        extent = Extent.NONE if point is Point.BEFORE else choice(list(Extent))
        return Fate(point, extent, choice(list(How)))

    def _cut(self, message: bytes, extent: Extent) -> bytes:
        part = self._random.randrange(1, len(message))
        return message[: (0, part, len(message))[extent.value]]

    def _break(self, fate: Fate) -> How:
        self.broken[fate] += 1
        return fate.how

    def _refusal(self) -> bytes | None:
        drawn = self._random.random()
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
