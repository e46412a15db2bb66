"""The commands for every kind of job, and for the endpoints that create no task."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from suno_async import TaskInfo, TaskStatus
from suno_async.cli.downloads import Downloads
from suno_async.cli.file_options import FileOptions
from suno_async.cli.job_inputs import KINDS_BY_NAME
from suno_async.cli.output import print_info
from suno_async.inputs import KINDS
from suno_async.sandbox import COST, Sandbox
from tests.cli.test_cli import GENEROUS, run
from tests.conftest import SCALE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from suno_async import SunoClient


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """Yield a sandbox in which every job succeeds, with a high rate limit."""
    async with Sandbox(seed=1, time_scale=SCALE, failure_share=0.0, rate_limit=GENEROUS) as server:
        yield server


def song(sandbox: Sandbox) -> tuple[str, str]:
    """Add a finished task, and return the ids of the task and of its first song."""
    (task_id,) = sandbox.add_tasks(1, created_ago=100.0)
    return task_id, sandbox.tasks[task_id].songs[0]


@pytest.mark.parametrize(
    ("words", "model", "fields"),
    [
        (["extend", "T", "S", "--prompt", "go on"], "extend", {"prompt": "go on"}),
        (["cover", "T", "S", "--tags", "tango", "--title", "t", "--lyrics", "l"], "cover", {
            "mode": "custom", "tags": "tango", "title": "t", "lyrics": "l",
        }),
        (["video", "T", "S", "--author", "Ann"], "video", {"author": "Ann"}),
        (["separate", "T", "S", "--mode", "instrumental"], "separate", {"mode": "instrumental"}),
        (["sounds", "rain", "--loop", "true", "--bpm", "120", "--key", "Am"], "sounds", {
            "prompt": "rain", "loop": True, "bpm": 120, "key": "Am",
        }),
        (["sounds", "x", "--key", "[" * 100_000], "sounds", {"key": "[" * 100_000}),
        (["extend", "--audio", "https://x/a.mp3", "--prompt", "p"], "extend-upload", {
            "audio_url": "https://x/a.mp3",
        }),
    ],
)  # fmt: skip
async def test_every_job(
    sandbox: Sandbox, tmp_path: Path, words: list[str], model: str, fields: dict[str, Any]
) -> None:
    """Each command creates its kind of job with the given ids and options."""
    task_id, suno_id = song(sandbox)
    words = [{"T": task_id, "S": suno_id}.get(word, word) for word in words]
    code, out, errors = await run(sandbox, *words, "--json", cwd=tmp_path)
    assert code == 0, errors
    body = sandbox.tasks[json.loads(out)["task_id"]].body
    assert body["model"] == KINDS_BY_NAME[model].KIND
    expected = fields | ({"task_id": task_id, "suno_id": suno_id} if task_id in words else {})
    assert expected.items() <= body["input"].items()


async def test_local_audio(sandbox: Sandbox, tmp_path: Path) -> None:
    """A local audio file is uploaded only if all other fields of the input are valid."""
    (tmp_path / "my.mp3").write_bytes(b"\xff\xfb" * 100)
    code, _, errors = await run(sandbox, "cover", "--audio", "my.mp3", cwd=tmp_path)
    assert (code, "prompt" in errors, sandbox.statistics.requests) == (2, True, 0)
    words = ("cover", "--audio", "my.mp3", "--prompt", "as a tango")
    code, out, errors = await run(sandbox, *words, cwd=tmp_path)
    assert code == 0, errors
    assert sandbox.tasks[out.strip()].body["input"]["audio_url"].startswith(sandbox.url)
    code, out, _ = await run(sandbox, "upload", "my.mp3", "--json", cwd=tmp_path)
    assert json.loads(out)["url"].startswith(sandbox.url)


async def test_downloads(
    suno: SunoClient, sandbox: Sandbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The results of songs, stems and videos are printed and downloaded."""
    info = await suno.task_info(song(sandbox)[0])
    for job, suffixes in (
        (None, [".mp3", ".mp3"]),
        (info.tracks[0].separate(), [".mp3", ".mp3"]),
        (info.tracks[0].video(), [".mp4"]),
    ):
        made = info if job is None else await (await suno.create(job)).result(timeout=10)
        downloads = Downloads(suno, FileOptions(tmp_path))
        await downloads.fetch(made)
        paths = [Path(each) for each in downloads.paths]
        assert [each.suffix for each in paths] == suffixes
        assert all(each.stat().st_size for each in paths)
        assert downloads.summary()["files_missing"] == 0
        print_info(made, as_json=False)
        assert capsys.readouterr().out.count("http://") == len(suffixes)


async def test_price_limit(sandbox: Sandbox, tmp_path: Path) -> None:
    """A job that costs more than --max-credits is not created, and the exit code is 4."""
    words = ("create", "a song", "--instrumental", "--max-credits")
    code, _, errors = await run(sandbox, *words, str(COST - 1), cwd=tmp_path)
    assert (code, sandbox.statistics.created) == (4, 0), errors
    assert (await run(sandbox, *words, str(COST), cwd=tmp_path))[0] == 0
    assert sandbox.statistics.created == 1


