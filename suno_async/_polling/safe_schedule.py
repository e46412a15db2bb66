"""A schedule whose bugs cannot stop the polling. Pure.

Times are seconds on one monotonic clock of the caller's choice.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, ParamSpec, TypeVar

from suno_async._schedule.entry import E, Schedule

if TYPE_CHECKING:
    from collections.abc import Callable

#: At most this many restarts in this many seconds. A schedule that breaks more often than that does
#: more harm than an error that ends the waits.
MOST_RESTARTS = 3
RESTART_SPAN = 60.0

P = ParamSpec("P")
R = TypeVar("R")


class SafeSchedule(Generic[E]):
    """Passes calls on to a schedule, and survives every exception that it raises.

    After the first exception the broken schedule is not called any more. Until `restart` every
    method does nothing and returns what changes nothing: no entry is due, and each entry stays
    tracked. The caller then restarts it and adds its entries again.

    Attributes:
        failure: Why the schedule is not called any more; None while it works.
    """

    def __init__(
        self, make: Callable[[], Schedule[E]], on_failure: Callable[[Exception], None]
    ) -> None:
        """Start with a schedule of `make`; report each exception to `on_failure`."""
        self._make = make
        self._on_failure = on_failure
        self._schedule = make()
        self._restarts: deque[float] = deque(maxlen=MOST_RESTARTS)
        self.failure: Exception | None = None
        self._proven = True

    @property
    def price(self) -> float | None:
        """`Schedule.price`."""
        return self._call(None, lambda: self._schedule.price)

    def add(self, entry: E, now: float) -> bool:
        """`Schedule.add`. Return False if it raised."""
        if self.failure is None:
            self._call(None, self._schedule.add, entry, now)
            return self.failure is None
        return True

    def pop(self, now: float) -> E | None:
        """`Schedule.pop`."""
        return self._call(None, self._schedule.pop, now)

    def next_due(self) -> float | None:
        """`Schedule.next_due`."""
        return self._call(None, self._schedule.next_due)

    def defer(self, entry: E, now: float) -> bool:
        """`Schedule.defer`."""
        return self._call(True, self._schedule.defer, entry, now)  # noqa: FBT003 (what it returns)

    def retry(self, entry: E, now: float, at: float | None = None) -> bool:
        """`Schedule.retry`."""
        return self._call(True, self._schedule.retry, entry, now, at)  # noqa: FBT003 (as above)

    def settle(self, entry: E, duration: float | None) -> None:
        """`Schedule.settle`."""
        self._call(None, self._schedule.settle, entry, duration)

    def discard(self, entry: E) -> None:
        """`Schedule.discard`."""
        self._call(None, self._schedule.discard, entry)

    def promote(self, entry: E) -> None:
        """`Schedule.promote`. The entry is interactive afterwards in any case."""
        self._call(None, self._schedule.promote, entry)
        entry.interactive = True

    def fail(self, error: Exception) -> None:
        """Stop calling the schedule because of `error`."""
        self.failure = error
        self._on_failure(error)

    def prove(self) -> None:
        """Record that a poll was handled, unless the schedule failed meanwhile."""
        if self.failure is None:
            self._proven = True

    def restart(self, now: float) -> bool:
        """Start with a new, empty schedule.

        Return False if the last restarts did not help: there was one since the last poll that was
        handled, or there were `MOST_RESTARTS` within `RESTART_SPAN`. The next call restarts again.
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
