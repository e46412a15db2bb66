"""Measurements of suno_async: run each with ``python -m benchmarks.<name>``."""
