"""The live reference to one task."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from suno_async._waiting import Queue, Wait
from suno_async.errors import TaskTimeoutError
from suno_async.models import TaskInfo

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator

    from suno_async.client import SunoClient


class TaskHandle:
    """The live reference to one task: await it, or ask it.

    Attributes:
        id: The server's id; keep it, and `SunoClient.task` gives the handle back.
        born: Loop time of the creation; None if unknown.
        kind: The kind of job; empty if unknown.
    """

    __slots__ = ("_client", "born", "id", "kind")

    def __init__(
        self, client: SunoClient, task_id: str, born: float | None, kind: str = ""
    ) -> None:
        self._client = client
        self.id = task_id
        self.born = born
        self.kind = kind

    def __repr__(self) -> str:
        return f"<TaskHandle {self.id}>"

    def __await__(self) -> Generator[object, None, TaskInfo]:
        return self.result().__await__()

    async def result(self, *, timeout: float | None = None) -> TaskInfo:
        """Wait for the task to succeed. Cancelling the wait stops neither the job nor other waits.

        Args:
            timeout: Seconds; None leaves it to the policy's deadline.

        Raises:
            TaskFailedError: The job ended in failure.
            TaskTimeoutError: The timeout or the deadline passed; the job goes on.
            SunoError: What else kept the outcome from being known.
        """
        poller = self._client.core().poller
        wait = Wait()
        poller.watch(self.id, (wait,), self.born, self.kind)
        try:
            if timeout is None:
                outcome = await wait.outcome
            else:
                async with asyncio.timeout(timeout):
                    outcome = await wait.outcome
        except TimeoutError:
            outcome = None
        finally:
            poller.unwatch(self.id, wait)
        if outcome is None:
            raise TaskTimeoutError(self.id, f"not ended within the {timeout:g} s given")
        return outcome.result()

    async def info(self) -> TaskInfo:
        """Ask now: `SunoClient.task_info`."""
        return await self._client.task_info(self.id)

    async def updates(self) -> AsyncIterator[TaskInfo]:
        """Yield every reading the scheduler makes; the last one is terminal.

        Raises:
            SunoError: While iterating, if the outcome cannot be known.
        """
        poller = self._client.core().poller
        queue = Queue(interactive=True, readings=True)
        poller.watch(self.id, (queue,), self.born, self.kind)
        try:
            while isinstance(item := await queue.get(), TaskInfo):
                yield item
        finally:
            poller.unwatch(self.id, queue)
        if item.info is None or not item.info.status.terminal:
            item.result()
        else:
            yield item.info
