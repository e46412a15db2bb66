"""WHEN to poll WHICH task. Pure: every method is told the time and returns at once.

Times are seconds on one monotonic clock of the caller's choosing; an age is the time since a task
was created. The schedule sends nothing: `pop` returns the task that a request is worth most for,
and the caller reports what came of it (`defer`, `retry`, `settle`, `discard`). `inspection` says
what a request is worth; this module finds the best of a million tasks.

Tasks of one kind that were created within two seconds of each other count as one age. Of these,
the one that was last seen longest ago is the most urgent. So a *cohort* is a queue, ordered by the
time each request was sent (replies overtake each other), and only the head of each is looked at. A
kind has one cohort for each two seconds up to the deadline, about 600, and one for all tasks past
it, however many tasks there are and however old they are.
"""

from __future__ import annotations

import heapq
import itertools
import math
from typing import TYPE_CHECKING, Generic

from suno_async._schedule.cohorts import PAST, UNKNOWN, Cohort, Cohorts
from suno_async._schedule.entry import BULK_SHARE, E
from suno_async._schedule.inspection import Worth

if TYPE_CHECKING:
    from suno_async._schedule.durations import Durations
    from suno_async.policy import PollPolicy

#: Tasks created within this share of the shortest interval are taken to have one age: 2 s.
COHORT_SHARE = 2 / 15

#: The urgencies of the cohorts that are due are computed anew four times a second, at intervals
#: of 15 s.
RERANK_SHARE = 1 / 60

#: Where more cohorts than this are due, that is done less often in proportion, so that a decision
#: costs the same however many there are. The budget is then so far behind that half a second of
#: staleness does not show. A decision among a million tasks costs a fifth less at half of this
#: number and a half more at twice of it; no mean delay of the benchmark moves by 0.1 % at either.
RERANK_MOST = 200

#: An eager policy's price of a request, in intervals, when it starts; it then follows the load, so
#: that after this share of the requests nothing is due: the rest is kept for what comes up.
EAGER_PRICE = 0.05 / 15
EAGER_SLACK = 0.02

#: By how much one request moves that price at most, and the least it comes to.
EAGER_GAIN = 0.02
EAGER_LEAST = 0.01 / 15

#: What a later request saves, as a multiple of that price.
EAGER_FUTURE = 1.5

#: What a later request is taken to save when the due tasks are put in order, in intervals: 2 s. A
#: moderate price: the budget is sometimes short and sometimes idle (see `inspection`).
FUTURE_PRICE = 2 / 15

#: A second of a person's waiting counts as so many of a bulk task's.
INTERACTIVE_WEIGHT = 50.0

#: Under a lasting overload nothing starves: an unasked task's urgency grows with the square of the
#: time, and after this many intervals by as much as the urgency of one that has surely ended.
PATIENCE = 40.0

#: Ages up to this are told apart where no deadline is set, in seconds. A task still running past it
#: is asked whenever its age has doubled.
HORIZON = 3600.0

#: A law is learnt anew, which takes some milliseconds, after this share of its observations came
#: new, within these bounds, and not more often than every so many intervals: 2 s.
REFIT_SHARE = 0.125
REFIT_LEAST = 16
REFIT_MOST = 300
REFIT_APART = 2 / 15

#: A new law's cohorts are placed so many at a time, unless nothing else is due: a millisecond.
PLACED_AT_ONCE = 100

#: Checks that were set apart join their cohorts so many at a time, unless nothing else is due: some
#: tenths of a millisecond.
JOINED_AT_ONCE = 100

#: The price shown is the mean over about this many of the last requests.
PRICE_SPAN = 50.0


