"""The interface of rate limiters."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from suno_async.errors import MaintenanceError, RateLimitError


class Pause(NamedTuple):
    """A pause of an account, during which no request is sent.

    Attributes:
        until: Loop time at which the pause ends.
        code: The error code that caused the pause: 429 or 455.
    """

    until: float
    code: int

    @property
    def reason(self) -> str:
        """The cause of the pause in words."""
        return "rate exceeded (429)" if self.code == 429 else "maintenance (455)"  # noqa: PLR2004 (the contract's code)


def check_pause(pause: Pause | None, give_up_at: float, now: float) -> None:
    """Raise an error if a pause lasts longer than the caller can wait.

    Args:
        pause: The current pause; None if there is none.
        give_up_at: Loop time until which the caller can wait.
        now: The current loop time.

    Raises:
        RateLimitError: The pause was caused by a 429.
        MaintenanceError: The pause was caused by a 455.
    """
    if pause is None or pause.until <= give_up_at:
        return
    left = pause.until - now
    message = f"not sent: the account is paused for another {left:.1f} s, {pause.reason}"
    kind = RateLimitError if pause.code == 429 else MaintenanceError  # noqa: PLR2004 (the contract's code)
    raise kind(pause.code, message, 0, (), left)


class Permit(Protocol):
    """Permission to send one request now.

    The sender calls `sent` and `answered`, or `cancel` if it does not send the request.
    """

    @property
    def sent_at(self) -> float | None:
        """Loop time at which the request was sent; None if it was not sent yet."""
        ...

    def sent(self) -> None:
        """Record that the request is being sent. Further calls have no effect."""
        ...

    def answered(self) -> None:
        """Record that the headers of the reply arrived."""
        ...

    def cancel(self) -> None:
        """Return the permit to the limiter, unless its request was sent."""
        ...


class Limiter(Protocol):
    """Limits the requests of an account. Permits are granted in the order of the calls.

    The limit applies to every sliding second, as the server counts it, and to all kinds of requests
    together. By default a client uses a `LocalLimiter`. Pass another implementation, such as one
    that several processes share, as ``SunoClient(limiter=...)``.

    Attributes:
        granted: Permits granted so far, except those that were returned.
        rate_limited: How many replies were a 429.
    """

    granted: int
    rate_limited: int

    @property
    def rate(self) -> float:
        """Requests per second that are currently allowed."""
        ...

    @property
    def recent_rate(self) -> float:
        """Permits granted per second, over the last ten seconds."""
        ...

    @property
    def paused(self) -> Pause | None:
        """The current pause; None if there is none."""
        ...

    async def acquire(self, give_up_at: float | None = None) -> Permit:
        """Wait for permission to send one request. A cancelled wait uses no permit.

        Args:
            give_up_at: Loop time at which to stop waiting. None waits without a limit, even through
                pauses.

        Raises:
            RateLimitError: A 429 has paused the account until after `give_up_at`. This is raised
                without waiting.
            MaintenanceError: The same for a pause after a 455.
            NotSentError: No permit was available before `give_up_at`.
        """
        ...

    def rate_exceeded(self, retry_after: float | None) -> None:
        """Pause the account and reduce the rate after a 429.

        Args:
            retry_after: Seconds to wait, as the server asked for; None if it did not say.
        """
        ...

    def pause(self, seconds: float, code: int = 455) -> None:
        """Grant no permits for `seconds` from now. A longer current pause stays in effect.

        Args:
            seconds: Length of the pause.
            code: The error code that causes the pause: 429 or 455.
        """
        ...
