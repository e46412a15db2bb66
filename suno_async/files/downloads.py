"""Download result files. A file appears under its name only when it is complete."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import IO, TYPE_CHECKING

from suno_async.errors import DownloadError
from suno_async.files.names import file_name
from suno_async.files.transfers import TIMEOUT, AttemptFailedError, Transfers
from suno_async.models import Track

if TYPE_CHECKING:
    from os import PathLike

    import aiohttp

#: Most downloads at the same time.
PARALLEL = 8

#: Bytes written to the file at a time.
_CHUNK = 1 << 18


class Downloader:
    """Downloads result files with requests that never carry the API key."""

    def __init__(self, session: aiohttp.ClientSession | None) -> None:
        self._transfers = Transfers(session, PARALLEL)

    async def close(self) -> None:
        """Close the session, unless it was injected."""
        await self._transfers.close()

    async def download(
        self, track: Track | str, directory: str | PathLike[str], *, overwrite: bool
    ) -> Path:
        """Download a file and return its path.

        Write to a ``.part`` file, check its length, and rename it once it is complete.

        Args:
            track: A track, or a URL.
            directory: Where to save the file. It is created if it does not exist.
            overwrite: Replace an existing file. Otherwise keep it and send no request.

        Raises:
            DownloadError: There is no URL, or the complete file could not be downloaded.
        """
        url = track.suno_audio_url if isinstance(track, Track) else track
        if not url.startswith(("http://", "https://")):
            raise DownloadError(f"no http(s) URL to download: {url!r}")
        try:
            path = Path(directory) / file_name(track)
        except ValueError as error:
            raise DownloadError(f"no URL to download: {url!r}: {error}") from None

        async def attempt(session: aiohttp.ClientSession) -> None:
            if overwrite or not await asyncio.to_thread(path.exists):
                await _fetch(session, url, path)

        try:
            await self._transfers.run(attempt, url)
        except AttemptFailedError as error:
            raise DownloadError(f"{url}: {error.problem}") from None
        return path


async def _fetch(session: aiohttp.ClientSession, url: str, path: Path) -> None:
    part = path.with_name(f"{path.name}.part")
    file: IO[bytes] | None = None
    try:
        async with session.get(
            url, timeout=TIMEOUT, headers={"Accept-Encoding": "identity"}
        ) as response:
            if response.status != 200:  # noqa: PLR2004 (HTTP's OK)
                # Every status is retried: after a 404 the file may still reach the file host.
                raise AttemptFailedError(f"HTTP {response.status}")
            file = await asyncio.to_thread(_create, part)
            written = 0
            async for chunk in response.content.iter_chunked(_CHUNK):
                written += await asyncio.to_thread(file.write, chunk)
            if response.content_length not in (None, written):
                raise AttemptFailedError(f"received {written} of {response.content_length} bytes")
            await asyncio.to_thread(_finish, file, part, path)
    finally:
        if file is not None:
            file.close()
            with contextlib.suppress(FileNotFoundError):
                part.unlink()


def _create(part: Path) -> IO[bytes]:
    part.parent.mkdir(parents=True, exist_ok=True)
    return part.open("wb")


def _finish(file: IO[bytes], part: Path, path: Path) -> None:
    file.flush()
    os.fsync(file.fileno())
    file.close()
    part.replace(path)