class IndexSchedule(Generic[E]):
    """Gives each request to the task where it saves most waiting, and learns how long jobs take.

    A task is *due* when a request about it is worth its least price (`Worth.due`), within the
    frame of the vendor's advice: not before one interval after its creation and its last check,
    not after a backoff's longest interval, and for the last time at its deadline, with no check in
    the interval before that. Of the due ones the most urgent goes first (`Worth.urgency`).

    Each operation costs O(log c) with c cohorts, whatever the number of tasks, and a few
    milliseconds where a law is learnt anew or the cohorts are ranked anew.
    """

    def __init__(self, policy: PollPolicy, durations: Durations) -> None:
        """Schedule by `policy`; start from, and add to, `durations`."""
        self._policy = policy
        self._span = policy.interval * COHORT_SHARE
        self._floor = policy.eager_interval if policy.eager else policy.interval
        self._durations = durations
        # Once a cohort is older than this, whatever is in it is due.
        past_from = self._horizon + self._floor
        self._cohorts = Cohorts[E](self._span, policy.deadline, past_from)
        self._tickets = itertools.count()
        # Heaps of (due, ticket, cohort), and of (-urgency, ticket, cohort) for [bulk, interactive].
        self._waiting: list[tuple[float, int, Cohort[E]]] = []
        self._ready: tuple[list[tuple[float, int, Cohort[E]]], ...] = ([], [])
        # A heap of (due, ticket, entry): checks that failed and are tried again, and those of tasks
        # past the horizon, whose ages are too different for a common queue.
        self._parked: list[tuple[float, int, E]] = []
        # The same for those that shall be checked at a definite time.
        self._planned: list[tuple[float, int, E]] = []
        self._passed_over = 0
        self._rerank_at = -math.inf
        self._run = 0
        self._worths: dict[tuple[str, bool], Worth] = {}
        self._refit_at: dict[str, int] = {}
        self._refit_after = -math.inf
        self._unplaced: list[Cohort[E]] = []
        self._typical: dict[str, float] = {}
        self._eager_price = EAGER_PRICE * policy.interval
        self.price: float | None = None

    def add(self, entry: E, now: float) -> None:
        """Track a new entry: first due one interval after creation, at once if that is unknown."""
        self._join(entry, now)

    def pop(self, now: float) -> E | None:
        """Take out the entry most worth a request at `now`; None if none is due."""
        self._refit(now)
        self._place_some(PLACED_AT_ONCE, now)
        self._wake(now)
        if now >= self._rerank_at:
            self._rerank(now)
        if (planned := self._pop_planned(now)) is not None:
            return planned
        while (cohort := self._choose(now)) is not None:
            entry = self._head_of(cohort)
            if entry is None or self._must_wait_for_the_end(cohort, now):
                self._place(cohort, now)
                continue
            self._run = self._run + 1 if cohort.interactive else 0
            cohort.take()
            self._note_price(entry, cohort, now)
            entry.asked_at = now
            self._place(cohort, now)
            if self._policy.eager:
                self._follow_load()
            self._finish_placing(now)
            return entry
        return None

    def next_due(self) -> float | None:
        """The earliest time at which `pop` may give an entry out; None if nothing is in."""
        heads = [
            cohort.due
            for heap in (self._waiting, *self._ready)
            if (cohort := self._head(heap)) is not None
        ]
        for entries in (self._parked, self._planned):
            while entries and entries[0][2].place != entries[0][1]:
                heapq.heappop(entries)
            if entries:
                heads.append(entries[0][0])
        return min(heads, default=None)

    def defer(self, entry: E, now: float) -> bool:
        """The popped entry was answered: still going. False if that was its last check."""
        asked = now if entry.asked_at is None else entry.asked_at
        since = self._since(entry)
        entry.failures = 0
        entry.checks += 1
        entry.seen_at = asked
        if entry.created_at is not None:
            self._durations.still_running(entry.kind, since, asked - entry.created_at)
        if self._is_past(entry, asked):
            return False
        self._join(entry, now)
        return True

    def retry(self, entry: E, now: float, at: float | None = None) -> bool:
        """Take back the popped entry, whose check failed. Return False if there is no other."""
        policy = self._policy
        entry.failures += 1
        if now >= policy.gives_up_at(entry):
            return False
        if at is not None:
            entry.place = ticket = next(self._tickets)
            heapq.heappush(self._planned, (at, ticket, entry))
            return True
        # The exponent is bounded so that the power cannot overflow.
        grown = policy.interval * policy.growth ** min(entry.failures - 1, 64)
        self._park(entry, now + min(grown, policy.max_interval))
        return True

    def settle(self, entry: E, duration: float | None) -> None:
        """The popped entry was answered: it ended, at this age if that is known."""
        if duration is not None:
            self._durations.ended(entry.kind, self._since(entry), duration)

    def discard(self, entry: E) -> None:
        """Nobody wants this entry any more, whether it is in or out."""
        cohort = self._cohorts.holding(entry)
        entry.place = None
        if cohort is not None:
            cohort.discarded()

    def promote(self, entry: E) -> None:
        """Somebody now awaits this entry: it is interactive from here on."""
        if entry.interactive:
            return
        waits = self._cohorts.holding(entry) is not None
        if waits:
            self.discard(entry)
        entry.interactive = True
        if waits:
            self._join(entry, entry.added_at if entry.asked_at is None else entry.asked_at)

    def _since(self, entry: E) -> float:
        """The age at which it was last known to run."""
        if entry.seen_at is None or entry.created_at is None:
            return 0.0
        return max(0.0, entry.seen_at - entry.created_at)

    def _is_past(self, entry: E, when: float) -> bool:
        deadline = self._policy.deadline
        return deadline is not None and when >= entry.known_since + deadline

    def _park(self, entry: E, due: float) -> None:
        entry.place = ticket = next(self._tickets)
        heapq.heappush(self._parked, (due, ticket, entry))

    def _join(self, entry: E, now: float) -> None:
        """Put an entry into its cohort, or set it apart if it is past the horizon and not due."""
        born = entry.known_since
        span: int | str = math.floor(born / self._span)
        if entry.created_at is None and entry.asked_at is None:
            span = UNKNOWN
        elif self._since(entry) >= self._horizon or now >= self._cohorts.over(born):
            span = PAST
            due = self._floor_of(entry) if entry.failures else self._latest(entry)
            if due > now:
                self._park(entry, due)
                return
        if (cohort := self._cohorts.join(entry, span)) is not None:
            self._place(cohort, now)

    def _place(self, cohort: Cohort[E], now: float) -> None:
        """Put a cohort where its head belongs: among the waiting, the ready, or nowhere."""
        while (head := cohort.first()) is None:
            cohort.ticket = -1
            if (after := self._cohorts.remove(cohort)) is None:
                return
            cohort = after
        cohort.head = head
        cohort.ticket = ticket = next(self._tickets)
        if now >= cohort.over and not self._cohorts.grow_old(cohort):
            return
        cohort.due = self._due(cohort, head, now)
        if self._must_wait_for_the_end(cohort, max(now, cohort.due)):
            cohort.due = max(self._floor_of(head), cohort.ends)
        if cohort.due > now:
            cohort.worth = None
            heapq.heappush(self._waiting, (cohort.due, ticket, cohort))
        else:
            self._rank(cohort, head)
            urgency = cohort.urgency(now)
            heapq.heappush(self._ready[cohort.interactive], (-urgency, ticket, cohort))

    @staticmethod
    def _head_of(cohort: Cohort[E]) -> E | None:
        """The head it was placed by; None if that was discarded since."""
        head = cohort.head
        return head if head is not None and head.place == cohort.number else None

    def _floor_of(self, entry: E) -> float:
        if entry.asked_at is not None:
            return entry.asked_at + self._floor
        return entry.added_at if entry.created_at is None else entry.created_at + self._floor

    def _latest(self, entry: E) -> float:
        """When a task of known age is due at the latest."""
        born = entry.known_since
        if entry.asked_at is None:
            return born + self._policy.max_interval
        return entry.asked_at + max(self._policy.max_interval, entry.asked_at - born)

    def _due(self, cohort: Cohort[E], entry: E, now: float) -> float:
        """When a request about the head is worth its least price, within the vendor's frame."""
        span = cohort.key[2]
        if span == PAST:
            return now  # or it would not be here
        floor = self._floor_of(entry)
        if span == UNKNOWN:
            return floor
        worth = self._worth(cohort)
        due = entry.known_since + worth.due(self._since(entry))
        return max(floor, min(due, self._latest(entry)))

    @property
    def _horizon(self) -> float:
        return HORIZON if self._policy.deadline is None else self._policy.deadline

    def _must_wait_for_the_end(self, cohort: Cohort[E], now: float) -> bool:
        """Whether a check now would stand too near the last one, at the deadline."""
        return cohort.ends - self._span - self._floor < now < cohort.ends

    def _rank(self, cohort: Cohort[E], head: E) -> None:
        worth = self._worth(cohort)
        base = head.known_since
        if cohort.key[2] == UNKNOWN:
            # It may be of any age: most ids kept from before have ended.
            base = head.added_at - self._typical[cohort.kind]
        last = head.added_at if head.asked_at is None else head.asked_at
        patience = PATIENCE * self._policy.interval
        cohort.rank(worth, self._since(head), base, last, patience)

    def _worth(self, cohort: Cohort[E]) -> Worth:
        key = (cohort.kind, cohort.interactive)
        worth = self._worths.get(key)
        if worth is None:
            law = self._durations.law(cohort.kind)
            self._typical[cohort.kind] = law.quantile(0.95)
            price, future = self._policy.min_price, FUTURE_PRICE * self._policy.interval
            if self._policy.eager:
                price, future = self._eager_price, EAGER_FUTURE * self._eager_price
            worth = self._worths[key] = Worth(
                law,
                floor=self._floor,
                horizon=self._horizon,
                price=price,
                future_price=future,
                weight=INTERACTIVE_WEIGHT if cohort.interactive else 1.0,
            )
            seen = self._durations.observations(cohort.kind)
            fresh = min(max(REFIT_SHARE * seen, REFIT_LEAST), REFIT_MOST)
            self._refit_at[cohort.kind] = seen + int(fresh)
        return worth

    def _refit(self, now: float) -> None:
        """Learn one law anew, if enough was observed, and place its cohorts by it."""
        if now < self._refit_after:
            return
        self._refit_after = now + REFIT_APART * self._policy.interval
        for kind, refit_at in self._refit_at.items():
            if self._durations.observations(kind) >= refit_at:
                break
        else:
            return
        for interactive in (False, True):
            self._worths.pop((kind, interactive), None)
        # A kind of which nothing is left would be looked at again and again.
        self._refit_at[kind] = self._durations.observations(kind) + REFIT_LEAST
        self._unplaced = self._cohorts.competing(kind)

    def _place_some(self, count: int, now: float) -> None:
        """Place so many of the cohorts that stand where an older law put them."""
        for _ in range(min(count, len(self._unplaced))):
            cohort = self._unplaced.pop()
            if self._cohorts.competes(cohort):
                self._place(cohort, now)

    def _finish_placing(self, now: float) -> None:
        """While others are due `pop` is sure to come again, else it may come too late."""
        if self._unplaced and self._is_idle():
            self._place_some(len(self._unplaced), now)

    def _is_idle(self) -> bool:
        return all(self._head(heap) is None for heap in self._ready)

    def _pop_planned(self, now: float) -> E | None:
        """Take out a check planned for now: at once, or in its turn while others are due."""
        planned = self._planned
        while planned and planned[0][2].place != planned[0][1]:
            heapq.heappop(planned)
        if not planned or planned[0][0] > now:
            return None
        self._passed_over += 1
        if self._passed_over < BULK_SHARE and not self._is_idle():
            return None
        self._passed_over = 0
        entry = heapq.heappop(planned)[2]
        entry.place = None
        entry.asked_at = now
        self._finish_placing(now)
        return entry

    def _wake(self, now: float) -> None:
        """Move what has become due."""
        joined = 0
        while self._parked and self._parked[0][0] <= now:
            if joined >= JOINED_AT_ONCE and not self._is_idle():
                break
            _, ticket, entry = heapq.heappop(self._parked)
            if entry.place == ticket:
                self._join(entry, now)
                joined += 1
        while self._waiting and self._waiting[0][0] <= now:
            _, ticket, cohort = heapq.heappop(self._waiting)
            if cohort.ticket == ticket:
                self._place(cohort, now)

    def _rerank(self, now: float) -> None:
        """Compute the urgencies of the cohorts that are due anew; the rest of a place stays."""
        for heap in self._ready:
            valid = [(ticket, cohort) for _, ticket, cohort in heap if cohort.ticket == ticket]
            heap[:] = [(-each.urgency(now), ticket, each) for ticket, each in valid]
            heapq.heapify(heap)
            for _, cohort in valid:
                if now >= cohort.over:
                    self._place(cohort, now)
        many = max(1.0, sum(map(len, self._ready)) / RERANK_MOST)
        self._rerank_at = now + RERANK_SHARE * self._policy.interval * many

    def _head(self, heap: list[tuple[float, int, Cohort[E]]]) -> Cohort[E] | None:
        while heap and heap[0][2].ticket != heap[0][1]:
            heapq.heappop(heap)
        return heap[0][2] if heap else None

    def _choose(self, now: float) -> Cohort[E] | None:
        """The most urgent head of either class; one request in `BULK_SHARE` is left to bulk."""
        self._finish_placing(now)
        bulk, interactive = (self._head(heap) for heap in self._ready)
        if bulk is None or interactive is None:
            return bulk or interactive
        if self._run >= BULK_SHARE - 1:
            return bulk
        # Bulk tasks at their deadline are the most urgent of all; yet they are no reason to let an
        # awaited task wait until thousands of them were asked.
        first, awaited = self._ready[0][0][0], self._ready[1][0][0]
        return bulk if -math.inf < first < awaited else interactive

    def _follow_load(self) -> None:
        """Dual ascent on the price of a request: up while others are due, down when none is."""
        self._eager_price *= 1.0 + EAGER_GAIN * (EAGER_SLACK - self._is_idle())
        self._eager_price = max(self._eager_price, EAGER_LEAST * self._policy.interval)

    def _note_price(self, entry: E, cohort: Cohort[E], now: float) -> None:
        if cohort.born is None or now >= cohort.ends:
            return
        price = self._worth(cohort).price(self._since(entry), now - entry.known_since)
        self.price = price if self.price is None else self.price + (price - self.price) / PRICE_SPAN
