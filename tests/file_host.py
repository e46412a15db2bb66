"""A file server for tests. It can cut connections, change files and send wrong headers."""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import TYPE_CHECKING

import msgspec

from suno_async._protocol.requests import TASK_INFO

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from suno_async import TaskInfo

_RANGE = re.compile(r"bytes=(\d+)-")


def song(size: int = 300_000) -> bytes:
    """Return `size` bytes that start like an MP3 file."""
    # 251 is prime, so neighbouring blocks of 2**n bytes differ.
    return (b"ID3" + bytes(range(251)) * (size // 251 + 1))[:size]


def record_path(task_id: str = "t") -> str:
    """Return the path and the query of a request for a task record."""
    return f"{TASK_INFO}?task_id={task_id}"


def names_in(directory: Path) -> list[str]:
    """Return the relative paths of all files below a directory, including incomplete downloads."""
    files = (each for each in directory.rglob("*") if each.is_file())
    return sorted(each.relative_to(directory).as_posix() for each in files)


class FileHost:
    """An HTTP server. By default, it sends the same file for every path.

    Attributes:
        body: The content of the file.
        bodies: Paths whose content is not `body`: path → content.
        headers: Headers that are added to every reply, except to redirects.
        ranges: Whether the server supports Range requests.
        cuts: For each of the next successful replies, in order: the number of bytes after which its
            body breaks off.
        statuses: The statuses of the next replies. Later replies have the status 200, or 206 for a
            supported range.
        paths: Paths with a fixed status: path → status. They override `statuses`.
        locations: Paths that are redirected: path → target URL.
        requests: The headers of each request, with names in lower case. ``:path`` is the path.
        arrived: An event that is set when the first request arrives.
        hold: Event or None. Each reply pauses after 1000 bytes of its body until the event is set.
        chunked: Whether the body is sent as one chunk, without Content-Length.
        url: The URL of the server.
    """

    def __init__(self, body: bytes | None = None) -> None:
        self.body = song() if body is None else body
        self.bodies: dict[str, bytes] = {}
        self.headers: dict[str, str] = {"ETag": '"1"'}
        self.ranges = True
        self.cuts: list[int] = []
        self.statuses: list[int] = []
        self.paths: dict[str, int] = {}
        self.locations: dict[str, str] = {}
        self.requests: list[dict[str, str]] = []
        self.arrived = asyncio.Event()
        self.hold: asyncio.Event | None = None
        self.chunked = False
        self.url = ""

    def serve_record(self, info: TaskInfo) -> None:
        """From now on, serve a task record with the status, the songs and the media in `info`."""
        data = {
            "task_id": info.task_id,
            "status": info.status.value,
            "result": {
                "suno_data": [msgspec.to_builtins(track) for track in info.tracks],
                "media_urls": info.media_urls,
                "media_info": info.media_info,
            },
        }
        self.bodies[record_path(info.task_id)] = msgspec.json.encode({"code": 200, "data": data})

    @property
    def ranges_asked(self) -> list[str | None]:
        """The Range header of each request; None for a request without this header."""
        return [each.get("range") for each in self.requests]

    @contextlib.asynccontextmanager
    async def serving(self, host: str = "127.0.0.1") -> AsyncGenerator[FileHost]:
        """Run the server until the ``with`` block ends. Yield this object."""
        server = await asyncio.start_server(self._serve, host, 0)
        self.url = f"http://{host}:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {
                name.lower(): value
                for name, _, value in (line.partition(": ") for line in lines[1:] if line)
            }
            headers[":path"] = lines[0].split()[1]
            self.requests.append(headers)
            self.arrived.set()
            await self._answer(headers, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _answer(self, request: dict[str, str], writer: asyncio.StreamWriter) -> None:
        status = self.statuses.pop(0) if self.statuses else 200
        status = self.paths.get(request[":path"], status)
        body = self.bodies.get(request[":path"], self.body)
        start, fields = 0, dict(self.headers)
        if request[":path"] in self.locations:
            status, fields = 302, {"Location": self.locations[request[":path"]]}
        match = _RANGE.fullmatch(request.get("range", ""))
        if status == 200 and self.ranges and match and self._is_current(request.get("if-range")):
            status, start = 206, int(match[1])
            fields["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        rest = body[start:] if status in {200, 206} else b"refused"
        fields |= (
            {"Transfer-Encoding": "chunked"} if self.chunked else {"Content-Length": str(len(rest))}
        )
        lines = [f"HTTP/1.1 {status} X", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in fields.items()]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        if self.chunked:
            rest = b"%x\r\n%s\r\n0\r\n\r\n" % (len(rest), rest)
        if status in {200, 206} and self.cuts:
            rest = rest[: self.cuts.pop(0)]
        if self.hold is not None:
            writer.write(rest[:1000])
            await writer.drain()
            await self.hold.wait()
            rest = rest[1000:]
        writer.write(rest)
        await writer.drain()

    def _is_current(self, validator: str | None) -> bool:
        return validator in {
            None,
            self.headers.get("ETag", ""),
            self.headers.get("Last-Modified", ""),
        }
