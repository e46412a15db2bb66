"""The keys that a sandbox knows, and the credits behind them. Pure."""

from __future__ import annotations

import heapq

from suno_async.sandbox._refusals import Refusal


class Accounts:
    """Credits and state of every key.

    A create reserves the price of its job. A job that fails costs nothing: its reservation comes
    back at the moment it ends.
    """

    def __init__(self, credits_of: dict[str, float]) -> None:
        self._credits = credits_of
        self._disabled: set[str] = set()
        # When, whose, how many.
        self._refunds: list[tuple[float, str, float]] = []

    def check(self, key: str) -> None:
        """Raise `Refusal` unless `key` is known and enabled."""
        if not key:
            raise Refusal(401, "API key missing")
        if key not in self._credits:
            raise Refusal(401)
        if key in self._disabled:
            raise Refusal(403)

    def enable(self, key: str, *, enabled: bool) -> None:
        """Enable or disable a key.

        Raises:
            KeyError: The key is unknown.
        """
        if key not in self._credits:
            raise KeyError(key)
        if enabled:
            self._disabled.discard(key)
        else:
            self._disabled.add(key)

    def balance(self, key: str, now: float) -> float:
        """Return the credits of `key` at `now` (Unix seconds)."""
        while self._refunds and self._refunds[0][0] <= now:
            _, owner, price = heapq.heappop(self._refunds)
            self._credits[owner] += price
        return self._credits[key]

    def set_balance(self, key: str, now: float, credits: float) -> None:  # noqa: A002 (as above)
        """Set the credits of `key`; jobs that are still running may refund more later."""
        self.balance(key, now)
        self._credits[key] = credits

    def charge(self, key: str, now: float, price: float) -> None:
        """Take `price` from `key`, or raise `Refusal` if it holds less."""
        if self.balance(key, now) < price:
            raise Refusal(402)
        self._credits[key] -= price

    def refund(self, key: str, when: float, price: float) -> None:
        """Give `price` back to `key` at `when` (Unix seconds)."""
        heapq.heappush(self._refunds, (when, key, price))
