"""Snapshots of a client. Pure."""

from __future__ import annotations

import msgspec


class Learnt(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of how long one kind of job takes, in seconds.

    Attributes:
        samples: Jobs seen to end; with few of them the rest is mostly a guess.
        median: Half of the jobs have ended by this age.
        p95: 95 of 100 have.
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
    learnt: dict[str, Learnt] = msgspec.field(default_factory=dict[str, Learnt])
