"""The faults that a sandbox injects at random into API requests. Pure."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    import random

#: Bodies of `Fault.GARBAGE`, which cannot be decoded.
GARBAGE = (
    b"<html><body>Bad gateway</body></html>",
    b'{"code": 200, "data": {"task',
    b"\xff\xfe",
    b"",
)
#: HTTP statuses of `Fault.ERROR`.
STATUSES = (500, 502, 503, 504, 408)


class Fault(enum.Enum):
    """How one request fails. `Faults` describes each member."""

    ERROR = "error"
    RESET = "reset"
    STALL = "stall"
    GARBAGE = "garbage"
    SLOW = "slow"


class Faults(msgspec.Struct, frozen=True, kw_only=True):
    """Shares (0 to 1) of the API requests that fail, and the delays of the network.

    Attributes:
        error: Share answered with an HTTP error, half of them with an HTML page.
        reset: Share whose connection is closed without an answer.
        stall: Share whose connection is closed without an answer after `stall_seconds`.
        garbage: Share answered with HTTP 200 and a body that cannot be decoded.
        slow: Share whose body is sent in two parts, `slow_seconds` apart.
        after: Share of the failing POST requests that take effect before they fail.
        latency_in: Shortest and longest delay before a request is counted, in seconds.
        latency_out: Shortest and longest delay before its answer is sent, in seconds.
        stall_seconds: Seconds until a stalled connection is closed.
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
        """Return the fault of the next request; None means no fault."""
        drawn = random.random()
        for fault in Fault:
            share: float = getattr(self, fault.value)
            if drawn < share:
                return fault
            drawn -= share
        return None
