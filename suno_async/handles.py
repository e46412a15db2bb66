"""The handle of one task, and the result of a create (a request that creates a task)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from suno_async._polling.waiters import FutureWaiter, QueueWaiter
from suno_async.errors import SunoError, TaskTimeoutError
from suno_async.inputs import GeneratePersona, Input
from suno_async.models import Persona, TaskInfo, TaskRef

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator

    from suno_async._runtime import Runtime


class TaskHandle:
    """The handle of one task. Await the handle to get the result of the task.

    To read the current record without waiting for the task to end, call `info`.

    Attributes:
        ref: The task as plain data. Save this value, and pass it to `SunoClient.task` to get a
            handle again.
    """

    __slots__ = ("_runtime", "ref")

    def __init__(self, runtime: Callable[[], Runtime], ref: TaskRef) -> None:
        self._runtime = runtime
        self.ref = ref

    def __repr__(self) -> str:
        return f"<TaskHandle {self.id}>"

    def __await__(self) -> Generator[object, None, TaskInfo]:
        return self.result().__await__()

    @property
    def id(self) -> str:
        """The server's id of the task."""
        return self.ref.task_id

    @property
    def created_at(self) -> float | None:
        """When the task was created, in Unix seconds; None if unknown."""
        return self.ref.created_at

    @property
    def kind(self) -> str:
        """The kind of job, such as ``"suno/music-generate"``; empty if unknown."""
        return self.ref.kind

    async def result(self, *, timeout: float | None = None) -> TaskInfo:
        """Wait until the task has succeeded, and return its record.

        If the journal contains the result, no request is sent. If this call is cancelled, the job
        continues.

        Args:
            timeout: Maximum time to wait in seconds. None means no timeout. `PollPolicy.deadline`
                also ends the wait.

        Raises:
            TaskFailedError: The task failed.
            TaskTimeoutError: The timeout or the deadline passed; the task continues.
            SunoError: The outcome of the task is unknown, for example because the client was
                closed.
        """
        runtime = self._runtime()
        ends_at = None if timeout is None else runtime.loop.time() + timeout
        if runtime.recorder is not None:
            # The timeout does not interrupt this, so that ``timeout=0`` returns a stored result.
            stored = await runtime.stored([self.id])
            if stored:
                return stored[self.id].result()
        poller = runtime.poller
        waiter = FutureWaiter()
        poller.watch(self.ref, (waiter,))
        late: TaskTimeoutError | None = None
        try:
            if ends_at is None:
                # There may be 100,000 waits, and `asyncio.wait` needs more memory for each.
                await waiter.outcome
            else:
                await asyncio.wait([waiter.outcome], timeout=ends_at - runtime.loop.time())
            if not waiter.outcome.done():
                reason = f"not finished within the timeout of {timeout:g} s"
                late = TaskTimeoutError(self.id, reason, *poller.last_seen(self.id))
        finally:
            poller.unwatch(self.id, waiter)
        if late is not None:
            raise late
        return waiter.outcome.result().result()

    async def info(self) -> TaskInfo:
        """Read the record of the task now, as `SunoClient.task_info` does.

        Raises:
            SunoError: The server returned an error, or no usable reply arrived.
        """
        return await self._runtime().task_info(self.id)

    async def updates(self) -> AsyncIterator[TaskInfo]:
        """Yield the record of the task each time a poll returns it. The last record is final.

        If the task failed, the last record contains the failure, and no error is raised.

        Raises:
            TaskTimeoutError: `PollPolicy.deadline` passed; the task continues.
            SunoError: The outcome of the task is unknown.
        """
        poller = self._runtime().poller
        queue = QueueWaiter(interactive=True, readings=True)
        poller.watch(self.ref, (queue,))
        try:
            while isinstance(item := await queue.get(), TaskInfo):
                yield item
        finally:
            poller.unwatch(self.id, queue)
        if item.info is None or not item.info.status.terminal:
            item.result()
        else:
            yield item.info


class Created(msgspec.Struct, frozen=True):
    """The result of a create that succeeded.

    If the journal already contained a task for the key of the input, no request was sent, and
    `handle` is the handle of that task.

    Attributes:
        index: The position of the input in the call of `create_many` or `pipeline`, starting at 0.
            Always 0 for `create`.
        job: The input.
        handle: The handle of the task.
        error: Always None.
    """

    index: int
    job: Input
    handle: TaskHandle
    error: None = None

    @property
    def ok(self) -> bool:
        """Always True."""
        return True


class NotCreated(msgspec.Struct, frozen=True):
    """The result of a create request that failed, or whose outcome is unknown.

    Attributes:
        index: The position of the input in the call of `create_many` or `pipeline`, starting at 0.
            Always 0 for `create`.
        job: The input.
        error: Why the create did not succeed. If this is a `CreateOutcomeUnknownError`, the task
            may exist.
        handle: Always None.
    """

    index: int
    job: Input
    error: SunoError
    handle: None = None

    @property
    def ok(self) -> bool:
        """Always False."""
        return False


Creation: TypeAlias = Created | NotCreated


class PersonaCreation(msgspec.Struct, frozen=True):
    """The result of creating a persona. The function `on_creation` of the client receives it.

    Attributes:
        job: The input.
        persona: The new persona; None if there is an error.
        error: Why the create failed; None if a persona was created. After a
            `CreateOutcomeUnknownError`, the persona may exist.
        index: Always 0.
        handle: Always None, because a persona is not a task.
    """

    job: GeneratePersona
    persona: Persona | None
    error: SunoError | None
    index: int = 0
    handle: None = None

    @property
    def ok(self) -> bool:
        """Whether the persona was created. False if this is unknown."""
        return self.error is None
