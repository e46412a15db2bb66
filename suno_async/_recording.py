"""Keep the journal of a client: its creates, its results, and its share of the account's rate."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from suno_async._protocol.task_info import read_task_info
from suno_async._schedule.durations import Durations
from suno_async.errors import (
    ConfigurationError,
    CreateOutcomeUnknownError,
    JournalError,
    SunoError,
    TaskFailedError,
)
from suno_async.inputs import KINDS, Input
from suno_async.journal.base import SubmissionRecord, TaskRecord
from suno_async.limits.local import LocalLimiter
from suno_async.models import TaskInfo, TaskRef, TaskStatus
from suno_async.outcomes import Outcome, outcome_of
from suno_async.submissions import Submission, SubmissionState

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Collection

    from suno_async.journal.base import Journal
    from suno_async.limits.base import Limiter

logger = logging.getLogger("suno_async")

#: Seconds between two heartbeats. A client that joins waits this long until the others share.
HEARTBEAT = 2.0

#: Seconds between two heartbeats of a client that waits for the others.
JOINING = 0.1

#: Seconds from the heartbeat of the others to the first request. Their last requests, sent at the
#: whole rate, may still arrive, so without this wait 16 requests arrived within one second.
ARRIVING = 0.2

#: Seconds since the last heartbeat after which a client sends nothing until the next one. Others
#: may take its share after the lease of the journal (30 s): it may have been stopped for so long.
SILENCE = 3 * HEARTBEAT

#: Seconds between two reads of a submission that another client is sending.
LOOK_AGAIN = 0.2

#: Seconds for which a result waits for others, so that one sync of the disk serves all of them. One
#: result alone takes about 0.2 ms of CPU to store, eight together 0.04 ms each. A job takes
#: minutes, so the delay does not matter. With half of it, `benchmarks.cost` shows 5 % more CPU.
GATHER = 0.05

#: Seconds between two times at which the learnt durations are stored.
DURATIONS_EVERY = 60.0

T = TypeVar("T")


class Recorder:
    """Writes what one client does into its journal.

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
        self._share = 1
        self._limiter: Limiter | None = None
        self._beating: asyncio.Task[None] | None = None
        self._results: list[tuple[TaskRecord, asyncio.Future[None]]] = []
        self._storing: asyncio.Task[None] | None = None

    async def join(self, limiter: Limiter) -> None:
        """Share the account's rate with the other live clients. Send heartbeats from now on.

        Wait until the other clients have reduced their rate, which takes about one heartbeat.
        """
        self._limiter = limiter
        peers = await self.journal.heartbeat()
        self._divide(limiter, peers.count)
        waits = not peers.aware
        if waits:
            logger.info("other processes use this account: waiting until they share its rate")
        while not peers.aware:
            await asyncio.sleep(JOINING)
            peers = await self.journal.heartbeat()
            self._divide(limiter, peers.count)
        if waits:
            await asyncio.sleep(ARRIVING)
        beating = self._beat(limiter)
        self._beating = asyncio.create_task(beating, name="suno_async journal heartbeat")
        if isinstance(limiter, LocalLimiter):
            # Whatever ends the heartbeats, requests must not wait for the next one.
            self._beating.add_done_callback(lambda _: limiter.share(self._share, self))

    async def close(self) -> None:
        """Store the learnt durations, stop the heartbeats and close the journal."""
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.wait([self._beating])
        if self._storing is not None:
            await asyncio.wait([self._storing])
        if isinstance(self._limiter, LocalLimiter):
            self._limiter.share(1, self)
        try:
            await self._save_durations()
        except JournalError as error:
            logger.warning("cannot store the learnt durations: %s", error)
        finally:
            await self.journal.close()

    async def rebind(self, account: str) -> None:
        """Give the account another label.

        Raises:
            JournalError: Another live process uses the old label.
        """
        await self.journal.rebind(self.account, account)
        self.account = account

    async def claim(self, submission: Submission) -> bool:
        """Store a planned submission, or apply the earlier one with the same run and key to it.

        If another client is sending the earlier one, wait for the outcome.

        Returns:
            Whether the submission is new and must be sent.

        Raises:
            InputChangedError: The earlier one was made for another input.
            CreateOutcomeUnknownError: It is unknown whether the earlier one was accepted.
            JournalError: The journal cannot be written.
        """
        record = self._record_of(submission)
        waits = False
        while True:
            stored = await _claimed(self.journal, submission, record)
            if submission.recorded:
                return True
            if stored.state is SubmissionState.CREATED:
                submission.repeats(stored.task_id, stored.created_at)
                return False
            if stored.state is SubmissionState.UNKNOWN:
                raise unknown_outcome(stored)
            if not waits:
                waits = True
                logger.info(
                    "key %r: waiting for the client that creates this already", submission.key
                )
            await asyncio.sleep(LOOK_AGAIN)

    async def note(self, submission: Submission) -> None:
        """Store the state of a claimed submission.

        Raises:
            JournalError: The journal cannot be written, or another client took the submission over.
        """
        if submission.recorded:
            await self.journal.advance(
                submission.id,
                submission.state,
                task_id=submission.task_id,
                created_at=submission.created_at,
                error="" if submission.error is None else str(submission.error),
            )

    async def note_end(self, submission: Submission) -> None:
        """Store the final state of a submission. Log a failure, so that no task id is lost."""
        noting = asyncio.ensure_future(self.note(submission))
        try:
            await _in_spite_of_cancellation(noting)
        except Exception:
            what = submission.task_id or submission.error
            logger.exception(
                "the journal lacks the end of submission %s: %s, %s",
                submission.id,
                submission.state,
                what,
            )

    def keep(self, info: TaskInfo) -> asyncio.Future[None]:
        """Store the final record of a task, before anyone else sees it.

        Results that arrive within `GATHER` are stored together.

        Returns:
            A future that ends, without an error, once the record is on disk or cannot be stored.
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
        # If everything is cancelled, what has arrived is stored at once.
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(GATHER)
        results, self._results = self._results, []
        self._storing = None
        try:
            await self.journal.keep_results([task for task, _ in results])
        except Exception:
            # The tasks stay open in the journal, so their records will be read again.
            ids = ", ".join(task.task_id for task, _ in results)
            logger.exception("the journal lacks the results of the tasks %s", ids)
        finally:
            for _, kept in results:
                if not kept.done():
                    kept.set_result(None)

    async def stored(self, task_ids: Collection[str]) -> dict[str, Outcome]:
        """Return the outcomes of the tasks that are known to have ended, by task id.

        What the journal cannot return, or has in a form that cannot be read, is left out: those
        tasks are then polled.
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
        """Hold the lease of a run within the block; do nothing if the name is empty.

        Raises:
            RunInUseError: Another process, or another stream of this one, works on the run.
        """
        if not run:
            yield
            return
        holding = asyncio.ensure_future(self.journal.hold(run))
        try:
            await asyncio.shield(holding)
        except asyncio.CancelledError:
            # The run may be held all the same.
            with contextlib.suppress(JournalError):
                await _in_spite_of_cancellation(holding)
                await self.journal.release(run)
            raise
        try:
            yield
        finally:
            # A journal that is closed already has released everything.
            with contextlib.suppress(JournalError):
                await self.journal.release(run)

    def _record_of(self, submission: Submission) -> SubmissionRecord:
        job = submission.job
        stored = msgspec.json.encode(job)
        # Of the stored job, so that an input has the digest of its copy from the journal: 1 and 1.0
        # are equal.
        payload = msgspec.json.decode(stored, type=type(job)).payload()
        return SubmissionRecord(
            id=submission.id,
            account=self.account,
            kind=submission.kind,
            job=stored,
            digest=digest_of(submission.kind, payload),
            run=submission.run,
            position=submission.index,
            key=submission.key,
            callback_url=submission.callback_url,
            planned_at=self._unix(),
            changed_at=self._unix(),
        )

    async def _beat(self, limiter: Limiter) -> None:
        loop = asyncio.get_running_loop()
        beats, shared_at, pause = 0, loop.time(), HEARTBEAT
        while True:
            await asyncio.sleep(pause)
            silent = loop.time() - shared_at > SILENCE
            try:
                peers = await self.journal.heartbeat()
                if silent and not peers.aware:
                    # Others have taken the share of this client in the meantime.
                    pause = JOINING
                    continue
                if pause == JOINING:
                    await asyncio.sleep(ARRIVING)
                beats, shared_at, pause = beats + 1, loop.time(), HEARTBEAT
                self._divide(limiter, peers.count)
                if beats % round(DURATIONS_EVERY / HEARTBEAT) == 0:
                    await self._save_durations()
                continue
            except JournalError as error:
                logger.error("no heartbeat in the journal: %s", error)  # noqa: TRY400 (no bug)
            except Exception:
                logger.exception("bug in the heartbeat of the journal; it continues")
            # Polling continues without the journal.
            shared_at, pause = loop.time(), HEARTBEAT
            self._divide(limiter, self._share)

    def _divide(self, limiter: Limiter, count: int) -> None:
        """Use one part in `count` of the account's rate."""
        if not isinstance(limiter, LocalLimiter):
            return
        limiter.share(count, self, limiter.now() + SILENCE)
        if count == self._share:
            return
        self._share = count
        logger.warning(
            "%d live clients use this account: this one sends %.3g requests per second",
            count,
            limiter.rate,
        )

    async def _save_durations(self) -> None:
        data = self._durations.to_json()
        if data != self._saved and self._durations.kinds():
            await self.journal.save_durations(data)
            self._saved = data


