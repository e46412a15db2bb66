"""Compare the polling schedule with alternatives by simulation.

See `benchmarks.schedule.__main__`.
"""
