"""Upload local audio files to the storage URL that the API returns.

No request to the storage carries the API key.
"""

from __future__ import annotations

import asyncio
import contextlib
import mimetypes
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from suno_async.errors import InvalidInputError, UploadError
from suno_async.files.transfers import AttemptFailedError, Transfers
from suno_async.files.urls import exact_url

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from os import PathLike
    from typing import BinaryIO

    from suno_async.files.connections import Connections

#: Maximum number of uploads at the same time.
PARALLEL = 4

#: Bytes that are read from the file at a time.
PIECE = 64 * 1024

#: Seconds in which the server must accept one piece: 1 kB/s at least. For the last piece, this
#: includes the reply.
STALL = 60.0

#: Media types of audio files. For other suffixes, `_inspect` uses the table of the standard
#: library, which depends on the machine.
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
    """A file that can be uploaded.

    Attributes:
        path: The path of the file.
        content_type: The media type, such as ``"audio/mpeg"``.
        size: The length in bytes.
    """

    path: Path
    content_type: str
    size: int

    @property
    def suffix(self) -> str:
        """The suffix of the file name in lower case, such as ``".mp3"``.

        If the name has no suffix, return a suffix that fits the media type, or an empty string.
        """
        of_type = (suffix for suffix, kind in CONTENT_TYPES.items() if kind == self.content_type)
        return self.path.suffix.lower() or next(of_type, "")


class Uploader:
    """Uploads files with requests that never carry the API key."""

    def __init__(self, connections: Connections) -> None:
        self._transfers = Transfers(connections, PARALLEL)

    async def inspect(self, path: str | PathLike[str], content_type: str | None) -> LocalFile:
        """Check a file, and return its media type and size. Send nothing.

        Args:
            path: The file.
            content_type: The media type. If None, the suffix of the file determines it.

        Raises:
            InvalidInputError: `content_type` is not valid, or it is None and the file has no audio
                suffix.
            UploadError: The path is not a readable, regular file, or the file is empty.
        """
        return await asyncio.to_thread(_inspect, Path(path), content_type)

    async def send(self, file: LocalFile, presigned_url: str) -> None:
        """Stream a file to a presigned URL.

        Raises:
            UploadError: The file could not be sent completely, or the server did not accept it.
        """

        async def attempt(connections: Connections) -> None:
            await _put(connections, file, presigned_url)

        try:
            await self._transfers.run(attempt, str(file.path))
        except AttemptFailedError as error:
            # Do not show the URL: everyone who has it can upload to it.
            raise UploadError(f"{file.path}: {error.problem}") from None


async def _put(connections: Connections, file: LocalFile, presigned_url: str) -> None:
    try:
        data = await asyncio.to_thread(file.path.open, "rb")
    except OSError as error:
        raise AttemptFailedError(type(error).__name__, retryable=False) from None
    try:
        await asyncio.to_thread(_check_size, data, file)
        # Redirects are not followed, because only the API may choose the host that gets the file.
        async with (
            asyncio.timeout(STALL) as stall,
            connections.request(
                "PUT",
                exact_url(presigned_url),
                {"Content-Type": file.content_type, "Content-Length": str(file.size)},
                data=pieces(data, stall),
            ) as response,
        ):
            _check_status(response.status)
        await asyncio.to_thread(_check_size, data, file)
    except BaseException:
        # Do not wait: if a read in a thread hangs, `close` hangs, too.
        asyncio.get_running_loop().run_in_executor(None, data.close)
        raise
    await asyncio.to_thread(data.close)


def _check_status(status: int) -> None:
    if not 200 <= status < 300:  # noqa: PLR2004 (HTTP's success range)
        retryable = status >= 500 or status in {408, 429}  # noqa: PLR2004 (HTTP)
        raise AttemptFailedError(f"HTTP {status}", retryable=retryable)


def _check_size(data: BinaryIO, file: LocalFile) -> None:
    if os.fstat(data.fileno()).st_size != file.size:
        raise AttemptFailedError("the file changed during the upload", retryable=False)


async def pieces(data: BinaryIO, stall: asyncio.Timeout) -> AsyncGenerator[bytes]:
    """Yield the content of a file in pieces. Restart the timeout `stall` before each piece."""
    loop = asyncio.get_running_loop()
    while piece := await asyncio.to_thread(data.read, PIECE):
        # If the timeout has just passed, `reschedule` raises RuntimeError. The upload ends anyway.
        with contextlib.suppress(RuntimeError):
            stall.reschedule(loop.time() + STALL)
        yield piece


def _inspect(path: Path, content_type: str | None) -> LocalFile:
    suffix = path.suffix.lower()
    kind = content_type or CONTENT_TYPES.get(suffix) or mimetypes.types_map.get(suffix, "")
    if not content_type and not kind.startswith("audio/"):
        problem = f"the suffix must be that of an audio file, not {suffix!r}"
        raise InvalidInputError((f"path: {problem}, unless content_type is given: {str(path)!r}",))
    if not kind.isprintable() or not kind.isascii():
        raise InvalidInputError((f"content_type: must be a media type, not {kind!r}",))
    try:
        status = path.stat()
        is_file = stat.S_ISREG(status.st_mode)
        if is_file:  # opening a named pipe would wait for a writer
            with path.open("rb"):
                pass
    except OSError as error:
        raise UploadError(f"{path}: {error.strerror or type(error).__name__}") from None
    except ValueError as error:
        raise UploadError(f"{str(path)!r}: {error}") from None
    if not is_file or not status.st_size:
        raise UploadError(f"{path}: {'the file is empty' if is_file else 'not a regular file'}")
    return LocalFile(path, kind, status.st_size)
