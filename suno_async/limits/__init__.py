"""Limiters: the request budget of an account."""
