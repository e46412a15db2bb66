"""What can be downloaded: the files of a task, the audio of a song, or the file at a URL."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from suno_async.errors import DownloadError, InvalidInputError
from suno_async.files.media import MEDIA, Media, expected_media
from suno_async.files.names import PlannedFile, file_name, plan_names
from suno_async.files.urls import exact_url
from suno_async.models import TaskInfo, Track
from suno_async.outcomes import Failure, Success

if TYPE_CHECKING:
    from yarl import URL

logger = logging.getLogger("suno_async")

#: One item that `SunoClient.download_all` accepts.
Downloadable: TypeAlias = "TaskInfo | Success | Failure | Track | str"


class FileSource(NamedTuple):
    """One file to download.

    Attributes:
        url: The URL of the file.
        name: The name for the saved file, relative to the download directory. Directories are
            separated by ``/``.
        media: What the file must contain. If None, it may contain audio, an image or a video.
        task_id: The id of the task that made the file; empty if unknown.
        find: Function that takes a new record of the task, and returns the current URL of the
            file, or None if the record does not contain the file. `find` is None if only the URL
            of the file is known.
        identity: A text that identifies the file. Sources with the same text have the same file.
            Sources of one file may have different texts, for example a song and its URL.
        track: The song that the file belongs to; None if the file belongs to no song.
        info: The record of the task; None if unknown.
    """

    url: str
    name: str
    media: Media | None = None
    task_id: str = ""
    find: Callable[[TaskInfo], str | None] | None = None
    identity: str = ""
    track: Track | None = None
    info: TaskInfo | None = None


def source_of(
    item: Track | str, template: str | None = None, media: Media | None = None
) -> FileSource:
    """Return a `FileSource` for the audio of a song, or for the file at a URL.

    Args:
        item: The song or the URL.
        template: The template for the name. If None, the default of `file_name` is used.
        media: What the file must contain. None means audio for a song, and the result of
            `expected_media` for a URL.

    Raises:
        DownloadError: The song has no valid URL, or `item` is not a valid URL.
        InvalidInputError: The template or the value of `media` is not valid.
    """
    if media is not None and media not in MEDIA:
        raise InvalidInputError((f"media: must be one of {', '.join(MEDIA)}, not {media!r}",))
    if isinstance(item, str):
        parsed = parsed_url(item)
        name = file_name(item, template, media)
        return FileSource(item, name, media or expected_media(parsed), identity=item)
    url = item.suno_audio_url
    if not url:
        raise DownloadError(f"no URL of the song {item.suno_id!r}")
    parsed_url(url)
    find = _finder(file_name(item), "audio", item)
    identity = _identity(item, "audio") or url
    name = file_name(item, template)
    return FileSource(url, name, media or "audio", item.task_id, find, identity, item)


def parsed_url(url: str) -> URL:
    """Parse a URL.

    Raises:
        DownloadError: `url` is not a valid http(s) URL.
    """
    try:
        parsed = exact_url(url)
    except (TypeError, ValueError):
        # The text of the error may contain a password.
        raise DownloadError(f"no URL to download: {_without_secrets(url)!r}") from None
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise DownloadError(f"no http(s) URL to download: {_without_secrets(url)!r}")
    return parsed


def _without_secrets(url: object) -> str:
    """Return a URL, which may be invalid, without its user, password and query."""
    # A password with an unescaped "/" or "?" may be what makes the URL invalid.
    plain = re.sub(r"^([a-zA-Z][a-zA-Z0-9+.-]*://)?.*@", r"\1", str(url), flags=re.DOTALL)
    return re.sub("[?#].*", "", plain, flags=re.DOTALL)


async def sources_of(
    items: Downloadable | Iterable[Downloadable] | AsyncIterable[Downloadable],
    template: str | None,
    *,
    covers: bool = False,
) -> AsyncIterator[FileSource | DownloadError]:
    """Yield the files of all items. Different files have different names.

    For a file without a valid URL, yield a `DownloadError`. For a `Failure`, yield nothing.

    Args:
        items: What to download.
        template: The template for the names. If None, the defaults of `plan_names` and
            `file_name` are used.
        covers: Whether to yield the cover images of songs in addition to the other files.
    """
    names = _Names()
    async for item in _each(items):
        if isinstance(item, Failure):
            logger.info("task %s: no files to download: %s", item.task_id, item.error)
        elif isinstance(item, Track | str):
            try:
                source = source_of(item, template)
            except DownloadError as error:
                yield error
            else:
                yield source._replace(name=names.unused(source))
        else:
            info = item.info if isinstance(item, Success) else item
            for found in _files_of_task(info, template, covers=covers):
                yield found


async def _each(
    items: Downloadable | Iterable[Downloadable] | AsyncIterable[Downloadable],
) -> AsyncIterator[Downloadable]:
    if isinstance(items, TaskInfo | Success | Failure | Track | str):
        yield items
    elif isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


def _files_of_task(
    info: TaskInfo, template: str | None, *, covers: bool
) -> Iterator[FileSource | DownloadError]:
    for track in info.tracks:
        if not track.suno_audio_url:
            yield DownloadError(f"task {info.task_id}: no URL of the song {track.suno_id!r}")
    # The default names identify a file even if a new record lists the songs in another order.
    planned = plan_names(info, template)
    for file, standard in zip(planned, (each.name for each in plan_names(info)), strict=True):
        is_cover = file.track is not None and file.media == "image"
        if is_cover and not covers:
            continue
        try:
            parsed_url(file.url)
        except DownloadError as error:
            yield error
            continue
        yield FileSource(
            file.url,
            file.name,
            _expected(file),
            info.task_id,
            _finder(standard, file.media, file.track),
            _identity(file.track, file.media) or f"{info.task_id} {standard}",
            file.track,
            info,
        )


def _expected(file: PlannedFile) -> Media | None:
    """Return what a result file must contain. None allows any media."""
    # Without a song, "audio" is only a guess from the URL.
    certain = file.track is not None or file.kind != "audio"
    return file.media if certain else None


def _finder(name: str, media: Media, track: Track | None) -> Callable[[TaskInfo], str | None]:
    """Return a function that returns the URL of a file from a record of its task.

    The id of the song identifies the file in the record. Without an id, the default name `name`
    identifies it. If no file has this name, the suffix may differ, but only if a single file has
    the same name except for the suffix. If the record has no such file, the function returns None.
    """

    def find(info: TaskInfo) -> str | None:
        files = [each for each in plan_names(info) if each.media == media]
        if track is not None and track.suno_id:
            songs = [each for each in files if each.track and each.track.suno_id == track.suno_id]
            return songs[0].url if songs else None
        stem = PurePosixPath(name).stem
        similar = [each for each in files if PurePosixPath(each.name).stem == stem]
        exact = [each for each in similar if each.name == name]
        found = exact or similar
        return found[0].url if len(found) == 1 else None

    return find


def _identity(track: Track | None, media: Media) -> str:
    return f"{media} {track.suno_id}" if track is not None and track.suno_id else ""


class _Names:
    """The names of songs and URLs. Different files get different names."""

    def __init__(self) -> None:
        # The identity of the file that uses a name.
        self._used: dict[str, str] = {}
        # The last number that was added to each name. It makes many equal names take linear time.
        self._numbers: dict[str, int] = {}
        self._numbered: dict[tuple[str, str], str] = {}

    def unused(self, source: FileSource) -> str:
        """Return the name of a source, with a number added if another file already uses it."""
        # Two URLs may differ only in the query.
        path, plain = PurePosixPath(source.name), source.name.casefold()
        name = self._numbered.get((plain, source.identity), source.name)
        while self._used.setdefault(name.casefold(), source.identity) != source.identity:
            number = self._numbers[plain] = self._numbers.get(plain, 1) + 1
            name = str(path.with_name(f"{path.stem}-{number}{path.suffix}"))
            self._numbered[plain, source.identity] = name
        return name
