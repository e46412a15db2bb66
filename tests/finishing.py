"""A scripted server that ends each task at its first poll, and helpers for tests with it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from suno_async import ConnectionLostError, GenerateMusic, JobOutcome
from tests.scripted import EPOCH, Server, reply

if TYPE_CHECKING:
    from suno_async._protocol.requests import Request
    from suno_async._transport.http import Reply

JOB = GenerateMusic(prompt="slow piano", instrumental=True)


class Finishing(Server):
    """A server that ends each task at its first poll.

    A task fails if its prompt contains "fail". All other tasks succeed.

    Attributes:
        lose: The server creates tasks for these prompts, but the replies are lost.
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
