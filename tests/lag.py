"""Measure how long an event loop was blocked."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

_TICK = 0.002


class Lag:
    """Measures the longest time for which the event loop was blocked during an ``async with``.

    Tests of the times between requests need it, because requests can arrive closer together than
    they were sent if the loop is blocked.

    Attributes:
        worst: The longest time in seconds. It may be too long by up to `_TICK` seconds.
    """

    def __init__(self) -> None:
        self.worst = 0.0
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._measure())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _measure(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(_TICK)
            # The whole time counts, because a stall may start at any moment of the sleep.
            self.worst = max(self.worst, loop.time() - before)
