"""Convert between loop time and Unix time. No other module does this."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def loop_time(loop: asyncio.AbstractEventLoop) -> Callable[[], float]:
    """Return a function that returns the time of an event loop in seconds.

    For asyncio's own event loops, return `time.monotonic` itself. A poll then needs 1 % less CPU
    time than with the method `time` of the loop.
    """
    is_plain = getattr(type(loop), "time", None) is asyncio.BaseEventLoop.time
    return time.monotonic if is_plain else loop.time


class Clock:
    """Converts between the time of the running event loop and Unix time.

    Attributes:
        mono: Function that returns the loop time in seconds.
        unix: Function that returns the Unix time in seconds.
    """

    __slots__ = ("mono", "unix")

    def __init__(self, unix: Callable[[], float] = time.time) -> None:
        """Use the clock of the running event loop. `unix` must return the Unix time in seconds."""
        self.mono = loop_time(asyncio.get_running_loop())
        self.unix = unix

    def to_mono(self, unix: float) -> float:
        """Convert Unix seconds to loop time. Replace a future time by the current time."""
        return self.mono() - max(0.0, self.unix() - unix)

    def to_unix(self, mono: float) -> float:
        """Convert loop time to Unix seconds."""
        return self.unix() - (self.mono() - mono)
