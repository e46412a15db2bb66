"""Connections to file hosts: redirects, refused addresses, proxies and private certificates."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from yarl import URL

from suno_async import ClientClosedError, DownloadError, NotSentError, SunoClient, UploadError
from suno_async.files import transfers
from suno_async.files.connections import Connections
from suno_async.sandbox import KEY
from tests.file_host import FileHost, song
from tests.hostile import response, serving

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

#: A base URL that no test contacts.
ELSEWHERE = "https://api.example"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unset the environment variables that configure proxies."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@contextlib.contextmanager
def names_resolve(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> Any:  # noqa: ANN401 (a context)
    """Within a ``with`` block, resolve all host names that end in ``.test`` to `addresses`."""
    real = socket.getaddrinfo

    def resolve(name: Any, port: Any, *args: Any, **options: Any) -> Any:  # noqa: ANN401 (passed on)
        is_ours = isinstance(name, str) and name.rstrip(".").endswith(".test")
        found = [real(each, port, *args, **options) for each in (addresses if is_ours else [name])]
        return [info for each in found for info in each]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    yield
    monkeypatch.setattr(socket, "getaddrinfo", real)


SPELLINGS = [
    *("127.0.0.1", "127.1", "0x7f000001", "2130706433", "0177.0.0.1", "0", "0.0.0.0"),  # noqa: S104 (an address to refuse)
    *("localhost", "localhost.", "[::1]", "[::ffff:127.0.0.1]", "[::]", "loopback.test"),
]


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_loopback(
    host: FileHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spelling: str, scheme: str
) -> None:
    """By default, a download never connects to a loopback address, whatever its spelling."""
    url = f"{scheme}://{spelling}:{host.url.rpartition(':')[2]}/x.mp3"
    connections = 0
    connect = asyncio.get_running_loop().sock_connect

    async def counted(*args: Any) -> None:  # noqa: ANN401 (passed on)
        nonlocal connections
        connections += 1
        await connect(*args)

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", counted)
    with names_resolve(monkeypatch, "127.0.0.1"):
        async with SunoClient(KEY, base_url=ELSEWHERE) as suno:
            with pytest.raises(DownloadError, match=r"allow_hosts|https"):
                await suno.download(url, tmp_path)
    assert (connections, host.requests) == (0, [])


async def test_rebinding(host: FileHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a host name has public and private addresses, downloads use only the public addresses."""
    port = host.url.rpartition(":")[2]
    tried: list[str] = []

    async def unreachable(_socket: object, address: tuple[str, int]) -> None:
        tried.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", unreachable)
    with names_resolve(monkeypatch, "8.8.8.8", "127.0.0.1", "::1", "169.254.169.254"):
        async with SunoClient(KEY, base_url=ELSEWHERE) as suno:
            with pytest.raises(DownloadError, match="is not public; see allow_hosts"):
                await suno.download(f"https://rebinding.test:{port}/x.mp3", tmp_path)
    assert tried == ["8.8.8.8"]
    assert host.requests == []


async def test_redirects(host: FileHost, tmp_path: Path) -> None:
    """A download follows redirects only to allowed hosts, and fails after ten redirects."""
    port = host.url.rpartition(":")[2]
    host.locations = {
        "/1": "/2",
        "/2": f"{host.url}/x.mp3",
        "/loop": "/loop",
        "/private": f"http://127.0.0.2:{port}/x.mp3",
        "/later": "/private",
        "/metadata": "http://169.254.169.254/latest",
        "/file": "file:///etc/passwd",
        "/broken": "http://[broken/",
    }
    async with SunoClient(KEY, base_url=host.url) as suno:
        path = await suno.download(f"{host.url}/1", tmp_path, name="x")
        assert path.read_bytes() == host.body
        reached = len(host.requests)
        for start, problem in (
            ("loop", "redirects"),
            ("private", "allow_hosts"),
            ("later", "allow_hosts"),
            ("metadata", "allow_hosts"),
            ("file", "not an http"),
            ("broken", "invalid"),
        ):
            with pytest.raises(DownloadError, match=problem):
                await suno.download(f"{host.url}/{start}", tmp_path)
    assert len([each for each in host.requests if each[":path"] == "/loop"]) == 11
    assert all(each[":path"] != "/x.mp3" for each in host.requests[reached:])


async def test_redirect_to_a_relative_url(host: FileHost, tmp_path: Path) -> None:
    """A relative redirect keeps the empty segments of the path."""
    host.locations = {"/bucket//a.mp3": "b.mp3"}
    async with SunoClient(KEY, base_url=host.url) as suno:
        await suno.download(f"{host.url}/bucket//a.mp3", tmp_path)
    assert host.requests[-1][":path"] == "/bucket//b.mp3"


