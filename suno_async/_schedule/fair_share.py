"""How two classes of tasks share the requests. Pure."""

from __future__ import annotations


class FairShare:
    """Prefers one class of tasks, but gives one of every `share` requests to the other class.

    So an interactive task does not wait behind ten thousand bulk tasks, and no class can starve the
    other.

    Args:
        share: Out of every `share` consecutive requests, at least one goes to the class that is not
            preferred.
    """

    __slots__ = ("_run", "_share")

    def __init__(self, share: int) -> None:
        self._share = share
        self._run = 0

    @property
    def is_turn_of_other(self) -> bool:
        """Whether the next request belongs to the class that is not preferred."""
        return self._run >= self._share - 1

    def served(self, *, preferred: bool) -> None:
        """Record which class received a request."""
        self._run = self._run + 1 if preferred else 0
