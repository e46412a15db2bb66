"""Decide which hosts may be used for downloads and uploads of files.

The URL of a file comes from a server, so it may point to a service in a private network. By
default, only public addresses are allowed. An address is checked when a connection to it is opened,
because a host name may resolve to a private address.
"""

from __future__ import annotations

import errno
import socket
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import TYPE_CHECKING, Any, TypeAlias

from yarl import URL

from suno_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

#: IPv4 networks that are not public, although ``is_global`` is true for them in some Python
#: versions: protocol assignments, relays from IPv6, multicast, reserved.
_NOT_PUBLIC_4 = tuple(
    map(IPv4Network, ("192.0.0.0/24", "192.88.99.0/24", "224.0.0.0/4", "240.0.0.0/4"))
)

#: The only IPv6 network with public addresses so far.
_PUBLIC_6 = IPv6Network("2000::/3")

#: Networks in `_PUBLIC_6` that are not public: protocol assignments, documentation.
_NOT_PUBLIC_6 = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "3fff::/20")))

#: The well-known prefix of NAT64. The last 32 bits are an IPv4 address.
_NAT64 = IPv6Network("64:ff9b::/96")

_REFUSED = "not a public address"


class AddressRefusedError(OSError):
    """An attempt to connect to an address that is not allowed. Nothing was sent.

    This class is internal.
    """

    def __init__(self) -> None:
        # The text is the same for every address. If a host has several addresses and their errors
        # differ, aiohttp raises one plain OSError instead.
        super().__init__(errno.EACCES, _REFUSED)


class UnsafeUrlError(Exception):
    """A URL is not allowed, or there are too many redirects.

    This class is internal.
    """


def is_public(address: Address) -> bool:
    """Return whether an address is public.

    For IPv4-mapped, 6to4 and NAT64 addresses, check the IPv4 address that they contain.
    """
    if isinstance(address, IPv6Address):
        embedded = address.ipv4_mapped or address.sixtofour
        if embedded is None and address in _NAT64:
            embedded = IPv4Address(int(address) & 0xFFFFFFFF)
        if embedded is not None:
            return is_public(embedded)
        in_public = address in _PUBLIC_6 and not any(address in each for each in _NOT_PUBLIC_6)
        return in_public and address.is_global
    return address.is_global and not any(address in each for each in _NOT_PUBLIC_4)


def literal_address(host: str) -> Address | None:
    """Return `host` as an IP address. Return None if `host` is a name.

    ``127.1`` and ``0x7f000001`` are also read as addresses, because system resolvers accept such
    spellings.
    """
    host = host.rstrip(".")
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        pass
    if not host[:1].isdigit():
        return None
    try:
        return IPv4Address(socket.inet_aton(host))
    except (OSError, ValueError):
        return None


