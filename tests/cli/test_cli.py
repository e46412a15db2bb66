"""The command line as a user sees it: polling, output, errors and exit codes."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import shlex
import signal
import struct
import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec
import pytest

from suno_async import GenerateMusic, InvalidInputError
from suno_async.cli import main
from suno_async.cli.poll_command import how_to_resume
from suno_async.cli.task_ids import final_statuses, read_ids
from suno_async.sandbox import KEY, Sandbox
from tests.conftest import SCALE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

#: Rate limit of the sandboxes in requests per second. It is high because each command has its own
#: request budget.
GENEROUS = 10_000

UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"

#: Tests that run in the background may ignore SIGINT, and child processes inherit this. So the
#: program first restores the default handler.
MAIN = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from suno_async.cli import main; main()"
)

COMMANDS = [
    *("demo", "sandbox", "create", "status", "wait", "poll", "balance"),
    *("extend", "cover", "video", "separate", "sounds"),
    *("persona", "upload", "estimate", "models", "download"),
]

RUNS_COMMANDS = [
    f"runs {each}" for each in ("list", "show", "resume", "settle", "export", "rebind")
]


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """Yield a sandbox with a very high rate limit."""
    async with Sandbox(seed=1, time_scale=SCALE, rate_limit=GENEROUS) as server:
        yield server


async def start(sandbox: Sandbox | None, *words: str, cwd: Path) -> asyncio.subprocess.Process:
    """Start ``suno-async`` in a new process, with the environment that `environment` returns."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", MAIN, *words),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=cwd,
        env=environment(sandbox),
    )


def environment(sandbox: Sandbox | None) -> dict[str, str]:
    """Return the environment of this process, with the URL and the API key of `sandbox`.

    If `sandbox` is None, the environment contains no API key.
    """
    mine = {} if sandbox is None else {"SUNO_API_KEY": sandbox.key, "SUNO_BASE_URL": sandbox.url}
    rest = {name: value for name, value in os.environ.items() if "_API_KEY" not in name}
    return {**rest, "COLUMNS": "80", **mine}


async def run(
    sandbox: Sandbox | None, *words: str, cwd: Path, stdin: str = ""
) -> tuple[int, str, str]:
    """Run ``suno-async`` to its end, and return its exit code, stdout and stderr."""
    # This runs in the same process, because starting Python takes longer than most commands.
    return await asyncio.to_thread(_run_here, environment(sandbox), words, cwd, stdin)


def _run_here(
    variables: dict[str, str], words: tuple[str, ...], cwd: Path, stdin: str
) -> tuple[int, str, str]:
    streams = [io.TextIOWrapper(io.BytesIO(text), "utf-8") for text in (stdin.encode(), b"", b"")]
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ.keys() - variables.keys():
            patch.delenv(name)
        for name, value in variables.items():
            patch.setenv(name, value)
        patch.chdir(cwd)
        patch.setattr(sys, "argv", ["suno-async", *words])
        for name, stream in zip(("stdin", "stdout", "stderr"), streams, strict=True):
            patch.setattr(sys, name, stream)
        with pytest.raises(SystemExit) as end:
            main()
    out, errors = (read_back(stream) for stream in streams[1:])
    return int(end.value.code or 0), out, errors


def read_back(stream: io.TextIOWrapper) -> str:
    """Return all text that was written to an in-memory stream."""
    stream.seek(0)
    return stream.read()


async def test_balance_and_status(sandbox: Sandbox, tmp_path: Path) -> None:
    """`balance --json` prints the balance as JSON; `status --json` prints the server's reply."""
    code, out, _ = await run(sandbox, "balance", "--json", cwd=tmp_path)
    assert (code, json.loads(out)) == (0, {"balance": 1_000_000})
    sandbox.credits = 1_234_567.5
    assert (await run(sandbox, "balance", cwd=tmp_path))[1] == "1234567.5\n"
    (task_id,) = sandbox.add_tasks(1, created_ago=60)
    _, out, _ = await run(sandbox, "status", task_id, "--json", cwd=tmp_path)
    assert json.loads(out)["data"]["task_id"] == task_id


async def test_poll_and_resume(sandbox: Sandbox, tmp_path: Path) -> None:
    """`poll` overwrites no results. With --resume, it polls only the ids without a result."""
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
    """If an id is invalid, `poll` prints the number of its line and sends no request."""
    code, _, errors = await run(sandbox, "poll", "-", cwd=tmp_path, stdin="ok\n" + "x" * 200)
    assert code == 2
    assert errors.startswith("error: stdin: line 2: ")
    assert sandbox.statistics.requests == 0


