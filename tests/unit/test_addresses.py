"""Tests that file transfers use only allowed addresses and URLs."""

from __future__ import annotations

import socket
from ipaddress import ip_address, ip_network

import pytest
from yarl import URL

from suno_async import ConfigurationError, SunoClient
from suno_async.files.addresses import (
    AddressPolicy,
    AddressRefusedError,
    UnsafeUrlError,
    is_public,
    literal_address,
)


@pytest.mark.parametrize(
    "text", ["8.8.8.8", "2606:4700::1111", "64:ff9b::8.8.8.8", "::ffff:1.1.1.1"]
)
def test_public(text: str) -> None:
    """`is_public` accepts public addresses, and IPv6 addresses that hold a public IPv4 address."""
    assert is_public(ip_address(text))


@pytest.mark.parametrize(
    "text",
    [
        # The library must refuse these addresses. Nothing binds to them.
        *("127.0.0.1", "127.255.0.1", "0.0.0.0", "0.1.2.3", "10.1.2.3", "172.16.0.1"),  # noqa: S104 (as above)
        *("192.168.1.1", "169.254.169.254", "100.64.0.1", "100.127.255.255", "192.0.0.8"),
        *("192.88.99.1", "198.18.0.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255"),
        *(
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "fe80::1",
            "fe80::1%1",
        ),
        *("fec0::1", "fc00::1", "fd12::1", "ff02::1", "2002:7f00:1::", "2002:a00:1::"),
        *("64:ff9b::127.0.0.1", "64:ff9b:1::8.8.8.8", "2001:0:7f00:1::", "2001:db8::1", "100::1"),
        *("3fff::1", "5f00::1", "::ffff:0:127.0.0.1"),
    ],
)
def test_not_public(text: str) -> None:
    """Private, local, shared, reserved and multicast addresses are refused."""
    assert not is_public(ip_address(text))
    with pytest.raises(AddressRefusedError):
        AddressPolicy().open_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", (text, 80)))


@pytest.mark.parametrize(
    "host", ["127.1", "0x7f000001", "2130706433", "0177.0.0.1", "127.0.0.1.", "0x7f.1", "0"]
)
def test_spellings(host: str) -> None:
    """A URL is refused if its host is an unusual spelling of a local address, such as ``127.1``."""
    address = literal_address(host)
    assert address is not None
    assert not is_public(address)
    with pytest.raises(UnsafeUrlError, match="allow_hosts"):
        AddressPolicy().check_url(URL(f"https://{host}/x"))


def test_urls() -> None:
    """Without `allow_hosts`, a URL must use https and must not name a local host."""
    policy = AddressPolicy()
    policy.check_url(URL("https://cdn.example/x.mp3"))
    policy.check_url(URL("https://8.8.8.8/x.mp3"))
    for url in (
        *("http://cdn.example/x.mp3", "ftp://cdn.example/x", "https:///x", "file:///etc/passwd"),
        *("https://localhost/x", "https://a.localhost./x", "https://[::1]/x"),
    ):
        with pytest.raises(UnsafeUrlError):
            policy.check_url(URL(url))


def test_allowed() -> None:
    """If a host is in `allow_hosts`, its URLs may use http, and its address may be private."""
    policy = AddressPolicy(["Minio.internal", "[::1]", "10.0.0.0/8"])
    for url in ("http://minio.internal:9000/x", "http://[::1]/x", "http://10.2.3.4/x"):
        policy.check_url(URL(url))
    assert policy.trusts(URL("http://MINIO.internal./x"))
    assert not policy.trusts(URL("http://10.2.3.4/x"))
    policy.check_address("10.2.3.4")
    policy.check_address("::ffff:10.2.3.4")
    # "[::1]" allows only URLs that contain this address, not names that resolve to it.
    for address in ("127.0.0.1", "::1"):
        with pytest.raises(AddressRefusedError):
            policy.check_address(address)
    with pytest.raises(UnsafeUrlError):
        policy.check_url(URL("http://name.of.10.2.3.4.example/x"))


@pytest.mark.parametrize(
    ("allowed", "url"),
    [
        ("0:0:0:0:0:0:0:1", "http://[::1]/x"),
        ("[::1]", "http://[0:0:0:0:0:0:0:1]/x"),
        ("127.1", "http://127.0.0.1/x"),
        ("127.0.0.1", "http://0x7f000001/x"),
        ("10.0.0.0/8", "http://[::ffff:10.2.3.4]/x"),
        ("bücher.example", "http://xn--bcher-kva.example/x"),
        ("xn--bcher-kva.example", "http://BÜCHER.example/x"),
    ],
)
def test_spellings_of_an_allowed_host(allowed: str, url: str) -> None:
    """If a host is in `allow_hosts`, a URL may use any spelling of the host."""
    AddressPolicy([allowed]).check_url(URL(url))
    with pytest.raises(UnsafeUrlError):
        AddressPolicy(["192.168.0.0/16"]).check_url(URL(url))


def test_the_host_of_the_api() -> None:
    """The host of the API may have a private address, even without `allow_hosts`."""
    policy = AddressPolicy((), URL("http://127.0.0.1:8000"))
    policy.check_url(URL("http://127.0.0.1:9000/x"))
    with pytest.raises(UnsafeUrlError):
        policy.check_url(URL("http://127.0.0.2/x"))
    policy = AddressPolicy((), URL("https://api.internal"))
    assert policy.trusts(URL("https://api.internal/x"))
    with pytest.raises(UnsafeUrlError):
        policy.check_url(URL("http://api.internal/x"))


@pytest.mark.parametrize(
    "options",
    [
        *({"allow_hosts": "one.example"}, {"allow_hosts": [""]}, {"allow_hosts": ["10.0.0.0/99"]}),
        *({"allow_hosts": ["a:80"]}, {"allow_hosts": ["*"]}, {"proxy": "socks5://secret@x"}),
        *({"proxy": "nothing"}, {"ssl": False}, {"allow_hosts": [None]}),
        *({"allow_hosts": [ip_network("10.0.0.0/8")]}, {"allow_hosts": ["a..℀"]}),
    ],
)
def test_invalid_options(options: dict[str, object]) -> None:
    """An invalid option raises an error. The error does not show credentials from a proxy URL."""
    with pytest.raises(ConfigurationError) as caught:
        SunoClient("k", **options)  # type: ignore[arg-type]
    assert "secret" not in str(caught.value)
