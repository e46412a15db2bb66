"""Journals on the command line: the option `--journal`, and the commands `runs …`.

A *submission* is one create request in the journal, with its state.
"""

from __future__ import annotations

import asyncio
import contextlib
import csv
import json
import signal
import sqlite3
from typing import TYPE_CHECKING

import pytest

from suno_async import (
    GenerateMusic,
    SqliteJournal,
    SubmissionRecord,
    SubmissionState,
    SunoClient,
)
from suno_async._journal_records import digest_of
from suno_async.sandbox import Sandbox
from tests.cli.test_cli import GENEROUS, run, start

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

JOURNAL = ("--journal", "j.db")


@pytest.fixture
async def sandbox(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sandbox]:
    """Yield a sandbox in which every job succeeds at once, with a generous rate limit."""
    monkeypatch.setenv("SUNO_TIME_SCALE", "100")
    async with Sandbox(seed=1, time_scale=1e4, failure_share=0.0, rate_limit=GENEROUS) as server:
        yield server


def write_inputs(directory: Path, count: int) -> None:
    """Write `count` inputs to the file ``in.jsonl``."""
    lines = [json.dumps({"prompt": f"song {n}", "instrumental": True}) for n in range(count)]
    (directory / "in.jsonl").write_text("\n".join(lines))


def batch(*more: str, output: str = "o.jsonl") -> tuple[str, ...]:
    """Return the arguments of `create --batch` with a journal, followed by `more`."""
    return ("create", "--batch", "in.jsonl", "--output", output, *JOURNAL, "-q", *more)


async def account_of(directory: Path) -> str:
    """Return the label of the only account in a journal."""
    _, out, _ = await run(None, "runs", "list", *JOURNAL, "--json", cwd=directory)
    return str(json.loads(out.splitlines()[0])["account"])


async def make_unknown(directory: Path, account: str, index: int = 0) -> str:
    """Add a submission with an unknown outcome to the run "r"; return the id of the submission."""
    journal = SqliteJournal(directory / "j.db")
    await journal.open(account)
    try:
        job = GenerateMusic(f"song {index}", instrumental=True)
        record = SubmissionRecord(
            id=f"s{index}",
            account=account,
            kind=job.KIND,
            digest=digest_of(job.KIND, job.payload()),
            job=json.dumps({"prompt": f"song {index}", "instrumental": True}).encode(),
            run="r",
            position=index,
            key=str(index),
        )
        await journal.claim(record)
        await journal.advance(record.id, SubmissionState.SENDING)
        await journal.advance(record.id, SubmissionState.UNKNOWN, error="the reply was lost")
    finally:
        await journal.close()
    return record.id


async def test_list_show_and_export(sandbox: Sandbox, tmp_path: Path) -> None:
    """`runs list`, `runs show` and `runs export` work without an API key."""
    write_inputs(tmp_path, 3)
    code, _, errors = await run(sandbox, *batch(), cwd=tmp_path)
    assert (code, errors) == (0, "")
    assert (await run(sandbox, *batch("--run", "two", output="p.jsonl"), cwd=tmp_path))[0] == 0
    _, out, _ = await run(None, "runs", "list", *JOURNAL, "--json", cwd=tmp_path)
    listed = [json.loads(line) for line in out.splitlines()]
    assert [(each["run"], each["succeeded"]) for each in listed] == [("two", 3), ("o.jsonl", 3)]
    code, out, _ = await run(None, "runs", "list", *JOURNAL, cwd=tmp_path)
    assert (code, "o.jsonl" in out) == (0, True)
    code, out, _ = await run(None, "runs", "show", "two", *JOURNAL, "--json", cwd=tmp_path)
    shown = [json.loads(line) for line in out.splitlines()]
    assert [(each["position"], each["status"]) for each in shown] == [
        (n, "success") for n in range(3)
    ]
    _, out, _ = await run(None, "runs", "show", "two", *JOURNAL, cwd=tmp_path)
    assert [line.split() for line in out.splitlines()] == [
        ["input", str(n), "success", each["submission_id"], each["task_id"]]
        for n, each in enumerate(shown, 1)
    ]
    words = ("runs", "export", "tracks.csv", "--rows", "tracks", "--run", "two", *JOURNAL)
    code, out, _ = await run(None, *words, cwd=tmp_path)
    assert (code, out) == (0, "6 rows in tracks.csv\n")
    with (tmp_path / "tracks.csv").open(newline="") as file:
        exported = list(csv.DictReader(file))
    assert {each["task_id"] for each in exported} == {each["task_id"] for each in shown}
    code, _, errors = await run(None, *words, cwd=tmp_path)
    assert (code, errors.startswith("error: ")) == (2, True)
    code, out, _ = await run(
        None, "runs", "export", "all", "--format", "jsonl", *JOURNAL, "--json", cwd=tmp_path
    )
    assert (code, json.loads(out)) == (0, {"file": "all", "rows": 6})


