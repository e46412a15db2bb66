"""Tags of downloaded files: fetch the cover, and write all tags into the file."""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING

from suno_async.errors import DownloadError
from suno_async.files.decompression import DamagedError, Decompressor
from suno_async.files.sources import parsed_url
from suno_async.files.tags import is_cover, tags_of, write_tags
from suno_async.files.transfers import AttemptFailedError, Transfers

if TYPE_CHECKING:
    from pathlib import Path

    import aiohttp

    from suno_async.files.connections import Connections
    from suno_async.models import TaskInfo, Track

logger = logging.getLogger("suno_async")

#: Maximum size of a cover in bytes. Each download may have one cover in memory. With half of this
#: limit, large PNG photos could be left out. Players do not need covers of twice this size.
MOST_BYTES = 5 * 2**20

#: Maximum time in seconds for all attempts to fetch a cover. The download occupies its slot during
#: this time.
TIMEOUT = 30.0

#: Statuses below 500 after which another attempt may succeed.
_TEMPORARY = frozenset({408, 425, 429})


class Tagger:
    """Writes tags into one file.

    If the cover cannot be fetched, the file is saved without a new cover. If the tags cannot be
    written, the file is saved without new tags. Both errors are logged.

    Args:
        connections: Sends the request for the cover.
        path: The final path of the file, for the log.
        track: The song in the file; None if the file is not a song.
        info: The record of the task that made the file; None if unknown.
    """

    def __init__(
        self, connections: Connections, path: Path, track: Track | None, info: TaskInfo | None
    ) -> None:
        self._transfers = Transfers(connections, 1)
        self._path = path
        self._track = track
        self._info = info
        self._cover_url = _cover_url(track)
        self._cover: bytes | None = None

    def renew(self, info: TaskInfo) -> None:
        """Use the URL of the cover from a new record of the task."""
        if self._track is not None:
            new = (each for each in info.tracks if each.suno_id == self._track.suno_id)
            self._cover_url = _cover_url(next(new, self._track))

    async def fetch_cover(self, time_left: float | None) -> None:
        """Fetch the cover image once. Later calls do nothing until `renew` is called.

        Args:
            time_left: Seconds until the download must end; None means no limit. At most half of
                this time is used, and never more than `TIMEOUT` seconds.
        """
        url, self._cover_url = self._cover_url, ""
        if not url:
            return
        # Leave time to save the file.
        seconds = TIMEOUT if time_left is None else min(TIMEOUT, time_left / 2)
        try:
            async with asyncio.timeout(seconds):
                self._cover = await self._fetched(url)
        except AttemptFailedError as error:
            self._log("cover", error.problem)
        except DownloadError as error:
            self._log("cover", str(error))
        except TimeoutError:
            self._log("cover", f"timeout of {seconds:.1f} s")

    def write(self, copy: Path) -> bool:
        """Write the tags into a copy of the file. Return False if writing failed.

        This blocks, so call it in a thread.
        """
        try:
            write_tags(copy, tags_of(self._track, self._info, self._cover))
        except DownloadError as error:
            self._log("tags", str(error))
            return False
        return True

    async def _fetched(self, url: str) -> bytes:
        parsed, images = parsed_url(url), list[bytes]()

        async def attempt(connections: Connections) -> None:
            async with connections.get(parsed, {"Accept-Encoding": "identity"}) as response:
                images.append(await _image(response))

        await self._transfers.run(attempt, f"cover of {self._path}")
        return images[0]

    def _log(self, what: str, problem: str) -> None:
        logger.warning("%s: saved without %s: %s", self._path, what, problem)


def _cover_url(track: Track | None) -> str:
    return "" if track is None else track.suno_image_large_url or track.suno_image_url


async def _image(response: aiohttp.ClientResponse) -> bytes:
    """Read a cover image from a reply, and return it."""
    status = response.status
    if status != HTTPStatus.OK:
        server_error = status >= HTTPStatus.INTERNAL_SERVER_ERROR
        raise AttemptFailedError(f"HTTP {status}", retryable=server_error or status in _TEMPORARY)
    encoding = response.headers.get("Content-Encoding", "").strip().lower() or "identity"
    body = bytearray()
    while piece := await response.content.readany():
        _append(body, piece)
    image = bytes(body)
    if encoding != "identity":
        # A hostile body may take seconds, so do not decompress it in the event loop.
        image = await asyncio.to_thread(_decompressed, encoding, image)
    if not is_cover(image[:16]):
        raise AttemptFailedError("neither JPEG nor PNG", retryable=False)
    return image


def _decompressed(encoding: str, body: bytes) -> bytes:
    image = bytearray()
    try:
        decompressor = Decompressor(encoding)
        for data in decompressor.feed(body):
            _append(image, data)
    except ValueError as error:
        raise AttemptFailedError(str(error), retryable=False) from None
    except DamagedError:
        raise AttemptFailedError("the compressed body is damaged") from None
    if not decompressor.complete:
        raise AttemptFailedError("the compressed body is incomplete")
    return bytes(image)


def _append(image: bytearray, data: bytes) -> None:
    image += data
    if len(image) > MOST_BYTES:
        raise AttemptFailedError(f"more than {MOST_BYTES} bytes", retryable=False)
