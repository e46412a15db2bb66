"""The circuit breaker of an account: after refusals, requests fail locally for a while. No I/O.

A refusal is a reply with the error code 401, 402 or 403. All times are seconds of the same
monotonic clock.
"""

from __future__ import annotations

import math

from suno_async.errors import AuthenticationError, InsufficientCreditsError

#: Seconds for which requests fail locally after a refusal. This is long enough to save the request
#: budget, and short enough that a user with a new key or new credits need not restart anything.
OPEN_FOR = 30.0


class CircuitBreaker:
    """Raises an error before a request is sent, if the server would probably refuse the request.

    The breaker raises errors while it is *open*. After a 402 (a lack of credits), it is open only
    for requests that cost credits. A 401 or 403 means that the server refused the key. After a
    single 401 or 403, the key is only *suspected*, because the server may have a temporary fault.
    While the key is suspected, a 401 or 403 in reply to a later request opens the breaker for all
    requests.

    The breaker closes `OPEN_FOR` seconds after the refusal that opened it. If a 401 or 403 opened
    it, a new key closes it earlier. If a 402 opened it, a balance above 0 closes it earlier.

    Attributes:
        suspected_at: When the key became suspected; None if it is not suspected.
    """

    def __init__(self) -> None:
        self.suspected_at: float | None = None
        self._accepted_at = -math.inf
        self._key_open_until = -math.inf
        self._key_code = 401
        self._credit_open_until = -math.inf

    def check(self, now: float, *, spends: bool) -> None:
        """Raise an error if the breaker is open for this kind of request.

        Args:
            now: The current time in seconds.
            spends: Whether the request costs credits.

        Raises:
            AuthenticationError: The server recently refused the key twice.
            InsufficientCreditsError: The request costs credits, and the server recently reported a
                lack of credits.
        """
        if now < self._key_open_until:
            raise self._refusal(now)
        if spends and now < self._credit_open_until:
            raise InsufficientCreditsError(402, _not_sent(self._credit_open_until - now))

    def refusal(self, now: float) -> AuthenticationError | None:
        """Return the error to raise if the breaker is open for all requests; otherwise None."""
        return self._refusal(now) if now < self._key_open_until else None

    def _refusal(self, now: float) -> AuthenticationError:
        return AuthenticationError(self._key_code, _not_sent(self._key_open_until - now))

    def doubts_key(self, now: float) -> bool:
        """Return whether the key is suspected, or the breaker is open because of the key."""
        return self.suspected_at is not None or now < self._key_open_until

    def key_refused(self, sent_at: float, now: float, code: int = 401) -> None:
        """Record a 401 or 403 that arrived at `now`, in reply to a request sent at `sent_at`.

        While the breaker is open, its errors have the `code` of the refusal that opened it.
        """
        if sent_at < self._accepted_at:
            return  # outdated: a request sent later was accepted
        if self.suspected_at is None:
            if now >= self._key_open_until:
                self.suspected_at = now
        elif sent_at >= self.suspected_at:
            self.suspected_at = None
            self._key_open_until = now + OPEN_FOR
            self._key_code = code

    def key_accepted(self, sent_at: float) -> None:
        """Record that the server accepted the key of a request sent at `sent_at`."""
        self._accepted_at = max(self._accepted_at, sent_at)
        if self.suspected_at is not None and sent_at >= self.suspected_at:
            self.suspected_at = None

    def key_replaced(self) -> None:
        """Forget all refusals of the old key, because the account has a new key."""
        self.suspected_at = None
        self._key_open_until = -math.inf

    def clear_suspicion(self) -> None:
        """Forget that the API key is suspected. If the breaker is open, it stays open."""
        self.suspected_at = None

    def credit_refused(self, now: float) -> None:
        """Record that the server refused a request because of a lack of credits."""
        self._credit_open_until = now + OPEN_FOR

    def lacks_credits(self, now: float) -> bool:
        """Return whether the breaker is open because of a lack of credits."""
        return now < self._credit_open_until

    def saw_balance(self, balance: float) -> None:
        """Record the balance in credits.

        If the balance is above 0, allow requests that cost credits again.
        """
        if balance > 0:
            self._credit_open_until = -math.inf


def _not_sent(seconds: float) -> str:
    return f"not sent: an earlier request was refused; try again in {math.ceil(seconds)} s"
