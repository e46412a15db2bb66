"""Standard streams that are closed or full, and characters that they cannot show."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from suno_async import TaskInfo, TaskStatus, Track
from suno_async.cli.demo import print_figures
from suno_async.cli.output import print_info
from suno_async.sandbox import Sandbox
from tests.cli.test_cli import GENEROUS, environment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell")


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """Yield a sandbox in which every job succeeds at once."""
    async with Sandbox(time_scale=1e6, failure_share=0.0, rate_limit=GENEROUS) as server:
        yield server


async def shell(
    sandbox: Sandbox,
    words: str,
    *,
    cwd: Path,
    stdout: int = asyncio.subprocess.PIPE,
    **variables: str,
) -> tuple[int | None, str, str]:
    """Run ``suno-async`` in a shell. Return its exit code, stdout and stderr.

    Args:
        sandbox: The server.
        words: The words of the command, with redirections.
        cwd: The working directory.
        stdout: The file descriptor for stdout. The returned text is then empty.
        variables: Additional environment variables.
    """
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", f'"$0" -m suno_async {words}', sys.executable),
        stdout=stdout,
        stderr=asyncio.subprocess.PIPE,
        cwd=cwd,
        env=environment(sandbox) | variables,
    )
    out, errors = await process.communicate()
    return process.returncode, (out or b"").decode(), errors.decode()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
async def test_full_stdout(sandbox: Sandbox, tmp_path: Path) -> None:
    """If stdout cannot be written, the exit code is 5, and stderr has the id of a paid task."""
    full = "error: cannot read or write: No space left on device\n"
    assert await shell(sandbox, "balance > /dev/full", cwd=tmp_path) == (5, "", full)
    code, _, errors = await shell(sandbox, "create x > /dev/full", cwd=tmp_path)
    (task_id,) = sandbox.tasks
    lost = f"error: {task_id} was created, but its id cannot be written to stdout\n"
    assert (code, errors) == (5, lost + full)


async def test_reader_that_has_ended(sandbox: Sandbox, tmp_path: Path) -> None:
    """If nothing reads stdout, the exit code is 5, and stderr only has the id of a paid task."""
    readable, writable = os.pipe()
    os.close(readable)
    try:
        assert await shell(sandbox, "balance", cwd=tmp_path, stdout=writable) == (5, "", "")
        code, _, errors = await shell(sandbox, "create x", cwd=tmp_path, stdout=writable)
    finally:
        os.close(writable)
    (task_id,) = sandbox.tasks
    lost = f"error: {task_id} was created, but its id cannot be written to stdout\n"
    assert (code, errors) == (5, lost)


async def test_closed_streams(sandbox: Sandbox, tmp_path: Path) -> None:
    """With a closed stdin, there are no ids. With a closed stdout, the results are discarded."""
    (tmp_path / "ids.txt").write_text(sandbox.add_tasks(1, created_ago=60)[0])
    code, _, errors = await shell(sandbox, "poll - <&-", cwd=tmp_path)
    assert (code, errors) == (2, "error: stdin: contains no task ids: write one per line\n")
    code, _, errors = await shell(sandbox, "poll ids.txt -q --output - >&-", cwd=tmp_path)
    assert (code, errors) == (0, "")
    code, out, _ = await shell(sandbox, "poll ids.txt --output - 2>&-", cwd=tmp_path)
    assert (code, out.count("\n")) == (0, 1)


async def test_characters_outside_the_encoding(sandbox: Sandbox, tmp_path: Path) -> None:
    """A character that stdout cannot represent is escaped."""
    (task_id,) = sandbox.add_tasks(1, created_ago=60)
    sandbox.tasks[task_id].body["input"] = {"title": "日本"}
    code, out, errors = await shell(
        sandbox, f"status {task_id}", cwd=tmp_path, PYTHONIOENCODING="cp1252"
    )
    assert (code, errors, "\\u65e5\\u672c" in out) == (0, "", True), out


async def test_json_outside_the_encoding(sandbox: Sandbox, tmp_path: Path) -> None:
    """JSON on stdout can be read in any encoding of stdout."""
    code, out, _ = await shell(sandbox, "create '\u2669' --json", cwd=tmp_path)
    assert code == 0
    (task_id,) = sandbox.tasks
    code, out, _ = await shell(
        sandbox, f"status {task_id} --json", cwd=tmp_path, PYTHONIOENCODING="cp1252"
    )
    assert (code, json.loads(out)["data"]["param"]["input"]["prompt"]) == (0, "\u2669")


def test_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    """A control character in a text from the server is printed as a space."""
    track = Track(title="a\x1b]0;owned\x07\nfake line", suno_audio_url="https://x/a.mp3")
    print_info(TaskInfo(task_id="t", status=TaskStatus.SUCCESS, tracks=(track,)), as_json=False)
    assert capsys.readouterr().out == "t \n  a ]0;owned fake line  https://x/a.mp3\n"


def test_figures_with_brackets(capsys: pytest.CaptureFixture[str]) -> None:
    """The figures of the demo are printed as they are, although rich reads markup in brackets."""
    print_figures({"audio": "dd[/x]/audio"})
    assert "dd[/x]/audio" in capsys.readouterr().out
