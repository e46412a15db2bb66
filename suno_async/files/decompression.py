"""Decompress a body in steps of bounded size. Pure."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Most bytes of one step.
STEP = 1 << 20

#: The windows of zlib: with the header of gzip, with that of zlib, without a header.
_GZIP, _ZLIB, _RAW = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS

_WINDOWS = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": _ZLIB}


class DamagedError(Exception):
    """The body is not what its content encoding promises. Internal."""


class Decompressor:
    """Decompresses one body.

    Args:
        encoding: The content encoding: gzip, x-gzip or deflate.

    Raises:
        ValueError: The encoding is not supported.
    """

    def __init__(self, encoding: str) -> None:
        if encoding not in _WINDOWS:
            raise ValueError(f"unsupported content encoding {encoding!r}")
        self._is_gzip = _WINDOWS[encoding] == _GZIP
        self._decoder = zlib.decompressobj(_WINDOWS[encoding])
        # The first byte of a deflated body; the second one decides how to decompress it.
        self._start: bytes = b""
        self._started = self._is_gzip

    @property
    def complete(self) -> bool:
        """Whether the end of the compressed data has arrived."""
        return self._decoder.eof

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Decompress the next piece; yield at most `STEP` bytes at a time.

        Raises:
            DamagedError: The piece cannot be decompressed.
        """
        if not self._started:
            piece = self._start + piece
            if len(piece) < 2:  # noqa: PLR2004 (the header of zlib, RFC 1950)
                self._start = piece
                return
            self._started = True
            if int.from_bytes(piece[:2], "big") % 31 or piece[0] & 15 != zlib.DEFLATED:
                # Some servers send deflate without the header of zlib.
                self._decoder = zlib.decompressobj(_RAW)
        while piece:
            try:
                data = self._decoder.decompress(piece, STEP)
            except zlib.error:
                raise DamagedError from None
            if data:
                yield data
            piece = bytes(self._decoder.unconsumed_tail)
            if self._is_gzip and self._decoder.unused_data:
                # gzip may consist of several members.
                piece = self._decoder.unused_data
                self._decoder = zlib.decompressobj(_GZIP)
