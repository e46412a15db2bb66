"""Check that downloads cannot reach a loopback server.

Some URLs contain the server's address in an unusual spelling. Some URLs redirect to the server.
Other URLs contain a host name whose address changes to the server's address.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Any

from suno_async import DownloadError, SunoClient
from suno_async.files import transfers

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

#: Spellings of loopback. This program resolves the names under ``.test``. ``127.0.0.1.nip.test``
#: imitates the names of public DNS services that resolve to the address in the name.
SPELLINGS = (
    *("127.0.0.1", "127.1", "0x7f000001", "2130706433", "0177.0.0.1", "0", "0.0.0.0"),  # noqa: S104 (must be refused)
    *("[::1]", "[::ffff:127.0.0.1]", "localhost", "localhost.", "127.0.0.1.nip.test"),
)

#: A public address, for the name whose address changes. This program refuses connections to it.
PUBLIC = "8.8.8.8"


@contextlib.contextmanager
def scripted_names(answers: dict[str, list[list[str]]]) -> Generator[None]:
    """Replace the results of name lookups within the ``with`` block.

    For each name, `answers` contains one list of addresses per lookup. All further lookups of the
    name return its last list. Names that are not in `answers` are resolved as usual.
    """
    real = socket.getaddrinfo

    def resolve(name: Any, port: Any, *args: Any, **options: Any) -> Any:  # noqa: ANN401 (passed on)
        script = answers.get(str(name).rstrip("."))
        if script is None:
            return real(name, port, *args, **options)
        found = script.pop(0) if len(script) > 1 else script[0]
        return [info for each in found for info in real(each, port, *args, **options)]

    socket.getaddrinfo = resolve  # type: ignore[assignment]
    try:
        yield
    finally:
        socket.getaddrinfo = real


async def _attack(directory: Path) -> tuple[int, int, list[str]]:
    reached: list[str] = []
    redirects = 0

    async def canary(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.append(current)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nID3!")
        writer.close()

    async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal redirects
        redirects += 1
        path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
        head = f"HTTP/1.1 302 X\r\nLocation: {path[1:]}\r\nContent-Length: 0\r\n\r\n"
        writer.write(head.encode())
        writer.close()

    servers = [await asyncio.start_server(canary, "127.0.0.1", 0)]
    port: int = servers[0].sockets[0].getsockname()[1]
    with contextlib.suppress(OSError):
        servers.append(await asyncio.start_server(canary, "::1", port))
    servers.append(await asyncio.start_server(redirect, "127.0.0.1", 0))
    redirector = f"http://redirector.test:{servers[-1].sockets[0].getsockname()[1]}"
    targets = [f"{scheme}://{each}:{port}/" for scheme in ("http", "https") for each in SPELLINGS]
    urls = [f"{url}x.mp3" for url in targets]
    urls += [f"{redirector}/{url}x.mp3" for url in targets]
    urls += [f"https://rebinding.test:{port}/x.mp3"] * 3
    tried, refused = len(urls), 0
    loop = asyncio.get_running_loop()
    connect = loop.sock_connect

    async def no_outside(handle: socket.socket, address: Any) -> None:  # noqa: ANN401 (passed on)
        if address[0] == PUBLIC:
            raise ConnectionRefusedError
        await connect(handle, address)

    loop.sock_connect = no_outside  # type: ignore[method-assign, assignment]
    names = {
        "127.0.0.1.nip.test": [["127.0.0.1"]],
        "redirector.test": [["127.0.0.1"]],
        "rebinding.test": [[PUBLIC], [PUBLIC, "127.0.0.1"], ["127.0.0.1"]],
    }
    with scripted_names(names):
        for number, url in enumerate(urls):
            current = url
            # A new client for each URL: a cached address must not hide a change of the address.
            async with SunoClient(
                "key", base_url="https://api.test", allow_hosts=["redirector.test"]
            ) as suno:
                try:
                    await suno.download(url, directory, name=f"{number}")
                except DownloadError:
                    refused += 1
    for server in servers:
        server.close()
    if redirects != len(targets) or refused != tried:
        raise RuntimeError(
            f"{redirects} redirects, not {len(targets)}; {refused} errors, not {tried}"
        )
    return tried, redirects, reached


def measure_addresses(directory: Path, quick: bool) -> bool:  # noqa: ARG001, FBT001 (a table of functions)
    """Try to download from URLs that lead to a loopback server. Print how many reached it.

    Return True if the downloads are safe: no URL reached the server, and no file was saved.
    """
    transfers.PAUSE = 0.0
    tried, redirects, reached = asyncio.run(_attack(directory))
    left = len(list(directory.iterdir()))
    print(f"URLs tried      {tried}: {len(SPELLINGS)} spellings, with and without TLS")
    print(f"                {redirects} of them redirected, 3 with a name whose address changes")
    print(f"reached         {len(reached)} {reached}")
    print(f"files left      {left}")
    return not reached and not left
