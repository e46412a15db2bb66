"""The `Journal` protocol and its records.

A journal stores each create (a *submission*), each task, and each result, so that a process can be
stopped at any moment and started again. A *run* is a named group of submissions, such as the jobs
of one `SunoClient.pipeline`. `suno_async.submissions` describes the states of a submission. Only
`Journal.claim`, `Journal.advance` and `Journal.settle` change the state of a submission of a live
client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from suno_async.submissions import SubmissionState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection


class SubmissionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A submission as a journal stores it. It contains no API key.

    Attributes:
        id: The id of the submission. It exists before the task id does.
        account: The label of the account.
        kind: The kind of job, such as ``"suno/music-generate"``, or ``"persona"``.
        job: The job as JSON.
        digest: A hash of the job. Jobs that send the same request have the same hash.
        run: The run that the submission belongs to; empty if it belongs to none.
        position: The position of the job in its run, starting at 0.
        key: Identifies the submission within its run, or within the account if `run` is empty.
            If the key is empty, `Journal.claim` always stores a new submission.
        callback_url: The URL that receives a POST when the task ends; None for no callback.
        state: The state of the create.
        task_id: The id of the task; empty until it is created.
        created_at: When the task was created, in Unix seconds; None until it is created.
        error: Why nothing was created, or why that is unknown; empty otherwise.
        planned_at: When the submission was planned, in Unix seconds.
        changed_at: When the state changed last, in Unix seconds.
    """

    id: str
    account: str = ""
    kind: str = ""
    job: bytes = b""
    digest: str = ""
    run: str = ""
    position: int = 0
    key: str = ""
    callback_url: str | None = None
    state: SubmissionState = SubmissionState.PLANNED
    task_id: str = ""
    created_at: float | None = None
    error: str = ""
    planned_at: float = 0.0
    changed_at: float = 0.0


class TaskRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A task as a journal stores it.

    Attributes:
        task_id: The id of the task.
        account: The label of the account.
        kind: The kind of job; empty if unknown.
        created_at: When the task was created, in Unix seconds; None if unknown.
        status: The final status, ``"success"`` or ``"failed"``; empty while the task is open.
        ended_at: When the final status was recorded, in Unix seconds; None while the task is open.
        raw: The server's last reply about the task; empty while the task is open.
    """

    task_id: str
    account: str = ""
    kind: str = ""
    created_at: float | None = None
    status: str = ""
    ended_at: float | None = None
    raw: bytes = b""

    @property
    def ended(self) -> bool:
        """Whether the task has ended."""
        return bool(self.status)


class JournalEntry(msgspec.Struct, frozen=True):
    """A submission and its task.

    Attributes:
        submission: The submission; None for a task that was created elsewhere.
        task: The task; None if none was created, or if that is unknown.
    """

    submission: SubmissionRecord | None
    task: TaskRecord | None


class RunSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One run, as `Journal.runs` returns it.

    Attributes:
        account: The label of the account.
        run: The name of the run.
        states: Number of submissions by state, such as ``{"created": 10, "unknown": 1}``.
        open: Number of tasks that have not ended.
        succeeded: Number of tasks that succeeded.
        failed: Number of tasks that failed.
        holder: The process that works on the run now, as text for a message; empty if there is
            none.
        started_at: When the first submission of the run was planned, in Unix seconds.
        changed_at: When a submission or task of the run changed last, in Unix seconds.
    """

    account: str
    run: str
    states: dict[str, int]
    open: int = 0
    succeeded: int = 0
    failed: int = 0
    holder: str = ""
    started_at: float = 0.0
    changed_at: float = 0.0


class Peers(msgspec.Struct, frozen=True):
    """The live clients of one account, as `Journal.heartbeat` returns them.

    Attributes:
        count: Number of live clients, this one included.
        aware: Whether every other live client has sent a heartbeat after this client joined. Then
            each of them has counted this client.
    """

    count: int = 1
    aware: bool = True


