"""Snapshots of a client. Pure."""

from __future__ import annotations

import msgspec


class DurationSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about how long one kind of job takes.

    Attributes:
        samples: Number of jobs that were seen to end. If it is small, the times below are mostly
            assumptions.
        median: Median of the duration, in seconds.
        p95: 95th percentile of the duration, in seconds.
    """

    samples: int
    median: float
    p95: float


class Statistics(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot of a client.

    Attributes:
        watched: Tasks being polled.
        in_flight: Status requests on their way.
        finished: Tasks seen to succeed.
        failed: Tasks seen to fail.
        requests: Requests granted by the account's budget, creates, polls and retries together.
        polls: Status requests sent by the scheduler.
        rate: Requests a second over the last ten seconds, of the whole account.
        rate_limit: The most requests a second the account now allows itself.
        rate_limited: Answers of 429.
        paused_until: When the pause of the whole account ends, Unix seconds; None if there is none.
        pause_reason: Why the account is paused; empty if it is not.
        delay_mean: Seconds from a task's end to its being noticed, mean of the last thousand.
        delay_p95: The same, 95th percentile.
        price: Seconds of waiting that a poll saves, mean of the last ones: how scarce the budget
            is. None before the first, and with ``schedule="backoff"``.
        learnt: Kind of job → how long it takes.
    """

    watched: int = 0
    in_flight: int = 0
    finished: int = 0
    failed: int = 0
    requests: int = 0
    polls: int = 0
    rate: float = 0.0
    rate_limit: float = 0.0
    rate_limited: int = 0
    paused_until: float | None = None
    pause_reason: str = ""
    delay_mean: float | None = None
    delay_p95: float | None = None
    price: float | None = None
    learnt: dict[str, DurationSummary] = msgspec.field(default_factory=dict[str, DurationSummary])
