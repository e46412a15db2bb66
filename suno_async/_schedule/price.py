"""How much waiting a request must save to be sent. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from suno_async._schedule.tuning import Tuning
    from suno_async.policy import PollPolicy


class RequestPrice:
    """The price of a request, in seconds of expected waiting.

    The price is the policy's `min_saving`. With an eager policy, it follows the load instead: it
    rises while tasks are due, and falls while a part of the budget is unused.

    Attributes:
        follows_load: Whether `adjust` must be called after each request.
        least: A request is sent only if it saves this much, in seconds.
        future: The order of the due tasks is calculated as if every later request saved this many
            seconds of waiting.
    """

    def __init__(self, policy: PollPolicy, tuning: Tuning) -> None:
        """Start at the price that `policy` sets. `tuning` is scaled to that policy."""
        self._tuning = tuning
        self.follows_load = policy.eager
        self.least = policy.min_saving
        self.future = tuning.future_saving
        if policy.eager:
            self._set(tuning.eager_saving)

    def adjust(self, *, is_idle: bool) -> None:
        """Adjust the price after a request. `is_idle` means that nothing else is due.

        The algorithm is dual ascent on the price of the shared budget.
        """
        tuning = self._tuning
        price = self.least * (1.0 + tuning.eager_gain * (tuning.eager_slack - is_idle))
        self._set(max(price, tuning.eager_saving_least))

    def _set(self, price: float) -> None:
        self.least, self.future = price, self._tuning.eager_future_factor * price