@pytest.mark.parametrize(
    "url",
    ["https://user:se/cret@h/x", "https://user:se?cret@h/x", "user:secret@h/x", "https://h/?cret"],
)
async def test_secrets_in_invalid_urls(host: FileHost, url: str, tmp_path: Path) -> None:
    """The error of an invalid URL contains neither the password nor the query."""
    async with SunoClient(KEY, base_url=host.url) as suno:
        with pytest.raises(DownloadError) as raised:
            await suno.download(f"{url}\n[", tmp_path)
    assert "cret" not in str(raised.value)
    assert "user" not in str(raised.value)


async def test_allow_hosts(host: FileHost, tmp_path: Path) -> None:
    """A private host is reached if `allow_hosts` contains its address, network or name."""
    port = host.url.rpartition(":")[2]
    for count, (allowed, name) in enumerate(
        [("127.0.0.1", "127.0.0.1"), ("127.0.0.0/8", "127.0.0.1"), ("localhost", "localhost")]
    ):
        async with SunoClient(KEY, base_url=ELSEWHERE, allow_hosts=[allowed]) as suno:
            path = await suno.download(f"http://{name}:{port}/{count}.mp3", tmp_path)
            assert path.read_bytes() == host.body


async def test_injected_session(host: FileHost, tmp_path: Path) -> None:
    """A caller's own session is not used for files, because its headers may contain the key."""
    import aiohttp  # noqa: PLC0415 (only here)

    async with (
        aiohttp.ClientSession(headers={"x-api-key": KEY}) as session,
        SunoClient(KEY, base_url=host.url, session=session) as suno,
    ):
        await suno.download(f"{host.url}/x.mp3", tmp_path)
        with pytest.raises(DownloadError):
            await suno.download(host.url.replace("127.0.0.1", "127.0.0.2"), tmp_path)
    assert "x-api-key" not in host.requests[0]


class Proxy:
    """An HTTP proxy that answers every request itself and never connects to a host.

    Attributes:
        lines: The first line of each request.
        requests: The text of each request, with headers and body.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.requests: list[str] = []

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncGenerator[str]:
        """Run the proxy until the ``with`` block ends. Yield the URL of the proxy."""

        async def answer(request: bytes, writer: asyncio.StreamWriter) -> bool:
            self.requests.append(request.decode(errors="replace"))
            self.lines.append(line := self.requests[-1].partition("\r\n")[0])
            if "/upload-url" in line:
                target = {"presigned_url": "http://api.test/store", "file_url": "http://api.test/f"}
                writer.write(response(json.dumps({"code": 200, "data": target}).encode()))
            elif "balance" in line:
                writer.write(response(b'{"code": 200, "data": {"balance": 7}}'))
            else:
                writer.write(response(song(1000)))
            return not line.startswith(("CONNECT", "PUT"))

        async with serving(answer) as url:
            yield url


@pytest.mark.parametrize("where", ["argument", "environment"])
async def test_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """API calls, uploads and downloads go through the proxy. Only API calls contain the key."""
    proxy = Proxy()
    file = tmp_path / "up.mp3"
    file.write_bytes(b"song")
    async with proxy.serving() as url:
        options: dict[str, Any] = {"proxy": url.replace("//", "//me:pass@")}
        if where == "environment":
            monkeypatch.setenv("http_proxy", options["proxy"])
            monkeypatch.setenv("all_proxy", "socks5://127.0.0.1:9")
            options = {"trust_env": True}
        async with SunoClient(KEY, base_url="http://api.test", **options) as suno:
            assert await suno.balance() == 7
            await suno.upload(file)
            path = await suno.download("http://api.test/x.mp3", tmp_path)
            assert path.read_bytes() == song(1000)
            with pytest.raises(DownloadError, match="allow_hosts"):
                await suno.download("https://169.254.169.254/z.mp3", tmp_path)
            with pytest.raises(DownloadError):
                await suno.download("https://cdn.test/y.mp3", tmp_path)
    assert all("http://api.test/" in line for line in proxy.lines[:4])
    assert ["x-api-key" in each.lower() for each in proxy.requests[:4]] == [
        True,
        True,
        False,
        False,
    ]
    assert all("proxy-authorization: basic" in each.lower() for each in proxy.requests)
    tunnels = [line for line in proxy.lines if line.startswith("CONNECT")]
    assert all("cdn.test:443" in line for line in tunnels)
    assert bool(tunnels) == (where == "argument")


@pytest.mark.parametrize("proxied", [True, False])
async def test_no_passwords_from_netrc(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, proxied: bool
) -> None:
    """Even with ``trust_env=True``, no password from the netrc file is sent."""
    netrc = tmp_path / "netrc"
    netrc.write_text("default login me password secret")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    server = Proxy()
    async with server.serving() as url:
        monkeypatch.setenv("http_proxy" if proxied else "unused", url)
        host = "http://api.test" if proxied else url
        async with SunoClient(KEY, base_url=host, trust_env=True) as suno:
            assert await suno.balance() == 7
    assert "authorization" not in server.requests[0].lower()


@pytest.mark.parametrize("value", ["127.0.0.1:9", "http://[", "socks5://127.0.0.1:9"])
async def test_unusable_proxy_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    """If the variable `http_proxy` is not an http(s) URL, calls raise an error and send nothing."""
    monkeypatch.setenv("http_proxy", value)
    async with SunoClient(KEY, base_url="http://api.test", trust_env=True, retry_for=0) as suno:
        with pytest.raises(NotSentError, match=r"not an http\(s\) URL"):
            await suno.balance()
        with pytest.raises(DownloadError, match="invalid URL, proxy or reply"):
            await suno.download("http://api.test/x.mp3", tmp_path)


async def test_no_proxy(host: FileHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hosts in NO_PROXY are reached without the proxy, and their addresses are checked."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1,.test")
    async with SunoClient(KEY, base_url=host.url, trust_env=True) as suno:
        await suno.download(f"{host.url}/x.mp3", tmp_path)
        with (
            names_resolve(monkeypatch, "127.0.0.1"),
            pytest.raises(DownloadError, match="is not public; see allow_hosts"),
        ):
            await suno.download("https://direct.test/y.mp3", tmp_path)
    assert len(host.requests) == 1


def certificate(directory: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Create a certificate for a server.

    Return the TLS contexts of the server and of a client that trusts the certificate.
    """
    key, cert = directory / "key.pem", directory / "cert.pem"
    subprocess.run(  # noqa: S603 (fixed words)
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"),
            *("-keyout", str(key), "-out", str(cert)),
        ],
        check=True,
        capture_output=True,
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(cert, key)
    return server, ssl.create_default_context(cafile=str(cert))


