"""An account: its credentials, its circuit breaker and its limiter."""

from __future__ import annotations

import asyncio
import hashlib
import math
import os
import weakref
from typing import TYPE_CHECKING

from yarl import URL

from suno_async._transport.breaker import CircuitBreaker
from suno_async.errors import ConfigurationError
from suno_async.limits.local import LocalLimiter

if TYPE_CHECKING:
    from suno_async.limits.base import Limiter

BASE_URL = "https://api.crun.ai"

#: Seconds for which an account stays known after one of its clients was closed (`MAX_PAUSE`).
LINGER = 120.0

#: Shortest key that is removed from replies. The vendor's keys have 35 characters.
SHORTEST_SECRET = 16


class Credentials:
    """A key and its API host. The key leaves this object only in a request header."""

    def __init__(self, api_key: str | None, base_url: str | None) -> None:
        key = (api_key or _environment("SUNO_API_KEY", "CRUN_API_KEY") or "").strip()
        if not key:
            raise ConfigurationError("no API key: set SUNO_API_KEY, or pass api_key=")
        if not key.isascii() or not key.isprintable():
            raise ConfigurationError("the API key holds a character that no header may carry")
        text = base_url or _environment("SUNO_BASE_URL", "CRUN_BASE_URL") or BASE_URL
        try:
            self.base_url = URL(text.rstrip("/"))
        except ValueError:
            self.base_url = URL()
        if self.base_url.scheme not in {"http", "https"} or not self.base_url.host:
            raise ConfigurationError(f"base_url must be an http(s) URL, not {text!r}")
        if self.base_url.user or self.base_url.password:
            raise ConfigurationError("base_url must not hold a user or a password")
        self._secret = key.encode()
        self.headers = {
            "x-api-key": key,
            "Content-Type": "application/json",
            # Only what can be decompressed in bounded pieces.
            "Accept-Encoding": "gzip, deflate",
        }
        digest = hashlib.blake2b(f"{key}\n{self.base_url}".encode(), digest_size=16)
        #: Identifies key and host without revealing the key.
        self.digest = digest.hexdigest()

    def __repr__(self) -> str:
        return f"<Credentials at {self.base_url}>"

    def redacted(self, body: bytes) -> bytes:
        """Return a reply's body without the key, should the server repeat it.

        A key shorter than `SHORTEST_SECRET` could be part of ordinary text and is left alone.
        """
        if self._secret in body and len(self._secret) >= SHORTEST_SECRET:
            return body.replace(self._secret, b"[redacted]")
        return body


class Account:
    """What all clients with the same credentials in one event loop share.

    Attributes:
        credentials: Key and API host.
        limiter: The request budget.
        breaker: Fails requests locally after a refused key or a lack of credits.
    """

    def __init__(self, credentials: Credentials, limiter: Limiter) -> None:
        self.credentials = credentials
        self.limiter = limiter
        self.breaker = CircuitBreaker()

    def linger(self) -> None:
        """Stay known for a while after the last client closed.

        A client that is opened next must respect a pause and the requests just sent.
        """
        pause = self.limiter.paused
        loop = asyncio.get_running_loop()
        until = max(loop.time() + LINGER, -math.inf if pause is None else pause.until)
        loop.call_at(until, _drop, self)


def _drop(account: Account) -> None:
    """Release the reference to an account that a timer held."""


_accounts: weakref.WeakKeyDictionary[
    asyncio.AbstractEventLoop, weakref.WeakValueDictionary[str, Account]
] = weakref.WeakKeyDictionary()


def account_for(credentials: Credentials, rate: float, max_pause: float) -> Account:
    """Return the account that all clients with these credentials in this event loop share.

    Args:
        credentials: Key and API host.
        rate: Requests per second. The lowest of the account's clients holds.
        max_pause: Longest pause in seconds. The shortest of the account's clients holds.
    """
    in_loop = _accounts.setdefault(asyncio.get_running_loop(), weakref.WeakValueDictionary())
    account = in_loop.get(credentials.digest)
    if account is None:
        account = in_loop[credentials.digest] = Account(credentials, LocalLimiter(rate, max_pause))
    if isinstance(account.limiter, LocalLimiter):
        account.limiter.tighten(rate, max_pause)
    return account


def _environment(*names: str) -> str | None:
    return next((value for name in names if (value := os.environ.get(name))), None)
