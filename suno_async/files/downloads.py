"""A song on disk, whole or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from pathlib import Path
from typing import IO, TYPE_CHECKING

import aiohttp
from yarl import URL

from suno_async.errors import DownloadError
from suno_async.models import Track

if TYPE_CHECKING:
    from os import PathLike

#: Downloads at once, tries of each, and seconds between the first two, which double.
PARALLEL = 8
TRIES = 3
PAUSE = 2.0

_CHUNK = 1 << 18
_UNSAFE = re.compile(r"[^\w .()-]+")


class Downloader:
    """Fetches result files with requests that never carry the key."""

    def __init__(self, session: aiohttp.ClientSession | None) -> None:
        self._injected = session
        self._session: aiohttp.ClientSession | None = session
        self._places = asyncio.Semaphore(PARALLEL)

    async def close(self) -> None:
        """Close the session, unless it was injected."""
        if self._session is not None and self._session is not self._injected:
            await self._session.close()

    async def download(
        self, track: Track | str, directory: str | PathLike[str], *, overwrite: bool
    ) -> Path:
        """Fetch into a ``.part`` file, check its length, rename it when it is whole.

        A file that is there already is kept unless `overwrite`.

        Raises:
            DownloadError: There is no URL, or the file could not be fetched whole.
        """
        url = track.suno_audio_url if isinstance(track, Track) else track
        if not url.startswith(("http://", "https://")):
            raise DownloadError(f"no http(s) URL to download: {url!r}")
        try:
            path = Path(directory) / file_name(track)
        except ValueError as error:
            raise DownloadError(f"no URL to download: {url!r}: {error}") from None
        async with self._places:
            if not overwrite and await asyncio.to_thread(path.exists):
                return path
            problem = ""
            for attempt in range(TRIES):
                if attempt:
                    await asyncio.sleep(PAUSE * 2 ** (attempt - 1))
                problem = await self._try(url, path)
                if not problem:
                    return path
        raise DownloadError(f"{url}: {problem}")

    async def _try(self, url: str, path: Path) -> str:
        if self._session is None:
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        part = path.with_name(f"{path.name}.part")
        timeout = aiohttp.ClientTimeout(total=None, connect=10, sock_read=60)
        file: IO[bytes] | None = None
        try:
            async with self._session.get(
                url, timeout=timeout, headers={"Accept-Encoding": "identity"}
            ) as response:
                if response.status != 200:  # noqa: PLR2004 (HTTP's OK)
                    return f"HTTP {response.status}"
                file = await asyncio.to_thread(_create, part)
                written = 0
                async for chunk in response.content.iter_chunked(_CHUNK):
                    written += await asyncio.to_thread(file.write, chunk)
                if response.content_length not in (None, written):
                    return f"{written} of {response.content_length} bytes came"
                await asyncio.to_thread(_finish, file, part, path)
                return ""
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return f"{type(error).__name__}"
        finally:
            if file is not None:
                file.close()
                with contextlib.suppress(FileNotFoundError):
                    part.unlink()


def file_name(track: Track | str) -> str:
    """A file name that is safe everywhere: title and Suno id, or the URL's own name."""
    url = track.suno_audio_url if isinstance(track, Track) else track
    suffix = URL(url).suffix or ".mp3"
    if isinstance(track, Track):
        stem = "-".join(part for part in (track.title[:80], track.suno_id) if part)
    else:
        stem = Path(URL(url).name).stem
    return (_UNSAFE.sub("_", stem).strip(". ") or "track") + _UNSAFE.sub("", suffix)


def _create(part: Path) -> IO[bytes]:
    part.parent.mkdir(parents=True, exist_ok=True)
    return part.open("wb")


def _finish(file: IO[bytes], part: Path, path: Path) -> None:
    file.flush()
    os.fsync(file.fileno())
    file.close()
    part.replace(path)
