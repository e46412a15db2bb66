"""When tasks are asked about. No clock: time is an argument."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from suno_async import PollPolicy
from suno_async._schedule import Entry, Schedule, choose, retry_delay

POLICY = PollPolicy()


def schedule(policy: PollPolicy = POLICY, draw: float = 0.0) -> Schedule[Entry]:
    """A schedule whose jitter always draws `draw`."""
    return Schedule(policy, lambda: draw)


def test_first_check() -> None:
    """A task just created is asked after one interval, one of unknown age at once."""
    plan = schedule()
    plan.add(Entry("new", added_at=100.0, created_at=100.0), 100.0)
    assert plan.pop(114.9) is None
    assert plan.next_due() == 115.0
    plan.add(Entry("old", added_at=100.0), 100.0)
    popped = plan.pop(100.0)
    assert popped is not None
    assert popped.task_id == "old"


def test_intervals_grow() -> None:
    """Intervals grow from 15 s by a quarter to 60 s, and the last check stands at 20 minutes."""
    plan, entry = schedule(), Entry("t", added_at=0.0, created_at=0.0)
    plan.add(entry, 0.0)
    times: list[float] = []
    while (due := plan.next_due()) is not None:
        assert plan.pop(due) is entry
        times.append(due)
        if not plan.defer(entry, due):
            break
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert times[0] == 15.0
    assert gaps[:3] == [15.0, 18.75, 23.4375]
    assert max(gaps[:-1]) == 60.0
    assert times[-1] == 1200.0


def test_awaited_first_but_not_alone() -> None:
    """Awaited tasks go first, and one request in four is left to the others."""
    plan = schedule()
    for n in range(8):
        plan.add(Entry(f"bulk{n}", added_at=0.0), 0.0)
        plan.add(Entry(f"awaited{n}", added_at=0.0, interactive=True), 0.0)
    order = [entry.interactive for _ in range(8) if (entry := plan.pop(0.0))]
    assert order == [True, True, True, False] * 2


def test_choose_takes_what_there_is() -> None:
    """With one kind due, it is served whatever came before."""
    entry = Entry("t", added_at=0.0)
    assert choose(None, entry, 0) is entry
    assert choose(entry, None, 99) is entry
    assert choose(None, None, 0) is None


def test_promoted() -> None:
    """A bulk task that somebody begins to await goes ahead of the others, once."""
    plan = schedule()
    entries = [Entry(str(n), added_at=0.0) for n in range(3)]
    for entry in entries:
        plan.add(entry, 0.0)
    plan.promote(entries[2])
    popped = [plan.pop(0.0) for _ in range(4)]
    assert popped == [entries[2], entries[0], entries[1], None]


@given(attempt=st.integers(0, 10_000), draw=st.floats(0, 1, exclude_max=True))
def test_retry_delay_is_bounded(attempt: int, draw: float) -> None:
    """A retry waits at least half a second and at most half a minute."""
    assert 0.5 <= retry_delay(attempt, draw) <= 30.0


steps = st.lists(
    st.tuples(
        st.sampled_from(["add", "pop", "defer", "retry", "discard", "promote"]),
        st.integers(0, 5),
        st.floats(0, 100),
    ),
    max_size=120,
)


@settings(max_examples=200)
@given(steps=steps, draw=st.floats(0, 1, exclude_max=True))
def test_floor_and_deadline(  # noqa: C901 (one branch for each step)
    steps: list[tuple[str, int, float]], draw: float
) -> None:
    """Whatever comes in whatever order: no check before its interval, none lost, none twice."""
    plan = schedule(PollPolicy(deadline=200.0), draw)
    inside: dict[int, Entry] = {}
    out: dict[int, Entry] = {}
    asked: dict[Entry, float] = {}
    now = 0.0
    for step, n, wait in steps:
        now += wait
        if step == "add" and n not in inside and n not in out:
            born = None if n == 0 else now
            inside[n] = Entry(str(n), added_at=now, created_at=born, interactive=n == 1)
            plan.add(inside[n], now)
        elif step == "pop":
            due = plan.next_due()
            popped = plan.pop(now)
            assert (popped is not None) == (due is not None and due <= now)
            if popped is not None:
                number = int(popped.task_id)
                assert inside.pop(number) is popped
                last = asked.get(popped, popped.created_at)
                assert last is None or now >= last + 15.0 - 1e-9
                asked[popped] = now
                out[number] = popped
        elif step in {"defer", "retry"} and n in out:
            entry = out.pop(n)
            goes_on = plan.defer(entry, now) if step == "defer" else plan.retry(entry, now)
            if goes_on:
                inside[n] = entry
            else:
                assert now >= entry.known_since + 200.0
        elif step == "discard":
            for entries in (inside, out):
                if n in entries:
                    plan.discard(entries.pop(n))
        elif step == "promote" and n in inside:
            plan.promote(inside[n])
    # Nothing that is in is ever lost: given time, each comes out.
    while inside:
        due = plan.next_due()
        assert due is not None
        now = max(now, due)
        last_one = plan.pop(now)
        assert last_one is not None
        assert inside.pop(int(last_one.task_id)) is last_one
    assert plan.pop(now + 10_000) is None