async def test_mistakes(sandbox: Sandbox, tmp_path: Path) -> None:
    """A wrong journal, run, submission or argument gives exit code 2 and a helpful message."""
    (tmp_path / "text").write_text('{"index": 0}\n' * 100)
    for words, message in (
        (("list",), "there is no journal outcomes.jsonl.journal: give --journal"),
        (("show", "x", "--journal", "none"), "there is no journal none"),
        (("resume", "--journal", "none"), "there is no journal none"),
        (("list", "--journal", "text"), "text"),
        (("settle", "x", *JOURNAL), "either the id of the task or --not-created"),
        (("settle", "x", "t", "--not-created", *JOURNAL), "either the id of the task"),
    ):
        code, out, errors = await run(sandbox, "runs", *words, cwd=tmp_path)
        assert (code, out, errors.count("\n"), message in errors) == (2, "", 1, True), errors
    assert sorted(each.name for each in await asyncio.to_thread(lambda: [*tmp_path.iterdir()])) == [
        "text"
    ]
    write_inputs(tmp_path, 1)
    assert (await run(sandbox, *batch(), cwd=tmp_path))[0] == 0
    for typo in ("show none", "resume none", "export x.csv --run none"):
        code, _, errors = await run(sandbox, "runs", *typo.split(), *JOURNAL, cwd=tmp_path)
        assert (code, "has no run 'none'" in errors) == (2, True)
    assert not (tmp_path / "x.csv").exists()
    code, _, errors = await run(
        None, "runs", "settle", "none", "--not-created", *JOURNAL, cwd=tmp_path
    )
    assert (code, "no submission 'none'" in errors) == (2, True)


async def test_existing_runs(sandbox: Sandbox, tmp_path: Path) -> None:
    """`create --batch` continues a run only with `--resume` and the journal of the run."""
    write_inputs(tmp_path, 2)
    assert (await run(sandbox, *batch(), cwd=tmp_path))[0] == 0
    code, _, errors = await run(sandbox, *batch("--run", "o.jsonl", output="p.jsonl"), cwd=tmp_path)
    assert code == 2
    assert errors == (
        "error: run o.jsonl exists already in j.db: add --resume to continue it, "
        "or choose another --run\n"
    )
    words = ("create", "--batch", "in.jsonl", "--output", "o.jsonl", "--resume", "-q")
    code, _, errors = await run(sandbox, *words, cwd=tmp_path)
    assert (code, "o.jsonl has results, but o.jsonl.journal has no run" in errors) == (2, True)
    assert sandbox.statistics.created == 2
    code, _, errors = await run(sandbox, *words, *JOURNAL, cwd=tmp_path)
    assert (code, errors) == (0, "")
    # A new results file gets every row again, without a request.
    asked = sandbox.statistics.requests
    more = ("--run", "o.jsonl", "--resume")
    assert (await run(sandbox, *batch(*more, output="p.jsonl"), cwd=tmp_path))[0] == 0
    assert len((tmp_path / "p.jsonl").read_text().splitlines()) == 2
    assert sandbox.statistics.requests == asked


