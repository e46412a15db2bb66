"""Compute a lower bound of the mean delay with which a polling policy notices the ends of tasks.

See `benchmarks.bound.mean_delay`.
"""

from __future__ import annotations

from benchmarks.bound.mean_delay import mean_delay_bound

__all__ = ["mean_delay_bound"]
