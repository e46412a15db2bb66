"""Measure the SQLite journal: changes per second, and whether acknowledged changes are lost."""
