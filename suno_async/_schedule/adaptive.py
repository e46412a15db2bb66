"""The adaptive schedule: each request goes to the task where it saves the most waiting. No I/O.

Times are seconds on one monotonic clock of the caller's choice. An age is the time since a task was
created. A *check* is a status request for one task. *Waiting* is the time from the end of a task to
the check that reports this end.

The schedule sends nothing. `pop` returns the task to check next. The caller then reports the result
with `defer`, `retry` or `settle`.

To find the next task quickly among a million tasks, the schedule groups them:

- Tasks of one kind that were created within the same two seconds count as equally old. They form
  one queue, called a *cohort*.
- Tasks that were never found running are first in the queue. The other tasks follow, in the order
  of the latest checks that found them running. The time when a check was sent counts, not the time
  of its reply.
- The first task of a cohort is its *head*. The schedule compares only the heads.

A task is *interactive* if a caller awaits this one task. All other tasks are *bulk* tasks. Each
kind of job has separate cohorts for interactive and for bulk tasks. For the ages up to the default
deadline, each kind has at most about 600 interactive and 600 bulk cohorts. The interactive cohorts
of older tasks form one *line*, and the bulk cohorts of older tasks form another line. Only the
first cohort of a line competes for the next request. So the number of competing cohorts of a kind
has a limit, however many tasks there are.

The parts:

- `frame`: the earliest and the latest time of a check, for every schedule
- `plans`: how much waiting a request saves, based on the learnt durations of each kind of job
- `cohorts`: the queues
- `ranking`: which cohort comes next
- this module: puts each task into the right queue, and returns the task to check next
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Generic

from suno_async._schedule.cohorts import PAST, UNKNOWN, Cohorts
from suno_async._schedule.entry import E
from suno_async._schedule.fair_share import FairShare
from suno_async._schedule.frame import Frame
from suno_async._schedule.lazy_heap import LazyHeap
from suno_async._schedule.plans import InspectionPlans
from suno_async._schedule.price import RequestPrice
from suno_async._schedule.ranking import Ranking
from suno_async._schedule.tuning import DEFAULT_TUNING, Tuning

if TYPE_CHECKING:
    from suno_async._schedule.cohorts import Cohort
    from suno_async._schedule.durations import Durations
    from suno_async.policy import PollPolicy


class AdaptiveSchedule(Generic[E]):
    """Gives each request to the task where it saves the most waiting, and learns how long jobs run.

    Waiting is the time from the end of a task to the check that reports this end. A *cohort* is a
    queue of tasks of one kind and age. With c cohorts, an operation normally costs O(log c),
    whatever the number of tasks. An operation takes a few milliseconds more if it estimates
    durations again.

    Attributes:
        price: What a request is worth: how many seconds of waiting it saves, as a mean over the
            latest requests. Some requests do not count: the first check of a task of unknown age,
            checks past the deadline (without a deadline, most checks past `Tuning.horizon`), and
            retries at a time that the caller set. None before the first request that counts.
        competing: Number of cohorts that compete for the next request.
    """

    def __init__(
        self, policy: PollPolicy, durations: Durations, tuning: Tuning = DEFAULT_TUNING
    ) -> None:
        """Create an empty schedule.

        Args:
            policy: When to check tasks.
            durations: How long jobs run. The schedule adds its new observations to this object.
            tuning: Constants of the schedule, for a polling interval of 15 s. They are scaled to
                `policy.interval`.
        """
        self._tuning = tuning = tuning.scaled(policy.interval)
        self._durations = durations
        self._frame = frame = Frame(policy)
        self._request_price = RequestPrice(policy, tuning)
        self._plans = InspectionPlans(durations, frame, self._request_price, tuning)
        # From this age on, every task that is in a cohort is due.
        past_from = self._plans.horizon + frame.floor
        self._cohorts = Cohorts[E](tuning.cohort_span, policy.deadline, past_from)
        self._ranking = Ranking[E](self._cohorts, frame, self._plans, tuning)
        numbers = itertools.count()
        # Entries outside the cohorts, ordered by the time at which they are due: those whose last
        # check failed, and those past the horizon, whose ages differ too much for a common queue.
        self._parked = LazyHeap[E](numbers)
        # Entries that the caller wants to check at a given time.
        self._planned = LazyHeap[E](numbers)
        self._planned_share = FairShare(tuning.bulk_share)
        self.price: float | None = None

    @property
    def competing(self) -> int:
        """Number of cohorts that compete for the next request."""
        return len(self._cohorts)

    def add(self, entry: E, now: float) -> None:
        """Track a new entry, which represents one task.

        Two checks of a task are at least the shortest interval of the policy apart. The first check
        takes place at least this interval after the creation of the task. If the creation time is
        unknown, the first check may take place at once.
        """
        self._join(entry, now, is_soon=True)

    def pop(self, now: float) -> E | None:
        """Remove and return the entry to check at the time `now`; None if no entry is due."""
        self._plans.refit(now)
        self._ranking.follow_plans(now)
        if self._parked.items:
            self._rejoin(now)
        self._ranking.wake(now)
        entry = self._pop_planned(now) if self._planned.items else None
        if entry is None:
            entry = self._pop_ranked(now)
        if entry is not None:
            self._ranking.finish_placing(now)
        return entry

    def next_due(self) -> float | None:
        """Return the earliest time at which `pop` may return an entry.

        Return None if the schedule contains no entry.
        """
        due = self._ranking.next_due()
        for heap in (self._parked, self._planned):
            if heap.items and (key := heap.first_key()) is not None and key < due:
                due = key
        return due if due < math.inf else None

    def defer(self, entry: E, now: float) -> bool:
        """Put back a popped entry whose task still runs, and return True.

        If the task has had its last check, do not put the entry back, and return False.
        """
        since = entry.seen_age
        asked = entry.answered(now)
        if entry.created_at is not None:
            self._durations.still_running(entry.kind, since, asked - entry.created_at)
        if asked >= self._frame.end(entry):
            return False
        self._join(entry, now)
        return True

    def retry(self, entry: E, now: float, at: float | None = None) -> bool:
        """Put back a popped entry whose check failed. Return False if the task gets no more checks.

        `at` is the time of the next check. If it is None, the schedule chooses the time.
        """
        entry.failures += 1
        if now >= self._frame.gives_up_at(entry):
            return False
        if at is not None:
            self._planned.push(entry, at)
        else:
            self._parked.push(entry, now + self._frame.backoff(entry.failures - 1))
        return True

    def settle(self, entry: E, duration: float | None) -> None:
        """Learn that the task of a popped entry ran for `duration` seconds.

        If `duration` is None, do nothing.
        """
        if duration is not None:
            # Without a creation time, `seen_age` is the time since the start of tracking.
            since = 0.0 if entry.created_at is None else entry.seen_age
            self._durations.ended(entry.kind, since, duration)

    def discard(self, entry: E) -> None:
        """Remove an entry. Do nothing if the entry was popped already."""
        if entry.place is None:
            return
        cohort = self._cohorts.holding(entry)
        entry.place = None
        if cohort is not None:
            cohort.discarded()

    def promote(self, entry: E) -> None:
        """Make an entry interactive, because a caller now awaits its task."""
        if entry.interactive:
            return
        waits = self._cohorts.holding(entry) is not None
        if waits:
            self.discard(entry)
        entry.interactive = True
        if waits:
            self._join(entry, entry.added_at if entry.asked_at is None else entry.asked_at)

    def _join(self, entry: E, now: float, *, is_soon: bool = False) -> None:
        """Put an entry into its cohort.

        If the task is very old and not due yet, put the entry into the heap `_parked` instead. With
        `is_soon`, a very old task is due as soon as the shortest interval allows.
        """
        span: int | str = UNKNOWN
        if entry.created_at is not None or entry.asked_at is not None:
            born = entry.known_since
            span = math.floor(born / self._tuning.cohort_span)
            if entry.seen_age >= self._plans.horizon or now >= self._cohorts.over(born):
                span = PAST
                is_soon = is_soon or entry.failures > 0
                due = self._frame.earliest(entry) if is_soon else self._frame.latest(entry)
                if due > now:
                    self._parked.push(entry, due)
                    return
        if (cohort := self._cohorts.join(entry, span)) is not None:
            self._ranking.place(cohort, now)

    def _rejoin(self, now: float) -> None:
        """Move due entries of `_parked` into their cohorts. One call moves only a few of them."""
        joined = 0
        while joined < self._tuning.joined_at_once or self._ranking.is_idle:
            entry = self._parked.pop_up_to(now)
            if entry is None:
                break
            self._join(entry, now, is_soon=True)
            joined += 1

    def _pop_planned(self, now: float) -> E | None:
        """Remove and return a due entry of `_planned`.

        Return None if no entry in `_planned` is due, or if the next request is reserved for a
        cohort. `_planned` contains the entries for which the caller chose the check time.
        """
        due = self._planned.first_key()
        if due is None or due > now:
            return None
        is_served = self._planned_share.is_turn_of_other or self._ranking.is_idle
        self._planned_share.served(preferred=not is_served)
        if not is_served:
            return None
        entry = self._planned.pop_up_to(now)
        if entry is not None:
            entry.asked_at = now
        return entry

    def _pop_ranked(self, now: float) -> E | None:
        """Remove and return the first entry of the next cohort; None if no cohort is due."""
        cohort = self._ranking.best(now)
        if cohort is None:
            return None
        entry = cohort.take()
        self._note_price(entry, cohort, now)
        entry.asked_at = now
        self._ranking.advance(cohort, now)
        if self._request_price.follows_load:
            self._request_price.adjust(is_idle=self._ranking.is_idle)
        return entry

    def _note_price(self, entry: E, cohort: Cohort[E], now: float) -> None:
        """Update `price` with the seconds of waiting that the request for this entry saves."""
        # Without `born`, the ages of the tasks are unknown or past the horizon.
        if cohort.born is None or now >= cohort.ends:
            return
        age = now - entry.known_since
        if age > self._plans.planned_to:
            return
        plan = self._plans.plan(cohort.kind, interactive=cohort.interactive)
        price = plan.price(entry.seen_age, age)
        last = self.price
        self.price = price if last is None else last + (price - last) / self._tuning.price_span
