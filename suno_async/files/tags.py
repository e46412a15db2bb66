"""Write titles, lyrics and covers into audio and video files, with the package mutagen.

mutagen is optional (extra ``tags``), because its licence is the GPL and most users do not write
tags. mutagen is imported when it is first needed.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any, cast

import msgspec

from suno_async.errors import ConfigurationError, DownloadError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from suno_async.models import TaskInfo, Track

#: The language of lyrics in ID3 if it is unknown (ID3v2.3, 4.9).
_UNKNOWN_LANGUAGE = "XXX"

#: The type of a picture that is a front cover (ID3v2.3, 4.15; FLAC uses the same numbers).
_FRONT_COVER = 3

#: Text encoding UTF-8 (ID3v2.4, 4). mutagen converts the text for ID3v2.3.
_UTF8 = 3

#: Maximum number of reads, and of bytes, while mutagen reads a file. It reads each chunk of a WAV
#: file, each box of an MP4 file, and each comment of a FLAC file separately. Usual files need a few
#: hundred reads. Without a limit, mutagen needs minutes and gigabytes for some hostile files.
MOST_READS = 50_000
MOST_BYTES = 16 * 2**20

#: Matches the start of an ID3 frame, and of a frame that contains frames. mutagen needs quadratic
#: time for equal frames.
_FRAME = re.compile(rb"[A-Z][A-Z0-9]{2,3}\0")
_NESTING_FRAME = re.compile(rb"(?:CHAP|CTOC)\0")

#: Maximum number of ID3 frames. A large cover contains up to 100 matches of `_FRAME` by chance.
MOST_FRAMES = 1_000

#: The first bytes of image formats, and their media types.
_IMAGES = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png"}


class Tags(msgspec.Struct, frozen=True, kw_only=True):
    """The tags to write into a file. Empty values are not written.

    Attributes:
        title: The title.
        genre: The styles of the song, separated by commas.
        lyrics: The lyrics.
        ids: The id of the song, the id of the task, and the name of the model. The keys are the
            names of the tags, such as ``SUNO_ID``.
        cover: The cover image, JPEG or PNG; None if there is none.
    """

    title: str = ""
    genre: str = ""
    lyrics: str = ""
    ids: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    cover: bytes | None = None


def require_mutagen() -> None:
    """Check that mutagen is installed.

    Raises:
        ConfigurationError: mutagen is not installed. The message says how to install it.
    """
    try:
        import mutagen as _  # noqa: F401, PLC0415 (an extra: imported when it is needed)
    except ImportError:
        raise ConfigurationError(
            'writing tags needs mutagen: pip install "suno_async[tags]"'
        ) from None


def tags_of(track: Track | None, info: TaskInfo | None, cover: bytes | None = None) -> Tags:
    """Return the tags for a file of a song, or for another result file if `track` is None.

    The lyrics come from the input of the job. If the input has no lyrics, `Track.prompt` is used.
    But `Track.prompt` is not used if the song is instrumental, or if `Track.prompt` only repeats
    the prompt of the input.
    """
    given = {} if info is None else info.param.input
    lyrics = _text(given.get("lyrics"))
    if track is not None and not lyrics and not given.get("instrumental"):
        # `Track.prompt` contains lyrics, or repeats the prompt in the input.
        lyrics = "" if track.prompt == given.get("prompt") else track.prompt
    ids = {
        "SUNO_ID": track.suno_id if track else "",
        "SUNO_TASK_ID": info.task_id if info else track.task_id if track else "",
        "SUNO_MODEL": (track.model_name if track else "") or (info.model_version if info else ""),
    }
    return Tags(
        title=_clean(track.title if track else _text(given.get("title"))),
        genre=_clean(track.tags if track else ""),
        lyrics=_clean(lyrics),
        ids={name: _clean(value) for name, value in ids.items() if value},
        cover=cover,
    )


def write_tags(path: Path, tags: Tags) -> None:
    """Write tags into an MP3, WAV, MP4, M4A or FLAC file, in place.

    This function blocks, so call it in a thread. Existing tags that are not replaced are
    kept. But an MP3 or WAV file loses the tags that ID3v2.3 does not support.

    Args:
        path: The file. Pass a copy, because an error may leave the file damaged.
        tags: What to write. A new cover replaces all pictures.

    Raises:
        ConfigurationError: mutagen is not installed.
        DownloadError: The format is not supported, or the file is damaged or cannot be written.
    """
    require_mutagen()
    try:
        _writer(path)(path, tags)
    except DownloadError:
        raise
    except OSError as error:
        problem = error.strerror or type(error).__name__
        raise DownloadError(f"cannot write tags: {problem}") from None
    except Exception as error:
        # mutagen raises more than its own errors for damaged files.
        problem = f"{type(error).__name__}: {error}"
        raise DownloadError(f"cannot write tags: {problem}") from error


def is_cover(image: bytes) -> bool:
    """Return whether an image is JPEG or PNG. Only these formats can be written as a cover."""
    return image.startswith(tuple(_IMAGES))


def _writer(path: Path) -> Callable[[Path, Tags], None]:
    """Detect the format of a file. Return the function that writes tags in this format."""
    with path.open("rb") as file:
        start = file.read(12)
    if start[4:8] == b"ftyp":
        return _write_mp4
    if start[:4] == b"RIFF" and start[8:] == b"WAVE":
        return _write_wave
    if start[:4] == b"fLaC":
        return _write_flac
    if start[:3] == b"ID3" or (start[:1] == b"\xff" and start[1:2] >= b"\xe0"):
        return _write_mp3
    raise DownloadError("cannot write tags: neither MP3, MP4, WAV nor FLAC")


class _LimitedFile(io.FileIO):
    """A file that raises `DownloadError` if mutagen reads much more than from a usual file."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._reads = 0
        self._bytes = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as `io.FileIO.read` does. mutagen reads all frames of an ID3 tag at once."""
        data = super().read(-1 if size is None else min(size, MOST_BYTES + 1)) or b""
        self._reads += 1
        self._bytes += len(data)
        if (
            self._reads > MOST_READS
            or self._bytes > MOST_BYTES
            or len(_FRAME.findall(data)) > MOST_FRAMES
            or _NESTING_FRAME.search(data)
        ):
            raise DownloadError("cannot write tags: the file contains too many tags or other parts")
        return data


def _write_mp3(path: Path, tags: Tags) -> None:
    from mutagen import id3 as module  # noqa: PLC0415 (an extra)

    id3 = cast("Any", module)  # mutagen has no complete type hints
    try:
        with _LimitedFile(path) as file:
            frames = id3.ID3(file)
    except id3.ID3NoHeaderError:
        frames = id3.ID3()
    _add_frames(frames, tags)
    # Windows does not show tags of ID3v2.4. Frames that ID3v2.3 does not have are lost.
    frames.update_to_v23()
    frames.save(path, v2_version=3)


def _write_wave(path: Path, tags: Tags) -> None:
    from mutagen import wave as module  # noqa: PLC0415 (an extra)

    wave = cast("Any", module)
    with _LimitedFile(path) as limited:
        file = wave.WAVE(limited)
    _ensure_tags(file)
    _add_frames(file.tags, tags)
    file.tags.update_to_v23()
    file.save(path, v2_version=3)


def _add_frames(frames: Any, tags: Tags) -> None:  # noqa: ANN401 (mutagen has no complete type hints)
    from mutagen import id3 as module  # noqa: PLC0415 (an extra)

    id3 = cast("Any", module)
    if tags.title:
        frames.setall("TIT2", [id3.TIT2(encoding=_UTF8, text=[tags.title])])
    if tags.genre:
        frames.setall("TCON", [id3.TCON(encoding=_UTF8, text=[tags.genre])])
    if tags.lyrics:
        lyrics = id3.USLT(encoding=_UTF8, lang=_UNKNOWN_LANGUAGE, desc="", text=tags.lyrics)
        frames.setall("USLT", [lyrics])
    for name, value in tags.ids.items():
        frames.setall(f"TXXX:{name}", [id3.TXXX(encoding=_UTF8, desc=name, text=[value])])
    if tags.cover:
        picture = id3.APIC(
            encoding=_UTF8,
            mime=_image_type(tags.cover),
            type=_FRONT_COVER,
            desc="Cover",
            data=tags.cover,
        )
        frames.setall("APIC", [picture])


def _write_mp4(path: Path, tags: Tags) -> None:
    from mutagen import mp4 as module  # noqa: PLC0415 (an extra)

    mp4 = cast("Any", module)
    with _LimitedFile(path) as limited:
        file = mp4.MP4(limited)
    _ensure_tags(file)
    atoms = {"\xa9nam": tags.title, "\xa9gen": tags.genre, "\xa9lyr": tags.lyrics}
    for name, text in atoms.items():
        if text:
            file.tags[name] = [text]
    for name, value in tags.ids.items():
        # Other programs read free-form tags only with this prefix.
        file.tags[f"----:com.apple.iTunes:{name}"] = [mp4.MP4FreeForm(value.encode())]
    if tags.cover:
        png = _image_type(tags.cover) == "image/png"
        kind = mp4.MP4Cover.FORMAT_PNG if png else mp4.MP4Cover.FORMAT_JPEG
        file.tags["covr"] = [mp4.MP4Cover(tags.cover, imageformat=kind)]
    file.save(path)


def _write_flac(path: Path, tags: Tags) -> None:
    from mutagen import flac as module  # noqa: PLC0415 (an extra)

    flac = cast("Any", module)
    with _LimitedFile(path) as limited:
        file = flac.FLAC(limited)
    texts = {"TITLE": tags.title, "GENRE": tags.genre, "LYRICS": tags.lyrics, **tags.ids}
    for name, text in texts.items():
        if text:
            file[name] = [text]
    if tags.cover:
        picture = flac.Picture()
        picture.type, picture.mime = _FRONT_COVER, _image_type(tags.cover)
        picture.data = tags.cover
        file.clear_pictures()
        file.add_picture(picture)
    file.save(path)


def _ensure_tags(file: Any) -> None:  # noqa: ANN401 (mutagen has no complete type hints)
    if file.tags is None:
        file.add_tags()


def _image_type(cover: bytes) -> str:
    for start, kind in _IMAGES.items():
        if cover.startswith(start):
            return kind
    raise DownloadError("cannot write tags: the cover is neither JPEG nor PNG")


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _clean(text: str) -> str:
    """Remove NUL, which separates values in tags. Replace invalid Unicode characters by ``?``."""
    return text.replace("\0", "").encode(errors="replace").decode()
