"""How requests are divided between two groups of tasks. No I/O."""

from __future__ import annotations


class FairShare:
    """Divides the requests between a preferred group of tasks and another group.

    For example, a task that a caller awaits separately is preferred to the tasks of a stream. Then
    this task does not wait behind ten thousand tasks of the stream. But the stream still receives
    some of the requests.

    Args:
        share: While both groups have tasks to check, at least one of every `share` consecutive
            requests is for the group that is not preferred.
    """

    __slots__ = ("_run", "_share")

    def __init__(self, share: int) -> None:
        self._share = share
        self._run = 0

    @property
    def is_turn_of_other(self) -> bool:
        """Whether the next request is reserved for the group that is not preferred.

        If this group has no task to check, the request may be for the preferred group.
        """
        return self._run >= self._share - 1

    def served(self, *, preferred: bool) -> None:
        """Record whether a request was for the preferred group."""
        self._run = self._run + 1 if preferred else 0
