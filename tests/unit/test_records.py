"""`result_record` and `track_records` convert outcomes to flat records."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suno_async import (
    CreateOutcomeUnknownError,
    Failure,
    GenerateMusic,
    InvalidInputError,
    JobFailure,
    JobSuccess,
    ResultRecord,
    SubmissionState,
    Success,
    TaskFailedError,
    TaskInfo,
    TaskStatus,
    TaskTimeoutError,
    Track,
    TrackRecord,
    result_record,
    track_records,
)
from suno_async._journal_records import outcome_in
from suno_async._protocol.task_info import read_task_info
from suno_async.journal.base import JournalEntry, SubmissionRecord, TaskRecord
from tests.mutations import SAMPLES

if TYPE_CHECKING:
    from suno_async import SunoError

TASK = "d6956973-2f17-43d4-8514-af6cc3a2f55d"
INFO = read_task_info(200, {}, SAMPLES["success"])
FAILED = read_task_info(200, {}, SAMPLES["failed"])
JOB = GenerateMusic("slow piano", instrumental=True)
SUBMISSION = SubmissionRecord(
    id="sub-1",
    account="main",
    kind="suno/music-generate",
    job=b'{"prompt":"slow piano"}',
    run="night",
    position=7,
    key="row-7",
    state=SubmissionState.CREATED,
    task_id=TASK,
)


def ended(sample: str = "success", status: str = "success", **fields: object) -> TaskRecord:
    """Return a record of an ended task, as a journal stores it."""
    given = {"task_id": TASK, "account": "main", "status": status, "raw": SAMPLES[sample]}
    return msgspec.convert({**given, "ended_at": 1768900470.0, **fields}, TaskRecord)


def test_a_song() -> None:
    """A successful job has one `ResultRecord`, and one `TrackRecord` for each song."""
    found = result_record(JobSuccess(TASK, INFO, index=7, job=JOB))
    assert found == ResultRecord(
        task_id=TASK,
        status="success",
        kind="suno/music-generate",
        created_at=1768900378,
        ended_at=1768900464,
        duration=86,
        credits=12,
        songs=2,
        input=msgspec.json.encode(JOB.payload()).decode(),
        position=7,
    )
    first, second = track_records(Success(TASK, INFO))
    assert first == TrackRecord(
        task_id=TASK,
        index=1,
        kind="audio",
        suno_id="b1946ac9-2492-4d23-8a5c-1f0f6a1d7a10",
        title="雨の朝",
        tags="slow piano, rain",
        prompt="[Verse]\nla la la",
        model_name="chirp-crow",
        duration=183.4,
        created_at=1768900460,
        url="https://cdn.example.com/0.mp3",
        image_url="https://cdn.example.com/0_large.jpeg",
    )
    assert second.index == 2


def test_stems_and_videos() -> None:
    """Each stem (separated voice or instrument) and each video has its own `TrackRecord`."""
    stems = track_records(read_task_info(200, {}, SAMPLES["vocal_separation"]))
    assert [(row.index, row.kind) for row in stems] == [(1, "vocals"), (2, "instrumental")]
    assert stems[0].url == "https://cdn.example.com/vocals.mp3"
    (video,) = track_records(read_task_info(200, {}, SAMPLES["video"]))
    assert (video.kind, video.url) == ("video", "https://cdn.example.com/video.mp4")


@pytest.mark.parametrize(
    ("task_id", "error", "status"),
    [
        (TASK, TaskFailedError(TASK, "failed", FAILED), "failed"),
        (TASK, TaskTimeoutError(TASK, "too late"), "open"),
        ("", CreateOutcomeUnknownError("lost", "suno/music-generate", b""), "unknown"),
        ("", InvalidInputError(("prompt: is missing",)), "not_created"),
    ],
)
def test_failures(task_id: str, error: SunoError, status: str) -> None:
    """A failure has a `ResultRecord` with a status and the error, but no `TrackRecord`."""
    for failure in (Failure(task_id, error), JobFailure(task_id, error, index=0, job=JOB)):
        found = result_record(failure)
        assert (found.task_id, found.status, found.error) == (task_id, status, str(error))
        assert track_records(failure) == []


@pytest.mark.parametrize(
    ("info", "status"),
    [
        (INFO, "success"),
        (FAILED, "failed"),
        (TaskInfo(task_id="a", status=TaskStatus.RUNNING), "open"),
        (TaskInfo(task_id="a", status=TaskStatus.UNKNOWN), "open"),
    ],
)
def test_tasks(info: TaskInfo, status: str) -> None:
    """Each `TaskInfo` has a `ResultRecord`, but only a successful task has a `TrackRecord`."""
    assert result_record(info).status == status
    assert bool(track_records(info)) == (status == "success")


@pytest.mark.parametrize("what", ["surrogate", "object", "nesting"])
def test_an_input_that_json_cannot_represent(what: str) -> None:
    """The record of a job has no input if the input cannot be encoded as JSON."""
    value: object = "caf\udce9" if what == "surrogate" else object()
    for _ in range(100_000 if what == "nesting" else 0):
        value = [value]
    job = GenerateMusic("p", extra={"a": value})
    found = result_record(JobFailure("", InvalidInputError(("wrong",)), index=3, job=job))
    assert (found.status, found.position, found.input) == ("not_created", 3, "")


def test_an_entry_of_a_journal() -> None:
    """The result record of a journal entry contains the stored result, run, position and key."""
    entry = JournalEntry(SUBMISSION, ended())
    found = result_record(entry)
    assert found.status == "success"
    assert (found.songs, found.credits, found.ended_at) == (2, 12, 1768900464)
    assert (found.run, found.position, found.key) == ("night", 7, "row-7")
    assert (found.submission_id, found.account) == ("sub-1", "main")
    assert found.input == '{"prompt":"slow piano"}'
    assert track_records(entry) == track_records(INFO)


@pytest.mark.parametrize(
    ("entry", "status", "error"),
    [
        (JournalEntry(SUBMISSION, None), "open", ""),
        (JournalEntry(SUBMISSION, TaskRecord(task_id=TASK)), "open", ""),
        (JournalEntry(None, TaskRecord(task_id=TASK)), "open", ""),
        (JournalEntry(None, None), "not_created", ""),
        (JournalEntry(None, ended("failed", "failed")), "failed", "copyrighted material"),
        (JournalEntry(None, ended(raw=b"")), "success", ""),
        (JournalEntry(None, ended(raw=b"{")), "success", "cannot be decoded"),
        *(
            (JournalEntry(msgspec.structs.replace(SUBMISSION, state=state, error="x"), None), *rest)
            for state, *rest in (
                (SubmissionState.PLANNED, "open", "x"),
                (SubmissionState.SENDING, "open", "x"),
                (SubmissionState.UNKNOWN, "unknown", "x"),
                (SubmissionState.REFUSED, "not_created", "x"),
                (SubmissionState.NOT_SENT, "not_created", "x"),
            )
        ),
    ],
)
def test_other_entries(entry: JournalEntry, status: str, error: str) -> None:
    """A journal entry has one result record, even after a failure or a damaged reply."""
    found = result_record(entry)
    assert found.status == status
    assert error in found.error


@pytest.mark.parametrize(
    "raw",
    [
        b'{"code":200,"message":"bad lyrics","data":null}',
        b'{"code":200,"message":"bad lyrics","data":{"status":"running","task_id":"%s"}}'
        % TASK.encode(),
    ],
)
def test_a_failure_that_only_the_http_status_reported(raw: bytes) -> None:
    """A stored failure keeps its reason, although the journal does not store the HTTP status."""
    info = read_task_info(501, {}, raw, TASK)
    assert (info.status, info.failure and info.failure.message) == ("failed", "bad lyrics")
    task = ended(status="failed", raw=raw)
    found = result_record(JournalEntry(None, task))
    assert (found.status, found.error) == ("failed", "bad lyrics")
    outcome = outcome_in(task)
    assert outcome.info == info
    assert isinstance(outcome.error, TaskFailedError)
    assert outcome.error.reason == "bad lyrics"


def test_a_persona() -> None:
    """The record of a persona is "open" before the creation, and "success" after the creation."""
    submission = msgspec.structs.replace(SUBMISSION, kind="persona", created_at=5.0)
    found = result_record(JournalEntry(submission, None))
    assert (found.status, found.task_id) == ("success", TASK)
    assert (found.created_at, found.ended_at) == (5.0, 5.0)
    submission = msgspec.structs.replace(submission, state=SubmissionState.SENDING)
    assert result_record(JournalEntry(submission, None)).status == "open"


@given(st.text(st.characters(exclude_categories=[])))
def test_text_for_databases(text: str) -> None:
    """Texts in records are valid Unicode without NUL characters, and can be encoded as JSON."""
    track = Track(task_id=text, title=text, prompt=f"a{text}\0", suno_audio_url="https://x/a.mp3")
    info = TaskInfo(task_id=text, status=TaskStatus.SUCCESS, tracks=(track,))
    (row,) = track_records(info)
    for record in (
        row,
        result_record(info),
        result_record(Failure(text, TaskFailedError(text, text))),
    ):
        texts = [each for each in msgspec.structs.astuple(record) if isinstance(each, str)]
        assert "\0" not in "".join(texts)
        decoded = msgspec.json.decode(msgspec.json.encode(record), type=type(record))
        assert decoded == record
