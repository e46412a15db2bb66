"""Benchmarks of downloads. Run ``python -m benchmarks.downloads --help``."""
