"""Who waits for tasks: one future for one task, or one queue for thousands."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from suno_async.models import Outcome, TaskInfo


class Wait:
    """One await of one task.

    A hundred thousand of them may stand at once, so this is a bare future and nothing more.
    """

    __slots__ = ("outcome",)
    interactive = True

    def __init__(self) -> None:
        """Begin; needs a running event loop."""
        self.outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    def read(self, info: TaskInfo) -> None:
        """Readings are not wanted."""

    def settled(self, outcome: Outcome) -> None:
        """The wait is over, unless it was cancelled."""
        if not self.outcome.done():
            self.outcome.set_result(outcome)


class Queue:
    """Collects readings and outcomes, for one consumer."""

    def __init__(self, *, interactive: bool, readings: bool = False) -> None:
        self.interactive = interactive
        self._readings = readings
        self._items: deque[Outcome | TaskInfo] = deque()
        self._arrived = asyncio.Event()

    def read(self, info: TaskInfo) -> None:
        """Keep a reading, if they are wanted."""
        if self._readings:
            self._items.append(info)
            self._arrived.set()

    def settled(self, outcome: Outcome) -> None:
        """Keep an outcome."""
        self._items.append(outcome)
        self._arrived.set()

    async def get(self) -> Outcome | TaskInfo:
        """Wait for the next item. A cancelled wait loses none."""
        while not self._items:
            self._arrived.clear()
            await self._arrived.wait()
        return self._items.popleft()
