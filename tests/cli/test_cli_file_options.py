"""Options for downloads (names, covers, tags, hosts) and environment variables for proxies."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from mutagen import mp3

from suno_async.sandbox import Sandbox
from tests.cli.test_cli import GENEROUS, run
from tests.hostile import response, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SONG = (b"\xff\xfb\x10\xc0" + bytes(100)) * 40

#: The arguments of commands that download. `cover` also stands for `extend`, `video`, `separate`
#: and `sounds`, which share its code. Most tests append the directory.
DOWNLOADING = {
    "download": ("download", "an-id", "--directory"),
    "poll": ("poll", "ids.txt", "--output", "out.jsonl", "--download"),
    "create": ("create", "x", "--download"),
    "batch": ("create", "--batch", "in.jsonl", "--output", "out.jsonl", "--download"),
    "cover": ("cover", "an-id", "a-song", "--download"),
    "resume": ("runs", "resume", "--journal", "j.db", "--download"),
}

#: Invalid options, and how the error message begins.
WRONG = {
    "suffix": (("--name", "{title}.mp3"), "name: leave out '.mp3', the suffix is added: "),
    "field": (("--name", "{artist}"), "name: unknown field {artist}; the fields are {title}, "),
    "host": (("--allow-host", "files.test:80"), "allow_hosts: give the host without a port: "),
}

each_command = pytest.mark.parametrize("words", DOWNLOADING.values(), ids=DOWNLOADING)


@pytest.fixture
async def sandbox(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sandbox]:
    """Yield a sandbox in which every job succeeds at once, with a high rate limit."""
    monkeypatch.setenv("SUNO_TIME_SCALE", "1000")
    async with Sandbox(seed=1, time_scale=1e5, failure_share=0.0, rate_limit=GENEROUS) as server:
        yield server


def write_files(directory: Path) -> set[str]:
    """Write the input files of all commands in `DOWNLOADING`. Return the names of these files."""
    (directory / "ids.txt").write_text("an-id")
    (directory / "in.jsonl").write_text('{"prompt": "x", "instrumental": true}\n')
    (directory / "j.db").touch()
    return {"ids.txt", "in.jsonl", "j.db"}


def saved_in(directory: Path) -> set[str]:
    """Return the names of all files below a directory."""
    files = [each for each in directory.rglob("*") if each.is_file()]
    return {each.relative_to(directory).as_posix() for each in files}


def tags_in(path: Path) -> tuple[list[str], int]:
    """Return the task ids and the number of covers that the tags of a file contain."""
    kind: Any = mp3.MP3  # mutagen has no complete type hints.
    tags = kind(path).tags
    return tags["TXXX:SUNO_TASK_ID"].text, len(tags.getall("APIC"))


@each_command
@pytest.mark.parametrize(("options", "message"), WRONG.values(), ids=WRONG)
async def test_wrong_options(
    sandbox: Sandbox,
    tmp_path: Path,
    words: tuple[str, ...],
    options: tuple[str, ...],
    message: str,
) -> None:
    """An invalid name template or host is reported as one error, and nothing is sent."""
    before = write_files(tmp_path)
    code, out, errors = await run(sandbox, *words, "songs", *options, cwd=tmp_path)
    assert (code, out, errors.count("\n")) == (2, "", 1), errors
    assert errors.startswith(f"error: {message}")
    assert sandbox.statistics.requests == 0
    assert {each.name for each in await asyncio.to_thread(lambda: [*tmp_path.iterdir()])} == before


@each_command
async def test_tags_without_the_extra(
    sandbox: Sandbox, tmp_path: Path, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --write-tags but without mutagen, a command sends nothing and says what to install."""
    monkeypatch.setitem(sys.modules, "mutagen", None)
    before = write_files(tmp_path)
    code, out, errors = await run(sandbox, *words, "songs", "--write-tags", cwd=tmp_path)
    assert (code, out) == (2, "")
    assert errors == 'error: writing tags needs mutagen: pip install "suno_async[tags]"\n'
    assert sandbox.statistics.requests == 0
    assert {each.name for each in await asyncio.to_thread(lambda: [*tmp_path.iterdir()])} == before


