"""How ``suno-async`` reacts to the signals that end a process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from suno_async.sandbox import KEY, Faults, Sandbox
from tests.cli.test_cli import environment, run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and a POSIX shell")

MAIN = "from suno_async.cli import main; main()"

#: A shell script has no job control, so the shell starts background jobs with SIGINT ignored.
BACKGROUND = '"$@" & echo $! >&2; wait $!; echo "exit code $?" >&2'

SIGNALS = pytest.mark.parametrize(("way", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])


async def start(
    *words: str, cwd: Path, sandbox: Sandbox | None = None
) -> asyncio.subprocess.Process:
    """Start a program, with pipes for its stdout and stderr."""
    return await asyncio.create_subprocess_exec(
        *words,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=cwd,
        env=environment(sandbox),
    )


async def line_of(stream: asyncio.StreamReader | None) -> bytes:
    """Wait for the next line of a stream, and return it."""
    assert stream is not None
    async with asyncio.timeout(30):
        return await stream.readline()


async def end_of(process: asyncio.subprocess.Process) -> tuple[str, str]:
    """Wait until a process ends, and return the unread rest of its stdout and stderr."""
    async with asyncio.timeout(30):
        out, errors = await process.communicate()
    return out.decode(), errors.decode()


@SIGNALS
async def test_sandbox_in_the_background(way: signal.Signals, code: int, tmp_path: Path) -> None:
    """After SIGINT or SIGTERM, a sandbox that runs in the background prints its statistics."""
    words = (sys.executable, "-c", MAIN, "sandbox", "--port", "0", "--json")
    shell = await start("sh", "-c", BACKGROUND, "sh", *words, cwd=tmp_path)
    pid = int(await line_of(shell.stderr))
    try:
        place = json.loads(await line_of(shell.stdout))
        assert place["key"] == KEY
        balance = ("balance", "--base-url", place["url"])
        assert await run(Sandbox(), *balance, cwd=tmp_path) == (0, "1000000\n", "")
        os.kill(pid, way)
        out, errors = await end_of(shell)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert json.loads(out)["requests"] == 1
    assert errors.splitlines() == ['{"error": "interrupted"}', f"exit code {code}"]


@SIGNALS
async def test_wait(sandbox: Sandbox, tmp_path: Path, way: signal.Signals, code: int) -> None:
    """After SIGINT or SIGTERM, `suno-async wait` prints only "interrupted" on stderr."""
    ids = sandbox.add_tasks(2, created_ago=60, durations=[1.0, 1e9])
    process = await start(sys.executable, "-c", MAIN, "wait", *ids, cwd=tmp_path, sandbox=sandbox)
    first = await line_of(process.stdout)
    process.send_signal(way)
    _, errors = await end_of(process)
    assert (process.returncode, errors) == (code, "interrupted\n")
    assert first.decode().split()[0] == ids[0]


@pytest.mark.parametrize("words", [("create", "x"), ("persona", "TASK", "SONG", "Ann")])
async def test_create_in_flight(words: tuple[str, ...], tmp_path: Path) -> None:
    """After a signal while a create request is in flight, the id is printed, even with `-q`."""
    slow = Faults(latency_out=(0.5, 0.5))
    async with Sandbox(failure_share=0.0, faults=slow) as sandbox:
        (task_id,) = sandbox.add_tasks(1, created_ago=1000)
        ids = {"TASK": task_id, "SONG": sandbox.tasks[task_id].songs[0]}
        given = [ids.get(word, word) for word in words]
        process = await start(
            sys.executable, "-c", MAIN, *given, "-q", cwd=tmp_path, sandbox=sandbox
        )
        async with asyncio.timeout(30):
            while not sandbox.statistics.requests:  # noqa: ASYNC110 (another process has no Event)
                await asyncio.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        out, errors = await end_of(process)
        assert (process.returncode, errors) == (143, "interrupted\n")
        if words[0] == "create":
            assert out.strip() in sandbox.tasks.keys() - {task_id}
        else:
            assert out.strip()


@SIGNALS
async def test_demo(tmp_path: Path, way: signal.Signals, code: int) -> None:
    """After SIGINT or SIGTERM, the demo prints "interrupted" as its last line on stderr.

    The demo does not replace the results of `poll`.
    """
    (tmp_path / "results.jsonl").write_text("a result")
    words = ("demo", "--songs", "200", "--directory", ".")
    process = await start(sys.executable, "-c", MAIN, *words, cwd=tmp_path)
    async with asyncio.timeout(30):
        # The other process cannot set an Event of this process.
        while not (tmp_path / "demo-results.jsonl").exists():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    process.send_signal(way)
    _, errors = await end_of(process)
    assert process.returncode == code
    assert errors.splitlines()[-1] == "interrupted"
    assert "Traceback" not in errors
    assert (tmp_path / "results.jsonl").read_text() == "a result"


async def test_second_signal(tmp_path: Path) -> None:
    """A second signal ends a command that ignores the first signal."""
    stubborn = (
        "import asyncio\n"
        "from suno_async.cli.running import run\n"
        "async def work():\n"
        "    while True:\n"
        "        try:\n"
        "            print('working', flush=True)\n"
        "            await asyncio.Event().wait()\n"
        "        except asyncio.CancelledError:\n"
        "            if asyncio.current_task().cancelling() > 1:\n"
        "                raise\n"
        "import typer\n"
        "typer.run(lambda: run(work()))\n"
    )
    process = await start(sys.executable, "-c", stubborn, cwd=tmp_path)
    for _ in range(2):
        assert await line_of(process.stdout) == b"working\n"
        process.send_signal(signal.SIGTERM)
    _, errors = await end_of(process)
    assert (process.returncode, errors) == (143, "interrupted\n")


async def test_ctrl_break(tmp_path: Path) -> None:
    """Ctrl-Break ends a command as Ctrl-C does."""
    # SIGBREAK exists only on Windows, so SIGUSR1 replaces it.
    script = (
        "import asyncio, signal\n"
        "signal.SIGBREAK = signal.SIGUSR1\n"
        "from suno_async.cli.running import run\n"
        "async def work():\n"
        "    try:\n"
        "        print('working', flush=True)\n"
        "        await asyncio.Event().wait()\n"
        "    finally:\n"
        "        print('saved', flush=True)\n"
        "import typer\n"
        "typer.run(lambda: run(work()))\n"
    )
    process = await start(sys.executable, "-c", script, cwd=tmp_path)
    assert await line_of(process.stdout) == b"working\n"
    process.send_signal(signal.SIGUSR1)
    out, errors = await end_of(process)
    assert (process.returncode, out, errors) == (128 + signal.SIGUSR1, "saved\n", "interrupted\n")


async def test_ctrl_c_at_the_start(tmp_path: Path) -> None:
    """Ctrl-C during the imports ends the program without a traceback."""
    script = (
        "import sys, types\n"
        "class Loading(types.ModuleType):\n"
        "    def __getattr__(self, name):\n"
        "        raise KeyboardInterrupt\n"
        "sys.modules['suno_async.cli.app'] = Loading('suno_async.cli.app')\n"
        "from suno_async.cli import main\n"
        "main()\n"
    )
    process = await start(sys.executable, "-c", script, cwd=tmp_path)
    assert (await end_of(process), process.returncode) == (("", ""), 130)
