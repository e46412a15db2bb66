"""Exponential backoff: the schedule for who wants it plain. Pure."""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING, Generic

from suno_async._schedule.entry import BULK_SHARE, E

if TYPE_CHECKING:
    from collections.abc import Callable

    from suno_async.policy import PollPolicy


def choose(interactive: E | None, bulk: E | None, run: int) -> E | None:
    """Which of the longest-due entries of either kind gets the next request.

    Awaited tasks go first, so that a person is not behind ten thousand songs; but of every
    `BULK_SHARE` requests one is left to the others, so that neither kind can starve the other.
    `run` counts the interactive ones served since the last bulk one.
    """
    if interactive is None or bulk is None:
        return interactive or bulk
    return bulk if run >= BULK_SHARE - 1 else interactive


class BackoffSchedule(Generic[E]):
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
        self.price: float | None = None

    def add(self, entry: E, now: float) -> None:
        """Track a new entry: due one interval after its last check, or else its creation.

        An entry of unknown age that was never checked is due at once.
        """
        if (last := entry.asked_at) is not None:
            due = self._clamp(entry, max(now, last + self._policy.interval), last)
        elif entry.created_at is not None:
            due = max(now, entry.created_at + self._policy.interval)
        else:
            due = now
        self._place(entry, due)

    def pop(self, now: float) -> E | None:
        """Take out the entry most worth a request at `now`; None if none is due."""
        bulk, interactive = (self._due(heap, now) for heap in self._heaps)
        entry = choose(interactive, bulk, self._run)
        if entry is None:
            return None
        self._run = self._run + 1 if entry.interactive else 0
        heapq.heappop(self._heaps[entry.interactive])
        entry.place = None
        entry.asked_at = now
        return entry

    def next_due(self) -> float | None:
        """The earliest time at which `pop` gives an entry out; None if nothing is in."""
        heads = [head[0] for heap in self._heaps if (head := self._head(heap)) is not None]
        return min(heads, default=None)

    def defer(self, entry: E, now: float) -> bool:
        """The popped entry was answered: still going. False if that was its last check."""
        asked = now if entry.asked_at is None else entry.asked_at
        entry.failures = 0
        entry.checks += 1
        entry.seen_at = asked
        if self._is_past(entry, asked):
            return False
        self._place(entry, self._after(entry, now, entry.checks - 1))
        return True

    def retry(self, entry: E, now: float, at: float | None = None) -> bool:
        """Take back the popped entry, whose check failed. Return False if there is no other."""
        entry.failures += 1
        if now >= self._policy.gives_up_at(entry):
            return False
        self._place(entry, self._after(entry, now, entry.failures - 1) if at is None else at)
        return True

    def settle(self, entry: E, duration: float | None) -> None:
        """The popped entry was answered: it ended."""

    def discard(self, entry: E) -> None:
        """Nobody wants this entry any more, whether it is in or out."""
        entry.place = None

    def promote(self, entry: E) -> None:
        """Somebody now awaits this entry: it is interactive from here on."""
        if entry.interactive:
            return
        entry.interactive = True
        if entry.place is not None:
            # When it was due is known to the heap alone, and a search would cost O(n); one
            # interval after the last check is never later than what it had.
            self.add(entry, entry.added_at)

    def _place(self, entry: E, due: float) -> None:
        entry.place = ticket = next(self._tickets)
        heapq.heappush(self._heaps[entry.interactive], (due, ticket, entry))

    def _head(self, heap: list[tuple[float, int, E]]) -> tuple[float, int, E] | None:
        while heap and heap[0][2].place != heap[0][1]:
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
