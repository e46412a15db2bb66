"""Streams of many inputs: `SunoClient.create_many` and `SunoClient.pipeline`."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
from typing import TYPE_CHECKING, Any

import pytest

from suno_async import (
    AuthenticationError,
    ClientClosedError,
    ConfigurationError,
    Creation,
    GenerateMusic,
    InsufficientCreditsError,
    InvalidInputError,
    JobOutcome,
    NotSentError,
    SunoClient,
    TaskFailedError,
)
from suno_async._streams import CREATES_AT_ONCE
from suno_async.sandbox import Faults, Sandbox
from tests.conftest import FAST, SCALE
from tests.scripted import Server, reply
from tests.virtual import run_virtual

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from suno_async._protocol.requests import Request
    from suno_async._transport.http import Reply

BAD = GenerateMusic()


def songs(count: int) -> list[GenerateMusic]:
    """Return `count` inputs with different prompts."""
    return [GenerateMusic(prompt=f"song {n}", instrumental=True) for n in range(count)]


async def as_async_iterator(jobs: list[GenerateMusic]) -> AsyncIterator[GenerateMusic]:
    """Yield the jobs one by one. Before each job, give control to the event loop once."""
    for job in jobs:
        await asyncio.sleep(0)
        yield job


def prompts(sandbox: Sandbox) -> dict[str, str]:
    """Return the prompt of each task that was created in the sandbox, by task id."""
    return {task_id: task.body["input"]["prompt"] for task_id, task in sandbox.tasks.items()}


async def until_it_raises(
    stream: AsyncIterator[JobOutcome],
) -> tuple[list[JobOutcome], Exception | None]:
    """Read a stream to its end. Return its outcomes, and its error or None."""
    outcomes: list[JobOutcome] = []
    try:
        async for outcome in stream:
            outcomes.append(outcome)  # noqa: PERF401 (it raises)
    except Exception as error:  # noqa: BLE001 (the test looks at it)
        return outcomes, error
    return outcomes, None


@pytest.mark.parametrize("is_async", [True, False])
async def test_each_input_has_its_outcome(*, is_async: bool) -> None:
    """Every input has exactly one outcome, even if other inputs or tasks fail."""
    jobs = songs(12)
    jobs[3] = jobs[7] = BAD
    async with (
        Sandbox(seed=3, time_scale=SCALE, failure_share=0.3) as sandbox,
        SunoClient(sandbox.key, base_url=sandbox.url, policy=FAST) as suno,
    ):
        created: list[Creation] = []
        outcomes = [
            outcome
            async for outcome in suno.pipeline(
                as_async_iterator(jobs) if is_async else iter(jobs),
                max_pending=5,
                on_creation=created.append,
            )
        ]
        assert sorted(outcome.index for outcome in outcomes) == list(range(12))
        assert sorted(creation.index for creation in created) == list(range(12))
        at_server = prompts(sandbox)
        kinds: set[type[Exception] | None] = set()
        for outcome in outcomes:
            assert outcome.job is jobs[outcome.index]
            kinds.add(type(outcome.error) if outcome.error else None)
            if outcome.job is BAD:
                assert isinstance(outcome.error, InvalidInputError)
                assert outcome.task_id == ""
            else:
                assert at_server.pop(outcome.task_id) == f"song {outcome.index}"
        assert not at_server
        assert kinds == {None, InvalidInputError, TaskFailedError}
        assert suno.statistics().watched == 0


async def test_create_many(suno: SunoClient, sandbox: Sandbox) -> None:
    """Each creation has the index of its input. Only a few inputs are read in advance."""
    jobs, read = songs(30), 0

    def source() -> Iterator[GenerateMusic]:
        nonlocal read
        for job in jobs:
            read += 1
            yield job

    taken = 0
    async for creation in suno.create_many(source()):
        assert creation.ok
        assert creation.handle is not None
        assert prompts(sandbox)[creation.handle.id] == jobs[creation.index].prompt
        assert read <= taken + CREATES_AT_ONCE + 2
        taken += 1
        await asyncio.sleep(0.1)
    assert taken == sandbox.statistics.created == 30


async def test_source_that_fails(suno: SunoClient, sandbox: Sandbox) -> None:
    """If reading the inputs fails, a pipeline first yields all outcomes, then raises the error."""

    def source() -> Iterator[GenerateMusic]:
        yield from songs(3)
        raise LookupError("the source broke")

    outcomes, error = await until_it_raises(suno.pipeline(source()))
    assert isinstance(error, LookupError)
    assert len(outcomes) == sandbox.statistics.created == 3


async def test_callback_that_fails(suno: SunoClient, sandbox: Sandbox) -> None:
    """If `on_creation` raises, no more inputs are read, but each created task has an outcome."""

    def fail(creation: Creation) -> None:
        if creation.index == 1:
            raise OSError("the disk is full")

    outcomes, error = await until_it_raises(suno.pipeline(songs(50), on_creation=fail))
    assert isinstance(error, OSError)
    assert {outcome.task_id for outcome in outcomes} == set(sandbox.tasks)
    assert len(outcomes) < 50


@pytest.mark.parametrize("way", ["cancel", "close"])
async def test_leaving_loses_nothing(way: str) -> None:
    """`on_creation` is called for every created task, even if a pipeline is cancelled or closed."""
    faults = Faults(latency_out=(0.3, 0.3))
    async with (
        Sandbox(time_scale=SCALE, faults=faults) as sandbox,
        SunoClient(sandbox.key, base_url=sandbox.url, policy=FAST) as suno,
    ):
        created: list[Creation] = []
        read = 0

        def source() -> Iterator[GenerateMusic]:
            nonlocal read
            for job in songs(100):
                read += 1
                yield job

        async def consume() -> None:
            stream = suno.pipeline(source(), on_creation=created.append)
            async with contextlib.aclosing(stream):
                await anext(stream)
                if way == "close":
                    return
                await asyncio.sleep(100)

        consuming = asyncio.ensure_future(consume())
        async with asyncio.timeout(10):
            while len(created) < 10:  # noqa: ASYNC110 (no event to wait for)
                await asyncio.sleep(0.01)
        if way == "cancel":
            consuming.cancel()
        await asyncio.wait([consuming])
        told = {creation.handle.id for creation in created if creation.handle is not None}
        assert told == set(sandbox.tasks)
        assert len(told) < 100
        # Every input that was read is reported.
        assert sorted(each.index for each in created) == list(range(read))
        assert {type(each.error) for each in created if not each.ok} <= {NotSentError}
        await asyncio.sleep(0.3)
        assert told == set(sandbox.tasks)
        assert suno.statistics().watched == 0


async def test_cancelled_twice() -> None:
    """If a stream is cancelled twice, its open create requests are still finished and reported."""
    faults = Faults(latency_out=(0.3, 0.3))
    created: list[Creation] = []
    async with Sandbox(faults=faults) as sandbox:
        async with SunoClient(sandbox.key, base_url=sandbox.url) as suno:
            stream = suno.create_many(songs(100), on_creation=created.append)
            first = asyncio.ensure_future(anext(stream))
            async with asyncio.timeout(10):
                while not sandbox.statistics.created:  # noqa: ASYNC110 (no event to wait for)
                    await asyncio.sleep(0.01)
            for _ in range(2):
                first.cancel()
                await asyncio.sleep(0)
            await asyncio.wait([first])
            assert not any(each.ok for each in created)
        told = {creation.handle.id for creation in created if creation.handle is not None}
        assert told == set(sandbox.tasks)
        assert told


async def test_left_creates_are_not_tried_again() -> None:
    """After a stream is cancelled, a create request that was refused with a 429 is not retried."""
    faults = Faults(latency_out=(0.3, 0.3))
    async with (
        Sandbox(faults=faults, rate_limit=1, retry_after=0) as sandbox,
        SunoClient(sandbox.key, base_url=sandbox.url) as suno,
    ):
        stream = suno.create_many(songs(100))
        first = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0.25)
        first.cancel()
        await asyncio.wait([first])
        asked = sandbox.statistics.paths["CreateTask"]
        assert sandbox.statistics.rate_limited > 0
        await asyncio.sleep(0.5)
        assert sandbox.statistics.paths["CreateTask"] == asked


async def test_refused_key() -> None:
    """If the key is refused, all waits end, and the pipeline raises `AuthenticationError`."""
    async with (
        Sandbox(time_scale=1.0) as sandbox,
        SunoClient(sandbox.key, base_url=sandbox.url) as suno,
    ):
        read = 0

        def source() -> Iterator[GenerateMusic]:
            nonlocal read
            for job in songs(1000):
                read += 1
                if read == 5:
                    sandbox.refuse(401, count=None)
                yield job

        # A task of unknown age is polled at once.
        (old,) = sandbox.add_tasks(1, durations=[1e6])
        waiting = asyncio.ensure_future(suno.task(old).result())
        outcomes, error = await until_it_raises(suno.pipeline(source()))
        assert isinstance(error, AuthenticationError)
        with pytest.raises(AuthenticationError):
            await waiting
        asked = sandbox.statistics.requests
        with pytest.raises(AuthenticationError, match="not sent"):
            await suno.balance()
        assert sandbox.statistics.requests == asked
        assert len(outcomes) == read <= 5 + CREATES_AT_ONCE
        assert {type(each.error) for each in outcomes} == {AuthenticationError}
        assert asked <= 5 + CREATES_AT_ONCE + 3


async def test_refused_key_and_a_source_that_waits(suno: SunoClient, sandbox: Sandbox) -> None:
    """If the key is refused, a pipeline ends even while it waits for the next input."""
    waits = asyncio.Event()

    async def source() -> AsyncIterator[GenerateMusic]:
        yield songs(1)[0]
        waits.set()
        await asyncio.Event().wait()

    sandbox.refuse(401, count=None)
    async with asyncio.timeout(10):
        outcomes, error = await until_it_raises(suno.pipeline(source()))
    assert waits.is_set()
    assert isinstance(error, AuthenticationError)
    assert [each.index for each in outcomes] == [0]


async def test_leaving_a_source_that_failed(
    suno: SunoClient, caplog: pytest.LogCaptureFixture
) -> None:
    """If the iterator of inputs has raised an error, closing the stream logs nothing."""

    def source() -> Iterator[GenerateMusic]:
        yield BAD
        yield BAD
        raise LookupError("the source broke")

    stream = suno.pipeline(source())
    await anext(stream)
    await asyncio.sleep(0.01)
    await stream.aclose()
    del stream
    gc.collect()
    assert not caplog.records


async def test_out_of_credits() -> None:
    """If the credits run out, a pipeline stops reading inputs. It fails after its tasks ended."""
    read = 0

    def source() -> Iterator[GenerateMusic]:
        nonlocal read
        for job in songs(200):
            read += 1
            yield job

    async with Sandbox(time_scale=SCALE, credits=120, failure_share=0.0) as sandbox:
        async with SunoClient(sandbox.key, base_url=sandbox.url, policy=FAST) as suno:
            outcomes, error = await until_it_raises(suno.pipeline(source()))
        assert isinstance(error, InsufficientCreditsError)
        assert len(outcomes) == read <= 10 + CREATES_AT_ONCE + 1
        refused = [each for each in outcomes if not each.ok]
        assert {type(each.error) for each in refused} == {InsufficientCreditsError}
        assert len(outcomes) - len(refused) == sandbox.statistics.created == 10


async def test_closed_client() -> None:
    """If the client is closed, all outcomes have a `ClientClosedError`.

    Then the pipeline raises this error.
    """
    async with Sandbox(endless_share=1.0) as sandbox, asyncio.timeout(60):
        suno = SunoClient(sandbox.key, base_url=sandbox.url)
        created = asyncio.Queue[Creation]()
        stream = suno.pipeline(songs(100), max_pending=4, on_creation=created.put_nowait)
        ending = asyncio.ensure_future(until_it_raises(stream))
        for _ in range(4):
            await created.get()
        await suno.close()
        outcomes, error = await ending
        assert isinstance(error, ClientClosedError)
        assert {type(outcome.error) for outcome in outcomes} == {ClientClosedError}
        assert {outcome.task_id for outcome in outcomes} - {""} == set(sandbox.tasks)
        with pytest.raises(ClientClosedError):
            suno.pipeline([])


async def test_no_inputs(suno: SunoClient) -> None:
    """A pipeline without inputs yields nothing."""
    assert [outcome async for outcome in suno.pipeline([])] == []


async def test_max_pending_of_zero(suno: SunoClient) -> None:
    """`max_pending=0` raises a `ConfigurationError`."""
    with pytest.raises(ConfigurationError):
        suno.pipeline([], max_pending=0)


async def test_an_object_that_is_not_an_input(suno: SunoClient, sandbox: Sandbox) -> None:
    """If an object is not an input, its outcome has the error `InvalidInputError`."""
    anything: Any = ["a prompt", None]
    outcomes = [outcome async for outcome in suno.pipeline(anything)]
    assert {type(outcome.error) for outcome in outcomes} == {InvalidInputError}
    assert sandbox.statistics.requests == 0


def test_many_more_inputs_than_open_tasks() -> None:
    """Each of 3,000 inputs has one outcome. At most `max_pending` tasks are open at any time."""
    count, bound = 3_000, 100
    ids = itertools.count()
    born: dict[str, float] = {}
    most_open = 0

    def answer(request: Request) -> Reply:
        """Answer like a server whose jobs take 40 s; one job in ten fails."""
        nonlocal most_open
        now = asyncio.get_running_loop().time()
        if request.method == "POST":
            task_id = f"t{next(ids)}"
            born[task_id] = now
            data: dict[str, Any] = {"task_id": task_id}
        else:
            task_id = dict(request.params)["task_id"]
            ended = now - born[task_id] > 40
            status = ("failed" if int(task_id[1:]) % 10 == 0 else "success") if ended else "running"
            data = {"task_id": task_id, "status": status}
            if ended:
                del born[task_id]
        most_open = max(most_open, len(born))
        return reply(data)

    server = Server(delay=0.025)
    server.answer = answer

    async def main() -> None:
        read = taken = 0

        def source() -> Iterator[GenerateMusic]:
            nonlocal read
            for read in range(1, count + 1):
                assert read - taken <= bound
                yield GenerateMusic(prompt=f"song {read}", instrumental=True)

        seen = bytearray(count)
        async with server.client() as suno:
            async for outcome in suno.pipeline(source(), max_pending=bound):
                taken += 1
                seen[outcome.index] += 1
                assert suno.statistics().watched <= bound
        assert seen == b"\1" * count

    run_virtual(main())
    assert most_open <= bound
