"""Requests over real sockets: counting sent requests, and reading replies.

The *hook* is a function that aiohttp calls when it is about to send the headers of a request.
"""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import TYPE_CHECKING

import aiohttp
import pytest

from suno_async import (
    AuthenticationError,
    ClientClosedError,
    CreateOutcomeUnknownError,
    Creation,
    GenerateMusic,
    NotSentError,
    PersonaCreation,
    PollPolicy,
    ResponseError,
    SunoClient,
)
from suno_async._protocol.requests import balance_request, create_request, task_info_request
from suno_async._transport.account import Credentials
from suno_async._transport.http import MOST_BYTES, HttpSender
from suno_async.files.connections import Network
from suno_async.limits.local import LocalLimiter
from suno_async.sandbox import KEY, Sandbox
from tests.hostile import client, response, serving

if TYPE_CHECKING:
    from pathlib import Path

    from yarl import URL

SONG = GenerateMusic(prompt="rain", instrumental=True)
BALANCE = response(b'{"code": 200, "data": {"balance": 7}}')


async def test_the_hook_fires_when_a_request_leaves() -> None:
    """When a request reaches the server, its permit is already marked as sent."""
    arrived = asyncio.Event()

    async def answer(_request: bytes, _writer: asyncio.StreamWriter) -> bool:
        arrived.set()
        await asyncio.Event().wait()
        return False

    async with serving(answer) as url:
        credentials = Credentials(KEY, url)
        sender = HttpSender(credentials, limiter := LocalLimiter(), None, 5.0)
        permit = await limiter.acquire()
        asking = asyncio.ensure_future(sender.send(balance_request(), permit))
        await arrived.wait()
        assert permit.sent_at is not None
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await sender.close()


@pytest.mark.parametrize(
    ("task_id", "query"),
    [
        ("d6956973-2f17-43d4-8514-af6cc3a2f55d", b"d6956973-2f17-43d4-8514-af6cc3a2f55d"),
        ("a b&c=%2F+#d", b"a+b%26c%3D%252F%2B%23d"),
    ],
)
async def test_the_query_and_the_content_type(task_id: str, query: bytes) -> None:
    """The values of a query are escaped, and only a request with a body has a content type."""
    requests: list[bytes] = []

    async def answer(request: bytes, writer: asyncio.StreamWriter) -> bool:
        requests.append(request)
        writer.write(BALANCE)
        return False

    async with serving(answer) as url:
        sender = HttpSender(Credentials(KEY, url), limiter := LocalLimiter(1000), None, 5.0)
        for request in (task_info_request(task_id), create_request(SONG, None)):
            await sender.send(request, await limiter.acquire())
        await sender.close()
    poll, create = requests
    assert poll.startswith(b"GET /api/v1/client/job/TaskInfo?task_id=" + query + b" HTTP/1.1\r\n")
    assert b"content-type" not in poll.lower()
    assert b"content-type: application/json\r\n" in create.lower()


async def test_a_request_that_aiohttp_sends_again_counts_again() -> None:
    """If aiohttp sends a GET again after a broken connection, the client counts two requests."""
    requests = 0

    async def answer(_request: bytes, writer: asyncio.StreamWriter) -> bool:
        nonlocal requests
        requests += 1
        if requests == 2:
            return False
        writer.write(BALANCE)
        return True

    async with serving(answer) as url, client(url) as suno:
        assert await suno.balance() == 7
        assert await suno.balance() == 7
        assert requests == 3
        assert suno.statistics().requests == 3


