"""Circuit breaker of an account: fail fast for a while after a 401, 403 or 402. Pure.

Times are seconds on one monotonic clock of the caller's choice.
"""

from __future__ import annotations

import math

from suno_async.errors import AuthenticationError, InsufficientCreditsError

#: Seconds for which requests fail locally after a confirmed refusal. Long enough to spare the
#: request budget, short enough that a topped-up account or a repaired key is noticed by itself.
OPEN_FOR = 30.0


class CircuitBreaker:
    """Fails requests locally that the server would refuse.

    One 401 or 403 can be a passing fault of the server, so it only makes the key *suspected*. The
    breaker opens when a second request, sent after the first refusal arrived, is refused as well.
    It closes by itself after `OPEN_FOR` seconds. A 402 concerns creates alone.
    """

    def __init__(self) -> None:
        self._suspected_at: float | None = None
        self._accepted_at = -math.inf
        self._key_open_until = -math.inf
        self._credit_open_until = -math.inf

    @property
    def suspected(self) -> bool:
        """One request was refused, and no later one has confirmed or refuted it."""
        return self._suspected_at is not None

    def check(self, now: float, *, spends: bool) -> None:
        """Raise what the server would answer while the breaker is open.

        Args:
            now: The current time.
            spends: The request costs credits.

        Raises:
            AuthenticationError: Two requests in a row were refused for the key.
            InsufficientCreditsError: A create was refused for lack of credits.
        """
        if (refusal := self.refusal(now)) is not None:
            raise refusal
        if spends and now < self._credit_open_until:
            raise InsufficientCreditsError(402, _not_sent(self._credit_open_until - now))

    def refusal(self, now: float) -> AuthenticationError | None:
        """Return the error of every request while the key is confirmed as refused, else None."""
        if now >= self._key_open_until:
            return None
        return AuthenticationError(401, _not_sent(self._key_open_until - now))

    def key_refused(self, sent_at: float, now: float) -> None:
        """Record that a request sent at `sent_at` was answered with 401 or 403."""
        if sent_at < self._accepted_at:
            return  # outdated: a request sent later was accepted
        if self._suspected_at is None:
            if now >= self._key_open_until:
                self._suspected_at = now
        elif sent_at >= self._suspected_at:
            self._suspected_at = None
            self._key_open_until = now + OPEN_FOR

    def key_accepted(self, sent_at: float) -> None:
        """Record that the server accepted the key of a request sent at `sent_at`."""
        self._accepted_at = max(self._accepted_at, sent_at)
        if self._suspected_at is not None and sent_at >= self._suspected_at:
            self._suspected_at = None

    def clear_suspicion(self) -> None:
        """Forget a single refusal that could not be confirmed."""
        self._suspected_at = None

    def credit_refused(self, now: float) -> None:
        """Record that a create was refused for lack of credits."""
        self._credit_open_until = now + OPEN_FOR

    def lacks_credits(self, now: float) -> bool:
        """Return whether creates fail locally for lack of credits."""
        return now < self._credit_open_until

    def saw_balance(self, balance: float) -> None:
        """Record the account's balance in credits. Creates are sent again if it is above 0."""
        if balance > 0:
            self._credit_open_until = -math.inf


def _not_sent(seconds: float) -> str:
    return f"refused a moment ago, so not sent for another {seconds:.0f} s"
