"""Names of downloaded files."""

from __future__ import annotations

import pytest

from suno_async import Track
from suno_async.files.names import MOST_BYTES, file_name

ID = "0f9c1b52-5a1d-4c38-9b5e-6f1f2f0a7a11"


@pytest.mark.parametrize(
    ("track", "name"),
    [
        (Track(title="Rain", suno_id=ID, suno_audio_url="https://x/a.mp3"), f"Rain-{ID}.mp3"),
        (Track(title="a/b: c?", suno_id="1", suno_audio_url="https://x/a"), "a_b_ c_-1.mp3"),
        (Track(suno_audio_url="https://x/a.wav"), "track.wav"),
        ("https://x/songs/rain.m4a?sig=1", "rain.m4a"),
        ("https://x/..%2Fpasswd", "passwd._passwd"),
        ("https://x/" + "a." + "b" * 30, "a.mp3"),
    ],
)
def test_names(track: Track | str, name: str) -> None:
    """A name keeps only safe characters, and never leads out of its directory."""
    assert file_name(track) == name


@pytest.mark.parametrize(
    "track",
    [
        Track(title="雨" * 200, suno_id=ID, suno_audio_url="https://x/a.mp3"),
        Track(title="雨" * 200, suno_id="x" * 400, suno_audio_url="https://x/a.mp3"),
        "https://x/" + "雨" * 200 + ".mp3",
    ],
)
def test_long_names(track: Track | str) -> None:
    """A long name is cut by its bytes, and keeps the id and the suffix."""
    name = file_name(track)
    assert len(name.encode()) <= MOST_BYTES
    assert name.endswith(".mp3")
    assert not isinstance(track, Track) or len(track.suno_id) > len(ID) or ID in name
