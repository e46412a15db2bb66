"""Decompress the body of a reply in pieces of limited size. No I/O."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Maximum number of decompressed bytes of one step.
STEP = 1 << 20

#: Number of compressed bytes that are passed to zlib at a time. At the end of each gzip member,
#: zlib copies the rest of these bytes. So a larger number would be slow for many short members.
_WINDOW = 1 << 16

#: Values of zlib's `wbits`: for data with a gzip header, with a zlib header, without a header.
_GZIP, _ZLIB, _RAW = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS

_WINDOWS = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": _ZLIB}


class DamagedError(Exception):
    """The body of a reply does not match its content encoding. Internal."""


class Decompressor:
    """Decompresses the body of one reply.

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
        # The first byte of a deflate body, until the second byte arrives. Only both together show
        # whether the body has a zlib header.
        self._start: bytes = b""
        self._started = self._is_gzip

    @property
    def complete(self) -> bool:
        """Whether the end of the compressed data was reached."""
        return self._decoder.eof

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Decompress the next piece of the body. Yield at most `STEP` decompressed bytes at a time.

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
                # Some servers send deflate bodies without the zlib header.
                self._decoder = zlib.decompressobj(_RAW)
        for start in range(0, len(piece), _WINDOW):
            yield from self._decompressed(piece[start : start + _WINDOW])

    def _decompressed(self, piece: bytes) -> Iterator[bytes]:
        data = b""
        # After a full step, zlib may hold more output although it has consumed the whole piece.
        while piece or len(data) == STEP:
            try:
                data = self._decoder.decompress(piece, STEP)
            except zlib.error:
                raise DamagedError from None
            if data:
                yield data
            piece = bytes(self._decoder.unconsumed_tail)
            if self._is_gzip and self._decoder.unused_data:
                # A gzip body may consist of several members.
                piece = self._decoder.unused_data
                self._decoder = zlib.decompressobj(_GZIP)
