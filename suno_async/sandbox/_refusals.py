"""Error replies of the API. A test can make the sandbox send them. No I/O."""

from __future__ import annotations

import math

import msgspec

#: Default message of each code.
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


class Refusal(Exception):  # noqa: N818 (a refusal is an answer, not an error of the sandbox)
    """An error reply of the API. Raise this exception to make the sandbox send the reply.

    Args:
        code: The error code, such as 401.
        message: The message. If None, the reply contains the default message of the code.
        errors: One text for each rule that the input breaks; None if the reply is not about an
            input.
        retry_after: Value of the Retry-After header. If None, the reply has no such header.
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
    """An order to refuse requests (see `Sandbox.refuse`).

    Attributes:
        code: The error code of the replies.
        path: The last segments of the path of the requests to refuse, such as ``"TaskInfo"``. None
            means any path.
        retry_after: Value of the Retry-After header. If None, the replies have no such header.
        remaining: Number of requests still to refuse; infinity means no limit.
        until: Monotonic time in seconds at which the order ends.
        refused: Number of requests refused so far.
    """

    code: int
    path: str | None = None
    retry_after: str | None = None
    remaining: float = 1
    until: float = math.inf
    refused: int = 0

    def stop(self) -> None:
        """Refuse no more requests."""
        self.remaining = 0

    def concerns(self, path: str, now: float) -> bool:
        """Return whether this order refuses a request for `path` at `now` (monotonic seconds)."""
        if self.remaining <= 0 or now >= self.until:
            return False
        return self.path is None or path.endswith("/" + self.path.strip("/"))


class OrderedRefusals:
    """The `OrderedRefusal` objects of a sandbox, oldest first."""

    def __init__(self) -> None:
        self._orders: list[OrderedRefusal] = []

    def add(self, order: OrderedRefusal) -> None:
        """Add an `OrderedRefusal`."""
        self._orders.append(order)

    def find(self, path: str, now: float) -> Refusal | None:
        """Return the refusal of a request for `path` at `now` (monotonic seconds), or None.

        The oldest `OrderedRefusal` that applies to the request is used. Its `remaining` falls by 1,
        and its `refused` rises by 1.
        """
        self._orders = [each for each in self._orders if each.remaining > 0 and now < each.until]
        for order in self._orders:
            if order.concerns(path, now):
                order.remaining -= 1
                order.refused += 1
                return Refusal(order.code, retry_after=order.retry_after)
        return None