async def test_unknown_creates(sandbox: Sandbox, tmp_path: Path) -> None:
    """A resumed run repeats requests with unknown outcomes only if `--resend-unknown` is given."""
    write_inputs(tmp_path, 1)
    assert (await run(sandbox, *batch(), cwd=tmp_path))[0] == 0
    account = await account_of(tmp_path)
    write_inputs(tmp_path, 4)
    ids = [await make_unknown(tmp_path, account, index) for index in range(3)]
    (task_id,) = sandbox.add_tasks(1, created_ago=1e6)
    more = ("--run", "r", "--resume", "--json")
    words = batch(*more, output="r.jsonl")
    for rows in (4, 4):
        code, out, errors = await run(sandbox, *words, cwd=tmp_path)
        assert (code, json.loads(out)["unknown"], errors.count("\n")) == (6, 3, 3)
        lines = [json.loads(line) for line in errors.splitlines()]
        assert [each["index"] for each in lines] == [0, 1, 2]
        assert f"suno-async runs settle {ids[0]} --journal j.db TASK_ID" in lines[0]["error"]
        assert len((tmp_path / "r.jsonl").read_text().splitlines()) == rows
    assert sandbox.statistics.created == 2
    settle = ("runs", "settle", *JOURNAL)
    code, out, _ = await run(None, *settle, ids[0], task_id, "--json", cwd=tmp_path)
    assert (code, json.loads(out)["task_id"]) == (0, task_id)
    assert (await run(None, *settle, ids[1], "--not-created", cwd=tmp_path))[0] == 0
    code, _, errors = await run(None, *settle, ids[1], "--not-created", cwd=tmp_path)
    assert (code, "nothing to settle" in errors) == (2, True)
    code, out, _ = await run(sandbox, *words, cwd=tmp_path)
    assert (code, json.loads(out)["unknown"], sandbox.statistics.created) == (6, 1, 3)
    code, out, errors = await run(sandbox, *words, "--resend-unknown", cwd=tmp_path)
    assert (code, sandbox.statistics.created) == (0, 4), errors
    rows_written = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    ended = {row["index"]: row["task_id"] for row in rows_written if row["status"] == "success"}
    assert (sorted(ended), ended[0]) == ([0, 1, 2, 3], task_id)


async def test_resume(sandbox: Sandbox, tmp_path: Path) -> None:
    """`runs resume` waits for the tasks of an interrupted run, and downloads their files."""
    write_inputs(tmp_path, 3)
    process = await start(sandbox, *batch(), cwd=tmp_path)
    async with asyncio.timeout(60):
        while sandbox.statistics.created < 3:  # noqa: ASYNC110 (another process has no Event)
            await asyncio.sleep(0.001)
    process.send_signal(signal.SIGINT)
    await process.communicate()
    words = ("runs", "resume", "o.jsonl", *JOURNAL, "--download", "songs", "--name", "{task_id}/a")
    code, out, errors = await run(sandbox, *words, "--covers", "--json", cwd=tmp_path)
    assert code == 0, errors
    _, listed, _ = await run(None, "runs", "list", *JOURNAL, "--json", cwd=tmp_path)
    summary = json.loads(listed)
    assert (summary["open"], summary["succeeded"]) == (0, 3)
    saved = await asyncio.to_thread(lambda: list((tmp_path / "songs").glob("*/a-*")))
    assert len(saved) == 4 * len(out.splitlines())


