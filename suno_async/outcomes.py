"""The outcomes of tasks, and of jobs in a pipeline. No I/O.

An `Outcome` is a `Success` or a `Failure`. A `JobOutcome` is a `JobSuccess` or a `JobFailure`. To
distinguish them, use ``match``, ``isinstance`` or ``if outcome.error is None:``. Type checkers
support all three ways.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from suno_async.errors import SunoError
from suno_async.inputs import Input
from suno_async.models import TaskInfo


class Success(msgspec.Struct, frozen=True):
    """The task succeeded.

    Attributes:
        task_id: The id of the task.
        info: The final record of the task.
        error: Always None.
    """

    task_id: str
    info: TaskInfo
    error: None = None

    @property
    def ok(self) -> bool:
        """Always True."""
        return True

    def result(self) -> TaskInfo:
        """Return the final record of the task."""
        return self.info


class Failure(msgspec.Struct, frozen=True):
    """The task failed, or the wait ended before the task ended.

    Attributes:
        task_id: The id of the task; empty if no task is known to exist.
        error: A `TaskFailedError` if the task failed. Any other error says why the outcome of the
            task is unknown.
        info: The record of the task if it failed, or if it was found running when
            `PollPolicy.deadline` had passed; otherwise None.
    """

    task_id: str
    error: SunoError
    info: TaskInfo | None = None

    @property
    def ok(self) -> bool:
        """Always False."""
        return False

    def result(self) -> TaskInfo:
        """Raise `error`.

        Raises:
            SunoError: The error of this outcome.
        """
        raise self.error


class JobSuccess(Success, frozen=True, kw_only=True):
    """A job of `SunoClient.pipeline` or `SunoClient.resume` succeeded.

    Attributes:
        task_id: The id of the task.
        info: The final record of the task.
        error: Always None.
        index: The position of the job among the inputs of one call of `pipeline` or `create_many`,
            starting at 0. If `resume` yields a job of `SunoClient.create`, 0.
        job: The job.
    """

    index: int
    job: Input


class JobFailure(Failure, frozen=True, kw_only=True):
    """A job of `SunoClient.pipeline` or `SunoClient.resume` did not succeed.

    It failed, it was not created, or its outcome is unknown.

    Attributes:
        task_id: The id of the task; empty if no task is known to exist.
        error: A `TaskFailedError` if the task failed. A `CreateOutcomeUnknownError` if a task may
            or may not have been created. With any other error, no task was created if `task_id` is
            empty. Otherwise the outcome of the task is unknown.
        info: The record of the task if it failed, or if it was found running when
            `PollPolicy.deadline` had passed; otherwise None.
        index: The position of the job among the inputs of one call of `pipeline` or `create_many`,
            starting at 0. If `resume` yields a job of `SunoClient.create`, 0.
        job: The job.
    """

    index: int
    job: Input


Outcome: TypeAlias = Success | Failure
JobOutcome: TypeAlias = JobSuccess | JobFailure


def outcome_of(task_id: str, info: TaskInfo | None, error: SunoError | None) -> Outcome:
    """Return a `Failure` if `error` is given or `info` is None, otherwise a `Success`."""
    if error is not None:
        return Failure(task_id, error, info)
    if info is None:
        return Failure(task_id, SunoError(f"task {task_id} has no record"))
    return Success(task_id, info)


def with_job(outcome: Outcome, index: int, job: Input) -> JobOutcome:
    """Return the outcome of a task as a `JobOutcome`, with the job and its position."""
    if outcome.error is None:
        return JobSuccess(outcome.task_id, outcome.info, index=index, job=job)
    return JobFailure(outcome.task_id, outcome.error, outcome.info, index=index, job=job)
