"""What can be downloaded: the files of tasks, songs and single URLs."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from pathlib import PurePosixPath
from typing import NamedTuple, TypeAlias

from yarl import URL

from suno_async.errors import DownloadError
from suno_async.files.media import Media, expected_media
from suno_async.files.names import file_name
from suno_async.models import TaskInfo, Track
from suno_async.outcomes import Failure, Success

logger = logging.getLogger("suno_async")

#: What `SunoClient.download_all` accepts.
Downloadable: TypeAlias = "TaskInfo | Success | Failure | Track | str"


class FileSource(NamedTuple):
    """One file to download.

    Attributes:
        url: Where it is.
        name: The name to save it under, relative to the directory. ``/`` separates directories.
        media: What it must contain; None accepts audio, images and videos.
        task_id: The task that made it; empty if unknown.
        find: Returns the URL of the file in a new record of the task; None if unknown.
        identity: Two sources with the same identity are the same file.
    """

    url: str
    name: str
    media: Media | None = None
    task_id: str = ""
    find: Callable[[TaskInfo], str | None] | None = None
    identity: str = ""


def source_of(item: Track | str, name: str | None = None, media: Media | None = None) -> FileSource:
    """Return the source of a song's audio, or of a URL.

    Args:
        item: The song or the URL.
        name: The template of the name.
        media: What the file must contain. None derives it.

    Raises:
        DownloadError: There is no valid URL.
    """
    url = item.suno_audio_url if isinstance(item, Track) else item
    parsed = parsed_url(url)
    try:
        path = name or file_name(item)
    except ValueError as error:
        raise DownloadError(f"no URL to download: {url!r}: {error}") from None
    if isinstance(item, str):
        return FileSource(url, path, media or expected_media(parsed), identity=url)

    def find(info: TaskInfo) -> str | None:
        tracks = (each for each in info.tracks if each.suno_id == item.suno_id)
        return next((each.suno_audio_url for each in tracks), None)

    identity = f"{item.task_id} {item.suno_id}" if item.suno_id else url
    return FileSource(url, path, media or "audio", item.task_id, find, identity)


def parsed_url(url: str) -> URL:
    """Return a URL, parsed.

    Raises:
        DownloadError: It is not a valid http(s) URL.
    """
    problem = "no http(s) URL to download"
    try:
        parsed = URL(url)
    except (TypeError, ValueError) as error:
        raise DownloadError(f"no URL to download: {url!r}: {error}") from None
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise DownloadError(f"{problem}: {url!r}")
    return parsed


async def sources_of(
    items: Downloadable | Iterable[Downloadable] | AsyncIterable[Downloadable],
    name: str | None,
) -> AsyncIterator[FileSource | DownloadError]:
    """Yield the files of everything given. No two have the same name.

    An item without a valid URL yields an error. A failed outcome yields nothing.
    """
    used: set[str] = set()
    async for item in _each(items):
        try:
            found = list(_files(item, name))
        except DownloadError as error:
            yield error
            continue
        for source in found:
            yield source._replace(name=_unused(source.name, used))


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


def _files(item: Downloadable, name: str | None) -> Iterator[FileSource]:
    if isinstance(item, Failure):
        logger.info("task %s: no files to download: %s", item.task_id, item.error)
    elif isinstance(item, Track | str):
        yield source_of(item, name)
    else:
        yield from _files_of_task(item.info if isinstance(item, Success) else item, name)


def _files_of_task(info: TaskInfo, name: str | None) -> Iterator[FileSource]:
    if info.tracks:
        for track in info.tracks:
            yield source_of(track, name)
        return
    for stem, url in info.stems.items():

        def find_stem(new: TaskInfo, stem: str = stem) -> str | None:
            return new.stems.get(stem)

        source = source_of(url, name, "audio")
        yield _of_task(source, info, stem, find_stem)
    if info.stems:
        return
    for index, url in enumerate(info.media_urls):

        def find_media(new: TaskInfo, index: int = index) -> str | None:
            return new.media_urls[index] if index < len(new.media_urls) else None

        source = source_of(url, name, "video" if url == info.video_url else None)
        yield _of_task(source, info, str(index), find_media)


def _of_task(
    source: FileSource, info: TaskInfo, part: str, find: Callable[[TaskInfo], str | None]
) -> FileSource:
    return source._replace(
        name=f"{info.task_id}-{source.name}"[-200:],
        task_id=info.task_id,
        find=find,
        identity=f"{info.task_id} {part}",
    )


def _unused(name: str, used: set[str]) -> str:
    """Return a name that is not used yet, on a system that ignores case either."""
    path, number, candidate = PurePosixPath(name), 1, name
    while candidate.casefold() in used:
        number += 1
        candidate = str(path.with_name(f"{path.stem}-{number}{path.suffix}"))
    used.add(candidate.casefold())
    return candidate
