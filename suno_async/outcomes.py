"""How a wait ended. Pure."""

from __future__ import annotations

import msgspec

from suno_async.errors import (
    SunoError,
)
from suno_async.inputs import Input
from suno_async.models import TaskInfo


class Outcome(msgspec.Struct, frozen=True):
    """How waiting for one task ended: with its record, with an error, or with both.

    Attributes:
        task_id: Which task.
        info: Its last record; None if none was read.
        error: None if the task succeeded.
    """

    task_id: str
    info: TaskInfo | None = None
    error: SunoError | None = None

    @property
    def ok(self) -> bool:
        """The task succeeded."""
        return self.error is None

    def result(self) -> TaskInfo:
        """The record of a task that succeeded.

        Raises:
            SunoError: The outcome's own error.
        """
        if self.error is not None:
            raise self.error
        if self.info is None:
            raise SunoError(f"task {self.task_id} has no record")
        return self.info


class JobOutcome(Outcome, frozen=True, kw_only=True):
    """How one job of a pipeline ended: an `Outcome` with its input.

    Attributes:
        task_id: The task; empty if none was created, or if that is not known.
        info: Its last record; None if none was read.
        error: None if the task succeeded.
        index: The position of the input, from 0.
        job: The input.
    """

    index: int
    job: Input