@pytest.mark.parametrize("injected", [False, True])
async def test_a_silent_hook_does_not_prove_anything(
    *, injected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A create request without a reply is not sent again, even if the trace hook was not called."""

    async def silent(*_: object) -> None:
        pass

    monkeypatch.setattr(HttpSender, "_on_headers", silent)
    requests = 0

    async def answer(_request: bytes, _writer: asyncio.StreamWriter) -> bool:
        nonlocal requests
        requests += 1
        return False

    session = aiohttp.ClientSession() if injected else None
    async with serving(answer) as url:
        async with SunoClient(KEY, base_url=url, session=session, retry_for=5.0) as suno:
            with pytest.raises(CreateOutcomeUnknownError):
                await suno.create(SONG)
            assert suno.statistics().requests == 1
        assert requests == 1
    if session is not None:
        await session.close()


async def test_no_connection() -> None:
    """Without a connection, a call raises a `NotSentError` that names the host."""
    async with client("http://127.0.0.1:9") as suno:
        with pytest.raises(NotSentError, match=r"127\.0\.0\.1:9"):
            await suno.create(SONG)
        with pytest.raises(NotSentError):
            await suno.balance()
        assert suno.statistics().requests == 0


def gzip_bomb() -> bytes:
    """Return a response of 200 kB that decompresses to 200 MB of spaces."""
    body = gzip.compress(b" " * 200_000_000, 9)
    return response(body, "Content-Encoding: gzip")


async def endless(_request: bytes, writer: asyncio.StreamWriter) -> bool:
    """Send a reply with a body that never ends."""
    head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    writer.write(head.encode())
    piece = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    while True:
        writer.write(piece)
        await writer.drain()


async def test_a_connection_that_is_never_ready() -> None:
    """If no connection is ready within the time limit, `create` raises `NotSentError`."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Accept the connection, but never answer the TLS handshake.
        await reader.read()
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    suno = SunoClient(KEY, base_url=f"https://{host}:{port}", request_timeout=0.5, retry_for=0)
    async with server, suno:
        with pytest.raises(NotSentError, match="could not connect"):
            await suno.create(SONG)


async def test_a_proxy_that_cannot_be_determined(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time limit of a request also applies to the lookup of its proxy."""

    async def hang(_network: Network, _url: URL) -> URL | None:
        await asyncio.Event().wait()
        return None

    monkeypatch.setattr(Network, "proxy_for", hang)
    suno = SunoClient(KEY, trust_env=True, request_timeout=0.1, retry_for=0)
    async with suno, asyncio.timeout(30):
        with pytest.raises(NotSentError, match="proxy"):
            await suno.create(SONG)


async def test_bodies_are_bounded() -> None:
    """A gzip bomb, an endless body, a huge Content-Length and a body of 2 MB raise an error."""
    bomb = gzip_bomb()

    async def explode(_request: bytes, writer: asyncio.StreamWriter) -> bool:
        writer.write(bomb)
        return True

    async def boast(_request: bytes, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9000000000\r\n\r\n{")
        await asyncio.Event().wait()
        return False

    async def exceed(_request: bytes, writer: asyncio.StreamWriter) -> bool:
        writer.write(response(b" " * 2_000_000))
        return True

    for answer in (explode, endless, boast, exceed):
        async with serving(answer) as url, client(url) as suno:
            with pytest.raises(ResponseError, match=str(MOST_BYTES)):
                await suno.balance()
            with pytest.raises(CreateOutcomeUnknownError, match=str(MOST_BYTES)):
                await suno.create(SONG)


async def test_a_compressed_reply() -> None:
    """A compressed reply is decompressed and read."""
    body = gzip.compress(b'{"code": 200, "data": {"balance": 7}}')

    async def answer(request: bytes, writer: asyncio.StreamWriter) -> bool:
        assert b"accept-encoding: gzip, deflate\r\n" in request.lower()
        writer.write(response(body, "Content-Encoding: gzip"))
        return True

    async with serving(answer) as url, client(url) as suno:
        assert await suno.balance() == 7


@pytest.mark.parametrize("method", ["create_many", "pipeline"])
async def test_streams_with_an_injected_session(method: str) -> None:
    """With an injected session, a stream does not repeat a create request that got no reply."""
    sent: list[str] = []

    async def answer(request: bytes, writer: asyncio.StreamWriter) -> bool:
        if b"TaskInfo" in request:
            task_id = request.partition(b"task_id=")[2].split()[0].decode()
            record = {"task_id": task_id, "status": "success"}
            writer.write(response(json.dumps({"code": 200, "data": record}).encode()))
            return True
        prompt = str(json.loads(request.partition(b"\r\n\r\n")[2])["input"]["prompt"])
        sent.append(prompt)
        if prompt in {"1", "4"}:
            return False
        writer.write(response(f'{{"code": 200, "data": {{"task_id": "t{prompt}"}}}}'.encode()))
        return True

    reported: list[Creation | PersonaCreation] = []
    jobs = [GenerateMusic(prompt=str(number)) for number in range(6)]
    policy = PollPolicy().scaled(1_000)
    async with aiohttp.ClientSession() as session, serving(answer) as url:
        limiter = LocalLimiter(1000)
        async with SunoClient(
            KEY,
            base_url=url,
            session=session,
            limiter=limiter,
            policy=policy,
            on_creation=reported.append,
        ) as suno:
            stream = suno.create_many(jobs) if method == "create_many" else suno.pipeline(jobs)
            errors = {each.index: each.error async for each in stream}
            granted = suno.statistics().requests
    assert sorted(sent) == ["0", "1", "2", "3", "4", "5"]
    lost = [index for index, error in errors.items() if error is not None]
    assert sorted(lost) == [1, 4]
    assert {type(errors[index]) for index in lost} == {CreateOutcomeUnknownError}
    assert sorted(each.index for each in reported) == list(range(6))
    assert granted >= 6


async def test_a_session_that_its_owner_closed() -> None:
    """If the injected session is closed, calls raise an error that names the session."""
    async with Sandbox() as sandbox, aiohttp.ClientSession() as session:
        suno = SunoClient(sandbox.key, base_url=sandbox.url, session=session)
        await session.close()
        for call in (suno.balance(), suno.create(SONG)):
            with pytest.raises(ClientClosedError, match="session"):
                await call
        await suno.close()


@pytest.mark.parametrize("code", [401, 403])
async def test_a_refused_create_raises_at_once(code: int) -> None:
    """`create` raises the error of a 401 or 403. After two such replies, it sends no request.

    The error without a request has the code of the replies.
    """
    requests = 0

    async def answer(_request: bytes, writer: asyncio.StreamWriter) -> bool:
        nonlocal requests
        requests += 1
        body = json.dumps({"code": code, "message": "API key disabled", "data": None})
        writer.write(response(body.encode(), status=f"{code} No"))
        return True

    async with serving(answer) as url, client(url) as suno:
        for _ in range(2):
            with pytest.raises(AuthenticationError, match="disabled"):
                await suno.create(SONG)
        with pytest.raises(AuthenticationError, match="not sent") as caught:
            await suno.create(SONG)
        assert requests == 2
        assert caught.value.code == code


@pytest.mark.parametrize("missing", ["estimate-credits", "EstimateTask"])
async def test_the_estimate_that_is_found_is_remembered(missing: str) -> None:
    """Calls use the estimate endpoint that exists, and try a missing endpoint at most once."""
    paths: list[str] = []

    async def answer(request: bytes, writer: asyncio.StreamWriter) -> bool:
        path = request.split()[1].decode().rsplit("/", 1)[1]
        paths.append(path)
        if path == missing:
            writer.write(response(b'{"code": 404, "message": "no such endpoint", "data": null}'))
        elif path == "EstimateTask":
            writer.write(response(b'{"code": 200, "data": {"estimated_credits": 2}}'))
        else:
            writer.write(response(b'{"code": 200, "data": {"credits": 2, "estimated": true}}'))
        return True

    async with serving(answer) as url, client(url) as suno:
        for _ in range(2):
            assert (await suno.estimate(SONG)).estimated_credits == 2
    expected = {
        "estimate-credits": ["estimate-credits", "EstimateTask", "EstimateTask"],
        "EstimateTask": ["estimate-credits", "estimate-credits"],
    }
    assert paths == expected[missing]


async def test_close_ends_downloads_and_uploads(tmp_path: Path) -> None:
    """`close` ends a hanging download and a hanging upload with `ClientClosedError`."""
    begun: list[bytes] = []

    async def answer(request: bytes, writer: asyncio.StreamWriter) -> bool:
        if b"/upload-url" in request:
            target = {"presigned_url": f"{url}/store", "file_url": f"{url}/stored"}
            writer.write(response(json.dumps({"code": 200, "data": target}).encode()))
            return True
        begun.append(request)
        if request.startswith(b"GET"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
        await writer.drain()
        await asyncio.Event().wait()
        return False

    song = tmp_path / "song.mp3"
    song.write_bytes(b"song")
    async with serving(answer) as url:
        suno = SunoClient(KEY, base_url=url)
        works = [
            asyncio.ensure_future(suno.download(f"{url}/other.mp3", tmp_path)),
            asyncio.ensure_future(suno.upload(song)),
        ]
        async with asyncio.timeout(10):
            while len(begun) < 2:  # noqa: ASYNC110 (no event to wait for)
                await asyncio.sleep(0.01)
            await suno.close()
            for work in works:
                with pytest.raises(ClientClosedError):
                    await work
    assert [each.name for each in tmp_path.iterdir()] == ["song.mp3"]  # noqa: ASYNC240 (a test)
