"""The faults that a sandbox injects at random into API requests. No I/O."""

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
    """What goes wrong with one request. Each fault is described under the same name in `Faults`."""

    ERROR = "error"
    RESET = "reset"
    STALL = "stall"
    GARBAGE = "garbage"
    SLOW = "slow"


class Faults(msgspec.Struct, frozen=True, kw_only=True):
    """How often API requests fail (as shares from 0 to 1), and how slow the network is.

    Attributes:
        error: Share of requests with an HTTP error as the answer. In half of these answers, the
            body is an HTML page.
        reset: Share of requests whose connection is closed at once, without an answer.
        stall: Share of requests whose connection is closed after `stall_seconds`, without an
            answer.
        garbage: Share of requests with the answer HTTP 200 and a body that cannot be decoded.
        slow: Share of requests whose answer is sent in two parts, `slow_seconds` apart. These
            requests do not fail.
        after: Share of the failing POST requests that take effect before they fail.
        latency_in: Shortest and longest delay in seconds before the rate limit counts a request.
        latency_out: Shortest and longest delay in seconds before an answer is sent. Refusals by the
            rate limit or by `Sandbox.refuse` are sent without this delay.
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
        """Draw the fault of the next request at random. None means no fault."""
        drawn = random.random()
        for fault in Fault:
            share: float = getattr(self, fault.value)
            if drawn < share:
                return fault
            drawn -= share
        return None
