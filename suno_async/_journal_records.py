"""Convert the create requests and results of a client to records of a journal, and back.

A *submission* is one create request and its state.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import msgspec

from suno_async._protocol.task_info import read_stored_info
from suno_async.errors import CreateOutcomeUnknownError, JournalError, SunoError, TaskFailedError
from suno_async.inputs import KINDS, Input
from suno_async.journal.base import SubmissionRecord, TaskRecord
from suno_async.outcomes import Outcome, outcome_of

if TYPE_CHECKING:
    from suno_async.submissions import Submission


def outcome_in(task: TaskRecord) -> Outcome:
    """Return the outcome of an ended task from its record in the journal.

    If the record cannot be decoded, return a `Failure` whose `info` is None.
    """
    error: SunoError | None = None
    info = None
    try:
        info = read_stored_info(task.raw, task.task_id, failed=task.status == "failed")
    except SunoError as problem:
        error = problem
    if info is not None and task.status != "success":
        reason = info.failure.message if info.failure is not None else ""
        error = TaskFailedError(task.task_id, reason, info)
    return outcome_of(task.task_id, info, error)


def unknown_outcome(record: SubmissionRecord) -> CreateOutcomeUnknownError:
    """Return the error for a stored submission whose outcome is unknown."""
    cause = record.error or "the process ended before the reply arrived"
    return CreateOutcomeUnknownError(cause, record.kind, record.job, record.id)


def job_in(record: SubmissionRecord) -> Input:
    """Return the job of a stored submission.

    Raises:
        JournalError: The submission is a persona, or its job cannot be decoded.
    """
    try:
        return msgspec.json.decode(record.job, type=KINDS[record.kind])
    except (KeyError, msgspec.DecodeError, UnicodeDecodeError):
        problem = (
            "a persona is not a job"
            if record.kind == "persona"
            else f"this version of suno_async cannot decode a job of kind {record.kind!r}"
        )
    raise JournalError(problem)


def record_of(submission: Submission, account: str, now: float) -> SubmissionRecord:
    """Return the record of a planned submission. `now` is Unix time in seconds."""
    job = submission.job
    stored = msgspec.json.encode(job)
    # The digest is computed from the decoded job, so that the same job, read from the journal
    # later, has the same digest: 1 in a field for fractions becomes 1.0.
    payload = msgspec.json.decode(stored, type=type(job)).payload()
    return SubmissionRecord(
        id=submission.id,
        account=account,
        kind=submission.kind,
        job=stored,
        digest=digest_of(submission.kind, payload),
        run=submission.run,
        position=submission.index,
        key=submission.key,
        callback_url=submission.callback_url,
        planned_at=now,
        changed_at=now,
    )


def reason_of(error: SunoError | None) -> str:
    """Return the text of an error for the journal. It is valid Unicode."""
    if error is None:
        return ""
    # `unknown_outcome` makes a whole message of the cause again.
    text = error.cause if isinstance(error, CreateOutcomeUnknownError) else str(error)
    return text.encode(errors="replace").decode()


def digest_of(kind: str, payload: dict[str, Any]) -> str:
    """Return a hash of a job. Jobs with the same request have the same hash."""
    data = msgspec.json.encode([kind, payload], order="deterministic")
    return hashlib.blake2b(data, digest_size=16).hexdigest()
