"""Tags in downloads, over real sockets."""

from __future__ import annotations

import gzip
import logging
import sys
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from mutagen import id3
from yarl import URL

from suno_async import ConfigurationError, SunoClient, TaskInfo, TaskParam, TaskStatus, Track
from suno_async.files import tagging, tags
from suno_async.files.connections import Connections
from suno_async.sandbox._media_files import PNG, mp3
from tests.file_host import FileHost, record_path

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

MP3 = mp3("song", 1.0)


@pytest.fixture
async def host() -> AsyncIterator[FileHost]:
    """Yield a file server with a song and its cover."""
    host = FileHost(MP3)
    host.bodies = {"/large.png": PNG}
    async with host.serving() as serving:
        yield serving


def song(host: FileHost, number: int = 0, cover: str = "/large.png") -> Track:
    """Return a song with a cover."""
    return Track(
        task_id="t",
        suno_id=f"song-{number}",
        title="雨の朝",
        prompt="[Verse]\nla la",
        tags="slow piano",
        model_name="chirp-crow",
        suno_audio_url=f"{host.url}/{number}.mp3",
        suno_image_large_url=f"{host.url}{cover}",
    )


def record(**fields: Any) -> TaskInfo:  # noqa: ANN401 (the fields of TaskInfo)
    """Return the record of a finished task, with these fields."""
    return TaskInfo(task_id="t", status=TaskStatus.SUCCESS, **fields)


def read(path: Path) -> Any:  # noqa: ANN401 (mutagen has no complete type hints)
    """Return the tags of a file, and check that its audio is unchanged."""
    assert path.read_bytes().endswith(MP3)
    open_tags: Any = id3.ID3
    return open_tags(path)


