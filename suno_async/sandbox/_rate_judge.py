"""The strict rate limit of the sandbox. No I/O."""

from __future__ import annotations

from collections import deque


class RateJudge:
    """Allows at most `limit` requests in any period of one second. Refused requests also count.

    Attributes:
        worst_window: Largest number of requests in any period of one second so far.
        refused: Number of requests refused so far.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._arrivals: deque[float] = deque()
        self.worst_window = 0
        self.refused = 0

    def allows(self, now: float) -> bool:
        """Count a request at `now` (monotonic seconds), and return whether it is allowed."""
        arrivals = self._arrivals
        while arrivals and arrivals[0] <= now - 1.0:
            arrivals.popleft()
        arrivals.append(now)
        self.worst_window = max(self.worst_window, len(arrivals))
        if len(arrivals) <= self._limit:
            return True
        self.refused += 1
        return False
