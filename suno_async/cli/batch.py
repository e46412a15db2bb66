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
    from collections.abc import AsyncIterator, Callable, Sequence

    from suno_async import Creation, Input, JobOutcome, Submission, SunoClient, TaskInfo
    from suno_async.cli.batch_plan import Plan
    from suno_async.cli.downloads import Downloads
    from suno_async.cli.progress import Progress


class Batch:
    """Runs a plan.

    Args:
        jobs: All inputs of the batch.
        digests: Their hashes.
    """

    def __init__(self, jobs: Sequence[Input], digests: Sequence[str]) -> None:
        self._jobs = jobs
        self._digests = digests

    async def run(
        self,
        suno: SunoClient,
        plan: Plan,
        progress: Progress,
        out: IO[str],
        journal: IO[str],
        downloads: Downloads | None,
        earlier: Sequence[TaskInfo],
        **options: Any,  # noqa: ANN401 (passed on)
    ) -> SunoError | None:
        """Create and poll what is left to do.

        Args:
            suno: The client.
            plan: What is left to do.
            progress: Where outcomes are counted.
            out: The results file.
            journal: The file for the steps. Each step is written right before or right after it
                happens.
            downloads: Downloads the files of tasks that succeed, beside the polling.
            earlier: Tasks of an earlier run whose files may be missing.
            options: Options of `SunoClient.pipeline`.

        Returns:
            The error that stopped the creates; None if all were created. Tasks that were created
            are polled to their end in both cases.
        """

        async def record(outcomes: AsyncIterator[JobOutcome], group: asyncio.TaskGroup) -> None:
            async for outcome in outcomes:
                progress.record(outcome, out)
                if outcome.error is None and downloads is not None:
                    group.create_task(downloads.fetch(outcome.info))

        def write(index: int, state: str, task_id: str = "") -> None:
            step = Step(index, self._digests[index], state, task_id)
            journal.write(msgspec.json.encode(step).decode() + "\n")
            # The line must reach the operating system before the request is sent.
            journal.flush()

        stream = suno.pipeline(
            [self._jobs[index] for index in plan.create],
            on_creation=lambda creation: _note_creation(write, plan.create, creation),
            on_submission=lambda submission: _note_submission(write, plan.create, submission),
            **options,
        )
        stopped_by: SunoError | None = None
        try:
            async with asyncio.TaskGroup() as group, contextlib.aclosing(stream):
                if downloads is not None and earlier:
                    group.create_task(downloads.fetch(earlier))
                resumed = group.create_task(record(self._polled(suno, plan.poll), group))
                try:
                    await record(_renumbered(stream, plan.create), group)
                except SunoError as error:
                    stopped_by = error
                await resumed
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return stopped_by

    async def _polled(self, suno: SunoClient, tasks: dict[str, int]) -> AsyncIterator[JobOutcome]:
        """Poll tasks that an earlier run created."""
        async for each in suno.as_completed(tasks):
            index = tasks[each.task_id]
            job = self._jobs[index]
            if each.error is None:
                yield JobSuccess(each.task_id, each.info, index=index, job=job)
            else:
                yield JobFailure(each.task_id, each.error, each.info, index=index, job=job)


def _note_submission(
    write: Callable[..., None], indices: Sequence[int], submission: Submission
) -> None:
    """Write that a request may be sent from now on, or that it was not accepted."""
    sending = submission.state is SubmissionState.SENDING
    write(indices[submission.index], "sending" if sending else "not_created")


def _note_creation(write: Callable[..., None], indices: Sequence[int], creation: Creation) -> None:
    """Write the outcome of a create."""
    index = indices[creation.index]
    if creation.error is None:
        write(index, "created", creation.handle.id)
    elif isinstance(creation.error, CreateOutcomeUnknownError):
        write(index, "unknown")
    else:
        write(index, "not_created")


async def _renumbered(
    outcomes: AsyncIterator[JobOutcome], indices: Sequence[int]
) -> AsyncIterator[JobOutcome]:
    """Yield the outcomes of a part of the inputs with their indices in the whole file."""
    async for each in outcomes:
        yield msgspec.structs.replace(each, index=indices[each.index])
