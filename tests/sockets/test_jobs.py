"""Every kind of job and every endpoint, tested with the sandbox over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web

from suno_async import (
    CoverMusic,
    CreateOutcomeUnknownError,
    CreditLimitError,
    ExtendUpload,
    GenerateMusic,
    GeneratePersona,
    GenerateSounds,
    InsufficientCreditsError,
    InvalidInputError,
    MusicVideo,
    SunoClient,
    TaskInfo,
    TaskNotFoundError,
    UploadError,
    ValidationError,
)
from suno_async.files.uploads import PIECE, pieces
from suno_async.inputs import KINDS, Input
from suno_async.sandbox import COST, Faults, Sandbox
from tests.conftest import FAST, SCALE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from suno_async import Track

SONG = GenerateMusic(prompt="slow piano", model="v5.5")


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """Yield a sandbox with a fast clock (90 s take about 0.2 s), in which every job succeeds."""
    async with Sandbox(seed=1, time_scale=SCALE, failure_share=0.0) as server:
        yield server


@pytest.fixture
async def track(suno: SunoClient, sandbox: Sandbox) -> Track:
    """Return a finished song of the sandbox."""
    (task_id,) = sandbox.add_tasks(1, created_ago=100.0)
    return (await suno.task_info(task_id)).tracks[0]


async def made(suno: SunoClient, job: Input) -> TaskInfo:
    """Create a job, wait until the task has ended, and return the record of the task."""
    return await (await suno.create(job)).result(timeout=10)


async def test_chain(suno: SunoClient, sandbox: Sandbox, tmp_path: Path) -> None:
    """A song can be the source of a cover, a longer song, stems, a video and a persona."""
    (song, _) = (await made(suno, SONG)).tracks
    assert song.task_id in sandbox.tasks
    cover, longer, stems, video = await asyncio.gather(
        made(suno, song.cover(tags="bossa nova", instrumental=True)),
        made(suno, song.extend(continue_at=1, prompt="go on")),
        made(suno, song.separate()),
        made(suno, song.video(author="me")),
    )
    assert [each.model_version for each in (*cover.tracks, *longer.tracks)] == ["v5.5"] * 4
    assert set(stems.stems) == {"vocals", "instrumental"}
    path = await suno.download(stems.stems["vocals"], tmp_path)
    assert path.suffix == ".mp3"
    assert video.video_url is not None
    assert (await suno.download(video.video_url, tmp_path)).suffix == ".mp4"
    persona = await suno.create_persona(song.persona("Ann", vocal_start=0, vocal_end=2))
    assert persona.name == "Ann"
    sung = GenerateMusic(prompt="x", persona_id=persona.persona_id)
    assert (await suno.estimate(sung)).estimated_credits > 0
    twelve = (await made(suno, cover.tracks[0].separate("instrumental"))).stems
    assert len(twelve) == 12
    assert (await made(suno, GenerateSounds(prompt="rain", bpm="120"))).media_urls
    assert sandbox.statistics.key_leaks == 0


async def test_upload(suno: SunoClient, sandbox: Sandbox, tmp_path: Path) -> None:
    """An uploaded file arrives complete, and jobs can use it; the upload contains no API key."""
    file = tmp_path / "my song.MP3"
    file.write_bytes(bytes(range(256)) * 5000)
    url = await suno.upload(file)
    async with aiohttp.ClientSession() as http, http.get(url) as reply:
        assert reply.content_type == "audio/mpeg"
        assert await reply.read() == file.read_bytes()
    assert sandbox.statistics.key_leaks == 0
    assert (await made(suno, ExtendUpload(audio_url=url, prompt="go on"))).tracks
    assert (await made(suno, CoverMusic(audio_url=url, prompt="as a tango"))).tracks


async def test_upload_without_a_suffix(suno: SunoClient, tmp_path: Path) -> None:
    """If a file has no audio suffix, `content_type` determines the suffix of its upload."""
    (tmp_path / "recording").write_bytes(b"RIFF")
    url = await suno.upload(tmp_path / "recording", content_type="audio/wav")
    assert url.endswith(".wav")


async def test_upload_of_nothing(suno: SunoClient, sandbox: Sandbox, tmp_path: Path) -> None:
    """For a missing, empty or unsuitable file, `upload` raises an error and sends no request."""
    (tmp_path / "empty.mp3").touch()
    (tmp_path / "dir.mp3").mkdir()
    (tmp_path / "text.txt").write_text("x")
    for name, error, words in (
        ("empty.mp3", UploadError, "empty"),
        ("dir.mp3", UploadError, "not a regular file"),
        ("null\0.mp3", UploadError, "null"),
        ("none.mp3", UploadError, "No such file"),
        ("text.txt", InvalidInputError, ".txt"),
    ):
        with pytest.raises(error, match=words):
            await suno.upload(tmp_path / name)
    assert sandbox.statistics.requests == 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes in directories")
async def test_upload_of_a_named_pipe(suno: SunoClient, tmp_path: Path) -> None:
    """`upload` does not open a named pipe, because opening it would block."""
    os.mkfifo(tmp_path / "pipe.mp3")
    async with asyncio.timeout(60):
        with pytest.raises(UploadError, match="not a regular file"):
            await suno.upload(tmp_path / "pipe.mp3")


class Store:
    """A storage server that sends scripted replies and records the headers of each upload."""

    def __init__(self) -> None:
        self.answers: list[web.Response] = []
        self.puts: list[dict[str, str]] = []
        self.url = ""
        self.may_read = asyncio.Event()
        self.may_read.set()

    async def put(self, request: web.Request) -> web.Response:
        """Record an upload, and send the next scripted reply."""
        self.puts.append({name.lower(): value for name, value in request.headers.items()})
        await self.may_read.wait()
        await request.read()
        return self.answers.pop(0)

    async def named(self, _request: web.Request) -> web.Response:
        """Answer a request for an upload URL with a URL of this server."""
        target = {"presigned_url": f"{self.url}/put?sig=secret", "file_url": "https://f/x"}
        return web.json_response({"code": 200, "data": target})


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    """Yield a storage server that also has the API endpoint for upload URLs."""
    store = Store()
    app = web.Application()
    app.router.add_route("*", "/put", store.put)
    app.router.add_get("/api/v1/client/files/upload-url", store.named)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    store.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield store
    store.may_read.set()
    await runner.cleanup()


@pytest.mark.parametrize("status", [301, 307, 308, 403])
async def test_upload_refused(store: Store, tmp_path: Path, status: int) -> None:
    """A refused or redirected upload is not retried; the error does not show the presigned URL."""
    (tmp_path / "a.wav").write_bytes(b"x" * 10)
    store.answers = [web.Response(status=status, headers={"Location": f"{store.url}/put"})]
    async with SunoClient("ak_canary", base_url=store.url) as suno:
        with pytest.raises(UploadError, match=str(status)) as caught:
            await suno.upload(tmp_path / "a.wav")
    assert "secret" not in repr(caught.value)
    (put,) = store.puts
    assert (put["content-length"], put["content-type"]) == ("10", "audio/wav")
    assert "x-api-key" not in put
    assert "transfer-encoding" not in put


async def test_upload_again(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a temporary failure of the storage server, the whole file is sent again."""
    monkeypatch.setattr("suno_async.files.transfers.PAUSE", 0.0)
    (tmp_path / "a.flac").write_bytes(b"x" * 10)
    store.answers = [web.Response(status=503), web.Response(status=200)]
    async with SunoClient("ak_canary", base_url=store.url) as suno:
        assert await suno.upload(tmp_path / "a.flac") == "https://f/x"
    assert [put["content-length"] for put in store.puts] == ["10", "10"]


