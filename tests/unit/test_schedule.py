"""The times of checks in the schedules. The tests pass the time as an argument.

An *interactive* task is awaited by a caller. All other tasks are *bulk* tasks. A *cohort* is a
queue of tasks of one kind that were created in the same period of `SPAN` seconds. The *price* of a
request is the waiting time that the request saves, in seconds.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suno_async import Durations, PollPolicy
from suno_async._schedule.adaptive import AdaptiveSchedule
from suno_async._schedule.backoff import BackoffSchedule
from suno_async._schedule.entry import Entry, Schedule
from suno_async._schedule.tuning import Tuning
from suno_async._transport.exchange import retry_delay

if TYPE_CHECKING:
    from collections.abc import Callable


Kind = Literal["adaptive", "backoff"]


KINDS: tuple[Kind, ...] = ("adaptive", "backoff")


def make(policy: PollPolicy, draw: float = 0.0) -> Schedule[Entry]:
    """Return a schedule for a policy.

    With backoff, `draw` replaces the random number (0 to 1) of the jitter.
    """
    if policy.schedule == "backoff":
        return BackoffSchedule(policy, lambda: draw)
    return AdaptiveSchedule(policy, Durations())


#: Length in seconds of the periods into which the adaptive schedule divides time. Tasks that were
#: created in the same period count as equally old.
SPAN = Tuning().cohort_span


each_kind = pytest.mark.parametrize("kind", KINDS)


def follow(plan: Schedule[Entry], entry: Entry, running: Callable[[float], bool]) -> list[float]:
    """Check one task until it has ended or no check is left. Return the times of its checks.

    `running(time)` returns whether the task still runs at this time.
    """
    plan.add(entry, entry.added_at)
    times: list[float] = []
    while (due := plan.next_due()) is not None:
        if plan.pop(due) is None:
            continue
        times.append(due)
        if not running(due) or not plan.defer(entry, due):
            break
    return times


@each_kind
def test_first_check(kind: Kind) -> None:
    """A new task is not checked in its first 15 s."""
    plan = make(PollPolicy(schedule=kind))
    plan.add(Entry("new", added_at=100.0, created_at=100.0), 100.0)
    assert plan.pop(114.9) is None
    assert 115.0 <= (plan.next_due() or 0) <= 160.0
    plan.add(Entry("old", added_at=100.0), 100.0)
    popped = plan.pop(100.0)
    assert popped is not None
    assert popped.task_id == "old"


def test_backoff_intervals_grow() -> None:
    """With backoff, the interval between checks grows by 25 % each time, from 15 s to 60 s."""
    plan = make(PollPolicy(schedule="backoff"))
    times = follow(plan, Entry("t", added_at=0.0, created_at=0.0), lambda _: True)
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert times[0] == 15.0
    assert gaps[:3] == [15.0, 18.75, 23.4375]
    assert max(gaps[:-1]) == 60.0
    assert times[-1] == 1200.0


def test_adaptive_asks_when_it_is_worth_it() -> None:
    """A task is checked rarely at first, and often when it is likely to end."""
    durations = Durations()
    for n in range(500):
        durations.ended("song", 0.0, 180.0 + n % 41)
    plan = AdaptiveSchedule[Entry](PollPolicy(), durations)
    entry = Entry("t", added_at=0.0, created_at=0.0, kind="song")
    times = follow(plan, entry, lambda now: now < 215.0)
    assert sum(time < 175.0 for time in times) <= 3
    late = [time for time in times if time >= 175.0]
    assert all(14.9 <= b - a <= 20.0 for a, b in itertools.pairwise(late))
    assert 215.0 <= times[-1] <= 231.0


def test_adaptive_backs_off_in_the_tail_and_asks_at_the_deadline() -> None:
    """A task that runs longer than usual is rarely checked, but it is checked at its deadline."""
    durations = Durations()
    for n in range(500):
        durations.ended("", 0.0, 60.0 + n % 41)
        if n % 25 == 0:
            durations.still_running("", 0.0, 1200.0)
    entry = Entry("t", added_at=0.0, created_at=0.0)
    times = follow(AdaptiveSchedule(PollPolicy(), durations), entry, lambda _: True)
    assert 1200.0 <= times[-1] <= 1200.0 + SPAN
    gaps = [b - a for a, b in itertools.pairwise(times) if b > 200.0]
    assert min(gaps[1:]) >= 40.0
    assert max(gaps) <= 300.0


def test_eager_goes_below_the_advice_while_idle() -> None:
    """An eager policy checks a single task every 2 to 4 s near the likely end of the task."""
    plan = AdaptiveSchedule[Entry](PollPolicy(eager=True), Durations())
    times = follow(plan, Entry("t", added_at=0.0, created_at=0.0), lambda now: now < 120.0)
    gaps = [b - a for a, b in itertools.pairwise(times) if a > 60.0]
    assert min(gaps) >= 2.0
    assert max(gaps) <= 4.0


@each_kind
def test_awaited_first_but_not_alone(kind: Kind) -> None:
    """Interactive tasks are checked first, but every fourth request is for a bulk task.

    A task is *interactive* if a caller awaits this one task. All other tasks are *bulk* tasks.
    """
    plan = make(PollPolicy(schedule=kind))
    for n in range(8):
        plan.add(Entry(f"bulk{n}", added_at=0.0), 0.0)
        plan.add(Entry(f"awaited{n}", added_at=0.0, interactive=True), 0.0)
    order = [entry.interactive for _ in range(8) if (entry := plan.pop(0.0))]
    assert order == [True, True, True, False] * 2


@each_kind
def test_promoted(kind: Kind) -> None:
    """A task that a caller begins to await is checked before all bulk tasks."""
    plan = make(PollPolicy(schedule=kind))
    entries = [Entry(str(n), added_at=0.0) for n in range(3)]
    for entry in entries:
        plan.add(entry, 0.0)
    plan.promote(entries[2])
    popped = [plan.pop(0.0) for _ in range(4)]
    assert popped == [entries[2], entries[0], entries[1], None]


def test_the_likelier_end_goes_first() -> None:
    """Of two tasks, the one that is more likely to have ended is checked first."""
    plan = AdaptiveSchedule[Entry](PollPolicy(), Durations())
    plan.add(Entry("young", added_at=0.0, created_at=-50.0), 0.0)
    plan.add(Entry("old", added_at=0.0, created_at=-150.0), 0.0)
    popped = plan.pop(20.0)
    assert popped is not None
    assert popped.task_id == "old"


def test_kinds_do_not_blur() -> None:
    """The durations learnt for one kind of job do not affect the checks of another kind."""
    lengths = {"quick": 25.0, "slow": 400.0}

    def asked(kind: str, *learnt: str) -> list[float]:
        durations = Durations()
        for each in learnt:
            for _ in range(300):
                durations.ended(each, 0.0, lengths[each])
        entry, end = Entry("t", added_at=0.0, created_at=0.0, kind=kind), lengths[kind] + 1.0
        return follow(AdaptiveSchedule(PollPolicy(), durations), entry, lambda now: now < end)

    quick, slow = asked("quick", "quick", "slow"), asked("slow", "quick", "slow")
    assert quick == asked("quick", "quick")
    assert slow == asked("slow", "slow")
    assert len(quick) <= 2
    assert quick[-1] <= 41.0
    assert sum(time < 380.0 for time in slow) <= 8


def test_the_next_task_of_a_cohort_keeps_the_shortest_interval() -> None:
    """Each task of a cohort is due one poll interval after its own last check.

    So two tasks that were checked 0.2 s apart are due again 0.2 s apart.
    """
    plan = make(PollPolicy(min_saving=0.0))
    for name, seen_at in (("first", 85.0), ("second", 85.2)):
        entry = Entry(name, added_at=0.0, created_at=0.0)
        entry.asked_at = entry.seen_at = seen_at
        plan.add(entry, 85.2)
    first = plan.pop(100.0)
    assert first is not None
    assert first.task_id == "first"
    assert plan.pop(100.1) is None
    assert plan.next_due() == pytest.approx(100.2)
    assert plan.pop(100.2) is not None


@pytest.mark.parametrize(
    ("created_at", "latest"),
    [
        # As far back in the queue as in the order of creation, and a few requests more.
        pytest.param(None, 70, id="unknown age"),
        pytest.param(-3000.0, 20, id="past the deadline"),
    ],
)
def test_a_task_does_not_wait_for_a_burst_of_another_kind(
    created_at: float | None, latest: int
) -> None:
    """A task that is added after 50 of 999 tasks of another kind is checked early.

    At most `latest` of the 999 tasks are checked before it.
    """
    plan = make(PollPolicy())
    for n in range(1000):
        kind = "other" if n == 50 else "burst"
        plan.add(Entry(kind, added_at=n * 4e-5, created_at=created_at, kind=kind), 0.04)
    order: list[str] = []
    for slot in range(1000):
        entry = plan.pop(1.0 + slot / 15)
        if entry is not None:
            order.append(entry.kind)
            plan.settle(entry, None)
    assert len(order) == 1000
    assert order.index("other") <= latest


def test_nothing_starves() -> None:
    """Even if urgent tasks could use every request, a less urgent task is also checked."""
    durations = Durations()
    for n in range(500):
        durations.ended("", 0.0, 60.0 + n % 41)
    plan = AdaptiveSchedule[Entry](PollPolicy(deadline=None), durations)
    hopeless = Entry("hopeless", added_at=0.0, created_at=-3000.0)
    hopeless.asked_at = hopeless.seen_at = 0.0
    plan.add(hopeless, 0.0)
    asked: list[float] = []
    for second in range(2000):
        now = float(second)
        for n in range(3):  # three times what one request a second can serve
            plan.add(Entry(f"{second}-{n}", added_at=now, created_at=now), now)
        entry = plan.pop(now)
        if entry is hopeless:
            asked.append(now)
            plan.defer(hopeless, now)
    assert asked
    assert asked[0] <= 700.0


@given(attempt=st.integers(0, 10_000), draw=st.floats(0, 1, exclude_max=True))
def test_retry_delay_is_bounded(attempt: int, draw: float) -> None:
    """The delay before a retry is half a second to half a minute."""
    assert 0.5 <= retry_delay(attempt, draw) <= 30.0


steps = st.lists(
    st.tuples(
        st.sampled_from(["add", "pop", "pop", "defer", "retry", "settle", "discard", "promote"]),
        st.integers(0, 7),
        st.one_of(st.floats(0, 30), st.floats(0, 600)),
    ),
    max_size=150,
)


@each_kind
@given(steps=steps, draw=st.floats(0, 1, exclude_max=True), eager=st.booleans())
def test_floor_and_deadline(  # noqa: C901, PLR0912, PLR0915 (one branch for each step)
    kind: Kind, steps: list[tuple[str, int, float]], draw: float, *, eager: bool
) -> None:
    """In any order of method calls, no check is too early, and each scheduled task is checked."""
    if kind == "backoff":
        policy, floor = PollPolicy(schedule="backoff", deadline=200.0), 15.0
    else:
        policy, floor = PollPolicy(eager=eager, deadline=200.0), 2.0 if eager else 15.0
    plan = make(policy, draw)
    inside: dict[int, Entry] = {}
    out: dict[int, Entry] = {}
    asked: dict[Entry, float] = {}
    now = 0.0

    def check(popped: Entry) -> None:
        last = asked.get(popped, popped.created_at)
        assert last is None or now >= last + floor - 1e-9
        end = popped.known_since + 200.0
        # No check is so near the deadline that it would delay the last check.
        failed = kind == "backoff" or popped.failures > 0 or popped.created_at is None
        assert failed or not end - floor + SPAN < now < end
        asked[popped] = now

    for step, n, wait in steps:
        now += wait
        if step == "add" and n not in inside and n not in out:
            born = {0: None, 2: now - 50.0, 3: now - 500.0}.get(n, now)
            inside[n] = Entry(str(n), added_at=now, created_at=born, interactive=n == 1)
            plan.add(inside[n], now)
        elif step == "pop":
            due = plan.next_due()
            popped = plan.pop(now)
            if popped is None:
                # The task was due too near its deadline, so it is now due later.
                later = plan.next_due()
                assert later is None or later > now
            else:
                assert due is not None
                assert due <= now
                number = int(popped.task_id)
                assert inside.pop(number) is popped
                check(popped)
                out[number] = popped
        elif step in {"defer", "retry"} and n in out:
            entry = out.pop(n)
            if n == 0 and entry.created_at is None:
                entry.created_at = entry.added_at - 30.0  # read from its reply
            goes_on = plan.defer(entry, now) if step == "defer" else plan.retry(entry, now)
            if goes_on:
                inside[n] = entry
            else:
                assert now >= entry.known_since + 200.0
        elif step == "settle" and n in out:
            plan.settle(out.pop(n), wait)
        elif step == "discard":
            for entries in (inside, out):
                if n in entries:
                    plan.discard(entries.pop(n))
        elif step == "promote" and n in inside:
            plan.promote(inside[n])
    # Every entry that is still scheduled is returned in the end.
    idle = 0
    while inside:
        due = plan.next_due()
        assert due is not None
        now = max(now, due)
        last_one = plan.pop(now)
        if last_one is None:
            idle += 1
            assert idle < 100
            continue
        check(last_one)
        assert inside.pop(int(last_one.task_id)) is last_one
    assert plan.pop(now + 10_000) is None


@settings(max_examples=30)
@given(data=st.data())
def test_deadline_check_is_kept(data: st.DataObject) -> None:
    """If checks are sent when they are due, the last check is sent 0 to 2 s after the deadline."""
    plan = AdaptiveSchedule[Entry](PollPolicy(deadline=300.0), Durations())
    births = data.draw(st.lists(st.floats(0, 100), min_size=1, max_size=20).map(sorted))
    for n, born in enumerate(births):
        plan.add(Entry(str(n), added_at=born, created_at=born), born)
    last: dict[str, float] = {}
    while (due := plan.next_due()) is not None:
        entry = plan.pop(due)
        if entry is not None:
            last[entry.task_id] = due
            plan.defer(entry, due)
    for n, born in enumerate(births):
        assert born + 300.0 <= last[str(n)] <= born + 300.0 + SPAN


def test_price_rises_with_scarcity() -> None:
    """`price` is None at first. It is higher if more tasks are added per second."""
    assert AdaptiveSchedule[Entry](PollPolicy(), Durations()).price is None
    prices: list[float] = []
    for arrivals in (1, 10):  # a second, while 15 requests a second can be made
        plan = AdaptiveSchedule[Entry](PollPolicy(), Durations())
        for slot in range(15 * 300):
            now = slot / 15
            if slot % 15 < arrivals:
                plan.add(Entry(str(slot), added_at=now, created_at=now), now)
            entry = plan.pop(now)
            if entry is None:
                continue
            if now - entry.added_at > 60.0 + slot % 61:
                plan.settle(entry, 60.0 + slot % 61)
            else:
                plan.defer(entry, now)
        price = plan.price
        assert price is not None
        prices.append(price)
    assert prices[0] < prices[1]


def test_new_plans_apply_while_nothing_is_due() -> None:
    """After new durations are learnt, tasks that are not due yet also use them.

    `next_due` then returns the same time as a new schedule with these durations.
    """
    durations = Durations()
    for _ in range(300):
        durations.ended("", 0.0, 700.0)
    plan = AdaptiveSchedule[Entry](PollPolicy(), durations)
    now = 1000.0

    def add_all(to: AdaptiveSchedule[Entry]) -> None:
        # More cohorts than are ranked in one call. Each task was checked a second ago.
        for n in range(3 * Tuning().placed_at_once):
            entry = Entry(str(n), added_at=0.0, created_at=now - 20.0 - 2.0 * n)
            entry.asked_at = entry.seen_at = now - 1.0
            to.add(entry, now)

    add_all(plan)
    assert plan.pop(now) is None
    plan.add(Entry("due", added_at=now), now)
    for _ in range(1000):
        durations.ended("", 0.0, 60.0)
    due = plan.pop(now + 3.0)
    assert due is not None
    assert due.task_id == "due"
    fresh = AdaptiveSchedule[Entry](PollPolicy(), durations)
    add_all(fresh)
    assert plan.next_due() == fresh.next_due()


def test_new_plans_of_two_kinds_apply() -> None:
    """If the durations of two kinds of job change, the schedule uses the new durations for both.

    `next_due` is then the same as in a new schedule with the same tasks and durations.
    """
    durations = Durations()
    for kind in ("a", "b"):
        for _ in range(300):
            durations.ended(kind, 0.0, 700.0)
    plan = AdaptiveSchedule[Entry](PollPolicy(), durations)
    now = 1000.0

    def add_all(to: AdaptiveSchedule[Entry]) -> None:
        for n in range(3 * Tuning().placed_at_once):
            for kind in ("a", "b"):
                created_at = now - 20.0 - 2.0 * n
                entry = Entry(f"{kind}{n}", added_at=0.0, created_at=created_at)
                entry.kind = kind
                entry.asked_at = entry.seen_at = now - 1.0
                to.add(entry, now)

    add_all(plan)
    assert plan.pop(now) is None
    for n in range(4):
        plan.add(Entry(f"due {n}", added_at=now), now)
    for _ in range(1000):
        durations.ended("a", 0.0, 60.0)
        durations.ended("b", 0.0, 690.0)
    for later in (3.0, 6.0, 9.0, 12.0):
        assert plan.pop(now + later) is not None
    fresh = AdaptiveSchedule[Entry](PollPolicy(), durations)
    add_all(fresh)
    assert plan.next_due() == fresh.next_due()


def test_replies_that_overtake_each_other() -> None:
    """Tasks are checked again in the order of their requests, not in the order of the replies."""
    plan = AdaptiveSchedule[Entry](PollPolicy(), Durations())
    for n in range(3):
        plan.add(Entry(str(n), added_at=0.0, created_at=0.0), 0.0)
    out = [plan.pop(60.0 + n / 15) for n in range(3)]
    for n in (0, 2, 1):
        entry = out[n]
        assert entry is not None
        plan.defer(entry, 60.3)
    again: list[str] = []
    while len(again) < 3:
        now = plan.next_due()
        assert now is not None
        entry = plan.pop(now)
        if entry is not None:
            again.append(entry.task_id)
    assert again == [entry.task_id for entry in out if entry is not None]
