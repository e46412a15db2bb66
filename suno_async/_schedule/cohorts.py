"""Queues of tasks that the schedule treats alike. Pure.

A *cohort* is a queue of tasks of one kind and one age. Two sorts of tasks form a *line* of cohorts
instead, where only the first cohort is served: those of unknown age that were never asked about,
and those past the schedule's horizon. So however old the tasks are, few cohorts compete for a
request.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections import deque
from typing import TYPE_CHECKING, Final, Generic

from suno_async._schedule.entry import E

if TYPE_CHECKING:
    from suno_async._schedule.inspection import Worth

#: In place of the number of a span: the age is unknown; the age is past the horizon.
UNKNOWN: Final = "unknown"
PAST: Final = "past"

#: Kind, whether somebody awaits the tasks, and the number of the span they were created in.
CohortKey = tuple[str, bool, int | str]

#: Replies overtake each other by fractions of a second, and at most so many requests are in flight:
#: an entry's place is nearly always among so many at the queue's end.
NEAR_END = 256

#: Most tasks in a cohort of a line. Removing the discarded ones of a longer queue takes
#: milliseconds.
LINE_PIECE = 8192

#: Entries of a queue that Python's collector looks at one by one.
BLOCK = 64


class Fifo(Generic[E]):
    """A queue that Python's collector does not walk through: most of it is in tuples.

    The collector stops to track a tuple of entries, as it does not track entries. A list or deque
    of a million would hold the event loop for 20 ms in each full collection.
    """

    __slots__ = ("_blocks", "_last", "_now", "_taken", "size")

    def __init__(self) -> None:
        self.size = 0
        # The block being read and how much of it was taken, the blocks after it, and the newest
        # entries.
        self._now: tuple[E, ...] = ()
        self._taken = 0
        self._blocks: deque[tuple[E, ...]] = deque()
        self._last: list[E] = []

    def append(self, entry: E) -> None:
        """Put an entry at the end."""
        self.size += 1
        self._last.append(entry)
        if len(self._last) == BLOCK:
            self._blocks.append(tuple(self._last))
            self._last = []

    def first(self) -> E | None:
        """The first entry; None if there is none."""
        if self._taken == len(self._now):
            if not self.size:
                return None
            if self._blocks:
                self._now = self._blocks.popleft()
            else:
                self._now, self._last = tuple(self._last), []
            self._taken = 0
        return self._now[self._taken]

    def drop_first(self) -> None:
        """Remove what `first` returned."""
        self.size -= 1
        self._taken += 1
        if not self.size:
            self._now, self._taken = (), 0

    def kept(self, number: int) -> Fifo[E]:
        """A queue of its entries with this `place`."""
        queue = Fifo[E]()
        older = (entry for block in self._blocks for entry in block)
        for entry in itertools.chain(self._now[self._taken :], older, self._last):
            if entry.place == number:
                queue.append(entry)
        return queue


class Cohort(Generic[E]):
    """Tasks of one kind and age: those never seen first, then the one seen longest ago.

    Attributes:
        key: Kind, class and span.
        number: The `place` of its tasks. No other cohort ever has the same.
        kind: The kind of all its tasks.
        interactive: Somebody awaits each of its tasks.
        born: All its tasks were created within one span from here; None in a line.
        ends: When all its tasks are past the deadline; infinite while that is unknown.
        over: When it moves into the line of those past the horizon.
        ticket: Marks its one valid place in the heaps.
        head: The first of the queue when it was last placed.
        due: When its head may be asked about.
        worth: What `urgency` is computed from, set by `rank`; None while nothing is due.
    """

    __slots__ = (
        *("_fresh", "_seen", "_seen_at", "_stale"),
        *("_base", "_impatience", "_known", "_last", "worth"),
        *("born", "due", "ends", "head", "interactive", "key", "kind", "number", "over", "ticket"),
    )

    def __init__(self, key: CohortKey, number: int) -> None:
        self.key = key
        self.number = number
        self.kind, self.interactive, _ = key
        self.born: float | None = None
        self.ends = self.over = math.inf
        self.ticket = -1
        self.head: E | None = None
        self.due = math.inf
        self.worth: Worth | None = None
        self._known = self._base = self._last = self._impatience = 0.0
        # Entries whose `place` is not this cohort's number were discarded. Those never seen are in
        # the order in which they came, the others in the order of `seen_at`, which is kept apart:
        # a discarded entry may be seen again from another cohort.
        self._fresh = Fifo[E]()
        self._seen: deque[E] = deque()
        self._seen_at: deque[float] = deque()
        self._stale = 0

    @property
    def size(self) -> int:
        """Its entries, the discarded ones included."""
        return self._fresh.size + len(self._seen)

    def join(self, entry: E) -> bool:
        """Take in an entry where it belongs; whether it is the first now."""
        entry.place = self.number
        if entry.seen_at is None:
            self._fresh.append(entry)
            return self._fresh.first() is entry
        times, high = self._seen_at, len(self._seen_at)
        low = max(0, high - NEAR_END)
        if low and times[low] > entry.seen_at:
            low, high = 0, low
        place = bisect_right(times, entry.seen_at, low, high)
        times.insert(place, entry.seen_at)
        self._seen.insert(place, entry)
        return place == 0 and not self._fresh.size

    def first(self) -> E | None:
        """The first that was not discarded; forgets those before it."""
        while (entry := self._fresh.first() or (self._seen[0] if self._seen else None)) is not None:
            if entry.place == self.number:
                return entry
            self._drop_first()
            self._stale -= 1
        return None

    def take(self) -> None:
        """Take out what `first` returned."""
        self._drop_first().place = None

    def _drop_first(self) -> E:
        if (entry := self._fresh.first()) is not None:
            self._fresh.drop_first()
            return entry
        self._seen_at.popleft()
        return self._seen.popleft()

    def discarded(self) -> None:
        """One of its entries has no `place` any more."""
        self._stale += 1
        if 2 * self._stale > self.size:
            number = self.number
            self._fresh = self._fresh.kept(number)
            kept = [each.place == number for each in self._seen]
            self._seen_at = deque(at for at, keep in zip(self._seen_at, kept, strict=True) if keep)
            self._seen = deque([each for each in self._seen if each.place == number])
            self._stale = 0

    def rank(self, worth: Worth, since: float, base: float, last: float, patience: float) -> None:
        """Prepare `urgency`.

        Args:
            worth: What a request is worth, by the law in force.
            since: The age at which the head was last known to run.
            base: When the head had age 0.
            last: When the head was last asked about.
            patience: Seconds after which waiting adds 1 to the urgency.
        """
        self.worth = worth
        self._known = worth.known(since)
        self._base, self._last, self._impatience = base, last, 1.0 / patience

    def urgency(self, now: float) -> float:
        """How urgent a request about its head is; infinite once the deadline is reached."""
        worth = self.worth
        if now >= self.ends or worth is None:
            return math.inf
        waited = (now - self._last) * self._impatience
        return worth.urgency_knowing(self._known, now - self._base) + waited * waited


class Cohorts(Generic[E]):
    """All cohorts: one for each span of ages up to the horizon, and the lines.

    Args:
        span: Seconds of creation times that count as one age.
        deadline: Age at which a task is asked for the last time; None: never.
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
        """How many compete for a request."""
        return len(self._by_age) + len(self._lines)

    def over(self, born: float) -> float:
        """When all tasks created within a span from `born` are past the horizon."""
        return born + self._span + self._past_from

    def holding(self, entry: E) -> Cohort[E] | None:
        """The cohort that an entry is in, if it is in one."""
        return None if entry.place is None else self._numbered.get(entry.place)

    def competing(self, kind: str) -> list[Cohort[E]]:
        """The cohorts of a kind but those that stand in line behind another."""
        firsts = (line[0] for line in self._lines.values())
        return [each for each in (*self._by_age.values(), *firsts) if each.kind == kind]

    def competes(self, cohort: Cohort[E]) -> bool:
        """Whether it still exists, and stands behind no other."""
        line = self._lines.get(cohort.key)
        return (self._by_age.get(cohort.key) if line is None else line[0]) is cohort

    def join(self, entry: E, span: int | str) -> Cohort[E] | None:
        """Put an entry into its cohort; that cohort, if its head changed and it competes."""
        key = (entry.kind, entry.interactive, span)
        cohort = self._by_age.get(key) if isinstance(span, int) else self._last_in_line(key)
        if cohort is None:
            cohort = self._new(key)
        return cohort if cohort.join(entry) and self.competes(cohort) else None

    def _last_in_line(self, key: CohortKey) -> Cohort[E] | None:
        line = self._lines.get(key)
        last = None if line is None else line[-1]
        # No entry joins one that grew old: its entries came earlier.
        joined = last is not None and last.born is None
        return last if last is not None and joined and last.size < LINE_PIECE else None

    def _new(self, key: CohortKey) -> Cohort[E]:
        span = key[2]
        # Entries and cohorts are told apart by the sign: tickets of parked entries are positive.
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
        """Move a cohort into the line of those past the horizon; whether it is the first there."""
        del self._by_age[cohort.key]
        cohort.key = (cohort.kind, cohort.interactive, PAST)
        cohort.over = math.inf
        cohort.worth = None
        line = self._lines.setdefault(cohort.key, deque())
        line.append(cohort)
        return len(line) == 1

    def remove(self, cohort: Cohort[E]) -> Cohort[E] | None:
        """Remove an empty cohort that competes; the one that now is the first of its line."""
        del self._numbered[cohort.number]
        cohort.worth = None
        line = self._lines.get(cohort.key)
        if line is None:
            del self._by_age[cohort.key]
            return None
        line.popleft()
        if line:
            return line[0]
        del self._lines[cohort.key]
        return None
