"""Answers that are errors: as the contract demands them, or as a test orders them. Pure."""

from __future__ import annotations

import math

import msgspec

#: What the server says with each code, where nothing more precise is known.
MESSAGES = {
    401: "API key invalid",
    402: "Insufficient credits",
    403: "API key disabled",
    404: "Task not found",
    422: "Missing Params or Type Error",
    429: "Rate limit exceeded",
    455: "Under maintenance",
    500: "Internal server error",
    501: "Generation failed",
    505: "Feature disabled",
}


class Refusal(Exception):  # noqa: N818 (a refusal is an answer, not a fault of the sandbox)
    """An answer that is an error of the contract.

    Args:
        code: The contract's code.
        message: The server's words; those of `MESSAGES` if None.
        errors: One text for each broken rule.
        retry_after: Value of the Retry-After header; None sends none.
    """

    def __init__(
        self,
        code: int,
        message: str | None = None,
        errors: list[str] | None = None,
        retry_after: str | None = None,
    ) -> None:
        super().__init__(code, message, errors, retry_after)
        self.code = code
        self.message = MESSAGES.get(code, f"error {code}") if message is None else message
        self.errors = errors
        self.retry_after = retry_after


class OrderedRefusal(msgspec.Struct, kw_only=True):
    """Requests that a test wants refused (see `Sandbox.refuse`).

    Attributes:
        code: The code they get.
        path: End of the paths that it concerns, in whole segments; None concerns every path.
        retry_after: Value of the Retry-After header; None sends none.
        remaining: Requests still to refuse; infinity has no limit.
        until: Monotonic time from which nothing is refused any more.
        refused: Requests refused so far.
    """

    code: int
    path: str | None = None
    retry_after: str | None = None
    remaining: float = 1
    until: float = math.inf
    refused: int = 0

    def stop(self) -> None:
        """Refuse nothing more."""
        self.remaining = 0

    def concerns(self, path: str, now: float) -> bool:
        """Whether a request for `path` at `now` is to be refused."""
        if self.remaining <= 0 or now >= self.until:
            return False
        return self.path is None or path.endswith("/" + self.path.strip("/"))


class OrderedRefusals:
    """All that was ordered, oldest first."""

    def __init__(self) -> None:
        self._orders: list[OrderedRefusal] = []

    def add(self, order: OrderedRefusal) -> None:
        """Append an order."""
        self._orders.append(order)

    def find(self, path: str, now: float) -> Refusal | None:
        """Return what the oldest order that concerns this request answers; None without one."""
        self._orders = [each for each in self._orders if each.remaining > 0 and now < each.until]
        for order in self._orders:
            if order.concerns(path, now):
                order.remaining -= 1
                order.refused += 1
                return Refusal(order.code, retry_after=order.retry_after)
        return None
