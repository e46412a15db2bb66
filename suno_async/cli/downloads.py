"""Download the results of tasks, count files and bytes, and show the progress."""

from __future__ import annotations

import json
import time
from collections import deque
from typing import TYPE_CHECKING

import typer

from suno_async import DownloadsFailedError, TaskInfo
from suno_async.cli.display import Display, clock
from suno_async.cli.error_lines import print_error, print_suno_error

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Iterable

    from suno_async import DownloadProgress, SunoClient
    from suno_async.cli.file_options import FileOptions

#: Seconds over which the displayed download rate is measured.
WINDOW = 5.0


class Downloads:
    """Downloads files and counts them.

    Args:
        suno: The client.
        files: The options of the downloads.
        overwrite: Download existing files again and replace them.

    Attributes:
        paths: The files that are complete, in the order of their completion.
        missing: Number of files that could not be downloaded.
    """

    def __init__(self, suno: SunoClient, files: FileOptions, *, overwrite: bool = False) -> None:
        self.paths: list[str] = []
        self.missing = 0
        self._suno = suno
        self._files = files
        self._overwrite = overwrite
        self._active: dict[str, tuple[int, int | None]] = {}
        self._ended_bytes = 0
        self._recent: deque[tuple[float, int]] = deque([(time.monotonic(), 0)])

    @property
    def count(self) -> tuple[int, int]:
        """Number of downloads that have ended, and number of downloads that have started."""
        ended = len(self.paths) + self.missing
        return ended, ended + len(self._active)

    async def fetch(
        self, what: TaskInfo | Iterable[TaskInfo | str] | AsyncIterable[TaskInfo | str]
    ) -> None:
        """Download the files of tasks, or the files at URLs.

        Print an error for each file that cannot be downloaded.
        """
        task_id = what.task_id if isinstance(what, TaskInfo) else ""
        failures: list[DownloadProgress] = []

        def note(event: DownloadProgress) -> None:
            self.note(event)
            if event.error:
                failures.append(event)

        try:
            await self._suno.download_all(
                what,
                self._files.download or ".",
                name=self._files.name,
                overwrite=self._overwrite,
                progress=note,
                covers=self._files.covers,
                tags=self._files.write_tags,
            )
        except DownloadsFailedError as failed:
            # `note` has not counted the errors that have no event, such as an invalid URL.
            self.missing += len(failed.errors) - len(failures)
            for error in failed.errors:
                print_suno_error(error, task_id=task_id)
        except BaseException:
            for event in failures:
                print_error(f"cannot download {event.path}: {event.error}", task_id=task_id)
            raise

    def line(self) -> str:
        """Return the progress as text: number of files, bytes, rate and remaining time."""
        received = self._received
        now = time.monotonic()
        self._recent.append((now, received))
        while now - self._recent[0][0] > WINDOW and len(self._recent) > 2:  # noqa: PLR2004 (a rate needs two)
            self._recent.popleft()
        since, at_first = self._recent[0]
        # The number of bytes decreases if a download starts again.
        rate = max(0.0, received - at_first) / (now - since) if now > since else 0.0
        ended, known = self.count
        left = sum((total or 0) - got for got, total in self._active.values() if total)
        eta = clock(left / rate) if rate > 0 else clock(0) if not left else "unknown"
        missing = f", {self.missing} missing" if self.missing else ""
        sizes = f"{size_text(received)} of {size_text(received + left)}, {size_text(rate)}/s"
        return f"files: {ended} of {known}{missing}; {sizes}, ETA {eta}"

    def summary(self) -> dict[str, int]:
        """Return the numbers of files and bytes for ``--json``."""
        return {
            "files": len(self.paths),
            "files_missing": self.missing + len(self._active),
            "bytes_received": self._received,
        }

    @property
    def _received(self) -> int:
        return self._ended_bytes + sum(got for got, _ in self._active.values())

    def note(self, event: DownloadProgress) -> None:
        """Update the counts after a progress event of a download."""
        if not event.done and not event.error:
            self._active[event.path] = (event.received, event.total)
            return
        self._active.pop(event.path, None)
        self._ended_bytes += event.received
        if event.done:
            self.paths.append(event.path)
        else:
            self.missing += 1


async def download_and_print(
    suno: SunoClient,
    what: TaskInfo | AsyncIterable[TaskInfo | str],
    files: FileOptions,
    *,
    as_json: bool,
    overwrite: bool = False,
) -> int:
    """Download files, show the progress, and print the path of each file at the end.

    If the downloads are interrupted, the paths of the complete files are still printed.

    Returns:
        Number of files that could not be downloaded.
    """
    downloads = Downloads(suno, files, overwrite=overwrite)
    display = Display("files", lambda: downloads.count, lambda: [downloads.line()])
    try:
        async with display.shown():
            await downloads.fetch(what)
    finally:
        for path in downloads.paths:
            typer.echo(json.dumps({"file": path}) if as_json else path)
    return downloads.missing


def size_text(count: float) -> str:
    """Return a number of bytes as text with a unit, such as ``"1.5 MB"``."""
    for unit in ("B", "kB", "MB"):
        if float(f"{count:.3g}") < 1000:  # noqa: PLR2004 (a kilobyte)
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.2f} GB"
