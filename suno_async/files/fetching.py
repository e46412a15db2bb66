"""Download one file: retry, resume after a broken connection, renew the URL, check the reply."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, NamedTuple

import aiohttp
from aiohttp import http_exceptions

from suno_async.errors import DownloadError, SunoError
from suno_async.files import transfers
from suno_async.files.addresses import UnsafeUrlError
from suno_async.files.checksums import checksum_of
from suno_async.files.parts import Part, PartError
from suno_async.files.resumption import continued_size, validator_of
from suno_async.files.sources import FileSource, parsed_url
from suno_async.files.tagging import Tagger
from suno_async.files.transfers import AttemptFailedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from suno_async.files.connections import Connections
    from suno_async.files.progress import Reporter
    from suno_async.models import TaskInfo

logger = logging.getLogger("suno_async")

#: A write begins when at least this many bytes were received, or when the body has ended. A quarter
#: of this size lowers the throughput on loopback by a tenth. Each download may have two batches in
#: memory.
BATCH = 1 << 20

#: A server must send at least `MIN_SPEED` bytes per second, on average over `SPEED_WINDOW` seconds.
#: Otherwise a slow server would occupy one of the few slots for the whole timeout.
MIN_SPEED = 4096
SPEED_WINDOW = 30.0

#: Seconds before the next attempt if the last one made progress. Otherwise the pause is
#: `transfers.PAUSE` seconds, and doubles after each attempt.
RESUME_PAUSE = 0.1

#: Maximum wait in seconds because of a Retry-After header.
MOST_RETRY_AFTER = 60.0

#: Statuses below 500 after which another attempt with the same URL may succeed.
_TEMPORARY = frozenset({408, 425, 429})

#: Statuses above 499 that are final: another attempt would have the same result.
_FINAL = frozenset({501, 505, 511})

#: Statuses after which the URL may have expired.
_EXPIRED = frozenset({401, 403, 404, 410})

_OK, _PARTIAL, _NOT_SATISFIABLE = 200, 206, 416


class DownloadTerms(NamedTuple):
    """The options of a download.

    Attributes:
        overwrite: Whether to replace an existing file.
        timeout: Seconds for all attempts together; None for no limit.
        max_bytes: Maximum size of the downloaded file in bytes, after decompression. Tags that are
            written into the file later do not count.
        tags: Whether to write tags into the file. Images get no tags. If only the URL of the
            file is known, the file gets no tags either.
    """

    overwrite: bool
    timeout: float | None
    max_bytes: int
    tags: bool = False


class _FetchError(AttemptFailedError):
    def __init__(
        self,
        problem: str,
        *,
        retryable: bool = True,
        expired: bool = False,
        retry_after: float = 0.0,
        counts: bool = True,
    ) -> None:
        super().__init__(problem, retryable=retryable)
        self.expired = expired
        self.retry_after = retry_after
        # False if the bytes that the attempt received do not count as progress.
        self.counts = counts


class Fetch:
    """The download of one file.

    Args:
        connections: Sends the requests.
        source: What to download.
        path: Where to save the file.
        terms: The options of the download.
        reporter: Reports the progress.
        refresh: Takes the id of a task, and returns the current record of the task. If None, an
            expired URL is not replaced.
    """

    def __init__(  # noqa: PLR0913, PLR0917 (one value for each collaborator)
        self,
        connections: Connections,
        source: FileSource,
        path: Path,
        terms: DownloadTerms,
        reporter: Reporter,
        refresh: Callable[[str], Awaitable[TaskInfo]] | None,
    ) -> None:
        self._connections = connections
        self._source = source
        self._url = parsed_url(source.url)
        self._path = path
        self._terms = terms
        self._reporter = reporter
        self._refresh = refresh
        self._part = Part(path.parent, source.media, terms.max_bytes)
        self._total: int | None = None
        # Identifies the version of the file on the server; empty if the download cannot be resumed.
        self._validator = ""
        self._window_ends = 0.0
        self._in_window = 0
        self._ends: float | None = None
        known = source.track is not None or source.info is not None
        self._tagger: Tagger | None = None
        if terms.tags and known and source.media != "image":
            self._tagger = Tagger(connections, path, source.track, source.info)

    async def run(self, slots: asyncio.Semaphore) -> None:
        """Download the file. Each attempt holds one slot of the semaphore `slots`.

        Raises:
            DownloadError: The file could not be downloaded completely.
        """
        scope = asyncio.timeout(None)
        try:
            async with scope:
                await self._attempts(slots, scope)
        except _FetchError as error:
            problem = error.problem
        except TimeoutError:
            if not scope.expired():
                raise
            received, total = self._part.received, self._total or "an unknown number of"
            problem = f"timeout of {self._terms.timeout} s: received {received} of {total} bytes"
        else:
            problem = ""
        finally:
            await _in_thread_always(self._part.discard)
        if self._part.finished:
            # The timeout may have passed while a thread saved the complete file.
            problem = ""
        self._reporter.end(problem)
        if not problem:
            return
        # Leave out the password, and the query, which may contain a signature.
        url = self._url.with_user(None).with_query(None).with_fragment(None)
        raise DownloadError(f"{url}: {problem}")

    async def _attempts(self, slots: asyncio.Semaphore, scope: asyncio.Timeout) -> None:
        loop = asyncio.get_running_loop()
        tries_left, pause, furthest = transfers.TRIES, transfers.PAUSE, 0
        time_left = self._terms.timeout
        while True:
            if self._ends is not None and not scope.expired():
                # The wait for a place does not count.
                time_left = self._ends - loop.time()
                scope.reschedule(None)
            async with slots:
                if time_left is not None and not scope.expired():
                    self._ends = loop.time() + time_left
                    scope.reschedule(self._ends)
                try:
                    await self._attempt()
                except _FetchError as error:
                    failure = error
                else:
                    return
            if failure.expired and await self._refreshed():
                continue
            if self._part.received > furthest and failure.counts:
                # A connection that breaks now and then must not end a large download.
                furthest = self._part.received
                tries_left, pause, wait = transfers.TRIES, transfers.PAUSE, RESUME_PAUSE
            else:
                tries_left, pause, wait = tries_left - 1, 2 * pause, pause
            if not failure.retryable or not tries_left:
                raise failure
            wait = max(wait, failure.retry_after)
            logger.info("%s: %s; retrying in %.1f s", self._url.host, failure.problem, wait)
            await asyncio.sleep(wait)

    async def _refreshed(self) -> bool:
        """Request the current URL of the file, at most once per download.

        Return whether the URL has changed.
        """
        refresh, find = self._refresh, self._source.find
        if refresh is None or find is None or not self._source.task_id:
            return False
        self._refresh = None
        try:
            info = await refresh(self._source.task_id)
            url = find(info)
            if not url or url == self._source.url:
                return False
            self._url = parsed_url(url)
            if self._tagger is not None:
                self._tagger.renew(info)
        except SunoError as error:
            logger.info("task %s: no new URL: %s", self._source.task_id, error)
            return False
        return True

    async def _attempt(self) -> None:
        try:
            resumes = bool(self._part.received and self._validator)
            headers = {"Accept-Encoding": "identity"}
            if resumes:
                headers |= {"Range": f"bytes={self._part.received}-", "If-Range": self._validator}
            async with self._connections.get(self._url, headers) as response:
                await self._begin(response, resumes=resumes)
                await self._receive(response.content)
            if self._total is not None and self._part.received != self._total:
                raise _FetchError(f"received {self._part.received} of {self._total} bytes")
            if self._tagger is not None:
                now = asyncio.get_running_loop().time()
                await self._tagger.fetch_cover(None if self._ends is None else self._ends - now)
            await asyncio.to_thread(self._finish)
        except PartError as error:
            if error.retryable:
                self._validator = ""
            # The received bytes do not count, because the next attempt starts from the beginning.
            raise _FetchError(error.problem, retryable=error.retryable, counts=False) from None
        except UnsafeUrlError as error:
            raise _FetchError(str(error), retryable=False) from None
        except (
            aiohttp.ClientError,
            http_exceptions.HttpProcessingError,
            TimeoutError,
            OSError,
            EOFError,
            ValueError,
        ) as error:
            problem, retryable = transfers.problem_of(error)
            raise _FetchError(problem, retryable=retryable) from None

    def _finish(self) -> None:
        edit = None if self._tagger is None else self._tagger.write
        self._part.finish(self._path, overwrite=self._terms.overwrite, edit=edit)

    async def _begin(self, response: aiohttp.ClientResponse, *, resumes: bool) -> None:
        """Check the status and headers of a reply, and prepare the temporary file for its body."""
        status, headers = response.status, response.headers
        size = None
        if resumes and status == _PARTIAL:
            size = continued_size(headers, self._part.received, self._total, self._validator)
        if size is not None:
            self._total = size
            self._reporter.begin(self._part.received, self._total)
            self._open_window()
            return
        if status in {_PARTIAL, _NOT_SATISFIABLE} and resumes:
            # The server did not send the requested range, or the file has changed. The next attempt
            # starts from the beginning.
            self._validator = ""
            raise _FetchError(f"HTTP {status} without the requested range", counts=False)
        if status != _OK:
            raise _refusal(status, headers)
        encoding = headers.get("Content-Encoding", "").strip().lower() or "identity"
        self._total = response.content_length
        self._validator = validator_of(headers)
        if self._total is not None and self._total > self._terms.max_bytes:
            limit = self._terms.max_bytes
            raise _FetchError(
                f"{self._total} bytes, more than {limit}; see max_bytes", retryable=False
            )
        await asyncio.to_thread(self._part.restart, encoding, checksum_of(headers))
        self._reporter.begin(0, self._total)
        self._open_window()

    async def _receive(self, content: aiohttp.StreamReader) -> None:
        """Write the body of a reply to the temporary file.

        While one batch of bytes is being written, the next batch is received.
        """
        pieces: list[bytes] = []
        writing: asyncio.Task[None] | None = None
        broken: Exception | None = None
        ended = False
        try:
            while not ended:
                ended = await self._fill(content, pieces)
                if writing is not None:
                    await writing
                writing = asyncio.create_task(asyncio.to_thread(self._part.write, pieces))
                writing.add_done_callback(_retrieve)
                pieces = []
        except (aiohttp.ClientError, OSError, _FetchError) as error:
            # Keep the received bytes, so that the next attempt does not request them again.
            broken = error
            pieces += _unread(content)
        if writing is not None:
            await writing
        if pieces:
            await asyncio.to_thread(self._part.write, pieces)
        if broken is not None:
            raise broken

    async def _fill(self, content: aiohttp.StreamReader, pieces: list[bytes]) -> bool:
        """Append the next received bytes to `pieces`. Return whether the body ended."""
        size = 0
        while True:
            scope = asyncio.timeout_at(self._window_ends)
            try:
                async with scope:
                    while size < BATCH:
                        piece = await content.readany()
                        if not piece:
                            return True
                        pieces.append(piece)
                        size += len(piece)
                        self._in_window += len(piece)
                        self._reporter.add_bytes(len(piece))
                    return False
            except TimeoutError:
                if not scope.expired():
                    raise
            if self._in_window < MIN_SPEED * SPEED_WINDOW:
                raise _FetchError(f"slower than {MIN_SPEED} bytes per second", counts=False)
            self._open_window()

    def _open_window(self) -> None:
        self._window_ends = asyncio.get_running_loop().time() + SPEED_WINDOW
        self._in_window = 0


def _refusal(status: int, headers: Mapping[str, str]) -> _FetchError:
    retryable = status in _TEMPORARY or (status >= 500 and status not in _FINAL)  # noqa: PLR2004 (HTTP)
    try:
        retry_after = min(float(headers.get("Retry-After", "0")), MOST_RETRY_AFTER)
    except ValueError:
        # The value is not a number. For example, it is a date: dates are not supported.
        retry_after = 0.0
    return _FetchError(
        f"HTTP {status}",
        retryable=retryable,
        expired=status in _EXPIRED,
        retry_after=retry_after if retry_after > 0 else 0.0,
    )


def _unread(content: aiohttp.StreamReader) -> list[bytes]:
    """Return the bytes that are still in aiohttp's buffer after a connection broke.

    aiohttp has no public method for this.
    """
    piece = content._read_nowait(-1)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] (as above)
    return [piece] if piece else []


def _retrieve(writing: asyncio.Task[None]) -> None:
    """Read the exception of a write, so that asyncio does not log it as never retrieved.

    This is needed because a cancelled download does not await its last write.
    """
    if not writing.cancelled():
        writing.exception()


async def _in_thread_always(work: Callable[[], None]) -> None:
    """Call `work` in a thread. Wait until `work` ends, even if the caller is cancelled."""
    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        while not running.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([running])
        # Retrieve the error, or asyncio would log it. The cancellation is raised instead.
        running.exception()
        raise