async def test_private_ca(tmp_path: Path) -> None:
    """API calls, uploads and downloads use the TLS context in the client's argument `ssl`."""
    served, trusting = await asyncio.to_thread(certificate, tmp_path)
    requests: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            requests.append(request := await reader.readuntil(b"\r\n\r\n"))
            body = song(1000)
            if b"/upload-url" in request:
                target = {"presigned_url": f"{url}/store", "file_url": f"{url}/f"}
                body = json.dumps({"code": 200, "data": target}).encode()
            elif b"balance" in request:
                body = b'{"code": 200, "data": {"balance": 7}}'
            elif request.startswith(b"PUT"):
                await reader.readexactly(4)
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            writer.write(head.encode() + body)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=served)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    file = tmp_path / "up.mp3"
    file.write_bytes(b"song")
    async with SunoClient(KEY, base_url=url, ssl=trusting) as suno:
        assert await suno.balance() == 7
        await suno.upload(file)
        await suno.download(f"{url}/x.mp3", tmp_path)
    count = len(requests)
    async with SunoClient(KEY, base_url=url, retry_for=0) as suno:
        with pytest.raises(DownloadError, match="Certificate"):
            await suno.download(f"{url}/y.mp3", tmp_path)
    assert len(requests) == count == 4
    server.close()


async def test_downgrade(tmp_path: Path) -> None:
    """A redirect from https to http is refused, even to an allowed host."""
    served, trusting = await asyncio.to_thread(certificate, tmp_path)
    async with FileHost().serving() as plain:

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            head = f"HTTP/1.1 302 X\r\nLocation: {plain.url}/x.mp3\r\nContent-Length: 0\r\n\r\n"
            writer.write(head.encode())
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=served)
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with SunoClient(
            KEY, base_url=ELSEWHERE, ssl=trusting, allow_hosts=["127.0.0.1"]
        ) as suno:
            with pytest.raises(DownloadError, match="not secure"):
                await suno.download(f"{url}/x.mp3", tmp_path)
        server.close()
        assert plain.requests == []


@pytest.mark.parametrize(
    ("place", "problem"),
    [
        ("https://127.0.0.2/store", "allow_hosts"),
        ("https://private.test/store", "allow_hosts"),
        ("https://[::1/store", "invalid URL"),
        ("https://a..b/store", "invalid URL"),
    ],
)
async def test_uploads_to_refused_addresses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, problem: str
) -> None:
    """If the API names a private address or an invalid URL for an upload, it fails at once."""
    monkeypatch.setattr(transfers, "PAUSE", 1000.0)
    file = tmp_path / "up.mp3"
    file.write_bytes(b"song")
    target = {"presigned_url": place, "file_url": "https://127.0.0.2/f"}

    async def answer(_request: bytes, writer: asyncio.StreamWriter) -> bool:
        writer.write(response(json.dumps({"code": 200, "data": target}).encode()))
        return True

    async with serving(answer) as url, SunoClient(KEY, base_url=url) as suno:
        with (
            names_resolve(monkeypatch, "127.0.0.1"),
            pytest.raises(UploadError, match=problem),
        ):
            await suno.upload(file)


@pytest.mark.parametrize("used", [True, False])
async def test_requests_after_close(host: FileHost, *, used: bool) -> None:
    """A request that starts after `close` raises an error, and opens no new session."""
    connections = Connections(api=URL(host.url))
    if used:
        async with connections.get(URL(host.url), {}):
            pass
    await connections.close()
    with pytest.raises(ClientClosedError):
        async with connections.get(URL(host.url), {}):
            pass
