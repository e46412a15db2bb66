"""Measure what polling costs on this machine. See `benchmarks.cost.__main__`."""
