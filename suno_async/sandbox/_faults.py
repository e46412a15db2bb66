"""Faults that a sandbox injects at random into API requests."""

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
    """How one request fails."""

    ERROR = "error"
    RESET = "reset"
    STALL = "stall"
    GARBAGE = "garbage"
    SLOW = "slow"


class Faults(msgspec.Struct, frozen=True, kw_only=True):
    """Shares (0 to 1) of the API requests that fail, and the delays of the network.

    Attributes:
        error: Share answered with one of `STATUSES`, half of them as an HTML page.
        reset: Share whose connection is cut without an answer.
        stall: Share without an answer for `stall_seconds`; then the connection is cut.
        garbage: Share answered with HTTP 200 and a body that cannot be decoded.
        slow: Share whose body comes in two parts, `slow_seconds` apart.
        after: Share of the faults of POST requests that happen after the request took effect.
        latency_in: Shortest and longest delay before a request is counted, in seconds.
        latency_out: Shortest and longest delay before its answer is sent, in seconds.
        stall_seconds: Seconds until a stalled connection is cut.
        slow_seconds: Seconds between the two parts of a slow body.
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
        """Draw the fault of the next request; None means no fault."""
        fate = random.random()
        for fault in Fault:
            share: float = getattr(self, fault.value)
            if fate < share:
                return fault
            fate -= share
        return None