async def test_upload_that_stalls(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the storage server stops reading, the upload ends with an error."""
    monkeypatch.setattr("suno_async.files.transfers.PAUSE", 0.0)
    monkeypatch.setattr("suno_async.files.uploads.STALL", 0.2)
    store.may_read.clear()
    with (tmp_path / "a.wav").open("wb") as file:
        file.truncate(64 << 20)  # more than the buffers of the two sockets
    async with SunoClient("ak_canary", base_url=store.url) as suno, asyncio.timeout(60):
        with pytest.raises(UploadError, match="TimeoutError"):
            await suno.upload(tmp_path / "a.wav")


async def test_each_piece_postpones_the_timeout(tmp_path: Path) -> None:
    """The timeout of an upload starts again with each piece of the file."""
    (tmp_path / "a.wav").write_bytes(b"x" * (2 * PIECE + 1))
    async with asyncio.timeout(1000) as stall:
        with (tmp_path / "a.wav").open("rb") as data:
            ends = [stall.when() or 0.0 async for _ in pieces(data, stall)]
    assert len(ends) == 3
    assert ends == sorted(set(ends))


async def test_price(suno: SunoClient, sandbox: Sandbox) -> None:
    """An estimate costs no credits; a job is not created if its estimate is above `max_credits`."""
    before = await suno.balance()
    price = await suno.estimate(SONG)
    assert (price.estimated_credits, price.estimated) == (COST, False)
    with pytest.raises(CreditLimitError) as caught:
        await suno.create(SONG, max_credits=COST - 0.5)
    assert (caught.value.limit, caught.value.estimate) == (COST - 0.5, price)
    not_a_number: Any = "5"
    for wrong in (-1.0, float("nan"), not_a_number):
        with pytest.raises(InvalidInputError, match="max_credits"):
            await suno.create(SONG, max_credits=wrong)
    assert sandbox.statistics.paths.get("CreateTask") is None
    assert (await suno.create(SONG, max_credits=COST)).id in sandbox.tasks
    assert await suno.balance() == before - COST


async def test_out_of_credits() -> None:
    """After a 402, `create` sends nothing until `balance` returns credits. Polling continues."""
    async with (
        Sandbox(time_scale=SCALE, credits=COST + 1, failure_share=0.0) as sandbox,
        SunoClient(sandbox.key, base_url=sandbox.url, policy=FAST) as suno,
    ):
        task = await suno.create(SONG)
        for limit in (None, None, 1e9):
            with pytest.raises(InsufficientCreditsError):
                await suno.create(SONG, max_credits=limit)
        assert sandbox.statistics.paths["CreateTask"] == 2
        assert "EstimateTask" not in sandbox.statistics.paths
        (track, _) = (await task.result()).tracks
        assert await suno.balance() == 1
        with pytest.raises(InsufficientCreditsError):
            await suno.create(track.separate())
        assert sandbox.statistics.paths["CreateTask"] == 3


async def test_models(suno: SunoClient) -> None:
    """`models` lists and filters models. The schema of a model has the fields of its input."""
    assert {each.model for each in await suno.models()} == set(KINDS)
    (video,) = await suno.models(modality="video")
    assert video.model == MusicVideo.KIND
    assert [
        each.model for each in await suno.models(modality="audio", operation="music-cover")
    ] == [CoverMusic.KIND]
    for name, kind in KINDS.items():
        schema = await suno.model_schema(name)
        taken = set(kind.__struct_fields__) - set(kind.NOT_SENT)
        assert set(schema.input_schema["properties"]) == taken
        assert set(kind.REQUIRED) <= set(schema.required_input_fields) <= taken
    with pytest.raises(TaskNotFoundError):
        await suno.model_schema("suno/none")


async def test_unknown_songs(suno: SunoClient, sandbox: Sandbox, track: Track) -> None:
    """A job for an unknown song raises a `ValidationError` that names the field ``suno_id``."""
    (unfinished,) = sandbox.add_tasks(1, durations=[1e6])
    for task_id, suno_id in (
        ("nowhere", track.suno_id),
        (track.task_id, "other"),
        (unfinished, track.suno_id),
    ):
        with pytest.raises(ValidationError) as caught:
            await suno.create(MusicVideo(task_id=task_id, suno_id=suno_id))
        assert "suno_id" in caught.value.errors[0]
    with pytest.raises(ValidationError):
        await suno.create_persona(GeneratePersona(task_id="x", suno_id="y", name="z"))


async def test_persona_is_not_made_twice() -> None:
    """If the reply to a persona request is lost, the request fails and is not sent again."""
    faults = Faults(reset=1.0, after=1.0)
    async with (
        Sandbox(time_scale=SCALE, faults=faults) as sandbox,
        SunoClient(sandbox.key, base_url=sandbox.url) as suno,
    ):
        with pytest.raises(CreateOutcomeUnknownError, match="persona"):
            await suno.create_persona(GeneratePersona(task_id="x", suno_id="y", name="z"))
        assert sandbox.statistics.requests == 1


@pytest.mark.parametrize("shape", ["record", "envelope"])
async def test_callbacks(shape: str) -> None:
    """At the end of a job, the sandbox sends the record of the task to the callback URL."""
    told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def listen(request: web.Request) -> web.Response:
        await told.put(await request.json())
        return web.Response()

    app = web.Application()
    app.router.add_post("/back", listen)
    runner = web.AppRunner(app)
    async with contextlib.AsyncExitStack() as stack:
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        sandbox = await stack.enter_async_context(Sandbox(time_scale=SCALE, callbacks_as=shape))
        suno = await stack.enter_async_context(SunoClient(sandbox.key, base_url=sandbox.url))
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/back"
        task = await suno.create(SONG, callback_url=url)
        async with asyncio.timeout(10):
            body = await told.get()
        record = body if shape == "record" else body["data"]
        assert (record["task_id"], record["status"] in {"success", "failed"}) == (task.id, True)
        assert record["param"]["callback_url"] == url


async def test_store_of_the_sandbox(sandbox: Sandbox) -> None:
    """The sandbox refuses an upload that has a wrong URL or media type, or sends the API key."""
    async with aiohttp.ClientSession() as http:
        ask = http.get(
            f"{sandbox.url}/api/v1/client/files/upload-url",
            params={"content_type": "audio/mpeg", "ext": ".mp3"},
            headers={"x-api-key": sandbox.key},
        )
        async with ask as reply:
            url = (await reply.json())["data"]["presigned_url"]

        async def put(url: str, **headers: str) -> int:
            async with http.put(url, data=b"x", headers=headers) as reply:
                return reply.status

        kind = {"Content-Type": "audio/mpeg"}
        assert await put(url, **kind, **{"x-api-key": sandbox.key}) == 400
        assert await put(url, **{"Content-Type": "audio/wav"}) == 403
        assert await put(url.partition("?")[0], **kind) == 403
        assert await put(url, **kind) == 200
    assert sandbox.statistics.key_leaks == 1
