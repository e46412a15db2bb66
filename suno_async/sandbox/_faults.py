"""Faults a sandbox injects at random, by shares of all API requests."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    import random

GARBAGE = (
    b"<html><body>Bad gateway</body></html>",
    b'{"code": 200, "data": {"task',
    b"\xff\xfe",
    b"",
)
STATUSES = (500, 502, 503, 504, 408)


class Fault(enum.Enum):
    """What goes wrong with one request."""

    ERROR = "error"
    RESET = "reset"
    STALL = "stall"
    GARBAGE = "garbage"
    SLOW = "slow"


class Faults(msgspec.Struct, frozen=True, kw_only=True):
    """Shares (0 to 1) of the API's requests that go wrong, and how slow the way is.

    Attributes:
        error: Answered by one of `STATUSES`, half of them as an HTML page.
        reset: The connection is cut without an answer.
        stall: No answer for `stall_seconds`, then the connection is cut.
        garbage: Answered 200 with a body that is no reply.
        slow: The body comes in two parts, `slow_seconds` apart.
        after: Share of the faults of CreateTask that strike after the task was created.
        latency_in: Shortest and longest seconds before a request is counted.
        latency_out: Shortest and longest seconds before its answer leaves.
        stall_seconds: See `stall`.
        slow_seconds: See `slow`.
    """

    error: float = 0.0
    reset: float = 0.0
    stall: float = 0.0
    garbage: float = 0.0
    slow: float = 0.0
    after: float = 0.5
    latency_in: tuple[float, float] = (0.0, 0.0)
    latency_out: tuple[float, float] = (0.0, 0.0)
    stall_seconds: float = 60.0
    slow_seconds: float = 0.2

    def draw(self, random: random.Random) -> Fault | None:
        """What befalls the next request; None: nothing."""
        fate = random.random()
        for fault in Fault:
            share: float = getattr(self, fault.value)
            if fate < share:
                return fault
            fate -= share
        return None
