"""A journal in memory, for tests in virtual time. Several clients can share one store."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from suno_async.errors import InputChangedError, JournalError, RunInUseError
from suno_async.journal.base import JournalEntry, Peers, RunSummary, SubmissionRecord, TaskRecord
from suno_async.submissions import SubmissionState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection

_AGAIN = {SubmissionState.REFUSED, SubmissionState.NOT_SENT}


class Store:
    """The data that a journal file would contain.

    An *owner* is a client that has opened the journal. A *submission* is one create request.

    Attributes:
        submissions: The submissions by id, in the order in which they were stored.
        tasks: The tasks by id.
        owners: The live owners: owner → whether it knows all other owners. When an owner joins, the
            values of the other owners become False. The next heartbeat of an owner makes the value
            of this owner True again.
        owned: The owner of each submission, by the id of the submission.
        held: The owner of each reserved run, by the name of the run.
        durations: The data that `save_durations` stored last; None if there is none.
        log: The submission id and the new state for each change, in the order of the changes.
    """

    def __init__(self) -> None:
        self.submissions: dict[str, SubmissionRecord] = {}
        self.tasks: dict[str, TaskRecord] = {}
        self.owners: dict[MemoryJournal, bool] = {}
        self.owned: dict[str, MemoryJournal] = {}
        self.held: dict[str, MemoryJournal] = {}
        self.durations: bytes | None = None
        self.log: list[tuple[str, str]] = []

    def kill(self, journal: MemoryJournal) -> None:
        """Remove `journal` from the owners and free its runs, as if its process had ended."""
        self.owners.pop(journal, None)
        self.held = {run: owner for run, owner in self.held.items() if owner is not journal}
        journal.killed = True

    def sweep(self) -> None:
        """Change the states of submissions whose owners are not live.

        The state ``sending`` becomes ``unknown``, and ``planned`` becomes ``not_sent``.
        """
        for key, record in self.submissions.items():
            if self.owned[key] in self.owners:
                continue
            if record.state is SubmissionState.SENDING:
                self.change(key, state=SubmissionState.UNKNOWN)
            elif record.state is SubmissionState.PLANNED:
                self.change(key, state=SubmissionState.NOT_SENT)

    def change(self, key: str, **fields: object) -> None:
        """Change fields of a submission, and add its state to the log."""
        self.submissions[key] = msgspec.structs.replace(self.submissions[key], **fields)
        self.log.append((key, str(self.submissions[key].state)))


class MemoryJournal:
    """The journal of one client. Several journals can share one store.

    A client that has opened its journal is an *owner* of the store.

    Attributes:
        store: The store.
        account: The label of the account.
        before: Function that each method calls first. The argument is the name of the method, or
            ``"advance <new state>"`` for the method `advance`. The function may raise.
        delay: Seconds that each method takes.
        killed: Whether the journal was killed (see `Store.kill`) or closed. If so, every method
            except `close` raises `JournalError`.
    """

    def __init__(self, store: Store | None = None, delay: float = 0.002) -> None:
        self.store = store or Store()
        self.account = ""
        self.before: Callable[[str], None] = lambda _: None
        self.delay = delay
        self.killed = False

    async def open(self, account: str | None) -> None:
        """Add this journal to the owners of the store."""
        await self._work("open")
        self.account = account or ""
        for owner in self.store.owners:
            self.store.owners[owner] = False
        self.store.owners[self] = True
        self.store.sweep()

    async def close(self) -> None:
        """Remove this journal from the owners of the store."""
        if self.killed:
            return
        await self._work("close")
        self.store.kill(self)
        self.store.sweep()

    async def claim(self, record: SubmissionRecord) -> SubmissionRecord:
        """Store a planned submission, and return it.

        If the store already has a submission with the same run and key, return that submission
        instead. But if that submission was refused or not sent, replace it by the planned
        submission.
        """
        await self._work("claim")
        self.store.sweep()
        for earlier in self.store.submissions.values():
            names = (earlier.account, earlier.run, earlier.key)
            if record.key and names == (record.account, record.run, record.key):
                if earlier.state in _AGAIN:
                    del self.store.submissions[earlier.id]
                    break
                if earlier.digest != record.digest:
                    raise InputChangedError(record.run, record.key, record.position)
                return earlier
        self.store.submissions[record.id] = record
        self.store.owned[record.id] = self
        self.store.log.append((record.id, str(record.state)))
        return record

    async def advance(
        self,
        submission_id: str,
        state: SubmissionState,
        *,
        task_id: str = "",
        created_at: float | None = None,
        error: str = "",
    ) -> None:
        """Record a new state of a submission."""
        await self._work(f"advance {state}")
        if state is SubmissionState.SENDING and self.store.owned[submission_id] is not self:
            raise JournalError("taken over")
        self.store.change(
            submission_id, state=state, task_id=task_id, created_at=created_at, error=error
        )
        kind = self.store.submissions[submission_id].kind
        if task_id and kind != "persona":
            self.store.tasks[task_id] = TaskRecord(
                task_id=task_id, account=self.account, kind=kind, created_at=created_at
            )

    async def settle(self, submission_id: str, task_id: str | None) -> SubmissionRecord:
        """Record the outcome of a submission whose state is ``unknown``. Return the submission."""
        await self._work("settle")
        record = self.store.submissions.get(submission_id)
        if record is None or record.state is not SubmissionState.UNKNOWN:
            raise JournalError("there is no such unknown submission")
        created = SubmissionState.CREATED if task_id else SubmissionState.NOT_SENT
        self.store.change(submission_id, state=created, task_id=task_id or "")
        if task_id:
            self.store.tasks.setdefault(task_id, TaskRecord(task_id=task_id, kind=record.kind))
        return self.store.submissions[submission_id]

    async def keep_results(self, tasks: Collection[TaskRecord]) -> None:
        """Store the final records of tasks."""
        await self._work("keep_results")
        for task in tasks:
            earlier = self.store.tasks.get(task.task_id)
            if earlier is None or not earlier.ended:
                self.store.tasks[task.task_id] = task

    async def find_tasks(self, task_ids: Collection[str]) -> dict[str, TaskRecord]:
        """Return the tasks in `task_ids` that the store contains, by task id."""
        await self._work("find_tasks")
        return {each: self.store.tasks[each] for each in task_ids if each in self.store.tasks}

    async def entries(
        self,
        *,
        run: str | None = None,
        states: Collection[SubmissionState] | None = None,
        open_only: bool = False,
    ) -> AsyncIterator[JournalEntry]:
        """Yield the submissions that match the arguments, with their tasks."""
        await self._work("entries")
        for record in list(self.store.submissions.values()):
            task = self.store.tasks.get(record.task_id)
            if (
                (run is None or record.run == run)
                and (states is None or record.state in states)
                and not (open_only and (task is None or task.ended))
            ):
                yield JournalEntry(record, task)

    async def runs(self) -> list[RunSummary]:
        """Return all runs."""
        await self._work("runs")
        names = {each.run for each in self.store.submissions.values() if each.run}
        return [
            RunSummary(
                account=self.account,
                run=name,
                states=Counter(
                    str(each.state) for each in self.store.submissions.values() if each.run == name
                ),
            )
            for name in sorted(names)
        ]

    async def hold(self, run: str) -> None:
        """Reserve a run for this owner."""
        await self._work("hold")
        if run in self.store.held:
            raise RunInUseError(run, "another owner")
        self.store.held[run] = self

    async def release(self, run: str) -> None:
        """Free a run that this owner reserved."""
        await self._work("release")
        if self.store.held.get(run) is self:
            del self.store.held[run]

    async def heartbeat(self) -> Peers:
        """Record a heartbeat of this owner, and return the owner's `Peers`."""
        await self._work("heartbeat")
        self.store.owners[self] = True
        others = [aware for owner, aware in self.store.owners.items() if owner is not self]
        return Peers(len(others) + 1, all(others))

    async def save_durations(self, data: bytes) -> None:
        """Store the learnt durations of jobs."""
        await self._work("save_durations")
        self.store.durations = data

    async def load_durations(self) -> bytes | None:
        """Return the durations that were stored last; None if there are none."""
        await self._work("load_durations")
        return self.store.durations

    async def rebind(self, old: str, new: str) -> int:
        """Replace the account label `old` by `new`; return the number of changed submissions."""
        await self._work("rebind")
        self.account = new
        count = 0
        for key, record in self.store.submissions.items():
            if record.account == old:
                self.store.change(key, account=new)
                count += 1
        return count

    async def _work(self, name: str) -> None:
        if self.killed:
            raise JournalError("this owner was killed")
        self.before(name)
        await asyncio.sleep(self.delay)
