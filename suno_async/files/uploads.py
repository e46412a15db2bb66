"""A local file in the API's store. What is sent there carries no key."""

from __future__ import annotations

import asyncio
import mimetypes
import stat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import aiohttp

from suno_async.errors import InvalidInputError, UploadError

if TYPE_CHECKING:
    from os import PathLike

#: Uploads at once, and tries of each. A PUT may be repeated: the same bytes go to the same place.
PARALLEL = 4
TRIES = 3

#: Seconds before the second try; the third waits twice as long.
PAUSE = 2.0

#: Media types of audio files; the standard library's table differs from machine to machine.
CONTENT_TYPES = {
    ".aac": "audio/aac",
    ".aif": "audio/aiff",
    ".aiff": "audio/aiff",
    ".flac": "audio/flac",
    ".m4a": "audio/mp4",
    ".mp3": "audio/mpeg",
    ".oga": "audio/ogg",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".wav": "audio/wav",
    ".webm": "audio/webm",
}


class LocalFile(NamedTuple):
    """A file that can be sent. `size` in bytes."""

    path: Path
    content_type: str
    size: int

    @property
    def suffix(self) -> str:
        """What its name ends with, or would by its media type; empty if nothing tells."""
        of_type = (suffix for suffix, kind in CONTENT_TYPES.items() if kind == self.content_type)
        return self.path.suffix.lower() or next(of_type, "")


class Uploader:
    """Sends files with requests that never carry the key."""

    def __init__(self, session: aiohttp.ClientSession | None) -> None:
        self._injected = session
        self._session: aiohttp.ClientSession | None = session
        self._places = asyncio.Semaphore(PARALLEL)

    async def close(self) -> None:
        """Close the session, unless it was injected."""
        if self._session is not None and self._session is not self._injected:
            await self._session.close()

    async def inspect(self, path: str | PathLike[str], content_type: str | None) -> LocalFile:
        """What is to be sent, before anything is.

        Raises:
            InvalidInputError: Its suffix tells no audio type, and none was given.
            UploadError: It cannot be read, is no file, or is empty.
        """
        return await asyncio.to_thread(_inspect, Path(path), content_type)

    async def send(self, file: LocalFile, presigned_url: str) -> None:
        """PUT the file, streamed.

        Raises:
            UploadError: It could not be sent whole.
        """
        async with self._places:
            problem = ""
            for attempt in range(TRIES):
                if attempt:
                    await asyncio.sleep(PAUSE * attempt)
                problem, again = await self._try(file, presigned_url)
                if not problem:
                    return
                if not again:
                    break
        # Without the URL: whoever reads it may write there.
        raise UploadError(f"{file.path}: {problem}")

    async def _try(self, file: LocalFile, presigned_url: str) -> tuple[str, bool]:
        """What went wrong, and whether it may go better the next time."""
        if self._session is None:
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        try:
            # aiohttp reads the file in a thread, piece by piece, and closes it.
            data = await asyncio.to_thread(file.path.open, "rb")
        except OSError as error:
            return f"{type(error).__name__}", False
        try:
            async with self._session.put(
                presigned_url,
                data=data,
                headers={"Content-Type": file.content_type, "Content-Length": str(file.size)},
                # A store that sends a file elsewhere is not the one that the API named.
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=None, connect=10, sock_read=60),
            ) as response:
                if 200 <= response.status < 300:  # noqa: PLR2004 (HTTP's success range)
                    return "", False
                again = response.status >= 500 or response.status in {408, 429}  # noqa: PLR2004 (HTTP)
                return f"HTTP {response.status}", again
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            return f"{type(error).__name__}", True
        finally:
            data.close()


def _inspect(path: Path, content_type: str | None) -> LocalFile:
    suffix = path.suffix.lower()
    kind = content_type or CONTENT_TYPES.get(suffix) or mimetypes.types_map.get(suffix, "")
    if not content_type and not kind.startswith("audio/"):
        raise InvalidInputError((f"path: no audio file by its suffix {suffix!r}: {str(path)!r}",))
    if not kind.isprintable() or not kind.isascii():
        raise InvalidInputError((f"content_type: must be a media type, not {kind!r}",))
    try:
        status = path.stat()
        with path.open("rb"):
            pass
    except OSError as error:
        raise UploadError(f"{path}: {error.strerror or type(error).__name__}") from None
    if not stat.S_ISREG(status.st_mode) or not status.st_size:
        raise UploadError(f"{path}: {'empty' if stat.S_ISREG(status.st_mode) else 'no file'}")
    return LocalFile(path, kind, status.st_size)
