"""How often a task is polled. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import msgspec

from suno_async.errors import ConfigurationError

if TYPE_CHECKING:
    from suno_async._schedule.entry import Entry

#: How long a last check that fails is tried again, in intervals past the deadline.
LAST_TRIES = 4


#: How long 404s must persist before a task counts as unknown, in intervals: a minute by default.
#: A 404 can be lag after a create ("for a short while", API contract, "Codes").
NOT_FOUND_INTERVALS = 4


class PollPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How often a task is asked about. The defaults are the vendor's advice; seconds throughout.

    The budget of 15 requests a second is shared by all tasks, so with thousands of them the real
    intervals are longer: these are the shortest.

    Attributes:
        schedule: ``"index"`` learns how long jobs take and gives each request to the task where it
            saves most waiting; ``"backoff"`` is plain exponential backoff, earliest due first.
        interval: Shortest time from a task's creation to its first check, and between two checks
            of it (vendor advice: 15 to 30 s).
        growth: Backoff only: factor by which the interval grows from one check to the next.
        max_interval: Where a backoff's interval stops growing. Index: with budget to spare no task
            goes unasked for longer than this, or than its own age if that is longer.
        jitter: Backoff only: largest share of an interval added at random, so that tasks created
            together do not stay together. Never subtracted.
        deadline: Age at which a task is asked for the last time and then given up with
            `TaskTimeoutError` (vendor advice: stop after 15 to 20 minutes). None: never.
        min_price: Index only: seconds of expected waiting that a request must save to be made,
            however idle the budget. Less asks more often, for results seen little sooner.
        eager: Index only: while there is budget to spare, go below the vendor's advice, down to
            `eager_interval` between two checks of a task, and use the whole budget.
        eager_interval: See `eager`.
    """

    schedule: Literal["index", "backoff"] = "index"
    interval: float = 15.0
    growth: float = 1.25
    max_interval: float = 60.0
    jitter: float = 0.1
    deadline: float | None = 1200.0
    min_price: float = 0.35
    eager: bool = False
    eager_interval: float = 2.0

    def __post_init__(self) -> None:
        rules = {
            'schedule must be "index" or "backoff"': self.schedule in {"index", "backoff"},
            "interval must be above 0": self.interval > 0,
            "growth must be at least 1": self.growth >= 1,
            "max_interval must be at least interval": self.max_interval >= self.interval,
            "jitter must not be negative": self.jitter >= 0,
            "deadline must be at least interval": self.deadline is None
            or self.deadline >= self.interval,
            "min_price must not be negative": self.min_price >= 0,
            "eager_interval must be above 0": self.eager_interval > 0,
            "eager_interval must be at most interval": not self.eager
            or self.eager_interval <= self.interval,
            'eager needs schedule="index"': not self.eager or self.schedule == "index",
        }
        if broken := [rule for rule, holds in rules.items() if not holds]:
            raise ConfigurationError("PollPolicy: " + "; ".join(broken))

    @property
    def not_found_grace(self) -> float:
        """Seconds for which 404s must persist before they end a wait."""
        return NOT_FOUND_INTERVALS * self.interval

    def next_not_found_check(self, since: float, now: float) -> float:
        """Return when to check a task again that was not found.

        One check falls on the end of the grace, so that an unknown id is reported right then. No
        check comes earlier than one interval from now.

        Args:
            since: When the first of the 404s was asked for.
            now: The current time.
        """
        end, following = since + self.not_found_grace, now + self.interval
        return end if end - self.interval < following <= end else following

    def gives_up_at(self, entry: Entry) -> float:
        """Return when the wait for a task ends even if its last check could not be made.

        That is `LAST_TRIES` intervals after the deadline. A task that was older when tracking began
        gets one interval more, counted from then, so that it can also be found to be unknown.
        """
        if self.deadline is None:
            return math.inf
        last_check = max(entry.known_since + self.deadline, entry.added_at + self.interval)
        return last_check + LAST_TRIES * self.interval

    def faster(self, by: float) -> PollPolicy:
        """The same policy where everything runs so many times faster, as in a sandbox."""
        return msgspec.structs.replace(
            self,
            interval=self.interval / by,
            max_interval=self.max_interval / by,
            deadline=None if self.deadline is None else self.deadline / by,
            min_price=self.min_price / by,
            eager_interval=self.eager_interval / by,
        )