@each_command
async def test_options_without_a_directory(
    sandbox: Sandbox, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """The options --name, --covers and --write-tags are an error without --download."""
    if words[0] == "download":
        words = ("poll", "ids.txt", "-q", "--download")
    write_files(tmp_path)
    options = ("--name", "{title}", "--covers", "--write-tags")
    code, _, errors = await run(sandbox, *words[:-1], *options, cwd=tmp_path)
    assert (code, errors) == (2, "error: only with --download: --name, --covers, --write-tags\n")
    assert sandbox.statistics.requests == 0


async def test_names_covers_and_tags(sandbox: Sandbox, tmp_path: Path) -> None:
    """The commands `download` and `poll` apply --name, --covers and --write-tags."""
    (task_id,) = sandbox.add_tasks(1, created_ago=1e6)
    (tmp_path / "ids.txt").write_text(task_id)
    options = ("--name", "{task_id}/{index}", "--covers", "--write-tags")
    expected = {f"{task_id}/{index}{suffix}" for index in (1, 2) for suffix in (".mp3", ".png")}
    commands = (("download", task_id, "-q", "--directory"), ("poll", "ids.txt", "-q", "--download"))
    for words in commands:
        code, _, errors = await run(sandbox, *words, words[0], *options, cwd=tmp_path)
        assert (code, errors) == (0, "")
        saved = await asyncio.to_thread(saved_in, tmp_path / words[0])
        assert saved == expected
        assert tags_in(tmp_path / words[0] / task_id / "1.mp3") == ([task_id], 1)


async def test_created_songs(sandbox: Sandbox, tmp_path: Path) -> None:
    """`create`, with and without --batch, applies --name, --covers and --write-tags."""
    write_files(tmp_path)
    (tmp_path / "j.db").unlink()
    options = ("--name", "{task_id}/{index}", "--covers", "--write-tags")
    words = ("create", "--title", "T", "--tags", "jazz", "--instrumental", "-q")
    code, out, errors = await run(sandbox, *words, "--download", "one", *options, cwd=tmp_path)
    assert (code, errors) == (0, "")
    task_id = out.split()[0]
    assert sandbox.tasks[task_id].body["input"]["tags"] == "jazz"
    files = {f"{index}{suffix}" for index in (1, 2) for suffix in (".mp3", ".png")}
    assert await asyncio.to_thread(saved_in, tmp_path / "one" / task_id) == files
    assert tags_in(tmp_path / "one" / task_id / "2.mp3") == ([task_id], 1)
    batch = ("create", "--batch", "in.jsonl", "--journal", "j.db", "-q")
    code, _, errors = await run(sandbox, *batch, "--download", "two", *options, cwd=tmp_path)
    assert (code, errors) == (0, "")
    last = list(sandbox.tasks)[-1]
    assert await asyncio.to_thread(saved_in, tmp_path / "two" / last) == files
    assert tags_in(tmp_path / "two" / last / "1.mp3") == ([last], 1)


async def test_allowed_hosts(sandbox: Sandbox, tmp_path: Path) -> None:
    """A file on a private host is refused with a hint, but --allow-host permits its download."""

    async def answer(_: bytes, writer: asyncio.StreamWriter) -> bool:
        writer.write(response(SONG))
        return True

    async with serving(answer) as url:
        song = url.replace("127.0.0.1", "localhost") + "/a.mp3"
        code, _, errors = await run(sandbox, "download", song, "-q", cwd=tmp_path)
        assert (code, "if you trust the host, add --allow-host" in errors) == (7, True), errors
        words = ("download", song, "-q", "--allow-host", "x.test", "--allow-host", "localhost")
        code, out, errors = await run(sandbox, *words, cwd=tmp_path)
        assert (code, errors, (tmp_path / out.strip()).read_bytes()) == (0, "", SONG)


async def test_proxies_of_the_environment(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commands use the proxy in HTTP_PROXY, but not for the hosts in NO_PROXY."""
    lines: list[bytes] = []

    async def answer(request: bytes, writer: asyncio.StreamWriter) -> bool:
        lines.append(request.partition(b"\r\n")[0])
        is_file = lines[-1].endswith(b".mp3 HTTP/1.1")
        data = SONG if is_file else json.dumps({"code": 200, "data": {"balance": 7}}).encode()
        writer.write(response(data))
        return True

    async with serving(answer) as proxy:
        monkeypatch.setenv("http_proxy", proxy)
        code, out, errors = await run(sandbox, "balance", cwd=tmp_path)
        assert (code, out) == (0, "7\n"), errors
        host = ("--base-url", "http://api.test")
        code, _, errors = await run(
            sandbox, "download", "http://api.test/a.mp3", "-q", *host, cwd=tmp_path
        )
        assert (code, errors) == (0, "")
        assert len(lines) == 2
        assert lines[0].startswith(f"GET {sandbox.url}/".encode())
        assert lines[1] == b"GET http://api.test/a.mp3 HTTP/1.1"
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert (await run(sandbox, "balance", cwd=tmp_path))[1] == "1000000\n"
        assert len(lines) == 2


async def test_proxy_that_does_not_answer(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the proxy cannot be reached, the error names the environment variables for proxies."""
    monkeypatch.setattr("suno_async.cli.clients.RETRY_FOR", 0.0)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    code, _, errors = await run(sandbox, "balance", cwd=tmp_path)
    assert (code, errors.endswith("; check HTTPS_PROXY, HTTP_PROXY and NO_PROXY\n")) == (5, True)
