"""The adaptive schedule with tasks that are days old or past the deadline.

A *cohort* is a queue of tasks that the schedule treats alike. Cohorts compete for each request.
"""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from suno_async import Durations, PollPolicy
from suno_async._schedule.adaptive import AdaptiveSchedule
from suno_async._schedule.cohorts import LINE_PIECE
from suno_async._schedule.entry import Entry
from tests.unit.test_schedule import SPAN

DAY = 86_400.0


@pytest.mark.parametrize("deadline", [1200.0, None])
def test_ids_of_many_days_compete_as_one(deadline: float | None) -> None:
    """Tasks that are hours or days old are checked in order of insertion."""
    plan = AdaptiveSchedule[Entry](PollPolicy(deadline=deadline), Durations())
    count = 2 * LINE_PIECE + 10
    for n in range(count):
        plan.add(Entry(str(n), added_at=0.0, created_at=-DAY * (0.1 + n * 7919 % 100 / 10)), 0.0)
    assert plan.competing == 1
    order = [int(entry.task_id) for _ in range(count) if (entry := plan.pop(0.0))]
    assert order == list(range(count))
    assert plan.pop(0.0) is None
    assert plan.competing == 0


@pytest.mark.parametrize("deadline", [1200.0, None])
def test_cohorts_that_grow_old_make_room(deadline: float | None) -> None:
    """During a long overload, the number of competing cohorts is limited, and no task is lost."""
    plan = AdaptiveSchedule[Entry](PollPolicy(deadline=deadline), Durations())
    added, most = 0, 0
    wanted, promoted = dict[str, Entry](), list[Entry]()
    for second in range(9000):
        now = float(second)
        for _ in range(second % 2 + 1):
            wanted[str(added)] = entry = Entry(str(added), added_at=now, created_at=now)
            plan.add(entry, now)
            if added % 50 == 0:
                promoted.append(entry)
            added += 1
        if second % 100 == 0 and promoted:
            # Most of these entries were added long before.
            plan.promote(promoted.pop(0))
        if second % 10 == 0 and (popped := plan.pop(now)) is not None:
            del wanted[popped.task_id]
        most = max(most, plan.competing)
    horizon = 3600.0 if deadline is None else deadline
    assert most <= 2 * ((horizon + 15.0) / SPAN + 3)
    now = 9060.0
    while (popped := plan.pop(now)) is not None:
        del wanted[popped.task_id]
    assert all(entry.known_since > now - horizon - SPAN for entry in wanted.values())


def test_old_tasks_of_different_ages_do_not_block_each_other() -> None:
    """Without a deadline, an old task is checked again each time its age has doubled.

    A much older task that was added earlier does not delay these checks.
    """
    plan = AdaptiveSchedule[Entry](PollPolicy(deadline=None), Durations())
    for name, age in (("days", 5 * DAY), ("hours", DAY / 12)):
        plan.add(Entry(name, added_at=0.0, created_at=-age), 0.0)
    for _ in range(2):
        entry = plan.pop(0.0)
        assert entry is not None
        assert plan.defer(entry, 0.2)
    for name, due in (("hours", DAY / 12), ("hours", DAY / 4), ("hours", 7 * DAY / 12)):
        assert plan.next_due() == pytest.approx(due)
        entry = plan.pop(due)
        assert entry is not None
        assert entry.task_id == name
        plan.defer(entry, due + 0.2)


@pytest.mark.parametrize("deadline", [4 * 3600.0, DAY, 7 * DAY])
def test_a_long_deadline_does_not_delay_the_checks(deadline: float) -> None:
    """With a deadline of days, young tasks are checked as often as usual. The deadline holds."""
    plan = AdaptiveSchedule[Entry](PollPolicy(deadline=deadline), Durations(90.0))
    plan.add(Entry("t", added_at=0.0, created_at=0.0), 0.0)
    ages, more = [0.0], True
    while more:
        now = plan.next_due()
        assert now is not None
        if (entry := plan.pop(now)) is not None:
            ages.append(now)
            more = plan.defer(entry, now)
    assert all(later - age <= 60.0 for age, later in pairwise(ages) if age < 600.0)
    assert 0.0 <= ages[-1] - deadline <= SPAN


