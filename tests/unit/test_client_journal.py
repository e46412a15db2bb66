"""Tests of a client with a journal: nothing is lost, and nothing is paid twice.

A *create* is the request that creates a task. A *key* identifies a create, so that a repeated
create returns the earlier task. A *stream* yields the outcomes of many tasks. A *run* is a stream
with a name, and can be stopped and later continued.
"""

from __future__ import annotations

import asyncio
import json
import random
from typing import TYPE_CHECKING, Any

import pytest

from suno_async import (
    AuthenticationError,
    ConfigurationError,
    ConnectionLostError,
    CreateOutcomeUnknownError,
    GenerateMusic,
    InputChangedError,
    JobOutcome,
    JournalError,
    MaintenanceError,
    NotSentError,
    RunInUseError,
    ServerError,
    SubmissionState,
    SunoClient,
    SunoError,
    TaskFailedError,
    TaskHandle,
    TaskInfo,
    TaskTimeoutError,
    ValidationError,
)
from suno_async.limits.local import LocalLimiter
from tests.memory_journal import MemoryJournal, Store
from tests.scripted import EPOCH, URL, Server, reply
from tests.virtual import run_virtual

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection

    from suno_async._protocol.requests import Request
    from suno_async._transport.http import Reply
    from suno_async.journal.base import TaskRecord

JOB = GenerateMusic(prompt="slow piano", instrumental=True)


class Finishing(Server):
    """A server that ends each task at its first poll.

    A task fails if its prompt contains "fail". All other tasks succeed.

    Attributes:
        lose: Prompts of creates whose reply is lost, although the task is created.
        refuse: The error code in the reply to every create; 0 means no error.
        polls: The task id of each poll.
    """

    def __init__(self) -> None:
        super().__init__()
        self.answer = self.finishing
        self.lose: set[str] = set()
        self.refuse = 0
        self.polls: list[str] = []

    def finishing(self, request: Request) -> Reply:
        """Return the reply to `request`. The reply to a poll is the final record of the task."""
        if request.path.endswith("TaskInfo"):
            task_id = dict(request.params)["task_id"]
            self.polls.append(task_id)
            failed = any(
                "fail" in prompt for prompt in self.created if task_id in self.created[prompt]
            )
            return reply(
                {
                    "task_id": task_id,
                    "status": "failed" if failed else "success",
                    "create_at": EPOCH,
                    "complete_at": EPOCH + 20,
                    "param": {"model": "suno/music-generate"},
                    "message": "no good",
                }
            )
        if request.path.endswith("CreateTask"):
            if self.refuse:
                return reply(None, self.refuse)
            prompt = json.loads(request.body or b"")["input"]["prompt"]
            answer = self.usual(request)
            if prompt in self.lose:
                raise ConnectionLostError("lost")
            return answer
        return self.usual(request)

    @property
    def creates(self) -> int:
        """Number of tasks that were created."""
        return sum(map(len, self.created.values()))


def jobs(count: int) -> list[GenerateMusic]:
    """Return `count` inputs with different prompts."""
    return [GenerateMusic(prompt=f"song {number}") for number in range(count)]


async def collect(outcomes: Any) -> list[JobOutcome]:  # noqa: ANN401 (any async iterable)
    """Return the items of an asynchronous iterator."""
    return [each async for each in outcomes]


def test_every_step_is_stored_before_the_next_one_happens() -> None:
    """The journal stores each step of a create before the next step happens."""

    async def work() -> None:
        server, journal = Finishing(), MemoryJournal()
        states: list[tuple[str, list[str]]] = []

        def answer(request: Request) -> Reply:
            name = request.path.rpartition("/")[2]
            states.append((name, [state for _, state in journal.store.log]))
            return server.finishing(request)

        server.answer = answer
        async with server.client(journal=journal) as suno:
            handle = await suno.create(JOB)
            (record,) = journal.store.submissions.values()
            assert record.state is SubmissionState.CREATED
            assert record.task_id == handle.id
            assert record.created_at == handle.created_at
            assert not journal.store.tasks[handle.id].ended
            info = await handle
            assert isinstance(info, TaskInfo)
            assert journal.store.tasks[handle.id].status == "success"
            assert journal.store.tasks[handle.id].raw == info.raw
        assert states[0] == ("CreateTask", ["planned", "sending"])
        assert states[1] == ("TaskInfo", ["planned", "sending", "created"])

    run_virtual(work())


def test_a_result_is_stored_before_a_stream_yields_it() -> None:
    """`as_completed` yields an outcome only after it was stored in the journal."""

    async def work() -> None:
        server, journal = Finishing(), MemoryJournal()
        ids = [f"task-{number}" for number in range(40)]
        async with server.client(journal=journal) as suno:
            async for outcome in suno.as_completed(ids):
                assert journal.store.tasks[outcome.task_id].ended
        async with server.client(journal=MemoryJournal(journal.store)) as suno:
            again = [each.task_id async for each in suno.as_completed(ids)]
        assert sorted(again) == sorted(ids)
        assert len(server.polls) == len(ids)

    run_virtual(work())


class SlowToRead(MemoryJournal):
    """A journal that needs 10 seconds to find tasks."""

    async def find_tasks(self, task_ids: Collection[str]) -> dict[str, TaskRecord]:
        """Wait for 10 seconds, then return the tasks."""
        await asyncio.sleep(10)
        return await super().find_tasks(task_ids)


def test_a_timeout_includes_the_look_into_the_journal() -> None:
    """A timeout includes the time that the client needs to read the journal."""

    async def work() -> None:
        server, loop = Server(), asyncio.get_running_loop()
        async with server.client(journal=SlowToRead()) as suno:
            handle = await suno.create(JOB)
            started = loop.time()
            with pytest.raises(TaskTimeoutError):
                await handle.result(timeout=15)
            assert loop.time() - started == pytest.approx(15, abs=0.1)
            started = loop.time()
            assert len(await suno.outcomes(slowly([handle, handle]), timeout=15)) == 2
            assert loop.time() - started == pytest.approx(15, abs=0.1)
            started = loop.time()
            (outcome,) = await collect(suno.pipeline(jobs(1), timeout=15))
            assert isinstance(outcome.error, TaskTimeoutError)
            assert loop.time() - started == pytest.approx(15, abs=0.5)

    async def slowly(tasks: list[TaskHandle]) -> AsyncIterator[TaskHandle]:
        await asyncio.sleep(3)
        for task in tasks:
            yield task

    run_virtual(work())


def test_a_stored_result_needs_no_time() -> None:
    """`result` returns a stored result even if the timeout is 0."""

    async def work() -> None:
        server, journal = Finishing(), SlowToRead()
        async with server.client(journal=journal) as suno:
            handle = await suno.create(JOB)
            info = await handle
            assert await handle.result(timeout=0) == info
        assert len(server.polls) == 1

    run_virtual(work())


def test_a_journal_that_fails_before_the_request_prevents_it() -> None:
    """If the journal cannot store a create, the create is not sent."""

    async def work() -> None:
        server, journal = Finishing(), MemoryJournal()

        def fail(name: str) -> None:
            if name == "advance sending":
                raise JournalError("disk full")

        journal.before = fail
        async with server.client(journal=journal) as suno:
            with pytest.raises(JournalError, match="disk full"):
                await suno.create(JOB)
            assert suno.statistics().requests == 0
        assert not server.requests

    run_virtual(work())


