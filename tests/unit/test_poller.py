"""Tests of the poller in virtual time.

In most tests, a function that the poller calls raises an error.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from typing import TYPE_CHECKING, Any

import pytest

from suno_async import (
    ClientClosedError,
    InternalError,
    Outcome,
    PollPolicy,
    TaskFailedError,
    TaskTimeoutError,
)
from suno_async._polling import poller as poller_module
from suno_async._polling.deadlines import DeadlineKeeper
from suno_async._polling.waiters import FutureWaiter, QueueWaiter
from suno_async._schedule.adaptive import AdaptiveSchedule
from suno_async._schedule.backoff import BackoffSchedule
from suno_async._schedule.frame import LAST_TRIES
from suno_async._transport.breaker import CircuitBreaker
from tests.scripted_transport import Limiter, Scripted, make_poller, wait_for, watch
from tests.virtual import run_virtual

if TYPE_CHECKING:
    from collections.abc import Callable

    from suno_async._polling.poller import Poller

INDEX = PollPolicy(deadline=200.0)
BACKOFF = PollPolicy(schedule="backoff", deadline=200.0)

#: Loop time at which every wait for a task that was created at 0 has ended, including the retries
#: of its last check.
ALL_OVER = 200.0 + (LAST_TRIES + 1) * INDEX.interval

SCHEDULE_CALLS = [
    *("add", "pop", "next_due", "defer", "retry", "settle", "discard", "promote"),
]
OTHER_CALLS: list[tuple[object, str]] = [
    (poller_module, "task_info_request"),
    (poller_module, "read_task_info"),
    (Scripted, "once"),
    (Scripted, "confirm_key"),
    (Limiter, "acquire"),
    (CircuitBreaker, "check"),
    (FutureWaiter, "read"),
    (FutureWaiter, "settled"),
    (QueueWaiter, "read"),
    (QueueWaiter, "settled"),
    (DeadlineKeeper, "run"),
]
CALLS = [
    *((AdaptiveSchedule, name, INDEX) for name in SCHEDULE_CALLS),
    *((BackoffSchedule, name, BACKOFF) for name in SCHEDULE_CALLS),
    *((place, name, INDEX) for place, name in OTHER_CALLS),
]
#: Without `settled`: a waiter whose `settled` always raises cannot receive its outcome.
LASTING = [each for each in CALLS if each[1] != "settled"]


def name_of(call: tuple[object, str, PollPolicy]) -> str:
    """Return the name of the function in `call`, such as ``FutureWaiter.read``."""
    return f"{getattr(call[0], '__name__', '')}.{call[1]}"


each_call = pytest.mark.parametrize(("place", "name", "policy"), CALLS, ids=map(name_of, CALLS))


class Bug:
    """Replaces a function by a version that can raise an error.

    Attributes:
        passes: Number of calls that still work before the first call raises.
        left: Number of calls that will still raise. All later calls work again.
        raised: Number of calls that have raised so far.
    """

    def __init__(
        self, patch: pytest.MonkeyPatch, place: object, name: str, error: Exception
    ) -> None:
        self._original: Callable[..., Any] = getattr(place, name)
        self._error = error
        self.passes = 0
        self.left = 0
        self.raised = 0

        def method(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 (any method)
            if self.passes > 0:
                self.passes -= 1
            elif self.left > 0:
                self.left -= 1
                self.raised += 1
                raise self._error
            return self._original(*args, **kwargs)

        patch.setattr(place, name, method)


def script(task_id: str, now: float) -> str | int:
    """Return the scripted reply to a poll: a task status, or an error code.

    Of every ten tasks, eight succeed, one fails, and one never ends.
    """
    number = int(task_id)
    if number % 10 == 3 and now < 60.0:
        return 500
    if number == 5 and now < 35.0:
        return 401
    if number % 10 == 7:
        return "running"
    if now < 40.0 + 3.0 * number:
        return "running"
    return "failed" if number % 10 == 9 else "success"


async def collect(queue: QueueWaiter, count: int) -> list[Outcome]:
    """Return the next `count` outcomes in a queue. Skip the task records in the queue."""
    outcomes: list[Outcome] = []
    while len(outcomes) < count:
        if isinstance(item := await queue.get(), Outcome):
            outcomes.append(item)
    return outcomes


async def scenario(bug: Bug, policy: PollPolicy, passes: int, times: int) -> list[Outcome]:
    """Wait for 40 tasks while `bug` is active, and return the outcomes of all waits.

    The replaced function works in its first `passes` calls, and raises in its next `times` calls.
    At the end, check that new waits succeed when the function works again.
    """
    transport = Scripted(script)
    poller = make_poller(transport, policy)
    bug.passes, bug.left = passes, times
    queue = QueueWaiter(interactive=False, readings=True)
    for n in range(20):
        watch(poller, str(n), queue, 0.0)
    waits = [wait_for(poller, str(n), None if n % 4 == 0 else 0.0) for n in range(40)]
    collecting = asyncio.ensure_future(collect(queue, 20))
    async with asyncio.timeout(ALL_OVER):
        outcomes = [*await asyncio.gather(*waits), *await collecting]
    assert poller.watched == 0
    for task_id in {task_id for task_id, _ in transport.asked}:
        asked_at = [when for asked, when in transport.asked if asked == task_id]
        assert all(b - a >= policy.interval for a, b in itertools.pairwise(asked_at))
    bug.left = 0
    await still_works(poller)
    await poller.close()
    assert transport.limiter.open_permits == 0
    assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    return outcomes


async def still_works(poller: Poller) -> None:
    """Assert that new waits for three tasks succeed."""
    loop = asyncio.get_running_loop()
    await asyncio.sleep(max(0.0, 400.0 - loop.time()))
    async with asyncio.timeout(60.0):
        outcomes = await asyncio.gather(*(wait_for(poller, str(n)) for n in (100, 101, 102)))
    assert all(outcome.ok for outcome in outcomes)


def is_logged(caplog: pytest.LogCaptureFixture, error: Exception) -> bool:
    """Return whether the error was logged at the level ERROR with its traceback."""
    return any(
        record.levelno == logging.ERROR
        and record.exc_info is not None
        and record.exc_info[1] is error
        and record.exc_info[2] is not None
        for record in caplog.records
    )


@each_call
@pytest.mark.parametrize(
    ("passes", "kind"), [(0, MemoryError), (1, ZeroDivisionError), (25, TypeError)]
)
def test_one_bug(  # noqa: PLR0913, PLR0917 (what is injected where)
    place: object,
    name: str,
    policy: PollPolicy,
    kind: type[Exception],
    passes: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """If one call of `place.name` raises an error, at most one task ends with `InternalError`."""
    error = kind("injected")
    bug = Bug(monkeypatch, place, name, error)
    outcomes = run_virtual(scenario(bug, policy, passes, times=1))
    if bug.raised:
        assert is_logged(caplog, error)
    else:
        assert passes
    broken = {each.task_id for each in outcomes if isinstance(each.error, InternalError)}
    assert len(broken) <= bug.raised
    for outcome in outcomes:
        if outcome.task_id in broken:
            continue
        number = int(outcome.task_id)
        expected = {7: TaskTimeoutError, 9: TaskFailedError}.get(number % 10, type(None))
        assert isinstance(outcome.error, expected), outcome
    for outcome in outcomes:
        if isinstance(outcome.error, InternalError):
            assert outcome.error.__cause__ is error


@pytest.mark.parametrize(("place", "name", "policy"), LASTING, ids=map(name_of, LASTING))
def test_lasting_bug(
    place: object,
    name: str,
    policy: PollPolicy,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """All waits end by `ALL_OVER`, even if every call of `place.name` raises an error."""
    error = TypeError("injected")
    bug = Bug(monkeypatch, place, name, error)
    outcomes = run_virtual(scenario(bug, policy, 0, times=1_000_000))
    assert bug.raised
    assert is_logged(caplog, error)
    for outcome in outcomes:
        if isinstance(outcome.error, InternalError):
            assert outcome.error.__cause__ is error


@pytest.mark.parametrize("policy", [INDEX, BACKOFF], ids=["adaptive", "backoff"])
def test_restart_with_polls_in_flight(policy: PollPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    """A restart of the schedule never causes two polls of one task at the same time."""
    place = BackoffSchedule if policy is BACKOFF else AdaptiveSchedule
    bug = Bug(monkeypatch, place, "promote", TypeError("injected"))

    async def main() -> None:
        transport = Scripted(lambda _id, now: "running" if now < 120.0 else "success")
        transport.delay = 40.0
        poller = make_poller(transport, policy)
        waits = [wait_for(poller, f"t{n}") for n in range(10)]
        await asyncio.sleep(20.0)
        assert poller.in_flight == len(transport.asked) == 10
        bug.left = 1
        waits.append(wait_for(poller, "t0"))
        assert bug.raised
        assert all(outcome.ok for outcome in await asyncio.gather(*waits))
        for n in range(10):
            times = [when for task_id, when in transport.asked if task_id == f"t{n}"]
            assert all(b - a >= 40.0 for a, b in itertools.pairwise(times))
            assert len(times) <= 4
        await poller.close()

    run_virtual(main())


def test_waiter_that_raises(caplog: pytest.LogCaptureFixture) -> None:
    """If one waiter raises an error, the other waiters still get their outcomes."""
    error = TypeError("injected")

    class Broken(FutureWaiter):
        def settled(self, outcome: Outcome) -> None:
            del outcome
            raise error

    async def main() -> None:
        poller = make_poller(Scripted(script))
        watch(poller, "0", Broken(), None)
        assert (await wait_for(poller, "0")).ok
        assert poller.watched == 0
        await poller.close()

    run_virtual(main())
    assert is_logged(caplog, error)


@pytest.mark.parametrize("name", ["suno_async poller", "suno_async deadlines", "poll"])
def test_cancelled_from_outside(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """If a background task is cancelled, the waits that depend on it end with an error."""

    async def main() -> None:
        poller = make_poller(Scripted(script))
        waits = [wait_for(poller, str(n)) for n in (20, 21)]
        await asyncio.sleep(0.03)
        own = asyncio.current_task()
        named = {task.get_name(): task for task in asyncio.all_tasks() if task is not own}
        polls = [each for each in named if each == "suno_async worker"]
        assert len(polls) == 1
        assert named[polls[0] if name == "poll" else name].cancel()
        first, second = await asyncio.gather(*waits)
        assert isinstance(first.error, InternalError)
        assert isinstance(first.error.__cause__, asyncio.CancelledError)
        assert second.ok == (name == "poll")
        assert (await wait_for(poller, "22")).ok
        await poller.close()

    run_virtual(main())
    assert any(record.levelno == logging.ERROR for record in caplog.records)


def test_limiter_raises_client_closed_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the limiter raises `ClientClosedError`, every wait ends with its own copy of the error."""
    error = ClientClosedError("closed")
    bug = Bug(monkeypatch, Limiter, "acquire", error)
    bug.left = 1

    async def main() -> None:
        poller = make_poller(Scripted(script))
        outcomes = await asyncio.gather(*(wait_for(poller, str(n)) for n in range(5)))
        assert {type(each.error) for each in outcomes} == {ClientClosedError}
        assert len({id(each.error) for each in outcomes}) == 5
        assert (await wait_for(poller, "0")).ok
        await poller.close()

    run_virtual(main())