async def test_resume_reports_unknown_creates(sandbox: Sandbox, tmp_path: Path) -> None:
    """`runs resume` reports create requests with an unknown outcome, and exits with code 6."""
    write_inputs(tmp_path, 1)
    assert (await run(sandbox, *batch(), cwd=tmp_path))[0] == 0
    submission_id = await make_unknown(tmp_path, await account_of(tmp_path))
    code, out, errors = await run(sandbox, "runs", "resume", *JOURNAL, cwd=tmp_path)
    assert (code, out, "may or may not have been created" in errors) == (6, "", True)
    settle = f"suno-async runs settle {submission_id} --journal j.db"
    assert f"Then run: {settle} TASK_ID, or {settle} --not-created" in errors
    _, out, _ = await run(sandbox, "runs", "resume", *JOURNAL, "--json", cwd=tmp_path)
    assert json.loads(out)["submission_id"] == submission_id


async def test_names_with_brackets(sandbox: Sandbox, tmp_path: Path) -> None:
    """`runs list` prints the name of a run as it is, although rich reads markup in brackets."""
    write_inputs(tmp_path, 1)
    for name in ("a[/b]", "c[red]"):
        words = batch("--run", name, output=f"{len(name)}.jsonl")
        assert (await run(sandbox, *words, cwd=tmp_path))[0] == 0
    code, out, _ = await run(None, "runs", "list", *JOURNAL, cwd=tmp_path)
    assert (code, "a[/b]" in out, "c[red]" in out) == (0, True, True)


async def test_input_of_a_newer_version(sandbox: Sandbox, tmp_path: Path) -> None:
    """If a stored input cannot be decoded, `create --batch --resume` prints an error."""
    write_inputs(tmp_path, 1)
    assert (await run(sandbox, *batch(), cwd=tmp_path))[0] == 0
    with contextlib.closing(sqlite3.connect(tmp_path / "j.db")) as connection:
        connection.execute("UPDATE submissions SET job = ?", (b'{"mode": "remix"}',))
        connection.commit()
    code, _, errors = await run(sandbox, *batch("--resume"), cwd=tmp_path)
    assert (code, errors.startswith("error: this version of suno_async cannot")) == (2, True)


