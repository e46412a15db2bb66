"""Results as flat records, for a file or a database. No I/O.

Every field is text, an integer, a float or None. Text is valid Unicode without NUL characters, so
that every database accepts it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, TypeVar

import msgspec

from suno_async._protocol.task_info import read_stored_info
from suno_async.errors import CreateOutcomeUnknownError, SunoError, TaskFailedError
from suno_async.files.names import other_results
from suno_async.journal.base import JournalEntry
from suno_async.models import TaskInfo, TaskStatus
from suno_async.outcomes import Failure, JobFailure, JobSuccess, Success
from suno_async.submissions import SubmissionState

if TYPE_CHECKING:
    from suno_async.inputs import Input
    from suno_async.models import Track

#: The types that can be turned into records.
ResultSource: TypeAlias = Success | Failure | JobSuccess | JobFailure | TaskInfo | JournalEntry

Record = TypeVar("Record", bound=msgspec.Struct)


class ResultRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One job and how it ended. Text fields are empty if their value is unknown.

    Attributes:
        task_id: The id of the task or persona; empty if neither is known to exist.
        status: ``"success"``, ``"failed"``, ``"open"`` (not ended, or the end is not known),
            ``"unknown"`` (a task may or may not have been created) or ``"not_created"``.
        kind: The kind of job, such as ``"suno/music-generate"``.
        error: Why the job did not succeed, or why its outcome is unknown; empty if there was no
            error or no reason is known. If the reply that a journal stored cannot be decoded, this
            field says so, even if `status` is ``"success"``.
        created_at: When the task was created, in Unix seconds; None if unknown.
        ended_at: When the task ended, in Unix seconds; None if it has not ended, or if unknown.
        duration: How many seconds the task took; None if unknown.
        credits: The cost of the task in credits; before its end, the reserved credits. None if
            unknown.
        songs: Number of songs that the task made.
        input: The input of the job as JSON; empty if JSON cannot represent it. For an entry of a
            journal, this normally has all attributes of the input object, such as `extra`, even
            those that were not set.
        run: The name of the run in a journal.
        position: The position of the job in its pipeline or run, starting at 0; None if unknown.
        key: The text that identifies the job in a journal, within its run or its account.
        submission_id: The id of the create request in a journal.
        account: The label of the account in a journal.
    """

    task_id: str
    status: str
    kind: str = ""
    error: str = ""
    created_at: float | None = None
    ended_at: float | None = None
    duration: float | None = None
    credits: float | None = None
    songs: int = 0
    input: str = ""
    run: str = ""
    position: int | None = None
    key: str = ""
    submission_id: str = ""
    account: str = ""


class TrackRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One song, or one other result file: a stem, video, sound or image.

    Text fields are empty if their value is unknown.

    ``(task_id, index)`` identifies a record.

    Attributes:
        task_id: The id of the task.
        index: The number of the record within its task, starting at 1.
        kind: The name of a stem, such as ``"vocals"``; otherwise ``"audio"``, ``"image"`` or
            ``"video"``.
        suno_id: Suno's id of the song.
        title: The title.
        tags: Style tags, separated by commas.
        prompt: The lyrics or the prompt that the song was made from.
        model_name: Suno's model name, such as ``"chirp-crow"``.
        duration: Length of the audio in seconds; None if unknown.
        created_at: When the song was created, in Unix seconds; None if unknown.
        url: URL of the file. It may expire after some days.
        image_url: URL of the cover image.
    """

    task_id: str
    index: int
    kind: str = "audio"
    suno_id: str = ""
    title: str = ""
    tags: str = ""
    prompt: str = ""
    model_name: str = ""
    duration: float | None = None
    created_at: float | None = None
    url: str = ""
    image_url: str = ""


def result_record(source: ResultSource) -> ResultRecord:
    """Return the `ResultRecord` of an outcome, a `TaskInfo` or a `JournalEntry`."""
    if isinstance(source, JournalEntry):
        return _clean(_entry_record(source))
    if isinstance(source, TaskInfo):
        return _clean(_task_record(source, source.task_id, _STATUSES.get(source.status, "open")))
    found = _task_record(source.info, source.task_id, _outcome_status(source))
    if source.error is not None:
        found = msgspec.structs.replace(found, error=str(source.error))
    if isinstance(source, JobSuccess | JobFailure):
        found = msgspec.structs.replace(
            found,
            kind=source.job.KIND,
            position=source.index,
            input=_input_of(source.job),
        )
    return _clean(found)


def track_records(source: ResultSource) -> list[TrackRecord]:
    """Return a `TrackRecord` for each song and each other result file of a task.

    Other result files are stems, videos, sounds and images.

    The list is empty if the task has not succeeded. It is also empty if `source` is an entry of a
    journal whose stored reply cannot be decoded.
    """
    info = _info_of(source)
    if info is None or info.status is not TaskStatus.SUCCESS:
        return []
    rows = [_song_record(info.task_id, index, track) for index, track in enumerate(info.tracks, 1)]
    rows += [
        TrackRecord(task_id=info.task_id, index=index, kind=kind, url=url)
        for index, (kind, url) in enumerate(other_results(info), len(rows) + 1)
    ]
    return [_clean(row) for row in rows]


_STATUSES = {TaskStatus.SUCCESS: "success", TaskStatus.FAILED: "failed"}


def _song_record(task_id: str, index: int, track: Track) -> TrackRecord:
    return TrackRecord(
        task_id=task_id,
        index=index,
        suno_id=track.suno_id,
        title=track.title,
        tags=track.tags,
        prompt=track.prompt,
        model_name=track.model_name,
        duration=track.duration,
        created_at=track.create_at,
        url=track.suno_audio_url,
        image_url=track.suno_image_large_url or track.suno_image_url,
    )


def _task_record(info: TaskInfo | None, task_id: str, status: str) -> ResultRecord:
    if info is None:
        return ResultRecord(task_id=task_id, status=status)
    return ResultRecord(
        task_id=task_id,
        status=status,
        kind=info.param.model,
        error=info.failure.message if info.failure else "",
        created_at=info.create_at,
        ended_at=info.complete_at,
        duration=info.elapsed,
        credits=info.credits,
        songs=len(info.tracks),
        input=msgspec.json.encode(info.param.input).decode() if info.param.input else "",
    )


def _input_of(job: Input) -> str:
    """Return the input of a job as JSON; empty if JSON cannot represent it."""
    try:
        return msgspec.json.encode(job.payload()).decode()
    except (TypeError, ValueError, OverflowError, RecursionError):
        # An invalid input can contain anything: a lone surrogate, any object, deep nesting.
        return ""


def _entry_record(entry: JournalEntry) -> ResultRecord:
    task, submission = entry.task, entry.submission
    if task is None:
        found = ResultRecord(task_id="", status="not_created")
    else:
        info, problem = _read(entry)
        found = _task_record(info, task.task_id, task.status or "open")
        found = msgspec.structs.replace(
            found,
            kind=task.kind or found.kind,
            error=problem or found.error,
            created_at=found.created_at if task.created_at is None else task.created_at,
            # Without the server's time, use the time at which the final status was read.
            ended_at=task.ended_at if found.ended_at is None else found.ended_at,
            account=task.account,
        )
    if submission is None:
        return found
    if task is None:
        found = msgspec.structs.replace(
            found,
            task_id=submission.task_id,
            status=_SUBMISSION_STATUSES[submission.state],
            error=submission.error,
        )
        if submission.kind == "persona" and submission.state is SubmissionState.CREATED:
            # A persona has no task: it is complete when it is created.
            found = msgspec.structs.replace(
                found,
                status="success",
                created_at=submission.created_at,
                ended_at=submission.created_at,
            )
    return msgspec.structs.replace(
        found,
        kind=submission.kind or found.kind,
        input=submission.job.decode("utf-8", "replace") or found.input,
        run=submission.run,
        position=submission.position if submission.run else None,
        key=submission.key,
        submission_id=submission.id,
        account=submission.account,
    )


_SUBMISSION_STATUSES = {
    SubmissionState.PLANNED: "open",
    SubmissionState.SENDING: "open",
    SubmissionState.CREATED: "open",
    SubmissionState.UNKNOWN: "unknown",
    SubmissionState.REFUSED: "not_created",
    SubmissionState.NOT_SENT: "not_created",
}


def _info_of(source: ResultSource) -> TaskInfo | None:
    if isinstance(source, JournalEntry):
        return _read(source)[0]
    return source if isinstance(source, TaskInfo) else source.info


def _read(entry: JournalEntry) -> tuple[TaskInfo | None, str]:
    """Return the task record of a journal's entry, and an error text.

    The record is None if there is none, or if it cannot be decoded. The text is empty if there was
    no error.
    """
    task = entry.task
    if task is None or not task.raw:
        return None, ""
    try:
        return read_stored_info(task.raw, task.task_id, failed=task.status == "failed"), ""
    except SunoError as error:
        return None, f"the stored reply cannot be decoded: {error}"


def _outcome_status(outcome: Success | Failure) -> str:
    if outcome.error is None:
        return "success"
    if isinstance(outcome.error, TaskFailedError):
        return "failed"
    if isinstance(outcome.error, CreateOutcomeUnknownError):
        return "unknown"
    return "open" if outcome.task_id else "not_created"


def _clean(record: Record) -> Record:
    """Return the record without NUL characters and lone surrogates, which databases refuse."""
    changed: dict[str, str] = {}
    for name in record.__struct_fields__:
        value = getattr(record, name)
        if isinstance(value, str) and ("\0" in value or not _encodable(value)):
            changed[name] = value.replace("\0", "").encode(errors="replace").decode()
    return msgspec.structs.replace(record, **changed) if changed else record


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
