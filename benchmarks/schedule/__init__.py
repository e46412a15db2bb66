"""Simulate the polling schedule beside its alternatives. See `benchmarks.schedule.__main__`."""
