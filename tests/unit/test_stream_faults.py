"""Streams while the server sends unreadable replies, or while the account has no credits."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from suno_async import (
    ClientClosedError,
    CreateOutcomeUnknownError,
    Creation,
    JobFailure,
    JobSuccess,
)
from suno_async._transport.http import Reply
from tests.scripted import Server, reply, songs
from tests.virtual import run_virtual

if TYPE_CHECKING:
    from suno_async import JobOutcome, SunoClient
    from suno_async._protocol.requests import Request

#: Bodies of replies to a create from which no task id can be read.
MALFORMED = {
    "bad UTF-8": b'{"code": 200, "data": {"task_id": "\xff\xfe"',
    "bad UTF-8 alone": b"\xff\xfe\xfd",
    "too large a number": b'{"code": 1e400, "data": {"task_id": 1e400}}',
    "too long an integer": b'{"code": 200, "data": {"task_id": ' + b"9" * 4_301 + b"}}",
    "not JSON": b"<html>Bad gateway</html>",
    "empty": b"",
    "null": b"null",
    "no data": b'{"code": 200, "message": "success", "data": null}',
    "no id": b'{"code": 200, "data": {}}',
    "an id of another type": b'{"code": 200, "data": {"task_id": {"a": 1}}}',
}


def prompt_of(request: Request) -> str:
    """Return the prompt in a create request."""
    return str(json.loads(request.body or b"")["input"]["prompt"])


class Shop(Server):
    """A server whose tasks succeed at their first check. Each create request costs one credit.

    Attributes:
        credit: The credits of the account.
        malformed: Maps the prompt of a create request to the body of a malformed reply.
    """

    def __init__(self, credit: int = 1_000) -> None:
        super().__init__()
        self.credit = credit
        self.malformed: dict[str, bytes] = {}
        self.answer = self.serve

    def serve(self, request: Request) -> Reply:
        """Answer a balance request, a status request or a create request."""
        if request.path.endswith("balance"):
            return reply({"balance": self.credit})
        if request.path.endswith("TaskInfo"):
            return reply({"task_id": dict(request.params)["task_id"], "status": "success"})
        if self.credit == 0:
            return reply(None, 402)
        self.credit -= 1
        created = self.usual(request)
        body = self.malformed.get(prompt_of(request))
        return created if body is None else Reply(200, {}, body)


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
def test_a_pipeline_reports_a_create_whose_reply_cannot_be_read(body: bytes) -> None:
    """If the reply to a create request is unreadable, the error is `CreateOutcomeUnknownError`."""
    server = Shop()
    server.malformed = {"3": body, "20": body}
    created: list[Creation] = []

    async def main() -> dict[int, JobOutcome]:
        async with server.client() as suno:
            stream = suno.pipeline(songs(30), max_pending=5, on_creation=created.append)
            return {outcome.index: outcome async for outcome in stream}

    outcomes = run_virtual(main())
    assert sorted(outcomes) == list(range(30))
    for index, outcome in outcomes.items():
        if index in {3, 20}:
            assert isinstance(outcome, JobFailure)
            assert isinstance(outcome.error, CreateOutcomeUnknownError)
            assert json.loads(outcome.error.body)["input"]["prompt"] == str(index)
            assert (outcome.task_id, outcome.job.payload()["prompt"]) == ("", str(index))
        else:
            assert isinstance(outcome, JobSuccess)
    assert sorted(each.index for each in created) == list(range(30))
    assert all(len(ids) == 1 for ids in server.created.values())
    assert server.count("CreateTask") == 30


def test_a_pipeline_waits_for_credits() -> None:
    """A pipeline without credits continues after credits are added. Each job is created once."""
    server = Shop(credit=5)

    async def main() -> list[JobOutcome]:
        taken: list[JobOutcome] = []

        async def take(suno: SunoClient) -> None:
            async for outcome in suno.pipeline(songs(40), max_pending=20, wait_for_credits=True):
                taken.append(outcome)  # noqa: PERF401 (the test looks at it meanwhile)

        async with server.client() as suno:
            taking = asyncio.ensure_future(take(suno))
            await asyncio.sleep(60)
            # The tasks that were created end while the other creates wait.
            assert len(taken) == 5
            refused = server.count("CreateTask")
            await asyncio.sleep(300)
            assert len(taken) == 5
            assert server.count("CreateTask") == refused
            assert 9 <= server.count("balance") <= 13
            server.credit = 10  # still too few for all jobs
            await asyncio.sleep(120)
            assert len(taken) == 15
            server.credit = 100
            await taking
        return taken

    taken = run_virtual(main())
    assert all(outcome.ok for outcome in taken)
    assert sorted(outcome.index for outcome in taken) == list(range(40))
    assert sorted(server.created, key=int) == [str(number) for number in range(40)]
    assert all(len(ids) == 1 for ids in server.created.values())


@pytest.mark.parametrize("topped_up", [False, True])
def test_closing_while_a_pipeline_waits_for_credits(*, topped_up: bool) -> None:
    """While a pipeline waits for credits, `close` ends the pipeline at once."""
    server = Shop(credit=3)
    created: list[Creation] = []

    async def main() -> None:
        outcomes: list[JobOutcome] = []
        loop = asyncio.get_running_loop()
        suno = server.client()

        async def take() -> None:
            stream = suno.pipeline(songs(40), wait_for_credits=True, on_creation=created.append)
            async for outcome in stream:
                outcomes.append(outcome)  # noqa: PERF401 (it raises)

        taking = asyncio.ensure_future(take())
        await asyncio.sleep(100)
        assert len(outcomes) == 3
        if topped_up:
            # The close comes before the next request for the balance.
            server.credit = 100
        began = loop.time()
        await suno.close()
        with pytest.raises(ClientClosedError):
            await taking
        assert loop.time() - began < 1
        failed = [outcome for outcome in outcomes if not outcome.ok]
        assert {type(outcome.error) for outcome in failed} == {ClientClosedError}
        indices = sorted(outcome.index for outcome in outcomes)
        assert indices == sorted(each.index for each in created) == list(range(len(indices)))
        assert len(server.created) == 3

    run_virtual(main())
