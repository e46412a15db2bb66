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
        pause: The current pause; None if the account is not paused.
        give_up_at: Loop time until which the caller can wait.
        now: The current loop time.

    Raises:
        RateLimitError: The pause is too long, and was caused by a 429.
        MaintenanceError: The pause is too long, and was caused by a 455.
    """
    if pause is None or pause.until <= give_up_at:
        return
    left = pause.until - now
    message = f"not sent: the account is paused for another {left:.1f} s, {pause.reason}"
    kind = RateLimitError if pause.code == 429 else MaintenanceError  # noqa: PLR2004 (the contract's code)
    raise kind(pause.code, message, 0, (), left)


class Permit(Protocol):
    """Permission to send one request now.

    The client calls `sent` when it sends the request, and `answered` when the headers of the reply
    arrive. When the client no longer needs the permit, it calls `cancel`. It often does this after
    `sent`, and sometimes more than once.
    """

    @property
    def sent_at(self) -> float | None:
        """Loop time at which the request was sent; None if it has not been sent yet."""
        ...

    def sent(self) -> None:
        """Record that the request is being sent. Only the first call has an effect."""
        ...

    def answered(self) -> None:
        """Record that the headers of the reply arrived."""
        ...

    def cancel(self) -> None:
        """If the request was not sent, return the permit to the limiter. Otherwise do nothing.

        Only the first call has an effect.
        """
        ...


class Limiter(Protocol):
    """Limits the requests of an account. Permits are granted in the order of the `acquire` calls.

    The limit applies to all kinds of requests together, in any period of one second. By default, a
    client uses a `LocalLimiter`. To use another limiter, pass it as ``SunoClient(limiter=...)``.

    Attributes:
        granted: Number of permits granted so far. Permits that were returned unused do not count.
        rate_limited: Number of replies with the error code 429.
    """

    granted: int
    rate_limited: int

    @property
    def rate(self) -> float:
        """Maximum number of requests per second that is currently allowed."""
        ...

    @property
    def recent_rate(self) -> float:
        """Permits granted per second, over the last ten seconds."""
        ...

    @property
    def paused(self) -> Pause | None:
        """The current pause; None if the account is not paused."""
        ...

    async def acquire(self, give_up_at: float | None = None) -> Permit:
        """Wait for permission to send one request. A cancelled wait uses no permit.

        Do not wait for a pause that ends after `give_up_at`.

        Args:
            give_up_at: Loop time at which to stop waiting. If None, wait without a limit, even
                during pauses.

        Raises:
            RateLimitError: A pause after a 429 ends later than `give_up_at`.
            MaintenanceError: A pause after a 455 ends later than `give_up_at`.
            NotSentError: No permit was available before `give_up_at`.
        """
        ...

    def rate_exceeded(self, retry_after: float | None) -> None:
        """Pause the account and reduce the rate after a 429.

        Args:
            retry_after: Seconds that the server asks to wait; None if the server does not give a
                time.
        """
        ...

    def pause(self, seconds: float, code: int = 455) -> None:
        """Grant no permits for `seconds` from now.

        If the current pause ends later than this new pause, the current pause stays in effect.

        Args:
            seconds: Length of the pause.
            code: The error code that causes the pause: 429 (too many requests) or 455
                (maintenance).
        """
        ...