def problems(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the messages of all warnings in the log."""
    return [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]


def only(directory: Path) -> Path:
    """Return the only file in a directory. Fail if there are more files."""
    (path,) = directory.iterdir()
    return path


async def test_a_song(
    host: FileHost, suno: SunoClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A downloaded song contains its title, lyrics, ids and cover as tags."""
    path = await suno.download(song(host), tmp_path, tags=True)
    found = read(path)
    assert str(found["TIT2"]) == "雨の朝"
    assert str(found["TCON"]) == "slow piano"
    assert found["USLT::XXX"].text == "[Verse]\nla la"
    assert str(found["TXXX:SUNO_ID"]) == "song-0"
    assert str(found["TXXX:SUNO_TASK_ID"]) == "t"
    assert str(found["TXXX:SUNO_MODEL"]) == "chirp-crow"
    assert [each.data for each in found.getall("APIC")] == [PNG]
    assert [each[":path"] for each in host.requests] == ["/0.mp3", "/large.png"]
    assert all("x-api-key" not in each for each in host.requests)
    assert only(tmp_path) == path
    assert not problems(caplog)


async def test_a_task(host: FileHost, suno: SunoClient, tmp_path: Path) -> None:
    """`download_all` writes the lyrics of the task record into each song. Covers get no tags."""
    info = record(
        tracks=(song(host), song(host, 1)), param=TaskParam(input={"lyrics": "from the job"})
    )
    paths = await suno.download_all(info, tmp_path, covers=True, tags=True)
    assert [each.suffix for each in paths] == [".mp3", ".png"] * 2
    for number, path in enumerate(paths[::2]):
        assert str(read(path)["TXXX:SUNO_ID"]) == f"song-{number}"
        assert read(path)["USLT::XXX"].text == "from the job"
    assert [each.read_bytes() for each in paths[1::2]] == [PNG, PNG]


async def test_other_files(
    host: FileHost, suno: SunoClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A stem gets only the task id as a tag. A file that is downloaded by its URL gets no tags."""
    stems = record(media_info={"vocals": f"{host.url}/vocals.mp3"})
    stem, plain = await suno.download_all([stems, f"{host.url}/x.mp3"], tmp_path, tags=True)
    assert list(read(stem)) == ["TXXX:SUNO_TASK_ID"]
    assert plain.read_bytes() == MP3
    assert not problems(caplog)


async def test_without_tags(host: FileHost, suno: SunoClient, tmp_path: Path) -> None:
    """By default, a song is saved unchanged, and its cover is not requested."""
    assert (await suno.download(song(host), tmp_path)).read_bytes() == MP3
    assert len(host.requests) == 1


async def test_never_half_tagged(
    host: FileHost, suno: SunoClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file gets its final name only after all tags are written."""
    write, seen = tags.write_tags, list[list[str]]()

    def observed(path: Path, given: tags.Tags) -> None:
        seen.append([each.suffix for each in tmp_path.iterdir()])
        write(path, given)
        seen.append([each.suffix for each in tmp_path.iterdir()])

    monkeypatch.setattr(tagging, "write_tags", observed)
    path = await suno.download(song(host), tmp_path, tags=True)
    assert seen == [[".part", ".part"]] * 2
    assert only(tmp_path) == path


async def test_a_format_without_tags(
    host: FileHost, suno: SunoClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A song in a format that cannot be tagged is saved unchanged, and a warning is logged."""
    host.body = b"OggS" + bytes(1000)
    path = await suno.download(song(host), tmp_path, tags=True)
    assert path.read_bytes() == host.body
    assert only(tmp_path) == path
    (problem,) = problems(caplog)
    assert problem.startswith(f"{path}: saved without tags: cannot write tags: neither MP3")


async def test_a_damaged_song(
    host: FileHost, suno: SunoClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A song with tags that mutagen cannot read is saved unchanged, and a warning is logged."""
    host.body = b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f" + bytes(1000)
    path = await suno.download(song(host), tmp_path, tags=True)
    assert path.read_bytes() == host.body
    assert only(tmp_path) == path
    assert "saved without tags" in problems(caplog)[0]


async def test_without_mutagen(
    host: FileHost, suno: SunoClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without mutagen, a download with tags raises an error that says what to install."""
    monkeypatch.setitem(sys.modules, "mutagen", None)
    with pytest.raises(ConfigurationError, match=r'pip install "suno_async\[tags\]"'):
        await suno.download(song(host), tmp_path, tags=True)
    with pytest.raises(ConfigurationError):
        await suno.download_all(record(tracks=(song(host),)), tmp_path, tags=True)
    assert not host.requests
    assert (await suno.download(song(host), tmp_path)).read_bytes() == MP3


@pytest.mark.parametrize(
    ("cover", "problem", "requests"),
    [
        (b"GIF89a" + bytes(100), "neither JPEG nor PNG", 1),
        (b"", "neither JPEG nor PNG", 1),
        (PNG + bytes(tagging.MOST_BYTES), "more than 5242880 bytes", 1),
        (404, "HTTP 404", 1),
        (503, "HTTP 503", 3),
        ("https://127.0.0.2/x.png", "127.0.0.2", 1),
        ("file:///etc/passwd", "no http", 0),
    ],
)
async def test_covers_that_fail(  # noqa: PLR0913, PLR0917 (fixtures and parameters)
    host: FileHost,
    suno: SunoClient,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    cover: bytes | int | str,
    problem: str,
    requests: int,
) -> None:
    """If a cover cannot be used, the song gets all other tags, and a warning is logged."""
    track = song(host)
    if isinstance(cover, bytes):
        host.bodies["/large.png"] = cover
    elif isinstance(cover, int):
        host.paths["/large.png"] = cover
    elif cover.startswith("https"):
        host.locations["/large.png"] = cover
    else:
        track = msgspec.structs.replace(track, suno_image_large_url=cover)
    path = await suno.download(track, tmp_path, tags=True)
    assert set(read(path)) == {
        *("TIT2", "TCON", "USLT::XXX"),
        *("TXXX:SUNO_ID", "TXXX:SUNO_TASK_ID", "TXXX:SUNO_MODEL"),
    }
    assert [each[":path"] for each in host.requests] == ["/0.mp3", *["/large.png"] * requests]
    (warning,) = problems(caplog)
    assert warning.startswith(f"{path}: saved without cover: ")
    assert problem in warning


@pytest.mark.parametrize("damage", ["none", "cut", "flipped", "bomb", "empty members"])
async def test_compressed_covers(
    host: FileHost,
    suno: SunoClient,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    damage: str,
) -> None:
    """A gzip-compressed cover is written into the song only if it is intact and not too large."""
    body = bytearray(gzip.compress(PNG if damage != "bomb" else PNG + bytes(10**8)))
    if damage == "cut":
        del body[-9:]
    elif damage == "flipped":
        body[15:25] = b"\xff" * 10
    elif damage == "empty members":
        body = bytearray(gzip.compress(b"") * 500_000)
    host.bodies["/large.png"] = bytes(body)
    host.bodies["/0.mp3"] = gzip.compress(MP3)
    host.headers["Content-Encoding"] = "gzip"
    path = await suno.download(song(host), tmp_path, tags=True)
    assert ("APIC:Cover" in read(path)) == (damage == "none")
    assert bool(problems(caplog)) == (damage != "none")


async def test_unsupported_compression(
    host: FileHost, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A cover with an unknown compression is not used, and a warning is logged."""
    host.headers["Content-Encoding"] = "br"
    path = tmp_path / "x.mp3"
    path.write_bytes(MP3)
    connections = Connections(api=URL(host.url))
    tagger = tagging.Tagger(connections, path, song(host), None)
    await tagger.fetch_cover(None)
    await connections.close()
    assert tagger.write(path)
    found = read(path)
    assert "TXXX:SUNO_ID" in found
    assert not found.getall("APIC")
    assert "unsupported content encoding 'br'" in problems(caplog)[0]
    assert len(host.requests) == 1


async def test_expired_covers(host: FileHost, suno: SunoClient, tmp_path: Path) -> None:
    """Expired URLs of a song and its cover are replaced by the URLs in a new task record."""
    new = song(host, cover="/new.png")
    host.bodies["/new.png"] = PNG

    host.serve_record(record(tracks=(song(host, 1), new)))
    host.paths = {"/old.mp3": 403, "/large.png": 403}
    old = Track(
        task_id="t",
        suno_id="song-0",
        title=new.title,
        suno_audio_url=f"{host.url}/old.mp3",
        suno_image_url=f"{host.url}/large.png",
    )
    path = await suno.download(old, tmp_path, tags=True)
    assert [each.data for each in read(path).getall("APIC")] == [PNG]
    paths = [each[":path"] for each in host.requests]
    assert paths == ["/old.mp3", record_path(), "/0.mp3", "/new.png"]


async def test_existing_files_stay(host: FileHost, suno: SunoClient, tmp_path: Path) -> None:
    """An existing file gets tags only if it is replaced (`overwrite=True`)."""
    path = await suno.download(song(host), tmp_path)
    assert await suno.download(song(host), tmp_path, tags=True) == path
    assert path.read_bytes() == MP3
    await suno.download(song(host), tmp_path, tags=True, overwrite=True)
    assert str(read(path)["TXXX:SUNO_ID"]) == "song-0"


async def test_resumed(host: FileHost, suno: SunoClient, tmp_path: Path) -> None:
    """A song that is downloaded in several attempts gets its tags after the last attempt."""
    host.cuts = [1000, 500]
    path = await suno.download(song(host), tmp_path, tags=True)
    assert str(read(path)["TIT2"]) == "雨の朝"
    assert [each[":path"] for each in host.requests] == ["/0.mp3"] * 3 + ["/large.png"]
