"""Report the progress of downloads to callbacks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TypeAlias

import msgspec

logger = logging.getLogger("suno_async")

#: Shortest time in seconds from an event of a file to the next event that only reports bytes.
INTERVAL = 0.1


class DownloadProgress(msgspec.Struct, frozen=True):
    """An event of one download: a reply began, bytes arrived, or the download ended.

    The last event of a download has `done` or `error` set. A cancelled download has no such event.
    If a file already exists and is not downloaded, its only event has `done` set and `received` 0.
    While a download waits for other downloads, it has no events.

    Attributes:
        path: The final path of the file.
        received: Number of bytes received so far, before decompression. The number decreases if the
            download starts again.
        total: Number of bytes of the whole body, before decompression; None if unknown.
        elapsed: Seconds since the download was requested, including the wait for other downloads.
        done: Whether the file is complete and has its final name.
        error: Why the download failed; empty if the download did not fail.
    """

    path: str
    received: int = 0
    total: int | None = None
    elapsed: float = 0.0
    done: bool = False
    error: str = ""


ProgressCallback: TypeAlias = Callable[[DownloadProgress], object]


class Reporter:
    """Reports the progress of one download to callbacks.

    A callback that raises an exception is not called again. The exception is logged.

    Args:
        path: The final path of the file.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()
        self._next = self._started
        self._listeners: list[ProgressCallback] = []
        self._failed: list[ProgressCallback] = []
        self.received = 0
        self.total: int | None = None

    def add(self, listener: ProgressCallback | None) -> None:
        """Call `listener` with every later event.

        Do nothing if `listener` is None, or if it raised an exception before.
        """
        if listener is not None and listener not in self._failed:
            self._listeners.append(listener)

    def remove(self, listener: ProgressCallback | None) -> None:
        """Undo one call of `add` with this listener."""
        if listener is not None and listener in self._listeners:
            self._listeners.remove(listener)

    def begin(self, received: int, total: int | None) -> None:
        """Report that the body of a reply begins.

        Args:
            received: Number of bytes that are kept from earlier attempts.
            total: Number of bytes of the whole body; None if unknown.
        """
        self.received, self.total = received, total
        self._emit()

    def add_bytes(self, count: int) -> None:
        """Add `count` to the received bytes. Report at most one event every `INTERVAL` seconds."""
        self.received += count
        if self._listeners and self._loop.time() >= self._next:
            self._emit()

    def end(self, error: str = "") -> None:
        """Report the end of the download. An empty `error` means that the download succeeded."""
        self._emit(done=not error, error=error)

    def _emit(self, *, done: bool = False, error: str = "") -> None:
        now = self._loop.time()
        self._next = now + INTERVAL
        event = DownloadProgress(
            self._path, self.received, self.total, now - self._started, done, error
        )
        for listener in tuple(self._listeners):
            if listener in self._failed:
                continue  # added twice, and failed at the first call
            try:
                listener(event)
            except Exception:
                logger.exception("a progress callback failed and is not called again for this file")
                self._failed.append(listener)
                self._listeners = [each for each in self._listeners if each != listener]
