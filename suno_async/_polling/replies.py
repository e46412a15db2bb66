"""After each status request, poll the task again later, or end all waits for the task."""

from __future__ import annotations

import logging
import sys
from collections import deque
from typing import TYPE_CHECKING

from suno_async._polling.waiters import Watched, internal_error, timeout_error
from suno_async.errors import (
    APIError,
    ClientClosedError,
    FeatureDisabledError,
    SunoError,
    TaskFailedError,
    TaskNotFoundError,
    ValidationError,
)
from suno_async.models import TaskInfo, TaskStatus
from suno_async.telemetry import NullObserver

if TYPE_CHECKING:
    from collections.abc import Callable

    from suno_async._clock import Clock
    from suno_async._polling.deadlines import DeadlineKeeper
    from suno_async._polling.safe_schedule import SafeSchedule
    from suno_async._polling.waiters import WatchList
    from suno_async.policy import PollPolicy
    from suno_async.telemetry import Observer

logger = logging.getLogger("suno_async")

#: How many different unknown statuses are logged. A status with a number in it, such as a position
#: in a queue, could otherwise fill the log and the memory.
MOST_UNKNOWN = 100


class ReplyHandler:
    """Updates a polled task, its waiters and the schedule after each status request.

    An *entry* is one polled task. A *waiter* receives the outcome of the task. A *check* is one
    status request for the task.

    Attributes:
        finished: Number of watched tasks that succeeded, according to the server.
        failed: Number of watched tasks that failed, according to the server.
        delays: Seconds from the end of a task until its final record was handled. With a journal,
            a delay includes the time to store the record. Only the last 1,000 delays are kept. A
            task whose end time is unknown adds no delay.
    """

    def __init__(  # noqa: PLR0913, PLR0917 (its collaborators)
        self,
        watches: WatchList,
        schedule: SafeSchedule[Watched],
        deadlines: DeadlineKeeper,
        policy: PollPolicy,
        clock: Clock,
        observer: Observer,
        on_ended: Callable[[str], None],
    ) -> None:
        self._watches = watches
        self._schedule = schedule
        self._deadlines = deadlines
        self._policy = policy
        self._clock = clock
        self._observer = observer
        self._is_observed = type(observer) is not NullObserver
        self._on_ended = on_ended
        self._unknown_words: set[str] = set()
        self.finished = 0
        self.failed = 0
        self.delays: deque[float] = deque(maxlen=1000)

    def handle_record(self, entry: Watched, info: TaskInfo) -> None:
        """Handle the record of a task: end the waits for the task, or schedule its next check.

        The waits end if the task has ended. They also end if this record is the reply to the last
        check, which is sent at the deadline.
        """
        self._deadlines.answered_at = now = self._clock.mono()
        if self._is_observed:
            self._observer.task_polled(info)
        entry.missing_since = None
        if entry.created_at is None and info.create_at is not None:
            entry.created_at = self._clock.to_mono(info.create_at)
        entry.kind = entry.kind or sys.intern(info.param.model)
        if not self._watches.holds(entry):
            # The last wait was cancelled while the request was in flight.
            self._watches.answered(entry, info, now)
        elif info.status.terminal:
            self._end(entry, info)
        else:
            self._continue(entry, info, now)

    def handle_error(self, entry: Watched, error: SunoError) -> None:
        """Retry a failed check later.

        If a retry cannot help, or if the time for retries is over (see `Frame.gives_up_at`), end
        all waits for the task instead.
        """
        is_final = self._is_final(entry, error)
        if not self._watches.holds(entry):
            return
        now = self._clock.mono()
        if is_final:
            self._watches.end(entry, error)
            return
        since = entry.missing_since
        at = None if since is None else self._policy.next_not_found_check(since, now)
        if self._schedule.retry(entry, now, at):
            logger.info("task %s: %s; retrying later", entry.task_id, error)
        else:
            reason = f"past its deadline, and its last checks failed: {error}"
            self._watches.end(entry, timeout_error(entry, reason, self._clock))

    def end_by_bug(self, entry: Watched, bug: BaseException, what: str) -> None:
        """End all waits for a task after an unexpected exception, and log the exception.

        Args:
            entry: The task.
            bug: The exception.
            what: What the library was doing, such as ``"polling"``. This text is used in the error
                and in the log.
        """
        self._watches.end(entry, internal_error(what, entry.task_id, bug))
        self._observer.internal_error(bug)
        logger.error("bug while %s (task %s)", what, entry.task_id, exc_info=bug)

    def _end(self, entry: Watched, info: TaskInfo) -> None:
        error = None
        if info.status is TaskStatus.SUCCESS:
            self.finished += 1
        else:
            self.failed += 1
            reason = info.failure.message if info.failure is not None else ""
            error = TaskFailedError(entry.task_id, reason, info)
        self._watches.end(entry, error, info)
        self._on_ended(entry.task_id)
        self._schedule.settle(entry, info.elapsed)
        if info.complete_at is not None:
            self.delays.append(max(0.0, self._clock.unix() - info.complete_at))

    def _continue(self, entry: Watched, info: TaskInfo, now: float) -> None:
        if info.status is TaskStatus.UNKNOWN:
            self._note_unknown(info.raw_status)
        if entry.last_status != info.raw_status:
            entry.last_status = sys.intern(info.raw_status)
        for watcher in entry.watchers:
            watcher.read(info)
        if not self._schedule.defer(entry, now):
            error = timeout_error(entry, "not finished at its deadline", self._clock)
            self._watches.end(entry, error, info)

    def _note_unknown(self, word: str) -> None:
        """Log an unknown status, but only once, and at most `MOST_UNKNOWN` different ones."""
        words, word = self._unknown_words, word[:100]
        if word not in words and len(words) < MOST_UNKNOWN:
            words.add(word)
            logger.warning("unknown task status %r: polling continues", word)

    def _is_final(self, entry: Watched, error: SunoError) -> bool:
        if isinstance(error, ClientClosedError):
            return True  # the owner of the aiohttp session closed it
        if not isinstance(error, APIError) or not error.understood:
            return False
        if isinstance(error, TaskNotFoundError):
            self._deadlines.answered_at = now = self._clock.mono()
            asked_at = now if entry.asked_at is None else entry.asked_at
            if entry.missing_since is None:
                entry.missing_since = asked_at
            return asked_at >= entry.missing_since + self._policy.not_found_grace
        return isinstance(error, ValidationError | FeatureDisabledError)