async def load_durations(journal: Journal, expected: Durations) -> Durations:
    """Return the durations stored in a journal, or `expected` if there are none that fit.

    Durations with another prior belong to a server that is faster or slower, such as a sandbox.
    """
    data = await journal.load_durations()
    if data is None:
        return expected
    try:
        loaded = Durations.from_json(data)
    except ConfigurationError as error:
        logger.warning("the stored durations are ignored: %s", error)
        return expected
    return loaded if loaded.median == expected.median else expected


async def open_refs(recorder: Recorder, run: str | None) -> list[TaskRef]:
    """Return the tasks of a journal that were created and have not ended."""
    created = [SubmissionState.CREATED]
    return [
        TaskRef(record.task_id, record.created_at, record.kind)
        async for entry in recorder.journal.entries(run=run, states=created, open_only=True)
        if (record := entry.submission) is not None
    ]


def outcome_in(task: TaskRecord) -> Outcome:
    """Return the outcome of a task that has ended."""
    error: SunoError | None = None
    info = None
    try:
        info = read_task_info(200, {}, task.raw, task.task_id)
    except SunoError as problem:
        error = problem
    if info is not None and task.status != "success":
        reason = info.failure.message if info.failure is not None else ""
        error = TaskFailedError(task.task_id, reason, info)
    return outcome_of(task.task_id, info, error)


