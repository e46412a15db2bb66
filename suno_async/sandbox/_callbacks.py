"""POSTs to the callback URLs of jobs that end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp
import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds to answer in ("sibling services want an answer within 15 s", API contract, "Callbacks").
TIMEOUT = 15.0


class Callbacks:
    """One POST for each job, at its end; never sent again.

    Attributes:
        delivered: POSTs that were answered with 2xx.
    """

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._posts: set[asyncio.Task[None]] = set()
        self._timers: list[asyncio.TimerHandle] = []
        self.delivered = 0

    def at(self, seconds: float, url: str, body: Callable[[], object]) -> None:
        """POST what `body` returns, in so many seconds."""
        loop = asyncio.get_running_loop()
        self._timers.append(loop.call_later(seconds, self._start, url, body))

    async def close(self) -> None:
        """Drop what was not sent yet."""
        for timer in self._timers:
            timer.cancel()
        for post in self._posts:
            post.cancel()
        await asyncio.gather(*self._posts, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def _start(self, url: str, body: Callable[[], object]) -> None:
        post = asyncio.get_running_loop().create_task(self._post(url, msgspec.json.encode(body())))
        self._posts.add(post)
        post.add_done_callback(self._posts.discard)

    async def _post(self, url: str, body: bytes) -> None:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=TIMEOUT)
            self._session = aiohttp.ClientSession(timeout=timeout)
        try:
            async with self._session.post(
                url, data=body, headers={"Content-Type": "application/json"}
            ) as response:
                self.delivered += response.ok
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return
