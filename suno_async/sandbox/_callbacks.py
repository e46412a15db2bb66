"""Callbacks: POST requests that report the end of a job."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING

import aiohttp
import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds to wait for the reply to a callback. The value is a guess (API contract, "Callbacks").
TIMEOUT = 15.0


class Callbacks:
    """Sends one POST request for each ended job with a callback URL. It does not repeat a request.

    Attributes:
        delivered: Number of POSTs that were acknowledged with HTTP 200.
    """

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._posts: set[asyncio.Task[None]] = set()
        self._timers: set[asyncio.TimerHandle] = set()
        self.delivered = 0

    def post_later(self, seconds: float, url: str, body: Callable[[], object]) -> None:
        """After `seconds`, call `body` and POST its result to `url` as JSON."""

        def start() -> None:
            self._timers.discard(timer)
            post = loop.create_task(self._post(url, msgspec.json.encode(body())))
            self._posts.add(post)
            post.add_done_callback(self._posts.discard)

        loop = asyncio.get_running_loop()
        timer = loop.call_later(seconds, start)
        self._timers.add(timer)

    async def wait(self) -> None:
        """Wait for the POSTs in flight. Do not wait for scheduled POSTs."""
        await asyncio.gather(*self._posts)

    async def close(self) -> None:
        """Cancel the POSTs that are scheduled or in flight."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        for post in self._posts:
            post.cancel()
        await asyncio.gather(*self._posts, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _post(self, url: str, body: bytes) -> None:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=TIMEOUT)
            self._session = aiohttp.ClientSession(timeout=timeout)
        try:
            async with self._session.post(
                url, data=body, headers={"Content-Type": "application/json"}
            ) as response:
                self.delivered += response.status == HTTPStatus.OK
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return
