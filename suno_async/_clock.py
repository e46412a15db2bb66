"""Loop time and Unix time: the one place where the poller converts between them."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Clock:
    """The running loop's clock, and how it relates to Unix time."""

    __slots__ = ("mono", "unix")

    def __init__(self, unix: Callable[[], float] = time.time) -> None:
        """Need a running event loop; `unix` returns the Unix time."""
        #: Return the loop's time.
        self.mono = asyncio.get_running_loop().time
        #: Return the Unix time.
        self.unix = unix

    def to_mono(self, unix: float) -> float:
        """Return the loop time of a moment in Unix seconds. The future counts as now."""
        return self.mono() - max(0.0, self.unix() - unix)

    def to_unix(self, mono: float) -> float:
        """Return the Unix seconds of a moment in loop time."""
        return self.unix() - (self.mono() - mono)
