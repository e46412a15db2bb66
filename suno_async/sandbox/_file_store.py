"""The file store of the sandbox: finished media and uploads.

A client must send its key to the API only, never to a file store. So the store refuses and counts
requests that contain an API key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from suno_async.sandbox._media_files import MP4, PNG, mp3

if TYPE_CHECKING:
    from collections.abc import Mapping


class FileStore:
    """Serves media files and uploaded files.

    Args:
        announced: The Content-Type that the client announced for each upload, by the file name in
            the upload URL.
        song_seconds: Length of each song in seconds.

    Attributes:
        key_leaks: Number of requests that contained an API key.
    """

    def __init__(self, announced: Mapping[str, str], song_seconds: float = 2.0) -> None:
        self._song_seconds = song_seconds
        self._announced = announced
        self._files: dict[str, bytes] = {}
        self.key_leaks = 0

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Register the URLs of media and uploads with `router`."""
        router.add_get("/media/{name}", self._media)
        router.add_put("/store/{name}", self._put)
        router.add_get("/store/{name}", self._get)

    async def _media(self, request: web.Request) -> web.Response:
        if refused := self._key_leak(request):
            return refused
        name = request.match_info["name"]
        if name.endswith(".png"):
            return web.Response(body=PNG, content_type="image/png")
        if name.endswith(".mp4"):
            return web.Response(body=MP4, content_type="video/mp4")
        return web.Response(body=mp3(name, self._song_seconds), content_type="audio/mpeg")

    async def _put(self, request: web.Request) -> web.Response:
        """Accept an upload only if it has the Content-Type that the client announced for it.

        Real object stores make the same check.
        """
        name = request.match_info["name"]
        if refused := self._key_leak(request):
            return refused
        if request.query.get("signature") != "sandbox" or name not in self._announced:
            return web.Response(status=403, text="signature mismatch")
        if request.headers.get("Content-Type") != self._announced[name]:
            return web.Response(status=403, text="the Content-Type differs from the signed one")
        if request.content_length is None:
            return web.Response(status=411, text="Content-Length required")
        self._files[name] = b"".join([chunk async for chunk in request.content.iter_any()])
        return web.Response()

    async def _get(self, request: web.Request) -> web.Response:
        if refused := self._key_leak(request):
            return refused
        name = request.match_info["name"]
        if name not in self._files:
            return web.Response(status=404)
        return web.Response(body=self._files[name], headers={"Content-Type": self._announced[name]})

    def _key_leak(self, request: web.Request) -> web.Response | None:
        if "x-api-key" not in request.headers:
            return None
        self.key_leaks += 1
        return web.Response(status=400, text="never send the key to this host")
