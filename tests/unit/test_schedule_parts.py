"""The parts of the schedules: constants, heap, fair share, limits, plans.

A plan says at which ages the tasks of one kind are checked. It is calculated from the learnt
durations. The price of a request is the waiting time that the request must save, in seconds.

The tests pass all times as arguments.
"""

from __future__ import annotations

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suno_async import ConfigurationError, Durations, PollPolicy
from suno_async._schedule.adaptive import AdaptiveSchedule
from suno_async._schedule.backoff import BackoffSchedule
from suno_async._schedule.entry import Entry, Schedule
from suno_async._schedule.fair_share import FairShare
from suno_async._schedule.frame import LAST_TRIES, Frame
from suno_async._schedule.lazy_heap import LazyHeap
from suno_async._schedule.plans import InspectionPlans
from suno_async._schedule.price import RequestPrice
from suno_async._schedule.tuning import DEFAULT_INTERVAL, Tuning


class Item:
    """An item of a heap."""

    place: int | None = None


def test_tuning_at_the_default_interval() -> None:
    """At the default `interval` of a `PollPolicy`, `Tuning.scaled` changes no constant."""
    assert PollPolicy().interval == DEFAULT_INTERVAL
    assert Tuning().scaled(DEFAULT_INTERVAL) == Tuning()


def test_tuning_scales_seconds_only() -> None:
    """With twice the polling interval, only the constants in seconds change: they double."""
    default, doubled = Tuning(), Tuning().scaled(2 * DEFAULT_INTERVAL)
    changed = {
        name
        for name in Tuning.__struct_fields__
        if getattr(doubled, name) != getattr(default, name)
    }
    assert changed == {
        *("cohort_span", "rerank_every", "future_saving", "patience", "horizon", "refit_apart"),
        *("eager_saving", "eager_saving_least"),
    }
    assert all(getattr(doubled, name) == 2 * getattr(default, name) for name in changed)


@pytest.mark.parametrize("factor", [0.01, 0.5, 2.0])
@pytest.mark.parametrize("name", Tuning.__struct_fields__)
def test_tuning_varied(name: str, factor: float) -> None:
    """`Tuning.varied` changes one constant and keeps its type and sign."""
    tuning = Tuning().varied(name, factor)
    before, after = getattr(Tuning(), name), getattr(tuning, name)
    assert type(after) is type(before)
    assert after > 0
    assert msgspec.structs.replace(tuning, **{name: before}) == Tuning()
    plan = AdaptiveSchedule[Entry](PollPolicy(), Durations(), tuning)
    for n in range(20):
        plan.add(Entry(str(n), added_at=0.0, created_at=-4.0 * n, interactive=n % 5 == 0), 0.0)
    names = {entry.task_id for n in range(100) if (entry := plan.pop(100.0 + n / 15))}
    assert names == {str(n) for n in range(20)}


def test_tuning_is_used() -> None:
    """With `bulk_share=2`, every second request is for a task that is not interactive."""
    plan = AdaptiveSchedule[Entry](PollPolicy(), Durations(), Tuning(bulk_share=2))
    for n in range(4):
        plan.add(Entry(f"bulk{n}", added_at=0.0), 0.0)
        plan.add(Entry(f"awaited{n}", added_at=0.0, interactive=True), 0.0)
    order = [entry.interactive for _ in range(4) if (entry := plan.pop(0.0))]
    assert order == [True, False, True, False]


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["push", "push", "pop", "remove", "rekey"]),
            st.integers(0, 5),
            st.integers(0, 9),
        ),
        max_size=60,
    )
)
def test_lazy_heap(steps: list[tuple[str, int, int]]) -> None:
    """After every operation, `first` returns the item with the least key."""
    heap = LazyHeap[Item](itertools.count())
    items = [Item() for _ in range(6)]
    # For each item in the heap: its key, and the step at which it was pushed.
    model: dict[int, tuple[float, int]] = {}
    for step, (what, number, key) in enumerate(steps):
        if what == "push":
            heap.push(items[number], key)
            model[number] = key, step
        elif what == "remove":
            items[number].place = None
            model.pop(number, None)
        elif what == "rekey":
            model = {n: (-old, pushed) for n, (old, pushed) in model.items()}
            keys = {items[n]: new for n, (new, _) in model.items()}
            assert set(heap.rekey(keys.__getitem__)) == set(keys)
        first = min(model, key=lambda n: model[n], default=None)
        assert heap.first() is (None if first is None else items[first])
        assert heap.first_key() == (None if first is None else model[first][0])
        if what == "pop":
            popped = heap.pop_up_to(key)
            if first is not None and model[first][0] <= key:
                assert popped is items[first]
                assert items[first].place is None
                del model[first]
            else:
                assert popped is None


def test_lazy_heaps_that_share_numbers() -> None:
    """If two heaps share `numbers`, pushing an item to one heap removes it from the other."""
    numbers = itertools.count()
    one, other, item = LazyHeap[Item](numbers), LazyHeap[Item](numbers), Item()
    one.push(item, 1.0)
    other.push(item, 2.0)
    assert one.first() is None
    assert other.first() is item


