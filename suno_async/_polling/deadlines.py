"""Ends waits on time while no task can be checked."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from suno_async._polling.waiters import CHUNK
from suno_async._schedule.frame import LAST_TRIES, Frame

if TYPE_CHECKING:
    from collections.abc import Callable

    from suno_async._clock import Clock
    from suno_async._polling.waiters import Watched, WatchList
    from suno_async.errors import SunoError
    from suno_async.policy import PollPolicy

#: A scan of so many entries is repeated after one interval, of fewer entries sooner in proportion.
#: So scans take about one percent of the CPU at most, and only while no check is answered.
ENTRIES_PER_INTERVAL = 1_000_000


class DeadlineKeeper:
    """Ends waits whose deadline passes while the account is paused or the server is silent.

    Normally the last check of a task ends its waits. Here the waits end that cannot get it: no
    check was answered for an interval, and the time for the last check and its retries is over. One
    asyncio task looks through all entries, instead of one timer for each.

    Attributes:
        answered_at: Loop time of the last answer about a task, a 404 included. The poller sets it.
    """

    def __init__(
        self,
        watches: WatchList,
        policy: PollPolicy,
        clock: Clock,
        timeout_of: Callable[[Watched, str], SunoError],
    ) -> None:
        self._watches = watches
        self._policy = policy
        self._frame = Frame(policy)
        self._clock = clock
        self._timeout_of = timeout_of
        self.answered_at = clock.mono()

    async def run(self) -> None:
        """End overdue waits until nobody waits any more, or for ever without a deadline."""
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
        """End what is overdue; return when to look again."""
        policy, entries = self._policy, self._watches.snapshot()
        # A task that is added from now on is not overdue before this.
        earliest = now + LAST_TRIES * policy.interval
        for number, entry in enumerate(entries, 1):
            overdue_at = self._frame.gives_up_at(entry)
            if overdue_at > now:
                earliest = min(earliest, overdue_at)
            elif self._watches.holds(entry):
                why = "last checks failed" if entry.failures else "last check could not be made"
                reason = f"past its deadline, and its {why}"
                self._watches.end(entry, self._timeout_of(entry, reason))
            if number % CHUNK == 0:
                await asyncio.sleep(0)
        share = min(1.0, len(entries) / ENTRIES_PER_INTERVAL)
        return max(earliest, now + share * policy.interval)
