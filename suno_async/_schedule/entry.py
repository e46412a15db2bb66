"""The interface of every schedule, and `Entry`: the data of one task in a schedule. No I/O.

All times are in seconds. They come from one monotonic clock, which the caller chooses. The age
of a task is the time since it was created.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

import msgspec


# gc=False: a collection that scans a hundred thousand entries would block the event loop for a
# tenth of a second.
class Entry(msgspec.Struct, eq=False, gc=False):
    """One task that a schedule tracks. Times are seconds on a monotonic clock.

    Python's garbage collector does not track entries. So an entry must not be part of a reference
    cycle, because such an entry would never be freed.

    Attributes:
        task_id: The server's id.
        added_at: When tracking began.
        created_at: When the task was created; None while unknown. The caller may set it while the
            entry is out (see `Schedule`).
        kind: The kind of job; empty while unknown. The caller may set it while the entry is out.
        interactive: Whether a caller awaits this single task; False for a task of a stream.
        asked_at: When `pop` last returned the entry; None if it never did.
        seen_at: Send time of the latest check that found the task running; None if there is none.
        checks: Number of checks that found the task running.
        failures: Number of failed checks since the latest check that succeeded.
        place: Number with which the schedule finds the entry; None while the entry is out.
    """

    task_id: str
    added_at: float
    created_at: float | None = None
    kind: str = ""
    interactive: bool = False
    asked_at: float | None = None
    seen_at: float | None = None
    checks: int = 0
    failures: int = 0
    place: int | None = None

    @property
    def known_since(self) -> float:
        """The creation time of the task, or the start of tracking if no creation time is known."""
        return self.added_at if self.created_at is None else self.created_at

    @property
    def seen_age(self) -> float:
        """The age in seconds at which a check last found the task running; 0 if no check did.

        If no creation time is known, the time since the start of tracking counts as the age.
        """
        if self.seen_at is None:
            return 0.0
        # Not `known_since`, because each poll needs this value several times.
        born = self.added_at if self.created_at is None else self.created_at
        return max(0.0, self.seen_at - born)

    def answered(self, now: float) -> float:
        """Record that the latest check found the task running. Return the time when it was sent.

        If this time is unknown, use `now`.
        """
        self.seen_at = asked = now if self.asked_at is None else self.asked_at
        self.failures = 0
        self.checks += 1
        return asked


E = TypeVar("E", bound=Entry)


class Schedule(Protocol[E]):
    """Decides which task to check with the next request.

    Each tracked task has an entry. `add` puts the entry *in* the schedule. `pop` and `discard` take
    it *out*. A `defer` or `retry` that returns True puts the entry in again.

    Attributes:
        price: What a request is worth: how many seconds of waiting it saves, averaged over the
            latest requests. None if unknown. Waiting is the time from the end of a task to the
            check that reports this end.
    """

    price: float | None

    def add(self, entry: E, now: float) -> None:
        """Track an entry that is new to this schedule. Its task may have been checked before."""
        ...

    def pop(self, now: float) -> E | None:
        """Remove and return the entry to check at `now`. Return None if no entry is due."""
        ...

    def next_due(self) -> float | None:
        """Return the earliest time at which `pop` can return an entry.

        Return None if the schedule contains no entry.
        """
        ...

    def defer(self, entry: E, now: float) -> bool:
        """Reschedule a popped entry whose task still runs, and return True.

        If the task has had its last check, do not reschedule the entry, and return False.
        """
        ...

    def retry(self, entry: E, now: float, at: float | None = None) -> bool:
        """Reschedule a popped entry whose check failed. Return False if no check will follow.

        Args:
            entry: The entry.
            now: The current time.
            at: Check the entry again at this time, or soon after if the request budget is short.
                None means that the schedule chooses the time.
        """
        ...

    def settle(self, entry: E, duration: float | None) -> None:
        """Record that the task of a popped entry has ended.

        The task ran for `duration` seconds; None if this time is unknown.
        """
        ...

    def discard(self, entry: E) -> None:
        """Remove an entry. Do nothing if `pop` has already removed it."""
        ...

    def promote(self, entry: E) -> None:
        """Make an entry interactive, because a caller now awaits its task."""
        ...