def unknown_outcome(record: SubmissionRecord) -> CreateOutcomeUnknownError:
    """Return the error for a stored submission in the state ``unknown``."""
    cause = record.error or "the process ended before the reply arrived"
    return CreateOutcomeUnknownError(cause, record.kind, record.job, record.id)


def job_in(record: SubmissionRecord) -> Input:
    """Return the job of a stored submission.

    Raises:
        JournalError: The job has a kind that this version does not know.
    """
    try:
        return msgspec.json.decode(record.job, type=KINDS[record.kind])
    except (KeyError, msgspec.DecodeError):
        problem = f"the journal has a job of unknown kind {record.kind!r}: update suno_async"
    raise JournalError(problem)


def digest_of(kind: str, payload: dict[str, Any]) -> str:
    """Return a hash of a job. Jobs that send the same request have the same hash."""
    data = msgspec.json.encode([kind, payload], order="deterministic")
    return hashlib.blake2b(data, digest_size=16).hexdigest()


async def _claimed(
    journal: Journal, submission: Submission, record: SubmissionRecord
) -> SubmissionRecord:
    # A cancelled claim may be stored all the same. If its end was not recorded then, everyone with
    # the same key would wait for it until the client is closed.
    claiming = asyncio.ensure_future(journal.claim(record))
    try:
        return await asyncio.shield(claiming)
    finally:
        with contextlib.suppress(Exception):
            stored = await _in_spite_of_cancellation(claiming)
            submission.recorded = stored.id == record.id


async def _in_spite_of_cancellation(work: asyncio.Future[T]) -> T:
    """Await `work` to its end. A cancellation of the caller is ignored, because `work` is short."""
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError:
            continue
    return work.result()
