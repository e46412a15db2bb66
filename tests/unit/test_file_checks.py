"""Tests of the functions that check downloads: kind of media, checksums and partial replies."""

from __future__ import annotations

import base64
import hashlib
import zlib

import pytest
from multidict import CIMultiDict
from yarl import URL

from suno_async.files.checksums import checksum_of
from suno_async.files.media import Media, expected_media, problem, recognise
from suno_async.files.resumption import continued_size
from suno_async.sandbox._media_files import MP4, PNG, mp3

MP3 = mp3("song.mp3", 1.0)
AUDIO = [
    *(b"ID3\x04" + bytes(12), MP3[:16], b"\xff\xf3\x40\xc0" + bytes(12)),  # MPEG-2
    *(b"\xff\xe3\x18\xc4" + bytes(12), b"\xff\xf1\x50\x80" + bytes(12)),  # MPEG-2.5, ADTS
    *(b"RIFF\x24\x00\x00\x00WAVEfmt ", b"RF64\xff\xff\xff\xffWAVEds64", b"fLaC" + bytes(12)),
    *(
        b"OggS" + bytes(12),
        b"FORM\x00\x00\x00\x10AIFFCOMM",
        b"\x00\x00\x00\x20ftypM4A \x00\x00\x00\x00",
    ),
    *(b"\x1a\x45\xdf\xa3" + bytes(12), b"\x00\x00\x00\x20ftypisom\x00\x00\x00\x00"),
]
IMAGES = [
    *(b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00", PNG[:16], b"GIF89a" + bytes(10)),
    *(b"RIFF\x24\x00\x00\x00WEBPVP8 ", b"\x00\x00\x00\x1cftypavif\x00\x00\x00\x00"),
]
VIDEOS = [
    *(
        MP4[:16],
        b"\x00\x00\x00\x14ftypqt  \x00\x00\x00\x00",
        b"\x00\x00\x00\x08wide\x00\x00\x00\x00mdat",
    ),
    b"\x1a\x45\xdf\xa3" + bytes(12),
]
PAGES = [
    *(b"<!DOCTYPE html><", b"\n  <html><body>..", b'{"code": 403, "m', b"AccessDenied" + bytes(4)),
    *(
        b"\xff\xfe<\x00h\x00t\x00m\x00l\x00>\x00\r\x00",
        b"\xff\xfe{\x00" + bytes(12),
        bytes(16),
        b"\xff",
    ),
    *(b"\xef\xbb\xbf<html></html>", b"\x1f\x8b\x08" + bytes(13), b"RIFF\x24\x00\x00\x00....fmt "),
]


def test_media() -> None:
    """`problem` returns an empty string only for data of the expected kind of media."""
    for kind, heads in (("audio", AUDIO), ("image", IMAGES), ("video", VIDEOS)):
        media: Media = kind  # type: ignore[assignment]
        for head in heads:
            assert problem(head, media) == "", head
            assert problem(head, None) == "", head
    for head in AUDIO + VIDEOS:
        assert problem(head, "image")
    for head in IMAGES:
        assert "image instead of audio" in problem(head, "audio")
    for head in PAGES:
        assert not recognise(head), head
        assert problem(head, None), head
        assert not problem(head, "any")
    assert "HTML" in problem(PAGES[1], "audio")
    assert "JSON" in problem(PAGES[2], "audio")
    assert all("empty" in problem(b"", media) for media in ("audio", "any", None))


def test_expected_media() -> None:
    """`expected_media` returns ``"image"`` for an image suffix, and None for ``.mp4``."""
    assert expected_media(URL("https://x.example/a.JPEG?x=.mp3")) == "image"
    assert expected_media(URL("https://x.example/a.mp4")) is None


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


BODY = b"some bytes"
SHA256, MD5 = hashlib.sha256(BODY).digest(), hashlib.md5(BODY).digest()  # noqa: S324 (not for security)


@pytest.mark.parametrize(
    ("headers", "algorithm"),
    [
        ({"Content-MD5": _base64(MD5)}, "md5"),
        ({"Digest": f"SHA-256={_base64(SHA256)},md5={_base64(MD5)}"}, "sha256"),
        ({"Repr-Digest": f"unixsum=:AA==:, sha-256=:{_base64(SHA256)}:"}, "sha256"),
        ({"Content-Digest": f"sha-256=:{_base64(SHA256)}:"}, "sha256"),
        ({"x-amz-checksum-sha256": _base64(SHA256)}, "sha256"),
        ({"x-amz-checksum-crc32": _base64(zlib.crc32(BODY).to_bytes(4, "big"))}, "crc32"),
        ({"x-goog-hash": f"crc32c=AAAAAA==, md5={_base64(MD5)}"}, "md5"),
    ],
)
def test_checksums(headers: dict[str, str], algorithm: str) -> None:
    """`checksum_of` returns the strongest checksum in the headers of a reply."""
    checksum = checksum_of(CIMultiDict(headers))
    assert checksum is not None
    assert checksum.algorithm == algorithm
    hasher = checksum.hasher()
    hasher.update(BODY[:3])
    hasher.update(BODY[3:])
    assert hasher.digest() == checksum.digest


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"ETag": f'"{MD5.hex()}"'},
        {"Content-MD5": "not base64"},
        {"Content-MD5": _base64(SHA256)},
        {"Repr-Digest": "sha-256=::"},
        {"x-amz-checksum-sha256": _base64(SHA256), "x-amz-checksum-type": "COMPOSITE"},
        {"x-amz-checksum-sha256": _base64(SHA256) + "-3"},
        {"x-goog-hash": f"md5={_base64(MD5)}", "x-goog-stored-content-encoding": "gzip"},
    ],
)
def test_no_checksum(headers: dict[str, str]) -> None:
    """`checksum_of` ignores ETags, damaged values, and checksums of data other than the body."""
    assert checksum_of(CIMultiDict(headers)) is None


def test_a_partial_reply_must_reach_the_end() -> None:
    """`continued_size` accepts a partial reply only if the reply reaches the end of the file."""
    assert continued_size({"Content-Range": "bytes 5-9/10"}, 5, None, "") == 10
    assert continued_size({"Content-Range": "bytes 5-8/10"}, 5, None, "") is None
    assert continued_size({"Content-Range": "bytes 5-9/*"}, 5, None, "") is None
    assert continued_size({"Content-Range": "bytes 5-9/*"}, 5, 10, "") == 10
    assert continued_size({"Content-Range": "bytes 5-9/10"}, 5, 11, "") is None


def test_checksums_in_several_lines() -> None:
    """`checksum_of` reads all lines of a header that contains a list."""
    for name in ("x-goog-hash", "Digest", "Repr-Digest"):
        headers = CIMultiDict([(name, "crc32c=AAAAAA=="), (name, f"md5={_base64(MD5)}")])
        checksum = checksum_of(headers)
        assert checksum is not None
        assert checksum.digest == MD5
