"""How ``suno-async`` starts, as a command and as a module. Also its completion and verbosity."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import TYPE_CHECKING

import pytest

from suno_async import __version__
from suno_async.sandbox import KEY, Sandbox
from tests.cli.test_cli import GENEROUS, environment, run

if TYPE_CHECKING:
    from pathlib import Path

#: Two ways to start the program: the installed command, and the module.
PROGRAMS = pytest.mark.parametrize("name", ["suno-async", "python -m suno_async"])

INSTALL = 'pip install "suno_async[cli]"'


#: Starts the program several times in one process, in one of the ways of `PROGRAMS`. One process is
#: faster, because most of the time is needed to import the dependencies. The modules of the command
#: line are imported again for each start.
SCRIPT = """\
import contextlib, io, json, runpy, sys

name, *calls = json.loads(sys.argv[1])
results = []
for without, *words in calls:
    for module in [each for each in sys.modules if each.startswith("suno_async.cli")]:
        del sys.modules[module]
    missing = {each: None for each in [without] if each}
    present = {each: sys.modules.pop(each) for each in missing if each in sys.modules}
    sys.modules.update(missing)
    out, errors, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        try:
            if name == "suno-async":
                sys.argv = ["bin/suno-async", *words]
                from suno_async.cli import main
                main()
            else:
                sys.argv = ["-m", *words]
                runpy.run_module("suno_async", run_name="__main__", alter_sys=True)
        except SystemExit as end:
            code = end.code or 0
    for each in missing:
        del sys.modules[each]
    sys.modules.update(present)
    results.append((code, out.getvalue(), errors.getvalue()))
print(json.dumps(results))
"""


async def launch(name: str, *calls: tuple[str, ...]) -> list[tuple[int, str, str]]:
    """Run a program once for each of `calls`. Return the exit code, stdout and stderr of each run.

    Args:
        name: One of `PROGRAMS`.
        calls: One tuple for each run: a package to hide (or ""), then the program's arguments.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SCRIPT, json.dumps([name, *calls])),
        stdout=asyncio.subprocess.PIPE,
        env=environment(None),
    )
    out, _ = await process.communicate()
    return [(code, out, errors) for code, out, errors in json.loads(out)]


@PROGRAMS
async def test_version(name: str) -> None:
    """`--version` prints the version, even if a package of the extra `cli` is missing."""
    ends = await launch(name, ("", "--version"), ("typer", "--version"))
    assert ends == [(0, f"suno-async {__version__}\n", "")] * 2


@PROGRAMS
async def test_help(name: str) -> None:
    """The help and the usage errors show the command that started the program."""
    shown, mistake = await launch(name, ("", "poll", "--help"), ("", "poll", "--no-such"))
    assert (shown[0], f"Usage: {name} poll" in shown[1]) == (0, True)
    assert (mistake[0], f"(see {name} poll --help)" in mistake[2]) == (2, True)


@PROGRAMS
async def test_missing_extra(name: str) -> None:
    """If a package of the extra `cli` is missing, the help and all commands say what to install."""
    words = (("--help",), ("poll", "ids.txt"), ("balance", "--json"))
    packages = ("typer", "rich", "filelock")
    ends = await launch(name, *((package, *each) for package in packages for each in words))
    assert len(ends) == 9
    for code, out, errors in ends[::3]:
        assert (code, INSTALL in out, errors) == (0, True, "")
    for end in ends[1::3]:
        assert end == (2, "", f"error: suno-async needs more packages: {INSTALL}\n")
    for code, out, errors in ends[2::3]:
        assert (code, out, INSTALL in json.loads(errors)["error"]) == (2, "", True)


@pytest.mark.skipif(sys.platform == "win32", reason="Bash")
@PROGRAMS
async def test_completion(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--show-completion bash` prints a Bash script, and the program completes "po" to "poll"."""
    # Otherwise the result depends on the shell that started the tests. Typer has this variable for
    # tests.
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    ((code, out, _),) = await launch(name, ("", "--show-completion", "bash"))
    assert (code, "complete -o default" in out) == (0, True)
    assert "_SUNO_ASYNC_COMPLETE=complete_bash" in out
    asked = {"_SUNO_ASYNC_COMPLETE": "complete_bash", "COMP_WORDS": "suno-async po"}
    for variable, value in (asked | {"COMP_CWORD": "1"}).items():
        monkeypatch.setenv(variable, value)
    _, out, _ = await run(None, cwd=tmp_path)
    assert out.split() == ["poll"]


async def test_verbosity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`-v` logs retries, and `-vv` also logs all requests. Neither logs the key."""

    def no_delay(_attempt: int, _random: float) -> float:
        return 0.0

    monkeypatch.setattr("suno_async._transport.exchange.retry_delay", no_delay)
    async with Sandbox(rate_limit=GENEROUS) as sandbox:
        for words, levels in (
            (("balance",), set[str]()),
            (("balance", "-v"), {"info"}),
            (("-v", "balance", "--verbose"), {"info", "debug"}),
            (("balance", "-vv", "-q"), set[str]()),
        ):
            sandbox.refuse(500)
            code, out, errors = await run(sandbox, *words, cwd=tmp_path)
            assert (code, out) == (0, "1000000\n"), errors
            assert {line.partition(":")[0] for line in errors.splitlines()} == levels
            assert KEY not in errors
        sandbox.refuse(500)
        _, _, errors = await run(sandbox, "balance", "-vv", "--json", cwd=tmp_path)
        logged = [json.loads(line) for line in errors.splitlines()]
        assert {each["log"] for each in logged} == {"info", "debug"}


async def test_the_log_hides_the_key(tmp_path: Path) -> None:
    """A log record that contains the key is printed without the key."""
    script = (
        "import logging, sys; sys.argv = ['suno-async']; "
        "from suno_async.cli.verbosity import log_on_stderr\n"
        "with log_on_stderr():\n"
        f"    logging.getLogger('suno_async').error('%s \\x1b[31m', {KEY!r})"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script),
        stderr=asyncio.subprocess.PIPE,
        cwd=tmp_path,
        env=os.environ | {"SUNO_API_KEY": KEY},
    )
    assert (await process.communicate())[1] == b"error: [key]  [31m\n"


async def test_quiet(tmp_path: Path) -> None:
    """With `-q`, `poll` prints no progress on stderr."""
    async with Sandbox(time_scale=400, failure_share=0.0, rate_limit=GENEROUS) as sandbox:
        (tmp_path / "ids.txt").write_text("\n".join(sandbox.add_tasks(3, created_ago=1000)))
        for words, silent in ((("poll", "ids.txt"), False), (("-q", "poll", "ids.txt"), True)):
            given = (*words, "--output", f"{silent}.jsonl")
            code, out, errors = await run(sandbox, *given, cwd=tmp_path)
            assert (code, out, errors == "") == (0, "", silent)