class Journal(Protocol):
    """Stores submissions, tasks and results. One object serves one client.

    Every method returns after its change is on disk. All of them raise `JournalError` if the
    journal cannot be read or written.

    A client that opened a journal is an *owner*. It owns the submissions that it claimed. Its
    *lease* is a time limit that heartbeats extend. An owner is *live* from `open` to `close`, as
    long as its lease has not expired. With `hold`, an owner takes the lease of a run. This lease
    ends at the latest when the owner is no longer live. Then the submissions of this owner get a
    final state: ``sending`` becomes ``unknown``, and ``planned`` becomes ``not_sent``.
    """

    async def open(self, account: str | None) -> None:
        """Open the journal, create or migrate its schema, and add this client as an owner.

        Submissions of owners that are not live get their final state.

        Args:
            account: The label of the account. None opens the journal to inspect or repair it: no
                owner is added, and the methods apply to all accounts.

        Raises:
            JournalError: The file is not a journal, a newer version made it, or it cannot be read
                or written.
        """
        ...

    async def close(self) -> None:
        """Write all accepted changes, remove this client as an owner, and release its runs."""
        ...

    async def claim(self, record: SubmissionRecord) -> SubmissionRecord:
        """Store a planned submission, or return the earlier one with the same run and key.

        An earlier submission that was refused or not sent is replaced: `record` is stored and
        returned. A record with an empty key is always stored. If the returned record has the id of
        `record`, this client owns the submission.

        Raises:
            InputChangedError: The earlier submission is not replaced and has another digest.
            RunInUseError: This client had the lease of the run, but another client has taken it.
            JournalError: The journal already has a submission with this id.
        """
        ...

    async def advance(
        self,
        submission_id: str,
        state: SubmissionState,
        *,
        task_id: str = "",
        created_at: float | None = None,
        error: str = "",
    ) -> None:
        """Record a new state of a submission. With a task id, also store the task.

        Only the owner of a submission may record ``planned`` or ``sending``. Any client may record
        a final state. A task id is stored even if the submission was refused, not sent or replaced
        before. A persona is not a task: if the kind is ``"persona"``, only the id is stored.

        Raises:
            JournalError: One of these: there is no such submission, and no task id is given; the
                submission has ended in another state, or with another task; the state is
                ``created``, but no task id is given; the state is ``planned`` or ``sending``, but
                the submission has ended or another client owns it. In the last case, the request
                must not be sent.
        """
        ...

    async def settle(self, submission_id: str, task_id: str | None) -> SubmissionRecord:
        """Record the outcome of a submission in the state ``unknown``, and return the submission.

        Args:
            submission_id: The submission.
            task_id: The task that was created. None means that none was created; the state becomes
                ``not_sent``.

        Raises:
            JournalError: There is no such submission, it belongs to another account, or its state
                is not ``unknown``.
        """
        ...

    async def keep_results(self, tasks: Collection[TaskRecord]) -> None:
        """Store the final records of tasks. A task that has already ended stays as it is."""
        ...

    async def find_tasks(self, task_ids: Collection[str]) -> dict[str, TaskRecord]:
        """Return the stored tasks among `task_ids`, by id."""
        ...

    def entries(
        self,
        *,
        run: str | None = None,
        states: Collection[SubmissionState] | None = None,
        open_only: bool = False,
    ) -> AsyncIterator[JournalEntry]:
        """Yield submissions with their tasks, in the order in which they were planned.

        Tasks without a submission come last, unless `run` or `states` excludes them. Entries that
        are added during the iteration are left out. Other methods can be called during the
        iteration.

        Args:
            run: Only this run. An empty string selects the entries that belong to no run. None
                yields all.
            states: Only submissions in one of these states. None yields all.
            open_only: Only entries with a task that has not ended.
        """
        ...

    async def runs(self) -> list[RunSummary]:
        """Return all runs. The run that started last comes first."""
        ...

    async def hold(self, run: str) -> None:
        """Take the lease of a run, so that no other owner works on it.

        Raises:
            RunInUseError: A live owner, perhaps this client, has the lease.
        """
        ...

    async def release(self, run: str) -> None:
        """Give back the lease of a run."""
        ...

    async def heartbeat(self) -> Peers:
        """Extend the lease of this client. Report how many clients of the account are live."""
        ...

    async def save_durations(self, data: bytes) -> None:
        """Store the learnt durations of jobs, as `Durations.to_json` returns them."""
        ...

    async def load_durations(self) -> bytes | None:
        """Return the data that `save_durations` stored last; None if there is none."""
        ...

    async def rebind(self, old: str, new: str) -> int:
        """Replace the account label `old` by `new` everywhere.

        Returns:
            Number of submissions and tasks that changed.

        Raises:
            JournalError: Another live owner uses the old label. Or both labels have a submission
                with the same run and key, and both submissions may have been paid for.
        """
        ...
