"""The statistics of a sandbox. No I/O."""

from __future__ import annotations

import msgspec


class SandboxStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of requests, tasks, callbacks and faults in a sandbox.

    Attributes:
        requests: Number of API requests, with any key or without a key.
        created: Number of tasks created over HTTP.
        rate_limited: Number of requests refused with 429 because of the rate limit.
        worst_window: Highest number of requests with one key in any period of one second, including
            refused requests.
        key_leaks: Number of requests for media or uploads that contained a key.
        callbacks: Number of callbacks acknowledged with HTTP 200.
        faults: Number of injected faults, by the value of `Fault`.
        paths: Number of API requests, by the last segment of the path.
    """

    requests: int
    created: int
    rate_limited: int
    worst_window: int
    key_leaks: int
    callbacks: int
    faults: dict[str, int]
    paths: dict[str, int]
