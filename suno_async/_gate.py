"""What an account that was refused may still ask. Pure."""

from __future__ import annotations

from suno_async.errors import AuthenticationError, InsufficientCreditsError

#: Seconds for which requests are refused here after the server refused one: long enough to spare
#: the budget, short enough that a top-up, or a key made valid, is noticed without being told.
PAUSE = 30.0


class AccountGate:
    """Refuses for a while what the server would refuse, so that a loop of it costs no requests.

    After a 401 that is every request, after a 402 the creates. Times are seconds on any one clock.
    """

    def __init__(self) -> None:
        self._key_refused_until = float("-inf")
        self._credit_refused_until = float("-inf")

    def check(self, now: float, *, spends: bool) -> None:
        """Raise what the server would answer; `spends` tells that the request costs credits.

        Raises:
            AuthenticationError: The key was refused a moment ago.
            InsufficientCreditsError: There were not enough credits a moment ago.
        """
        if now < self._key_refused_until:
            raise AuthenticationError(401, _refused(self._key_refused_until - now))
        if spends and now < self._credit_refused_until:
            raise InsufficientCreditsError(402, _refused(self._credit_refused_until - now))

    def key_refused(self, now: float) -> None:
        """The server refused the key."""
        self._key_refused_until = now + PAUSE

    def credit_refused(self, now: float) -> None:
        """The server refused a create for want of credits."""
        self._credit_refused_until = now + PAUSE

    def saw_balance(self, balance: float) -> None:
        """The account was seen to hold so many credits."""
        if balance > 0:
            self._credit_refused_until = float("-inf")


def _refused(seconds: float) -> str:
    return f"refused a moment ago, so not sent for another {seconds:.0f} s"
