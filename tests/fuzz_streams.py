"""Run streams under random faults. No stream may hang, lose an id or create a job twice.

python -m tests.fuzz_streams --seconds N [--seed S]

A stream is a call of `SunoClient.create_many` or `SunoClient.pipeline`. Each seed is one scenario
in virtual time. After the first failure, the program prints the seed, and ends with exit code 1.
`make test` runs the same check on fixed seeds.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import itertools
import json
import logging
import random
import sys
import time
import traceback
from typing import TYPE_CHECKING, Any

from suno_async import (
    ConnectionLostError,
    Created,
    CreateOutcomeUnknownError,
    Creation,
    GenerateMusic,
    GeneratePersona,
    InternalError,
    LocalLimiter,
    NotSentError,
    PersonaCreation,
    RequestTimeoutError,
    Submission,
    SubmissionState,
    SunoError,
)
from suno_async._transport.http import Reply
from tests.scripted import Server, reply
from tests.virtual import run_virtual

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from suno_async import SunoClient
    from suno_async._protocol.requests import Request
    from suno_async.limits import Permit

#: Virtual seconds after which a call that has not ended counts as hanging. A pipeline may wait for
#: each task until the deadline of 20 minutes, with pauses between the creates.
HANGS = 50_000.0

#: Codes with which the server refuses requests.
REFUSALS = (401, 402, 403, 404, 422, 429, 429, 455, 500, 503)

#: Bodies of replies that cannot be decoded, or that contain no result.
GARBAGE = (b"", b"\xff\xfe", b"<html>", b"null", b'{"code": 1e400}', b'{"code": 200, "data": {}}')


class UserError(Exception):
    """An error in a callback of the user or in the iterator of inputs."""


class HostileServer(Server):
    """A server that answers with random replies and failures.

    Attributes:
        lost: Names of the jobs and personas whose creation got no readable reply.
    """

    def __init__(self, draw: random.Random) -> None:
        super().__init__(delay=draw.choice([0.0, 0.05, 1.0]))
        self._draw = draw
        self._share = draw.choice([0.0, 0.02, 0.1, 0.5])
        self._credit = draw.choice([5.0, 1e9])
        self._timeout = 0.0
        self.answer = self._hostile
        self.lost: set[str] = set()

    async def send(self, request: Request, permit: Permit) -> Reply:
        """Return a reply, or raise an error at random, before or after the request is handled."""
        fate = self._draw.random()
        if fate < self._share / 4:
            await asyncio.sleep(self._draw.choice([0, 1.0]))
            raise NotSentError("no connection")
        if fate < self._share / 3:
            permit.sent()
            await asyncio.sleep(self._draw.choice([0, 10.0]))
            raise RequestTimeoutError("no reply")
        answer = await super().send(request, permit)
        if fate > 1 - self._share / 4 and creates(request):
            self.lost.add(name_of(request))
            raise ConnectionLostError("the connection broke")
        return answer

    def _hostile(self, request: Request) -> Reply:
        draw = self._draw
        if draw.random() < self._share:
            refusal = draw.choice(REFUSALS)
            wait = draw.choice([None, "0", "1", "30", "1000000"])
            return reply(None, refusal, **({} if wait is None else {"Retry-After": wait}))
        if request.path.endswith("TaskInfo"):
            status = draw.choice(["running", "running", "success", "failed", "new status"])
            answer = reply({"task_id": dict(request.params)["task_id"], "status": status})
        elif request.path.endswith("balance"):
            self._credit += draw.choice([0, 0, 3, 1000])
            answer = reply({"balance": self._credit})
        elif request.method == "POST" and not creates(request):
            answer = reply({"estimated_credits": draw.choice([1, 10])})
        elif self._credit < 1:
            return reply(None, 402)
        else:
            self._credit -= 1
            answer = self._create(request)
        if draw.random() < self._share / 10:
            if creates(request):
                self.lost.add(name_of(request))
            return Reply(200, {}, draw.choice(GARBAGE))
        return answer

    def _create(self, request: Request) -> Reply:
        name = name_of(request)
        new_id = f"id-{name}-{len(self.created.get(name, ()))}"
        self.created.setdefault(name, []).append(new_id)
        return reply({"task_id": new_id, "persona_id": new_id})


def creates(request: Request) -> bool:
    """Return whether a request creates a task or a persona."""
    return request.method == "POST" and "estimate" not in request.path.lower()


def name_of(request: Request) -> str:
    """Return the name of the job or persona that a request creates."""
    body = json.loads(request.body or b"")
    return str(body["input"]["prompt"] if "input" in body else body["name"])


def name_in(job: Any) -> str:  # noqa: ANN401 (a job or a persona)
    """Return the name that the scenario gave to a job or a persona."""
    return str(job.name if isinstance(job, GeneratePersona) else job.prompt)


class Scenario:
    """One client that runs one stream and also creates some single songs and personas.

    Attributes:
        draw: Source of all random choices.
        server: The server.
        reported: The creations that the client passed to its `on_creation`.
        known: How often the stream called its `on_creation` for each input: index → number.
        taken: How many items the stream yielded for each input: index → number.
        received: The task ids that `SunoClient.create` returned for the single songs.
        read: Number of inputs that the stream read.
        sent_at_close: Number of requests when `end` closed the client. None if `end` did not
            close the client.
        fails: Probability that `report` or `note` raises `UserError`. `change` and `source` raise
            it less often.
    """

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.server = HostileServer(self.draw)
        self.reported: list[Creation | PersonaCreation] = []
        self.known = collections.Counter[int]()
        self.taken = collections.Counter[int]()
        self.received: set[str] = set()
        self.read = 0
        self.sent_at_close: int | None = None
        self.fails = self.draw.choice([0.0, 0.0, 0.1])

    async def pause(self, longest: float) -> None:
        """Wait for a random time up to `longest` seconds, or only for one loop iteration."""
        await asyncio.sleep(self.draw.choice([0, self.draw.uniform(0, longest)]))

    async def report(self, creation: Creation | PersonaCreation) -> None:
        """Record a creation that the client reports. Sometimes raise an error."""
        self.reported.append(creation)
        await self.pause(2)
        if self.draw.random() < self.fails:
            raise UserError

    async def note(self, creation: Creation) -> None:
        """Count a creation that the stream reports. Sometimes raise an error."""
        self.known[creation.index] += 1
        await self.pause(1)
        if self.draw.random() < self.fails:
            raise UserError

    async def change(self, submission: Submission) -> None:
        """Check the state of a submission of the stream. Sometimes raise an error."""
        assert submission.state in {SubmissionState.SENDING, SubmissionState.PLANNED}
        await self.pause(1)
        if self.draw.random() < self.fails / 2:
            raise UserError

    async def source(self) -> AsyncIterator[GenerateMusic]:
        """Yield the inputs of the stream. Sometimes raise an error."""
        for number in range(self.draw.choice([1, 5, 40])):
            if self.draw.random() < 0.3:
                await self.pause(3)
            if self.draw.random() < self.fails / 5:
                raise UserError
            self.read += 1
            yield GenerateMusic(prompt=f"stream {number}" if self.draw.random() < 0.95 else None)

    def stream(self, suno: SunoClient) -> AsyncIterator[Any]:
        """Start `create_many` or `pipeline` with random options, and return the stream."""
        draw = self.draw
        options: dict[str, Any] = {
            "on_creation": self.note,
            "wait_for_credits": draw.random() < 0.5,
            "max_credits": draw.choice([None, None, 5]),
            "on_submission": draw.choice([None, self.change]),
        }
        if draw.random() < 0.5:
            return suno.create_many(self.source(), **options)
        return suno.pipeline(
            self.source(),
            max_pending=draw.choice([1, 3, 100]),
            timeout=draw.choice([None, 0.0, 30.0, 300.0]),
            **options,
        )

    async def take(self, suno: SunoClient) -> None:
        """Read a random number of items from the stream, with random pauses."""
        stream: Any = self.stream(suno)
        left = self.draw.choice([1, 3, 1000, 1000, 1000])
        async with contextlib.aclosing(stream):
            async for item in stream:
                self.taken[item.index] += 1
                left -= 1
                if left == 0:
                    return
                if self.draw.random() < 0.2:
                    await self.pause(5)

    async def single(self, suno: SunoClient, number: int) -> None:
        """Create one song or one persona while the stream runs, perhaps with a timeout."""
        await self.pause(20)
        name = f"single {number}"
        async with asyncio.timeout(self.draw.choice([None, self.draw.uniform(0, 5)])):
            if self.draw.random() < 0.5:
                await suno.create_persona(GeneratePersona(task_id="t", suno_id="s", name=name))
            else:
                self.received.add((await suno.create(GenerateMusic(prompt=name))).id)

    async def end(self, suno: SunoClient, taking: asyncio.Task[None]) -> None:
        """Do one of these at random: nothing, cancel the stream, close the client, cancel a close.

        If the stream is cancelled or the client is closed, this happens once or twice. A close is
        cancelled by a cancellation of the call `suno.close()`.
        """
        draw = self.draw
        how = draw.choice([*["wait"] * 4, "cancel", "cancel twice", "close", "close twice", "cut"])
        if how != "wait":
            await asyncio.wait([taking], timeout=draw.choice([0, draw.uniform(0, 5), 100]))
        if how.startswith("cancel"):
            taking.cancel()
        if how == "cancel twice":
            await self.turns()
            taking.cancel()
        if how.startswith("close"):
            count = 2 if how == "close twice" else 1
            await within(asyncio.gather(*[suno.close() for _ in range(count)]))
            self.sent_at_close = len(self.server.requests)
        if how == "cut":
            closing = asyncio.ensure_future(suno.close())
            await self.turns()
            closing.cancel()
            await within(asyncio.wait([closing]))

    async def turns(self) -> None:
        """Let the event loop run up to seven iterations."""
        for _ in range(self.draw.randrange(8)):
            await asyncio.sleep(0)

    async def run(self) -> None:
        """Run the scenario, and check all results."""
        draw = self.draw
        limiter = LocalLimiter()
        suno = self.server.client(
            limiter=limiter,
            on_creation=draw.choice([self.report, self.reported.append]),
            retry_for=draw.choice([0, 10, 60]),
            request_timeout=draw.choice([2, 30]),
        )
        taking = asyncio.ensure_future(self.take(suno))
        singles = [asyncio.ensure_future(self.single(suno, number)) for number in range(5)]
        await self.end(suno, taking)
        await within(asyncio.wait([taking, *singles]))
        await within(suno.close())
        sent = len(self.server.requests) if self.sent_at_close is None else self.sent_at_close
        for each in (taking, *singles):
            self.check_error(None if each.cancelled() else each.exception())
        # Wait until every window and pause of the limiter is over. Nothing may be sent meanwhile.
        await asyncio.sleep(200)
        assert len(self.server.requests) == sent, "sent after the close"
        self.check_ids()
        assert suno.statistics().watched == 0, "still watched"
        permits = [await within(limiter.acquire()) for _ in range(15)]
        for permit in permits:
            permit.cancel()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        assert not rest, f"left behind: {rest}"

    def check_error(self, error: BaseException | None) -> None:
        """Check that a call ended without an error, or with an expected error."""
        expected = (SunoError, UserError, TimeoutError, type(None))
        assert isinstance(error, expected), f"an unexpected error: {error!r}"
        assert not isinstance(error, InternalError), f"an internal error: {error.__cause__!r}"

    def check_ids(self) -> None:
        """Check that nothing was created twice, and that every creation was reported once."""
        created = self.server.created
        twice = {name: ids for name, ids in created.items() if len(ids) > 1}
        assert not twice, f"created twice: {twice}"
        names = [name_in(each.job) for each in self.reported]
        assert len(names) == len(set(names)), "reported twice"
        unreported = created.keys() - set(names)
        assert not unreported, f"created, but not reported: {unreported}"
        unknown = {
            name_in(each.job)
            for each in self.reported
            if isinstance(each.error, CreateOutcomeUnknownError)
        }
        ids = {each.handle.id for each in self.reported if isinstance(each, Created)}
        personas = [each.persona for each in self.reported if isinstance(each, PersonaCreation)]
        ids |= {persona.persona_id for persona in personas if persona is not None}
        expected = {ids[0] for name, ids in created.items() if name not in unknown}
        assert ids == expected, f"reported ids {ids}, but created {expected}"
        assert self.received <= ids, "returned, but not reported"
        assert self.server.lost & created.keys() <= unknown, "lost, but not unknown"
        assert self.known == collections.Counter(range(self.read)), "an input without a report"
        assert set(self.taken.values()) <= {1}, "an input with two items"
        assert self.taken.keys() <= self.known.keys()


async def within(work: Awaitable[Any]) -> Any:  # noqa: ANN401 (whatever it returns)
    """Await `work` and return its result. Raise if `work` takes longer than `HANGS` seconds."""
    task = asyncio.ensure_future(work)
    _, pending = await asyncio.wait([task], timeout=HANGS)
    if pending:
        task.print_stack()
        raise AssertionError("hangs")
    return await task


def find(seed: int) -> str | None:
    """Run the scenario of a seed. Return None if it succeeds, else a description of the failure."""
    try:
        run_virtual(Scenario(seed).run())
    except Exception:  # noqa: BLE001 (every exception is a failure)
        return f"seed {seed}\n{traceback.format_exc()}"
    return None


def main() -> None:
    """Run one scenario after another, until the time is over or a check fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz_streams")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, help="the first seed; random by default")
    given = parser.parse_args()
    first = random.SystemRandom().randrange(2**32) if given.seed is None else given.seed
    print(f"streams: from seed {first}, {given.seconds:g} s", flush=True)  # noqa: T201 (a command)
    # The faults are intended, so the warnings about them are of no interest.
    logging.disable(logging.CRITICAL)
    end = time.monotonic() + given.seconds
    for seed in itertools.count(first):
        finding = find(seed)
        if finding is not None:
            sys.exit(finding)
        if time.monotonic() >= end:
            print(f"streams: {seed - first + 1:,} scenarios, no finding")  # noqa: T201
            return


if __name__ == "__main__":
    main()
