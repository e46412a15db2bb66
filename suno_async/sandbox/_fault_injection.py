"""Make HTTP requests to the sandbox fail or slow down, as `Faults` describes."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from aiohttp import web

from suno_async.sandbox._faults import GARBAGE, STATUSES, Fault

if TYPE_CHECKING:
    from suno_async.sandbox._faults import Faults


class FaultInjector:
    """Draws faults at random, and applies them to requests.

    Args:
        seed: Seed of the random draws.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 (a sandbox must be repeatable)
        self._stopping = asyncio.Event()

    def start(self) -> None:
        """Allow delays again after a call of `stop`."""
        self._stopping.clear()

    def stop(self) -> None:
        """End all delays now. Later replies have no delay until `start` is called."""
        self._stopping.set()

    def draw(self, faults: Faults) -> Fault | None:
        """Draw the fault of the next request; None means no fault."""
        return faults.draw(self._random)

    def takes_effect(self, fault: Fault, faults: Faults, *, is_create: bool) -> bool:
        """Return whether the sandbox handles a request in spite of its fault.

        A request with a slow answer is always handled. A failing POST request is handled with the
        probability `faults.after`. Other failing requests are not handled.

        Args:
            fault: The fault of the request.
            faults: Contains the probability `after`.
            is_create: Whether the request is a POST request, such as a create.
        """
        return fault is Fault.SLOW or (is_create and self._random.random() < faults.after)

    async def reply(
        self, request: web.Request, fault: Fault, faults: Faults, answer: web.Response | None
    ) -> web.StreamResponse:
        """Apply a fault to a request. Send a reply, or close the connection.

        Args:
            request: The request.
            fault: What goes wrong with the request.
            faults: Contains the durations `stall_seconds` and `slow_seconds`.
            answer: The usual reply to the request; None if the sandbox did not handle it.
        """
        if fault is Fault.ERROR:
            status = self._random.choice(STATUSES)
            if self._random.random() < 0.5:  # noqa: PLR2004 (half)
                return web.Response(status=status, body=GARBAGE[0], content_type="text/html")
            return web.json_response({"code": status, "message": "fault"}, status=status)
        if fault is Fault.GARBAGE:
            return web.Response(body=self._random.choice(GARBAGE), content_type="application/json")
        if fault is Fault.SLOW and answer is not None:
            return await self._send_in_two_parts(request, answer, faults.slow_seconds)
        if fault is Fault.STALL:
            await self._sleep(faults.stall_seconds)
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    async def delay(self, span: tuple[float, float]) -> None:
        """Sleep for a random time. `span` is the shortest and the longest time in seconds."""
        if span[1] > 0:
            await self._sleep(self._random.uniform(*span))

    async def _send_in_two_parts(
        self, request: web.Request, answer: web.Response, seconds: float
    ) -> web.StreamResponse:
        body = answer.body if isinstance(answer.body, bytes) else b""
        response = web.StreamResponse(status=answer.status, headers=answer.headers)
        response.content_length = len(body)
        await response.prepare(request)
        await response.write(body[: len(body) // 2])
        await self._sleep(seconds)
        await response.write(body[len(body) // 2 :])
        return response

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            pass
