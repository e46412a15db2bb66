"""Tests that ``create --batch`` loses no task, and pays for no input twice."""

from __future__ import annotations

import asyncio
import json
import signal
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from suno_async import SqliteJournal
from suno_async.cli.task_ids import statuses_by_index
from suno_async.sandbox import Faults, Sandbox
from tests.cli.test_cli import GENEROUS, run, start

if TYPE_CHECKING:
    from pathlib import Path


#: Number of inputs of the interrupted batch. Some are not yet sent when the fifth task is created.
COUNT = 12


async def states_in(path: Path) -> dict[int, str]:
    """Return the state of each create request in a journal, by the index of its input."""
    journal = SqliteJournal(path)
    await journal.open(None)
    try:
        records = [each.submission async for each in journal.entries()]
    finally:
        await journal.close()
    return {record.position: record.state.value for record in records if record is not None}


def prompts_of(sandbox: Sandbox) -> Counter[str]:
    """Return how many tasks were created with each prompt."""
    return Counter(task.body["input"]["prompt"] for task in sandbox.tasks.values())


async def created(sandbox: Sandbox, count: int) -> None:
    """Wait until the sandbox has created `count` tasks."""
    async with asyncio.timeout(60):
        # The other process cannot set an Event of this process.
        while sandbox.statistics.created < count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("way", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
async def test_interrupted_batch(
    tmp_path: Path, way: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupted batch that continues with ``--resume`` creates no task twice.

    After SIGKILL, it can be unknown whether a request created a task. Such a request is not sent
    again.
    """
    monkeypatch.setenv("SUNO_TIME_SCALE", "100")
    prompts = [f"song {n}" for n in range(COUNT)]
    lines = [json.dumps({"prompt": each, "instrumental": True}) for each in prompts]
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    words = ("create", "--batch", "in.jsonl", "--output", "out.jsonl", "--json")
    async with Sandbox(
        time_scale=1e4,
        failure_share=0.0,
        rate_limit=GENEROUS,
        faults=Faults(latency_out=(0.2, 0.2)),
    ) as sandbox:
        process = await start(sandbox, *words, cwd=tmp_path)
        await created(sandbox, 5)
        process.send_signal(way)
        printed, errors_printed = await process.communicate()
        if way is not signal.SIGKILL:
            assert process.returncode == 128 + way
            assert b"--batch in.jsonl --output out.jsonl --resume" in errors_printed
            assert json.loads(printed)["exit_code"] == 128 + way
        before = prompts_of(sandbox)
        states = await states_in(tmp_path / "out.jsonl.journal")
        lost = [index for index, state in states.items() if state == "unknown"]
        # An input is marked as sending once its request has a permit. So all of these requests
        # reach the server, except at most one that was about to be sent.
        assert len({prompts[index] for index in lost} - before.keys()) <= 1
        if way is not signal.SIGKILL:
            assert not lost
            assert {index for index, state in states.items() if state == "created"} == {
                prompts.index(each) for each in before
            }
        process = await start(sandbox, *words, "--resume", cwd=tmp_path)
        await created(sandbox, COUNT - len({prompts[index] for index in lost} - before.keys()))
        process.send_signal(signal.SIGTERM)
        await process.communicate()
        code, out, errors = await run(sandbox, *words, "--resume", cwd=tmp_path)
        assert max(prompts_of(sandbox).values()) == 1
        summary = json.loads(out)
        assert summary["unknown"] == len(lost)
        assert code == (6 if lost else 0), errors
        rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
        ended = {row["index"]: row for row in rows if row["status"] == "success"}
        assert sorted(ended) == [n for n in range(COUNT) if n not in lost]
        for index, row in ended.items():
            assert sandbox.tasks[row["task_id"]].body["input"]["prompt"] == prompts[index]
        # Nothing is left to do, so a further run sends no request.
        asked = sandbox.statistics.requests
        written = (tmp_path / "out.jsonl").read_text()
        assert (await run(sandbox, *words, "--resume", cwd=tmp_path))[0] == code
        assert sandbox.statistics.requests == asked
        assert (tmp_path / "out.jsonl").read_text() == written
        if lost:
            total = len(sandbox.tasks) + len(lost)
            process = await start(sandbox, *words, "--resume", "--resend-unknown", cwd=tmp_path)
            await created(sandbox, total)
            process.send_signal(signal.SIGKILL)
            await process.wait()
        (tmp_path / "in.jsonl").write_text("\n".join(reversed(lines)))
        code, _, errors = await run(sandbox, *words, "--resume", cwd=tmp_path)
        assert (code, json.loads(errors)["index"]) == (2, 0)


async def test_refused_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The results contain a row for each refused input. ``--resume`` sends these inputs again."""
    monkeypatch.setenv("SUNO_TIME_SCALE", "100")
    (tmp_path / "in.csv").write_text("kind,prompt,instrumental\ngenerate,a,true\nsounds,b,\n")
    words = ("create", "--batch", "in.csv", "--output", "out.jsonl")
    async with Sandbox(
        time_scale=1e4, failure_share=0.0, credits=0, rate_limit=GENEROUS
    ) as sandbox:
        code, _, errors = await run(sandbox, *words, cwd=tmp_path)
        rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
        assert (code, sorted(row["index"] for row in rows)) == (4, [0, 1]), errors
        assert {row["status"] for row in rows} == {"not_created"}
        sandbox.credits = 1e6
        code, _, errors = await run(sandbox, *words, "--resume", cwd=tmp_path)
        assert (code, sandbox.statistics.created) == (0, 2), errors


async def test_batch_that_runs_out_of_credits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the credits run out, a batch still polls the created tasks, and can be resumed."""
    monkeypatch.setenv("SUNO_TIME_SCALE", "100")
    prompts = [f"song {n}" for n in range(16)]
    lines = [json.dumps({"prompt": each, "instrumental": True}) for each in prompts]
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    words = ("create", "--batch", "in.jsonl", "--output", "out.jsonl", "--json")
    async with Sandbox(time_scale=1e4, failure_share=0.0, credits=60) as sandbox:
        code, out, errors = await run(sandbox, *words, cwd=tmp_path)
        assert (code, json.loads(out)["success"]) == (4, 5)
        assert "inputs left: 11; to continue, run the command with --resume" in errors
        assert sandbox.statistics.paths["CreateTask"] <= 5 + 8
        sandbox.credits = 1e6
        code, out, errors = await run(sandbox, *words, "--resume", cwd=tmp_path)
        assert (code, json.loads(out)["success"]) == (0, 11), errors
        assert prompts_of(sandbox) == dict.fromkeys(prompts, 1)


def test_rows_of_an_earlier_run() -> None:
    """For each input, `statuses_by_index` returns the first final status.

    If an input has no final status, it returns the last one.
    """
    rows = [(0, "unknown"), (0, "success"), (0, "undecided"), (0, "failed"), (2, "failed")]
    rows += [(1, "unknown"), (1, "not_created")]
    lines = [json.dumps({"index": index, "status": status}) for index, status in rows]
    lines += ["{", "3", '{"index": "x", "status": "success"}', lines[0][:10]]
    assert statuses_by_index(lines) == {0: "success", 1: "not_created", 2: "failed"}
