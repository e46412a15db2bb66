"""The tuned constants of the schedules, in one place. No I/O."""

from __future__ import annotations

from typing import Annotated

import msgspec

#: The interval for which `Tuning` states its times: the default of `PollPolicy.interval`.
DEFAULT_INTERVAL = 15.0

#: A time in seconds that is proportional to the policy's interval.
Seconds = Annotated[float, msgspec.Meta(extra={"unit": "seconds"})]


class Tuning(msgspec.Struct, frozen=True, kw_only=True):
    """Constants that the API contract does not specify. They are based on experiment or judgement.

    Fields of type `Seconds` are for the default polling interval of 15 s. `scaled` adapts them to
    another interval. The other fields are counts and ratios, which do not depend on the interval.

    The comment on each field explains the field and its value.
    """

    # --- The order of the tasks that are due ---

    #: Tasks of one kind that were created within this time share a cohort. A plan's ages are one
    #: second apart at the default deadline, so 2 s lose little precision, and 600 cohorts cover all
    #: ages up to that deadline. A longer span makes decisions cheaper and deadline checks later.
    cohort_span: Seconds = 2.0

    #: A due task's urgency is calculated again after this time. An urgency hardly changes within a
    #: quarter of a second, in which four requests are sent.
    rerank_every: Seconds = 0.25

    #: After a request, a cohort keeps its place in the order at most this many times in a row, if
    #: its next task is nearly as urgent. Then its place is calculated again, so that equally urgent
    #: cohorts take turns. 15 requests take a second, so a turn is short compared with an interval.
    #: With half or twice the value, turns are half or twice as long, and the CPU time of a poll
    #: changes by less than 1 %.
    kept_most: int = 15

    #: If more cohorts than this are due, urgencies are calculated again proportionally less often,
    #: so that the cost of a decision stays the same. With that many due tasks, urgencies that are
    #: half a second old have no visible effect. With a million tasks, a decision costs 20 % less at
    #: half of this value and 50 % more at twice this value. In both cases, each mean delay of the
    #: benchmark changes by less than 0.1 %.
    rerank_most: int = 200

    #: The waiting that a later request is assumed to save when the due tasks are ordered. A
    #: moderate value works both when the budget is short and when it is idle (see `inspection`).
    future_saving: Seconds = 2.0

    #: One second of waiting for an interactive task counts as this many seconds for a bulk task.
    #: A person notices every second; the value is a judgement.
    interactive_weight: float = 50.0

    #: While interactive tasks and bulk tasks are due, at least one of this many requests goes to a
    #: bulk task. So interactive tasks cannot starve bulk tasks. In the same way, one of this many
    #: requests goes to a retry for which the caller set the time (`at` of `Schedule.retry`). The
    #: value is a judgement.
    bulk_share: int = 4

    #: After this time without a check, impatience adds 1 to the urgency of a task. That equals the
    #: urgency of a task that has certainly ended. Impatience grows with the square of the time, so
    #: it hardly counts during the usual intervals and still prevents starvation in an overload.
    patience: Seconds = 600.0

    # --- The inspection plans ---

    #: If the policy sets no deadline, plans cover ages up to this one. Older tasks are checked
    #: each time their age has doubled. An hour is three times the default deadline.
    horizon: Seconds = 3600.0

    #: Number of steps into which a plan divides the ages up to its horizon: steps of one second at
    #: the default deadline. The time to calculate a plan grows in proportion.
    grid_steps: int = 1200

    #: The slope of the future cost is calculated over this many steps of the grid. This smooths the
    #: noise of an estimated distribution; more steps would blur narrow peaks.
    slope_steps: int = 6

    # --- Learning ---

    #: A distribution is estimated again once the new observations are this share of the earlier
    #: ones. Fewer new observations change it little. The next two constants limit the number of new
    #: observations that are required. All three values are judgements.
    refit_share: float = 0.125

    #: The least number of new observations that is required. Fewer would mostly add noise.
    refit_least: int = 16

    #: The greatest number of new observations that is required. A change in the service must be
    #: noticed after a few hundred replies, however many came before.
    refit_most: int = 300

    #: The shortest time between two decisions to estimate a distribution again, for all kinds of
    #: job together. An estimate takes some milliseconds, so this limits the share of the CPU time
    #: that estimates use.
    refit_apart: Seconds = 2.0

    #: After a new estimate, each call of `pop` places at most this many cohorts again while tasks
    #: are due. This takes about a millisecond.
    placed_at_once: int = 100

    #: Each call of `pop` moves at most this many entries that have become due into their cohorts
    #: while other tasks are due. This takes some tenths of a millisecond.
    joined_at_once: int = 100

    # --- The eager policy ---

    #: The saving that an eager policy requires from a request at the start. Later, the required
    #: saving follows the load. It starts low, so that a single task is checked often from the
    #: beginning.
    eager_saving: Seconds = 0.05

    #: The least saving that an eager policy ever requires. It is above zero, because a relative
    #: adjustment could not raise the required saving from zero.
    eager_saving_least: Seconds = 0.01

    #: What an eager policy assumes a later request to save, as a multiple of the required saving.
    eager_future_factor: float = 1.5

    #: The required saving is adjusted until nothing else is due after this share of the requests.
    #: This part of the budget stays free for tasks that become due next.
    eager_slack: float = 0.02

    #: Largest relative change of the required saving by one request. At 15 requests a second, the
    #: required saving can fall by a quarter in a second, so an idle budget is soon used.
    eager_gain: float = 0.02

    # --- Statistics ---

    #: The reported price is an exponential mean over about this many requests: a few seconds of
    #: the budget. It influences no decision.
    price_span: float = 50.0

    def scaled(self, interval: float) -> Tuning:
        """Return a copy whose times are adapted to a polling interval of `interval` seconds."""
        times = {
            name: getattr(self, name) / DEFAULT_INTERVAL * interval for name in _names_of_seconds()
        }
        return msgspec.structs.replace(self, **times)

    def varied(self, name: str, factor: float) -> Tuning:
        """Return a copy in which the constant `name` is multiplied by `factor`.

        If the constant is a whole number, the product is rounded, and is at least 1.
        """
        value = getattr(self, name)
        changed = max(1, round(value * factor)) if isinstance(value, int) else value * factor
        return msgspec.structs.replace(self, **{name: changed})


def _names_of_seconds() -> list[str]:
    return [field.name for field in msgspec.structs.fields(Tuning) if field.type == Seconds]


#: The constants that every schedule uses unless it is given others.
DEFAULT_TUNING = Tuning()
