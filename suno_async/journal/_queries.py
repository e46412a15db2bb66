"""The SQL queries that read a journal. Each function uses a read-only connection.

An *entry* of a journal is a submission (one create request) and its task.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from suno_async.journal._owners import Owner, describe
from suno_async.journal._rows import SUBMISSION, TASK, read_submission, read_task
from suno_async.journal.base import JournalEntry, RunSummary, TaskRecord

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Sequence

    from suno_async.submissions import SubmissionState

#: Maximum number of entries that one statement reads, and of task ids in one statement.
PAGE = 500

_JOINED = (
    " FROM submissions AS s LEFT JOIN tasks AS t"
    " ON s.task_id <> '' AND t.task_id = s.task_id AND t.account = s.account"
)


def _columns(table: str, names: str) -> str:
    return ", ".join(f"{table}.{name}" for name in names.split(", "))


_ENTRY = f"SELECT s.seq, {_columns('s', SUBMISSION)}, {_columns('t', TASK)}{_JOINED}"
_ALONE = f"SELECT t.seq, {_columns('t', TASK)} FROM tasks AS t"  # noqa: S608 (constants)
_ITS_SUBMISSION = (
    "SELECT 1 FROM submissions AS s"
    " WHERE s.task_id <> '' AND s.task_id = t.task_id AND s.account = t.account"
)
_WIDTH = len(SUBMISSION.split(", "))


class Selection(NamedTuple):
    """Which entries to read: the arguments of `Journal.entries`, and the label of the account."""

    account: str | None
    run: str | None
    states: Collection[SubmissionState] | None
    open_only: bool


class Page(NamedTuple):
    """Some entries, and the position (`seq`) after which the next page starts."""

    entries: list[JournalEntry]
    last: int


def ends(connection: sqlite3.Connection) -> tuple[int, int]:
    """Return the position (`seq`) of the newest submission, and the position of the newest task."""
    found: tuple[int, int] = connection.execute(
        "SELECT (SELECT coalesce(max(seq), 0) FROM submissions),"
        " (SELECT coalesce(max(seq), 0) FROM tasks)"
    ).fetchone()
    return found


def submissions_page(
    connection: sqlite3.Connection, wanted: Selection, after: int, end: int
) -> Page:
    """Return at most `PAGE` submissions that match `wanted`, each with its task.

    The positions (`seq`) of the submissions are above `after` and at most `end`.
    """
    terms, values = ["s.seq > ?", "s.seq <= ?"], [after, end, *_given(wanted)]
    if wanted.account is not None:
        terms.append("s.account = ?")
    if wanted.run is not None:
        terms.append("s.run = ?")
        values.append(wanted.run)
    if wanted.states is not None:
        terms.append(f"s.state IN ({', '.join('?' * len(wanted.states))})")
        values += [state.value for state in wanted.states]
    if wanted.open_only:
        terms.append("t.status = ''")
    rows = _page(connection, _ENTRY, terms, values, "s")
    return Page([_entry(row[1:]) for row in rows], rows[-1][0] if len(rows) == PAGE else end)


def tasks_page(connection: sqlite3.Connection, wanted: Selection, after: int, end: int) -> Page:
    """Return at most `PAGE` tasks that match `wanted` and have no submission.

    The positions (`seq`) of the tasks are above `after` and at most `end`.
    """
    terms = [
        "t.seq > ?",
        "t.seq <= ?",
        f"NOT EXISTS ({_ITS_SUBMISSION})",
    ]
    if wanted.account is not None:
        terms.append("t.account = ?")
    if wanted.open_only:
        terms.append("t.status = ''")
    rows = _page(connection, _ALONE, terms, [after, end, *_given(wanted)], "t")
    entries = [JournalEntry(None, read_task(row[1:])) for row in rows]
    return Page(entries, rows[-1][0] if len(rows) == PAGE else end)


def _given(wanted: Selection) -> list[str]:
    return [] if wanted.account is None else [wanted.account]


def _page(
    connection: sqlite3.Connection,
    select: str,
    terms: Sequence[str],
    values: Sequence[object],
    table: str,
) -> list[tuple[Any, ...]]:
    return connection.execute(
        f"{select} WHERE {' AND '.join(terms)} ORDER BY {table}.seq LIMIT {PAGE}", values
    ).fetchall()


def _entry(row: tuple[Any, ...]) -> JournalEntry:
    task = row[_WIDTH:]
    return JournalEntry(read_submission(row[:_WIDTH]), None if task[0] is None else read_task(task))


def find_tasks(
    connection: sqlite3.Connection, account: str | None, task_ids: Sequence[str]
) -> dict[str, TaskRecord]:
    """Return the records of the tasks with these ids, by task id. See `Journal.find_tasks`."""
    found: dict[str, TaskRecord] = {}
    for start in range(0, len(task_ids), PAGE):
        some = task_ids[start : start + PAGE]
        query = f"SELECT {TASK} FROM tasks WHERE task_id IN ({', '.join('?' * len(some))})"  # noqa: S608 (constants)
        values = list(some)
        if account is not None:
            query += " AND account = ?"
            values.append(account)
        found |= {row[0]: read_task(row) for row in connection.execute(query, values)}
    return found


def runs(connection: sqlite3.Connection, owner: Owner) -> list[RunSummary]:
    """Return a summary of each run, the newest run first. See `Journal.runs`."""
    query = (
        "SELECT s.account, s.run, s.state, count(*), total(t.status = ''),"
        " total(t.status = 'success'), total(t.status = 'failed'), min(s.planned_at),"
        f" max(max(s.changed_at, coalesce(t.ended_at, 0))), min(s.seq){_JOINED}"
        " WHERE s.run <> '' AND (? IS NULL OR s.account = ?)"
        " GROUP BY s.account, s.run, s.state"
    )
    summaries: dict[tuple[str, str], RunSummary] = {}
    first: dict[tuple[str, str], tuple[float, int]] = {}
    for account, run, state, count, *numbers, started, changed, seq in connection.execute(
        query, (owner.account, owner.account)
    ):
        unfinished, succeeded, failed = map(int, numbers)
        key = account, run
        before = summaries.get(key)
        if before is None:
            holder = Owner.holder(connection, account, run)
            live = holder is not None and owner.live(connection, holder[0])
            text = describe(*holder[1:]) if holder is not None and live else ""
            before = RunSummary(
                account=account, run=run, states={}, holder=text, started_at=started
            )
            first[key] = started, seq
        first[key] = min(first[key], (started, seq))
        summaries[key] = RunSummary(
            account=account,
            run=run,
            states=before.states | {state: count},
            open=before.open + unfinished,
            succeeded=before.succeeded + succeeded,
            failed=before.failed + failed,
            holder=before.holder,
            started_at=first[key][0],
            changed_at=max(before.changed_at, changed),
        )
    return [summaries[key] for key in sorted(summaries, key=first.__getitem__, reverse=True)]


def other_account(connection: sqlite3.Connection, account: str, run: str) -> str | None:
    """Return the label of another account under which a run may have created tasks.

    Return None if there is none, or if `account` has submissions in this run.
    """
    found = connection.execute(
        "SELECT account FROM submissions WHERE run = ? AND account <> ?"
        " AND state NOT IN ('refused', 'not_sent') AND NOT EXISTS"
        " (SELECT 1 FROM submissions WHERE run = ? AND account = ?) LIMIT 1",
        (run, account, run, account),
    ).fetchone()
    return None if found is None else str(found[0])


def load_durations(connection: sqlite3.Connection, account: str | None) -> bytes | None:
    """Return the newest data about the durations of jobs, or None. See `Journal.load_durations`."""
    found = connection.execute(
        "SELECT data FROM durations WHERE ? IS NULL OR account = ? ORDER BY saved_at DESC LIMIT 1",
        (account, account),
    ).fetchone()
    return None if found is None else bytes(found[0])
