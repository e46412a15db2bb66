"""Run a batch: create the inputs, poll the tasks, and keep the journal."""

from __future__ import annotations

import asyncio
import contextlib
from typing import IO, TYPE_CHECKING, Any

import msgspec

from suno_async import (
    CreateOutcomeUnknownError,
    JobFailure,
    JobSuccess,
    SubmissionState,
    SunoError,
)
from suno_async.cli.batch_plan import Step

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Sequence

    from suno_async import Creation, Input, JobOutcome, Submission, SunoClient, TaskInfo
    from suno_async.cli.batch_plan import Plan
    from suno_async.cli.progress import Progress


class Batch:
    """Runs a plan.

    Args:
        suno: The client.
        jobs: All inputs of the batch.
        digests: Their hashes.
        journal: The file for the steps. Each step is written right before or right after it
            happens.
    """

    def __init__(
        self, suno: SunoClient, jobs: Sequence[Input], digests: Sequence[str], journal: IO[str]
    ) -> None:
        self._suno = suno
        self._jobs = jobs
        self._digests = digests
        self._journal = journal

    async def run(
        self,
        plan: Plan,
        progress: Progress,
        out: IO[str],
        *,
        max_pending: int,
        callback_url: str | None,
        max_credits: float | None,
        wait_for_credits: bool,
        on_success: Callable[[TaskInfo], Coroutine[Any, Any, None]],
    ) -> SunoError | None:
        """Create and poll what is left to do.

        Args:
            plan: What is left to do.
            progress: Where outcomes are counted.
            out: The results file.
            max_pending: Most tasks open at once.
            callback_url: As in `SunoClient.pipeline`.
            max_credits: As in `SunoClient.pipeline`.
            wait_for_credits: As in `SunoClient.pipeline`.
            on_success: Called with the record of each task that succeeds. It runs beside the
                polling.

        Returns:
            The error that stopped the creates; None if all were created. Tasks that were created
            are polled to their end in both cases.
        """

        async def record(outcomes: AsyncIterator[JobOutcome], group: asyncio.TaskGroup) -> None:
            async for outcome in outcomes:
                progress.record(outcome, out)
                if outcome.error is None:
                    group.create_task(on_success(outcome.info))

        stream = self._suno.pipeline(
            [self._jobs[index] for index in plan.create],
            max_pending=max_pending,
            callback_url=callback_url,
            max_credits=max_credits,
            wait_for_credits=wait_for_credits,
            on_creation=lambda creation: self._note_creation(plan.create, creation),
            on_submission=lambda submission: self._note_submission(plan.create, submission),
        )
        stopped_by: SunoError | None = None
        try:
            async with asyncio.TaskGroup() as group, contextlib.aclosing(stream):
                resumed = group.create_task(record(self._polled(plan.poll), group))
                try:
                    await record(_renumbered(stream, plan.create), group)
                except SunoError as error:
                    stopped_by = error
                await resumed
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return stopped_by

    async def _polled(self, tasks: dict[str, int]) -> AsyncIterator[JobOutcome]:
        """Poll tasks that an earlier run created."""
        async for each in self._suno.as_completed(tasks):
            index = tasks[each.task_id]
            job = self._jobs[index]
            if each.error is None:
                yield JobSuccess(each.task_id, each.info, index=index, job=job)
            else:
                yield JobFailure(each.task_id, each.error, each.info, index=index, job=job)

    def _note_submission(self, indices: Sequence[int], submission: Submission) -> None:
        """Write that a request may be sent from now on, or that it was not accepted."""
        sending = submission.state is SubmissionState.SENDING
        self._write(indices[submission.index], "sending" if sending else "not_created")

    def _note_creation(self, indices: Sequence[int], creation: Creation) -> None:
        """Write the outcome of a create."""
        index = indices[creation.index]
        if creation.error is None:
            self._write(index, "created", creation.handle.id)
        elif isinstance(creation.error, CreateOutcomeUnknownError):
            self._write(index, "unknown")
        else:
            self._write(index, "not_created")

    def _write(self, index: int, state: str, task_id: str = "") -> None:
        step = Step(index, self._digests[index], state, task_id)
        self._journal.write(msgspec.json.encode(step).decode() + "\n")
        # The line must reach the operating system before the request is sent.
        self._journal.flush()


async def _renumbered(
    outcomes: AsyncIterator[JobOutcome], indices: Sequence[int]
) -> AsyncIterator[JobOutcome]:
    """Yield the outcomes of a part of the inputs with their indices in the whole file."""
    async for each in outcomes:
        yield msgspec.structs.replace(each, index=indices[each.index])
