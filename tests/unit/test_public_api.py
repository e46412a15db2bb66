"""Tests of `SunoClient` in virtual time: tasks, outcomes, timeouts and observers."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from suno_async import (
    Created,
    Failure,
    GenerateMusic,
    GenerateSounds,
    InvalidInputError,
    JobFailure,
    JobSuccess,
    NotCreated,
    NullObserver,
    RequestTimeoutError,
    Success,
    SunoError,
    TaskFailedError,
    TaskRef,
    TaskTimeoutError,
)
from tests.scripted import EPOCH, Server, reply
from tests.virtual import run_virtual

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from suno_async import TaskInfo
    from suno_async._protocol.requests import Request
    from suno_async._transport.http import Reply

SONG = GenerateMusic("rain")


class Jobs(Server):
    """A server whose tasks end `seconds` after their creation.

    Tasks with the prompt "bad" fail. All other tasks succeed.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.begun: dict[str, float] = {}
        self.bad: set[str] = set()
        self.answer = self.run

    def run(self, request: Request) -> Reply:
        """Return the reply to a request: a new task, or the record of an existing task."""
        now = asyncio.get_running_loop().time()
        if request.path.endswith("CreateTask"):
            answer = self.usual(request)
            task_id = json.loads(answer.body)["data"]["task_id"]
            self.begun[task_id] = now
            if b'"bad"' in (request.body or b""):
                self.bad.add(task_id)
            return answer
        if request.path.endswith("TaskInfo"):
            task_id = dict(request.params)["task_id"]
            if now < self.begun.get(task_id, 0.0) + self.seconds:
                return reply({"task_id": task_id, "status": "running"})
            status = "failed" if task_id in self.bad else "success"
            return reply({"task_id": task_id, "status": status})
        return self.usual(request)


def test_run() -> None:
    """`run` returns the record of a successful task, and raises an error for a failed task."""

    async def main() -> None:
        async with Jobs(100.0).client() as suno:
            assert (await suno.run(SONG)).task_id == "task-0"
            with pytest.raises(TaskFailedError):
                await suno.run(GenerateMusic("bad"))

    run_virtual(main())


@pytest.mark.parametrize(("timeout", "created"), [(0.04, False), (30.0, True)])
def test_run_times_out(timeout: float, *, created: bool) -> None:
    """The timeout of `run` includes both the create request and the wait for the task."""
    server = Jobs(100.0)
    reported: list[object] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with server.client(on_creation=reported.append) as suno:
            with pytest.raises(TaskTimeoutError) as caught:
                await suno.run(SONG, timeout=timeout)
            assert loop.time() == pytest.approx(timeout, abs=0.01)
            assert caught.value.task_id == ("task-0" if created else "")
            await asyncio.sleep(5)
        (creation,) = reported
        assert isinstance(creation, Created)

    run_virtual(main())


def test_run_keeps_other_timeouts_apart() -> None:
    """If an estimate times out, `run` raises `RequestTimeoutError`, not `TaskTimeoutError`."""
    server = Jobs(1.0)

    def lose(_: Request) -> Reply:
        raise RequestTimeoutError("no reply")

    server.answer = lose

    async def main() -> None:
        async with server.client(retry_for=10.0) as suno:
            with pytest.raises(RequestTimeoutError):
                await suno.run(SONG, timeout=500, max_credits=20)

    run_virtual(main())


def test_outcomes_in_order() -> None:
    """`outcomes` accepts a list or async iterator of tasks and keeps the order of the tasks."""
    server = Jobs(60.0)

    async def source() -> AsyncIterator[str | TaskRef]:
        yield "task-1"
        await asyncio.sleep(0)
        yield TaskRef("task-0")

    async def main() -> None:
        async with server.client() as suno:
            handles = [await suno.create(GenerateMusic(each)) for each in ("a", "bad")]
            outcomes = await suno.outcomes(handles)
            assert [type(each) for each in outcomes] == [Success, Failure]
            assert [each.task_id for each in outcomes] == ["task-0", "task-1"]
            again = await suno.outcomes(source())
            assert [each.task_id for each in again] == ["task-1", "task-0"]
            with pytest.raises(InvalidInputError):
                await suno.outcomes(["task-0", ""])

    run_virtual(main())


@pytest.mark.parametrize("plain_first", [False, True])
def test_a_duplicate_without_a_creation_time(*, plain_first: bool) -> None:
    """If a task is given as a `TaskRef` and as a plain id, the creation time is not lost."""
    server = Jobs(20.0)
    tasks: list[str | TaskRef] = [TaskRef("t", EPOCH), "t"]

    async def main() -> None:
        async with server.client() as suno:
            assert len(await suno.outcomes(reversed(tasks) if plain_first else tasks)) == 2
        assert min(at for at, _ in server.requests) > 15

    run_virtual(main())


def test_task_remembers_what_was_created() -> None:
    """If the client created a task, `task` returns a handle with its kind and its creation time."""
    server = Jobs(60.0)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with server.client() as suno:
            await asyncio.sleep(100)
            created = await suno.create(SONG)
            handle = suno.task(created.id)
            assert handle.ref == created.ref
            assert handle.kind == "suno/music-generate"
            assert handle.created_at == pytest.approx(EPOCH + 100.1, abs=0.1)
            before = loop.time()
            outcomes = await suno.outcomes([created.id])
            assert outcomes[0].ok
            assert loop.time() - before > 55
            assert min(at for at, path in server.requests if path.endswith("TaskInfo")) > 115
            assert suno.task("unknown").ref == TaskRef("unknown")
            saved = TaskRef("old", EPOCH - 5.0, "suno/music-cover")
            assert suno.task(saved).ref is saved
            assert suno.task(created.id, created_at=EPOCH).kind == "suno/music-generate"
            assert suno.task("old", created_at=EPOCH).created_at == EPOCH
            assert suno.task(TaskRef("old"), created_at=EPOCH).created_at == EPOCH
            assert suno.task(TaskRef("old", 5.0), created_at=EPOCH).created_at == 5.0

    run_virtual(main())


