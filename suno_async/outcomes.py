"""How a wait ended: for a task, and for a job of a pipeline. Pure.

`Outcome` is `Success` or `Failure`, and `JobOutcome` is `JobSuccess` or `JobFailure`. Type checkers
narrow them by ``match``, by ``isinstance`` and by ``if outcome.error is None:``.
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
        task_id: The task.
        info: Its record.
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
        """Return the record."""
        return self.info


class Failure(msgspec.Struct, frozen=True):
    """The task failed, or its outcome is not known.

    Attributes:
        task_id: The task; empty if none was created, or if that is not known.
        error: `TaskFailedError` if the task failed; other classes say why the outcome is unknown.
        info: The last record of the task; None if none was read.
    """

    task_id: str
    error: SunoError
    info: TaskInfo | None = None

    @property
    def ok(self) -> bool:
        """Always False."""
        return False

    def result(self) -> TaskInfo:
        """Raise the error.

        Raises:
            SunoError: `error`.
        """
        raise self.error


class JobSuccess(Success, frozen=True, kw_only=True):
    """A job of a pipeline succeeded.

    Attributes:
        task_id: The task.
        info: Its record.
        error: Always None.
        index: The position of the input in the source, from 0.
        job: The input.
    """

    index: int
    job: Input


class JobFailure(Failure, frozen=True, kw_only=True):
    """A job of a pipeline failed, was not created, or its outcome is not known.

    Attributes:
        task_id: The task; empty if none was created, or if that is not known.
        error: Why.
        info: The last record of the task; None if none was read.
        index: The position of the input in the source, from 0.
        job: The input.
    """

    index: int
    job: Input


Outcome: TypeAlias = Success | Failure
JobOutcome: TypeAlias = JobSuccess | JobFailure


def outcome_of(task_id: str, info: TaskInfo | None, error: SunoError | None) -> Outcome:
    """Return the outcome of a task: a success needs a record and no error."""
    if error is not None:
        return Failure(task_id, error, info)
    if info is None:
        return Failure(task_id, SunoError(f"task {task_id} has no record"))
    return Success(task_id, info)


def with_job(outcome: Outcome, index: int, job: Input) -> JobOutcome:
    """Return the outcome of a job by the outcome of its task."""
    if outcome.error is None:
        return JobSuccess(outcome.task_id, outcome.info, index=index, job=job)
    return JobFailure(outcome.task_id, outcome.error, outcome.info, index=index, job=job)
