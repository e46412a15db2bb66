"""Decide which cohort of tasks gets the next request. No I/O.

A *cohort* is a queue of tasks that the schedule treats alike (see `cohorts`).
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Generic

from suno_async._schedule.cohorts import PAST, UNKNOWN, Cohort
from suno_async._schedule.entry import E
from suno_async._schedule.fair_share import FairShare
from suno_async._schedule.lazy_heap import LazyHeap

if TYPE_CHECKING:
    from suno_async._schedule.cohorts import Cohorts
    from suno_async._schedule.frame import Frame
    from suno_async._schedule.plans import InspectionPlans
    from suno_async._schedule.tuning import Tuning


class Ranking(Generic[E]):
    """Orders due cohorts by urgency, and all other cohorts by the time when they become due.

    A *cohort* is a queue of similar tasks; its first entry is its *head*. A cohort is *due* when a
    status request for its head would save enough waiting. `Frame` limits how early and how late
    a cohort becomes due. A cohort has at most one place in the order. The method `place` calculates
    this place again when the head or the plan of the cohort has changed.
    """

    def __init__(
        self, cohorts: Cohorts[E], frame: Frame, plans: InspectionPlans, tuning: Tuning
    ) -> None:
        """Create a ranking. `cohorts` must not contain any cohort yet.

        `tuning` must be the result of `Tuning.scaled` for the poll interval of the policy.
        """
        self._cohorts = cohorts
        self._frame = frame
        self._plans = plans
        self._tuning = tuning
        self._span = tuning.cohort_span
        # Whether a check would be too near the last check, which is at the deadline.
        self._is_too_near = frame.is_too_near
        numbers = itertools.count()
        self._waiting = LazyHeap[Cohort[E]](numbers)
        self._bulk = LazyHeap[Cohort[E]](numbers)
        self._interactive = LazyHeap[Cohort[E]](numbers)
        self._heaps = (self._waiting, self._bulk, self._interactive)
        self._share = FairShare(tuning.bulk_share)
        self._next_rerank = -math.inf
        # Cohorts whose place was calculated with an older plan, and the revision of the plans that
        # this list takes into account.
        self._unplaced: list[Cohort[E]] = []
        self._revision = plans.revision

    @property
    def is_idle(self) -> bool:
        """Whether no cohort is due."""
        return self._bulk.first() is None and self._interactive.first() is None

    def next_due(self) -> float:
        """Return the earliest time when `best` may return a cohort; infinity without cohorts."""
        due = math.inf
        for heap in self._heaps:
            if heap.items and (head := heap.first()) is not None and head.due < due:
                due = head.due
        return due

    def place(self, cohort: Cohort[E], now: float) -> None:
        """Calculate the place of a cohort from its head. If the cohort is empty, remove it.

        Only the first cohort of a *line* has a place. If it is removed, place the next cohort of
        the line. If all tasks of a cohort are past the horizon, move the cohort to the end of the
        line for such tasks.
        """
        while (head := cohort.first()) is None:
            cohort.place = None
            if (following := self._cohorts.remove(cohort)) is None:
                return
            cohort = following
        cohort.head = head
        if now >= cohort.over and not self._cohorts.grow_old(cohort):
            cohort.place = None
            return
        cohort.due = due = self._due(cohort, head, now)
        if self._is_too_near(max(now, due), cohort.ends, self._span):
            cohort.due = max(self._frame.earliest(head), cohort.ends)
        if cohort.due > now:
            cohort.plan = None
            self._waiting.push(cohort, cohort.due)
        else:
            self._prepare(cohort, head)
            heap = self._interactive if cohort.interactive else self._bulk
            heap.push(cohort, -cohort.urgency(now))

    def advance(self, cohort: Cohort[E], now: float) -> None:
        """Update the place of a due cohort after its head was taken.

        If the urgency of the next head is about the same, the cohort keeps its place, but only for
        a few requests in a row. The urgency is usually about the same if many tasks were created or
        checked together.
        """
        head = cohort.first()
        if (
            head is not None
            and cohort.kept < self._tuning.kept_most
            # Urgencies that are this old count as current anyway.
            and cohort.fits(head, self._tuning.rerank_every)
            and self._frame.earliest(head) <= now
        ):
            cohort.head = head
            cohort.kept += 1
        else:
            self.place(cohort, now)

    def follow_plans(self, now: float) -> None:
        """Calculate new places for some of the cohorts whose plans have changed.

        Later calls do the same for the remaining cohorts.
        """
        if self._plans.revision != self._revision:
            kinds = self._plans.revised_since(self._revision)
            self._revision = self._plans.revision
            left = [each for each in self._unplaced if each.kind not in kinds]
            new = [each for kind in kinds for each in self._cohorts.competing(kind)]
            self._unplaced = new + left
        if self._unplaced:
            self._place_some(self._tuning.placed_at_once, now)

    def finish_placing(self, now: float) -> None:
        """If no cohort is due, place all cohorts that `follow_plans` has not placed yet.

        If a cohort is due, do nothing, because `follow_plans` is called again soon.
        """
        if self._unplaced and self.is_idle:
            self._place_some(len(self._unplaced), now)

    def wake(self, now: float) -> None:
        """Calculate the places of cohorts that became due.

        From time to time, calculate the urgencies of all due cohorts again.
        """
        waiting = self._waiting
        # Usually no cohort becomes due, so check the least key before `pop_up_to` is called.
        while waiting.items and waiting.items[0][0] <= now:
            if (cohort := waiting.pop_up_to(now)) is not None:
                self.place(cohort, now)
        if now >= self._next_rerank:
            self._rerank(now)

    def best(self, now: float) -> Cohort[E] | None:
        """Return the cohort whose head gets the next request; None if no cohort is due."""
        while (cohort := self._choose(now)) is not None:
            head = cohort.head
            is_valid = head is not None and head.place == cohort.number
            if is_valid and not self._is_too_near(now, cohort.ends, self._span):
                self._share.served(preferred=cohort.interactive)
                return cohort
            self.place(cohort, now)
        return None

    def _choose(self, now: float) -> Cohort[E] | None:
        """Return the due cohort that gets the next request; None if no cohort is due.

        A cohort is *interactive* if a caller awaits each of its tasks separately. All other cohorts
        are *bulk*. The most urgent cohort usually goes first, but a share of the requests is
        reserved for bulk cohorts.
        """
        if self._unplaced:
            self.finish_placing(now)
        bulk = self._bulk.first()
        interactive = self._interactive.first() if self._interactive.items else None
        if bulk is None or interactive is None:
            return bulk or interactive
        if self._share.is_turn_of_other:
            return bulk
        # Bulk tasks at their deadline have infinite urgency. An interactive task must not wait
        # until thousands of them were checked.
        first, awaited = self._bulk.first_key(), self._interactive.first_key()
        goes_first = first is not None and awaited is not None and -math.inf < first < awaited
        return bulk if goes_first else interactive

    def _due(self, cohort: Cohort[E], head: E, now: float) -> float:
        """Return the time at which a cohort becomes due (see `Ranking`)."""
        span = cohort.key[2]
        if span == PAST:
            return now  # Tasks past the horizon only join a cohort once they are due.
        earliest = self._frame.earliest(head)
        if span == UNKNOWN:
            return earliest
        plan = self._plans.plan(cohort.kind, interactive=cohort.interactive)
        due = head.known_since + plan.due(head.seen_age)
        if due == math.inf:
            due = earliest + self._plans.late_interval - self._frame.floor
        return max(earliest, min(due, self._frame.latest(head), cohort.ends))

    def _prepare(self, cohort: Cohort[E], head: E) -> None:
        """Set the values from which `Cohort.urgency` is calculated."""
        plan = self._plans.plan(cohort.kind, interactive=cohort.interactive)
        # Most ids that a caller stored earlier belong to ended tasks. So a task of unknown age is
        # assumed to be so old that most tasks of its kind have ended.
        is_unknown = cohort.key[2] == UNKNOWN
        assumed_age = self._plans.typical_age(cohort.kind) if is_unknown else 0.0
        cohort.rank(head, plan, assumed_age, self._tuning.patience)

    def _place_some(self, count: int, now: float) -> None:
        """Calculate the places of at most `count` cohorts whose plans have changed."""
        for _ in range(min(count, len(self._unplaced))):
            cohort = self._unplaced.pop()
            if self._cohorts.competes(cohort):
                self.place(cohort, now)

    def _rerank(self, now: float) -> None:
        """Calculate the urgencies of all due cohorts again."""
        for heap in (self._bulk, self._interactive):
            for cohort in heap.rekey(lambda each: -each.urgency(now)):
                if now >= cohort.over:
                    self.place(cohort, now)
        count = len(self._bulk) + len(self._interactive)
        slowness = max(1.0, count / self._tuning.rerank_most)
        self._next_rerank = now + self._tuning.rerank_every * slowness
