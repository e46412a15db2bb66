"""The strict judge of the request rate, and a count of every window. Pure."""

from __future__ import annotations

from collections import deque


class Judge:
    """At most `limit` requests in any sliding second; a refused request counts as well.

    Attributes:
        worst_window: The most requests seen in any one sliding second.
        refused: Requests answered 429.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._arrivals: deque[float] = deque()
        self.worst_window = 0
        self.refused = 0

    def allows(self, now: float) -> bool:
        """Count a request that arrives at `now` (seconds, monotonic), and judge it."""
        arrivals = self._arrivals
        while arrivals and arrivals[0] <= now - 1.0:
            arrivals.popleft()
        arrivals.append(now)
        self.worst_window = max(self.worst_window, len(arrivals))
        if len(arrivals) <= self._limit:
            return True
        self.refused += 1
        return False
