"""Convert an outcome to a row of a results file. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from suno_async import CreateOutcomeUnknownError, JobFailure, JobSuccess, TaskFailedError

if TYPE_CHECKING:
    from suno_async import JobOutcome, Outcome

#: Statuses of tasks that have ended.
FINAL = frozenset({"success", "failed"})

#: Statuses of inputs for which no task is known.
WITHOUT_TASK = frozenset({"not_created", "unknown"})


def outcome_row(outcome: Outcome | JobOutcome) -> dict[str, Any]:
    """Return an outcome as a dict that is written to a results file as one JSON object."""
    info = outcome.info
    job: dict[str, Any] = {}
    model = info.param.model if info else None
    if isinstance(outcome, JobSuccess | JobFailure):
        job, model = {"index": outcome.index}, outcome.job.KIND
    if isinstance(outcome.error, CreateOutcomeUnknownError):
        job["submission_id"] = outcome.error.submission_id
    return {
        **job,
        "task_id": outcome.task_id,
        "model": model,
        "status": outcome_status(outcome),
        "error": None if outcome.error is None else str(outcome.error),
        "create_at": info.create_at if info else None,
        "complete_at": info.complete_at if info else None,
        "duration_s": info.duration_s if info else None,
        "tracks": [msgspec.to_builtins(track) for track in info.tracks] if info else [],
        "stems": dict(info.stems) if info else {},
        "media_urls": list(info.media_urls) if info else [],
        # Names of files and tags depend on the input. So `poll --resume --download` needs it.
        "input": info.param.input if info else None,
    }


def outcome_status(outcome: Outcome | JobOutcome) -> str:
    """Return the status that a results file shows for an outcome.

    Returns:
        ``"success"``, ``"failed"``, ``"undecided"`` (the task may still be running), ``"unknown"``
        (it is not known whether a task was created) or ``"not_created"``.
    """
    if outcome.error is None:
        return "success"
    if isinstance(outcome.error, TaskFailedError):
        return "failed"
    if isinstance(outcome.error, CreateOutcomeUnknownError):
        return "unknown"
    return "undecided" if outcome.task_id else "not_created"
