"""How ``suno-async`` starts: its two names, its version, completion, and how much it prints."""

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

#: The installed command, and the module.
PROGRAMS = pytest.mark.parametrize("name", ["suno-async", "python -m suno_async"])

INSTALL = 'pip install "suno_async[cli]"'


async def launch(
    name: str, *words: str, without: str = "", variables: dict[str, str] | None = None
) -> tuple[int, str, str]:
    """Start Python as one of `PROGRAMS` does; return the exit code, stdout and stderr.

    Args:
        name: One of `PROGRAMS`.
        words: The arguments.
        without: A package that seems not to be installed.
        variables: More environment variables.
    """
    start = "import runpy, sys; "
    if without:
        start += f"sys.modules[{without!r}] = None; "
    if name == "suno-async":
        start += "sys.argv[0] = 'bin/suno-async'; from suno_async.cli import main; main()"
    else:
        start += "runpy.run_module('suno_async', run_name='__main__', alter_sys=True)"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", start, *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(None) | (variables or {}),
    )
    out, errors = await process.communicate()
    return process.returncode or 0, out.decode(), errors.decode()


@PROGRAMS
async def test_version(name: str) -> None:
    """`--version` prints the version, with and without the extra."""
    for without in ("", "typer"):
        code, out, errors = await launch(name, "--version", without=without)
        assert (code, out, errors) == (0, f"suno-async {__version__}\n", "")


@PROGRAMS
async def test_help(name: str) -> None:
    """The help shows how the program was called."""
    code, out, _ = await launch(name, "poll", "--help")
    assert (code, f"Usage: {name} poll" in out) == (0, True)
    code, _, errors = await launch(name, "poll", "--no-such")
    assert (code, f"(see {name} poll --help)" in errors) == (2, True)


@PROGRAMS
@pytest.mark.parametrize("without", ["typer", "rich", "filelock"])
async def test_missing_extra(name: str, without: str) -> None:
    """Without the extra, the help and the error of any command say what to install."""
    code, out, errors = await launch(name, "--help", without=without)
    assert (code, INSTALL in out, errors) == (0, True, "")
    code, out, errors = await launch(name, "poll", "ids.txt", without=without)
    assert (code, out, errors) == (2, "", f"error: suno-async needs more packages: {INSTALL}\n")
    code, out, errors = await launch(name, "balance", "--json", without=without)
    assert (code, out, INSTALL in json.loads(errors)["error"]) == (2, "", True)


@pytest.mark.skipif(sys.platform == "win32", reason="Bash")
@PROGRAMS
async def test_completion(name: str) -> None:
    """`--show-completion` prints a script, and its request for the words after "po" finds poll."""
    code, out, _ = await launch(name, "--show-completion", "bash")
    assert (code, "complete -o default" in out) == (0, True)
    assert "_SUNO_ASYNC_COMPLETE=complete_bash" in out
    asked = {"_SUNO_ASYNC_COMPLETE": "complete_bash", "COMP_WORDS": "suno-async po"}
    _, out, _ = await launch("suno-async", variables=asked | {"COMP_CWORD": "1"})
    assert out.split() == ["poll"]


async def test_verbosity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`-v` logs retries and `-vv` every request, before and after the command; never the key."""
    monkeypatch.setattr("suno_async.cli.clients.RETRY_FOR", 3.0)
    async with Sandbox(rate_limit=GENEROUS) as sandbox:
        for words, levels in (
            (("balance",), set[str]()),
            (("balance", "-v"), {"info"}),
            (("-v", "balance", "--verbose"), {"info", "debug"}),
            (("balance", "-vv", "-q"), set[str]()),
        ):
            sandbox.refuse(500)
            code, out, errors = await run(sandbox, *words, cwd=tmp_path)
            assert (code, out) == (0, "1e+06\n"), errors
            assert {line.partition(":")[0] for line in errors.splitlines()} == levels
            assert KEY not in errors
        sandbox.refuse(500)
        _, _, errors = await run(sandbox, "balance", "-vv", "--json", cwd=tmp_path)
        logged = [json.loads(line) for line in errors.splitlines()]
        assert {each["log"] for each in logged} == {"info", "debug"}


async def test_the_log_hides_the_key(tmp_path: Path) -> None:
    """A record with the key, from whatever part of the library, is printed without it."""
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
    """With `-q` a command that shows its progress prints nothing but results and errors."""
    async with Sandbox(time_scale=400, failure_share=0.0, rate_limit=GENEROUS) as sandbox:
        (tmp_path / "ids.txt").write_text("\n".join(sandbox.add_tasks(3, created_ago=1000)))
        for words, silent in ((("poll", "ids.txt"), False), (("-q", "poll", "ids.txt"), True)):
            given = (*words, "--output", f"{silent}.jsonl")
            code, out, errors = await run(sandbox, *given, cwd=tmp_path)
            assert (code, out, errors == "") == (0, "", silent)