def test_a_failed_check_of_an_old_task_is_soon_tried_again() -> None:
    """Without a deadline, a failed check of an old task is repeated within a minute."""
    plan = AdaptiveSchedule[Entry](PollPolicy(deadline=None), Durations())
    plan.add(Entry("t", added_at=0.0, created_at=-5 * DAY), 0.0)
    for now in (0.0, 5 * DAY):
        entry = plan.pop(now)
        assert entry is not None
        if now:
            plan.retry(entry, now)
        else:
            plan.defer(entry, now)
    assert plan.pop(5 * DAY + 60.0) is not None


@pytest.mark.parametrize("created_at", [None, -DAY])
def test_discarded_from_a_line(created_at: float | None) -> None:
    """Old tasks and tasks of unknown age are checked, but not those that were discarded."""
    plan = AdaptiveSchedule[Entry](PollPolicy(), Durations())
    count = LINE_PIECE + 100
    entries = [Entry(str(n), added_at=0.0, created_at=created_at) for n in range(count)]
    for entry in entries:
        plan.add(entry, 0.0)
    plan.promote(entries[-5])
    for entry in entries[1:-10]:
        plan.discard(entry)
    order = [popped.task_id for _ in range(20) if (popped := plan.pop(0.0))]
    left = [entries[-5], entries[0], *entries[-10:-5], *entries[-4:]]
    assert order == [entry.task_id for entry in left]


def test_an_awaited_task_goes_before_a_thousand_old_ids() -> None:
    """A thousand tasks past their deadline do not delay a task that a caller awaits."""
    plan = AdaptiveSchedule[Entry](PollPolicy(), Durations())
    for n in range(1000):
        plan.add(Entry(str(n), added_at=0.0, created_at=-DAY), 0.0)
    plan.add(Entry("awaited", added_at=0.0, created_at=0.0, interactive=True), 0.0)
    alone = AdaptiveSchedule[Entry](PollPolicy(), Durations())
    alone.add(Entry("awaited", added_at=0.0, created_at=0.0, interactive=True), 0.0)
    asked = [entry.task_id for n in range(900) if (entry := plan.pop(n / 15))]
    # One request may be reserved for an old task.
    assert asked.index("awaited") / 15 <= (alone.next_due() or 0.0) + 2 / 15


@pytest.mark.parametrize("created_at", [None, 0.0])
def test_tasks_that_grow_old_keep_their_intervals(created_at: float | None) -> None:
    """Two checks of a task are 15 s apart, also if its creation time stays unknown for an hour."""
    plan = AdaptiveSchedule[Entry](PollPolicy(deadline=None), Durations())
    for n in range(30):
        plan.add(Entry(str(n), added_at=0.0, created_at=created_at), 0.0)
    asked = dict[str, float]()
    now, shortest = 20.0, math.inf
    while now < 3800.0:
        if (entry := plan.pop(now)) is not None:
            shortest = min(shortest, now - asked.get(entry.task_id, -math.inf))
            asked[entry.task_id] = now
            plan.defer(entry, now + 0.05)
        # At first, the checks are 0.5 s apart, so that not all tasks are due at the same time.
        now = max(now + (0.5 if now < 40.0 else 1 / 15), plan.next_due() or 0.0)
    assert len(asked) == 30
    assert shortest == pytest.approx(15.0)


def test_an_unknown_creation_time_does_not_falsify_what_is_learnt() -> None:
    """If the creation time is unknown, a task counts as running from the age 0 until it ended."""
    learnt = Durations()
    plan = AdaptiveSchedule[Entry](PollPolicy(), learnt)
    plan.add(Entry("t", added_at=0.0), 0.0)
    for now in (0.0, 30.0, 60.0):
        entry = plan.pop(now)
        assert entry is not None
        if now < 60.0:
            assert plan.defer(entry, now + 0.1)
        else:
            plan.settle(entry, 100.0)
    expected = Durations()
    expected.ended("", 0.0, 100.0)
    assert learnt.to_json() == expected.to_json()
