"""Names for downloaded files, from a template. No I/O.

A name depends only on the template, the file, its song and its task. It does not depend on
the order of the downloads or on other files on disk. So if a program is started again, it finds the
files that it saved before.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

from suno_async.files.name_templates import Component, read_template
from suno_async.models import Track

if TYPE_CHECKING:
    from collections.abc import Iterator

    from suno_async.files.media import Media
    from suno_async.models import TaskInfo

#: Longest name of a file or directory in bytes, suffix included. Most file systems accept 255. The
#: other 55 bytes are a margin.
MOST_BYTES = 200

#: Maximum number of characters of a title in a file name.
MOST_TITLE = 80

#: Maximum length in bytes of an id, and of a kind. With these limits and those of a template, a
#: name always has room for a few bytes of the title.
MOST_ID = 48
MOST_KIND = 24

#: The default templates: for the files of a song, and for all other files.
TRACK_TEMPLATE = "{title}-{suno_id}"
OTHER_TEMPLATE = "{kind}-{task_id}"

#: Known suffixes. A file gets the first suffix of its kind if its URL has no suffix of this kind.
SUFFIXES: dict[Media, tuple[str, ...]] = {
    "audio": (
        *(".mp3", ".m4a", ".wav", ".flac", ".ogg", ".oga", ".opus", ".aac", ".aif", ".aiff"),
        *(".mid", ".webm"),
    ),
    "image": (".jpg", ".jpeg", ".png", ".webp", ".gif", ".avif"),
    "video": (".mp4", ".mov", ".webm", ".m4v", ".mkv"),
}

#: Names of devices on Windows. Windows also reserves them with any suffix, in any case, and with
#: superscript digits.
_DEVICES = frozenset(
    (
        *("CON", "PRN", "AUX", "NUL"),
        *(f"{port}{digit}" for port in ("COM", "LPT") for digit in range(10)),
    )
)

#: Matches an id that every system accepts unchanged in a name.
_PLAIN_ID = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?")

#: Matches a suffix that is kept if any file is allowed (``media="any"``).
_PLAIN_SUFFIX = re.compile(r"\.[a-z0-9]{1,8}")

#: Invisible combining marks, such as variation selectors.
_INVISIBLE = re.compile("[\u034f\u180b-\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]")


class PlannedFile(NamedTuple):
    """A result file and its name.

    Attributes:
        url: The URL of the file.
        name: The name relative to the download directory. Directories are separated by ``/``.
        media: What the file contains.
        kind: For a stem (one voice or instrument of a song), its name, such as ``vocals``. For
            all other files, the same as `media`.
        track: The song, if the file is its audio or its cover image; otherwise None.
    """

    url: str
    name: str
    media: Media
    kind: str
    track: Track | None


class _File(NamedTuple):
    """One file, and the values of the template fields for its name.

    `number` is the value of ``{index}``; None if it is unknown. `track` is None if the file does
    not belong to a song.
    """

    url: str
    media: Media
    kind: str
    title: str
    task_id: str
    suno_id: str
    number: int | None
    track: Track | None


def file_name(source: Track | str, template: str | None = None, media: Media | None = None) -> str:
    """Return the file name for a single download: the audio of a song, or the file at a URL.

    The template field ``{index}`` is always empty. If the template does not contain ``{index}``, a
    song gets the same name as in `plan_names`. The default name for a URL contains a short hash,
    for example ``song-c71b979760b3.mp3``.

    Args:
        source: The song or the URL.
        template: The template. If None, it is ``{title}-{suno_id}`` for a song and ``{title}`` for
            a URL.
        media: What the file contains; used only for a URL. If None, the suffix of the URL
            determines it; a URL without a known suffix counts as audio. With ``"any"``, the name
            gets the suffix of the URL if this suffix has at most eight letters or digits, otherwise
            no suffix.

    Raises:
        InvalidInputError: The template is not valid.
        ValueError: The URL is not valid.
    """
    url = source.suno_audio_url if isinstance(source, Track) else source
    path = PurePosixPath(unquote(urlsplit(url).path))
    if isinstance(source, Track):
        file = _track_file(source, url, "audio", source.task_id, None)
    else:
        found = media or _media_of(url)
        kind = "file" if found == "any" else found
        file = _File(url, found, kind, path.stem, "", "", None, None)
        template = template or "{title}"
    return _name(file, template)


def plan_names(info: TaskInfo, template: str | None = None) -> list[PlannedFile]:
    """Return all result files of a task with their names.

    The files are the audio and the cover image of each song, the stems (single voices or
    instruments of a song), and the other results. All names are different, even on a system that
    ignores case. A name gets a short hash if the fields in the template do not identify the file.

    The fields of a template:

    - ``{title}``: the title of the song; for files without a song, the value of ``{kind}``
    - ``{suno_id}``: the id of the song, or of the song from which the file was made; may be empty
    - ``{task_id}``: the id of the task
    - ``{index}``: the number of the song, stem or other result in the task record, starting at 1
    - ``{kind}``: the name of a stem, such as ``vocals``; otherwise ``audio``, ``image`` or
      ``video``

    A ``/`` in a template separates directories. Each name gets the suffix from the URL of the
    file, or else a usual suffix for the kind of file.

    Args:
        info: The record of the task.
        template: The template. If None, it is ``{title}-{suno_id}`` for the files of a song and
            ``{kind}-{task_id}`` for all other files.

    Raises:
        InvalidInputError: The template is not valid.
    """
    used: set[str] = set()
    # The last number appended to each name. It makes many equal names take linear time. The keys
    # are names with a number, because different long names may be equal when they are cut for it.
    numbers: dict[str, int] = {}
    planned: list[PlannedFile] = []
    for file in _files(info):
        name = _name(file, template)
        key = _folded(_name(file, template, "-2")) if _folded(name) in used else ""
        while _folded(name) in used:
            numbers[key] = numbers.get(key, 1) + 1
            name = _name(file, template, f"-{numbers[key]}")
        used.add(_folded(name))
        planned.append(PlannedFile(file.url, name, file.media, file.kind, file.track))
    return planned


def other_results(info: TaskInfo) -> list[tuple[str, str]]:
    """Return the kind and the URL of each result file that does not belong to a song."""
    return [(file.kind, file.url) for file in _other_files(info)]


def _files(info: TaskInfo) -> Iterator[_File]:
    for index, track in enumerate(info.tracks, 1):
        if track.suno_audio_url:
            yield _track_file(track, track.suno_audio_url, "audio", info.task_id, index)
        if image := track.suno_image_large_url or track.suno_image_url:
            yield _track_file(track, image, "image", info.task_id, index)
    yield from _other_files(info)


def _other_files(info: TaskInfo) -> Iterator[_File]:
    source = info.param.input.get("suno_id")
    suno_id = source if isinstance(source, str) else ""
    for index, (stem, url) in enumerate(info.media_info.items(), 1):
        if url:
            yield _File(url, "audio", stem, stem, info.task_id, suno_id, index, None)
    has_songs = any(track.suno_audio_url for track in info.tracks)
    video = info.video_url
    for index, url in enumerate(info.media_urls, 1):
        media: Media = "video" if url == video else _media_of(url)
        # `media_urls` repeats the audio of the songs.
        if url and not (has_songs and media == "audio"):
            yield _File(url, media, media, media, info.task_id, suno_id, index, None)


def _track_file(track: Track, url: str, media: Media, task_id: str, index: int | None) -> _File:
    return _File(url, media, media, track.title, task_id, track.suno_id, index, track)


def _name(file: _File, template: str | None, end: str = "") -> str:
    """Return the name of a file, with the text `end` before the suffix."""
    parts = read_template(template or (OTHER_TEMPLATE if file.track is None else TRACK_TEMPLATE))
    fields = {name for part in parts for name in part.fields}
    extra = ("" if _identified(file, fields) else f"-{_hash(file)}") + end
    *directories, last = parts
    names = [_fill(file, part, "", "untitled") for part in directories]
    fallback = "untitled" if file.track is None else "track"
    names.append(_fill(file, last, extra + _suffix(file.url, file.media), fallback))
    return "/".join(names)


def _fill(file: _File, part: Component, end: str, fallback: str) -> str:
    """Return the file or directory name for one part of a template, with `end` appended.

    `fallback` replaces an empty name.
    """
    kept = {
        "task_id": _cut(_safe(file.task_id[:MOST_ID]), MOST_ID),
        "suno_id": _cut(_safe(file.suno_id[:MOST_ID]), MOST_ID),
        "kind": _cut(_safe(file.kind[:MOST_KIND]), MOST_KIND),
        "index": "" if file.number is None else str(file.number),
        "title": "",
    }
    # One byte is for the underscore in front of a device name.
    room = MOST_BYTES - 1 - len((part.text.format_map(kept) + end).encode())
    kept["title"] = _cut(_safe(file.title[:MOST_TITLE]), room)
    text = unicodedata.normalize("NFC", part.text.format_map(kept))
    name = (text.lstrip(" .-").rstrip(" .-") or fallback) + end
    base = unicodedata.normalize("NFKC", name.split(".")[0]).strip().upper()
    return f"_{name}" if base in _DEVICES else name


def _identified(file: _File, fields: set[str]) -> bool:
    """Return whether the template fields identify the file. If not, its name needs a hash."""
    task = "task_id" in fields and _stays_the_same(file.task_id)
    if file.track is None:
        return task and not fields.isdisjoint({"title", "kind", "index"})
    song = "suno_id" in fields and _stays_the_same(file.suno_id)
    return song or (task and "index" in fields and file.number is not None)


def _stays_the_same(value: str) -> bool:
    return len(value) <= MOST_ID and _PLAIN_ID.fullmatch(value) is not None


def _hash(file: _File) -> str:
    if file.track is not None and file.suno_id:
        text = file.suno_id
    elif file.track is None and file.task_id:
        text = f"{file.task_id}\0{file.kind}\0{file.number}"
    else:
        text = f"{file.task_id}\0{_address(file.url)}"
    # 48 bits: two of 10,000 files have the same hash with a probability of one in five million.
    return hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()[:12]


def _address(url: str) -> str:
    """Return a URL without the parts that do not identify the file.

    These parts are the fragment, and also the query if the path has a known suffix.
    """
    address = url.split("#", 1)[0]
    return address.split("?", 1)[0] if _known_suffix(url) else address


def _media_of(url: str) -> Media:
    found = _known_suffix(url)
    if found in SUFFIXES["image"]:
        return "image"
    return "video" if found in SUFFIXES["video"] else "audio"


def _suffix(url: str, media: Media) -> str:
    if media == "any":
        found = _url_suffix(url)
        return found if _PLAIN_SUFFIX.fullmatch(found) else ""
    found = _known_suffix(url)
    return found if found in SUFFIXES[media] else SUFFIXES[media][0]


def _known_suffix(url: str) -> str:
    """Return the suffix of a URL in lower case; empty if it is not a suffix of media files."""
    found = _url_suffix(url)
    return found if any(found in known for known in SUFFIXES.values()) else ""


def _url_suffix(url: str) -> str:
    try:
        return PurePosixPath(unquote(urlsplit(url).path)).suffix.lower()
    except ValueError:
        return ""


def _safe(text: str) -> str:
    """Return the text in NFC, with each run of unsafe characters replaced by an underscore.

    Letters, digits, visible combining marks, spaces and ``_.()-`` are safe.
    """
    text = _INVISIBLE.sub("/", unicodedata.normalize("NFC", text))
    kept = [
        each
        if each.isalnum() or each in "_ .()-" or unicodedata.category(each).startswith("M")
        else "/"
        for each in text
    ]
    return re.sub("/+", "_", "".join(kept))


def _cut(text: str, most_bytes: int) -> str:
    return text.encode()[: max(0, most_bytes)].decode(errors="ignore")


def _folded(name: str) -> str:
    """Return a key for comparisons. Names that a file system may treat as equal have equal keys."""
    return unicodedata.normalize("NFKC", name).upper().casefold()
