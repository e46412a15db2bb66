"""The live reference to one task."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from suno_async._polling.waiters import FutureWaiter, QueueWaiter
from suno_async.errors import (
    SunoError,
    TaskTimeoutError,
)
from suno_async.inputs import Input
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
            timeout: Seconds; None waits until the policy's deadline.

        Raises:
            TaskFailedError: The job ended in failure.
            TaskTimeoutError: The timeout or the deadline passed; the job continues.
            SunoError: The outcome cannot be known for another reason.
        """
        poller = self._client.core().poller
        waiter = FutureWaiter()
        poller.watch(self.id, (waiter,), self.born, self.kind)
        late: TaskTimeoutError | None = None
        try:
            if timeout is None:
                await waiter.outcome
            else:
                async with asyncio.timeout(timeout):
                    await waiter.outcome
        except TimeoutError:
            reason = f"not finished within the timeout of {timeout:g} s"
            late = TaskTimeoutError(self.id, reason, *poller.last_seen(self.id))
        finally:
            poller.unwatch(self.id, waiter)
        if late is not None:
            raise late
        return waiter.outcome.result().result()

    async def info(self) -> TaskInfo:
        """Ask now: `SunoClient.task_info`."""
        return await self._client.task_info(self.id)

    async def updates(self) -> AsyncIterator[TaskInfo]:
        """Yield the record of every poll; the last one is terminal.

        Raises:
            SunoError: While iterating, if the outcome cannot be known.
        """
        poller = self._client.core().poller
        queue = QueueWaiter(interactive=True, readings=True)
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


class Creation(msgspec.Struct, frozen=True):
    """What became of one create.

    Attributes:
        index: The position of the input in its stream, from 0; 0 for a single `create`.
        job: The input.
        handle: The task; None if it was not created.
        error: None if it was created. `CreateOutcomeUnknownError` if that is not known.
    """

    index: int
    job: Input
    handle: TaskHandle | None = None
    error: SunoError | None = None

    @property
    def ok(self) -> bool:
        """Whether the task was created."""
        return self.error is None
