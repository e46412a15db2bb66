"""Download result files. Until a file is complete, it has a temporary name."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging
import os
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from suno_async.errors import ClientClosedError, DownloadError, DownloadsFailedError
from suno_async.files.fetching import DownloadTerms, Fetch
from suno_async.files.progress import ProgressCallback, Reporter

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Sequence
    from os import PathLike

    from suno_async.files.connections import Connections
    from suno_async.files.sources import FileSource
    from suno_async.models import TaskInfo

logger = logging.getLogger("suno_async")

#: Maximum number of downloads at the same time. On loopback, half as many have the same throughput,
#: and twice as many only need more memory: 4 MB for each download.
PARALLEL = 8

#: Maximum number of open downloads of one call of `download_all`. It is higher than `PARALLEL`,
#: because downloads that wait for a retry should not delay files of other hosts.
READ_AHEAD = 2 * PARALLEL

#: Default of `max_bytes`: the most bytes of one file.
MAX_BYTES = 2 * 1024**3

#: Default of `timeout`: the most seconds of one download.
TIMEOUT = 1800.0


async def _until_broken(
    sources: AsyncIterable[FileSource | DownloadError], broken: list[Exception]
) -> AsyncGenerator[FileSource | DownloadError]:
    """Yield the sources. If reading them raises an error, add it to `broken` and stop."""
    try:
        async for source in sources:
            yield source
    except Exception as error:  # noqa: BLE001 (the error of a caller's iterable)
        # A pipeline raises its error after the last outcome. Its songs are paid for, so their
        # downloads must continue.
        broken.append(error)


def _check_all(
    errors: Sequence[DownloadError], paths: Sequence[Path], broken: Sequence[Exception]
) -> None:
    """Raise an error if the sources were broken, or if a file could not be downloaded."""
    if broken:
        for error in errors:
            logger.warning("a file was not downloaded: %s", error)
        raise broken[0]
    if errors:
        raise DownloadsFailedError(tuple(errors), tuple(paths))


class _Job:
    """A download in progress, and the callers that wait for it.

    Attributes:
        source: The file to download.
        overwrite: Whether the download replaces an existing file.
        reporter: Reports the progress.
        waiters: How many callers wait for the download.
        task: The asyncio task that downloads the file.
    """

    def __init__(
        self, source: FileSource, reporter: Reporter, work: Awaitable[None], *, overwrite: bool
    ) -> None:
        self.source = source
        self.overwrite = overwrite
        self.reporter = reporter
        self.waiters = 0
        self.task = asyncio.ensure_future(work)
        # Retrieve the error here. If every waiter was cancelled, asyncio would log it otherwise.
        self.task.add_done_callback(lambda task: task.cancelled() or task.exception())


class Downloader:
    """Downloads result files with requests that never carry the API key.

    Args:
        connections: Sends the requests. `close` does not close the connections.
        refresh: Takes the id of a task, and returns the current record of the task. Called when
            the URL of a file may have expired. If None, an expired URL is an error.
    """

    def __init__(
        self,
        connections: Connections,
        refresh: Callable[[str], Awaitable[TaskInfo]] | None = None,
    ) -> None:
        self._connections = connections
        self._refresh = refresh
        self._slots = asyncio.Semaphore(PARALLEL)
        self._jobs: dict[str, _Job] = {}

    async def close(self) -> None:
        """Cancel the downloads in progress, and wait until their incomplete files are removed."""
        tasks = [job.task for job in self._jobs.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def download(
        self,
        source: FileSource,
        directory: str | PathLike[str],
        terms: DownloadTerms,
        progress: ProgressCallback | None = None,
    ) -> Path:
        """Download a file and return its path.

        If the file already exists and `terms.overwrite` is False, download nothing.

        Concurrent calls for the same file and path share one download if they have the same
        `terms.overwrite`. The download uses the `terms` of the first call. If `terms.overwrite`
        differs, the later call waits until the earlier download has ended. Cancelling one call does
        not affect other calls.

        Args:
            source: The file.
            directory: Where to save the file. The directory is created if it does not exist.
            terms: The options of the download.
            progress: Called with each `DownloadProgress`; None for no callback.

        Raises:
            DownloadError: The complete file could not be downloaded, or another file is being
                downloaded to the same path.
            ClientClosedError: The client was closed during the download.
        """
        while True:
            path, key, exists = await asyncio.to_thread(_place, Path(directory), source.name)
            job = self._jobs.get(key)
            if job is None:
                if exists and not terms.overwrite:
                    reporter = Reporter(str(path))
                    reporter.add(progress)
                    reporter.end()
                    return path
                job = self._start(key, path, source, terms)
            elif job.source.identity != source.identity:
                raise DownloadError(f"another file is being downloaded to {path}")
            elif job.overwrite != terms.overwrite:
                # Wait for the earlier download, then handle this call like a new one.
                with contextlib.suppress(DownloadError):
                    await self._join(key, job, None)
                continue
            await self._join(key, job, progress)
            return path

    async def download_all(
        self,
        sources: AsyncIterable[FileSource | DownloadError],
        directory: str | PathLike[str],
        terms: DownloadTerms,
        progress: ProgressCallback | None = None,
    ) -> list[Path]:
        """Download all files, and return their paths in the order of the sources.

        At most `READ_AHEAD` downloads are open at the same time, so the sources are read only as
        fast as files can be downloaded. One failure does not stop the other downloads. If reading
        `sources` raises an error, this error is raised when the open downloads have ended.

        Args:
            sources: The files. If an item is a `DownloadError`, it counts as a failed download.
            directory: As in `download`.
            terms: As in `download`.
            progress: As in `download`. It is called for every file.

        Raises:
            DownloadsFailedError: Some files could not be downloaded. All other files are complete.
            ClientClosedError: The client was closed during the downloads.
        """
        ended: list[asyncio.Task[Path] | DownloadError] = []
        running: set[asyncio.Task[Path]] = set()
        broken: list[Exception] = []
        try:
            async for source in _until_broken(sources, broken):
                if isinstance(source, DownloadError):
                    ended.append(source)
                    continue
                if len(running) >= READ_AHEAD:
                    _, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                task = asyncio.create_task(self.download(source, directory, terms, progress))
                running.add(task)
                ended.append(task)
            if running:
                await asyncio.wait(running)
        finally:
            tasks = [each for each in ended if isinstance(each, asyncio.Task)]
            left = [task for task in tasks if task.cancel()]
            if left:
                await asyncio.wait(left)
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        errors = [each for each in ended if isinstance(each, DownloadError)]
        for outcome in outcomes:
            if isinstance(outcome, DownloadError):
                errors.append(outcome)
            elif isinstance(outcome, BaseException):
                raise outcome
        paths = [each for each in outcomes if isinstance(each, Path)]
        _check_all(errors, paths, broken)
        return paths

    def _start(self, key: str, path: Path, source: FileSource, terms: DownloadTerms) -> _Job:
        reporter = Reporter(str(path))
        fetch = Fetch(self._connections, source, path, terms, reporter, self._refresh)
        job = _Job(source, reporter, fetch.run(self._slots), overwrite=terms.overwrite)
        self._jobs[key] = job

        def forget(_task: object) -> None:
            if self._jobs.get(key) is job:
                del self._jobs[key]

        job.task.add_done_callback(forget)
        return job

    async def _join(self, key: str, job: _Job, progress: ProgressCallback | None) -> None:
        job.waiters += 1
        job.reporter.add(progress)
        try:
            await asyncio.shield(job.task)
        except DownloadError as error:
            # Each waiter gets its own instance.
            raise copy.copy(error) from None
        except asyncio.CancelledError:
            if job.task.cancelled() and not _cancelling():
                raise ClientClosedError("the client was closed during this call") from None
            raise
        finally:
            job.waiters -= 1
            job.reporter.remove(progress)
            if not job.waiters and not job.task.done():
                if self._jobs.get(key) is job:
                    del self._jobs[key]
                job.task.cancel()
                await asyncio.wait([job.task])


def _cancelling() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _place(directory: Path, name: str) -> tuple[Path, str, bool]:
    """Return the path of a file, its key, and whether the file exists.

    Each file has one key, even if `directory` is a relative path or a symbolic link.
    """
    parts = PurePosixPath(name).parts
    if not parts or parts[0] == "/" or ".." in parts:
        raise DownloadError(f"not a name for a file in the directory: {name!r}")
    path = directory.joinpath(*parts)
    try:
        key = os.path.normcase(path.parent.resolve() / path.name)
        exists = path.exists()
        if exists and not path.is_file():
            raise DownloadError(f"{path}: something that is not a file has this name")
    except (OSError, ValueError, RuntimeError) as error:
        # `resolve` raises RuntimeError for a loop of symbolic links.
        raise DownloadError(f"{path}: cannot save the file: {error}") from None
    return path, key, exists
