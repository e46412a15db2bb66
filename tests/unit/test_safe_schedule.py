"""Tests of `SafeSchedule`. With it, polling survives exceptions of a schedule.

The tests do not wait: they pass the time as an argument to the schedule.
"""

from __future__ import annotations

import pytest

from suno_async import Durations, PollPolicy
from suno_async._polling.safe_schedule import MOST_RESTARTS, RESTART_SPAN, SafeSchedule
from suno_async._schedule.adaptive import AdaptiveSchedule
from suno_async._schedule.entry import Entry


class Stage:
    """Makes schedules for a `SafeSchedule`, and stores the errors that the `SafeSchedule` reports.

    Attributes:
        is_broken: Whether `make` raises an error.
        failures: The reported errors.
        made: The schedules made so far.
        safe: The `SafeSchedule`.
    """

    def __init__(self) -> None:
        self.is_broken = False
        self.failures: list[Exception] = []
        self.made: list[AdaptiveSchedule[Entry]] = []
        self.safe = SafeSchedule[Entry](self.make, self.failures.append)

    def make(self) -> AdaptiveSchedule[Entry]:
        """Return a new schedule. Raise `MemoryError` if `is_broken` is True."""
        if self.is_broken:
            raise MemoryError
        self.made.append(AdaptiveSchedule(PollPolicy(), Durations()))
        return self.made[-1]


def test_price_that_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a schedule's `price` fails, the error is reported, and `SafeSchedule.price` is None."""
    stage = Stage()
    stage.safe.add(Entry("a", added_at=0.0, created_at=0.0), 0.0)
    assert stage.safe.pop(100.0) is not None
    prices = [stage.safe.price]
    monkeypatch.delattr(stage.made[0], "price")
    prices.append(stage.safe.price)
    assert [price is None for price in prices] == [False, True]
    assert [type(each) for each in stage.failures] == [AttributeError]
    assert stage.safe.failure is stage.failures[0]


def test_failed_schedule_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """After an exception, no call is forwarded to the schedule until a restart."""
    stage, entry = Stage(), Entry("a", added_at=0.0)
    safe = stage.safe

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(AdaptiveSchedule, "add", broken)
        assert not safe.add(entry, 0.0)
    assert [type(each) for each in stage.failures] == [ZeroDivisionError]
    assert safe.add(entry, 0.0)
    assert safe.pop(0.0) is None
    assert safe.next_due() is None
    assert safe.defer(entry, 0.0)
    assert safe.retry(entry, 0.0)
    safe.settle(entry, 1.0)
    safe.discard(entry)
    safe.promote(entry)
    assert entry.interactive
    assert len(stage.failures) == 1
    assert safe.restart(0.0)
    assert safe.add(entry, 0.0)
    assert safe.pop(0.0) is entry


def test_restarts_that_do_not_help() -> None:
    """If a restarted schedule handles no poll before it fails, `restart` returns False once."""
    safe = Stage().safe
    safe.fail(TypeError())
    safe.settle(Entry("a", added_at=0.0), None)
    assert safe.restart(0.0)
    safe.fail(TypeError())
    assert not safe.restart(5.0)
    assert safe.restart(6.0)
    safe.settle(Entry("a", added_at=0.0), None)
    safe.fail(TypeError())
    assert safe.restart(7.0)


@pytest.mark.parametrize(("apart", "helps"), [(1.0, False), (RESTART_SPAN / 2, True)])
def test_too_many_restarts(apart: float, *, helps: bool) -> None:
    """A fourth `restart` within a minute returns False."""
    safe = Stage().safe
    for n in range(MOST_RESTARTS):
        safe.fail(TypeError())
        assert safe.restart(n * apart)
        safe.settle(Entry("a", added_at=0.0), None)
    safe.fail(TypeError())
    assert safe.restart(MOST_RESTARTS * apart) == helps


def test_schedule_that_cannot_be_made() -> None:
    """After a restart in which `make` raises an error, a later restart can still succeed."""
    stage = Stage()
    stage.is_broken = True
    stage.safe.fail(TypeError())
    assert stage.safe.restart(0.0)
    assert isinstance(stage.safe.failure, MemoryError)
    assert not stage.safe.restart(0.0)
    stage.is_broken = False
    assert stage.safe.restart(0.0)
    assert stage.safe.failure is None
