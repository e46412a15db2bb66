"""Tests of the tags that are written into downloaded files."""

from __future__ import annotations

import contextlib
import io
import random
import struct
import subprocess
import sys
import wave
from typing import TYPE_CHECKING, Any

import pytest
from mutagen import flac, id3, mp3, mp4
from mutagen import wave as mutagen_wave

from suno_async import ConfigurationError, DownloadError, TaskInfo, TaskParam, TaskStatus, Track
from suno_async.files import tags
from suno_async.files.tags import require_mutagen, tags_of
from suno_async.sandbox._media_files import PNG
from suno_async.sandbox._media_files import mp3 as silence

if TYPE_CHECKING:
    from pathlib import Path

MP3 = silence("song.mp3", 2.0)
LYRICS = "[Verse]\nla la la\nété 雨"
TRACK = Track(
    task_id="task-1",
    suno_id="song-1",
    title="雨の朝",
    prompt=LYRICS,
    tags="slow piano, rain",
    model_name="chirp-crow",
)
IDS = {"SUNO_ID": "song-1", "SUNO_TASK_ID": "task-1", "SUNO_MODEL": "chirp-crow"}
JPEG = b"\xff\xd8\xff\xe0" + bytes(20) + b"\xff\xd9"


def box(name: bytes, *parts: bytes) -> bytes:
    """Return a box, which is a named block of an MP4 file (ISO/IEC 14496-12, 4.2)."""
    data = b"".join(parts)
    return struct.pack(">I", 8 + len(data)) + name + data


def m4a() -> bytes:
    """Return an MP4 file with one audio track and 1,000 bytes of audio data."""
    header = box(b"mdhd", bytes(12) + struct.pack(">II", 44_100, 88_200) + bytes(4))
    handler = box(b"hdlr", bytes(8) + b"soun" + bytes(13))
    offsets = box(b"stco", struct.pack(">III", 0, 1, 0))
    media = box(b"mdia", header, handler, box(b"minf", box(b"stbl", offsets)))
    movie = box(b"moov", box(b"mvhd", bytes(100)), box(b"trak", media))
    start = box(b"ftyp", b"M4A \x00\x00\x00\x00M4A mp42")
    first = len(start) + len(movie) + 8
    movie = movie.replace(struct.pack(">III", 0, 1, 0), struct.pack(">III", 0, 1, first))
    return start + movie + box(b"mdat", AUDIO)


AUDIO = bytes(range(250)) * 4


