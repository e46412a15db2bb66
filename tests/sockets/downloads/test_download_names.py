"""Names of downloaded files, over real sockets: safe, stable and unique."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import pytest

from suno_async import (
    DownloadsFailedError,
    InvalidInputError,
    Success,
    SunoClient,
    TaskInfo,
    TaskStatus,
    Track,
)
from suno_async.files.sources import FileSource, sources_of
from tests.file_host import FileHost, names_in, record_path

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

ID = "0f9c1b52-5a1d-4c38-9b5e-6f1f2f0a7a1"


def song(host: FileHost, title: str = "Rain", number: int = 0, **fields: Any) -> Track:  # noqa: ANN401 (the fields of Track)
    """Return a song whose audio URL is on the host."""
    url = f"{host.url}/{number}.mp3"
    fields.setdefault("suno_audio_url", url)
    return Track(task_id="t", suno_id=f"{ID}{number}", title=title, **fields)


def record(task_id: str = "t", **fields: Any) -> TaskInfo:  # noqa: ANN401 (the fields of TaskInfo)
    """Return the record of a task that succeeded, with these fields."""
    return TaskInfo(task_id=task_id, status=TaskStatus.SUCCESS, **fields)


async def test_stems_of_one_name(host: FileHost, suno: SunoClient, tmp_path: Path) -> None:
    """Stems whose names are equal or differ only in case are saved as separate files."""
    infos = [
        record(
            each,
            media_info={
                "vocals": f"{host.url}/{each}/1/vocals.mp3",
                "Vocals": f"{host.url}/{each}/2/vocals.mp3",
            },
        )
        for each in ("a", "b")
    ]
    paths = await suno.download_all([Success(each.task_id, each) for each in infos], tmp_path)
    assert [path.name for path in paths] == [
        *("vocals-a.mp3", "Vocals-a-2.mp3", "vocals-b.mp3", "Vocals-b-2.mp3")
    ]
    assert len(host.requests) == 4
    assert await suno.download_all(infos[::-1], tmp_path) == paths[2:] + paths[:2]
    assert len(host.requests) == 4


async def test_urls_that_differ_in_the_query(
    host: FileHost, suno: SunoClient, tmp_path: Path
) -> None:
    """Files whose URLs differ only in the query are saved under different names."""
    urls = [f"{host.url}/x.mp3?id={each}" for each in (1, 2, 1, 2)]
    first, second, *again = await suno.download_all(urls, tmp_path)
    assert first != second
    assert again == [first, second]
    assert len(names_in(tmp_path)) == len(host.requests) == 2


async def test_many_urls_that_differ_in_the_query(monkeypatch: pytest.MonkeyPatch) -> None:
    """The work for the names of many such URLs is linear."""
    with_name, tried = PurePosixPath.with_name, 0

    def counted(path: PurePosixPath, name: str) -> PurePosixPath:
        nonlocal tried
        tried += 1
        return with_name(path, name)

    monkeypatch.setattr(PurePosixPath, "with_name", counted)
    urls = [f"https://cdn.example/song.mp3?id={each}" for each in range(300)]
    found = [each async for each in sources_of(urls, None)]
    assert len({each.name for each in found if isinstance(each, FileSource)}) == 300
    assert tried == 299


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("雨" * 72, f"{'雨' * 52}-{ID}0.mp3"),
        ("CON", f"CON-{ID}0.mp3"),
        ("con.x", f"_con.x-{ID}0.mp3"),
        ("../../x", f"_.._x-{ID}0.mp3"),
        ("/etc/passwd\0", f"_etc_passwd_-{ID}0.mp3"),
    ],
)
async def test_titles(
    host: FileHost, suno: SunoClient, tmp_path: Path, title: str, name: str
) -> None:
    """A song with any title is saved in the given directory. The file name contains its Suno id."""
    track = song(host, title)
    path = await suno.download(track, tmp_path / "music")
    assert await suno.download_all(record(tracks=(track,)), tmp_path / "music") == [path]
    assert names_in(tmp_path) == [f"music/{name}"]
    assert path.read_bytes() == host.body
    assert len(host.requests) == 1


async def test_templates(host: FileHost, suno: SunoClient, tmp_path: Path) -> None:
    """A name template applies to every file.

    If the template could give two files the same name, a hash is added to the name.
    """
    info = record(tracks=(song(host), song(host, number=1)))
    await suno.download_all(info, tmp_path, name="{task_id}/{index}-{title}")
    assert names_in(tmp_path) == ["t/1-Rain.mp3", "t/2-Rain.mp3"]
    first, second = await suno.download_all(info.tracks, tmp_path, name="songs/{title}")
    assert first != second
    assert first.parent == second.parent == tmp_path / "songs"
    path = await suno.download(info.tracks[0], tmp_path, name="songs/{title}")
    assert path == first
    url = f"{host.url}/get?id=1"
    path = await suno.download(url, tmp_path, name="one/{title}")
    assert path.name.startswith("get-")


@pytest.mark.parametrize("name", ["", "../x", "/x", "{artist}", "x.mp3", "a\0", "x" * 300])
async def test_invalid_templates(
    host: FileHost, suno: SunoClient, tmp_path: Path, name: str
) -> None:
    """An invalid name template raises an error before any request."""
    read: list[str] = []

    async def source() -> AsyncIterator[str]:
        read.append("read")
        yield f"{host.url}/x.mp3"

    with pytest.raises(InvalidInputError, match="name: "):
        await suno.download(f"{host.url}/x.mp3", tmp_path / "new", name=name)
    with pytest.raises(InvalidInputError, match="name: "):
        await suno.download_all(source(), tmp_path / "new", name=name)
    assert not host.requests
    assert not read
    assert not (tmp_path / "new").exists()


async def test_an_unknown_media(host: FileHost, suno: SunoClient, tmp_path: Path) -> None:
    """An unknown value of `media` raises an error before any request, for a song and for a URL."""
    unknown: Any = "mp3"
    for item in (song(host), f"{host.url}/x.mp3"):
        with pytest.raises(InvalidInputError, match="media: must be one of audio, image, video"):
            await suno.download(item, tmp_path / "new", media=unknown)
    assert not host.requests
    assert not (tmp_path / "new").exists()


async def test_covers(host: FileHost, suno: SunoClient, tmp_path: Path) -> None:
    """Covers are saved only with `covers=True`. A cover that is not an image causes an error."""
    track = song(host, suno_image_url=f"{host.url}/small.jpeg")
    info = record(tracks=(track,), media_urls=(track.suno_audio_url,))
    paths = await suno.download_all(info, tmp_path)
    with pytest.raises(DownloadsFailedError, match="audio instead of image"):
        await suno.download_all(info, tmp_path, covers=True)
    host.body = b"\xff\xd8\xff\xe0" + bytes(1000)
    both = await suno.download_all(info, tmp_path, covers=True)
    assert both == [*paths, tmp_path / f"Rain-{ID}0.jpeg"]
    assert both[1].read_bytes() == host.body
    assert [each[":path"] for each in host.requests] == ["/0.mp3", "/small.jpeg", "/small.jpeg"]


async def test_files_of_unknown_kinds(host: FileHost, suno: SunoClient, tmp_path: Path) -> None:
    """Without a suffix in the URL, a result can be any media file, but a stem must be audio.

    A stem is a part of a song, such as the vocals.
    """
    host.body = b"\x00\x00\x00\x18ftypisom" + bytes(1000)
    (path,) = await suno.download_all(record(media_urls=(f"{host.url}/result",)), tmp_path)
    assert path.read_bytes() == host.body
    host.body = b"\x89PNG\r\n\x1a\n" + bytes(1000)
    with pytest.raises(DownloadsFailedError, match="image instead of audio"):
        await suno.download_all(record(media_info={"vocals": f"{host.url}/v"}), tmp_path)


async def test_songs_without_a_url(host: FileHost, suno: SunoClient, tmp_path: Path) -> None:
    """A song without a valid URL causes an error, but the other files of its task are saved."""
    tracks = (
        song(host, suno_audio_url=""),
        song(host, number=1),
        song(host, number=2, suno_audio_url="ftp://x.example/2.mp3"),
    )
    with pytest.raises(DownloadsFailedError) as caught:
        await suno.download_all(record(tracks=tracks), tmp_path)
    assert len(caught.value.errors) == 2
    assert f"no URL of the song '{ID}0'" in str(caught.value.errors[0])
    assert names_in(tmp_path) == [f"Rain-{ID}1.mp3"]


@pytest.mark.parametrize("template", [None, "{index}", "{title}"])
async def test_refreshed_by_name(
    host: FileHost, suno: SunoClient, tmp_path: Path, template: str | None
) -> None:
    """An expired URL is replaced by the song's new URL, even if the order of the songs changed."""
    old = record(tracks=(song(host, "One"), song(host, "Two", 1)))
    new = record(
        tracks=(
            song(host, "Two", 1, suno_audio_url=f"{host.url}/new-1.mp3"),
            song(host, "One", suno_audio_url=f"{host.url}/new-0.mp3"),
        ),
    )

    host.serve_record(new)
    host.paths = {"/0.mp3": 403}
    await suno.download(old.tracks[0], tmp_path, name=template)
    assert [each[":path"] for each in host.requests] == ["/0.mp3", record_path(), "/new-0.mp3"]
    host.requests.clear()
    await suno.download_all(old, tmp_path / "all", name=template)
    paths = {"/0.mp3", record_path(), "/new-0.mp3", "/1.mp3"}
    assert {each[":path"] for each in host.requests} == paths
