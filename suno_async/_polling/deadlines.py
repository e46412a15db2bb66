"""End overdue waits, even while no task can be checked.

A *wait* is one caller's wait for the result of a task. No task can be checked while all requests
are paused, or while the server does not reply.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from suno_async._polling.waiters import CHUNK, timeout_error
from suno_async._schedule.frame import LAST_TRIES, Frame

if TYPE_CHECKING:
    from collections.abc import Set  # noqa: PYI025 (read-only view)

    from suno_async._clock import Clock
    from suno_async._polling.waiters import Watched, WatchList
    from suno_async.policy import PollPolicy

#: A scan of this many entries is repeated after one interval at the earliest. A scan of fewer
#: entries may be repeated proportionally sooner, but not before a wait can be overdue. So scans use
#: at most about 1 % of the CPU, and only while no check is answered.
ENTRIES_PER_INTERVAL = 1_000_000


class DeadlineKeeper:
    """Ends waits that are overdue because no reply arrives.

    A *wait* is one caller's wait for the result of a task. If the task is still running at its
    deadline, a last status request normally ends the wait. But this request may get no reply.
    Therefore, this class ends the wait when two conditions are met:

    - The time for the last request and its retries is over (see `Frame.gives_up_at`).
    - For `PollPolicy.interval` seconds, no task record and no 404 of the API has arrived for any
      task. A 404 of a proxy does not count (see `APIError.understood`).

    A single loop scans all tasks for overdue waits, so there is no timer for each task.

    Args:
        watches: The watched tasks.
        policy: When to check tasks.
        clock: The clock.
        keeping: The entries whose final record has arrived and is being stored. Their waits are not
            overdue.

    Attributes:
        answered_at: Loop time when a task record or a 404 of the API was last handled. Other error
            replies do not count. When `run` starts, it sets this attribute to the current time.
    """

    def __init__(
        self, watches: WatchList, policy: PollPolicy, clock: Clock, keeping: Set[Watched]
    ) -> None:
        self._watches = watches
        self._keeping = keeping
        self._policy = policy
        self._frame = Frame(policy)
        self._clock = clock
        self.answered_at = clock.mono()

    async def run(self) -> None:
        """End overdue waits repeatedly. Return when no task is watched any more."""
        scanned_at, scan_at = -math.inf, 0.0
        self.answered_at = self._clock.mono()
        while self._watches:
            if self.answered_at > scanned_at:
                scan_at = self.answered_at + self._policy.interval
            if (wait := scan_at - self._clock.mono()) > 0:
                await asyncio.sleep(wait)
            else:
                scanned_at = self._clock.mono()
                scan_at = await self._end_overdue(scanned_at)

    async def _end_overdue(self, now: float) -> float:
        """End the waits that are overdue. Return the loop time of the next scan for such waits."""
        policy, entries = self._policy, self._watches.snapshot()
        # No task that is added after `now` is overdue before this time.
        earliest = now + LAST_TRIES * policy.interval
        for number, entry in enumerate(entries, 1):
            overdue_at = self._frame.gives_up_at(entry)
            if overdue_at > now:
                earliest = min(earliest, overdue_at)
            elif self._watches.holds(entry) and entry not in self._keeping:
                why = "last checks failed"
                if not entry.failures:
                    why = "last check was not sent or not answered"
                reason = f"past its deadline, and its {why}"
                self._watches.end(entry, timeout_error(entry, reason, self._clock))
            if number % CHUNK == 0:
                await asyncio.sleep(0)
        share = min(1.0, len(entries) / ENTRIES_PER_INTERVAL)
        return max(earliest, now + share * policy.interval)
