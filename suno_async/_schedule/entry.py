"""One tracked task as a schedule sees it, and what every schedule offers. Pure.

Times are seconds on one monotonic clock of the caller's choice; an age is the time since a task was
created.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

import msgspec

#: Of this many requests while both kinds are due, one goes to a task nobody awaits by itself.
BULK_SHARE = 4


class Entry(msgspec.Struct, eq=False, gc=False):
    """One tracked task as the schedule sees it.

    Python's collector does not look at entries, as a hundred thousand of them would hold the event
    loop for a tenth of a second each time it did: so an entry must not be part of a cycle.

    Attributes:
        task_id: The server's id.
        added_at: When tracking began.
        created_at: When it was created; None while unknown. The caller may set it while the entry
            is out.
        kind: The kind of job; empty while unknown. The caller may set it while the entry is out.
        interactive: Someone awaits this very task.
        asked_at: When `pop` last gave it out; None before the first time.
        seen_at: When it was last asked and known to be running; None before the first time.
        checks: Checks answered so far.
        failures: Checks that failed since the last answer.
        place: The number of where it stands in its schedule; None while it is out.
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
        """Its creation, or the start of tracking while that is unknown."""
        return self.added_at if self.created_at is None else self.created_at


E = TypeVar("E", bound=Entry)


class Schedule(Protocol[E]):
    """Which task is worth the next request.

    An entry is *in* from `add` until `pop` gives it out, and again after a `defer` or `retry` that
    returns True.

    Attributes:
        price: Seconds of waiting that a request saves, by the last ones; None if not known.
    """

    price: float | None

    def add(self, entry: E, now: float) -> None:
        """Track an entry that is new to this schedule; it may have been checked before."""
        ...

    def pop(self, now: float) -> E | None:
        """Take out the entry most worth a request at `now`; None if none is due."""
        ...

    def next_due(self) -> float | None:
        """The earliest time at which `pop` may give an entry out; None if nothing is in."""
        ...

    def defer(self, entry: E, now: float) -> bool:
        """The popped entry was answered: still going. False if that was its last check."""
        ...

    def retry(self, entry: E, now: float, at: float | None = None) -> bool:
        """Take back the popped entry, whose check failed. Return False if there is no other check.

        Args:
            entry: The entry.
            now: The current time.
            at: Check it again at this time, or soon after while the budget is short. By default
                the schedule decides.
        """
        ...

    def settle(self, entry: E, duration: float | None) -> None:
        """The popped entry was answered: it ended, at this age if that is known."""
        ...

    def discard(self, entry: E) -> None:
        """Nobody wants this entry any more, whether it is in or out."""
        ...

    def promote(self, entry: E) -> None:
        """Somebody now awaits this entry: it is interactive from here on."""
        ...
