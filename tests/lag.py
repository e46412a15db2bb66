"""Measure how late an event loop runs its timers, for tests that compare times at a server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

_TICK = 0.002


class Lag:
    """Measure the longest stall of the running loop within a block.

    Client and server share the loop. A busy machine or a garbage collection can stop both between a
    request and its arrival. Two arrivals can then be closer together by the length of the stall.

    Attributes:
        worst: The longest stall in seconds.
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
