"""A server in virtual time, in place of the exchanges of a transport."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from suno_async._transport.exchange import Transport

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from suno_async._protocol.requests import Request
    from suno_async.limits.local import Permit

Reply = tuple[int, dict[str, str], bytes]


def reply(data: object, code: int = 200, **headers: str) -> Reply:
    """A reply in the API's envelope, with the code as its HTTP status as well."""
    body = {"code": code, "message": "success" if code == 200 else "refused", "data": data}
    return code, headers, json.dumps(body).encode()


class Server:
    """Answers every request of every transport, a moment after it was sent.

    Attributes:
        answer: Returns the reply to a request, or raises what the exchange raises.
        delay: Seconds from sending a request to its arrival, and from there to its reply.
        created: The id of each task created, by the prompt of its job.
        requests: The virtual time and the path of each request, in the order of their arrival.
    """

    def __init__(self, delay: float = 0.05) -> None:
        self.delay = delay
        self.answer: Callable[[Request], Reply] = self.usual
        self.created: dict[str, list[str]] = {}
        self.requests: list[tuple[float, str]] = []

    def install(self, monkeypatch: pytest.MonkeyPatch) -> Server:
        """Replace the exchanges of all transports."""
        monkeypatch.setattr(Transport, "_exchange", self._exchange_of())
        return self

    def usual(self, request: Request) -> Reply:
        """Create what is asked for; every task runs for ever; the balance is 100."""
        if request.path.endswith("CreateTask"):
            prompt = json.loads(request.body or b"")["input"]["prompt"]
            task_id = f"task-{sum(map(len, self.created.values()))}"
            self.created.setdefault(prompt, []).append(task_id)
            return reply({"task_id": task_id})
        if request.path.endswith("TaskInfo"):
            return reply({"task_id": dict(request.params)["task_id"], "status": "running"})
        return reply({"balance": 100})

    def count(self, path: str) -> int:
        """The number of requests whose path ends so."""
        return sum(each.endswith(path) for _, each in self.requests)

    def _exchange_of(self) -> Any:  # noqa: ANN401 (a method)
        async def exchange(_transport: Transport, request: Request, permit: Permit) -> Reply:
            await asyncio.sleep(0)  # connecting
            permit.sent()
            await asyncio.sleep(self.delay)
            self.requests.append((asyncio.get_running_loop().time(), request.path))
            answer = self.answer(request)
            await asyncio.sleep(self.delay)
            permit.answered()
            return answer

        return exchange