async def test_rebind(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After `runs rebind`, a run continues with a new API key, and sends no input again."""
    write_inputs(tmp_path, 2)
    assert (await run(sandbox, *batch(), cwd=tmp_path))[0] == 0
    old = await account_of(tmp_path)
    monkeypatch.setattr(sandbox, "key", "ak_another_key")
    code, _, errors = await run(sandbox, *batch("--resume"), cwd=tmp_path)
    assert (code, f"runs rebind {old} key-" in errors) == (2, True)
    code, out, errors = await run(sandbox, "runs", "rebind", old, *JOURNAL, "--json", cwd=tmp_path)
    assert (code, json.loads(out)["rows"]) == (0, 4), errors
    assert await account_of(tmp_path) == json.loads(out)["account"] != old
    code, _, errors = await run(sandbox, *batch("--resume"), cwd=tmp_path)
    assert (code, errors) == (0, "")
    code, out, _ = await run(
        None, "runs", "rebind", json.loads(out)["account"], "label", *JOURNAL, cwd=tmp_path
    )
    assert code == 0
    labelled = batch("--resume", "--account", "label")
    assert (await run(sandbox, *labelled, cwd=tmp_path))[0] == 0
    assert sandbox.statistics.created == 2


async def test_rebind_with_another_host(sandbox: Sandbox, tmp_path: Path) -> None:
    """`runs rebind --base-url` computes the new label from the key and this host."""
    await make_unknown(tmp_path, "old")
    host = ("--base-url", "https://another.example")
    words = ("runs", "rebind", "old", *JOURNAL, *host, "--json")
    code, out, errors = await run(sandbox, *words, cwd=tmp_path)
    assert code == 0, errors
    assert json.loads(out)["account"] == SunoClient(sandbox.key, base_url=host[1]).account


@pytest.mark.parametrize("more", [(), ("--resume",)])
async def test_a_run_of_another_label(
    sandbox: Sandbox, tmp_path: Path, more: tuple[str, ...]
) -> None:
    """A batch sends nothing if its run may have tasks under another account label."""
    write_inputs(tmp_path, 2)
    await make_unknown(tmp_path, "old label")
    words = batch("--run", "r", *more)
    code, _, errors = await run(sandbox, *words, cwd=tmp_path)
    assert (code, sandbox.statistics.requests) == (2, 0)
    assert "run r exists in j.db under the account label old label" in errors
    label = SunoClient(sandbox.key, base_url=sandbox.url).account
    assert f"suno-async runs rebind 'old label' {label} --journal j.db" in errors
    assert (await run(None, "runs", "rebind", "old label", label, *JOURNAL, cwd=tmp_path))[0] == 0
    code, _, errors = await run(sandbox, *batch("--run", "r", "--resume"), cwd=tmp_path)
    assert (code, sandbox.statistics.created) == (6, 1), errors


async def test_a_refused_run_of_another_label(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the key of a run was refused, the run continues with the right key without `rebind`."""
    write_inputs(tmp_path, 1)
    with monkeypatch.context() as patch:
        patch.setattr(sandbox, "key", "ak_wrong_key")
        assert (await run(sandbox, *batch(), cwd=tmp_path))[0] == 3
    code, _, errors = await run(sandbox, *batch("--resume"), cwd=tmp_path)
    assert (code, sandbox.statistics.created) == (0, 1), errors


async def test_two_processes_on_one_run(tmp_path: Path) -> None:
    """Two processes cannot use the same run at the same time, even with different output files.

    The second process changes nothing in the journal, even with `--resend-unknown`.
    """
    write_inputs(tmp_path, 3)
    async with Sandbox(endless_share=1.0, rate_limit=GENEROUS) as endless:
        process = await start(endless, *batch("--run", "r"), cwd=tmp_path)
        async with asyncio.timeout(60):
            while endless.statistics.created < 3:  # noqa: ASYNC110 (as above)
                await asyncio.sleep(0.01)
        words = batch("--run", "r", "--resume", output="other.jsonl")
        code, _, errors = await run(endless, *words, cwd=tmp_path)
        assert (code, endless.statistics.created) == (2, 3)
        assert f"run 'r' is in use by process {process.pid} on " in errors
        write_inputs(tmp_path, 4)
        await make_unknown(tmp_path, await account_of(tmp_path), 3)
        code, _, errors = await run(endless, *words, "--resend-unknown", cwd=tmp_path)
        assert (code, "run 'r' is in use" in errors) == (2, True)
        _, out, _ = await run(None, "runs", "show", "r", *JOURNAL, "--json", cwd=tmp_path)
        assert json.loads(out.splitlines()[-1])["status"] == "unknown"
        process.send_signal(signal.SIGKILL)
        await process.communicate()


async def test_poll_wait_and_download(sandbox: Sandbox, tmp_path: Path) -> None:
    """If the journal contains the results, `poll`, `wait` and `download` send no request."""
    ids = sandbox.add_tasks(3, created_ago=1e6)
    (tmp_path / "ids.txt").write_text("\n".join(ids))
    words = ("poll", "ids.txt", "-q", *JOURNAL)
    assert (await run(sandbox, *words, "--output", "a", cwd=tmp_path))[0] == 0
    asked = sandbox.statistics.requests
    assert (await run(sandbox, *words, "--output", "b", cwd=tmp_path))[0] == 0
    first, second = ((tmp_path / name).read_text().splitlines() for name in ("a", "b"))
    assert sorted(first) == sorted(second)
    code, out, _ = await run(sandbox, "wait", ids[0], *JOURNAL, cwd=tmp_path)
    assert (code, out.split()[:2]) == (0, [ids[0], "success"])
    code, out, errors = await run(sandbox, "download", *ids, "-q", *JOURNAL, cwd=tmp_path)
    assert (code, len(out.splitlines())) == (0, 6), errors
    assert sandbox.statistics.requests == asked