def test_a_reference_round_trips_through_json() -> None:
    """A `TaskRef` can be saved as JSON and read again."""
    ref = TaskRef("task-1", 1_700_000_000.5, "suno/music-generate")
    assert msgspec.json.decode(msgspec.json.encode(ref), type=TaskRef) == ref


def test_pipeline_timeout() -> None:
    """In a pipeline, the timeout of each task starts when the task is created."""
    server = Jobs(1000.0)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        jobs = [GenerateMusic(str(number)) for number in range(30)]
        ended: list[float] = []
        async with server.client() as suno:
            async for outcome in suno.pipeline(jobs, timeout=50.0):
                ended.append(loop.time())
                assert isinstance(outcome, JobFailure)
                assert isinstance(outcome.error, TaskTimeoutError)
                assert outcome.error.last_status == "running"
            assert suno.statistics().watched == 0
        assert len(ended) == 30
        assert 50.0 < ended[0] < 50.5
        assert 51.5 < ended[-1] < 53.5

    run_virtual(main())


def test_narrowing() -> None:
    """`pipeline` and `create_many` yield different classes for success and failure."""

    async def main() -> None:
        async with Jobs(30.0).client() as suno:
            jobs = [GenerateMusic("a"), GenerateMusic("bad"), GenerateMusic("")]
            kinds = {outcome.index: type(outcome) async for outcome in suno.pipeline(jobs)}
            assert kinds == {0: JobSuccess, 1: JobFailure, 2: JobFailure}
            creations = {each.index: type(each) async for each in suno.create_many(jobs)}
            assert creations == {0: Created, 1: Created, 2: NotCreated}

    run_virtual(main())


def test_the_prompt_may_be_positional() -> None:
    """The prompt of a song or a sound can be a positional argument."""
    assert GenerateMusic("slow piano", instrumental=True).prompt == "slow piano"
    assert GenerateSounds("rain", loop=True).payload() == {"prompt": "rain", "loop": True}


class Events(NullObserver):
    """An observer that records every event except `internal_error`."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.created: list[TaskRef] = []
        self.ended: list[tuple[str, type[SunoError] | None]] = []
        self.pauses: list[str] = []

    def request_sent(self, method: str, path: str) -> None:
        """Record the method and the endpoint of a request."""
        self.names.append(f"sent {method} {path.rsplit('/', 1)[1]}")

    def request_finished(
        self, method: str, path: str, seconds: float, error: SunoError | None
    ) -> None:
        """Record the class of a request's error, or ``NoneType`` if the request succeeded."""
        del method, path
        assert seconds >= 0.1
        self.names.append(f"finished {type(error).__name__}")

    def task_created(self, task: TaskRef) -> None:
        """Record a task that was created."""
        self.created.append(task)

    def task_polled(self, info: TaskInfo) -> None:
        """Record the status in the reply to a status request."""
        self.names.append(f"polled {info.status}")

    def task_ended(self, task_id: str, error: SunoError | None) -> None:
        """Record the id of a task that has an outcome, and the class of its error (or None)."""
        self.ended.append((task_id, None if error is None else type(error)))

    def rate_limited(self, retry_after: float | None) -> None:
        """Record how many seconds the server asks the client to wait."""
        self.names.append(f"rate limited {retry_after}")

    def paused(self, seconds: float, reason: str) -> None:
        """Record the length of a pause in seconds, and its reason."""
        self.pauses.append(f"{seconds:.0f} {reason}")


def test_observer() -> None:
    """An observer receives the events for requests, tasks, rate limits and pauses."""
    events = Events()
    server = Jobs(40.0)
    refusals = [429, 455]

    def answer(request: Request) -> Reply:
        code = refusals.pop() if refusals else 200
        return server.run(request) if code == 200 else reply(None, code, **{"Retry-After": "2"})

    server.answer = answer

    async def main() -> None:
        async with server.client(observer=events) as suno:
            await suno.run(SONG)
            with pytest.raises(TaskFailedError):
                await suno.run(GenerateMusic("bad"))

    run_virtual(main())
    assert [ref.task_id for ref in events.created] == ["task-0", "task-1"]
    assert events.ended == [("task-0", None), ("task-1", TaskFailedError)]
    assert events.pauses == ["2 maintenance (455)", "2 rate exceeded (429)"]
    assert "rate limited 2.0" in events.names
    assert "polled running" in events.names
    sent = sum(name.startswith("sent") for name in events.names)
    assert sent == sum(name.startswith("finished") for name in events.names) == len(server.requests)


def test_an_observer_that_raises(caplog: pytest.LogCaptureFixture) -> None:
    """An exception in an observer is logged and has no other effect."""

    class Broken:
        def __getattr__(self, name: str) -> Any:  # noqa: ANN401 (a method)
            def fail(*_: object) -> None:
                raise ValueError(name)

            return fail

    async def main() -> None:
        async with Jobs(40.0).client(observer=Broken()) as suno:
            assert (await suno.run(SONG)).task_id == "task-0"

    run_virtual(main())
    assert {record.levelno for record in caplog.records} == {logging.ERROR}
    assert any("task_created" in record.getMessage() for record in caplog.records)


async def test_clients_of_one_account_share_it() -> None:
    """In one event loop, clients with the same key and host share one `Account` object."""
    one, other = (Server().client() for _ in range(2))
    async with one, other:
        assert one.accounts[0] is other.accounts[0]
