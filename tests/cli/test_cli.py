"""The command line, run as a user runs it."""

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
from suno_async.cli._ids import decided_ids, read_ids
from suno_async.cli._tell import how_to_go_on
from suno_async.sandbox import Sandbox
from tests.conftest import SCALE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

#: Requests per second that a sandbox allows here: each command has a budget of its own.
GENEROUS = 10_000

UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"

#: Where tests run in the background, Ctrl-C may be ignored, which a child would inherit.
MAIN = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from suno_async.cli import main; main()"
)

COMMANDS = [
    *("demo", "sandbox", "create", "status", "wait", "poll", "balance"),
    *("extend", "cover", "video", "separate", "sounds"),
    *("persona", "upload", "estimate", "models"),
]


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """A sandbox that commands may use one right after the other."""
    async with Sandbox(seed=1, time_scale=SCALE, rate_limit=GENEROUS) as server:
        yield server


async def start(sandbox: Sandbox | None, *words: str, cwd: Path) -> asyncio.subprocess.Process:
    """Start ``suno-async`` with the sandbox's key in its environment."""
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
    """This process's, with the sandbox's key or none."""
    mine = {} if sandbox is None else {"SUNO_API_KEY": sandbox.key, "SUNO_BASE_URL": sandbox.url}
    rest = {name: value for name, value in os.environ.items() if "_API_KEY" not in name}
    return {**rest, "COLUMNS": "80", **mine}


async def run(
    sandbox: Sandbox | None, *words: str, cwd: Path, stdin: str = ""
) -> tuple[int, str, str]:
    """Run ``suno-async`` to its end: exit code, output, errors.

    It runs in a thread of this process: starting Python takes longer than most commands do.
    """
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
    """Return all text that was written to a stream in memory."""
    stream.seek(0)
    return stream.read()


async def test_balance_and_status(sandbox: Sandbox, tmp_path: Path) -> None:
    """Balance and status print JSON on demand."""
    process = await start(sandbox, "balance", "--json", cwd=tmp_path)
    printed, _ = await process.communicate()
    assert (process.returncode, json.loads(printed)) == (0, {"balance": 1_000_000})
    (task_id,) = sandbox.add_tasks(1, created_ago=60)
    _, out, _ = await run(sandbox, "status", task_id, "--json", cwd=tmp_path)
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


