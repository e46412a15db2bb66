"""Run uploads and fetch cover images, with retries and a limit on concurrency."""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import TYPE_CHECKING

import aiohttp
from aiohttp import http_exceptions

from suno_async.files.addresses import UnsafeUrlError, refused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from suno_async.files.connections import Connections

logger = logging.getLogger("suno_async")

#: Maximum number of attempts for each file. A download counts only attempts in a row that made no
#: progress.
TRIES = 3

#: Seconds before the second attempt. The pause doubles before each further attempt.
PAUSE = 2.0


class AttemptFailedError(Exception):
    """One attempt to transfer a file failed. Internal: callers of the client never receive this.

    Attributes:
        problem: What went wrong.
        retryable: Whether another attempt may succeed.
    """

    def __init__(self, problem: str, *, retryable: bool = True) -> None:
        super().__init__(problem)
        self.problem = problem
        self.retryable = retryable


def problem_of(error: Exception) -> tuple[str, bool]:
    """Return what is wrong if a request failed, and whether another attempt may succeed."""
    if isinstance(error, OSError) and refused(error):
        return "an address of the host, or of a redirect, is not public; see allow_hosts", False
    # Show only the class, because the text of an error may contain a presigned URL.
    name = type(error).__name__
    if isinstance(error, ssl.CertificateError):
        return name, False
    if isinstance(error, ValueError):
        # For example, the host name cannot be encoded, or HTTPS_PROXY is not an http(s) URL.
        return f"invalid URL, proxy or reply ({name})", False
    return name, True


class Transfers:
    """Runs file transfers. Their requests never contain the API key.

    Args:
        connections: Sends the requests. This class does not close `connections`.
        parallel: Maximum number of transfers at the same time.
    """

    def __init__(self, connections: Connections, parallel: int) -> None:
        self._connections = connections
        self._slots = asyncio.Semaphore(parallel)

    async def run(self, attempt: Callable[[Connections], Awaitable[None]], name: str) -> None:
        """Call `attempt` until it succeeds, at most `TRIES` times.

        Args:
            attempt: Transfers the file once. It must be safe to repeat.
            name: Identifies the file in the log. It must not contain a secret.

        Raises:
            AttemptFailedError: All attempts failed, or an error was not retryable.
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

    async def _once(self, attempt: Callable[[Connections], Awaitable[None]]) -> None:
        try:
            await attempt(self._connections)
        except UnsafeUrlError as error:
            problem, retryable = str(error), False
        except (
            aiohttp.ClientError,
            http_exceptions.HttpProcessingError,
            TimeoutError,
            OSError,
            EOFError,
            ValueError,
        ) as error:
            problem, retryable = problem_of(error)
        else:
            return
        raise AttemptFailedError(problem, retryable=retryable)
