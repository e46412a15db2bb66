"""Connections to the hosts of files: address checks, proxies, redirects. The key is never sent."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import urllib.request
from typing import TYPE_CHECKING, NamedTuple

import aiohttp
from yarl import URL

from suno_async.errors import ConfigurationError
from suno_async.files.addresses import AddressPolicy, UnsafeUrlError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping

#: Most redirects that a download follows.
MOST_REDIRECTS = 10

#: aiohttp buffers at most twice as many bytes for one reply. Larger pieces cost less CPU per byte.
READ_BUFFER = 1 << 20

#: An upload may take any time, but the server must connect within 10 s and then send or accept some
#: bytes at least every 60 s.
TIMEOUT = aiohttp.ClientTimeout(total=None, connect=10, sock_read=60)

#: For downloads. While the body arrives, `fetching` also demands a minimum speed.
DOWNLOAD_TIMEOUT = aiohttp.ClientTimeout(total=None, connect=10, sock_read=30)

_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Network(NamedTuple):
    """How to reach other hosts.

    Attributes:
        proxy: URL of an HTTP proxy for all requests; None for direct connections.
        trust_env: Take the proxies from the environment variables.
        ssl: Certificates to trust, and client certificates; None for the system's.
        allow_hosts: Hosts whose files may be transferred although their addresses are not public.
    """

    proxy: str | URL | None = None
    trust_env: bool = False
    ssl: ssl.SSLContext | None = None
    allow_hosts: Iterable[str] = ()

    def check(self) -> None:
        """Check all values.

        Raises:
            ConfigurationError: One of them is not valid.
        """
        self.checked_proxy()
        AddressPolicy(self.allow_hosts)
        if not isinstance(self.ssl, ssl.SSLContext | None):  # pyright: ignore[reportUnnecessaryIsInstance] (False would be dangerous)
            raise ConfigurationError("ssl must be an ssl.SSLContext")

    def checked_proxy(self) -> URL | None:
        """Return the URL of the proxy.

        Raises:
            ConfigurationError: It is not the URL of an HTTP proxy.
        """
        if self.proxy is None:
            return None
        try:
            url = URL(self.proxy)
        except (TypeError, ValueError):
            url = URL()
        if url.scheme not in {"http", "https"} or not url.host:
            # Not the value: it may contain a password.
            raise ConfigurationError("proxy must be an http(s) URL")
        return url


class Connections:
    """Sends requests to hosts of files.

    Args:
        network: How to reach them.
        api: The base URL of the API; its host is allowed. None if there is none.

    Raises:
        ConfigurationError: The proxy or a host is not valid.
    """

    def __init__(self, network: Network | None = None, api: URL | None = None) -> None:
        network = network or Network()
        self._policy = AddressPolicy(network.allow_hosts, api)
        self._proxy = network.checked_proxy()
        self._trust_env = network.trust_env
        self._ssl: ssl.SSLContext | bool = True if network.ssl is None else network.ssl
        self._guarded: aiohttp.ClientSession | None = None
        self._unguarded: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the sessions."""
        for session in (self._guarded, self._unguarded):
            if session is not None:
                await session.close()

    @contextlib.asynccontextmanager
    async def get(
        self, url: URL, headers: Mapping[str, str]
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        """Send a GET, follow redirects, and check the address of each host.

        The body of the reply is not decompressed.

        Raises:
            UnsafeUrlError: The URL, or one that it redirects to, must not be requested.
            aiohttp.ClientError: There is no reply.
        """
        for _ in range(MOST_REDIRECTS + 1):
            async with self.request("GET", url, headers, timeout=DOWNLOAD_TIMEOUT) as response:
                location = response.headers.get("Location")
                if response.status not in _REDIRECTS or not location:
                    yield response
                    return
            url = self._redirected(url, location)
        raise UnsafeUrlError(f"more than {MOST_REDIRECTS} redirects")

    @contextlib.asynccontextmanager
    async def request(
        self,
        method: str,
        url: URL,
        headers: Mapping[str, str],
        *,
        data: object = None,
        timeout: aiohttp.ClientTimeout = TIMEOUT,
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        """Send one request without following redirects, and check the address of the host.

        Raises:
            UnsafeUrlError: The URL must not be requested.
            aiohttp.ClientError: There is no reply.
        """
        self._policy.check_url(url)
        proxy = await self._proxy_for(url)
        # The connection goes to the proxy, which the user named. Only the proxy knows the address
        # of the host.
        session = self._session(guarded=proxy is None and not self._policy.trusts(url))
        async with session.request(
            method,
            url,
            headers=headers,
            data=data,
            proxy=proxy,
            allow_redirects=False,
            timeout=timeout,
        ) as response:
            yield response

    def _redirected(self, url: URL, location: str) -> URL:
        try:
            target = url.join(URL(location))
        except ValueError as error:
            raise UnsafeUrlError(f"redirect to an invalid URL: {error}") from None
        if url.scheme == "https" and target.scheme != "https":
            raise UnsafeUrlError("redirect from https to a URL that is not secure")
        return target

    async def _proxy_for(self, url: URL) -> URL | None:
        if self._proxy is not None or not self._trust_env:
            return self._proxy
        # aiohttp would not report whether it uses a proxy, and would send passwords of ~/.netrc.
        found = await asyncio.to_thread(_environment_proxy, url.scheme, url.host or "")
        return URL(found) if found else None

    def _session(self, *, guarded: bool) -> aiohttp.ClientSession:
        session = self._guarded if guarded else self._unguarded
        if session is None:
            session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0,
                    ssl=self._ssl,
                    socket_factory=self._policy.open_socket if guarded else None,
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                read_bufsize=READ_BUFFER,
            )
            if guarded:
                self._guarded = session
            else:
                self._unguarded = session
        return session


def _environment_proxy(scheme: str, host: str) -> str | None:
    if urllib.request.proxy_bypass(host):
        return None
    proxies = urllib.request.getproxies()
    return proxies.get(scheme) or proxies.get("all")
