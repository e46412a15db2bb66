"""A simulated server in virtual time. A client sends requests to it without sockets."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from suno_async import GenerateMusic, SunoClient
from suno_async._clock import Clock
from suno_async._transport.http import Reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from suno_async._protocol.requests import Request
    from suno_async._transport.account import Account
    from suno_async._transport.http import Sender
    from suno_async.limits import Permit

#: Unix time at loop time 0.
EPOCH = 1_700_000_000.0

KEY, URL = "ak_test", "http://api.example"


def reply(data: object, code: int = 200, **headers: str) -> Reply:
    """Return a reply with an API envelope. `code` is the HTTP status and the envelope's code."""
    body = {"code": code, "message": "success" if code == 200 else "refused", "data": data}
    return Reply(code, headers, json.dumps(body).encode())


def songs(count: int) -> list[GenerateMusic]:
    """Return `count` inputs with the prompts "0", "1" and so on."""
    return [GenerateMusic(prompt=str(number)) for number in range(count)]


def virtual_clock() -> Clock:
    """Return a clock whose Unix time follows the loop time."""
    loop = asyncio.get_running_loop()
    return Clock(lambda: EPOCH + loop.time())


class ScriptedClient(SunoClient):
    """A client that sends its requests with `sender`, without sockets, in virtual time.

    Attributes:
        accounts: The accounts for which the client opened a sender. The first is its own account.
            Each call of `rotate_key` adds one, because a separate sender checks the new key.
    """

    def __init__(self, sender: Sender, **options: Any) -> None:  # noqa: ANN401 (passed on)
        super().__init__(KEY, base_url=URL, **options)
        self._sender = sender
        self.accounts: list[Account] = []

    def _open_sender(self, account: Account) -> Sender:
        self.accounts.append(account)
        return self._sender

    def _open_clock(self) -> Clock:
        return virtual_clock()


class Server:
    """A simulated server. It answers every request after a delay.

    Attributes:
        answer: Function that returns the reply to a request, or raises an error instead.
        delay: Seconds until a request arrives. The reply takes the same time.
        created: The ids of the created tasks, by the prompt of their job.
        requests: The virtual time and the path of each request, in the order of their arrival.
    """

    def __init__(self, delay: float = 0.05) -> None:
        self.delay = delay
        self.answer: Callable[[Request], Reply] = self.usual
        self.created: dict[str, list[str]] = {}
        self.requests: list[tuple[float, str]] = []

    def client(self, **options: Any) -> ScriptedClient:  # noqa: ANN401 (passed on)
        """Return a client of this server."""
        return ScriptedClient(self, **options)

    def usual(self, request: Request) -> Reply:
        """Return the default reply: a new task, a task that is running, or a balance of 100."""
        if request.path.endswith("CreateTask"):
            prompt = json.loads(request.body or b"")["input"]["prompt"]
            task_id = f"task-{sum(map(len, self.created.values()))}"
            self.created.setdefault(prompt, []).append(task_id)
            return reply({"task_id": task_id})
        if request.path.endswith("TaskInfo"):
            return reply({"task_id": dict(request.params)["task_id"], "status": "running"})
        return reply({"balance": 100})

    def count(self, path: str) -> int:
        """Return the number of requests whose path ends with `path`."""
        return sum(each.endswith(path) for _, each in self.requests)

    async def send(self, request: Request, permit: Permit) -> Reply:
        """Wait for the delays of the request and of the reply, and return the reply."""
        await asyncio.sleep(0)  # connecting
        permit.sent()
        await asyncio.sleep(self.delay)
        self.requests.append((asyncio.get_running_loop().time(), request.path))
        answer = self.answer(request)
        await asyncio.sleep(self.delay)
        permit.answered()
        return answer

    async def close(self) -> None:
        """Do nothing, because a server needs no cleanup."""
