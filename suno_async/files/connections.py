"""Connections to the hosts that store files: address checks, proxies, redirects.

The API key is never sent to these hosts.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import urllib.request
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urljoin, urlsplit

import aiohttp
from yarl import URL

from suno_async.errors import ClientClosedError, ConfigurationError
from suno_async.files.addresses import AddressPolicy, UnsafeUrlError
from suno_async.files.urls import exact_url

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping

#: Maximum number of redirects that a download follows.
MOST_REDIRECTS = 10

#: Size of aiohttp's read buffer in bytes. aiohttp buffers about twice this size for one reply.
#: Larger pieces cost less CPU per byte.
READ_BUFFER = 1 << 20

#: Timeouts of uploads. The connection must be open within 10 s, and the server must reply within
#: 60 s after the file was sent. aiohttp has no timeout for sending the file; `uploads` has one.
TIMEOUT = aiohttp.ClientTimeout(total=None, connect=10, sock_read=60)

#: Timeouts of downloads. While the body arrives, `fetching` also requires a minimum speed.
DOWNLOAD_TIMEOUT = aiohttp.ClientTimeout(total=None, connect=10, sock_read=30)

_REDIRECTS = frozenset({301, 302, 303, 307, 308})


def http_url(text: str | URL) -> URL | None:
    """Return `text` as a URL; None if it is not an http(s) URL with a valid host name."""
    try:
        url = URL(text)
        if url.scheme not in {"http", "https"} or not url.host:
            return None
        # A connection attempt encodes the name in the same way. This raises an error if, for
        # example, a part of the name is empty or has more than 63 characters.
        (url.raw_host or "").encode("idna")
    except (TypeError, ValueError):
        return None
    return url


class Network(NamedTuple):
    """How to reach the API and the hosts that store files.

    Attributes:
        proxy: The URL of an HTTP proxy for all requests, or None.
        trust_env: Whether to use the proxies in the environment variables if `proxy` is None.
            Without such variables, the system settings are used on macOS and Windows.
        ssl: The SSL context with the trusted certificates. None means the default of the system.
        allow_hosts: Hosts and networks that are allowed although they are not public.
    """

    proxy: str | URL | None = None
    trust_env: bool = False
    ssl: ssl.SSLContext | None = None
    allow_hosts: Iterable[str] = ()

    def check(self) -> None:
        """Check the proxy, the hosts and the SSL context.

        Raises:
            ConfigurationError: One of them is not valid.
        """
        self.checked_proxy()
        AddressPolicy(self.allow_hosts)
        if not isinstance(self.ssl, ssl.SSLContext | None):  # pyright: ignore[reportUnnecessaryIsInstance] (False would be dangerous)
            raise ConfigurationError("ssl must be an ssl.SSLContext")

    def checked_proxy(self) -> URL | None:
        """Return `proxy` as a URL; None if `proxy` is None.

        Raises:
            ConfigurationError: `proxy` is not the URL of an HTTP proxy.
        """
        if self.proxy is None:
            return None
        url = http_url(self.proxy)
        if url is None:
            # Do not show the value, because it may contain a password.
            raise ConfigurationError("proxy must be an http(s) URL")
        return url

    async def proxy_for(self, url: URL) -> URL | None:
        """Return the proxy for a request to `url`; None if the request needs no proxy.

        Raises:
            ValueError: The proxy in the environment variables is not the URL of an HTTP proxy.
        """
        if self.proxy is not None or not self.trust_env:
            return self.checked_proxy()
        # Do not use aiohttp's `trust_env`: it does not report whether it uses a proxy, and it sends
        # passwords from ~/.netrc.
        return await asyncio.to_thread(_environment_proxy, url.scheme, url.host or "")


class Connections:
    """Sends requests to the hosts that store files.

    Args:
        network: How to reach the hosts. None means the defaults of `Network`.
        api: The base URL of the API, or None. Its host is allowed even if it has a private address,
            but with ``http`` only if the base URL uses ``http``.

    Raises:
        ConfigurationError: The proxy or a host is not valid.
    """

    def __init__(self, network: Network | None = None, api: URL | None = None) -> None:
        self._network = network = network or Network()
        network.checked_proxy()  # raises if the proxy is not valid
        self._policy = AddressPolicy(network.allow_hosts, api)
        self._ssl: ssl.SSLContext | bool = True if network.ssl is None else network.ssl
        self._closed = False
        self._guarded: aiohttp.ClientSession | None = None
        self._unguarded: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close all connections. Later requests raise `ClientClosedError`."""
        self._closed = True
        for session in (self._guarded, self._unguarded):
            if session is not None:
                await session.close()

    @contextlib.asynccontextmanager
    async def get(
        self, url: URL, headers: Mapping[str, str]
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        """Send a GET request, follow redirects, and yield the reply.

        The body of the reply is not decompressed.

        Raises:
            UnsafeUrlError: The URL or a redirect is not allowed, or there are too many redirects.
            aiohttp.ClientError: No reply arrived.
            ValueError: The host name cannot be encoded, or the proxy in the environment
                variables is not the URL of an HTTP proxy.
            ClientClosedError: `close` was called.
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
        """Send one request without following redirects, and yield the reply.

        Raises:
            UnsafeUrlError: The URL is not allowed.
            aiohttp.ClientError: No reply arrived.
            ValueError: The host name cannot be encoded, or the proxy in the environment
                variables is not the URL of an HTTP proxy.
            ClientClosedError: `close` was called.
        """
        self._policy.check_url(url)
        proxy = await self._network.proxy_for(url)
        # With a proxy, the connection goes to the proxy, which the user chose. The address of the
        # host cannot be checked then, because only the proxy resolves it.
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
            if urlsplit(location).scheme or location.startswith(("/", "?")):
                target = exact_url(urljoin(str(url), location))
            else:
                # `urljoin` would remove empty segments of the path.
                target = url.join(URL(location))
        except ValueError:
            # The text of the error may contain a password.
            raise UnsafeUrlError("redirect to an invalid URL") from None
        if url.scheme == "https" and target.scheme != "https":
            raise UnsafeUrlError("redirect from https to a URL that is not secure")
        return target

    def _session(self, *, guarded: bool) -> aiohttp.ClientSession:
        if self._closed:
            raise ClientClosedError("the client was closed during this call")
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


def _environment_proxy(scheme: str, host: str) -> URL | None:
    if urllib.request.proxy_bypass(host):
        return None
    proxies = urllib.request.getproxies()
    general = proxies.get("all", "")
    # ALL_PROXY is often a SOCKS proxy for other programs. aiohttp does not support these.
    found = proxies.get(scheme) or (general if general.startswith("http") else "")
    try:
        return Network(found or None).checked_proxy()
    except ConfigurationError:
        raise ValueError("the proxy in the environment is not an http(s) URL") from None
