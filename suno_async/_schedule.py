"""WHEN to poll WHICH task. Pure: every method is told the time and returns at once.

Times are seconds on one monotonic clock of the caller's choosing; an age is the time since a task
was created. The schedule never sees a request: it is asked for the task most worth one (`pop`), and
told what came of it (`defer`, `retry`, `discard`).
"""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec

from suno_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

#: Of this many requests while both kinds are due, one goes to a task nobody awaits by itself.
BULK_SHARE = 4

#: How long a last check that fails is tried again, in intervals past the deadline.
LAST_TRIES = 4


class PollPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How often a task is asked about. The defaults are the vendor's advice; seconds throughout.

    The budget of 15 requests a second is shared by all tasks, so with thousands of them the real
    intervals are longer: these are the shortest.

    Attributes:
        interval: Shortest time from a task's creation to its first check, and between two checks
            of it (vendor advice: 15 to 30 s).
        growth: Factor by which the interval grows from one check to the next.
        max_interval: Where it stops growing.
        jitter: Largest share of an interval added at random, so that tasks created together do
            not stay together. Never subtracted.
        deadline: Age at which a task is asked for the last time and then given up with
            `TaskTimeoutError` (vendor advice: stop after 15 to 20 minutes). None: never.
    """

    interval: float = 15.0
    growth: float = 1.25
    max_interval: float = 60.0
    jitter: float = 0.1
    deadline: float | None = 1200.0

    def __post_init__(self) -> None:
        rules = {
            "interval must be above 0": self.interval > 0,
            "growth must be at least 1": self.growth >= 1,
            "max_interval must be at least interval": self.max_interval >= self.interval,
            "jitter must not be negative": self.jitter >= 0,
            "deadline must be at least interval": self.deadline is None
            or self.deadline >= self.interval,
        }
        if broken := [rule for rule, holds in rules.items() if not holds]:
            raise ConfigurationError("PollPolicy: " + "; ".join(broken))


class Entry:
    """One tracked task as the schedule sees it.

    Attributes:
        task_id: The server's id.
        created_at: When it was created; None while unknown. The caller may set it while the entry
            is out.
        added_at: When tracking began.
        asked_at: When `pop` last gave it out; None before the first time.
        checks: Checks answered so far.
        failures: Checks that failed since the last answer.
        interactive: Someone awaits this very task.
        ticket: Its place in the schedule; None while it is out.
    """

    __slots__ = (
        "added_at",
        "asked_at",
        "checks",
        "created_at",
        "failures",
        "interactive",
        "task_id",
        "ticket",
    )

    def __init__(
        self,
        task_id: str,
        *,
        added_at: float,
        created_at: float | None = None,
        interactive: bool = False,
    ) -> None:
        self.task_id = task_id
        self.created_at = created_at
        self.added_at = added_at
        self.asked_at: float | None = None
        self.checks = 0
        self.failures = 0
        self.interactive = interactive
        self.ticket: int | None = None

    @property
    def known_since(self) -> float:
        """Its creation, or the start of tracking while that is unknown."""
        return self.added_at if self.created_at is None else self.created_at


E = TypeVar("E", bound=Entry)


def choose(interactive: E | None, bulk: E | None, run: int) -> E | None:
    """Which of the longest-due entries of either kind gets the next request.

    Awaited tasks go first, so that a person is not behind ten thousand songs; but of every
    `BULK_SHARE` requests one is left to the others, so that neither kind can starve the other.
    `run` counts the interactive ones served since the last bulk one.
    """
    if interactive is None or bulk is None:
        return interactive or bulk
    return bulk if run >= BULK_SHARE - 1 else interactive


class Schedule(Generic[E]):
    """Exponential backoff for every task, earliest due first.

    An entry is *in* from `add` until `pop` gives it out, and again after a `defer` or `retry` that
    returns True. Each operation costs O(log n).
    """

    def __init__(self, policy: PollPolicy, random: Callable[[], float]) -> None:
        """Schedule by `policy`; `random` draws from [0, 1) for the jitter."""
        self._policy = policy
        self._random = random
        self._tickets = itertools.count()
        # Heaps of (due, ticket, entry): [bulk, interactive]. A ticket that is no longer its
        # entry's marks a place that was given up; it is dropped when it surfaces.
        self._heaps: tuple[list[tuple[float, int, E]], list[tuple[float, int, E]]] = ([], [])
        self._run = 0

    def add(self, entry: E, now: float) -> None:
        """Track a new entry: first due one interval after creation, at once if that is unknown."""
        created = entry.created_at
        self._place(entry, now if created is None else max(now, created + self._policy.interval))

    def pop(self, now: float) -> E | None:
        """Take out the entry most worth a request at `now`; None if none is due."""
        bulk, interactive = (self._due(heap, now) for heap in self._heaps)
        entry = choose(interactive, bulk, self._run)
        if entry is None:
            return None
        self._run = self._run + 1 if entry.interactive else 0
        heapq.heappop(self._heaps[entry.interactive])
        entry.ticket = None
        entry.asked_at = now
        return entry

    def next_due(self) -> float | None:
        """The earliest time at which `pop` gives an entry out; None if nothing is in."""
        heads = [head[0] for heap in self._heaps if (head := self._head(heap)) is not None]
        return min(heads, default=None)

    def defer(self, entry: E, now: float) -> bool:
        """The popped entry was answered: still going. False if that was its last check."""
        entry.failures = 0
        entry.checks += 1
        if self._is_past(entry, entry.asked_at or now):
            return False
        self._place(entry, self._after(entry, now, entry.checks - 1))
        return True

    def retry(self, entry: E, now: float) -> bool:
        """The popped entry's check failed. False if there will be no other."""
        entry.failures += 1
        deadline = self._policy.deadline
        if deadline is not None:
            patience = deadline + LAST_TRIES * self._policy.interval
            if now >= entry.known_since + patience:
                return False
        self._place(entry, self._after(entry, now, entry.failures - 1))
        return True

    def discard(self, entry: E) -> None:
        """Nobody wants this entry any more, whether it is in or out."""
        entry.ticket = None

    def promote(self, entry: E) -> None:
        """Somebody now awaits this entry: it is interactive from here on."""
        if entry.interactive:
            return
        entry.interactive = True
        if entry.ticket is not None:
            # When it was due is known to the heap alone, and a search would cost O(n); one
            # interval after the last check is never later than what it had.
            last = entry.asked_at
            if last is None:
                self.add(entry, entry.added_at)
            else:
                self._place(entry, self._clamp(entry, last + self._policy.interval, last))

    def _place(self, entry: E, due: float) -> None:
        entry.ticket = next(self._tickets)
        heapq.heappush(self._heaps[entry.interactive], (due, entry.ticket, entry))

    def _head(self, heap: list[tuple[float, int, E]]) -> tuple[float, int, E] | None:
        while heap and heap[0][2].ticket != heap[0][1]:
            heapq.heappop(heap)
        return heap[0] if heap else None

    def _due(self, heap: list[tuple[float, int, E]], now: float) -> E | None:
        head = self._head(heap)
        return head[2] if head is not None and head[0] <= now else None

    def _after(self, entry: E, now: float, doublings: int) -> float:
        policy = self._policy
        # The exponent is bounded so that the power cannot overflow; max_interval cuts it anyway.
        grown = min(policy.interval * policy.growth ** min(doublings, 64), policy.max_interval)
        return self._clamp(entry, now + grown * (1 + policy.jitter * self._random()), now)

    def _clamp(self, entry: E, due: float, last: float) -> float:
        """Move a check that would stand too near the deadline, or past it, onto the deadline."""
        if self._policy.deadline is None:
            return due
        deadline = entry.known_since + self._policy.deadline
        if due <= deadline - self._policy.interval:
            return due
        return max(deadline, last + self._policy.interval)

    def _is_past(self, entry: E, when: float) -> bool:
        deadline = self._policy.deadline
        return deadline is not None and when >= entry.known_since + deadline


def retry_delay(attempt: int, random: float, *, first: float = 1.0, longest: float = 30.0) -> float:
    """Seconds to wait before trying again, after `attempt` (0, 1, …) failures.

    Exponential backoff with equal jitter: half is certain, half is drawn by `random` in [0, 1).
    """
    grown = min(first * 2.0 ** min(attempt, 16), longest)
    return grown * (0.5 + random / 2)
