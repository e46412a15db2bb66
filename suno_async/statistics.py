"""Statistics of a client. No I/O."""

from __future__ import annotations

import msgspec


class DurationSummary(msgspec.Struct, frozen=True, kw_only=True):
    """How long one kind of job takes.

    Attributes:
        samples: Number of jobs whose durations were learnt. If it is small, `median` and `p95` are
            mostly assumptions.
        median: Median of the duration, in seconds.
        p95: 95th percentile of the duration, in seconds.
    """

    samples: int
    median: float
    p95: float


class Statistics(msgspec.Struct, frozen=True, kw_only=True):
    """The state and the counters of a client at one time.

    The values "of the account" cover all clients that share the client's limiter. By default, these
    are the clients with the same key in the same event loop.

    Attributes:
        watched: Number of tasks that are being polled.
        in_flight: Number of status requests that wait for their reply.
        finished: Number of tasks that succeeded, according to the polls of this client.
        failed: Number of tasks that failed, according to the polls of this client.
        requests: Requests of the account to the API so far. Transfers of files do not count.
        polls: Number of status requests that this client started for watched tasks.
        rate: Requests per second of the account, over the last ten seconds.
        rate_limit: Requests per second that the limiter of the account currently allows. It is
            lower for a while after a 429, and while clients in other processes share the rate.
        rate_limited: How many requests of the account were answered with 429.
        paused_until: When the pause of the account ends, in Unix seconds; None if it is not paused.
        pause_reason: Why the account is paused; empty if it is not paused.
        delay_mean: Mean seconds from the end of a task until the client received the result and, if
            there is a journal, stored it. Covers the last thousand polled tasks whose end time is
            known, even if they ended before the client watched them. None if there is no such task.
        delay_p95: 95th percentile of the same times; None if `delay_mean` is None.
        price: How many seconds of delay a status request saves, averaged over recent requests. A
            high value means that the request budget is scarce. None if unknown. Always None with
            ``schedule="backoff"``.
        learnt: How long each kind of job takes, by kind. With ``schedule="backoff"``, the client
            does not learn.
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
