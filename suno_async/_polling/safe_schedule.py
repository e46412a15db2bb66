"""A wrapper for a schedule, so that polling survives exceptions of the schedule. No I/O.

A schedule decides when each task is checked. Times are seconds on a monotonic clock. The caller may
choose any such clock, but must always use the same clock.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, ParamSpec, TypeVar

from suno_async._schedule.entry import E, Schedule

if TYPE_CHECKING:
    from collections.abc import Callable

#: Greatest number of restarts within `RESTART_SPAN` seconds. If a schedule fails more often, ending
#: the waits with an error is better than polling erratically.
MOST_RESTARTS = 3
RESTART_SPAN = 60.0

P = ParamSpec("P")
R = TypeVar("R")


class SafeSchedule(Generic[E]):
    """Forwards calls to a schedule and catches every exception that the schedule raises.

    An *entry* represents one task in the schedule. An exception *stops* the schedule: no method of
    the schedule is called until `restart`. In the meantime, the methods of this class return
    neutral values: no entry is due, and no entry has reached its deadline. After a restart, the
    caller must add all entries again, except the entries that are still out: `pop` has returned
    them, and `defer`, `retry` or `settle` was not called yet. A later `defer` or `retry` puts those
    entries back. If `defer` or `retry` was called while the schedule was stopped, the caller must
    add the entry again.

    Attributes:
        failure: The exception that stopped the schedule; None while the schedule works.
    """

    def __init__(
        self, make: Callable[[], Schedule[E]], on_failure: Callable[[Exception], None]
    ) -> None:
        """Call `make` to create the first schedule.

        Args:
            make: Returns a new, empty schedule. `restart` calls it again.
            on_failure: Called with each exception that stops the schedule.
        """
        self._make = make
        self._on_failure = on_failure
        self._schedule = make()
        self._restarts: deque[float] = deque(maxlen=MOST_RESTARTS)
        self.failure: Exception | None = None
        # Whether a restart may help. False from a restart until the new schedule has handled the
        # reply to a poll.
        self._proven = True

    @property
    def price(self) -> float | None:
        """Seconds of waiting that one status request saves (see `Schedule.price`).

        None if the value is unknown, or while the schedule is stopped.
        """
        return self._call(None, lambda: self._schedule.price)

    def add(self, entry: E, now: float) -> bool:
        """Forward to `Schedule.add`. Return False if `Schedule.add` raises, otherwise True."""
        # The methods that every poll calls repeat the code of `_call`, because this is faster.
        if self.failure is None:
            try:
                self._schedule.add(entry, now)
            except Exception as error:  # noqa: BLE001 (as in `_call`)
                self.fail(error)
                return False
        return True

    def pop(self, now: float) -> E | None:
        """Forward to `Schedule.pop`. Return None while the schedule is stopped."""
        if self.failure is None:
            try:
                return self._schedule.pop(now)
            except Exception as error:  # noqa: BLE001 (as in `_call`)
                self.fail(error)
        return None

    def next_due(self) -> float | None:
        """Forward to `Schedule.next_due`. Return None while the schedule is stopped."""
        if self.failure is None:
            try:
                return self._schedule.next_due()
            except Exception as error:  # noqa: BLE001 (as in `_call`)
                self.fail(error)
        return None

    def defer(self, entry: E, now: float) -> bool:
        """Forward to `Schedule.defer`, and return its result.

        If the schedule is stopped or raises an exception, return True.
        """
        if self.failure is None:
            try:
                goes_on = self._schedule.defer(entry, now)
            except Exception as error:  # noqa: BLE001 (as in `_call`)
                self.fail(error)
            else:
                self._proven = True
                return goes_on
        return True

    def retry(self, entry: E, now: float, at: float | None = None) -> bool:
        """Forward to `Schedule.retry`, and return its result.

        If the schedule is stopped or raises an exception, return True.
        """
        return self._call(True, self._schedule.retry, entry, now, at)  # noqa: FBT003 (what it returns)

    def settle(self, entry: E, duration: float | None) -> None:
        """Forward to `Schedule.settle`. Do nothing while the schedule is stopped."""
        self._call(None, self._schedule.settle, entry, duration)
        if self.failure is None:
            self._proven = True

    def discard(self, entry: E) -> None:
        """Forward to `Schedule.discard`. Do nothing while the schedule is stopped."""
        if self.failure is None:
            try:
                self._schedule.discard(entry)
            except Exception as error:  # noqa: BLE001 (as in `_call`)
                self.fail(error)

    def promote(self, entry: E) -> None:
        """Forward to `Schedule.promote`.

        The entry becomes interactive (a caller now awaits its task) even if `Schedule.promote`
        raises, and even while the schedule is stopped.
        """
        self._call(None, self._schedule.promote, entry)
        entry.interactive = True

    def fail(self, error: Exception) -> None:
        """Stop the schedule because of `error`, and pass `error` to `on_failure`."""
        self.failure = error
        self._on_failure(error)

    def restart(self, now: float) -> bool:
        """Replace the schedule with a new, empty schedule, and return True.

        Keep the schedule and return False in two cases:

        - No `defer` or `settle` has succeeded since the last restart.
        - There were already `MOST_RESTARTS` restarts within the last `RESTART_SPAN` seconds.

        If a call returns False, the next call returns True. If the function `make` (see `__init__`)
        raises, return True, but keep the old schedule, which stays stopped.
        """
        restarts = self._restarts
        too_many = len(restarts) == MOST_RESTARTS and now - restarts[0] < RESTART_SPAN
        if too_many or not self._proven:
            restarts.clear()
            self._proven = True
            return False
        restarts.append(now)
        self._proven = False
        self.failure = None
        self._schedule = self._call(self._schedule, self._make)
        return True

    def _call(self, default: R, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        if self.failure is not None:
            return default
        try:
            return call(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 (a bug of any kind: it is logged and survived)
            self.fail(error)
            return default
