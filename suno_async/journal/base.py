"""The `Journal` protocol and its records.

A journal stores submissions, tasks and results, so that a client can continue its work after a
restart. A *submission* is one create request; `suno_async.submissions` describes its states. A
*run* is a named group of submissions, such as the jobs of one `SunoClient.pipeline`.
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
        id: The id of the submission.
        account: The label of the account.
        kind: The kind of job, such as ``"suno/music-generate"``; for a persona, ``"persona"``.
        job: The job as JSON.
        digest: A hash of the job. Jobs that send the same request have the same hash.
        run: The name of the run; empty if the submission belongs to no run.
        position: The position of the job among the inputs of one call of `pipeline` or
            `create_many`, starting at 0; 0 for a single create.
        key: Identifies the submission within its account and run. If empty, `Journal.claim` always
            stores a new submission.
        callback_url: The URL that receives a POST when the task ends; None for no callback.
        state: The state of the submission.
        task_id: The id of the task or persona; empty until it is known.
        created_at: When the task or persona was created, in Unix seconds; None if not created or
            unknown.
        error: Why nothing was created, or why the outcome is unknown; empty otherwise.
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
    """A task as a journal stores it. A task is *open* until a reply shows that it has ended.

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
        """Whether the final status of the task is recorded."""
        return bool(self.status)


class JournalEntry(msgspec.Struct, frozen=True):
    """A submission and its task.

    Attributes:
        submission: The submission; None if the journal has no submission for the task.
        task: The task; None if the journal has no task for the submission.
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
        holder: Text that names the process that has reserved the run; empty if the run is free.
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
        count: Number of live clients, including the caller.
        aware: Whether all other live clients know of the caller. Each of them learns of the caller
            at its own next heartbeat. True if there are no other clients.
    """

    count: int = 1
    aware: bool = True


class Journal(Protocol):
    """Stores submissions, tasks and results. One object serves one client.

    Every method returns after its change is on disk. Every method raises `JournalError` if the
    journal cannot be read or written.

    A client that opens a journal with an account is an *owner*. It owns the submissions that it
    claims. It is *live* until it closes the journal, its *lease* (a time limit) expires, or its
    process is known to have ended. Heartbeats extend the lease.

    When an owner is no longer live, the runs that it reserved are free again. Its ``sending``
    submissions become ``unknown``, and its ``planned`` submissions become ``not_sent``.
    """

    async def open(self, account: str | None) -> None:
        """Open the journal, create or migrate its schema, and add this client as an owner.

        Args:
            account: The label of the account. None opens an existing journal only to inspect or
                repair it. Then this client is not an owner. Methods that need an account, such as
                `claim` and `hold`, raise `JournalError`. The other methods apply to all accounts.

        Raises:
            JournalError: The file is not a journal, or a newer version of this library made it. Or
                `account` is None, and there is no journal.
        """
        ...

    async def close(self) -> None:
        """Write the changes of unfinished or cancelled calls, and remove this client as an owner.

        The runs that this client reserved are free again.
        """
        ...

    async def claim(self, record: SubmissionRecord) -> SubmissionRecord:
        """Store a planned submission, or return an earlier submission with the same run and key.

        If the earlier submission was refused or not sent, `record` replaces it. If the key of
        `record` is empty, `record` is always stored.

        Returns:
            The submission in the journal. It has the id of `record` if `record` was stored.

        Raises:
            InputChangedError: The earlier submission was not replaced, and its digest differs from
                the digest of `record`.
            RunInUseError: This client had reserved the run, but now another client has it.
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
        """Record a new state of a submission. If a task id is given, also store the task.

        Only the owner of a submission may record ``planned`` or ``sending``. Any client may record
        a final state, which is any other state. A final state may replace ``planned``, ``sending``
        or ``unknown``. ``created`` may also replace ``refused`` or ``not_sent``, because a task id
        proves that the task exists. If the submission is a persona, no task is stored.

        It is not an error to record the same final state and task id again. If another submission
        has replaced this one, only the task is stored.

        Raises:
            JournalError: The submission cannot change to this state, or it does not exist and no
                task id is given. Or `state` is ``created``, and no task id is given. If recording
                ``sending`` raises this error, the caller must not send the request.
        """
        ...

    async def settle(self, submission_id: str, task_id: str | None) -> SubmissionRecord:
        """Record the outcome of a submission whose state is ``unknown``. Return the submission.

        Args:
            submission_id: The id of the submission.
            task_id: The id of the task or persona that was created. None means that nothing was
                created; the state then becomes ``not_sent``.

        Raises:
            JournalError: The submission does not exist, it belongs to another account, or its
                state is not ``unknown``.
        """
        ...

    async def keep_results(self, tasks: Collection[TaskRecord]) -> None:
        """Store the final records of tasks. Skip tasks that are already stored as ended."""
        ...

    async def find_tasks(self, task_ids: Collection[str]) -> dict[str, TaskRecord]:
        """Return the records of the tasks with these ids, by task id. Omit unknown ids."""
        ...

    def entries(
        self,
        *,
        run: str | None = None,
        states: Collection[SubmissionState] | None = None,
        open_only: bool = False,
    ) -> AsyncIterator[JournalEntry]:
        """Yield submissions in the order in which they were planned, each with its task.

        Tasks without a submission come last. Entries that are added during the iteration are not
        yielded. Other methods can be called during the iteration.

        Args:
            run: Yield only the entries of this run. An empty string means entries without a run.
                None means all entries.
            states: Yield only submissions in one of these states, and no tasks without a
                submission. None means all entries.
            open_only: Yield only entries with a task that has not ended.
        """
        ...

    async def runs(self) -> list[RunSummary]:
        """Return a summary of each run. The run with the latest `started_at` comes first."""
        ...

    async def hold(self, run: str) -> None:
        """Reserve a run until `release` is called, or until this client is no longer live.

        No other owner can reserve the run in the meantime.

        Raises:
            RunInUseError: A live owner, perhaps this client, has already reserved the run.
        """
        ...

    async def release(self, run: str) -> None:
        """Free a run that this client reserved. Do nothing for any other run."""
        ...

    async def heartbeat(self) -> Peers:
        """Extend the lease of this client. Report how many clients of the account are live."""
        ...

    async def save_durations(self, data: bytes) -> None:
        """Store the bytes that `Durations.to_json` returned. They replace the earlier ones.

        The bytes are stored separately for each account.
        """
        ...

    async def load_durations(self) -> bytes | None:
        """Return the data that `save_durations` stored last; None if there is none."""
        ...

    async def rebind(self, old: str, new: str) -> int:
        """Replace the account label `old` by `new` in all records of the journal.

        Records that both labels have are merged:

        - Two submissions with the same run and the same non-empty key: Keep the one that is not
          ``refused`` or ``not_sent``. If both are ``refused`` or ``not_sent``, keep the one of
          `new`.
        - Two records of the same task: Keep the one that has ended. If both or neither have ended,
          keep the one of `new`.

        Returns:
            Number of submissions and tasks that changed.

        Raises:
            JournalError: Another live client uses the old label. Or the same run is reserved under
                both labels. Or both labels have a submission with the same run and the same
                non-empty key, and neither submission is ``refused`` or ``not_sent``.
        """
        ...
