"""Correct and wrong uses of the public API, to be checked by mypy and pyright.

Both checkers report an `assert_type` if they infer a different type. A line with ``type: ignore``
is wrong on purpose. If the line becomes valid, both checkers report the comment as unnecessary.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_never, assert_type

import msgspec

from suno_async import (
    Created,
    Creation,
    DownloadError,
    DownloadProgress,
    DownloadsFailedError,
    Failure,
    GenerateMusic,
    Input,
    JobFailure,
    JobOutcome,
    JobSuccess,
    Journal,
    Limiter,
    LocalLimiter,
    NotCreated,
    NullObserver,
    Observer,
    Outcome,
    Permit,
    Persona,
    PersonaCreation,
    ResultRecord,
    SqliteJournal,
    Submission,
    Success,
    SunoClient,
    SunoError,
    TaskHandle,
    TaskInfo,
    TaskRef,
    Track,
    TrackRecord,
    export_results,
    result_record,
    track_records,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


# One song


async def one_song(suno: SunoClient) -> None:
    """The prompt can be a positional argument. Each way to wait for a task returns its record."""
    info = await suno.run(GenerateMusic("slow piano", instrumental=True), timeout=600)
    assert_type(info, TaskInfo)
    assert_type(info.tracks, tuple[Track, ...])

    handle = await suno.create(GenerateMusic(prompt="slow piano"), max_credits=20)
    assert_type(handle, TaskHandle)
    assert_type(await handle, TaskInfo)
    assert_type(await handle.result(timeout=600), TaskInfo)
    assert_type(await handle.info(), TaskInfo)
    assert_type(await suno.task_info(handle.id), TaskInfo)
    async for update in handle.updates():
        assert_type(update, TaskInfo)

    for track in info.tracks:
        assert_type(await suno.download(track, "music/", name="{title}", tags=True), Path)
    assert_type(await suno.download_all(info, "music/", covers=True, tags=True), list[Path])
    assert_type(await suno.download_all(info.tracks, progress=show), list[Path])
    outcomes = suno.as_completed([handle])
    assert_type(await suno.download_all(outcomes, overwrite=True, timeout=None), list[Path])

    await suno.create("slow piano")  # type: ignore[arg-type]
    GenerateMusic("slow piano", "custom")  # type: ignore[arg-type, call-arg]


def show(event: DownloadProgress) -> None:
    """In a progress event, only `total` can be None."""
    assert_type(event.path, str)
    assert_type(event.received, int)
    assert_type(event.total, int | None)
    assert_type(event.elapsed, float)
    assert_type(event.done, bool)
    assert_type(event.error, str)


def failed_downloads(error: DownloadsFailedError) -> None:
    """`DownloadsFailedError` has the errors of failed downloads and the paths of complete files."""
    assert_type(error.errors, tuple[DownloadError, ...])
    assert_type(error.paths, tuple[Path, ...])


def references(suno: SunoClient, handle: TaskHandle) -> None:
    """A `TaskRef` contains the creation time of its task, and can be stored as JSON."""
    assert_type(handle.id, str)
    assert_type(handle.ref, TaskRef)
    assert_type(handle.kind, str)
    assert_type(handle.created_at, float | None)
    assert_type(handle.ref.created_at, float | None)
    ref = msgspec.json.decode(msgspec.json.encode(handle.ref), type=TaskRef)
    assert_type(ref, TaskRef)
    assert_type(suno.task(ref), TaskHandle)
    assert_type(suno.task("id", created_at=1.0), TaskHandle)
    suno.task(handle)  # type: ignore[arg-type]


# Outcomes


def outcome_by_error(outcome: Outcome) -> TaskInfo | None:
    """If ``outcome.error is None``, checkers infer `Success`, otherwise `Failure`."""
    assert_type(outcome.task_id, str)
    assert_type(outcome.error, SunoError | None)
    if outcome.error is None:
        assert_type(outcome, Success)
        assert_type(outcome.info, TaskInfo)
    else:
        assert_type(outcome, Failure)
        assert_type(outcome.error, SunoError)
    return outcome.info


def outcome_by_class(outcome: Outcome) -> SunoError | None:
    """``isinstance`` distinguishes `Success` and `Failure`."""
    if isinstance(outcome, Failure):
        assert_type(outcome, Failure)
        assert_type(outcome.info, TaskInfo | None)
        return outcome.error
    assert_type(outcome, Success)
    return None


def outcome_by_match(outcome: Outcome) -> str:
    """``match`` narrows an `Outcome`. `Success` and `Failure` cover every case."""
    match outcome:
        case Success(task_id=task_id, info=info):
            assert_type(info, TaskInfo)
            return task_id
        case Failure(error=error):
            assert_type(error, SunoError)
            return str(error)
        case _:
            assert_never(outcome)


def outcome_result(outcome: Outcome) -> TaskInfo:
    """The method `result` returns a `TaskInfo`, and the attribute `ok` is a bool."""
    assert_type(outcome.ok, bool)
    return outcome.result()


def job_outcome_by_error(outcome: JobOutcome) -> Input:
    """If ``outcome.error is None``, checkers infer `JobSuccess`, otherwise `JobFailure`.

    Both classes have the attribute `job`.
    """
    assert_type(outcome.index, int)
    if outcome.error is None:
        assert_type(outcome, JobSuccess)
        assert_type(outcome.info, TaskInfo)
    else:
        assert_type(outcome, JobFailure)
        assert_type(outcome.error, SunoError)
    return outcome.job


def job_outcome_by_match(outcome: JobOutcome) -> str:
    """``match`` narrows a `JobOutcome`. `JobSuccess` and `JobFailure` cover every case."""
    match outcome:
        case JobSuccess(info=info, index=index):
            assert_type(info, TaskInfo)
            return f"{index}: {info.task_id}"
        case JobFailure(error=error):
            assert_type(error, SunoError)
            return str(error)
        case _:
            assert_never(outcome)


def job_outcome_by_class(outcome: JobOutcome) -> Outcome:
    """``isinstance`` narrows a `JobOutcome`. A `JobOutcome` is also accepted as an `Outcome`."""
    if isinstance(outcome, JobFailure):
        assert_type(outcome.error, SunoError)
    else:
        assert_type(outcome, JobSuccess)
    return outcome


# Creations


def creation_by_error(creation: Creation) -> TaskHandle | None:
    """If ``creation.error is None``, type checkers infer `Created`, otherwise `NotCreated`."""
    assert_type(creation.index, int)
    if creation.error is None:
        assert_type(creation, Created)
        assert_type(creation.handle, TaskHandle)
    else:
        assert_type(creation, NotCreated)
        assert_type(creation.error, SunoError)
    return creation.handle


def creation_by_class(creation: Creation) -> TaskHandle | None:
    """``isinstance`` distinguishes `Created` and `NotCreated`."""
    if isinstance(creation, Created):
        return creation.handle
    assert_type(creation, NotCreated)
    return None


def creation_by_match(creation: Creation) -> str:
    """``match`` narrows a `Creation`. `Created` and `NotCreated` cover every case."""
    match creation:
        case Created(handle=handle):
            assert_type(handle, TaskHandle)
            return handle.id
        case NotCreated(error=error):
            assert_type(error, SunoError)
            return str(error)
        case _:
            assert_never(creation)


# Many tasks


async def ids() -> AsyncIterator[str]:
    """Yield ids one by one, as a database cursor does."""
    yield "id"


async def jobs() -> AsyncIterator[GenerateMusic]:
    """Yield inputs one by one, as a queue does."""
    yield GenerateMusic("slow piano")


async def many(suno: SunoClient, handles: list[TaskHandle], refs: tuple[TaskRef, ...]) -> None:
    """Ids, references and handles may come from plain and from async iterables."""
    async for outcome in suno.as_completed(["a", "b"], timeout=60):
        assert_type(outcome, Outcome)
    async for outcome in suno.as_completed(ids()):
        assert_type(outcome, Outcome)
    suno.as_completed(handles)
    suno.as_completed(refs)
    suno.as_completed(["id", *refs, *handles])
    assert_type(await suno.outcomes(handles, timeout=60), list[Outcome])
    assert_type(await suno.outcomes(ids()), list[Outcome])
    suno.as_completed([1])  # type: ignore[list-item]

    async for creation in suno.create_many([GenerateMusic("slow piano")], max_credits=20):
        assert_type(creation, Creation)
    async for job_outcome in suno.pipeline(jobs(), max_pending=100, timeout=600):
        assert_type(job_outcome, JobOutcome)
    creations = suno.create_many(jobs())
    await creations.aclose()


# User functions


def save(creation: Creation) -> None:
    """Receive a creation. This callback is a plain function."""


async def save_later(creation: Creation) -> None:
    """Receive a creation. This callback is a coroutine function."""


def record(submission: Submission) -> None:
    """Do nothing. This plain function is used as an `on_submission` callback."""


async def record_later(submission: Submission) -> None:
    """Do nothing. This coroutine function is used as an `on_submission` callback."""


def wrong(creation: int) -> None:
    """Take an int. The client never passes an int to a callback."""


def save_any(creation: Creation | PersonaCreation) -> None:
    """Handle a task creation or a persona creation in a plain function."""
    if isinstance(creation, PersonaCreation):
        assert_type(creation.persona, Persona | None)
        assert_type(creation.error, SunoError | None)


async def save_any_later(creation: Creation | PersonaCreation) -> None:
    """Handle a song or a persona in a coroutine function."""


def callbacks(suno: SunoClient, source: list[Input]) -> None:
    """Plain and coroutine functions are accepted as callbacks if they take the right argument."""
    SunoClient(on_creation=save_any)
    SunoClient(on_creation=save_any_later)
    SunoClient(on_creation=save)  # type: ignore[arg-type]
    SunoClient(on_creation=wrong)  # type: ignore[arg-type]
    suno.create_many(source, on_creation=save, on_submission=record)
    suno.create_many(source, on_creation=save_later, on_submission=record_later)
    suno.pipeline(source, on_creation=save, on_submission=record)
    suno.pipeline(source, on_creation=save_later, on_submission=record_later)


# Protocols


class Seen(NullObserver):
    """Collects the ids of the tasks that were polled."""

    def __init__(self) -> None:
        self.tasks: set[str] = set()

    def task_polled(self, info: TaskInfo) -> None:
        """Add the id of a task that was polled."""
        self.tasks.add(info.task_id)


def protocols() -> None:
    """The client accepts an observer and a limiter only if they implement the protocols."""
    observer: Observer = Seen()
    SunoClient(observer=observer)
    SunoClient(observer=print)  # type: ignore[arg-type]
    SunoClient(limiter=15)  # type: ignore[arg-type]


async def limiters(limiter: LocalLimiter) -> None:
    """A `LocalLimiter` is a `Limiter`. Its `acquire` returns a `Permit`."""
    general: Limiter = limiter
    SunoClient(limiter=general)
    permit: Permit = await general.acquire()
    assert_type(permit.sent_at, float | None)
    permit.sent()
    permit.answered()
    permit.cancel()


def extras(job: GenerateMusic) -> dict[str, Any]:
    """The field `prompt` of a job is a string or None, and `extra` is a dict."""
    assert_type(job.prompt, str | None)
    return job.extra


# Records


async def records(suno: SunoClient, outcome: Outcome, job_outcome: JobOutcome) -> None:
    """Every outcome can be converted to records. Streams and lists of outcomes can be exported."""
    assert_type(result_record(outcome), ResultRecord)
    assert_type(track_records(job_outcome), list[TrackRecord])
    jobs = [GenerateMusic("slow piano")]
    assert_type(await export_results(suno.pipeline(jobs), "results.csv"), int)
    await export_results(suno.as_completed(["task"]), Path("r"), file_format="jsonl", rows="tracks")
    await export_results([outcome], "results.db", overwrite=True)
    await export_results([job_outcome, outcome], "x", file_format="xlsx")  # type: ignore[arg-type]


async def durable(journal: Journal) -> None:
    """Use a client with a journal. Type checkers know the types of its arguments and results."""
    async with SunoClient(journal="runs.db", account="studio") as suno:
        handle = await suno.create(GenerateMusic("rain"), dedupe_key="order-17")
        assert_type(handle, TaskHandle)
        async for outcome in suno.pipeline(
            [GenerateMusic("rain")], run="a", key=lambda job: job.KIND
        ):
            assert_type(outcome, JobSuccess | JobFailure)
        async for outcome in suno.resume(run="a"):
            assert_type(outcome, JobSuccess | JobFailure)
        assert_type(await suno.open_tasks(), list[TaskHandle])
        assert_type(suno.account, str)
        assert_type(suno.journal, Journal | None)
        await suno.settle("submission", "task")
        await suno.settle("submission", None)
        await suno.rotate_key("ak_new")
    SunoClient(journal=journal)
    SunoClient(journal=SqliteJournal(Path("runs.db")))
