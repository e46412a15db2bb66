"""Queues of tasks that the schedule treats alike. Pure.

A *cohort* is a queue of tasks of one kind and one age. Two groups of tasks form a *line* of cohorts
instead, in which only the first cohort is served: tasks of unknown age that were never checked, and
tasks past the schedule's horizon. So the number of cohorts that compete for a request stays small,
whatever the ages of the tasks.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import deque
from typing import TYPE_CHECKING, Final, Generic

from suno_async._schedule.entry import E
from suno_async._schedule.fifo import Fifo

if TYPE_CHECKING:
    from suno_async._schedule.inspection import InspectionPlan

#: These replace the number of a span when the age is unknown, and when it is past the horizon.
UNKNOWN: Final = "unknown"
PAST: Final = "past"

#: Kind, whether the tasks are interactive, and the number of the span in which they were created.
CohortKey = tuple[str, bool, int | str]

#: Replies overtake each other by fractions of a second, and at most this many requests are in
#: flight. So an entry's place is nearly always among this many at the queue's end.
NEAR_END = 256

#: Most tasks in a cohort of a line. Removing the discarded tasks of a longer queue would take
#: several milliseconds.
LINE_PIECE = 8192


class Cohort(Generic[E]):
    """Tasks of one kind and age, in the order in which they are checked.

    Tasks that were never found running come first, in the order in which they joined. The others
    follow in the order of their last checks.

    Attributes:
        key: Kind, class and span.
        number: The `place` of its tasks. It is negative, and no other cohort ever has the same.
        kind: The kind of all its tasks.
        interactive: Whether its tasks are interactive.
        born: Start of the span in which its tasks were created; None in a line.
        ends: When all its tasks are past the deadline; infinity while that is unknown.
        over: When all its tasks are past the horizon. It then moves into their line.
        place: Number of its valid place in the ranking; None if it has none.
        head: Its first entry when it was last placed.
        due: When its head may be checked.
        plan: The plan that `urgency` uses, set by `rank`; None while nothing is due.
    """

    __slots__ = (
        *("_fresh", "_seen", "_seen_at", "_stale"),
        *("_base", "_finished", "_impatience", "_last", "plan"),
        *("born", "due", "ends", "head", "interactive", "key", "kind", "number", "over", "place"),
    )

    def __init__(self, key: CohortKey, number: int) -> None:
        self.key = key
        self.number = number
        self.kind, self.interactive, _ = key
        self.born: float | None = None
        self.ends = self.over = math.inf
        self.place: int | None = None
        self.head: E | None = None
        self.due = math.inf
        self.plan: InspectionPlan | None = None
        self._finished = self._base = self._last = self._impatience = 0.0
        # An entry whose `place` is not this cohort's number was discarded. The times of the seen
        # entries are stored separately, because the `seen_at` of a discarded entry may change in
        # another cohort.
        self._fresh = Fifo[E]()
        self._seen: deque[E] = deque()
        self._seen_at: deque[float] = deque()
        self._stale = 0

    @property
    def size(self) -> int:
        """Number of its entries, including the discarded ones."""
        return self._fresh.size + len(self._seen)

    def join(self, entry: E) -> bool:
        """Insert an entry where it belongs. Return whether it is now the first."""
        entry.place = self.number
        if entry.seen_at is None:
            self._fresh.append(entry)
            return self._fresh.first() is entry
        times = self._seen_at
        if not times or times[-1] <= entry.seen_at:
            times.append(entry.seen_at)
            self._seen.append(entry)
            return len(times) == 1 and not self._fresh.size
        high = len(times)
        low = max(0, high - NEAR_END)
        if low and times[low] > entry.seen_at:
            low, high = 0, low
        place = bisect_right(times, entry.seen_at, low, high)
        times.insert(place, entry.seen_at)
        self._seen.insert(place, entry)
        return place == 0 and not self._fresh.size

    def first(self) -> E | None:
        """Return the first entry that was not discarded, and drop those before it."""
        while (entry := self._fresh.first() or (self._seen[0] if self._seen else None)) is not None:
            if entry.place == self.number:
                return entry
            self._drop_first()
            self._stale -= 1
        return None

    def take(self) -> E:
        """Remove and return the entry that `first` returned."""
        entry = self._drop_first()
        entry.place = None
        return entry

    def _drop_first(self) -> E:
        if (entry := self._fresh.first()) is not None:
            self._fresh.drop_first()
            return entry
        self._seen_at.popleft()
        return self._seen.popleft()

    def discarded(self) -> None:
        """Record that one of its entries was discarded: its `place` is no longer this cohort."""
        self._stale += 1
        if 2 * self._stale > self.size:
            number = self.number
            self._fresh = self._fresh.kept(number)
            kept = [each.place == number for each in self._seen]
            self._seen_at = deque(at for at, keep in zip(self._seen_at, kept, strict=True) if keep)
            self._seen = deque([each for each in self._seen if each.place == number])
            self._stale = 0

    def rank(
        self, plan: InspectionPlan, since: float, base: float, last: float, patience: float
    ) -> None:
        """Set what `urgency` is calculated from.

        Args:
            plan: The current plan for this kind and class.
            since: The age at which the head was last known to run.
            base: When the head had age 0.
            last: When the head was last checked.
            patience: After this many seconds, impatience adds 1 to the urgency.
        """
        self.plan = plan
        self._finished = plan.finished(since)
        self._base, self._last, self._impatience = base, last, 1.0 / patience

    def urgency(self, now: float) -> float:
        """Return how urgent a check of its head is; infinity once the deadline is reached."""
        plan = self.plan
        if now >= self.ends or plan is None:
            return math.inf
        waited = (now - self._last) * self._impatience
        return plan.urgency_given(self._finished, now - self._base) + waited * waited


class Cohorts(Generic[E]):
    """All cohorts: one for each span of ages up to the horizon, and the lines.

    Args:
        span: Tasks created within this many seconds count as one age.
        deadline: Age of a task's last check; None means no limit.
        past_from: Age from which a task is past the horizon.
    """

    def __init__(self, span: float, deadline: float | None, past_from: float) -> None:
        self._span = span
        self._deadline = deadline
        self._past_from = past_from
        self._numbers = 0
        self._by_age: dict[CohortKey, Cohort[E]] = {}
        self._lines: dict[CohortKey, deque[Cohort[E]]] = {}
        self._numbered: dict[int, Cohort[E]] = {}

    def __len__(self) -> int:
        """Return how many compete for a request."""
        return len(self._by_age) + len(self._lines)

    def over(self, born: float) -> float:
        """Return when all tasks of the span that starts at `born` are past the horizon."""
        return born + self._span + self._past_from

    def holding(self, entry: E) -> Cohort[E] | None:
        """Return the cohort that holds an entry; None if there is none."""
        return None if entry.place is None else self._numbered.get(entry.place)

    def competing(self, kind: str) -> list[Cohort[E]]:
        """Return the cohorts of a kind. Of each line, return only the first cohort."""
        firsts = (line[0] for line in self._lines.values())
        return [each for each in (*self._by_age.values(), *firsts) if each.kind == kind]

    def competes(self, cohort: Cohort[E]) -> bool:
        """Return whether a cohort still exists and is not behind another one in a line."""
        line = self._lines.get(cohort.key)
        return (self._by_age.get(cohort.key) if line is None else line[0]) is cohort

    def join(self, entry: E, span: int | str) -> Cohort[E] | None:
        """Put an entry into its cohort. Return that cohort if it competes and its head changed."""
        key = (entry.kind, entry.interactive, span)
        cohort = self._by_age.get(key) if isinstance(span, int) else self._last_in_line(key)
        if cohort is None:
            cohort = self._new(key)
        return cohort if cohort.join(entry) and self.competes(cohort) else None

    def _last_in_line(self, key: CohortKey) -> Cohort[E] | None:
        line = self._lines.get(key)
        last = None if line is None else line[-1]
        # A cohort that grew old takes no new entries, because its own came earlier.
        joined = last is not None and last.born is None
        return last if last is not None and joined and last.size < LINE_PIECE else None

    def _new(self, key: CohortKey) -> Cohort[E]:
        span = key[2]
        # Places in heaps are not negative, so the sign shows whether an entry is in a cohort.
        self._numbers -= 1
        cohort = self._numbered[self._numbers] = Cohort[E](key, self._numbers)
        if isinstance(span, int):
            self._by_age[key] = cohort
            cohort.born = span * self._span
            cohort.over = self.over(cohort.born)
            if self._deadline is not None:
                cohort.ends = cohort.born + self._span + self._deadline
        else:
            self._lines.setdefault(key, deque()).append(cohort)
            if span == PAST and self._deadline is not None:
                cohort.ends = -math.inf
        return cohort

    def grow_old(self, cohort: Cohort[E]) -> bool:
        """Move a cohort into the line past the horizon. Return whether it is the first there."""
        del self._by_age[cohort.key]
        cohort.key = (cohort.kind, cohort.interactive, PAST)
        cohort.over = math.inf
        cohort.plan = None
        line = self._lines.setdefault(cohort.key, deque())
        line.append(cohort)
        return len(line) == 1

    def remove(self, cohort: Cohort[E]) -> Cohort[E] | None:
        """Remove an empty cohort that competes. Return the one that is now first in its line."""
        del self._numbered[cohort.number]
        cohort.plan = None
        line = self._lines.get(cohort.key)
        if line is None:
            del self._by_age[cohort.key]
            return None
        line.popleft()
        if line:
            return line[0]
        del self._lines[cohort.key]
        return None
