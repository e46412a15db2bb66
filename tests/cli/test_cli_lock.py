"""Only one process at a time can use an output file."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import TYPE_CHECKING

import pytest
import typer
from filelock import FileLock

from suno_async.cli.output_lock import output_lock
from suno_async.sandbox import Sandbox
from tests.cli.test_cli import GENEROUS, run, start

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """Yield a sandbox with a high rate limit, in which no job ends."""
    async with Sandbox(endless_share=1.0, rate_limit=GENEROUS) as server:
        yield server


async def asked(sandbox: Sandbox) -> None:
    """Wait until the sandbox has received a request."""
    async with asyncio.timeout(60):
        # The other process cannot set an Event of this process.
        while not sandbox.statistics.requests:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
async def test_poll(sandbox: Sandbox, tmp_path: Path, end: signal.Signals) -> None:
    """Two `poll` processes cannot write the same file: the second fails and names the first.

    When the first process ends, even by SIGKILL, the file can be used again.
    """
    (tmp_path / "ids.txt").write_text(sandbox.add_tasks(1, durations=[1e9])[0])
    (tmp_path / "link.jsonl").symlink_to("results.jsonl")
    process = await start(sandbox, "poll", "ids.txt", cwd=tmp_path)
    await asked(sandbox)
    for output in ("results.jsonl", "./results.jsonl", "link.jsonl"):
        words = ("poll", "ids.txt", "--resume", "--output", output, "--timeout", "0.1")
        code, out, errors = await run(sandbox, *words, cwd=tmp_path)
        assert (code, out) == (2, "")
        assert errors == (
            f"error: process {process.pid} is writing {output}: "
            "wait for its end, or choose another --output\n"
        )
    assert sandbox.statistics.requests == 1
    other = ("poll", "ids.txt", "--output", "other.jsonl", "--timeout", "0.1")
    assert (await run(sandbox, *other, cwd=tmp_path))[0] == 5
    process.send_signal(end)
    await process.wait()
    again = ("poll", "ids.txt", "--resume", "--timeout", "0.1")
    assert (await run(sandbox, *again, cwd=tmp_path))[0] == 5
    assert not (tmp_path / "results.jsonl.lock.pid").exists()


async def test_batch(sandbox: Sandbox, tmp_path: Path) -> None:
    """If two processes resume the same batch, one gets an error, and no input gets two tasks."""
    prompts = [f"song {number}" for number in range(6)]
    lines = [json.dumps({"prompt": each, "instrumental": True}) for each in prompts]
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    words = ("create", "--batch", "in.jsonl", "--output", "out.jsonl", "--resume")
    processes = [await start(sandbox, *words, cwd=tmp_path) for _ in range(2)]
    ended = [asyncio.create_task(each.communicate()) for each in processes]
    async with asyncio.timeout(60):
        while sandbox.statistics.created < len(prompts):  # noqa: ASYNC110 (as above)
            await asyncio.sleep(0.01)
        (first,), _ = await asyncio.wait(ended, return_when=asyncio.FIRST_COMPLETED)
    loser = processes[ended.index(first)]
    winner = processes[1 - ended.index(first)]
    assert (loser.returncode, (await first)[1].decode().startswith("error: ")) == (2, True)
    assert f"process {winner.pid} is writing out.jsonl".encode() in (await first)[1]
    winner.send_signal(signal.SIGKILL)
    await winner.wait()
    created = [task.body["input"]["prompt"] for task in sandbox.tasks.values()]
    assert sorted(created) == sorted(prompts)


def test_process_that_has_just_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """If the owner of a lock has not yet written its process id, `output_lock` waits briefly."""
    pauses: list[float] = []

    def write_id_at_the_third(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            (tmp_path / "out.jsonl.lock.pid").write_text("4321\n")

    monkeypatch.setattr("suno_async.cli.output_lock.time.sleep", write_id_at_the_third)
    with FileLock(tmp_path / "out.jsonl.lock"):
        for _ in range(2):
            with pytest.raises(typer.Exit), output_lock(str(tmp_path / "out.jsonl")):
                pass
            assert "process 4321 is writing" in capsys.readouterr().err
        assert len(pauses) == 3
        (tmp_path / "out.jsonl.lock.pid").unlink()
        with pytest.raises(typer.Exit), output_lock(str(tmp_path / "out.jsonl")):
            pass
    assert "another process is writing" in capsys.readouterr().err


async def test_outputs_without_lock(sandbox: Sandbox, tmp_path: Path) -> None:
    """An output that is not a regular file, such as stdout, is not locked."""
    (tmp_path / "ids.txt").write_text(sandbox.add_tasks(1, created_ago=60)[0])
    for output in ("-", "/dev/null"):
        words = ("poll", "ids.txt", "--output", output, "--timeout", "0.1", "-q")
        code, _, errors = await run(sandbox, *words, cwd=tmp_path)
        assert (code, errors) == (5, ""), errors
    assert await asyncio.to_thread(lambda: [*tmp_path.iterdir()]) == [tmp_path / "ids.txt"]
