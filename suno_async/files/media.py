"""Recognise media files by their first bytes. No I/O.

The HTTP status 200 does not prove that the body of a reply is a media file. A server may also send
an error page or a login page with this status.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

if TYPE_CHECKING:
    from yarl import URL

#: What a file must contain; ``"any"`` accepts everything but an empty file.
Media: TypeAlias = Literal["audio", "image", "video", "any"]

MEDIA: tuple[Media, ...] = get_args(Media)

#: How many bytes from the start of a file `problem` and `recognise` need. No format needs more.
HEAD = 16

_IMAGE_SUFFIXES = frozenset({".avif", ".gif", ".jpeg", ".jpg", ".png", ".webp"})

#: What a file may contain. `_BOTH` is for formats that may contain audio or video.
_AUDIO, _IMAGE, _VIDEO = frozenset({"audio"}), frozenset({"image"}), frozenset({"video"})
_BOTH = _AUDIO | _VIDEO

_STARTS: tuple[tuple[bytes, frozenset[str]], ...] = (
    (b"ID3", _AUDIO),
    (b"fLaC", _AUDIO),
    (b"MThd", _AUDIO),
    (b"caff", _AUDIO),
    (b"OggS", _BOTH),
    (b"\x1a\x45\xdf\xa3", _BOTH),  # Matroska and WebM
    (b"\xff\xd8\xff", _IMAGE),  # JPEG
    (b"\x89PNG\r\n\x1a\n", _IMAGE),
    (b"GIF87a", _IMAGE),
    (b"GIF89a", _IMAGE),
)

#: RIFF and IFF files, by their first four bytes and their form type (bytes 8 to 11).
_FORMS: dict[tuple[bytes, bytes], frozenset[str]] = {
    (b"RIFF", b"WAVE"): _AUDIO,
    (b"RF64", b"WAVE"): _AUDIO,
    (b"BW64", b"WAVE"): _AUDIO,
    (b"FORM", b"AIFF"): _AUDIO,
    (b"FORM", b"AIFC"): _AUDIO,
    (b"RIFF", b"WEBP"): _IMAGE,
    (b"RIFF", b"AVI "): _VIDEO,
}

#: Brands of MP4 files that are not videos (ISO/IEC 14496-12, 4.3).
_BRANDS = {
    **dict.fromkeys((b"M4A ", b"M4B ", b"M4P ", b"F4A "), _AUDIO),
    **dict.fromkeys((b"avif", b"avis", b"mif1", b"msf1", b"heic", b"heix", b"hevc"), _IMAGE),
}

#: Types of the first box of QuickTime files that do not start with a file type box (``ftyp``).
_QUICKTIME = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})


def expected_media(url: URL) -> Media | None:
    """Return ``"image"`` if the path of the URL has the suffix of an image file, otherwise None."""
    return "image" if PurePosixPath(url.path).suffix.lower() in _IMAGE_SUFFIXES else None


def problem(head: bytes, media: Media | None) -> str:
    """Return why the first bytes of a file do not fit the required type; empty if they fit.

    Args:
        head: The first `HEAD` bytes of the file, or all bytes if the file is shorter.
        media: The required type. ``"any"`` means any file that is not empty. None means audio,
            image or video.
    """
    if not head:
        return "the file is empty"
    if media == "any":
        return ""
    found = recognise(head)
    if media in found or (media is None and found):
        return ""
    what = "/".join(sorted(found)) or _describe(head)
    return f"received {what} instead of {media or 'a media file'}"


def recognise(head: bytes) -> frozenset[str]:
    """Return the types (audio, image, video) that a file with these first bytes may contain.

    The set is empty for an unknown format.
    """
    for start, kinds in _STARTS:
        if head.startswith(start):
            return kinds
    if (kinds_of_form := _FORMS.get((head[:4], head[8:12]))) is not None:
        return kinds_of_form
    box = head[4:8]
    if box == b"ftyp":
        return _BRANDS.get(head[8:12], _BOTH)
    if box in _QUICKTIME:
        return _VIDEO
    return _AUDIO if _starts_with_frame(head) else frozenset()


def _starts_with_frame(head: bytes) -> bool:
    """Return whether `head` starts with the header of an MPEG audio frame or of an ADTS frame."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:  # noqa: PLR2004 (the sync word)
        return False
    # MPEG audio (ISO/IEC 11172-3).
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    if layer == 0:
        # ADTS (ISO/IEC 13818-7): 12 bits of sync, and a sampling frequency index below 13.
        return head[1] & 0xF0 == 0xF0 and head[2] >> 2 & 15 < 13  # noqa: PLR2004 (the standard's)
    bitrate, sampling = head[2] >> 4, head[2] >> 2 & 3
    # Exclude layer I, which is no longer used: its header looks like a byte order mark of UTF-16.
    return layer != 3 and version != 1 and bitrate != 15 and sampling != 3  # noqa: PLR2004 (as above)


def _describe(head: bytes) -> str:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text[:1] == b"<":
        return "an HTML or XML page"
    if text[:1] in {b"{", b"["}:
        return "JSON"
    return "something else"
