"""Read the checksum that a server sends with a file. No I/O."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import zlib
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from multidict import MultiMapping

#: Supported algorithms, strongest first, with the lengths of their digests in bytes.
_LENGTHS = {"sha512": 64, "sha256": 32, "sha1": 20, "md5": 16, "crc32": 4}

#: Names of algorithms in `Repr-Digest` and `Content-Digest` (RFC 9530), in `Digest` (RFC 3230), and
#: in `x-goog-hash`.
_NAMES = {"sha-512": "sha512", "sha-256": "sha256", "sha": "sha1", "md5": "md5"}

_MEMBER = re.compile(r"\s*([\w-]+)\s*=\s*:?([A-Za-z0-9+/]+={0,2}):?\s*")


class Checksum(NamedTuple):
    """A checksum that the server sent. It covers the body of a reply before decompression."""

    algorithm: str
    digest: bytes

    def hasher(self) -> Hasher:
        """Return a new `Hasher` for the algorithm of this checksum."""
        if self.algorithm == "crc32":
            return _Crc32()
        return hashlib.new(self.algorithm, usedforsecurity=False)


class Hasher(Protocol):
    """Computes a checksum. `hashlib` objects have the same methods."""

    def update(self, data: bytes, /) -> None:
        """Include `data` in the checksum."""
        ...

    def digest(self) -> bytes:
        """Return the checksum of all bytes that were added with `update`."""
        ...


class _Crc32:
    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


def checksum_of(headers: MultiMapping[str]) -> Checksum | None:
    """Return the strongest checksum in the headers of a complete reply (status 200).

    Return None if there is no supported checksum.
    """
    # ETag is not used: only some servers send a checksum in it, and only for some files.
    found = {each.algorithm: each for each in _found(headers)}
    return next((found[name] for name in _LENGTHS if name in found), None)


def _found(headers: MultiMapping[str]) -> Iterator[Checksum]:
    for name in ("Repr-Digest", "Content-Digest", "Digest"):
        yield from _members(headers, name)
    # Amazon S3 stores large files in parts. It sends COMPOSITE if the value is a checksum of the
    # checksums of the parts, not of the file.
    if headers.get("x-amz-checksum-type", "").upper() != "COMPOSITE":
        for algorithm in ("sha256", "sha1", "crc32"):
            yield from _decoded(algorithm, headers.get(f"x-amz-checksum-{algorithm}", ""))
    yield from _decoded("md5", headers.get("Content-MD5", ""))
    # Google's checksums are those of the stored file. They do not apply to the body if the server
    # decompressed the file for the transfer.
    stored = headers.get("x-goog-stored-content-encoding", "identity")
    if stored == headers.get("Content-Encoding", "identity"):
        yield from _members(headers, "x-goog-hash")


def _members(headers: MultiMapping[str], name: str) -> Iterator[Checksum]:
    # A list may be sent in several lines with the same name. Google Cloud Storage does this.
    for member in ",".join(headers.getall(name, [])).split(","):
        match = _MEMBER.fullmatch(member)
        if match and (algorithm := _NAMES.get(match[1].lower())):
            yield from _decoded(algorithm, match[2])


def _decoded(algorithm: str, value: str) -> Iterator[Checksum]:
    try:
        digest = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return
    if len(digest) == _LENGTHS[algorithm]:
        yield Checksum(algorithm, digest)
