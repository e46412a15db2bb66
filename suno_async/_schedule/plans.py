"""The inspection plans of all kinds of job, recalculated as the client learns. No I/O.

An inspection plan says at which age a task is due, and how urgent its check is. Plans depend on the
learnt durations, the policy and the price of a request. The price is how many seconds of waiting a
request must save. Plans do not depend on single tasks, so each kind has only two plans. One is for
interactive tasks (a caller awaits each of them), the other for all other tasks.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from suno_async._schedule.inspection import InspectionPlan

if TYPE_CHECKING:
    from suno_async._schedule.durations import Durations
    from suno_async._schedule.frame import Frame
    from suno_async._schedule.price import RequestPrice
    from suno_async._schedule.tuning import Tuning

#: Share of the jobs of a kind that have ended by its typical age.
TYPICAL = 0.95


class InspectionPlans:
    """Calculates plans from learnt durations, caches them, and replaces outdated plans.

    Attributes:
        horizon: Greatest age at which tasks compete by age, in seconds: the deadline, or
            `Tuning.horizon` if there is no deadline.
        planned_to: Greatest age that plans cover, in seconds: the horizon, or less if the deadline
            is long.
        late_interval: Seconds between two checks of a task that is older than `planned_to`.
        price: How much waiting a request must save. A new plan uses the current value.
        revision: A number that rises each time plans are discarded; see `revised_since`.
    """

    def __init__(
        self, durations: Durations, frame: Frame, price: RequestPrice, tuning: Tuning
    ) -> None:
        """Start without plans. `plan` calculates a plan when it is first needed.

        Args:
            durations: The learnt durations of each kind of job.
            frame: The limits of the policy: the shortest interval and the deadline.
            price: How much waiting a request must save.
            tuning: The tuned constants, already scaled to the policy.
        """
        self._durations = durations
        self._frame = frame
        self._tuning = tuning
        self._plans: dict[tuple[str, bool], InspectionPlan] = {}
        self._typical: dict[str, float] = {}
        # For each kind with a plan, the number of observations at which the plan is recalculated.
        self._refit_at: dict[str, int] = {}
        self._next_refit = -math.inf
        self._revised: dict[str, int] = {}
        self.horizon = tuning.horizon if frame.deadline is None else frame.deadline
        # With a longer plan, its steps would be longer than the shortest interval.
        self.planned_to = min(self.horizon, max(tuning.horizon, tuning.grid_steps * frame.floor))
        self.late_interval = max(frame.max_interval, self.horizon / tuning.grid_steps)
        self.price = price
        self.revision = 0

    def plan(self, kind: str, *, interactive: bool) -> InspectionPlan:
        """Return an inspection plan for tasks of one kind of job.

        A call that makes a new plan takes some milliseconds.

        Args:
            kind: The kind of job.
            interactive: Whether the plan is for tasks that a caller awaits individually.
        """
        plan = self._plans.get((kind, interactive))
        if plan is None:
            tuning = self._tuning
            distribution = self._durations.distribution(kind)
            self._typical[kind] = distribution.quantile(TYPICAL)
            plan = self._plans[kind, interactive] = InspectionPlan(
                distribution,
                floor=self._frame.floor,
                horizon=self.planned_to,
                price=self.price.least,
                future_price=self.price.future,
                weight=tuning.interactive_weight if interactive else 1.0,
                steps=tuning.grid_steps,
                slope_steps=tuning.slope_steps,
            )
            seen = self._durations.observations(kind)
            fresh = min(max(tuning.refit_share * seen, tuning.refit_least), tuning.refit_most)
            self._refit_at[kind] = seen + int(fresh)
        return plan

    def typical_age(self, kind: str) -> float:
        """Return the age in seconds by which the share `TYPICAL` of the jobs of a kind has ended.

        Call `plan` for this kind first.
        """
        return self._typical[kind]

    def refit(self, now: float) -> None:
        """Discard the plans of one kind of job, so that they are calculated again.

        Choose a kind with enough new observations since its plans were made. If there is none, or
        if the previous search for one was less than `Tuning.refit_apart` seconds ago, do nothing.
        """
        if now < self._next_refit:
            return
        self._next_refit = now + self._tuning.refit_apart
        for kind, refit_at in self._refit_at.items():
            if self._durations.observations(kind) >= refit_at:
                break
        else:
            return
        for interactive in (False, True):
            self._plans.pop((kind, interactive), None)
        # Without this, a kind without tasks would be chosen again and again.
        self._refit_at[kind] = self._durations.observations(kind) + self._tuning.refit_least
        self.revision += 1
        self._revised[kind] = self.revision

    def revised_since(self, revision: int) -> list[str]:
        """Return the kinds of job whose plans were discarded since an earlier moment.

        `revision` is the value of the attribute `revision` at that moment.
        """
        return [kind for kind, last in self._revised.items() if last > revision]