def wav() -> bytes:
    """Return a WAV file with 500 samples."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((1, 2, 44_100, 0, "NONE", ""))
        writer.writeframes(AUDIO)
    return file.getvalue()


def flac_file() -> bytes:
    """Return a FLAC file that contains 1,000 bytes instead of audio frames."""
    stream = struct.pack(">HH", 4096, 4096) + bytes(6)
    rate = (44_100 << 44) | (1 << 41) | (15 << 36) | 500
    return b"fLaC\x80\x00\x00\x22" + stream + struct.pack(">Q", rate) + bytes(16) + AUDIO


def opened(kind: Any, path: Path) -> Any:  # noqa: ANN401 (mutagen has no complete type hints)
    """Open a file with `kind`, which is a class of mutagen."""
    return kind(path)


def write(
    path: Path, track: Track | None, info: TaskInfo | None = None, cover: bytes | None = None
) -> None:
    """Write the tags of a song to a file. If `track` is None, write the tags of the task."""
    tags.write_tags(path, tags_of(track, info, cover))


def ids_of(frames: Any) -> dict[str, str]:  # noqa: ANN401 (mutagen's tags)
    """Return the song id, the task id and the model from ID3 tags."""
    return {name: str(frames[f"TXXX:{name}"]) for name in IDS}


@pytest.mark.parametrize(("cover", "mime"), [(PNG, "image/png"), (JPEG, "image/jpeg")])
def test_mp3(tmp_path: Path, cover: bytes, mime: str) -> None:
    """An MP3 file gets ID3 tags, and its audio does not change."""
    path = tmp_path / "song.mp3"
    path.write_bytes(MP3)
    write(path, TRACK, None, cover)
    read = opened(mp3.MP3, path)
    assert read.info.length == pytest.approx(2.0, abs=0.1)
    assert read.tags.version == (2, 3, 0)
    assert str(read.tags["TIT2"]) == "雨の朝"
    assert str(read.tags["TCON"]) == "slow piano, rain"
    assert read.tags["USLT::XXX"].text == LYRICS
    assert ids_of(read.tags) == IDS
    (picture,) = read.tags.getall("APIC")
    assert (picture.data, picture.mime, picture.type) == (cover, mime, 3)
    assert path.read_bytes().endswith(MP3)
    assert list(tmp_path.iterdir()) == [path]


def test_m4a(tmp_path: Path) -> None:
    """An MP4 file gets tags, and its offsets still point to the audio data."""
    path = tmp_path / "song.m4a"
    path.write_bytes(m4a())
    write(path, TRACK, None, PNG)
    read = opened(mp4.MP4, path)
    assert read.info.length == pytest.approx(2.0)
    assert read.tags["\xa9nam"] == ["雨の朝"]
    assert read.tags["\xa9gen"] == ["slow piano, rain"]
    assert read.tags["\xa9lyr"] == [LYRICS]
    assert {name: read.tags[f"----:com.apple.iTunes:{name}"][0].decode() for name in IDS} == IDS
    (picture,) = read.tags["covr"]
    assert (bytes(picture), picture.imageformat) == (PNG, mp4.MP4Cover.FORMAT_PNG)
    content = path.read_bytes()
    at = content.index(b"stco") + 12
    (offset,) = struct.unpack(">I", content[at : at + 4])
    assert content[offset:] == AUDIO


def test_wav(tmp_path: Path) -> None:
    """A WAV file gets ID3 tags, and its samples do not change."""
    path = tmp_path / "song.wav"
    path.write_bytes(wav())
    write(path, TRACK, None, PNG)
    read = opened(mutagen_wave.WAVE, path)
    assert str(read.tags["TIT2"]) == "雨の朝"
    assert ids_of(read.tags) == IDS
    with wave.open(str(path)) as samples:
        assert samples.readframes(1000) == AUDIO


def test_flac(tmp_path: Path) -> None:
    """A FLAC file gets comments and a picture, and its frames do not change."""
    path = tmp_path / "song.flac"
    path.write_bytes(flac_file())
    write(path, TRACK, None, JPEG)
    read = opened(flac.FLAC, path)
    assert read["title"] == ["雨の朝"]
    assert read["lyrics"] == [LYRICS]
    assert {name: read[name][0] for name in IDS} == IDS
    assert [picture.data for picture in read.pictures] == [JPEG]
    assert path.read_bytes().endswith(AUDIO)


def record(**given: object) -> TaskInfo:
    """Return the record of a task whose input has the fields `given`."""
    return TaskInfo(
        task_id="task-2",
        status=TaskStatus.SUCCESS,
        model_version="suno-vocal-separation",
        param=TaskParam(input=dict(given)),
    )


@pytest.mark.parametrize(
    ("given", "lyrics"),
    [
        ({"lyrics": "from the job", "prompt": "a song"}, "from the job"),
        ({"prompt": "a song"}, LYRICS),
        ({"prompt": LYRICS}, ""),
        ({"instrumental": True}, ""),
        ({"lyrics": 7}, LYRICS),
    ],
)
def test_lyrics(given: dict[str, object], lyrics: str) -> None:
    """The lyrics of the job's input take precedence over the lyrics of the song."""
    assert tags_of(TRACK, record(**given)).lyrics == lyrics


def test_a_file_without_a_song(tmp_path: Path) -> None:
    """A file that is not a song, such as vocals, gets only the task id and the model as tags."""
    path = tmp_path / "vocals.mp3"
    path.write_bytes(MP3)
    write(path, None, record())
    read = opened(id3.ID3, path)
    assert sorted(read.keys()) == ["TXXX:SUNO_MODEL", "TXXX:SUNO_TASK_ID"]
    assert str(read["TXXX:SUNO_TASK_ID"]) == "task-2"


def test_tags_are_replaced(tmp_path: Path) -> None:
    """Writing tags again replaces only the tags that have a new value."""
    path = tmp_path / "song.mp3"
    path.write_bytes(MP3)
    write(path, TRACK, None, PNG)
    foreign = opened(id3.ID3, path)
    artist: Any = id3.TPE1
    foreign.add(artist(encoding=3, text=["Ann"]))
    foreign.save(path, v2_version=3)
    write(path, Track(title="Rain\0 \ud800", suno_id="song-2"))
    read = opened(id3.ID3, path)
    assert str(read["TIT2"]) == "Rain ?"
    assert str(read["TXXX:SUNO_ID"]) == "song-2"
    assert str(read["TPE1"]) == "Ann"
    assert read.getall("APIC")[0].data == PNG
    assert path.read_bytes().endswith(MP3)


