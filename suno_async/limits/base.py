"""What every limiter offers: the request budget of one account."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from suno_async.errors import MaintenanceError, RateLimitError


class Pause(NamedTuple):
    """A pause of the whole account.

    Attributes:
        until: Loop time at which it ends.
        code: The code that caused it: 429 or 455.
    """

    until: float
    code: int

    @property
    def reason(self) -> str:
        """The cause in words."""
        return "rate exceeded (429)" if self.code == 429 else "maintenance (455)"  # noqa: PLR2004 (the contract's code)


def check_pause(pause: Pause | None, give_up_at: float, now: float) -> None:
    """Raise the reason of a pause that ends after `give_up_at`; all times are loop times.

    Raises:
        RateLimitError: The account is paused for that long after a 429.
        MaintenanceError: The same after a 455.
    """
    if pause is None or pause.until <= give_up_at:
        return
    left = pause.until - now
    message = f"not sent: the account is paused for another {left:.1f} s, {pause.reason}"
    kind = RateLimitError if pause.code == 429 else MaintenanceError  # noqa: PLR2004 (the contract's code)
    raise kind(pause.code, message, 0, (), left)


class Permit(Protocol):
    """The right to send one request now. The sender reports what became of the request."""

    @property
    def sent_at(self) -> float | None:
        """Loop time at which the request was sent; None before."""
        ...

    def sent(self) -> None:
        """Record that the request is on its way. Only the first call counts."""
        ...

    def answered(self) -> None:
        """Record that the reply's headers arrived."""
        ...

    def cancel(self) -> None:
        """Give the permit back, unless its request was sent."""
        ...


class Limiter(Protocol):
    """Grants permits in the order in which they are asked for.

    At most so many requests reach the server in any sliding second, whatever their kind. The local
    implementation is `LocalLimiter`; one that several processes share can be passed as
    `SunoClient(limiter=)`.

    Attributes:
        granted: Permits granted so far, without those given back.
        rate_limited: Answers of 429 so far.
    """

    granted: int
    rate_limited: int

    @property
    def rate(self) -> float:
        """Requests per second allowed now."""
        ...

    @property
    def recent_rate(self) -> float:
        """Requests granted per second, over the last ten seconds."""
        ...

    @property
    def paused(self) -> Pause | None:
        """The pause in force, if there is one."""
        ...

    async def acquire(self, give_up_at: float | None = None) -> Permit:
        """Wait for the right to send one request. A cancelled wait costs no permit.

        Args:
            give_up_at: Loop time until which to wait; None waits without limit, pauses included.

        Raises:
            RateLimitError: The account is paused beyond `give_up_at` after a 429. Raised at once.
            MaintenanceError: The same after a 455.
            NotSentError: `give_up_at` came before a free slot.
        """
        ...

    def rate_exceeded(self, retry_after: float | None) -> None:
        """Pause the account and slow down: the server answered 429."""
        ...

    def pause(self, seconds: float, code: int = 455) -> None:
        """Grant nothing for `seconds` from now. Never shortens a pause."""
        ...