def test_fair_share() -> None:
    """With `FairShare(4)`, every fourth request is for the group that is not preferred."""
    share, order = FairShare(4), list[bool]()
    for _ in range(8):
        preferred = not share.is_turn_of_other
        share.served(preferred=preferred)
        order.append(preferred)
    assert order == [True, True, True, False] * 2
    assert FairShare(1).is_turn_of_other


def test_frame_gives_up() -> None:
    """`gives_up_at` is `LAST_TRIES` poll intervals after the time when the last check is due."""
    frame = Frame(PollPolicy(deadline=200.0))
    young = Entry("t", added_at=50.0, created_at=40.0)
    old = Entry("t", added_at=1000.0, created_at=0.0)
    assert frame.gives_up_at(young) == 240.0 + LAST_TRIES * 15.0
    assert frame.gives_up_at(old) == 1015.0 + LAST_TRIES * 15.0


def test_discarded_plans() -> None:
    """`revised_since(n)` returns the kinds whose plans were discarded since `revision` was n."""
    policy, durations, tuning = PollPolicy(), Durations(), Tuning()
    plans = InspectionPlans(durations, Frame(policy), RequestPrice(policy, tuning), tuning)
    before = {kind: plans.plan(kind, interactive=False) for kind in ("a", "b")}
    typical, revisions = plans.typical_age("a"), [plans.revision]
    for now, kind in ((10.0, "a"), (20.0, "b")):
        for _ in range(100):
            durations.ended(kind, 0.0, 60.0)
        plans.refit(now)
        revisions.append(plans.revision)
    assert sorted(plans.revised_since(revisions[0])) == ["a", "b"]
    assert plans.revised_since(revisions[1]) == ["b"]
    assert plans.revised_since(revisions[2]) == []
    for kind, plan in before.items():
        assert plans.plan(kind, interactive=False) is not plan
    assert plans.typical_age("a") < typical


def test_refits_are_apart() -> None:
    """`InspectionPlans.refit` discards plans at most once in two seconds, even if many jobs end."""
    policy, durations, tuning = PollPolicy(), Durations(), Tuning()
    plans = InspectionPlans(durations, Frame(policy), RequestPrice(policy, tuning), tuning)
    revised = list[float]()
    for tenth in range(100):
        plans.plan("", interactive=False)
        for _ in range(400):
            durations.ended("", 0.0, 60.0)
        before = plans.revision
        plans.refit(tenth / 10)
        if plans.revision > before:
            revised.append(tenth / 10)
    assert revised == [0.0, 2.0, 4.0, 6.0, 8.0]


def test_price_of_an_eager_policy() -> None:
    """An eager policy raises the price after a request if another task is due, else lowers it."""
    price = RequestPrice(PollPolicy(eager=True), Tuning())
    start = price.least
    price.adjust(is_idle=False)
    assert price.least > start
    for _ in range(1000):
        price.adjust(is_idle=True)
    assert price.least == Tuning().eager_saving_least
    assert price.future == Tuning().eager_future_factor * price.least


@pytest.mark.parametrize("time_scale", [0.0, -1.0, float("nan"), float("inf")])
def test_scale_is_checked(time_scale: float) -> None:
    """A time scale that is not a finite number above 0 raises `ConfigurationError`."""
    with pytest.raises(ConfigurationError):
        PollPolicy().scaled(time_scale)


def test_scaled_times() -> None:
    """`scaled` divides all times in a policy by the scale, including `not_found_grace`."""
    policy, scaled = PollPolicy(eager=True), PollPolicy(eager=True).scaled(10.0)
    times = {"interval", "max_interval", "deadline", "min_saving", "eager_interval"}
    for name in PollPolicy.__struct_fields__:
        value = getattr(policy, name)
        assert getattr(scaled, name) == (value / 10.0 if name in times else value)
    assert scaled.not_found_grace == policy.not_found_grace / 10.0
    assert PollPolicy(deadline=None).scaled(10.0).deadline is None


@pytest.mark.parametrize("deadline", [600.0, None])
@pytest.mark.parametrize("kind", ["adaptive", "backoff", "eager"])
def test_scaled_policy(kind: str, deadline: float | None) -> None:
    """If the policy and the durations are divided by a factor, the times of all checks are too."""
    policy = PollPolicy(deadline=deadline, jitter=0.0)
    if kind == "backoff":
        policy = msgspec.structs.replace(policy, schedule="backoff")
    elif kind == "eager":
        policy = msgspec.structs.replace(policy, eager=True)
    assert checks(policy.scaled(4.0), 4.0) == pytest.approx(
        [time / 4.0 for time in checks(policy, 1.0)]
    )


def checks(policy: PollPolicy, time_scale: float) -> list[float]:
    """Return the times of up to 100 checks of a task that never ends.

    An adaptive schedule assumes a median duration of 90 s divided by `time_scale`.
    """
    plan: Schedule[Entry]
    if policy.schedule == "backoff":
        plan = BackoffSchedule(policy, lambda: 0.0)
    else:
        plan = AdaptiveSchedule(policy, Durations(90.0 / time_scale))
    entry = Entry("t", added_at=0.0, created_at=0.0)
    plan.add(entry, 0.0)
    times: list[float] = []
    while len(times) < 100 and (due := plan.next_due()) is not None:
        if plan.pop(due) is not None:
            times.append(due)
            plan.defer(entry, due)
    return times