async def test_persona_estimate_and_models(sandbox: Sandbox, tmp_path: Path) -> None:
    """The commands `persona`, `estimate` and `models` print what the server returned."""
    code, out, errors = await run(sandbox, "persona", *song(sandbox), "Ann", cwd=tmp_path)
    assert (code, bool(out.strip())) == (0, True), errors
    lines = '{"prompt": "x"}\n{"kind": "sounds", "prompt": "rain"}'
    code, out, errors = await run(sandbox, "estimate", "-", cwd=tmp_path, stdin=lines)
    assert code == 0, errors
    *prices, total = out.split("\n")[:3]
    assert total == f"total {sum(map(float, prices)):g}"
    code, out, _ = await run(sandbox, "models", cwd=tmp_path)
    assert set(out.split()) == set(KINDS)
    code, out, _ = await run(sandbox, "models", "suno/music-cover", "--json", cwd=tmp_path)
    assert "suno_id" in json.loads(out)["properties"]


async def test_mistakes_cost_nothing(sandbox: Sandbox, tmp_path: Path) -> None:
    """A command with invalid arguments sends no request, and prints what is wrong."""
    (tmp_path / "bad.jsonl").write_text('{"prompt": "x"}\n{"promt": "x"}\n{"title": 5}\n{\n')
    (tmp_path / "good.jsonl").write_text('{"prompt": "x"}')
    (tmp_path / "empty.jsonl").touch()
    for words, message in (
        (("create",), "prompt"),
        (("create", "x", "--resend-unknown"), "only with --batch: --resend-unknown"),
        (
            ("create", "--batch", "a.csv", "--output", "b.jsonl", "--resend-unknown"),
            "--resend-unknown needs --resume",
        ),
        (("create", "--title", "x", "--batch", "good.jsonl"), "they are in the file: --title"),
        (("create", "x", "--resume"), "only with --batch: --resume"),
        (("create", "x", "--batch", "good.jsonl"), "they are in the file: PROMPT"),
        (("create", "--batch", "-"), "only named files can be resumed"),
        (("create", "--batch", "none.jsonl"), "No such file"),
        (("create", "--batch", "bad.jsonl"), "line 4"),
        (("create", "--batch", "empty.jsonl"), "contains no inputs"),
        (("create", "--batch", "good.jsonl", "--output", "no/where"), "create the directory first"),
        (("create", "--batch", "good.jsonl", "--output", "bad.jsonl"), "--resume"),
        (("estimate", "bad.jsonl"), "did you mean prompt?"),
        (("extend",), "task_id"),
        (("extend", "t", "s", "--audio", "https://x/a.mp3"), "not both"),
        (("cover", "--audio", "none.mp3", "--prompt", "x"), "none.mp3"),
        (("cover", "--audio", "", "--prompt", "x"), "--audio: give a file or a URL"),
        (("models", "suno/music-cover", "--modality", "audio"), "use them without a model"),
        (("sounds", "x", "--extra", "[1]"), "--extra"),
        (("sounds", "x", "--extra", '{"n": NaN}'), "--extra: not JSON"),
        (("sounds", "x", "--extra", "[" * 100_000), "--extra: not JSON"),
        (
            ("create", "--batch", "good.jsonl", "--output", "good.jsonl", "--resume"),
            "--batch and --output must be different files",
        ),
        (
            ("create", "--batch", "good.jsonl", "--output", "o", "--journal", "./o"),
            "--output and --journal must be different files",
        ),
        (
            ("poll", "good.jsonl", "--output", "o", "--journal", "o"),
            "--output and --journal must be different files",
        ),
    ):
        code, _, errors = await run(sandbox, *words, cwd=tmp_path)
        assert (code, message in errors) == (2 if "none.mp3" not in words else 5, True), errors
    assert sandbox.statistics.requests == 0


async def test_namesakes(
    suno: SunoClient, sandbox: Sandbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Files with the same name are all kept. A failed download does not stop other downloads."""
    (track, _) = (await suno.task_info(song(sandbox)[0])).tracks
    url = track.suno_audio_url
    stems = {"lost": f"{sandbox.url}/media/none/x.mp3", "vocals": url, "choir": f"{url}?choir"}
    downloads = Downloads(suno, FileOptions(tmp_path))
    for task_id in ("one", "other"):
        info = TaskInfo(task_id=task_id, status=TaskStatus.SUCCESS, media_info=stems)
        await downloads.fetch(info)
    files = await asyncio.to_thread(lambda: {str(each) for each in tmp_path.rglob("*.mp3")})
    assert (len(files), downloads.missing) == (4, 2)
    assert files == set(downloads.paths)
    assert [line.split(":")[1] for line in capsys.readouterr().err.splitlines()] == [
        " task one",
        " task other",
    ]


async def test_sandbox_on_ipv6(tmp_path: Path) -> None:
    """A sandbox with an IPv6 address has a URL with brackets, and answers requests."""
    async with contextlib.AsyncExitStack() as stack:
        try:
            server = await stack.enter_async_context(Sandbox(host="::1"))
        except OSError as error:
            pytest.skip(f"this machine has no IPv6: {error}")
        assert server.url.startswith("http://[::1]:")
        assert (await run(server, "balance", cwd=tmp_path))[0] == 0
