"""Names for downloaded files. Pure."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from yarl import URL

from suno_async.models import Track

#: Longest file name in bytes. Most file systems accept 255. The rest is for ``.part``.
MOST_BYTES = 250

#: Longest suffix, dot included. A longer one belongs to no media file.
MOST_SUFFIX = 16

#: Most characters of a title in a file name.
MOST_TITLE = 80

_UNSAFE = re.compile(r"[^\w .()-]+")


def file_name(track: Track | str) -> str:
    """Return a file name: title and Suno id of a track, or the last part of a URL.

    The name contains only letters, digits, spaces and ``_.()-``, and at most `MOST_BYTES` bytes.
    The suffix is the one in the URL, or ``.mp3``.

    Raises:
        ValueError: The URL is not valid.
    """
    url = URL(track.suno_audio_url if isinstance(track, Track) else track)
    suffix = _safe(url.suffix)
    if len(suffix.encode()) > MOST_SUFFIX:
        suffix = ""
    suffix = suffix or ".mp3"
    room = MOST_BYTES - len(suffix.encode())
    if isinstance(track, Track):
        # The id makes the name unique, so the title is what gets cut.
        suno_id = _cut(_safe(track.suno_id), room)
        title = _cut(_safe(track.title[:MOST_TITLE]), room - len(suno_id.encode()) - 1)
        stem = "-".join(part for part in (title, suno_id) if part)
    else:
        stem = _cut(_safe(PurePosixPath(url.name).stem), room)
    return (stem.strip(". ") or "track") + suffix


def _safe(text: str) -> str:
    return _UNSAFE.sub("_", text)


def _cut(text: str, most_bytes: int) -> str:
    return text.encode()[: max(0, most_bytes)].decode(errors="ignore")
