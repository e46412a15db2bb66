"""Poll existing tasks: the tasks of an iterable, or all unfinished tasks in a journal."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterable
from typing import TYPE_CHECKING, TypeVar

from suno_async._journal_records import job_in, unknown_outcome
from suno_async._polling.waiters import CHUNK, QueueWaiter
from suno_async.errors import JournalError, TaskTimeoutError
from suno_async.models import TaskRef
from suno_async.outcomes import Failure, JobFailure, JobOutcome, Outcome, Success, with_job
from suno_async.submissions import SubmissionState

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterable

    from suno_async._recording import Recorder
    from suno_async._runtime import Runtime
    from suno_async.inputs import Input
    from suno_async.journal.base import SubmissionRecord
    from suno_async.models import TaskInfo

logger = logging.getLogger("suno_async")

T = TypeVar("T")


async def completions(
    runtime: Runtime,
    tasks: Iterable[TaskRef] | AsyncIterable[TaskRef],
    timeout: float | None,
) -> AsyncIterator[Outcome]:
    """Yield the outcome of each task as soon as it is known. See `SunoClient.as_completed`.

    All `tasks` are read before the first poll. Outcomes in the journal come first. `timeout` is in
    seconds, for all tasks together. It includes the time to read `tasks` and the journal, but it
    does not interrupt this reading. None means no timeout. `PollPolicy.deadline` also ends the wait
    for a task.
    """
    poller = runtime.poller
    queue = QueueWaiter(interactive=False)
    watchers = (queue,)
    pending = set[str]()
    ends_at = None if timeout is None else runtime.loop.time() + timeout
    try:
        given = await _collected(tasks)
        if runtime.recorder is not None:
            async for stored in _stored(runtime, given):
                yield stored
        for number, ref in enumerate(given.values(), 1):
            pending.add(ref.task_id)
            poller.watch(ref, watchers)
            if number % CHUNK == 0:
                await asyncio.sleep(0)
        given.clear()
        while pending:
            outcome = await _next_outcome(queue, ends_at)
            if outcome is None:
                break
            if outcome.task_id not in pending:
                continue
            pending.remove(outcome.task_id)
            if len(pending) % CHUNK == 0:
                # Without this, the event loop would not run while outcomes are in the queue.
                await asyncio.sleep(0)
            yield outcome
        async for outcome in _timeouts(runtime, pending, queue, timeout):
            yield outcome
    finally:
        poller.leave(pending, queue)


async def _timeouts(
    runtime: Runtime, pending: set[str], queue: QueueWaiter, timeout: float | None
) -> AsyncIterator[Outcome]:
    """Stop waiting for the tasks in `pending`. Then yield a timeout failure for each of them.

    If the outcome of a task arrives in the meantime, yield this outcome instead.
    """
    poller = runtime.poller
    late: dict[str, tuple[str, float | None]] = {}
    while pending:
        task_id = pending.pop()
        late[task_id] = poller.last_seen(task_id)
        poller.unwatch(task_id, queue)
        if len(late) % CHUNK == 0:
            await asyncio.sleep(0)
    while (outcome := _outcome(queue.get_nowait())) is not None:
        if late.pop(outcome.task_id, None) is not None:
            if len(late) % CHUNK == 0:
                await asyncio.sleep(0)
            yield outcome
    for number, (task_id, seen) in enumerate(late.items(), 1):
        if number % CHUNK == 0:
            await asyncio.sleep(0)
        reason = f"not finished within the timeout of {timeout:g} s"
        yield Failure(task_id, TaskTimeoutError(task_id, reason, *seen))


async def _stored(runtime: Runtime, given: dict[str, TaskRef]) -> AsyncIterator[Outcome]:
    """Yield the outcomes that the journal contains for tasks in `given`.

    Remove each task with such an outcome from `given`.
    """
    task_ids = list(given)
    for start in range(0, len(task_ids), CHUNK):
        found = await runtime.stored(task_ids[start : start + CHUNK])
        for task_id, outcome in found.items():
            del given[task_id]
            yield outcome


async def _collected(tasks: Iterable[TaskRef] | AsyncIterable[TaskRef]) -> dict[str, TaskRef]:
    """Return the references by task id. Of several for one task, prefer one with a time."""
    given: dict[str, TaskRef] = {}
    number = 0
    async for ref in iterate(tasks):
        if ref.created_at is not None or ref.task_id not in given:
            given[ref.task_id] = ref
        number += 1
        if number % CHUNK == 0:
            await asyncio.sleep(0)
    return given


async def _next_outcome(queue: QueueWaiter, ends_at: float | None) -> Outcome | None:
    """Return the next outcome; None if the timeout has passed and the queue is empty."""
    if ends_at is None:
        return _outcome(await queue.get())
    try:
        async with asyncio.timeout_at(ends_at):
            return _outcome(await queue.get())
    except TimeoutError:
        # An outcome may have arrived in the same turn of the event loop.
        return _outcome(queue.get_nowait())


def _outcome(item: Outcome | TaskInfo | None) -> Outcome | None:
    return item if isinstance(item, Success | Failure) else None


async def resumed(
    runtime: Runtime, recorder: Recorder, run: str | None
) -> AsyncGenerator[JobOutcome]:
    """Yield failures for creates with an unknown outcome, then the outcomes of unfinished tasks.

    A *create* is a request that creates a task. A *run* is a named series of creates. The creates
    and the tasks come from the journal. If `run` is None, use all of them. If `run` is empty, use
    those without a run. Otherwise, use only the creates and tasks of the run with this name. Skip
    each create whose job cannot be decoded, and each persona, with a warning in the log. See
    `SunoClient.resume`.

    Raises:
        RunInUseError: The run is already reserved, in this process or in another one.
        JournalError: The journal cannot be read.
    """
    journal = recorder.journal
    async with recorder.holding(run or ""):
        async for entry in journal.entries(run=run, states=[SubmissionState.UNKNOWN]):
            record = entry.submission
            if record is not None and (job := _readable(record)) is not None:
                yield JobFailure("", unknown_outcome(record), index=record.position, job=job)
        records: dict[str, tuple[SubmissionRecord, Input]] = {}
        async for entry in journal.entries(
            run=run, states=[SubmissionState.CREATED], open_only=True
        ):
            record = entry.submission
            if record is not None and (job := _readable(record)) is not None:
                records[record.task_id] = record, job
        refs = [
            TaskRef(task_id, record.created_at, record.kind)
            for task_id, (record, _) in records.items()
        ]
        async for outcome in completions(runtime, refs, None):
            record, job = records[outcome.task_id]
            yield with_job(outcome, record.position, job)


def _readable(record: SubmissionRecord) -> Input | None:
    """Return the job in a record of the journal; None if the job cannot be decoded."""
    try:
        return job_in(record)
    except JournalError as error:
        # For example, the job is a persona, which has no task, or a newer version stored the job.
        logger.warning(
            "submission %s (%s, %s) is skipped: %s", record.id, record.kind, record.state, error
        )
        return None


async def iterate(items: Iterable[T] | AsyncIterable[T]) -> AsyncGenerator[T]:
    """Yield the items of a synchronous or asynchronous iterable."""
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
