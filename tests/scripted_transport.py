"""A transport without sockets, in virtual time. A function determines the replies."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, TypeVar, cast

from suno_async import AuthenticationError, Durations, NullObserver, PollPolicy, TaskRef
from suno_async._polling.poller import Poller
from suno_async._polling.waiters import FutureWaiter, Watcher
from suno_async._protocol.replies import read_balance
from suno_async._protocol.requests import balance_request
from suno_async._transport.breaker import CircuitBreaker
from tests.scripted import EPOCH, virtual_clock

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from suno_async import Outcome
    from suno_async._protocol.requests import Request
    from suno_async._transport.exchange import Transport

T = TypeVar("T")

#: Seconds from a request to its reply, if a test sets nothing else.
DELAY = 0.1


class Permit:
    """The right to send one request."""

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter
        self.is_open = True

    def use(self) -> None:
        """Mark the permit as used for a request."""
        if self.is_open:
            self.is_open = False
            self._limiter.open_permits -= 1

    #: Give up the permit; does nothing once it was used. The next permit is not granted earlier.
    cancel = use


class Limiter:
    """Grants permits in order and at a fixed rate, but none before `paused_until`."""

    def __init__(self, rate: float) -> None:
        self._turn = asyncio.Lock()
        self._loop = asyncio.get_running_loop()
        self._slot = 1 / rate
        self._next = 0.0
        self.paused_until = 0.0
        self.open_permits = 0

    async def acquire(self) -> Permit:
        """Wait for a permit, and return it."""
        async with self._turn:
            while (wait := max(self._next, self.paused_until) - self._loop.time()) > 0:  # noqa: ASYNC110 (a pause may have grown)
                await asyncio.sleep(wait)
            self._next = self._loop.time() + self._slot
            self.open_permits += 1
            return Permit(self)


class Scripted:
    """Answers each poll with the status or error code that `script(task_id, now)` returns.

    Attributes:
        asked: Task id and loop time of every poll.
        confirmed: Loop time of every request that checks the key.
        key_code: The code of the replies to requests that check the key.
        delay: Seconds from a request to its reply.
    """

    def __init__(self, script: Callable[[str, float], str | int], rate: float = 15.0) -> None:
        self._script = script
        self._loop = asyncio.get_running_loop()
        self.limiter = Limiter(rate)
        self.breaker = CircuitBreaker()
        self.asked: list[tuple[str, float]] = []
        self.confirmed: list[float] = []
        self.key_code = 200
        self.delay = DELAY

    async def once(
        self,
        request: Request,
        read: Callable[[int, Mapping[str, str], bytes], T],
        permit: Permit | None = None,
    ) -> T:
        """Send one request, and return the decoded reply."""
        permit = permit or await self.limiter.acquire()
        self.breaker.check(self._loop.time(), spends=False)
        permit.use()
        sent_at = self._loop.time()
        if request.params:
            ((_, task_id),) = request.params
            self.asked.append((task_id, sent_at))
            reply = self._script(task_id, sent_at)
            data: dict[str, object] = {"task_id": task_id, "status": reply}
        else:
            self.confirmed.append(sent_at)
            reply = self.key_code
            data = {"balance": 1}
        await asyncio.sleep(self.delay)
        code = reply if isinstance(reply, int) else 200
        body = {"code": code, "message": "scripted", "data": data if code == 200 else None}
        try:
            value = read(code, {}, json.dumps(body).encode())
        except AuthenticationError:
            self.breaker.key_refused(sent_at, self._loop.time())
            raise
        self.breaker.key_accepted(sent_at)
        return value

    async def confirm_key(self) -> None:
        """Request the balance, to check that the server accepts the API key."""
        await self.once(balance_request(), read_balance)


def make_poller(transport: Scripted, policy: PollPolicy | None = None) -> Poller:
    """Return a poller that uses `transport`. All random numbers of the poller are 0.5."""
    return Poller(
        cast("Transport", transport),
        policy or PollPolicy(),
        lambda: 0.5,
        Durations(),
        virtual_clock(),
        NullObserver(),
    )


def watch(poller: Poller, task_id: str, watcher: Watcher, created_at: float | None = None) -> None:
    """Watch a task. `created_at` is the loop time of its creation, or None if unknown."""
    unix = None if created_at is None else EPOCH + created_at
    poller.watch(TaskRef(task_id, unix), (watcher,))


def wait_for(
    poller: Poller, task_id: str, created_at: float | None = None
) -> asyncio.Future[Outcome]:
    """Watch a task, and return a future for its outcome."""
    waiter = FutureWaiter()
    watch(poller, task_id, waiter, created_at)
    return waiter.outcome
