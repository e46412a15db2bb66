"""The state of an account: its credentials, circuit breaker and rate limiter."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import hashlib
import math
import os
import re
import weakref
from typing import TYPE_CHECKING

from suno_async._transport.breaker import CircuitBreaker
from suno_async.errors import ConfigurationError
from suno_async.files.connections import http_url
from suno_async.limits.local import LocalLimiter

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from suno_async.limits.base import Limiter

BASE_URL = "https://api.crun.ai"

#: Seconds for which an account stays in memory, at least, after one of its clients was closed. By
#: default, no pause is longer (`MAX_PAUSE`).
LINGER = 120.0

#: Length of the shortest key that is removed from replies. A shorter key could be ordinary text.
#: The vendor's keys have 35 characters.
SHORTEST_SECRET = 16

#: Number of replaced keys that are also removed from replies. Each costs CPU time for each reply.
MOST_FORMER = 2

#: Names of characters in HTML.
_HTML_NAMES = {"&": ("amp",), "<": ("lt",), ">": ("gt",), '"': ("quot",), "'": ("apos",)}

_BACKSLASH, _PERCENT, _AMPERSAND = b"\\%&"

_SHORT_ESCAPES = frozenset(_HTML_NAMES) | {"\\"}

#: Replaces the key in replies.
REDACTED = b"[redacted]"


class Credentials:
    """An API key and the URL of the API host. The key is sent only in request headers.

    Args:
        api_key: The key. If None or empty, the variable SUNO_API_KEY or CRUN_API_KEY is used.
        base_url: The URL. If None or empty, the variable SUNO_BASE_URL or CRUN_BASE_URL is used,
            otherwise `BASE_URL`.

    Attributes:
        base_url: The URL of the API host.
        headers: The headers of every request, with the key.
        digest: A hash of the key and the URL. It does not reveal the key.

    Raises:
        ConfigurationError: There is no key, the key is not allowed in HTTP headers, or the URL is
            not usable.
    """

    def __init__(self, api_key: str | None, base_url: str | None) -> None:
        key = (api_key or _environment("SUNO_API_KEY", "CRUN_API_KEY") or "").strip()
        if not key:
            raise ConfigurationError("no API key: set SUNO_API_KEY, or pass api_key=")
        if not key.isascii() or not key.isprintable():
            raise ConfigurationError("a character of the API key is not allowed in HTTP headers")
        text = base_url or _environment("SUNO_BASE_URL", "CRUN_BASE_URL") or BASE_URL
        url = http_url(text.rstrip("/"))
        if url is None:
            raise ConfigurationError(f"base_url must be an http(s) URL, not {text!r}")
        if url.user or url.password:
            raise ConfigurationError("base_url must not contain a user or a password")
        self.base_url = url
        self._secret = key.encode()
        self._former: tuple[Credentials, ...] = ()
        self._escaped = _escaped(key) if len(key) >= SHORTEST_SECRET else None
        # Whether the key has a character with a short escape in JSON or HTML. The vendor's keys
        # have none.
        self._has_short_escapes = not _SHORT_ESCAPES.isdisjoint(key)
        self.headers = {
            "x-api-key": key,
            # The HTTP sender can decompress these two encodings in pieces of bounded size.
            "Accept-Encoding": "gzip, deflate",
        }
        digest = hashlib.blake2b(f"{key}\n{self.base_url}".encode(), digest_size=16)
        self.digest = digest.hexdigest()

    def with_key(self, api_key: str) -> Credentials:
        """Return credentials for the same host with another key.

        Raises:
            ConfigurationError: The key is empty, or is not allowed in HTTP headers.
        """
        if not api_key.strip():
            raise ConfigurationError("the new API key is empty")
        return Credentials(api_key, str(self.base_url))

    def adopt(self, other: Credentials) -> None:
        """Replace the key by the key of `other`.

        After that, `redacted` removes the new key and the last `MOST_FORMER` keys from replies.
        """
        # The copy must not contain former keys, because `redacted` calls itself for each copy.
        former, self._former = self._former, ()
        self._former = (*former, copy.copy(self))[-MOST_FORMER:]
        self._secret, self._escaped = other._secret, other._escaped
        self._has_short_escapes = other._has_short_escapes
        self.headers, self.digest = other.headers, other.digest

    def __repr__(self) -> str:
        return f"<Credentials at {self.base_url}>"

    def redacted(self, body: bytes) -> bytes:
        """Return the body of a reply, with every copy of the API key replaced by `REDACTED`.

        The last `MOST_FORMER` keys are replaced as well.

        Copies that are escaped for JSON, URLs or HTML are also replaced. A key shorter than
        `SHORTEST_SECRET` characters is not replaced.
        """
        for former in self._former:
            body = former.redacted(body)
        if self._escaped is None:
            return body
        if self._secret in body:
            body = body.replace(self._secret, REDACTED)
        # The search for an escaped key takes much longer than these checks. The search for single
        # bytes, given as numbers, is the fastest, and most replies contain none of them.
        if _BACKSLASH not in body and _PERCENT not in body and _AMPERSAND not in body:
            return body
        if b"\\u00" in body or b"\\/" in body or b"%" in body or b"&#" in body:
            return self._escaped.sub(REDACTED, body)
        if self._has_short_escapes:
            return self._escaped.sub(REDACTED, body)
        return body


class Account:
    """The state that all clients with the same credentials share within one event loop.

    A client that was opened with its own limiter does not share its account.

    Attributes:
        credentials: The API key and its host.
        limiter: The rate limiter.
        breaker: The circuit breaker.
    """

    def __init__(self, credentials: Credentials, limiter: Limiter) -> None:
        self.credentials = credentials
        self.limiter = limiter
        self.breaker = CircuitBreaker()
        self._rotation = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def replacing_key(self, fresh: Credentials) -> AsyncGenerator[None]:
        """Replace the key by the key of `fresh` at the end of the ``async with`` block.

        From the start of the block, new clients with the old key or the new key share this account.
        If the block raises, keep the old key. Then new clients with the new key no longer share
        this account. If two callers want to replace the key at the same time, one waits until the
        block of the other has ended.

        Raises:
            ConfigurationError: A client of another account in this event loop uses the new key, or
                used it a short time ago.
        """
        async with self._rotation:
            self.check_new_key(fresh)
            in_loop = self._shared_in()
            # An earlier key of this account is registered already, and must stay registered.
            is_new = in_loop is not None and fresh.digest not in in_loop
            if in_loop is not None:
                in_loop[fresh.digest] = self
            try:
                yield
            except BaseException:
                if in_loop is not None and is_new:
                    del in_loop[fresh.digest]
                raise
            self.credentials.adopt(fresh)
            self.breaker.key_replaced()

    def check_new_key(self, fresh: Credentials) -> None:
        """Check that no other account of this event loop uses the key of `fresh`.

        Raises:
            ConfigurationError: A client of another account uses the key of `fresh`, or used it a
                short time ago.
        """
        in_loop = self._shared_in()
        # Two accounts would be two request budgets for one key.
        if in_loop is not None and in_loop.get(fresh.digest, self) is not self:
            raise ConfigurationError(
                "another client in this event loop already uses the new key, or was closed in the "
                f"last {LINGER:g} s: use that client, or wait {LINGER:g} s after it was closed"
            )

    def _shared_in(self) -> weakref.WeakValueDictionary[str, Account] | None:
        """Return all shared accounts of the running event loop, by the digest of their credentials.

        Return None if this account is not one of them.
        """
        in_loop = _accounts.get(asyncio.get_running_loop())
        return in_loop if in_loop is not None and self in in_loop.values() else None

    def linger(self) -> None:
        """Keep this account in memory for a while after one of its clients was closed.

        A new client with the same credentials then continues with the same rate limiter. If the
        account is paused, the pause continues, too.
        """
        pause = self.limiter.paused
        loop = asyncio.get_running_loop()
        until = max(loop.time() + LINGER, -math.inf if pause is None else pause.until)
        loop.call_at(until, _drop, self)


def _drop(account: Account) -> None:
    """Do nothing. A timer keeps `account` in memory until it calls this function."""


_accounts: weakref.WeakKeyDictionary[
    asyncio.AbstractEventLoop, weakref.WeakValueDictionary[str, Account]
] = weakref.WeakKeyDictionary()


def account_for(credentials: Credentials, rate: float, max_pause: float) -> Account:
    """Return the account of these credentials in the running event loop.

    All clients with the same credentials in this event loop share the account. The lowest `rate`
    and the lowest `max_pause` of these clients apply. Clients that were closed also count while the
    account stays in memory (see `Account.linger`).

    Args:
        credentials: The API key and its host.
        rate: Maximum number of requests per second.
        max_pause: Longest pause in seconds after a 429 (too many requests) or a 455 (maintenance).
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


def _escaped(key: str) -> re.Pattern[bytes]:
    """Return a pattern that matches a key, even if some characters of the key are escaped."""
    return re.compile("".join(map(_spellings, key)).encode())


def _spellings(character: str) -> str:
    """Return a regular expression for a character and all its escaped forms."""
    code, plain = ord(character), re.escape(character)
    digits = "".join(f"[{each}{each.upper()}]" for each in f"{code:02x}")
    # JSON inside a JSON string has more than one backslash. The pattern allows at most four.
    # Without this limit, the search time would grow with the square of the size of a reply.
    in_json = rf"\\{{1,4}}(?:u00{digits}|{plain})"
    named = "".join(f"|&{name};" for name in _HTML_NAMES.get(character, ()))
    return rf"(?:{plain}|{in_json}|%{digits}|&\#(?:{code}|[xX]{digits});{named})"
