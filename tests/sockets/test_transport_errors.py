"""Errors of requests over real sockets: proxies, damaged replies, and the options of a session."""

from __future__ import annotations

import dataclasses
import gzip
import json
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from suno_async import (
    AuthenticationError,
    ConnectionLostError,
    GenerateMusic,
    InsufficientCreditsError,
    NotSentError,
    RateLimitError,
    ResponseError,
    SunoClient,
    SunoError,
)
from suno_async.limits.local import LocalLimiter
from suno_async.sandbox import KEY, Sandbox
from tests.hostile import client, response, serving

if TYPE_CHECKING:
    import asyncio

SONG = GenerateMusic(prompt="rain", instrumental=True)
BALANCE = b'{"code": 200, "data": {"balance": 7}}'


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (401, AuthenticationError),
        (402, InsufficientCreditsError),
        (429, RateLimitError),
    ],
)
async def test_a_session_that_raises_for_error_statuses(code: int, error: type[SunoError]) -> None:
    """The errors are the same if the injected session has ``raise_for_status=True``."""

    async def answer(_request: bytes, writer: asyncio.StreamWriter) -> bool:
        body = json.dumps({"code": code, "message": "no", "data": None}).encode()
        writer.write(response(body, "Retry-After: 30", status=f"{code} No"))
        return True

    async with (
        serving(answer) as url,
        aiohttp.ClientSession(raise_for_status=True) as session,
        SunoClient(KEY, base_url=url, session=session, retry_for=0) as suno,
    ):
        with pytest.raises(error):
            await suno.create(SONG)
        assert suno.statistics().rate_limited == (code == 429)


async def test_a_session_that_does_not_decompress() -> None:
    """A compressed reply is read even if the injected session has ``auto_decompress=False``."""

    async def answer(_request: bytes, writer: asyncio.StreamWriter) -> bool:
        writer.write(response(gzip.compress(BALANCE), "Content-Encoding: gzip"))
        return True

    async with (
        serving(answer) as url,
        aiohttp.ClientSession(auto_decompress=False) as session,
        SunoClient(KEY, base_url=url, session=session, retry_for=0) as suno,
    ):
        assert await suno.balance() == 7


async def test_a_proxy_that_refuses() -> None:
    """If the proxy refuses a connection, a create raises `NotSentError` with the HTTP status."""
    requests: list[bytes] = []

    async def answer(request: bytes, writer: asyncio.StreamWriter) -> bool:
        requests.append(request)
        writer.write(response(b"", status="407 Proxy Authentication Required"))
        return True

    async with serving(answer) as proxy:
        host = "https://api.example"
        async with SunoClient(KEY, base_url=host, proxy=proxy, retry_for=0) as suno:
            with pytest.raises(NotSentError, match=r"proxy refused .*api\.example.*407"):
                await suno.create(SONG)
            assert suno.statistics().requests == 0
    assert [each.split()[0] for each in requests] == [b"CONNECT"]


async def test_a_proxy_that_cannot_be_reached() -> None:
    """If the proxy cannot be reached, the error names the proxy."""
    suno = SunoClient(KEY, proxy="http://me:secret@127.0.0.1:9", retry_for=0)
    async with suno:
        with pytest.raises(NotSentError, match=r"to the proxy 127\.0\.0\.1:9 ") as caught:
            await suno.create(SONG)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "reply", [b"hello\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"]
)
async def test_a_reply_that_is_not_valid_http(reply: bytes) -> None:
    """The error of a reply that is not valid HTTP has the status 0."""

    async def answer(_request: bytes, writer: asyncio.StreamWriter) -> bool:
        writer.write(reply)
        return False

    async with serving(answer) as url, client(url) as suno:
        with pytest.raises(ResponseError, match="not valid HTTP") as caught:
            await suno.balance()
    assert caught.value.status == 0


async def test_a_damaged_body() -> None:
    """If a body cannot be decompressed, the error says that the reply is damaged."""

    async def answer(_request: bytes, writer: asyncio.StreamWriter) -> bool:
        writer.write(response(BALANCE, "Content-Encoding: gzip"))
        return True

    async with serving(answer) as url, client(url) as suno:
        with pytest.raises(ConnectionLostError, match="incomplete or damaged"):
            await suno.balance()


@dataclasses.dataclass(slots=True)
class SlottedPermit:
    """A permit of a limiter that is not part of the library. No weak reference to it is possible.

    Attributes:
        sent_at: 1.0 if the request was sent; None if not.
    """

    sent_at: float | None = None

    def sent(self) -> None:
        """Record that the request is being sent."""
        self.sent_at = 1.0

    def answered(self) -> None:
        """Do nothing."""

    def cancel(self) -> None:
        """Do nothing."""


async def test_a_permit_with_slots() -> None:
    """A limiter can return any object with the methods of `Permit`."""

    class Slotted(LocalLimiter):
        async def acquire(self, give_up_at: float | None = None) -> Any:  # noqa: ANN401 (not a LocalPermit)
            await super().acquire(give_up_at)
            permits.append(SlottedPermit())
            return permits[-1]

    permits: list[SlottedPermit] = []
    async with (
        Sandbox() as sandbox,
        SunoClient(sandbox.key, base_url=sandbox.url, limiter=Slotted()) as suno,
    ):
        assert await suno.balance() > 0
    assert permits[-1].sent_at == 1.0