@pytest.mark.parametrize(
    ("content", "cover", "problem"),
    [
        (b"", None, "neither MP3, MP4, WAV nor FLAC"),
        (b"<html>login</html>", None, "neither MP3, MP4, WAV nor FLAC"),
        (m4a()[:60], None, "cannot write tags"),
        (b"fLaC" + bytes(100), None, "cannot write tags"),
        (b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f", None, "cannot write tags"),
        (MP3, b"GIF89a", "the cover is neither JPEG nor PNG"),
    ],
)
def test_files_that_cannot_be_tagged(
    tmp_path: Path, content: bytes, cover: bytes | None, problem: str
) -> None:
    """If a file is damaged, or a file or cover has an unknown format, `DownloadError` is raised."""
    path = tmp_path / "song.mp3"
    path.write_bytes(content)
    with pytest.raises(DownloadError, match=problem):
        write(path, TRACK, None, cover)


def id3_tag(*frames: bytes) -> bytes:
    """Return an ID3v2.3 tag with these frames."""
    data = b"".join(frames)
    size = bytes(len(data) >> shift & 127 for shift in (21, 14, 7, 0))
    return b"ID3\x03\0\0" + size + data


def chunk(name: bytes, data: bytes) -> bytes:
    """Return a chunk of a WAV file."""
    return name + struct.pack("<I", len(data)) + data


def hostile_files() -> dict[str, bytes]:
    """Return files that mutagen would read slowly: they have very many or very large parts."""
    frame = b"TXXX\0\0\0\x04\0\0\0a\0b"
    chunks = b"WAVE" + wav()[12:]
    many_frames = id3_tag(*[frame] * 2_000)
    stream = flac_file()[: -len(AUDIO)].replace(b"fLaC\x80", b"fLaC\0")
    comments = struct.pack("<II", 0, 60_000) + b"\3\0\0\0a=b" * 60_000
    song = m4a()
    return {
        "frames": many_frames + MP3,
        "nested frames": id3_tag(b"CHAP\0\0\0\x20\0\0id\0" + bytes(16) + frame[:13]) + MP3,
        "large tag": id3_tag(b"PRIV\1\x10\0\0\0\0" + bytes(tags.MOST_BYTES + 2**16)) + MP3,
        "frames in a chunk": chunk(b"RIFF", chunks + chunk(b"id3 ", many_frames)),
        "chunks": chunk(b"RIFF", chunks + chunk(b"abcd", b"") * 60_000),
        "boxes": song + box(b"free") * 60_000,
        "boxes in boxes": song.replace(b"moov", b"skip", 1) + box(b"moov", box(b"trak") * 60_000),
        "blocks": stream + b"\2\0\0\4abcd" * 60_000 + b"\x81\0\0\0" + AUDIO,
        "comments": stream + b"\x84\0\0\0" + comments + AUDIO,
    }


@pytest.mark.parametrize("kind", list(hostile_files()))
def test_files_that_would_take_long(tmp_path: Path, kind: str) -> None:
    """A file with very many or very large tags or other parts is not tagged."""
    path = tmp_path / "song"
    path.write_bytes(hostile_files()[kind])
    with pytest.raises(DownloadError, match="too many tags"):
        write(path, TRACK)


def test_a_large_cover_in_the_file(tmp_path: Path) -> None:
    """A file that contains a large cover image already is tagged."""
    path = tmp_path / "song.mp3"
    image = JPEG + random.Random(41).randbytes(5 * 2**20)
    frame = b"APIC" + struct.pack(">I", 14 + len(image)) + b"\0\0\0image/jpeg\0\3\0" + image
    path.write_bytes(id3_tag(frame) + MP3)
    write(path, TRACK)
    read = opened(id3.ID3, path)
    assert str(read["TIT2"]) == "雨の朝"
    assert read.getall("APIC")[0].data == image


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    """Writing tags into a missing file raises `DownloadError`."""
    with pytest.raises(DownloadError, match="cannot write tags: No such file"):
        write(tmp_path / "gone.mp3", TRACK)


def test_without_mutagen(monkeypatch: pytest.MonkeyPatch) -> None:
    """If mutagen is not installed, `require_mutagen` raises an error that says what to install."""
    monkeypatch.setitem(sys.modules, "mutagen", None)
    with pytest.raises(ConfigurationError, match=r'pip install "suno_async\[tags\]"'):
        require_mutagen()


def test_extras_are_not_imported() -> None:
    """Importing the package imports no optional dependency."""
    code = (
        "import sys, suno_async, suno_async.files.tags\n"
        "extras = {'filelock', 'mutagen', 'psycopg', 'pyarrow', 'rich', 'typer'}\n"
        "sys.exit(bool(extras & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0  # noqa: S603 (our own code)


@pytest.mark.parametrize("content", [MP3[:2000], m4a(), wav(), flac_file()])
def test_damaged_files(tmp_path: Path, content: bytes) -> None:
    """Tagging a damaged file succeeds or raises `DownloadError`."""
    draw = random.Random(40)
    path = tmp_path / "song"
    for _ in range(150):
        damaged = bytearray(content[: draw.randint(4, len(content))])
        for _ in range(draw.randint(0, 4)):
            damaged[draw.randrange(min(len(damaged), 250))] = draw.choice((0, 1, 127, 255))
        path.write_bytes(damaged)
        with contextlib.suppress(DownloadError):
            write(path, TRACK, None, PNG)
    assert list(tmp_path.iterdir()) == [path]