class AddressPolicy:
    """Decides which URLs and addresses are allowed.

    Args:
        allow_hosts: Host names, addresses, and networks such as ``"10.0.0.0/8"``. They are allowed
            even if they are not public. A URL may use ``http:`` if its host is one of the names or
            addresses, or an address in one of the networks.
        api: The base URL of the API, or None. URLs with the same host and scheme are allowed, even
            if the address of the host is not public. If the scheme is ``http``, ``https`` URLs with
            the same host are allowed, too.

    Raises:
        ConfigurationError: `allow_hosts` is a string, or one of its items is not a host or a
            network.
    """

    def __init__(self, allow_hosts: Iterable[str] = (), api: URL | None = None) -> None:
        if isinstance(allow_hosts, str):
            raise ConfigurationError(f"allow_hosts must be a list of hosts, not {allow_hosts!r}")
        self._networks: list[Network] = []
        self._hosts: set[str] = set()
        self._https_hosts: set[str] = set()
        for each in allow_hosts:
            self._allow(each)
        if api is not None and api.host:
            hosts = self._https_hosts if api.scheme == "https" else self._hosts
            hosts.add(_normal(api.raw_host or ""))

    def _allow(self, entry: str) -> None:
        if not isinstance(entry, str):  # pyright: ignore[reportUnnecessaryIsInstance] (callers without type checker)
            raise ConfigurationError(f"allow_hosts: not a string: {entry!r}")
        if "/" in entry:
            try:
                self._networks.append(ip_network(entry))
            except ValueError as error:
                raise ConfigurationError(
                    f"allow_hosts: not a host or a network: {entry!r}: {error}"
                ) from None
            return
        host = entry.removeprefix("[").removesuffix("]")
        if not host or any(each in host for each in "@?#[]* "):
            raise ConfigurationError(f"allow_hosts: not a host or a network: {entry!r}")
        if ":" in host and literal_address(host) is None:
            raise ConfigurationError(f"allow_hosts: give the host without a port: {entry!r}")
        try:
            ascii_host = URL.build(scheme="https", host=host).raw_host
        except ValueError as error:
            raise ConfigurationError(
                f"allow_hosts: not a host or a network: {entry!r}: {error}"
            ) from None
        self._hosts.add(_normal(ascii_host or host))

    def trusts(self, url: URL) -> bool:
        """Return whether the host of `url` is allowed to have any address, even a private one."""
        host = _normal(url.raw_host or "")
        return host in self._hosts or (url.scheme == "https" and host in self._https_hosts)

    def check_url(self, url: URL) -> None:
        """Check a URL before a connection is opened.

        A host name may resolve to a private address, so also call `check_address`.

        Raises:
            UnsafeUrlError: The URL is not an http(s) URL, or its host or scheme is not allowed.
        """
        if url.scheme not in {"http", "https"} or not url.host:
            raise UnsafeUrlError("not an http(s) URL")
        if self.trusts(url):
            return
        host = _normal(url.raw_host or "")
        address = literal_address(host)
        if address is not None and any(address in each for each in self._networks):
            return
        local = host == "localhost" or host.endswith(".localhost")
        if local or (address is not None and not is_public(address)):
            raise UnsafeUrlError(f"{url.host} is {_REFUSED}; see allow_hosts")
        if url.scheme != "https":
            raise UnsafeUrlError(f"not https: {url.host}; see allow_hosts")

    def check_address(self, text: str) -> None:
        """Check an IP address before a connection to this address is opened.

        Raises:
            AddressRefusedError: `text` is not an address, or the address is not allowed.
        """
        try:
            address = ip_address(text)
        except ValueError:
            raise AddressRefusedError from None
        address = _unmapped(address)
        if not is_public(address) and not any(address in each for each in self._networks):
            raise AddressRefusedError

    def open_socket(self, info: tuple[Any, Any, int, str, tuple[Any, ...]]) -> socket.socket:
        """Check the address of a connection, and return a socket for this connection.

        Pass this method to aiohttp as ``socket_factory``.

        Raises:
            AddressRefusedError: The address is not allowed.
        """
        # A check during name resolution would miss URLs that contain an address.
        family, kind, protocol, _, address = info
        self.check_address(str(address[0]))
        return socket.socket(family, kind, protocol)


def refused(error: OSError) -> bool:
    """Return whether a connection failed and at least one address of the host was refused."""
    # aiohttp wraps the error. If the addresses of a host fail with different errors, the wrapped
    # error is one OSError with all their texts.
    inner = getattr(error, "os_error", error)
    return isinstance(inner, AddressRefusedError) or _REFUSED in str(inner)


def _normal(host: str) -> str:
    """Return an ASCII host in its normal form. All its spellings have the same normal form."""
    address = literal_address(host)
    return host.rstrip(".").lower() if address is None else str(_unmapped(address))


def _unmapped(address: Address) -> Address:
    """Return the IPv4 address if `address` is an IPv4-mapped IPv6 address, else `address`."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped
