"""Creating many tasks from a file, so that no interruption pays for one twice, or loses one."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from typing import IO, TYPE_CHECKING, Any

import msgspec

from suno_async import (
    CreateOutcomeUnknownError,
    Creation,
    JobFailure,
    JobOutcome,
    JobSuccess,
    SubmissionState,
    SunoError,
)
from suno_async.cli._ids import DECIDED
from suno_async.cli._run import Tally, record

if TYPE_CHECKING:
    from collections.abc import (
        AsyncIterator,
        Callable,
        Coroutine,
        Iterable,
        Sequence,
    )

    from suno_async import Input, Submission, SunoClient


class Step(msgspec.Struct, frozen=True):
    """One line of a journal: what is known of creating one input.

    Attributes:
        index: Which input, counted from 0.
        digest: Of the input, so that a file changed since is noticed.
        state: ``"sending"``: its request got a permit, so it may have been sent if nothing follows;
            ``"created"``; ``"not_created"``; ``"unknown"``.
        task_id: If it was created.
    """

    index: int
    digest: str
    state: str
    task_id: str = ""


class Plan(msgspec.Struct):
    """What is left to do.

    Attributes:
        create: Inputs to create, by index.
        poll: Tasks created by an earlier run that have not ended: id → index.
        unknown: Inputs that an earlier run may have created; they are left alone.
        decided: How inputs ended in an earlier run.
    """

    create: list[int] = msgspec.field(default_factory=list[int])
    poll: dict[str, int] = msgspec.field(default_factory=dict[str, int])
    unknown: list[int] = msgspec.field(default_factory=list[int])
    decided: dict[int, str] = msgspec.field(default_factory=dict[int, str])


class ChangedInputError(Exception):
    """An input is not what it was when the batch was begun.

    Attributes:
        index: Which, counted from 0.
    """

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.index = index


def digest(job: Input) -> str:
    """Tells inputs apart."""
    body = msgspec.json.encode([job.KIND, job.payload()], order="deterministic")
    return hashlib.blake2b(body, digest_size=8).hexdigest()


def read_steps(lines: Iterable[str]) -> dict[int, Step]:
    """The last step of each input in a journal; a line cut short is passed over."""
    steps: dict[int, Step] = {}
    for line in lines:
        with contextlib.suppress(msgspec.DecodeError):
            step = msgspec.json.decode(line, type=Step)
            steps[step.index] = step
    return steps


def read_decided(lines: Iterable[str]) -> dict[int, str]:
    """How inputs ended, from a file of outcomes; those that may be gone on with are left out."""
    decided: dict[int, str] = {}
    for line in lines:
        try:
            value: Any = json.loads(line)
            index, status = value["index"], value["status"]
        except (ValueError, TypeError, KeyError):
            continue
        if isinstance(index, int) and status in DECIDED:
            decided[index] = status
    return decided


def plan(
    digests: Sequence[str],
    steps: dict[int, Step],
    decided: dict[int, str],
    *,
    resend_unknown: bool,
) -> Plan:
    """What is left to do of a batch that an earlier run may have begun.

    Raises:
        ChangedInputError: An input that was begun is another now.
    """
    found = Plan(decided=decided)
    for index, step in steps.items():
        if index >= len(digests) or step.digest != digests[index]:
            raise ChangedInputError(index)
    for index in range(len(digests)):
        begun = steps.get(index)
        if index in decided:
            continue
        if begun is not None and begun.state == "created":
            found.poll[begun.task_id] = index
        elif begun is None or begun.state == "not_created" or resend_unknown:
            found.create.append(index)
        else:
            found.unknown.append(index)
    return found


class Batch:
    """Runs a plan: creates, polls, writes outcomes and the journal.

    Args:
        suno: The client.
        jobs: All the inputs.
        digests: Theirs.
        journal: Where steps are written, each before or just after it is taken.
    """

    def __init__(
        self, suno: SunoClient, jobs: Sequence[Input], digests: Sequence[str], journal: IO[str]
    ) -> None:
        self._suno = suno
        self._jobs = jobs
        self._digests = digests
        self._journal = journal

    async def run(
        self,
        todo: Plan,
        tally: Tally,
        out: IO[str],
        *,
        max_pending: int,
        callback_url: str | None,
        max_credits: float | None,
        wait_for_credits: bool,
        fetch: Callable[[JobOutcome], Coroutine[Any, Any, None]],
    ) -> SunoError | None:
        """Do what is left to do; call `fetch` with each success while the polling continues.

        Returns:
            The error that ended the creates early; None if every input was read. Tasks that were
            created are finished either way.
        """

        async def end(outcomes: AsyncIterator[JobOutcome], group: asyncio.TaskGroup) -> None:
            async for outcome in outcomes:
                record(outcome, tally, out)
                if outcome.ok:
                    group.create_task(fetch(outcome))

        stream = self._suno.pipeline(
            [self._jobs[index] for index in todo.create],
            max_pending=max_pending,
            callback_url=callback_url,
            max_credits=max_credits,
            wait_for_credits=wait_for_credits,
            on_creation=lambda creation: self._known(todo.create, creation),
            on_submission=lambda submission: self._noted(todo.create, submission),
        )
        stopped_by: SunoError | None = None
        try:
            async with asyncio.TaskGroup() as group, contextlib.aclosing(stream):
                resumed = group.create_task(end(self._polled(todo.poll), group))
                try:
                    await end(_renumbered(stream, todo.create), group)
                except SunoError as error:
                    stopped_by = error
                await resumed
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return stopped_by

    async def _polled(self, tasks: dict[str, int]) -> AsyncIterator[JobOutcome]:
        async for each in self._suno.as_completed(tasks):
            index = tasks[each.task_id]
            job = self._jobs[index]
            if each.error is None:
                yield JobSuccess(each.task_id, each.info, index=index, job=job)
            else:
                yield JobFailure(each.task_id, each.error, each.info, index=index, job=job)

    def _noted(self, indices: Sequence[int], submission: Submission) -> None:
        """Note down that a request may leave now, or that one was certainly not accepted."""
        sending = submission.state is SubmissionState.SENDING
        self._note(indices[submission.index], "sending" if sending else "not_created")

    def _known(self, indices: Sequence[int], creation: Creation) -> None:
        index = indices[creation.index]
        if creation.handle is not None:
            self._note(index, "created", creation.handle.id)
        elif isinstance(creation.error, CreateOutcomeUnknownError):
            self._note(index, "unknown")
        else:
            self._note(index, "not_created")

    def _note(self, index: int, state: str, task_id: str = "") -> None:
        step = Step(index, self._digests[index], state, task_id)
        self._journal.write(msgspec.json.encode(step).decode() + "\n")
        # Out of this process before the request is.
        self._journal.flush()


async def _renumbered(
    outcomes: AsyncIterator[JobOutcome], indices: Sequence[int]
) -> AsyncIterator[JobOutcome]:
    async for each in outcomes:
        yield msgspec.structs.replace(each, index=indices[each.index])