@pytest.mark.parametrize(("way", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_interrupted(
    sandbox: Sandbox, tmp_path: Path, way: signal.Signals, code: int
) -> None:
    """After Ctrl-C or SIGTERM, the results so far are saved, and `poll` prints how to resume."""
    ids = sandbox.add_tasks(2, created_ago=60, durations=[1.0, 100_000.0])
    (tmp_path / "my ids.txt").write_text("\n".join(ids))
    options = ("--timeout", "500", "--base-url", sandbox.url, "--json")
    process = await start(sandbox, "poll", "my ids.txt", *options, cwd=tmp_path)
    results = tmp_path / "results.jsonl"
    async with asyncio.timeout(60):
        # The other process cannot set an Event of this process.
        while not (sandbox.tasks[ids[1]].polls and results.read_text()):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    process.send_signal(way)
    out, errors = await process.communicate()
    assert process.returncode == code
    last = json.loads(errors.decode().splitlines()[-1])
    assert last["error"] == "interrupted"
    assert shlex.split(last["resume"]) == [
        *("suno-async", "poll", "--output", "results.jsonl", "--resume"),
        *("--timeout", "500.0", "--base-url", sandbox.url, "--json", "my ids.txt"),
    ]
    assert "Traceback" not in errors.decode()
    assert json.loads((tmp_path / "results.jsonl").read_text())["task_id"] == ids[0]
    summary = json.loads(out)
    assert (summary["tasks"], summary["success"], summary["exit_code"]) == (2, 1, code)


@pytest.mark.parametrize(("file", "output"), [("-", "r.jsonl"), ("ids.txt", "-")])
def test_streams_cannot_be_resumed(file: str, output: str) -> None:
    """`how_to_resume` returns no command for a run that used stdin or stdout."""
    hint, words = how_to_resume(file, output, timeout=None, base_url=None, as_json=False)
    assert ("std" in hint, words) == (True, None)


def test_csv_cells_with_line_breaks() -> None:
    """A line break in a quoted CSV cell does not start a new record."""
    text = 'lyrics,task_id\n"one, ""two""\nthree\n# four",a\n\n# "no\n"x",b\n'
    assert read_ids(text.splitlines(keepends=True)) == ["a", "b"]
    with pytest.raises(InvalidInputError, match=r"^line 4: no column 2$"):
        read_ids(["title,task_id\n", '"x\n', 'y",a\n', "b\n"])
    with pytest.raises(InvalidInputError, match=r"^line 2: "):
        read_ids(["a\n", '"never closed\n', "b\n"])


@pytest.mark.parametrize(
    ("last", "kept"),
    [
        ('{"task_id": "a", "status": "suc', ""),
        ("{", ""),
        ('{"index": 3, ', ""),
        ('{"task_id": "a", "status": "success"}', '{"task_id": "a", "status": "success"}\n'),
        ("a note", "a note\n"),
        ('{"mine": ', '{"mine": \n'),
        ("", ""),
    ],
)
async def test_rows_that_were_cut_off(
    sandbox: Sandbox, tmp_path: Path, last: str, kept: str
) -> None:
    """`poll --resume` deletes the last line of the results only if it is an incomplete row."""
    row = '{"task_id": "before", "status": "success"}\n'
    (tmp_path / "r.jsonl").write_text(row + last)
    (tmp_path / "ids.txt").write_text("before\na")
    sandbox.refuse(500, count=None)
    words = ("poll", "ids.txt", "--output", "r.jsonl", "--resume", "--timeout", "0.1", "-q")
    await run(sandbox, *words, cwd=tmp_path)
    text = (tmp_path / "r.jsonl").read_text()
    assert text.startswith(row + kept)
    rest = text.removeprefix(row + kept)
    assert all(json.loads(line)["task_id"] == "a" for line in rest.splitlines())


def test_results_of_an_earlier_run() -> None:
    """`final_statuses` returns only the tasks with the status success or failed."""
    lines = [f'{{"task_id": "{n}", "status": "{n}"}}' for n in ("success", "failed", "undecided")]
    assert final_statuses(lines) == {"success": "success", "failed": "failed"}


async def test_resumed_failure_counts(tmp_path: Path) -> None:
    """`poll --resume` exits with 1 if a task failed in an earlier run."""
    async with Sandbox(failure_share=1.0, rate_limit=GENEROUS) as sandbox:
        (task_id,) = sandbox.add_tasks(1, created_ago=60, durations=[1.0])
        words = ("poll", "-", "--output", "r.jsonl", "--resume", "--json")
        for skipped in (0, 1):
            code, out, _ = await run(sandbox, *words, cwd=tmp_path, stdin=task_id)
            assert (code, json.loads(out)["skipped"]) == (1, skipped)
        assert len(sandbox.tasks[task_id].polls) == 1


async def test_poll_to_stdout(sandbox: Sandbox, tmp_path: Path) -> None:
    """If `poll` writes results to stdout, the JSON summary is the last line of stderr."""
    ids = sandbox.add_tasks(2, created_ago=60)
    _, out, errors = await run(
        sandbox, "poll", "-", "--output", "-", "--json", cwd=tmp_path, stdin="\n".join(ids)
    )
    assert sorted(json.loads(line)["task_id"] for line in out.splitlines()) == sorted(ids)
    summary = json.loads(errors.splitlines()[-1])
    assert (summary["tasks"], summary["undecided"], summary["requests"]) == (2, 0, 2)


async def test_status_of_an_unknown_id(sandbox: Sandbox, tmp_path: Path) -> None:
    """`status` reports an unknown id on stderr, and still prints the status of the other ids."""
    first, last = sandbox.add_tasks(2, created_ago=60)
    code, out, errors = await run(sandbox, "status", first, UNKNOWN_ID, last, cwd=tmp_path)
    assert code == 5
    assert [line.split()[0] for line in out.splitlines() if line[0] != " "] == [first, last]
    assert errors.startswith(f"error: task {UNKNOWN_ID}: code 404: ")
    code, out, errors = await run(sandbox, "status", UNKNOWN_ID, last, "--json", cwd=tmp_path)
    assert (code, json.loads(out)["data"]["task_id"]) == (5, last)
    assert json.loads(errors).keys() == {"error", "task_id"}
    assert json.loads(errors)["task_id"] == UNKNOWN_ID


async def test_create_has_every_option(sandbox: Sandbox, tmp_path: Path) -> None:
    """`create` has an option for each field of `GenerateMusic`, and sends each value unchanged."""
    given = {
        "prompt": "a song",
        "mode": "custom",
        "model": "v5.5",
        "instrumental": True,
        "title": "T",
        "tags": "jazz",
        "lyrics": "la",
        "vocal_gender": "f",
        "style_weight": 0.25,
        "weirdness_constraint": 0.75,
        "negative_tags": "metal",
        "persona_id": "p",
    }
    fields = set(msgspec.structs.asdict(GenerateMusic()))
    assert fields == {*given, "extra"}
    words = [
        word
        for name, value in given.items()
        if name not in {"prompt", "instrumental"}
        for word in (f"--{name.replace('_', '-')}", str(value))
    ]
    words += ["--instrumental", "--extra", '{"newer": [1]}', "a song"]
    code, out, errors = await run(sandbox, "create", *words, cwd=tmp_path)
    assert code == 0, errors
    assert sandbox.tasks[out.strip()].body["input"] == given | {"newer": [1]}


async def test_bad_paths_cost_nothing(sandbox: Sandbox, tmp_path: Path) -> None:
    """A command with an unusable path or an invalid --extra prints one error and sends nothing."""
    (tmp_path / "file").write_text("an-id")
    commands = [
        ("create", "x", "--download", "file/below"),
        ("create", "x", "--extra", "[1]"),
        ("poll", "file", "--output", "no/such/r.jsonl"),
        ("poll", "file", "--output", ".", "--resume"),
        ("poll", "file", "--output", "x" * 300),
        ("runs", "resume", "--journal", "x" * 300),
        ("demo", "--directory", "file"),
    ]
    for words in commands:
        code, _, errors = await run(sandbox, *words, cwd=tmp_path)
        assert (code, len(errors.splitlines())) == (2, 1), errors
        assert errors.startswith("error: ")
    assert sandbox.statistics.requests == 0


async def test_sandbox_command(tmp_path: Path) -> None:
    """`sandbox --json` prints its URL first and its statistics last."""
    process = await start(
        None, "sandbox", "--host", "127.0.0.2", "--port", "0", "--json", cwd=tmp_path
    )
    assert process.stdout is not None
    place = json.loads(await process.stdout.readline())
    assert place["url"].startswith("http://127.0.0.2:")
    assert (place["key"], place["time_scale"]) == (KEY, 1.0)
    words = ("balance", "--base-url", place["url"])
    served = Sandbox()
    served.url = place["url"]
    assert (await run(served, *words, cwd=tmp_path))[0] == 0
    process.send_signal(signal.SIGINT)
    out, _ = await process.communicate()
    assert (process.returncode, json.loads(out)["requests"]) == (130, 1)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
async def test_sandbox_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`sandbox` prints environment variables that give other commands its URL and time scale."""
    options = ("--port", "0", "--time-scale", "400", "--failure-share", "0")
    process = await start(None, "sandbox", *options, cwd=tmp_path)
    assert process.stdout is not None
    export, *variables = shlex.split((await process.stdout.readline()).decode())
    assert export == "export"
    values = dict(each.split("=", 1) for each in variables)
    assert values["SUNO_TIME_SCALE"] == "400"
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    server = Sandbox()
    server.url = values["SUNO_BASE_URL"]
    # At real speed the first check of a new task comes after 15 s.
    async with asyncio.timeout(14):
        code, out, errors = await run(server, "create", "a song", "--wait", cwd=tmp_path)
    assert (code, errors) == (0, "")
    assert "success" in out
    process.send_signal(signal.SIGTERM)
    _, printed = await process.communicate()
    assert (process.returncode, b"1 tasks created" in printed) == (143, True)


async def test_sandbox_tasks(tmp_path: Path) -> None:
    """`sandbox --tasks N --ids FILE` starts with N tasks. `poll FILE` finds all of these tasks."""
    options = ("--port", "0", "--json", "--time-scale", "1e6", "--tasks", "6", "--ids", "ids.txt")
    process = await start(None, "sandbox", *options, cwd=tmp_path)
    assert process.stdout is not None
    server = Sandbox()
    server.url = json.loads(await process.stdout.readline())["url"]
    assert len(set((tmp_path / "ids.txt").read_text().split())) == 6
    code, out, errors = await run(server, "poll", "ids.txt", "--json", cwd=tmp_path)
    process.send_signal(signal.SIGINT)
    counted = json.loads((await process.communicate())[0])
    assert code in {0, 1}, errors
    assert json.loads(out)["undecided"] == 0
    assert (counted["created"], counted["requests"]) == (0, 6)
    for words in (("--tasks", "3"), ("--ids", "ids.txt")):
        code, _, errors = await run(None, "sandbox", *words, cwd=tmp_path)
        assert (code, "--tasks and --ids together" in errors) == (2, True)


async def test_sandbox_time_scale(tmp_path: Path) -> None:
    """`sandbox --time-scale 0` prints an error and exits with 2."""
    code, _, errors = await run(None, "sandbox", "--time-scale", "0", cwd=tmp_path)
    assert (code, errors) == (2, "error: --time-scale: must be above 0, not 0\n")


@pytest.mark.parametrize("command", [*COMMANDS, *RUNS_COMMANDS])
async def test_help_lists_exit_codes(command: str, tmp_path: Path) -> None:
    """The help of each command lists its exit codes."""
    code, out, _ = await run(None, *command.split(), "--help", cwd=tmp_path)
    assert code == 0
    listed = re.sub(r"\s+", " ", out).partition("Exit codes: ")[2]
    assert re.match(
        r"0 .*; 2 bad input, file or configuration, .*130 Ctrl-C; 143 SIGTERM\.", listed
    )


async def test_live_display(sandbox: Sandbox, tmp_path: Path) -> None:
    """The live display fits into 80 columns, and is updated even while no task ends."""
    (task_id,) = sandbox.add_tasks(1, durations=[1e9])
    (tmp_path / "ids.txt").write_text(task_id)
    fcntl, pty = pytest.importorskip("fcntl"), pytest.importorskip("pty")
    termios = pytest.importorskip("termios")
    mine, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    variables = environment(sandbox) | {"TERM": "xterm"}
    del variables["COLUMNS"]
    process = subprocess.Popen(  # noqa: ASYNC220, S603 (our own program; asyncio's has no terminal)
        (sys.executable, "-c", MAIN, "poll", "ids.txt"),
        cwd=tmp_path,
        env=variables,
        stderr=theirs,
    )
    os.close(theirs)
    drawn = b""
    async with asyncio.timeout(60):
        # Two different times mean that the display is updated, however slow the machine is.
        while len(set(re.findall(rb"0/1 (0:\d\d:\d\d)", drawn))) < 2:
            drawn += await asyncio.to_thread(os.read, mine, 65536)
    process.send_signal(signal.SIGINT)
    assert await asyncio.to_thread(process.wait) == 130
    os.close(mine)
    # The last read may end in the middle of a character.
    shown = drawn.decode(errors="ignore")
    frames = re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown))
    assert "0 created, 0 pending, 1 running, 0 done, 0 failed, 0 unknown" in shown
    assert max(len(line) for line in frames) <= 80
