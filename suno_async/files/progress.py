"""Progress of downloads."""

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
    """An event of one download: bytes arrived, or the download ended.

    Only the last event of each file has `done` or `error` set. If the download is cancelled, there
    is no such event. If the download has to wait for other downloads, its first event comes late.

    Attributes:
        path: The final path of the file.
        received: How many bytes of the body have arrived, before decompression. The number
            decreases if the download has to start from the beginning.
        total: How many bytes the body has, before decompression; None if unknown.
        elapsed: Seconds since the start of the download, waiting included.
        done: Whether the file is complete and has its final name. For a file that existed before,
            `received` is 0.
        error: Why the download failed; empty if it did not.
    """

    path: str
    received: int = 0
    total: int | None = None
    elapsed: float = 0.0
    done: bool = False
    error: str = ""


ProgressCallback: TypeAlias = Callable[[DownloadProgress], object]


class Reporter:
    """Reports the progress of one file to every caller that waits for it.

    A callback that raises is not called again. The exception is logged.

    Args:
        path: The final path of the file.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()
        self._next = self._started
        self._listeners: list[ProgressCallback] = []
        self.received = 0
        self.total: int | None = None

    def add(self, listener: ProgressCallback | None) -> None:
        """Report to a callback from now on."""
        if listener is not None:
            self._listeners.append(listener)

    def remove(self, listener: ProgressCallback | None) -> None:
        """Stop reporting to a callback."""
        if listener is not None and listener in self._listeners:
            self._listeners.remove(listener)

    def begin(self, received: int, total: int | None) -> None:
        """Report the start of a body.

        Args:
            received: How many bytes earlier attempts have received.
            total: How many bytes the whole body has; None if unknown.
        """
        self.received, self.total = received, total
        self._emit()

    def add_bytes(self, count: int) -> None:
        """Report received bytes, at most once every `INTERVAL` seconds."""
        self.received += count
        if self._listeners and self._loop.time() >= self._next:
            self._emit()

    def end(self, error: str = "") -> None:
        """Report the end of the download. An empty `error` means that it succeeded."""
        self._emit(done=not error, error=error)

    def _emit(self, *, done: bool = False, error: str = "") -> None:
        now = self._loop.time()
        self._next = now + INTERVAL
        event = DownloadProgress(
            self._path, self.received, self.total, now - self._started, done, error
        )
        for listener in tuple(self._listeners):
            try:
                listener(event)
            except Exception:
                logger.exception("a progress callback failed and is not called again")
                self.remove(listener)
