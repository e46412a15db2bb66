"""Circuit breaker of an account: fail fast for a while after a 401, 403 or 402. Pure.

Times are seconds on any monotonic clock, as long as the caller always uses the same one.
"""

from __future__ import annotations

import math

from suno_async.errors import AuthenticationError, InsufficientCreditsError

#: Seconds for which requests fail locally after a refusal. This is long enough to save the request
#: budget, and short enough that a user with a new key or new credits need not restart anything.
OPEN_FOR = 30.0


class CircuitBreaker:
    """Raises an error instead of sending a request that the server would refuse.

    A single 401 or 403 can be a passing fault of the server, so it only makes the key *suspected*.
    The breaker opens when a second request is refused too, if it was sent after the first refusal
    arrived. It closes after `OPEN_FOR` seconds. A 402 opens it at once, but only for creates.
    """

    def __init__(self) -> None:
        self._suspected_at: float | None = None
        self._accepted_at = -math.inf
        self._key_open_until = -math.inf
        self._credit_open_until = -math.inf

    @property
    def suspected(self) -> bool:
        """Whether the key was refused once, and no later reply has confirmed or disproved that."""
        return self._suspected_at is not None

    def check(self, now: float, *, spends: bool) -> None:
        """Raise the error that the server would return, if the breaker is open for the request.

        Args:
            now: The current time.
            spends: Whether the request costs credits.

        Raises:
            AuthenticationError: Two requests in a row were refused because of the key.
            InsufficientCreditsError: A create was refused because of a lack of credits.
        """
        if (refusal := self.refusal(now)) is not None:
            raise refusal
        if spends and now < self._credit_open_until:
            raise InsufficientCreditsError(402, _not_sent(self._credit_open_until - now))

    def refusal(self, now: float) -> AuthenticationError | None:
        """Return the error for every request; None if the key is not confirmed as refused."""
        if now >= self._key_open_until:
            return None
        return AuthenticationError(401, _not_sent(self._key_open_until - now))

    def doubts_key(self, now: float) -> bool:
        """Return whether the key is suspected, or confirmed as refused."""
        return self._suspected_at is not None or now < self._key_open_until

    def key_refused(self, sent_at: float, now: float) -> None:
        """Record that the reply to a request sent at `sent_at` was a 401 or 403."""
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

    def key_replaced(self) -> None:
        """Forget every refusal of the old key."""
        self._suspected_at = None
        self._key_open_until = -math.inf

    def clear_suspicion(self) -> None:
        """Ignore a single refusal that was not confirmed."""
        self._suspected_at = None

    def credit_refused(self, now: float) -> None:
        """Record that a create was refused because of a lack of credits."""
        self._credit_open_until = now + OPEN_FOR

    def lacks_credits(self, now: float) -> bool:
        """Return whether creates currently fail locally because of a lack of credits."""
        return now < self._credit_open_until

    def saw_balance(self, balance: float) -> None:
        """Record the balance in credits. If it is above 0, creates are sent again."""
        if balance > 0:
            self._credit_open_until = -math.inf


def _not_sent(seconds: float) -> str:
    return f"not sent: an earlier request was refused; requests are sent again in {seconds:.0f} s"
