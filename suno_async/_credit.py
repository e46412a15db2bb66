"""What an account that has run out of credits may still ask. Pure."""

from __future__ import annotations

from suno_async.errors import InsufficientCreditsError

#: Seconds for which creates are refused here after the server refused one for want of credits: long
#: enough to spare the budget for polling, short enough that a top-up is noticed without being told.
PAUSE = 30.0


class CreditGate:
    """Refuses creates for a while after a 402, so that a loop of them costs no requests.

    Times are seconds on any one clock.
    """

    def __init__(self) -> None:
        self._closed_until = float("-inf")

    def check(self, now: float) -> None:
        """Raise `InsufficientCreditsError` while the gate is closed."""
        if now < self._closed_until:
            raise InsufficientCreditsError(
                402,
                f"refused a moment ago, so not sent for another {self._closed_until - now:.0f} s",
            )

    def refused(self, now: float) -> None:
        """The server refused a create for want of credits."""
        self._closed_until = now + PAUSE

    def saw_balance(self, balance: float) -> None:
        """The account was seen to hold so many credits."""
        if balance > 0:
            self._closed_until = float("-inf")
