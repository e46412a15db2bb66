"""The API keys of a sandbox, and the credits of each key. No I/O."""

from __future__ import annotations

import heapq

from suno_async.sandbox._refusals import Refusal


class Accounts:
    """The credits of every API key, and whether the key is enabled.

    A job that fails costs nothing, because its price is refunded when the job ends.

    Args:
        credits_of: A dictionary that maps each key to its credits.
    """

    def __init__(self, credits_of: dict[str, float]) -> None:
        self._credits = credits_of
        self._disabled: set[str] = set()
        #: Heap of (Unix time, key, credits).
        self._refunds: list[tuple[float, str, float]] = []

    def check(self, key: str) -> None:
        """Raise `Refusal` if a key is empty, unknown or disabled."""
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
        """Return the credits of a key at `now` (Unix seconds)."""
        while self._refunds and self._refunds[0][0] <= now:
            _, owner, price = heapq.heappop(self._refunds)
            self._credits[owner] += price
        return self._credits[key]

    def set_balance(self, key: str, now: float, credits: float) -> None:  # noqa: A002 (the contract's word)
        """Set the credits of a key. Later refunds of failed jobs are added to this value."""
        self.balance(key, now)
        self._credits[key] = credits

    def charge(self, key: str, now: float, price: float) -> None:
        """Subtract `price` from the credits of a key. Raise `Refusal` if the key has too few."""
        if self.balance(key, now) < price:
            raise Refusal(402)
        self._credits[key] -= price

    def refund(self, key: str, when: float, price: float) -> None:
        """Add `price` to the credits of a key as soon as the Unix time `when` is reached."""
        heapq.heappush(self._refunds, (when, key, price))
