"""Rate limiters: the request budget of an account."""

from suno_async.limits.base import Limiter, Pause, Permit
from suno_async.limits.local import LocalLimiter

__all__ = ["Limiter", "LocalLimiter", "Pause", "Permit"]
