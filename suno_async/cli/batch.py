"""Create a task for each input of a batch, and wait for the tasks.

A journal stores the inputs of a batch, and the state of each input, as a *run* with a name.
"""

from __future__ import annotations

import contextlib
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import msgspec

from suno_async import CreateOutcomeUnknownError, JournalError, SubmissionState, SunoError
from suno_async.cli.exit_codes import exit_code
from suno_async.cli.job_inputs import KINDS_BY_NAME
from suno_async.cli.outcome_rows import FINAL
from suno_async.cli.running import task_group

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Mapping, Sequence

    from suno_async import Creation, Input, Journal, SubmissionRecord, SunoClient
    from suno_async.cli.downloads import Downloads
    from suno_async.cli.progress import Progress

_KINDS = {each.KIND: each for each in KINDS_BY_NAME.values()}


class ChangedInputError(Exception):
    """An input of a run was changed or removed after the run was started.

    Attributes:
        index: Index of the input, counted from 0.
    """

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.index = index


class EarlierRun(NamedTuple):
    """The state of a run in a journal.

    Attributes:
        submitted: Number of inputs of the run that are in the journal.
        unknown: Inputs for which a task may or may not exist. Maps the index of each such input to
            the id of its create request in the journal.
    """

    submitted: int
    unknown: dict[int, str]


async def read_run(journal: Journal, run: str, jobs: Sequence[Input]) -> EarlierRun:
    """Return the state of a run in a journal.

    Raises:
        ChangedInputError: An input of the run is different in `jobs`, or is missing there.
        JournalError: The journal cannot be read.
    """
    count = 0
    unknown: dict[int, str] = {}
    async for entry in journal.entries(run=run):
        record = entry.submission
        if record is None:
            continue
        if record.position >= len(jobs) or _has_changed(record, jobs[record.position]):
            raise ChangedInputError(record.position)
        count += 1
        if record.state is SubmissionState.UNKNOWN:
            unknown[record.position] = record.id
    return EarlierRun(count, unknown)


def _has_changed(record: SubmissionRecord, job: Input) -> bool:
    if record.state in {SubmissionState.REFUSED, SubmissionState.NOT_SENT}:
        return False  # Nothing was created, so the input may be corrected.
    if record.kind != job.KIND:
        return True
    # Decode first: a newer version may have fields whose defaults are not in the journal.
    try:
        stored = msgspec.json.decode(record.job, type=_KINDS[record.kind])
    except msgspec.DecodeError as error:
        problem = f"this version of suno_async cannot decode input {record.position + 1}"
        raise JournalError(f"{problem} of run {record.run!r}: {error}") from None
    return stored.payload() != job.payload()


class Batch(NamedTuple):
    """The inputs of a run, and their results so far.

    Attributes:
        jobs: All inputs of the run.
        run: The name of the run in the journal.
        rows: The status of each input that has a row in the results file, by the index of the
            input.
    """

    jobs: Sequence[Input]
    run: str
    rows: Mapping[int, str]

    @property
    def left(self) -> int:
        """Number of inputs without a final status in the results file."""
        return len(self.jobs) - sum(status in FINAL for status in self.rows.values())

    async def create_and_wait(
        self,
        suno: SunoClient,
        progress: Progress,
        out: IO[str],
        downloads: Downloads | None,
        *,
        resend: Collection[str] = (),
        **options: Any,  # noqa: ANN401 (passed on)
    ) -> tuple[dict[int, str], SunoError | None]:
        """Create the tasks that do not exist yet, wait for all tasks, and download their files.

        Args:
            suno: The client, with a journal.
            progress: Counts the outcomes.
            out: The results file. Inputs with a final status in this file get no second row.
            downloads: Downloads the files of tasks that succeed. If None, no files are downloaded.
            resend: Ids of create requests with an unknown outcome that are sent again.
            options: Options of `SunoClient.pipeline`.

        Returns:
            A dict and an error. The dict contains each input for which a task may or may not exist:
            the index of the input → the id of its create request. The error is the one that stopped
            the create requests; None if there is none.
        """
        unknown: dict[int, str] = {}
        stopped_by: SunoError | None = None

        def on_creation(creation: Creation) -> None:
            if creation.error is None and self.rows.get(creation.index) not in FINAL:
                progress.tasks.add(creation.handle.id)

        jobs = _after_settling(suno, resend, self.jobs)
        stream = suno.pipeline(jobs, run=self.run, on_creation=on_creation, **options)
        async with task_group() as group, contextlib.aclosing(stream):
            try:
                async for outcome in stream:
                    index = outcome.index
                    if isinstance(outcome.error, CreateOutcomeUnknownError):
                        unknown[index] = outcome.error.submission_id
                    if self._needs_row(index, is_unknown=index in unknown):
                        progress.record(outcome, out)
                    else:
                        progress.note(exit_code(outcome.error))
                    if outcome.error is None and downloads is not None:
                        group.create_task(downloads.fetch(outcome.info))
            except SunoError as error:
                stopped_by = error
        return unknown, stopped_by

    def _needs_row(self, index: int, *, is_unknown: bool) -> bool:
        row = self.rows.get(index)
        return row not in FINAL and not (is_unknown and row == "unknown")


async def _after_settling(
    suno: SunoClient, resend: Collection[str], jobs: Sequence[Input]
) -> AsyncGenerator[Input]:
    """Mark create requests as not sent. Then yield the jobs."""
    # The pipeline reads the first job only after it has reserved the run. While another process
    # has the run, its requests must not be marked.
    for submission_id in resend:
        await suno.settle(submission_id, None)
    for job in jobs:
        yield job
