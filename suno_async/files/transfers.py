"""What downloads and uploads share: the session, the concurrency limit and the retries."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import aiohttp

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

logger = logging.getLogger("suno_async")

#: Attempts for each file.
TRIES = 3

#: Seconds before the second attempt. The pause doubles before each further one.
PAUSE = 2.0

#: A large file may take any time, but the server must connect within 10 s and send or accept some
#: bytes at least every 60 s.
TIMEOUT = aiohttp.ClientTimeout(total=None, connect=10, sock_read=60)


class AttemptFailedError(Exception):
    """One attempt to transfer a file failed. Internal: it never reaches the caller of the client.

    Attributes:
        problem: What went wrong.
        retryable: Another attempt may succeed.
    """

    def __init__(self, problem: str, *, retryable: bool = True) -> None:
        super().__init__(problem)
        self.problem = problem
        self.retryable = retryable


class Transfers:
    """Runs transfers with requests that never carry the API key.

    Args:
        session: The aiohttp session to use. It stays open. None opens a session at the first
            transfer.
        parallel: Most transfers at the same time.
    """

    def __init__(self, session: aiohttp.ClientSession | None, parallel: int) -> None:
        self._injected = session
        self._session = session
        self._slots = asyncio.Semaphore(parallel)

    async def close(self) -> None:
        """Close the session, unless it was injected."""
        if self._session is not None and self._session is not self._injected:
            await self._session.close()

    async def run(
        self, attempt: Callable[[aiohttp.ClientSession], Awaitable[None]], name: str
    ) -> None:
        """Wait for a free slot and call `attempt` until it succeeds, at most `TRIES` times.

        Args:
            attempt: Transfers the file once. It must be safe to repeat.
            name: Identifies the file in the log. It must not contain a secret.

        Raises:
            AttemptFailedError: The last attempt failed.
        """
        async with self._slots:
            pause = PAUSE
            for tries_left in reversed(range(TRIES)):
                try:
                    await self._once(attempt)
                except AttemptFailedError as error:
                    if not error.retryable or not tries_left:
                        raise
                    logger.info("%s: %s; retrying in %.1f s", name, error.problem, pause)
                else:
                    return
                await asyncio.sleep(pause)
                pause *= 2

    async def _once(self, attempt: Callable[[aiohttp.ClientSession], Awaitable[None]]) -> None:
        if self._session is None:
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        try:
            await attempt(self._session)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            # Only the class: the text of an aiohttp error may contain a presigned URL.
            problem = type(error).__name__
        else:
            return
        raise AttemptFailedError(problem)
