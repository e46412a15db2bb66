"""Exponential backoff: the schedule behind ``PollPolicy(schedule="backoff")``. No I/O."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Generic

from suno_async._schedule.entry import E
from suno_async._schedule.fair_share import FairShare
from suno_async._schedule.frame import Frame
from suno_async._schedule.lazy_heap import LazyHeap
from suno_async._schedule.tuning import DEFAULT_TUNING

if TYPE_CHECKING:
    from collections.abc import Callable

    from suno_async._schedule.tuning import Tuning
    from suno_async.policy import PollPolicy


class BackoffSchedule(Generic[E]):
    """Checks every task at exponentially growing intervals.

    A task that a caller awaits individually is *interactive*. Interactive tasks go before other
    tasks, but a share of the requests is reserved for the other tasks. In each of the two groups,
    the task that is due earliest is checked first. This schedule does not learn how long jobs take.
    Each operation takes O(log n) time with n entries.

    Attributes:
        price: How many seconds of waiting a request saves. Always None, because this schedule does
            not calculate it.
    """

    def __init__(
        self, policy: PollPolicy, random: Callable[[], float], tuning: Tuning = DEFAULT_TUNING
    ) -> None:
        """Create an empty schedule. For the jitter, `random` must return a number in [0, 1)."""
        self._jitter = policy.jitter
        self._random = random
        self._frame = Frame(policy)
        numbers = itertools.count()
        # Keys are the times at which the entries are due.
        self._bulk = LazyHeap[E](numbers)
        self._interactive = LazyHeap[E](numbers)
        self._share = FairShare(tuning.bulk_share)
        self.price: float | None = None

    def add(self, entry: E, now: float) -> None:
        """Track a new entry.

        The entry is normally due when the shortest interval of the policy has passed since the
        previous check. If there was no previous check, the interval begins at the creation of the
        task. If the creation time is unknown, the first check is due at once.
        """
        due = max(now, self._frame.earliest(entry))
        # Only a first check may take place shortly before the deadline.
        if entry.asked_at is not None:
            due = self._keep_off_the_end(entry, due, entry.asked_at)
        self._place(entry, due)

    def pop(self, now: float) -> E | None:
        """Remove and return the entry to check at `now`; None if no entry is due."""
        order = (self._interactive, self._bulk)
        if self._share.is_turn_of_other:
            order = (self._bulk, self._interactive)
        for heap in order:
            if (entry := heap.pop_up_to(now)) is not None:
                self._share.served(preferred=entry.interactive)
                entry.asked_at = now
                return entry
        return None

    def next_due(self) -> float | None:
        """Return the earliest time at which `pop` returns an entry; None if there is none."""
        keys = (self._bulk.first_key(), self._interactive.first_key())
        return min((key for key in keys if key is not None), default=None)

    def defer(self, entry: E, now: float) -> bool:
        """Reschedule a popped entry whose task still runs, and return True.

        If the task has had its last check, do not reschedule the entry, and return False.
        """
        if entry.answered(now) >= self._frame.end(entry):
            return False
        self._place(entry, self._after(entry, now, entry.checks - 1))
        return True

    def retry(self, entry: E, now: float, at: float | None = None) -> bool:
        """Reschedule a popped entry whose check failed. Return False if no check will follow.

        `at` is the time of the next check. If it is None, the schedule chooses the time.
        """
        entry.failures += 1
        if now >= self._frame.gives_up_at(entry):
            return False
        self._place(entry, self._after(entry, now, entry.failures - 1) if at is None else at)
        return True

    def settle(self, entry: E, duration: float | None) -> None:
        """Do nothing, because this schedule does not learn."""

    def discard(self, entry: E) -> None:
        """Remove an entry. Do nothing if `pop` has already removed it."""
        entry.place = None

    def promote(self, entry: E) -> None:
        """Make an entry interactive, because a caller now awaits its task."""
        if entry.interactive:
            return
        entry.interactive = True
        if entry.place is not None:
            # The due time is stored only in the heap, and a search there would cost O(n). The time
            # that `add` calculates is not later, unless `retry` got a time near the deadline.
            self.add(entry, entry.added_at)

    def _place(self, entry: E, due: float) -> None:
        heap = self._interactive if entry.interactive else self._bulk
        heap.push(entry, due)

    def _after(self, entry: E, now: float, number: int) -> float:
        """Return the time at which an entry is due again, after a check that ended at `now`.

        `number` is how many intervals of this backoff came before the next interval.
        """
        interval = self._frame.backoff(number)
        due = now + interval * (1 + self._jitter * self._random())
        return self._keep_off_the_end(entry, due, now)

    def _keep_off_the_end(self, entry: E, due: float, last: float) -> float:
        """Return `due`, or the deadline if `due` is too near the deadline or after it.

        `last` is the time of the previous check. If the deadline is earlier than `last` plus the
        shortest interval, return this sum instead of the deadline.
        """
        end = self._frame.end(entry)
        if due < end and not self._frame.is_too_near(due, end):
            return due
        return max(end, last + self._frame.floor)
