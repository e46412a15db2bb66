"""Download everything that a task made."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from suno_async import SunoClient, TaskInfo, Track


async def download_files(suno: SunoClient, info: TaskInfo, directory: Path) -> AsyncGenerator[str]:
    """Download what a task made, and yield the paths of the files in order.

    Songs have unique file names. Other files are named after the end of their URL, so files of
    several tasks, and of one task, can have the same name. A download does not replace a file that
    exists already. Therefore the files of each task go into a directory of its own, and further
    files with the same name go into numbered directories there.

    Raises:
        DownloadError: A file could not be downloaded. It is raised after all others are complete.
    """
    own = directory / re.sub(r"[^\w-]", "_", info.task_id)
    targets: list[tuple[Track | str, Path]] = [(track, directory) for track in info.tracks]
    names: Counter[str] = Counter()
    for url in () if targets else (*info.stems.values(),) or info.media_urls:
        name = url.partition("?")[0].rpartition("/")[2]
        targets.append((url, own / str(names[name]) if names[name] else own))
        names[name] += 1
    ended = await asyncio.gather(
        *(suno.download(each, place) for each, place in targets), return_exceptions=True
    )
    for each in ended:
        if not isinstance(each, BaseException):
            yield str(each)
    for each in ended:
        if isinstance(each, BaseException):
            raise each
