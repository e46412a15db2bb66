"""Compute a lower bound of the mean delay of any polling policy.

A delay is the time from the end of a task to the next check. See `benchmarks.bound.mean_delay`.
"""

from __future__ import annotations

from benchmarks.bound.mean_delay import mean_delay_bound

__all__ = ["mean_delay_bound"]
