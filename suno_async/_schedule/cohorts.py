"""Queues of tasks for the adaptive schedule. No I/O.

A *cohort* is a queue of tasks of one kind and one priority. The *priority* of a task is interactive
(a caller awaits this one task) or bulk (all other tasks). The first entry of a cohort is its
*head*.

Most cohorts contain the tasks that were created in one *span*. A span is a short period, two
seconds by default. Two groups of tasks have no span:

- tasks of unknown age that were never checked
- tasks past the *horizon*, which is the greatest age that the schedule plans for

For each kind and priority, each of these groups forms a *line*: a row of cohorts. Only the first
cohort of a line competes for the next request. So the number of competing cohorts is limited,
however old the tasks are.
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

#: A `CohortKey` contains one of these instead of the number of a span: `UNKNOWN` if the age is
#: unknown, `PAST` if it is past the horizon.
UNKNOWN: Final = "unknown"
PAST: Final = "past"

#: Kind, whether the tasks are interactive, and the number of the span in which they were created.
CohortKey = tuple[str, bool, int | str]

#: `Cohort.join` searches this many entries at the queue's end first. Replies overtake each other by
#: fractions of a second, and fewer requests than this are in flight. So a new entry nearly always
#: belongs there.
NEAR_END = 256

#: Greatest number of tasks in a cohort that was created in a line. Removing the discarded tasks of
#: a longer queue would take several milliseconds.
LINE_PIECE = 8192


class Cohort(Generic[E]):
    """A queue of tasks of one kind, priority and age. The first task is checked first.

    The module explains *priority*, *span*, *line* and *horizon*. Tasks that were never found
    running are first, in the order in which they joined. The other tasks follow, in the order of
    the latest checks that found them running.

    Attributes:
        key: Kind, priority and span. In a line, the last item is `UNKNOWN` or `PAST`, not a span.
        number: Identifies the cohort, and is the `Entry.place` of its entries. It is negative.
        kind: The kind of all its tasks.
        interactive: Whether a caller awaits each of its tasks separately.
        born: Start of its span; None if the cohort was created in a line.
        ends: Time from which all its tasks are past the deadline. Infinity if there is no deadline,
            or if the ages of the tasks are unknown.
        over: Time from which the cohort can move into the line of tasks past the horizon. Infinity
            if the cohort is in a line.
        place: Number of the cohort's current element in a heap of the ranking; None if the cohort
            is in no heap.
        head: The first entry when the ranking last updated the cohort.
        due: Time when `head` is due.
        plan: The inspection plan that `urgency` uses; None while `head` is not due.
        kept: How many times the cohort got a new head but kept its place in the ranking, since the
            last call of `rank`.
    """

    __slots__ = (
        *("_fresh", "_seen", "_seen_at", "_stale"),
        *("_base", "_finished", "_impatience", "_known_since", "_last", "_since", "kept", "plan"),
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
        self._known_since = self._since = 0.0
        self.kept = 0
        # `_fresh` contains the entries that were never found running, and `_seen` the others. An
        # entry whose `place` is not this cohort's number was discarded. The times of the seen
        # entries are stored separately, because a discarded entry may join another cohort, and
        # its `seen_at` may change there.
        self._fresh = Fifo[E]()
        self._seen: deque[E] = deque()
        self._seen_at: deque[float] = deque()
        self._stale = 0

    @property
    def size(self) -> int:
        """Number of entries, including discarded entries that were not yet removed."""
        return self._fresh.size + len(self._seen)

    def join(self, entry: E) -> bool:
        """Insert an entry at its position in the order. Return whether it is now the first entry.

        Discarded entries keep their positions until they are removed. So an entry that follows
        a discarded entry is not the first.
        """
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
        """Return the first entry that was not discarded; None if there is none."""
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
        """Count a discarded entry. Remove the discarded entries once they are the majority."""
        self._stale += 1
        if 2 * self._stale > self.size:
            number = self.number
            self._fresh = self._fresh.kept(number)
            kept = [each.place == number for each in self._seen]
            self._seen_at = deque(at for at, keep in zip(self._seen_at, kept, strict=True) if keep)
            self._seen = deque([each for each in self._seen if each.place == number])
            self._stale = 0

    def rank(self, head: E, plan: InspectionPlan, assumed_age: float, patience: float) -> None:
        """Set the values from which `urgency` is calculated.

        Args:
            head: The first entry.
            plan: The current plan for this kind and priority.
            assumed_age: 0 if the age of the head is known. Otherwise, the age in seconds that the
                head is assumed to have had when it was added.
            patience: After this many seconds without a check, the urgency is higher by 1.
        """
        self.plan = plan
        self.kept = 0
        self._known_since, self._since = head.known_since, head.seen_age
        self._finished = plan.finished(self._since)
        self._base = self._known_since - assumed_age
        self._last = head.added_at if head.asked_at is None else head.asked_at
        self._impatience = 1.0 / patience

    def fits(self, entry: E, tolerance: float) -> bool:
        """Return whether `rank` would set about the same values for this entry as in its last call.

        This is true if three times of this entry differ by at most `tolerance` seconds from the
        times that the last call of `rank` stored: the creation time, the time of the latest check,
        and the age at which a check last found the task running.
        """
        last = entry.added_at if entry.asked_at is None else entry.asked_at
        return (
            abs(last - self._last) <= tolerance
            and abs(entry.known_since - self._known_since) <= tolerance
            and abs(entry.seen_age - self._since) <= tolerance
        )

    def urgency(self, now: float) -> float:
        """Return how urgent a check of the head is. A higher number is more urgent.

        Without a plan, or if all tasks are past the deadline, return infinity.
        """
        plan = self.plan
        if now >= self.ends or plan is None:
            return math.inf
        waited = (now - self._last) * self._impatience
        return plan.urgency_given(self._finished, now - self._base) + waited * waited


class Cohorts(Generic[E]):
    """All cohorts of a schedule.

    A *span* is a short period in which tasks were created. There is one cohort for each kind,
    priority and span. Tasks without a span are in lines of cohorts (see the module docstring).

    Args:
        span: Length of a span, in seconds.
        deadline: Age of a task at its last check, in seconds; None means no limit.
        past_from: A cohort can move into a line when all its tasks have reached this age, in
            seconds.
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
        """Return the number of cohorts that compete for the next request."""
        return len(self._by_age) + len(self._lines)

    def over(self, born: float) -> float:
        """Return the time from which all tasks of the span `born` are at least `past_from` old.

        `born` is the start of the span.
        """
        return born + self._span + self._past_from

    def holding(self, entry: E) -> Cohort[E] | None:
        """Return the cohort that contains an entry; None if no cohort contains it."""
        return None if entry.place is None else self._numbered.get(entry.place)

    def competing(self, kind: str) -> list[Cohort[E]]:
        """Return the cohorts of one kind that compete for the next request.

        Of each line, only the first cohort competes.
        """
        firsts = (line[0] for line in self._lines.values())
        return [each for each in (*self._by_age.values(), *firsts) if each.kind == kind]

    def competes(self, cohort: Cohort[E]) -> bool:
        """Return whether a cohort competes for the next request.

        It competes if it still exists and is not behind another cohort in a line.
        """
        line = self._lines.get(cohort.key)
        return (self._by_age.get(cohort.key) if line is None else line[0]) is cohort

    def join(self, entry: E, span: int | str) -> Cohort[E] | None:
        """Put an entry into the cohort for its kind, its priority and `span`.

        If the entry is now the first entry of a cohort that competes for the next request, return
        this cohort. Otherwise return None.
        """
        key = (entry.kind, entry.interactive, span)
        cohort = self._by_age.get(key) if isinstance(span, int) else self._last_in_line(key)
        if cohort is None:
            cohort = self._new(key)
        return cohort if cohort.join(entry) and self.competes(cohort) else None

    def _last_in_line(self, key: CohortKey) -> Cohort[E] | None:
        line = self._lines.get(key)
        last = None if line is None else line[-1]
        # A cohort that moved here with its span gets no new entries. Otherwise a new entry could
        # become its first, although the other entries joined the line earlier.
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
                # The horizon is the deadline, so all these tasks are past the deadline.
                cohort.ends = -math.inf
        return cohort

    def grow_old(self, cohort: Cohort[E]) -> bool:
        """Move a cohort to the end of the line for tasks past the horizon (see the module).

        Return whether the cohort is the only one in this line.
        """
        del self._by_age[cohort.key]
        cohort.key = (cohort.kind, cohort.interactive, PAST)
        cohort.over = math.inf
        cohort.plan = None
        line = self._lines.setdefault(cohort.key, deque())
        line.append(cohort)
        return len(line) == 1

    def remove(self, cohort: Cohort[E]) -> Cohort[E] | None:
        """Remove an empty cohort that competes for the next request.

        Return the next cohort of its line; None if there is no next cohort.
        """
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
