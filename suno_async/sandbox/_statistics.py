"""The counts of a sandbox. Pure."""

from __future__ import annotations

import msgspec


class SandboxStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What a sandbox counted.

    Attributes:
        requests: Requests to the API, with any key or none.
        created: Tasks created over HTTP.
        rate_limited: Requests refused with 429 because of the rate limit.
        worst_window: The most requests of one key in any sliding second. Refused requests count.
        key_leaks: Requests with a key to paths that must never get one (media and uploads).
        callbacks: Callbacks acknowledged with HTTP 200.
        faults: Injected faults by name.
        paths: Requests by the last part of their path.
    """

    requests: int
    created: int
    rate_limited: int
    worst_window: int
    key_leaks: int
    callbacks: int
    faults: dict[str, int]
    paths: dict[str, int]
