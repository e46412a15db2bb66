"""Small media files: two seconds of silence as MP3, one pixel as PNG, a bare MP4 header."""

from __future__ import annotations

import struct
import zlib

# One MPEG-1 layer III frame, 32 kbit/s, 44.1 kHz, mono: 104 bytes (ISO/IEC 11172-3, 2.4.3.1). Zeros
# decode to silence.
_FRAME = b"\xff\xfb\x10\xc0" + bytes(100)

#: 77 frames of 1152 samples.
MP3 = _FRAME * 77


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


PNG = (
    b"\x89PNG\r\n\x1a\n"
    + _chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    + _chunk(b"IDAT", zlib.compress(b"\x00\x80\x40\xc0"))
    + _chunk(b"IEND", b"")
)

# A file type box only (ISO/IEC 14496-12, 4.3).
MP4 = struct.pack(">I", 24) + b"ftypisom\x00\x00\x02\x00isommp42"
