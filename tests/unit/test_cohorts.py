"""Tests of cohorts, without a clock.

An *entry* is a task in the schedule. A *cohort* is a queue of entries that have the same kind and
nearly the same age. The *head* of a cohort is its first entry.
"""

from __future__ import annotations

import itertools
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suno_async import Durations
from suno_async._schedule.cohorts import NEAR_END, Cohort
from suno_async._schedule.entry import Entry
from suno_async._schedule.fifo import Fifo
from suno_async._schedule.inspection import InspectionPlan


def seen(name: str, at: float | None, created_at: float = 0.0) -> Entry:
    """Return an entry that was last checked at the time `at`, or never if `at` is None."""
    entry = Entry(name, added_at=created_at, created_at=created_at)
    entry.asked_at = entry.seen_at = at
    return entry


def drained(cohort: Cohort[Entry]) -> list[str]:
    """Remove all entries of a cohort, and return their ids in the order of removal."""
    names: list[str] = []
    while (entry := cohort.first()) is not None:
        names.append(entry.task_id)
        cohort.take()
    return names


@given(
    joins=st.lists(
        st.tuples(st.one_of(st.none(), st.floats(0, 100)), st.booleans()), max_size=2 * NEAR_END
    )
)
def test_a_cohort_is_ordered_by_seen_at(joins: list[tuple[float | None, bool]]) -> None:
    """Tasks that were never found running come first. The others are ordered by `seen_at`."""
    cohort, kept = Cohort[Entry](("", False, 0), -1), list[Entry]()
    for n, (at, stays) in enumerate(joins):
        entry = seen(str(n), at)
        cohort.join(entry)
        if stays:
            kept.append(entry)
        else:
            entry.place = None
            cohort.discarded()
            entry.seen_at = 50.0  # Another cohort changes a discarded entry.
    kept.sort(key=lambda entry: -1.0 if entry.seen_at is None else entry.seen_at)
    assert drained(cohort) == [entry.task_id for entry in kept]


def test_an_early_request_joins_a_long_queue() -> None:
    """`Cohort.join` keeps entries in the order of their last checks, even if the cohort is long."""
    cohort = Cohort[Entry](("", False, 0), -1)
    for n in range(4 * NEAR_END):
        cohort.join(seen(str(n), float(n)))
    assert not cohort.join(seen("late", 20.5))
    assert drained(cohort)[20:22] == ["20", "late"]


@given(counts=st.lists(st.tuples(st.integers(0, 150), st.integers(0, 150)), max_size=10))
def test_fifo(counts: list[tuple[int, int]]) -> None:
    """A queue returns its entries in the order of insertion."""
    queue, expected, names = Fifo[Entry](), deque[str](), itertools.count()
    for put, take in counts:
        for _ in range(put):
            entry = seen(str(next(names)), None)
            entry.place = int(entry.task_id) % 2
            queue.append(entry)
            expected.append(entry.task_id)
        for _ in range(min(take, len(expected))):
            first = queue.first()
            assert first is not None
            assert first.task_id == expected.popleft()
            queue.drop_first()
        assert queue.size == len(expected)
    odd = queue.kept(1)
    for name in (each for each in expected if int(each) % 2):
        assert (first := odd.first()) is not None
        assert first.task_id == name
        odd.drop_first()
    assert odd.size == 0


PLAN = InspectionPlan(
    Durations().distribution(""),
    floor=15.0,
    horizon=1200.0,
    price=0.35,
    future_price=2.0,
    weight=1.0,
    steps=1200,
    slope_steps=10,
)


@pytest.mark.parametrize(
    ("created", "asked", "seen_at", "fits"),
    [
        (100.2, 160.2, 160.2, True),
        (100.2, None, None, False),
        (100.5, 160.2, 160.2, False),
        (100.2, 160.5, 160.2, False),
        # The last check failed. The check before it found the task running.
        (100.2, 160.2, 130.0, False),
        # The creation time is unknown, so the time when it was added counts: 100.0.
        (None, 160.2, 160.2, True),
    ],
)
def test_a_new_head_like_the_old_one(
    created: float | None, asked: float | None, seen_at: float | None, *, fits: bool
) -> None:
    """`Cohort.fits` returns True only if a new head is similar to the old head.

    The times of the creation, of the last check, and of the last check that found the task running
    must be nearly the same.
    """
    cohort = Cohort[Entry](("", False, 50), -1)
    old = seen("old", 160.0, 100.0)
    cohort.rank(old, PLAN, 0.0, 600.0)
    new = seen("new", seen_at, 100.0)
    new.created_at, new.asked_at = created, asked
    assert cohort.fits(new, 0.25) is fits
    if fits:
        before = cohort.urgency(200.0)
        cohort.rank(new, PLAN, 0.0, 600.0)
        assert cohort.urgency(200.0) == pytest.approx(before, rel=0.02)
