"""Rate limiters, which limit the number of requests per second of an account."""

from suno_async.limits.base import Limiter, Pause, Permit
from suno_async.limits.local import LocalLimiter

__all__ = ["Limiter", "LocalLimiter", "Pause", "Permit"]
