"""Compute a mean delay that no polling policy can beat. See `benchmarks.bound.mean_delay`."""

from __future__ import annotations

from benchmarks.bound.mean_delay import mean_delay_bound

__all__ = ["mean_delay_bound"]
