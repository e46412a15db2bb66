"""Calculate the earliest and the latest time of a check. Every schedule uses this. No I/O."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from suno_async._schedule.entry import Entry
    from suno_async.policy import PollPolicy

#: A last check that failed is retried for this many intervals after the deadline.
LAST_TRIES = 4


class Frame:
    """Calculates the earliest and the latest time of a check from the poll policy.

    Checks are status requests for a task. A check is sent at least `floor` seconds after the
    creation of the task and after the previous check. The last check is due at the deadline. If the
    last check fails, it is retried for a while. A check in the `floor` seconds before the deadline
    would delay the last check. So a schedule normally moves such a check to the deadline.

    Attributes:
        floor: Shortest time between two checks of a task, in seconds.
        deadline: Age of a task at its last check, in seconds; None means no limit.
    """

    __slots__ = ("_growth", "_interval", "deadline", "floor", "max_interval")

    def __init__(self, policy: PollPolicy) -> None:
        self.floor = policy.eager_interval if policy.eager else policy.interval
        self.deadline = policy.deadline
        self._interval = policy.interval
        self.max_interval = policy.max_interval
        self._growth = policy.growth

    def earliest(self, entry: Entry) -> float:
        """Return the earliest time of the next check.

        For a task of unknown age that was never checked, this is the time when tracking began.
        """
        if entry.asked_at is not None:
            return entry.asked_at + self.floor
        return entry.added_at if entry.created_at is None else entry.created_at + self.floor

    def latest(self, entry: Entry) -> float:
        """Return the latest time at which the next check normally becomes due.

        For a task that was never checked, this is `max_interval` after its creation. If the
        creation time is unknown, the start of tracking counts instead. For a task that was checked,
        this is the later of two times: `max_interval` after the previous check, and the time when
        the task is twice as old as at the previous check.
        """
        born = entry.known_since
        if entry.asked_at is None:
            return born + self.max_interval
        return entry.asked_at + max(self.max_interval, entry.asked_at - born)

    def end(self, entry: Entry) -> float:
        """Return the time of the task's deadline; infinity if there is no deadline."""
        return math.inf if self.deadline is None else entry.known_since + self.deadline

    def gives_up_at(self, entry: Entry) -> float:
        """Return the time after which the last check of a task is no longer retried.

        This is `LAST_TRIES` poll intervals after the deadline, or `LAST_TRIES` + 1 poll intervals
        after the task was added to the schedule, whichever is later. Without a deadline, it is
        infinity.
        """
        if self.deadline is None:
            return math.inf
        last_check = max(entry.known_since + self.deadline, entry.added_at + self._interval)
        return last_check + LAST_TRIES * self._interval

    def is_too_near(self, when: float, end: float, spread: float = 0.0) -> bool:
        """Return whether a check at `when` would delay the last check of a task.

        For a cohort (a queue of tasks of similar age), return whether this is true for any of its
        tasks.

        Args:
            when: Time of the check.
            end: The deadline of the task, or the deadline of the youngest task of the cohort.
            spread: Seconds between the deadlines of the oldest and the youngest task of the cohort;
                0 for a single task.
        """
        return end - spread - self.floor < when < end

    def backoff(self, number: int) -> float:
        """Return the next interval of a backoff, in seconds, after `number` earlier intervals."""
        # The exponent is bounded so that the power cannot overflow.
        return min(self._interval * self._growth ** min(number, 64), self.max_interval)
