"""Measure the CPU time and the memory that polling uses. See `benchmarks.cost.__main__`."""
