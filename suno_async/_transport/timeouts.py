"""Time limits for requests, with one timer for all requests."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from suno_async._clock import loop_time

if TYPE_CHECKING:
    from types import TracebackType


class RequestTimeouts:
    """The timer for requests that all have the same time limit.

    A request that starts later also expires later, so one timer is enough. A timer for each
    request, as in aiohttp and `asyncio.timeout`, would take 5 % of the CPU time of a status
    request.

    Attributes:
        seconds: The time limit of each request.
        loop: The running event loop.
        now: Function that returns the loop time in seconds.
        running: The current requests, in the order in which they started.
    """

    def __init__(self, seconds: float) -> None:
        """Create the timer. A running event loop is required."""
        self.seconds = seconds
        self.running: dict[RequestTimeout, None] = {}
        self.loop = asyncio.get_running_loop()
        self.now = loop_time(self.loop)
        self._timer: asyncio.TimerHandle | None = None

    def start(self, when: float) -> None:
        """Plan a check for expired requests at the loop time `when`.

        Do nothing if a check is already planned.
        """
        if self._timer is None:
            self._timer = self.loop.call_at(when, self._expire)

    def close(self) -> None:
        """Stop the timer if no request is running.

        If requests are running, their time limits stay in effect.
        """
        if self._timer is not None and not self.running:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        now = self.now()
        self._timer = None
        while self.running:
            first = next(iter(self.running))
            if first.ends_at > now:
                self.start(first.ends_at)
                return
            del self.running[first]
            first.expire()


class RequestTimeout:
    """A context manager that raises `TimeoutError` if the request in the block takes too long.

    To interrupt the block, it cancels the current asyncio task, like `asyncio.timeout`.

    Attributes:
        ends_at: Loop time at which the request expires.
    """

    __slots__ = ("_cancelling", "_expired", "_task", "_timeouts", "ends_at")

    def __init__(self, timeouts: RequestTimeouts) -> None:
        self._timeouts = timeouts
        self._expired = False
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self.ends_at = math.inf

    def __enter__(self) -> None:
        # With the loop as its argument, `current_task` needs no system call in CPython 3.11.
        self._task = task = asyncio.current_task(self._timeouts.loop)
        if task is None:
            raise RuntimeError("a request needs a running asyncio task")
        self._cancelling = task.cancelling()
        timeouts = self._timeouts
        self.ends_at = timeouts.now() + timeouts.seconds
        timeouts.running[self] = None
        timeouts.start(self.ends_at)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._timeouts.running.pop(self, None)
        if self._expired and self._task is not None:
            # If other code has cancelled the task too, that cancellation must continue.
            was_only_cause = self._task.uncancel() <= self._cancelling
            if was_only_cause and kind is asyncio.CancelledError:
                raise TimeoutError from error

    def expire(self) -> None:
        """Cancel the asyncio task that makes the request."""
        self._expired = True
        if self._task is not None:
            self._task.cancel()
