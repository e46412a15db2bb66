"""Small media files: silence as MP3, one pixel as PNG, a bare MP4 header."""

from __future__ import annotations

import hashlib
import struct
import zlib

# One MPEG-1 layer III frame, 32 kbit/s, 44.1 kHz, mono: 104 bytes (ISO/IEC 11172-3, 2.4.3.1). Zeros
# decode to silence. Decoders ignore the last bytes of a frame, which may hold any data.
_HEAD = b"\xff\xfb\x10\xc0"
_FRAME_BYTES = 104
_DIGEST_BYTES = 16
_FRAMES_PER_SECOND = 44_100 / 1152


def mp3(name: str, seconds: float) -> bytes:
    """Return a valid MP3 file of silence. Files with different names have different bytes."""
    digest = hashlib.blake2b(name.encode(), digest_size=_DIGEST_BYTES).digest()
    frame = _HEAD + bytes(_FRAME_BYTES - len(_HEAD) - _DIGEST_BYTES) + digest
    return frame * max(1, round(seconds * _FRAMES_PER_SECOND))


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
