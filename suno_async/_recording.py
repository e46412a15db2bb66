"""Store the create requests and the results of a client in the journal.

A *submission* is one create request and its state. A *run* is a named series of submissions.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from typing import TYPE_CHECKING, TypeVar

from suno_async._journal_records import outcome_in, reason_of, record_of, unknown_outcome
from suno_async._rate_share import HEARTBEAT, RateShare
from suno_async._schedule.durations import Durations
from suno_async.errors import ConfigurationError, JournalError
from suno_async.journal.base import SubmissionRecord, TaskRecord
from suno_async.models import TaskInfo, TaskRef, TaskStatus
from suno_async.submissions import Submission, SubmissionState

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Collection

    from suno_async.journal.base import Journal
    from suno_async.limits.base import Limiter
    from suno_async.outcomes import Outcome

logger = logging.getLogger("suno_async")

#: Seconds between two reads of an earlier submission that has not ended.
LOOK_AGAIN = 0.2

#: Seconds for which results are collected before they are written, so that one sync of the disk
#: stores all of them. One result alone takes about 0.2 ms of CPU to store, eight together 0.04 ms
#: each. A job takes minutes, so the delay does not matter. With half of the delay, a poll takes 4 %
#: more CPU (`benchmarks.cost`).
GATHER = 0.1

#: Number of heartbeats after which the learnt durations are stored: every minute.
DURATIONS_EVERY = round(60.0 / HEARTBEAT)

#: How often storing a late final state is tried. A heartbeat has just succeeded before each try, so
#: after some failures the journal will never accept the state.
LATE_TRIES = 5

T = TypeVar("T")


class Recorder:
    """Stores the create requests and the results of one client in the journal.

    Attributes:
        journal: The journal.
        account: The label of the account in the journal.
    """

    def __init__(
        self, journal: Journal, account: str, durations: Durations, unix: Callable[[], float]
    ) -> None:
        self.journal = journal
        self.account = account
        self._durations = durations
        self._unix = unix
        self._saved = b""
        self._heartbeats = 0
        self._share: RateShare | None = None
        self._results: list[tuple[TaskRecord, asyncio.Future[None]]] = []
        self._storing: asyncio.Task[None] | None = None
        # Ended submissions whose final state is not stored, because the journal could not be
        # written; by id. Without this state, other creates with the same key would wait for ever.
        self._late_ends: dict[str, Submission] = {}
        self._late_tries = Counter[str]()
        # Runs that may still be reserved, although nobody works on them any more.
        self._unreleased: set[str] = set()
        self._releasing = asyncio.Lock()

    async def join(self, limiter: Limiter) -> None:
        """Share the account's request rate among all live clients. See `RateShare.join`.

        Raises:
            JournalError: The journal cannot be written.
        """
        self._share = RateShare(self.journal, limiter, self._after_heartbeat)
        await self._share.join()

    async def close(self) -> None:
        """Stop the heartbeats, and close the journal.

        Before that, store the remaining results, the final states that could not be stored earlier,
        and the learnt durations of jobs. If the durations cannot be stored, log a warning.

        Raises:
            JournalError: The journal cannot be written. It is closed nevertheless.
        """
        if self._share is not None:
            await self._share.leave()
        if self._storing is not None:
            await asyncio.wait([self._storing])
        try:
            await self._store_late_ends(is_last=True)
            await self._save_durations()
        except JournalError as error:
            logger.warning("cannot store the learnt durations: %s", error)
        finally:
            await self.journal.close()

    async def rebind(self, account: str) -> None:
        """Replace the label of the account in the journal by `account`.

        Raises:
            JournalError: Another live client uses the old label, or records of the two labels
                conflict.
        """
        await self.journal.rebind(self.account, account)
        self.account = account

    async def claim(self, submission: Submission) -> bool:
        """Store a planned submission, unless a submission with the same run and key exists.

        If such a submission exists, wait until it has ended. If it created a task, copy the task
        id to `submission`. If it created nothing, replace it by `submission`.

        Returns:
            Whether `submission` was stored and must be sent.

        Raises:
            InputChangedError: The existing submission has a different input.
            CreateOutcomeUnknownError: The existing submission ended with an unknown outcome.
            RunInUseError: This client had reserved the run, but now another client has it.
            JournalError: The journal cannot be written.
        """
        record = record_of(submission, self.account, self._unix())
        waits = False
        while True:
            stored = await _claimed(self.journal, submission, record)
            if submission.recorded:
                return True
            if stored.state is SubmissionState.CREATED:
                submission.repeats(stored.task_id, stored.created_at)
                return False
            if (late := self._late_ends.get(stored.id)) is not None:
                await self.note(late)
                continue
            if stored.state is SubmissionState.UNKNOWN:
                raise unknown_outcome(stored)
            if not waits:
                waits = True
                logger.info(
                    "key %r: waiting for the outcome of an earlier create with this key",
                    submission.key,
                )
            await asyncio.sleep(LOOK_AGAIN)

    async def note(self, submission: Submission) -> None:
        """Store the current state of a submission that `claim` has stored.

        Raises:
            JournalError: The journal cannot be written, or another client has ended the submission.
        """
        if submission.recorded:
            await self.journal.advance(
                submission.id,
                submission.state,
                task_id=submission.task_id,
                created_at=submission.created_at,
                error=reason_of(submission.error),
            )
            self._late_ends.pop(submission.id, None)
            self._late_tries.pop(submission.id, None)

    async def note_end(self, submission: Submission) -> None:
        """Store the final state of a submission.

        If this fails, log the error and the task id. After each heartbeat, try to store it again.
        """
        noting = asyncio.ensure_future(self.note(submission))
        try:
            await in_spite_of_cancellation(noting)
        except (Exception, asyncio.CancelledError):
            if noting.cancelling():
                # At its end, `asyncio.run` cancels every asyncio task, and so this one, too.
                await self.note_end(submission)
                return
            what = submission.task_id or submission.error
            logger.exception(
                "cannot store the outcome of submission %s in the journal: its state is %s (%s)",
                submission.id,
                submission.state,
                what,
            )
            if submission.recorded:
                self._late_ends[submission.id] = submission

    async def _store_late_ends(self, *, is_last: bool = False) -> None:
        """Try to store the final states that could not be stored earlier.

        If a state was tried `LATE_TRIES` times without success, log an error and give up. With
        `is_last`, do so after any failure.
        """
        # Store them together, so that one sync of the disk is enough.
        late = list(self._late_ends.values())
        results = await asyncio.gather(*map(self.note, late), return_exceptions=True)
        for submission, result in zip(late, results, strict=True):
            if result is None:
                continue
            self._late_tries[submission.id] += 1
            if is_last or self._late_tries[submission.id] >= LATE_TRIES:
                logger.error(
                    "the outcome of submission %s is not stored: %s", submission.id, result
                )
                self._late_ends.pop(submission.id, None)

    def keep(self, info: TaskInfo) -> asyncio.Future[None]:
        """Store the final record of a task.

        Wait for the returned future before you give the record to a caller.

        Returns:
            A future that is done when the record is stored, or when storing it has failed. The
            future never has an exception.
        """
        task = TaskRecord(
            task_id=info.task_id,
            kind=info.param.model,
            created_at=info.create_at,
            status="success" if info.status is TaskStatus.SUCCESS else "failed",
            ended_at=self._unix(),
            raw=info.raw,
        )
        kept: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._results.append((task, kept))
        if self._storing is None:
            self._storing = asyncio.create_task(self._store_results(), name="suno_async results")
        return kept

    async def _store_results(self) -> None:
        # If this asyncio task is cancelled, store the results now, without further waiting.
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(GATHER)
        results, self._results = self._results, []
        self._storing = None
        try:
            await self.journal.keep_results([task for task, _ in results])
        except Exception:
            # The tasks stay open in the journal, so their records will be read again.
            ids = ", ".join(task.task_id for task, _ in results)
            logger.exception(
                "cannot store the results of these tasks, which stay open in the journal: %s", ids
            )
        finally:
            for _, kept in results:
                if not kept.done():
                    kept.set_result(None)

    async def stored(self, task_ids: Collection[str]) -> dict[str, Outcome]:
        """Return the outcomes that the journal contains for these tasks, by task id.

        Tasks with a missing or unreadable outcome are not included. If the journal cannot be read,
        return an empty dict.
        """
        try:
            tasks = await self.journal.find_tasks(task_ids)
        except JournalError as error:
            logger.warning("cannot read results from the journal: %s", error)
            return {}
        outcomes = {task_id: outcome_in(task) for task_id, task in tasks.items() if task.ended}
        damaged = [task_id for task_id, outcome in outcomes.items() if outcome.info is None]
        for task_id in damaged:
            problem = outcomes.pop(task_id).error
            logger.warning("the stored result of task %s is unusable: %s", task_id, problem)
        return outcomes

    @contextlib.asynccontextmanager
    async def holding(self, run: str) -> AsyncGenerator[None]:
        """Reserve a run during the ``async with`` block, so that no other client works on it.

        A *run* is a named series of jobs in the journal. If `run` is empty, do nothing.

        Raises:
            RunInUseError: The run is already reserved, in this process or in another one.
            JournalError: The journal cannot be written.
        """
        if not run:
            yield
            return
        await self._release(run)
        holding = asyncio.ensure_future(self.journal.hold(run))
        try:
            await asyncio.shield(holding)
        except asyncio.CancelledError:
            # The journal may have reserved the run in spite of the cancellation.
            with contextlib.suppress(JournalError):
                await in_spite_of_cancellation(holding)
                self._unreleased.add(run)
                await self._release(run)
            raise
        try:
            yield
        finally:
            # If the journal is closed already, the run is free. After another error, or after a
            # cancellation, the run is released later.
            self._unreleased.add(run)
            with contextlib.suppress(JournalError):
                await self._release(run)

    async def _release(self, *runs: str) -> None:
        """Release those of the runs that nobody works on any more."""
        for run in runs:
            async with self._releasing:
                # In the meantime, `holding` may have reserved this run again.
                if run in self._unreleased:
                    await self.journal.release(run)
                    self._unreleased.discard(run)

    async def _after_heartbeat(self) -> None:
        self._heartbeats += 1
        await self._store_late_ends()
        await self._release(*self._unreleased)
        if self._heartbeats % DURATIONS_EVERY == 0:
            await self._save_durations()

    async def _save_durations(self) -> None:
        data = self._durations.to_json()
        if data != self._saved and self._durations.kinds():
            await self.journal.save_durations(data)
            self._saved = data


async def load_durations(journal: Journal, expected: Durations) -> Durations:
    """Return the learnt durations of jobs from a journal.

    If there are none, or if they are not usable, return `expected`. They are also not usable if
    their assumed median differs from that of `expected`.

    Raises:
        JournalError: The journal cannot be read.
    """
    data = await journal.load_durations()
    if data is None:
        return expected
    try:
        loaded = Durations.from_json(data)
    except ConfigurationError as error:
        logger.warning("the stored durations are ignored: %s", error)
        return expected
    # Another assumed median is a sign that these durations were learnt from a faster or slower
    # server, such as a sandbox.
    return loaded if loaded.median == expected.median else expected


async def open_refs(recorder: Recorder, run: str | None) -> list[TaskRef]:
    """Return the unfinished tasks in the journal.

    If `run` is not None, return only the tasks of the run with this name.

    Raises:
        JournalError: The journal cannot be read.
    """
    return [
        TaskRef(task.task_id, task.created_at, task.kind)
        async for entry in recorder.journal.entries(run=run, open_only=True)
        if (task := entry.task) is not None
    ]


async def _claimed(
    journal: Journal, submission: Submission, record: SubmissionRecord
) -> SubmissionRecord:
    # The journal may store a claim in spite of a cancellation. Without an end of this submission,
    # all other creates with the same key would wait until the client is closed.
    claiming = asyncio.ensure_future(journal.claim(record))
    try:
        return await asyncio.shield(claiming)
    finally:
        with contextlib.suppress(Exception):
            stored = await in_spite_of_cancellation(claiming)
            submission.recorded = stored.id == record.id


async def in_spite_of_cancellation(work: asyncio.Future[T]) -> T:
    """Wait until `work` has ended, and return its result.

    During the wait, ignore cancellations of the caller. So `work` must be short.
    """
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError:
            continue
    return work.result()
