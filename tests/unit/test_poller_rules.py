"""How waits end: deadlines, 404s, errors and closing. The tests run in virtual time.

A 404 starts a period of a minute. If a reply finds the task, the period is cancelled, and the next
404 starts a new one. If a 404 arrives after the period, the wait ends with `TaskNotFoundError`.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Literal

import pytest

from suno_async import (
    ClientClosedError,
    Outcome,
    PollPolicy,
    TaskFailedError,
    TaskNotFoundError,
    TaskTimeoutError,
)
from suno_async._polling.replies import MOST_UNKNOWN
from suno_async._polling.waiters import QueueWaiter
from suno_async._schedule.frame import LAST_TRIES, Frame
from tests.scripted import EPOCH
from tests.scripted_transport import DELAY, Scripted, make_poller, wait_for, watch
from tests.virtual import run_virtual

if TYPE_CHECKING:
    from collections.abc import Callable

    from suno_async._schedule.entry import Entry


Kind = Literal["adaptive", "backoff"]
each_kind = pytest.mark.parametrize("kind", ["adaptive", "backoff"])

#: Age of a task, in seconds, at which the wait for it ends at the latest.
GIVEN_UP = 1200.0 + LAST_TRIES * 15.0


async def outcome_at(wait: asyncio.Future[Outcome]) -> tuple[Outcome, float]:
    """Await an outcome. Return the outcome and the loop time at which it arrived."""
    return await wait, asyncio.get_running_loop().time()


# --- deadlines during a pause


@each_kind
def test_deadline_during_a_pause(kind: Kind) -> None:
    """If a pause prevents the last check of a task, the wait ends a minute after the deadline."""

    async def main() -> None:
        transport = Scripted(lambda _id, _now: "running")
        poller = make_poller(transport, PollPolicy(schedule=kind))
        ages = [0.0, 300.0, 600.0, 1100.0]
        waits = [wait_for(poller, f"age {age:g}", -age) for age in ages]
        await asyncio.sleep(20.0)
        transport.limiter.paused_until = 1e6
        for wait, age in reversed(list(zip(waits, ages, strict=True))):
            outcome, now = await outcome_at(wait)
            assert GIVEN_UP <= now + age <= GIVEN_UP + 0.1
            assert isinstance(outcome.error, TaskTimeoutError)
            assert "last check was not sent or not answered" in str(outcome.error)
            if age:
                assert outcome.error.last_status == "running"
                assert EPOCH <= (outcome.error.seen_at or 0.0) <= EPOCH + 20.0
        assert poller.watched == 0
        await poller.close()

    run_virtual(main())


def test_pause_that_ends_in_time() -> None:
    """If requests pause for less than a minute, tasks past their deadline still get a check."""

    async def main() -> None:
        transport = Scripted(lambda _id, now: "running" if now < 50.0 else "success")
        poller = make_poller(transport)
        transport.limiter.paused_until = 55.0
        waits = [wait_for(poller, f"t{n}", -1e6 * n) for n in range(3)]
        outcomes = await asyncio.gather(*waits)
        assert all(outcome.ok for outcome in outcomes)
        await poller.close()

    run_virtual(main())


def test_own_timeout_during_a_pause() -> None:
    """The timeout of one waiter applies during a pause, and does not end other waits."""

    async def main() -> None:
        transport = Scripted(lambda _id, _now: "success")
        poller = make_poller(transport)
        transport.limiter.paused_until = 100.0
        other = wait_for(poller, "t")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5.0):
                await wait_for(poller, "t")
        assert asyncio.get_running_loop().time() < 5.1
        assert (await other).ok
        await poller.close()

    run_virtual(main())


@pytest.mark.parametrize("count", [1, 20_000])
def test_no_scan_while_checks_are_answered(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """While checks are answered, the poller does not search for expired deadlines.

    While no check is answered, the poller searches about once a minute.
    """
    looks = 0
    original = Frame.gives_up_at

    def counted(self: Frame, entry: Entry) -> float:
        nonlocal looks
        looks += 1
        return original(self, entry)

    async def main() -> None:
        nonlocal looks
        transport = Scripted(lambda _id, _now: "running")
        poller = make_poller(transport)
        queue = QueueWaiter(interactive=False)
        for n in range(count):
            watch(poller, f"t{n}", queue, 0.0)
        await asyncio.sleep(20.0)
        looks = 0
        await asyncio.sleep(100.0)
        # A single task is checked about once a minute, so it is scanned between two checks.
        assert looks == 0 or count == 1
        transport.limiter.paused_until = 1000.0
        looks = 0
        await asyncio.sleep(250.0)
        assert 0 < looks <= 6 * count
        await poller.close()

    monkeypatch.setattr(Frame, "gives_up_at", counted)
    run_virtual(main())


def test_old_id_survives_a_failure() -> None:
    """One failed check after the deadline does not end the wait."""

    async def main() -> None:
        for kind in ("adaptive", "backoff"):
            transport = Scripted(lambda _id, now: 500 if now % 1000 < 1.0 else "success")
            poller = make_poller(transport, PollPolicy(schedule=kind))
            assert (await wait_for(poller, "old", -1e5)).ok
            await poller.close()
            await asyncio.sleep(1000.0 - asyncio.get_running_loop().time() % 1000)

    run_virtual(main())


# --- 404


def poll_scripted(
    script: Callable[[float], str | int], created_at: float | None, kind: Kind = "adaptive"
) -> tuple[Outcome, float, list[float]]:
    """Poll one task; `script` returns the reply at each time.

    Return the outcome of the task, when the outcome arrived, and when each poll was sent.
    """

    async def main() -> tuple[Outcome, float, list[float]]:
        transport = Scripted(lambda _id, now: script(now))
        poller = make_poller(transport, PollPolicy(schedule=kind))
        outcome, now = await outcome_at(wait_for(poller, "t", created_at))
        await poller.close()
        return outcome, now, [when for _, when in transport.asked]

    return run_virtual(main())


@each_kind
@pytest.mark.parametrize("created_at", [None, -1.0, -100.0, -1e6])
def test_unknown_id(kind: Kind, created_at: float | None) -> None:
    """If every poll gets a 404, the wait ends a minute after the first 404."""
    outcome, now, asked = poll_scripted(lambda _: 404, created_at, kind)
    assert isinstance(outcome.error, TaskNotFoundError)
    assert asked[0] + 60.0 <= asked[-1] <= asked[0] + 60.1
    assert now <= asked[0] + 60.1 + DELAY
    assert created_at is not None or now <= 62.0
    assert created_at != -1.0 or asked[0] >= 14.0
    assert all(b - a >= 15.0 for a, b in itertools.pairwise(asked))
    assert len(asked) == 4


@each_kind
def test_lag_after_a_create(kind: Kind) -> None:
    """A wait succeeds if the task is found within a minute after the first 404."""
    outcome, _, _ = poll_scripted(lambda now: 404 if now < 70.0 else "success", 0.0, kind)
    assert outcome.ok


@each_kind
def test_a_task_that_is_found_again(kind: Kind) -> None:
    """If a task is found between two 404s, the second 404 starts a new grace period of a minute."""

    def script(now: float) -> str | int:
        return "running" if 44.0 < now < 47.0 or now < 10.0 else 404

    outcome, _, asked = poll_scripted(script, None, kind)
    assert isinstance(outcome.error, TaskNotFoundError)
    statuses = [script(when) for when in asked]
    last_seen = max(when for when, each in zip(asked, statuses, strict=True) if each != 404)
    first = min(when for when in asked if when > last_seen)
    assert asked[-1] >= first + 60.0
    flaky, now, _ = poll_scripted(lambda now: 404 if now % 40.0 < 20.0 else "running", 0.0, kind)
    assert isinstance(flaky.error, TaskTimeoutError)
    assert now >= 1200.0


@each_kind
def test_temporary_failures_between_404s(kind: Kind) -> None:
    """With temporary failures between 404s, a wait still ends a minute after the first 404."""
    outcome, now, _ = poll_scripted(lambda now: 500 if 10.0 < now < 55.0 else 404, None, kind)
    assert isinstance(outcome.error, TaskNotFoundError)
    assert 60.0 <= now <= 62.0
    outcome, _, _ = poll_scripted(
        lambda now: 404 if now < 1.0 else 500 if now < 130.0 else "success", None, kind
    )
    assert outcome.ok


def test_unknown_ids_under_load() -> None:
    """Of 2,000 ids, 1,000 are unknown: their waits end within 600 s, and the others succeed."""

    async def main() -> None:
        transport = Scripted(
            lambda task_id, now: 404 if task_id[0] == "u" else "running" if now < 300 else "success"
        )
        poller = make_poller(transport)
        unknown = [wait_for(poller, f"u{n}") for n in range(1000)]
        known = [wait_for(poller, f"k{n}", 0.0) for n in range(1000)]
        ended = await asyncio.gather(*(outcome_at(wait) for wait in unknown))
        asked: dict[str, list[float]] = {}
        for task_id, when in transport.asked:
            asked.setdefault(task_id, []).append(when)
        for outcome, _ in ended:
            assert isinstance(outcome.error, TaskNotFoundError)
            times = asked[outcome.task_id]
            # The wait ends with the first check that comes at least a minute after the first 404.
            assert [when >= times[0] + 60.0 for when in times].index(True) == len(times) - 1
        assert max(now for _, now in ended) < 600.0
        assert all(outcome.ok for outcome in await asyncio.gather(*known))
        await poller.close()

    run_virtual(main())


# --- instances of errors


def test_each_waiter_its_own_error() -> None:
    """Each waiter of a failed task raises its own exception, with a short traceback."""

    async def main() -> None:
        transport = Scripted(lambda _id, _now: "failed")
        poller = make_poller(transport)
        waits = [wait_for(poller, "t") for _ in range(5000)]
        outcomes = await asyncio.gather(*waits)
        errors: list[BaseException] = []
        for outcome in outcomes:
            with pytest.raises(TaskFailedError) as caught:
                outcome.result()
            errors.append(caught.value)
            depth, traceback = 0, caught.value.__traceback__
            while traceback is not None:
                depth, traceback = depth + 1, traceback.tb_next
            assert depth <= 3
        assert len({id(error) for error in errors}) == 5000
        assert len({str(error) for error in errors}) == 1
        assert len({id(outcome.info) for outcome in outcomes}) == 1
        assert len(transport.asked) == 1
        await poller.close()

    run_virtual(main())


@each_kind
def test_timeout_says_what_was_seen(kind: Kind) -> None:
    """A `TaskTimeoutError` contains the last known status and the time when it was requested."""

    async def main() -> None:
        transport = Scripted(lambda _id, now: "pending" if now < 100.0 else 500)
        poller = make_poller(transport, PollPolicy(schedule=kind))
        first = (await wait_for(poller, "t", 0.0)).error
        assert isinstance(first, TaskTimeoutError)
        assert first.last_status == "pending"
        seen = max(when for _, when in transport.asked if when < 100.0)
        assert first.seen_at == pytest.approx(EPOCH + seen)
        assert "last checks failed" in str(first)
        transport = Scripted(lambda _id, _now: 500)
        second = (await wait_for(make_poller(transport, PollPolicy(schedule=kind)), "t")).error
        assert isinstance(second, TaskTimeoutError)
        assert (second.last_status, second.seen_at) == ("", None)

    run_virtual(main())


# --- closing


@pytest.mark.parametrize("step", range(12))
def test_close_that_is_cancelled(step: int) -> None:
    """If `close` is cancelled at any step, a second call of `close` ends all waits."""

    async def main() -> None:
        transport = Scripted(lambda _id, _now: "running")
        poller = make_poller(transport)
        waits = [wait_for(poller, f"t{n}") for n in range(2000)]
        await asyncio.sleep(1.03)
        assert poller.in_flight
        closing = asyncio.ensure_future(poller.close())
        for _ in range(step):
            await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait([closing])
        await poller.close()
        outcomes = await asyncio.gather(*waits)
        assert {type(outcome.error) for outcome in outcomes} == {ClientClosedError}
        assert (poller.watched, poller.in_flight) == (0, 0)
        assert transport.limiter.open_permits == 0
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert isinstance((await wait_for(poller, "late")).error, ClientClosedError)

    run_virtual(main())


def test_close_cancelled_once_ends_waits() -> None:
    """A cancelled `close` ends every wait, even without a second call of `close`."""

    async def main() -> None:
        transport = Scripted(lambda _id, _now: "running")
        poller = make_poller(transport)
        waits = [wait_for(poller, f"t{n}") for n in range(5000)]
        closing = asyncio.ensure_future(poller.close())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not all(wait.done() for wait in waits)
        closing.cancel()
        await asyncio.wait([closing])
        assert all(wait.done() for wait in waits)

    run_virtual(main())


# --- statuses


def test_many_unknown_statuses(caplog: pytest.LogCaptureFixture) -> None:
    """At most `MOST_UNKNOWN` different unknown statuses are logged, and each of them is cut."""

    async def main() -> None:
        transport = Scripted(lambda _id, now: f"waiting since {now} " + "x" * 1000)
        poller = make_poller(transport)
        waits = [wait_for(poller, f"t{number}") for number in range(200)]
        await asyncio.sleep(60.0)
        await poller.close()
        await asyncio.gather(*waits)

    run_virtual(main())
    lines = [each for each in caplog.messages if "unknown task status" in each]
    assert len(lines) == MOST_UNKNOWN
    assert max(map(len, lines)) < 200
