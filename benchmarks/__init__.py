"""Benchmarks of suno_async. Run each with ``python -m benchmarks.<name>``."""
