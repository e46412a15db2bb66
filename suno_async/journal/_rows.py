"""The SQL that changes submissions and tasks. Call each function within a transaction.

A submission is one create request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from suno_async.errors import InputChangedError, JournalError
from suno_async.journal.base import SubmissionRecord, TaskRecord
from suno_async.submissions import SubmissionState

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from suno_async.journal._owners import Owner

#: The columns of a submission, in the order of `read_submission`.
SUBMISSION = (
    "id, account, kind, job, digest, run, position, key, callback_url, state, task_id, created_at,"
    " error, planned_at, changed_at"
)

#: The columns of a task, in the order of `read_task`.
TASK = "task_id, account, kind, created_at, status, ended_at, raw"

#: If the task is stored already, keep its known values and add the missing ones.
_MERGE = (
    " ON CONFLICT (task_id, account) DO UPDATE SET"
    " kind = CASE tasks.kind WHEN '' THEN excluded.kind ELSE tasks.kind END,"
    " created_at = coalesce(tasks.created_at, excluded.created_at)"
)

#: Maximum number of rows in one statement. SQLite allows at least 999 parameters.
MOST_ROWS = 100

#: The `error` of a submission that was settled without a task.
SETTLED = "settled: no task was created"


def read_submission(row: tuple[Any, ...]) -> SubmissionRecord:
    """Return the submission in a database row with the columns `SUBMISSION`."""
    return SubmissionRecord(
        id=row[0],
        account=row[1],
        kind=row[2],
        job=row[3],
        digest=row[4],
        run=row[5],
        position=row[6],
        key=row[7],
        callback_url=row[8],
        state=SubmissionState(row[9]),
        task_id=row[10],
        created_at=row[11],
        error=row[12],
        planned_at=row[13],
        changed_at=row[14],
    )


def read_task(row: tuple[Any, ...]) -> TaskRecord:
    """Return the task in a database row with the columns `TASK`."""
    return TaskRecord(
        task_id=row[0],
        account=row[1],
        kind=row[2],
        created_at=row[3],
        status=row[4],
        ended_at=row[5],
        raw=row[6],
    )


def _find(connection: sqlite3.Connection, submission_id: str) -> tuple[SubmissionRecord, str]:
    # Return a submission and its owner.
    row = connection.execute(
        f"SELECT {SUBMISSION}, owner FROM submissions WHERE id = ?",  # noqa: S608 (a constant)
        (submission_id,),
    ).fetchone()
    if row is None:
        raise JournalError(f"the journal has no submission {submission_id!r}")
    return read_submission(row), row[-1]


def claim(
    connection: sqlite3.Connection, owner: Owner, record: SubmissionRecord
) -> SubmissionRecord:
    """Store a planned submission, or return an earlier submission with the same run and key.

    See `Journal.claim`.
    """
    account = owner.require()
    owner.check_held(connection, record.run)
    now = owner.clock()
    stored = msgspec.structs.replace(
        record,
        account=account,
        state=SubmissionState.PLANNED,
        planned_at=record.planned_at or now,
        changed_at=now,
    )
    # Most submissions are new, so look for an earlier one only if the insertion fails.
    if _insert(connection, owner, stored):
        return stored
    earlier = _earlier(connection, owner, record) if record.key else None
    if earlier is not None:
        return earlier
    if not _insert(connection, owner, stored):
        raise JournalError(f"the journal already has a submission {record.id!r}")
    return stored


def _insert(connection: sqlite3.Connection, owner: Owner, record: SubmissionRecord) -> bool:
    added = connection.execute(
        f"INSERT INTO submissions ({SUBMISSION}, owner)"  # noqa: S608 (a constant)
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (*msgspec.structs.astuple(record), owner.id),
    )
    return bool(added.rowcount)


def _earlier(
    connection: sqlite3.Connection, owner: Owner, record: SubmissionRecord
) -> SubmissionRecord | None:
    # Return the earlier submission with this key, or None. If `record` replaces it, remove it and
    # return None.
    def find() -> tuple[Any, ...] | None:
        found: tuple[Any, ...] | None = connection.execute(
            f"SELECT {SUBMISSION}, owner FROM submissions"  # noqa: S608 (a constant)
            " WHERE account = ? AND run = ? AND key = ? AND key <> ''",
            (owner.account, record.run, record.key),
        ).fetchone()
        return found

    row = find()
    if row is None:
        return None
    if not read_submission(row).state.ended and not owner.live(connection, row[-1]):
        owner.sweep(connection)
        row = find() or row
    earlier = read_submission(row)
    if earlier.state in {SubmissionState.REFUSED, SubmissionState.NOT_SENT}:
        connection.execute("DELETE FROM submissions WHERE id = ?", (earlier.id,))
        return None
    if earlier.digest != record.digest:
        raise InputChangedError(record.run, record.key, record.position)
    return earlier


def advance(  # noqa: PLR0913, PLR0917 (the arguments of `Journal.advance`)
    connection: sqlite3.Connection,
    owner: Owner,
    submission_id: str,
    state: SubmissionState,
    task_id: str,
    created_at: float | None,
    error: str,
) -> None:
    """Record a new state of a submission. See `Journal.advance`."""
    if state is SubmissionState.CREATED and not task_id:
        raise JournalError(f"submission {submission_id!r}: the state created needs a task id")
    if not state.ended:
        _advance_owned(connection, owner, submission_id, state, error)
        return
    # A task id proves that the task exists. So it is stored even if the submission was recorded as
    # refused or not sent before.
    found = connection.execute(
        "UPDATE submissions SET state = ?, task_id = ?, created_at = ?, error = ?, changed_at = ?"
        " WHERE id = ?"
        " AND (state IN ('planned', 'sending', 'unknown')"
        " OR (? = 'created' AND state IN ('refused', 'not_sent')))",
        (state.value, task_id, created_at, error, owner.clock(), submission_id, state.value),
    )
    if not found.rowcount:
        _already_ended(connection, owner, submission_id, state, task_id, created_at)
    elif task_id:
        connection.execute(
            "INSERT INTO tasks (task_id, account, kind, created_at)"  # noqa: S608 (a constant)
            " SELECT task_id, account, kind, created_at FROM submissions"
            # A persona is not a task.
            " WHERE id = ? AND kind <> 'persona'" + _MERGE,
            (submission_id,),
        )


def _advance_owned(
    connection: sqlite3.Connection,
    owner: Owner,
    submission_id: str,
    state: SubmissionState,
    error: str,
) -> None:
    found = connection.execute(
        "UPDATE submissions SET state = ?, error = ?, changed_at = ?"
        " WHERE id = ? AND owner = ? AND state IN ('planned', 'sending')",
        (state.value, error, owner.clock(), submission_id, owner.require() and owner.id),
    )
    if not found.rowcount:
        stored, holder = _find(connection, submission_id)
        other = "" if holder == owner.id else ", and another client owns it"
        raise JournalError(
            f"submission {submission_id!r} is {stored.state.value}{other}: it must not be sent; "
            "this client was probably suspended for longer than its lease; run the create again"
        )


def _already_ended(  # noqa: PLR0913, PLR0917 (as above)
    connection: sqlite3.Connection,
    owner: Owner,
    submission_id: str,
    state: SubmissionState,
    task_id: str,
    created_at: float | None,
) -> None:
    try:
        stored, _ = _find(connection, submission_id)
    except JournalError:
        if not task_id:
            raise
        # The submission was replaced. Store the task anyway, because it may have been paid for.
        task = TaskRecord(task_id=task_id, account=owner.account or "", created_at=created_at)
        _store(connection, [task])
        return
    if (stored.state, stored.task_id) != (state, task_id):
        raise JournalError(
            f"submission {submission_id!r} ended as {stored.state.value}"
            f"{f' with task {stored.task_id}' * bool(stored.task_id)}: it cannot become "
            f"{state.value}{f' with task {task_id}' * bool(task_id)}"
        )


def settle(
    connection: sqlite3.Connection, owner: Owner, submission_id: str, task_id: str | None
) -> SubmissionRecord:
    """Record the outcome of a submission whose state is ``unknown``. See `Journal.settle`."""
    stored, holder = _find(connection, submission_id)
    if not stored.state.ended and not owner.live(connection, holder):
        owner.sweep(connection)
        stored, _ = _find(connection, submission_id)
    if owner.account not in {None, stored.account}:
        raise JournalError(
            f"submission {submission_id!r} belongs to another account: {stored.account!r}"
        )
    if stored.state is not SubmissionState.UNKNOWN:
        raise JournalError(
            f"submission {submission_id!r} is {stored.state.value}, not unknown: nothing to settle"
        )
    if task_id is None:
        advance(connection, owner, submission_id, SubmissionState.NOT_SENT, "", None, SETTLED)
    else:
        advance(connection, owner, submission_id, SubmissionState.CREATED, task_id, None, "")
    return _find(connection, submission_id)[0]


def keep_results(connection: sqlite3.Connection, owner: Owner, tasks: Sequence[TaskRecord]) -> None:
    """Store the final records of tasks. See `Journal.keep_results`."""
    complete = [_completed(connection, owner, task) for task in tasks]
    for start in range(0, len(complete), MOST_ROWS):
        _store(connection, complete[start : start + MOST_ROWS])


def _completed(connection: sqlite3.Connection, owner: Owner, task: TaskRecord) -> TaskRecord:
    # Return the task with its account and the time of its end.
    account = task.account if owner.account is None else owner.account
    if not account:
        found = connection.execute(
            "SELECT account FROM tasks WHERE task_id = ?", (task.task_id,)
        ).fetchone()
        account = found[0] if found else ""
    ended_at = task.ended_at
    if task.status and ended_at is None:
        ended_at = owner.clock()
    return msgspec.structs.replace(task, account=account, ended_at=ended_at)


def _store(connection: sqlite3.Connection, tasks: Sequence[TaskRecord]) -> None:
    # Use one statement for all rows: each statement releases the GIL and waits for it again.
    rows = ", ".join(["(?, ?, ?, ?, ?, ?, ?)"] * len(tasks))
    connection.execute(
        f"INSERT INTO tasks ({TASK}) VALUES {rows}{_MERGE},"  # noqa: S608 (constants)
        " status = excluded.status, ended_at = excluded.ended_at, raw = excluded.raw"
        " WHERE tasks.status = ''",
        [value for task in tasks for value in msgspec.structs.astuple(task)],
    )


def save_durations(connection: sqlite3.Connection, owner: Owner, data: bytes) -> None:
    """Store data about the durations of jobs. See `Journal.save_durations`."""
    connection.execute(
        "INSERT OR REPLACE INTO durations (account, data, saved_at) VALUES (?, ?, ?)",
        (owner.require(), data, owner.clock()),
    )


def rebind(connection: sqlite3.Connection, owner: Owner, old: str, new: str) -> int:
    """Replace the account label `old` by `new` everywhere. See `Journal.rebind`."""
    if old == new:
        return 0
    others = connection.execute(
        "SELECT owner, pid, host FROM owners WHERE account = ? AND owner <> ?", (old, owner.id)
    ).fetchall()
    for other, pid, host in others:
        if owner.live(connection, other):
            raise JournalError(
                f"account {old!r} is in use by process {pid} on {host}; stop it, then rebind"
            )
    owner.sweep(connection)
    reserved = connection.execute(
        "SELECT run FROM leases AS a JOIN leases AS b USING (run)"
        " WHERE a.account = ? AND b.account = ?",
        (old, new),
    ).fetchone()
    if reserved is not None:
        raise JournalError(
            f"run {reserved[0]!r} is in use under {old!r} and under {new!r}; end one, then rebind"
        )
    both = _resolve_conflicts(connection, old, new)
    if both is not None:
        raise JournalError(
            f"accounts {old!r} and {new!r} both have a submission with the key {both[1]!r}"
            f"{f' in run {both[0]!r}' * bool(both[0])}; the labels cannot be merged"
        )
    changed = 0
    for table in ("submissions", "tasks"):
        update = f"UPDATE {table} SET account = ? WHERE account = ?"  # noqa: S608 (constants)
        changed += connection.execute(update, (new, old)).rowcount
    for table in ("owners", "leases"):
        update = f"UPDATE {table} SET account = ? WHERE account = ?"  # noqa: S608 (constants)
        connection.execute(update, (new, old))
    connection.execute("UPDATE OR IGNORE durations SET account = ? WHERE account = ?", (new, old))
    connection.execute("DELETE FROM durations WHERE account = ?", (old,))
    if owner.account == old:
        owner.account = new
    return changed


def _resolve_conflicts(
    connection: sqlite3.Connection, old: str, new: str
) -> tuple[str, str] | None:
    # Look for a run and a key for which both labels have a submission that may have been paid for.
    # Return them if they exist. Otherwise remove the duplicate submissions and tasks of the labels.
    keep = "state NOT IN ('refused', 'not_sent')"
    both: tuple[str, str] | None = connection.execute(
        "SELECT a.run, a.key FROM submissions AS a JOIN submissions AS b USING (run, key)"  # noqa: S608 (constants)
        " WHERE a.account = ? AND b.account = ? AND a.key <> '' AND b.key <> ''"
        f" AND a.{keep} AND b.{keep} LIMIT 1",
        (old, new),
    ).fetchone()
    if both is not None:
        return both
    for drop, other in ((old, new), (new, old)):
        connection.execute(
            f"DELETE FROM submissions WHERE account = ? AND key <> '' AND NOT ({keep})"  # noqa: S608 (constants)
            " AND EXISTS (SELECT 1 FROM submissions AS b WHERE b.account = ?"
            " AND b.run = submissions.run AND b.key = submissions.key AND b.key <> '')",
            (drop, other),
        )
        # Of two records of one task, keep the one that has ended. If both or neither have ended,
        # keep the record of the new label.
        connection.execute(
            "DELETE FROM tasks WHERE account = ? AND EXISTS (SELECT 1 FROM tasks AS b"
            " WHERE b.task_id = tasks.task_id AND b.account = ?"
            " AND (tasks.status = '' OR (b.status <> '' AND ?)))",
            (drop, other, drop == old),
        )
    return None
