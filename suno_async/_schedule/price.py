"""The price of a status request: how much waiting the request must save. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from suno_async._schedule.tuning import Tuning
    from suno_async.policy import PollPolicy


class RequestPrice:
    """The price of a request: how many seconds of expected waiting the request must save.

    The price is for bulk tasks. For an interactive task (a caller awaits this one task), the price
    divided by `Tuning.interactive_weight` is enough.

    Normally the price is the `min_saving` of the policy. If the policy sets `eager`, the price
    depends on the load. After each request, it rises if another task is due; otherwise it falls.

    Attributes:
        follows_load: Whether the price depends on the load. If so, call `adjust` after each
            request.
        least: The price. A request that saves less is sent only if it is due anyway, for example at
            the deadline.
        future: The seconds of waiting that every later request is assumed to save. This assumption
            is used to order the due tasks.
    """

    def __init__(self, policy: PollPolicy, tuning: Tuning) -> None:
        """Set the initial price. `tuning` must already be scaled to the interval of `policy`."""
        self._tuning = tuning
        self.follows_load = policy.eager
        self.least = policy.min_saving
        self.future = tuning.future_saving
        if policy.eager:
            self._set(tuning.eager_saving)

    def adjust(self, *, is_idle: bool) -> None:
        """Adjust the price after a request. `is_idle` is True if no other task is due."""
        # Dual ascent: the price is the dual variable of the request budget.
        tuning = self._tuning
        price = self.least * (1.0 + tuning.eager_gain * (tuning.eager_slack - is_idle))
        self._set(max(price, tuning.eager_saving_least))

    def _set(self, price: float) -> None:
        self.least, self.future = price, self._tuning.eager_future_factor * price