@pytest.mark.parametrize(("way", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_interrupted(
    sandbox: Sandbox, tmp_path: Path, way: signal.Signals, code: int
) -> None:
    """Ctrl-C and SIGTERM keep the results, and print the command that goes on."""
    ids = sandbox.add_tasks(2, created_ago=60, durations=[1.0, 100_000.0])
    (tmp_path / "my ids.txt").write_text("\n".join(ids))
    options = ("--timeout", "500", "--base-url", sandbox.url, "--json")
    process = await start(sandbox, "poll", "my ids.txt", *options, cwd=tmp_path)
    results = tmp_path / "results.jsonl"
    async with asyncio.timeout(60):
        # Another process has no Event to set.
        while not (sandbox.tasks[ids[1]].polls and results.read_text()):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    process.send_signal(way)
    out, errors = await process.communicate()
    assert process.returncode == code
    assert shlex.split(errors.decode().splitlines()[-1]) == [
        *("suno-async", "poll", "--output", "results.jsonl", "--resume"),
        *("--timeout", "500.0", "--base-url", sandbox.url, "--json", "my ids.txt"),
    ]
    assert "Traceback" not in errors.decode()
    assert json.loads((tmp_path / "results.jsonl").read_text())["task_id"] == ids[0]
    summary = json.loads(out)
    assert (summary["tasks"], summary["success"], summary["exit_code"]) == (2, 1, code)


@pytest.mark.parametrize(("file", "output"), [("-", "r.jsonl"), ("ids.txt", "-")])
def test_streams_cannot_be_resumed(file: str, output: str) -> None:
    """After Ctrl-C no command is given that would read stdin or stdout again."""
    assert "suno-async" not in how_to_go_on(
        file, output, timeout=None, base_url=None, as_json=False
    )


def test_csv_cells_with_line_breaks() -> None:
    """A line break within a quoted CSV cell does not begin a record; problems keep their line."""
    text = 'lyrics,task_id\n"one, ""two""\nthree\n# four",a\n\n# "no\n"x",b\n'
    assert read_ids(text.splitlines(keepends=True)) == ["a", "b"]
    with pytest.raises(InvalidInputError, match=r"^line 4: no column 2$"):
        read_ids(["title,task_id\n", '"x\n', 'y",a\n', "b\n"])
    with pytest.raises(InvalidInputError, match=r"^line 2: "):
        read_ids(["a\n", '"never closed\n', "b\n"])


def test_results_of_an_earlier_run() -> None:
    """Only final states count as decided."""
    lines = [f'{{"task_id": "{n}", "status": "{n}"}}' for n in ("success", "failed", "undecided")]
    assert decided_ids(lines) == {"success": "success", "failed": "failed"}


@pytest.mark.parametrize("extra", ["typer", "rich"])
async def test_missing_extra(extra: str) -> None:
    """Without the extra, one line says what to install, and the exit code is 2."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c"),
        f"import sys; sys.modules[{extra!r}] = None; from suno_async.cli import main; main()",
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate()
    assert process.returncode == 2
    assert errors.decode() == "suno-async needs its extra: pip install 'suno-async[cli]'\n"


async def test_resumed_failure_counts(tmp_path: Path) -> None:
    """A resumed poll with nothing left to ask still exits with 1 for an earlier failure."""
    async with Sandbox(failure_share=1.0, rate_limit=GENEROUS) as sandbox:
        (task_id,) = sandbox.add_tasks(1, created_ago=60, durations=[1.0])
        words = ("poll", "-", "--output", "r.jsonl", "--resume", "--json")
        for skipped in (0, 1):
            code, out, _ = await run(sandbox, *words, cwd=tmp_path, stdin=task_id)
            assert (code, json.loads(out)["skipped"]) == (1, skipped)
        assert len(sandbox.tasks[task_id].polls) == 1


async def test_poll_to_stdout(sandbox: Sandbox, tmp_path: Path) -> None:
    """With results on stdout the JSON summary is the last line of stderr."""
    ids = sandbox.add_tasks(2, created_ago=60)
    _, out, errors = await run(
        sandbox, "poll", "-", "--output", "-", "--json", cwd=tmp_path, stdin="\n".join(ids)
    )
    assert sorted(json.loads(line)["task_id"] for line in out.splitlines()) == sorted(ids)
    summary = json.loads(errors.splitlines()[-1])
    assert (summary["tasks"], summary["undecided"], summary["requests"]) == (2, 0, 2)


async def test_status_goes_on(sandbox: Sandbox, tmp_path: Path) -> None:
    """An unknown id among several is told, the rest are asked, and the exit code is not 0."""
    first, last = sandbox.add_tasks(2, created_ago=60)
    code, out, errors = await run(sandbox, "status", first, UNKNOWN_ID, last, cwd=tmp_path)
    assert code == 5
    assert [line.split()[0] for line in out.splitlines() if line[0] != " "] == [first, last]
    assert UNKNOWN_ID in errors
    code, out, _ = await run(sandbox, "status", UNKNOWN_ID, last, "--json", cwd=tmp_path)
    refused, answered = (json.loads(line) for line in out.splitlines())
    assert (code, refused["task_id"], answered["data"]["task_id"]) == (5, UNKNOWN_ID, last)


async def test_create_has_every_option(sandbox: Sandbox, tmp_path: Path) -> None:
    """Each field of `GenerateMusic` is an option of `create`, and arrives as it was given."""
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


async def test_nothing_is_paid_in_vain(sandbox: Sandbox, tmp_path: Path) -> None:
    """Paths that cannot be written, and extras that are none, end a command before any request."""
    (tmp_path / "file").write_text("an-id")
    commands = [
        ("create", "x", "--download", "file/below"),
        ("create", "x", "--extra", "[1]"),
        ("poll", "file", "--output", "no/such/r.jsonl"),
        ("poll", "file", "--output", ".", "--resume"),
        ("demo", "--directory", "file"),
    ]
    for words in commands:
        code, _, errors = await run(sandbox, *words, cwd=tmp_path)
        assert (code, len(errors.splitlines())) == (2, 1), errors
    assert sandbox.statistics.requests == 0


async def test_sandbox_command(tmp_path: Path) -> None:
    """It listens where it is told, tells where and what it counted as JSON; a busy port is told."""
    process = await start(
        None, "sandbox", "--host", "127.0.0.2", "--port", "0", "--json", cwd=tmp_path
    )
    assert process.stdout is not None
    place = json.loads(await process.stdout.readline())
    assert place["url"].startswith("http://127.0.0.2:")
    port = place["url"].rpartition(":")[2]
    code, _, errors = await run(
        None, "sandbox", "--host", "127.0.0.2", "--port", port, cwd=tmp_path
    )
    assert code == 2
    assert errors == f"cannot listen on 127.0.0.2, port {port}: Address already in use\n"
    words = ("balance", "--base-url", place["url"])
    served = Sandbox()
    served.url = place["url"]
    assert (await run(served, *words, cwd=tmp_path))[0] == 0
    process.send_signal(signal.SIGINT)
    out, _ = await process.communicate()
    assert (process.returncode, json.loads(out)["requests"]) == (130, 1)


@pytest.mark.parametrize("command", COMMANDS)
async def test_help_tells_exit_codes(command: str, tmp_path: Path) -> None:
    """Each command's help tells its exit codes."""
    code, out, _ = await run(None, command, "--help", cwd=tmp_path)
    assert code == 0
    told = re.sub(r"\s+", " ", out).partition("Exit codes: ")[2]
    assert re.match(r"0 .*; 2 bad input or configuration; .*130 Ctrl-C; 143 SIGTERM\.", told)


async def test_live_display(sandbox: Sandbox, tmp_path: Path) -> None:
    """On a terminal of 80 columns the counts fit, and go on while no outcome comes."""
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
        # Two readings of the clock are a display that goes on, however slow the machine is.
        while len(set(re.findall(rb"0/1 (0:\d\d:\d\d)", drawn))) < 2:
            drawn += await asyncio.to_thread(os.read, mine, 65536)
    process.send_signal(signal.SIGINT)
    assert await asyncio.to_thread(process.wait) == 130
    os.close(mine)
    # What was read may end in the middle of a character.
    shown = drawn.decode(errors="ignore")
    frames = re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown))
    assert "0 success, 0 failed, 0 undecided; " in shown
    assert max(len(line) for line in frames) <= 80