def test_a_journal_that_fails_after_the_reply_loses_no_id(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """If a task id cannot be stored, the id is logged, and `create` still returns the task."""

    async def work() -> str:
        server, journal = Finishing(), MemoryJournal()

        def fail(name: str) -> None:
            if name in {"advance created", "keep_results", "find_tasks"}:
                raise JournalError("disk full")

        journal.before = fail
        async with server.client(journal=journal) as suno:
            handle = await suno.create(JOB)
            assert (await handle).task_id == handle.id
            return handle.id

    assert run_virtual(work()) in caplog.text


def test_a_dedupe_key_pays_once_also_after_a_restart() -> None:
    """A second create with the same dedupe key returns the first task, even after a restart."""

    async def work() -> None:
        server, store = Finishing(), Store()
        creations: list[object] = []
        async with server.client(
            journal=MemoryJournal(store), on_creation=creations.append
        ) as suno:
            first = await suno.create(JOB, dedupe_key="a")
            second = await suno.create(JOB, dedupe_key="a")
            other = await suno.create(JOB, dedupe_key="b")
        async with server.client(journal=MemoryJournal(store)) as suno:
            third = await suno.create(JOB, dedupe_key="a")
            assert third.created_at == first.created_at
        assert first.id == second.id == third.id != other.id
        assert server.creates == 2
        assert len(creations) == 2

    run_virtual(work())


def test_concurrent_creates_with_one_key_pay_once() -> None:
    """Concurrent creates with the same key return the same task."""

    async def work() -> None:
        server, store = Finishing(), Store()
        async with (
            server.client(journal=MemoryJournal(store)) as one,
            server.client(journal=MemoryJournal(store)) as two,
        ):
            handles = await asyncio.gather(
                *(each.create(JOB, dedupe_key="a") for each in (one, two, one, two))
            )
        assert len({each.id for each in handles}) == 1
        assert server.creates == 1

    run_virtual(work())


@pytest.mark.parametrize(("code", "error"), [(422, ValidationError), (455, MaintenanceError)])
def test_a_refused_key_creates_again(code: int, error: type[SunoError]) -> None:
    """If the server refuses a create, the create can be repeated with the same key."""

    async def work() -> None:
        server, store = Finishing(), Store()
        async with server.client(journal=MemoryJournal(store), retry_for=0) as suno:
            server.refuse = code
            with pytest.raises(error):
                await suno.create(JOB, dedupe_key="a")
            server.refuse = 0
            await asyncio.sleep(100)
            handle = await suno.create(JOB, dedupe_key="a")
        assert [each.task_id for each in store.submissions.values()] == [handle.id]

    run_virtual(work())


def test_an_unknown_key_is_not_sent_again_until_it_is_settled() -> None:
    """If the reply to a create is lost, the key cannot be used again until `settle` is called."""

    async def work() -> None:
        server, store = Finishing(), Store()
        server.lose = {"slow piano"}
        async with server.client(journal=MemoryJournal(store)) as suno:
            with pytest.raises(CreateOutcomeUnknownError) as first:
                await suno.create(JOB, dedupe_key="a")
            with pytest.raises(CreateOutcomeUnknownError) as second:
                await suno.create(JOB, dedupe_key="a")
            assert server.creates == 1
            assert first.value.submission_id == second.value.submission_id != ""
            await suno.settle(first.value.submission_id, "task-0")
            assert (await suno.create(JOB, dedupe_key="a")).id == "task-0"
            with pytest.raises(CreateOutcomeUnknownError) as third:
                await suno.create(JOB, dedupe_key="b")
            await suno.settle(third.value.submission_id, None)
            server.lose = set()
            assert (await suno.create(JOB, dedupe_key="b")).id == "task-2"
            with pytest.raises(JournalError):
                await suno.settle(third.value.submission_id, None)

    run_virtual(work())


def test_a_key_belongs_to_one_input() -> None:
    """A second create with the same key but another input raises `InputChangedError`."""

    async def work() -> None:
        server = Finishing()
        async with server.client(journal=MemoryJournal()) as suno:
            await suno.create(JOB, dedupe_key="a")
            with pytest.raises(InputChangedError, match="'a'"):
                await suno.create(GenerateMusic(prompt="loud drums"), dedupe_key="a")
        assert server.creates == 1

    run_virtual(work())


@pytest.mark.parametrize("stop_after", [0, 1, 7, 13, 30])
def test_a_run_continues_where_it_was_stopped(stop_after: int) -> None:
    """A run that is stopped and continued creates exactly one task for each input."""

    async def work() -> None:
        server, store = Finishing(), Store()
        inputs = [*jobs(20), GenerateMusic(prompt="will fail")]
        async with server.client(journal=MemoryJournal(store)) as suno:
            count = 0
            outcomes = suno.pipeline(inputs, run="album")
            while count < stop_after and await anext(outcomes, None) is not None:
                count += 1
            await outcomes.aclose()
        async with server.client(journal=MemoryJournal(store)) as suno:
            ended = await collect(suno.pipeline(inputs, run="album"))
            polls = len(server.polls)
            again = await collect(suno.pipeline(inputs, run="album"))
        assert sorted(each.index for each in ended) == list(range(21))
        assert server.creates == 21
        assert all(len(ids) == 1 for ids in server.created.values())
        assert len(server.polls) == polls
        for outcomes_of in (ended, again):
            errors = {each.index: each.error for each in outcomes_of if each.error is not None}
            assert isinstance(errors.pop(20), TaskFailedError)
            assert not errors

    run_virtual(work())


def test_a_killed_run_marks_what_was_in_flight_as_unknown() -> None:
    """If a process is killed during a run, continuing the run creates no task twice."""

    async def work(seed: int) -> int:
        draw = random.Random(seed)
        server, store = Finishing(), Store()
        inputs = jobs(25)
        unknown: set[int] = set()
        for _ in range(4):
            journal = MemoryJournal(store)
            suno = await server.client(journal=journal).__aenter__()
            running = asyncio.create_task(collect(suno.pipeline(inputs, run="album")))
            await asyncio.sleep(draw.uniform(0.0, 0.8))
            store.kill(journal)
            running.cancel()
            await asyncio.wait([running])
            await suno.close()
        async with server.client(journal=MemoryJournal(store)) as suno:
            ended = await collect(suno.pipeline(inputs, run="album"))
            for each in ended:
                if each.error is not None:
                    assert isinstance(each.error, CreateOutcomeUnknownError)
                    unknown.add(each.index)
            listed = [each async for each in suno.resume(run="album")]
        assert sorted(each.index for each in ended) == list(range(25))
        assert {each.index for each in listed} == unknown
        assert all(len(ids) == 1 for ids in server.created.values())
        created = {int(prompt.split()[1]) for prompt in server.created}
        assert created | unknown == set(range(25))
        return len(unknown)

    assert sum(run_virtual(work(seed)) for seed in range(10)) > 0


def test_keys_follow_inputs_whose_order_changes() -> None:
    """If a run uses a `key` function, it can be continued with a different order of inputs."""

    async def work() -> None:
        server, store = Finishing(), Store()
        inputs = jobs(10)

        def key(job: object) -> str:
            assert isinstance(job, GenerateMusic)
            return job.prompt or ""

        async with server.client(journal=MemoryJournal(store)) as suno:
            await collect(suno.pipeline(inputs[:5], run="album", key=key))
            ended = await collect(suno.pipeline(inputs[::-1], run="album", key=key))
        assert len(ended) == server.creates == 10

    run_virtual(work())


def test_a_changed_input_ends_a_run_before_anything_is_paid() -> None:
    """If an input of a run has changed, continuing the run raises an error and creates no task."""

    async def work() -> None:
        server = Finishing()
        async with server.client(journal=MemoryJournal()) as suno:
            await collect(suno.pipeline(jobs(3), run="album"))
            changed = [GenerateMusic(prompt="another"), *jobs(3)[1:]]
            with pytest.raises(InputChangedError, match="input 0 of run 'album'"):
                await collect(suno.pipeline(changed, run="album"))
        assert server.creates == 3

    run_virtual(work())


def test_one_stream_at_a_time_works_on_a_run() -> None:
    """While a stream uses a run, every other stream of this run raises `RunInUseError`."""

    async def work() -> None:
        server, store = Finishing(), Store()
        async with (
            server.client(journal=MemoryJournal(store)) as one,
            server.client(journal=MemoryJournal(store)) as two,
        ):
            first = one.pipeline(jobs(3), run="album")
            await anext(first)
            for suno in (one, two):
                with pytest.raises(RunInUseError, match="album"):
                    await collect(suno.pipeline(jobs(3), run="album"))
                with pytest.raises(RunInUseError, match="album"):
                    await collect(suno.resume(run="album"))
            await first.aclose()
            assert len(await collect(two.pipeline(jobs(3), run="album"))) == 3

    run_virtual(work())


def test_resume_waits_for_all_that_is_open() -> None:
    """`resume` yields the outcome and the input of each unfinished task."""

    async def work() -> None:
        server, store = Finishing(), Store()
        async with server.client(journal=MemoryJournal(store)) as suno:
            created = [each async for each in suno.create_many(jobs(5))]
            done = await suno.run(JOB)
        ids = {each.handle.id: each.job for each in created if each.error is None}
        async with server.client(journal=MemoryJournal(store)) as suno:
            outcomes = await collect(suno.resume())
            assert {each.task_id: each.job for each in outcomes} == ids
            assert done.task_id not in ids
            assert await collect(suno.resume()) == []

    run_virtual(work())


def test_handles_of_all_that_is_open() -> None:
    """`open_tasks` returns a handle for each task that has not ended, and sends no request."""

    async def work() -> None:
        server, store = Finishing(), Store()
        async with server.client(journal=MemoryJournal(store)) as suno:
            await suno.run(JOB)
            created = [each async for each in suno.create_many(jobs(3))]
        open_ids = {each.handle.id for each in created if each.handle is not None}
        async with server.client(journal=MemoryJournal(store)) as suno:
            requests = len(server.requests)
            handles = await suno.open_tasks()
            assert {each.id for each in handles} == open_ids
            assert len(server.requests) == requests
            assert all(each.created_at is not None for each in handles)
            await handles[0]
            assert len(await suno.open_tasks()) == 2

    run_virtual(work())


def test_two_clients_share_the_rate_of_the_account() -> None:
    """Two clients of the same account share the rate limit equally."""

    async def work() -> None:
        store = Store()
        server = Finishing()
        # Separate limiters, as in two processes.
        first, second = LocalLimiter(), LocalLimiter()
        async with server.client(journal=MemoryJournal(store), limiter=first) as one:
            assert first.rate == 15.0
            async with server.client(journal=MemoryJournal(store), limiter=second) as two:
                assert first.rate == second.rate == 7.5
                ids = [f"task-{number}" for number in range(60)]
                await asyncio.gather(one.outcomes(ids), two.outcomes([f"b-{each}" for each in ids]))
            await asyncio.sleep(3)
            assert first.rate == 15.0
        times = [at for at, _ in server.requests]
        assert max(sum(start <= at < start + 1 for at in times) for start in times) <= 15

    run_virtual(work())


def test_learnt_durations_survive_a_restart() -> None:
    """A new client loads the task durations that an earlier client stored in the journal."""

    async def work() -> None:
        server, store = Finishing(), Store()
        async with server.client(journal=MemoryJournal(store)) as suno:
            await suno.outcomes([f"task-{number}" for number in range(30)])
        async with server.client(journal=MemoryJournal(store)) as suno:
            assert suno.statistics().learnt["suno/music-generate"].samples == 30
        store.durations = b"nonsense"
        async with server.client(journal=MemoryJournal(store)) as suno:
            assert not suno.statistics().learnt

    run_virtual(work())


def test_a_journal_must_be_opened() -> None:
    """If a client with a journal is used without `async with`, it raises an error."""

    async def work() -> None:
        suno = Finishing().client(journal=MemoryJournal())
        with pytest.raises(ConfigurationError, match="async with"):
            await suno.balance()
        await suno.close()

    run_virtual(work())


async def by_dedupe_key(suno: SunoClient) -> object:
    """Create a task with a dedupe key."""
    return await suno.create(JOB, dedupe_key="a")


async def by_settle(suno: SunoClient) -> None:
    """Call `settle`, which needs a journal."""
    await suno.settle("a", None)


async def by_run(suno: SunoClient) -> object:
    """Start a run, and return its first outcome."""
    return await anext(suno.pipeline([JOB], run="a"))


async def by_resume(suno: SunoClient) -> object:
    """Resume the unfinished tasks, and return the first outcome."""
    return await anext(suno.resume())


@pytest.mark.parametrize("use", [by_dedupe_key, by_settle, by_run, by_resume])
def test_what_needs_a_journal_says_so(use: Callable[[SunoClient], Awaitable[object]]) -> None:
    """If a client has no journal, each feature that needs one raises `ConfigurationError`."""

    async def work() -> None:
        async with Finishing().client() as suno:
            with pytest.raises(ConfigurationError, match="journal"):
                await use(suno)

    run_virtual(work())


def test_a_key_is_replaced_while_running() -> None:
    """After `rotate_key`, the data in the journal belongs to the new API key."""

    async def work() -> None:
        server, store = Finishing(), Store()
        async with server.client(journal=MemoryJournal(store)) as suno:
            handle = await suno.create(JOB, dedupe_key="a")
            before = next(iter(store.submissions.values())).account
            server.answer = lambda _: reply(None, 401)
            with pytest.raises(AuthenticationError):
                await suno.rotate_key("ak_" + "b" * 32)
            server.answer = lambda _: reply(None, 500)
            with pytest.raises(ServerError):
                await suno.rotate_key("ak_" + "b" * 32)
            assert next(iter(store.submissions.values())).account == before
            server.answer = server.finishing
            await suno.rotate_key("ak_" + "b" * 32)
            assert next(iter(store.submissions.values())).account != before
            assert (await suno.create(JOB, dedupe_key="a")).id == handle.id
            with pytest.raises(ConfigurationError):
                await suno.rotate_key(" ")
            async with SunoClient("ak_" + "c" * 32, base_url=URL) as other:
                other.statistics()
                with pytest.raises(ConfigurationError, match="already uses the new key"):
                    await suno.rotate_key("ak_" + "c" * 32)

    run_virtual(work())


def test_a_client_that_opens_while_a_key_is_replaced() -> None:
    """If a client with the new API key is opened during `rotate_key`, the call raises an error."""

    async def work() -> None:
        server, store = Finishing(), Store()
        other = SunoClient("ak_" + "d" * 32, base_url=URL)

        opening: list[asyncio.Task[SunoClient]] = []

        def answer(request: Request) -> Reply:
            opening.append(asyncio.create_task(other.__aenter__()))
            return server.finishing(request)

        async with server.client(journal=MemoryJournal(store)) as suno:
            await suno.create(JOB)
            before = next(iter(store.submissions.values())).account
            server.answer = answer
            with pytest.raises(ConfigurationError, match="already uses the new key"):
                await suno.rotate_key("ak_" + "d" * 32)
            assert opening[0].done()
            assert next(iter(store.submissions.values())).account == before
        await other.close()

    run_virtual(work())


def test_a_slow_process_whose_submission_was_taken_over_sends_nothing() -> None:
    """If another client takes over a planned create, the first client does not send the create."""

    async def work() -> None:
        server, journal = Finishing(), MemoryJournal()

        def stolen(name: str) -> None:
            if name == "advance sending":
                for key in journal.store.owned:
                    journal.store.owned[key] = MemoryJournal(journal.store)

        journal.before = stolen
        async with server.client(journal=journal) as suno:
            with pytest.raises((JournalError, NotSentError)):
                await suno.create(JOB)
        assert server.creates == 0

    run_virtual(work())
