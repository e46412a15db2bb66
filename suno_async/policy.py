"""How often a task is polled. No I/O."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from suno_async.errors import ConfigurationError

#: A task counts as unknown after 404s for this many intervals, a minute by default. A 404 can also
#: mean that a new task is not visible yet ("for a short while", API contract, "Codes").
NOT_FOUND_INTERVALS = 4

#: Greatest allowed `PollPolicy.growth`. The backoff calculates powers of it up to the 64th, which
#: would overflow for values above about 65,000. A greater value than 2 is hardly ever useful.
MAX_GROWTH = 100


class PollPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How often the status of a task is checked. The defaults follow the vendor's advice.

    All times are in seconds. All tasks share the budget of 15 requests a second. So with thousands
    of tasks, the actual intervals are longer than the intervals below.

    Attributes:
        schedule: ``"adaptive"`` learns how long jobs take, and uses each request for the task where
            the request saves the most waiting. ``"backoff"`` is exponential backoff. With both,
            tasks that a caller awaits individually, for example with `SunoClient.run`, normally go
            before the tasks of a stream such as `SunoClient.pipeline`.
        interval: Shortest time from a task's creation to its first check, and between two checks
            (vendor's advice: 15 to 30 s). If the creation time is unknown, the first check may be
            sent at once.
        growth: Factor by which the interval grows after each failed check, except after a 404. With
            ``"backoff"``, the interval also grows after each check that finds the task running.
        max_interval: Longest interval of ``"backoff"``, and longest interval after failed checks.
            With ``"adaptive"``, the longest interval is normally `max_interval` or the age of the
            task at the previous check, whichever is longer.
        jitter: Largest random delay, as a fraction of the interval. It separates the checks of
            tasks that were created together. Only for ``"backoff"``.
        deadline: Age at which a task is checked for the last time. If the task still runs then,
            each wait for it ends with a `TaskTimeoutError` (vendor's advice: stop after 15 to 20
            minutes). None means no limit.
        min_saving: Normally, a request must save at least this many seconds of expected waiting. If
            a caller awaits the task individually, a 50th of this is enough. A smaller value means
            more requests and earlier results. Only for ``"adaptive"`` without `eager`.
        eager: While there is budget to spare, check tasks more often than the vendor advises. Only
            for ``"adaptive"``.
        eager_interval: Shortest interval if `eager` is set.

    Raises:
        ConfigurationError: A value is not allowed, for example `max_interval` or `deadline` is less
            than `interval`, or `eager` is set with ``"backoff"``. The message lists every problem.
    """

    schedule: Literal["adaptive", "backoff"] = "adaptive"
    interval: float = 15.0
    growth: float = 1.25
    max_interval: float = 60.0
    jitter: float = 0.1
    deadline: float | None = 1200.0
    min_saving: float = 0.35
    eager: bool = False
    eager_interval: float = 2.0

    def __post_init__(self) -> None:
        rules = {
            'schedule must be "adaptive" or "backoff"': self.schedule in {"adaptive", "backoff"},
            "interval must be finite and above 0": 0 < self.interval < math.inf,
            f"growth must be from 1 to {MAX_GROWTH}": 1 <= self.growth <= MAX_GROWTH,
            "max_interval must be finite and at least interval": (
                self.interval <= self.max_interval < math.inf
            ),
            "jitter must be finite and not negative": 0 <= self.jitter < math.inf,
            "deadline must be finite and at least interval, or None for no limit": (
                self.deadline is None or self.interval <= self.deadline < math.inf
            ),
            "min_saving must be finite and not negative": 0 <= self.min_saving < math.inf,
            "eager_interval must be finite and above 0": 0 < self.eager_interval < math.inf,
            "eager_interval must be at most interval": not self.eager
            or self.eager_interval <= self.interval,
            'eager needs schedule="adaptive"': not self.eager or self.schedule == "adaptive",
        }
        if broken := [rule for rule, holds in rules.items() if not holds]:
            raise ConfigurationError("PollPolicy: " + "; ".join(broken))

    @property
    def not_found_grace(self) -> float:
        """Grace period in seconds, from the first 404 until a wait ends with a `TaskNotFoundError`.

        The wait goes on if the task is found in the meantime. The value is four times `interval`.
        """
        return NOT_FOUND_INTERVALS * self.interval

    def next_not_found_check(self, since: float, now: float) -> float:
        """Return the time of the next check of a task for which the server answered 404.

        Normally, this is `interval` seconds after `now`. If that check would be the last one in the
        grace period, return the end of the grace period instead. The grace period ends
        `not_found_grace` seconds after `since`.

        Args:
            since: When the first request of the current series of 404s was sent.
            now: The current time.
        """
        # The check at the end reports an unknown id without further delay.
        end, following = since + self.not_found_grace, now + self.interval
        return end if end - self.interval < following <= end else following

    def scaled(self, time_scale: float) -> PollPolicy:
        """Return a copy of the policy for a server whose time runs `time_scale` times as fast.

        All times are divided by `time_scale`, including `not_found_grace`.

        Raises:
            ConfigurationError: `time_scale` is not a finite number above 0.
        """
        if not 0.0 < time_scale < math.inf:
            raise ConfigurationError(f"time_scale must be finite and above 0, not {time_scale!r}")
        return msgspec.structs.replace(
            self,
            interval=self.interval / time_scale,
            max_interval=self.max_interval / time_scale,
            deadline=None if self.deadline is None else self.deadline / time_scale,
            min_saving=self.min_saving / time_scale,
            eager_interval=self.eager_interval / time_scale,
        )
