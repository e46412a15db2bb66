"""The command line, run as a user runs it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from suno_async.sandbox import Sandbox


async def start(sandbox: Sandbox | None, *words: str, cwd: Path) -> asyncio.subprocess.Process:
    """Start ``suno-async`` with the sandbox's key in its environment."""
    mine = {} if sandbox is None else {"SUNO_API_KEY": sandbox.key, "SUNO_BASE_URL": sandbox.url}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", "from suno_async.cli import main; main()", *words),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=cwd,
        env={name: value for name, value in os.environ.items() if "_API_KEY" not in name} | mine,
    )


async def run(
    sandbox: Sandbox | None, *words: str, cwd: Path, stdin: str = ""
) -> tuple[int, str, str]:
    """Run ``suno-async`` to its end: exit code, output, errors."""
    process = await start(sandbox, *words, cwd=cwd)
    out, errors = await process.communicate(stdin.encode())
    return process.returncode or 0, out.decode(), errors.decode()


async def test_balance_and_status(sandbox: Sandbox, tmp_path: Path) -> None:
    """Balance and status print JSON on demand."""
    code, out, _ = await run(sandbox, "balance", "--json", cwd=tmp_path)
    assert (code, json.loads(out)) == (0, {"balance": 1_000_000})
    (task_id,) = sandbox.add_tasks(1, created_ago=60)
    code, out, _ = await run(sandbox, "status", task_id, "--json", cwd=tmp_path)
    assert json.loads(out)["data"]["task_id"] == task_id


async def test_no_key(tmp_path: Path) -> None:
    """Without a key the command says what to set, and exits with 2."""
    code, _, errors = await run(None, "balance", cwd=tmp_path)
    assert code == 2
    assert "SUNO_API_KEY" in errors


async def test_poll_and_resume(sandbox: Sandbox, tmp_path: Path) -> None:
    """Polling writes a line for each id, refuses to overwrite, and resumes where it stopped."""
    ids = sandbox.add_tasks(6, created_ago=60)
    code, _, errors = await run(
        sandbox, "poll", "-", "--output", "r.jsonl", cwd=tmp_path, stdin="\n".join(ids[:4])
    )
    rows = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert code in {0, 1}, errors
    assert sorted(row["task_id"] for row in rows) == sorted(ids[:4])
    (tmp_path / "ids.txt").write_text("\n".join(ids))
    code, _, errors = await run(sandbox, "poll", "ids.txt", "--output", "r.jsonl", cwd=tmp_path)
    assert (code, "--resume" in errors) == (2, True)
    asked = len(sandbox.tasks[ids[0]].polls)
    await run(sandbox, "poll", "ids.txt", "--output", "r.jsonl", "--resume", cwd=tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert sorted(row["task_id"] for row in rows) == sorted(ids)
    assert len(sandbox.tasks[ids[0]].polls) == asked


async def test_bad_ids_cost_nothing(sandbox: Sandbox, tmp_path: Path) -> None:
    """A bad id is told by its line, before any request."""
    code, _, errors = await run(sandbox, "poll", "-", cwd=tmp_path, stdin="ok\n" + "x" * 200)
    assert code == 2
    assert "line 2" in errors
    assert sandbox.statistics.requests == 0


async def test_interrupted(sandbox: Sandbox, tmp_path: Path) -> None:
    """Ctrl-C keeps what is known, and says how to go on."""
    ids = sandbox.add_tasks(2, created_ago=60, durations=[1.0, 100_000.0])
    (tmp_path / "ids.txt").write_text("\n".join(ids))
    process = await start(sandbox, "poll", "ids.txt", cwd=tmp_path)
    results = tmp_path / "results.jsonl"
    # Another process has no Event to set.
    while not (sandbox.tasks[ids[1]].polls and results.read_text()):  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = await process.communicate()
    assert process.returncode == 130
    assert "--resume" in errors.decode()
    assert "Traceback" not in errors.decode()
    assert json.loads((tmp_path / "results.jsonl").read_text())["task_id"] == ids[0]
