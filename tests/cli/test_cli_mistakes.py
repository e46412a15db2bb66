"""After a common mistake of the user, the command prints one line that says what to do."""

from __future__ import annotations

import errno
import json
import os
import socket
from typing import TYPE_CHECKING

import pytest

from suno_async.sandbox import Sandbox
from tests.cli.test_cli import GENEROUS, UNKNOWN_ID, run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """Yield a sandbox with a generous rate limit."""
    async with Sandbox(seed=1, time_scale=100, rate_limit=GENEROUS) as server:
        yield server


async def error_of(
    sandbox: Sandbox | None, *words: str, cwd: Path, code: int = 2, stdin: str = ""
) -> str:
    """Run a command that must print one error line and exit with `code`. Return the error.

    With ``--json``, the command must print the error as JSON.
    """
    ended, out, errors = await run(sandbox, *words, cwd=cwd, stdin=stdin)
    assert (ended, out, errors.count("\n")) == (code, "", 1), errors
    assert errors.startswith("error: ")
    # The same error as JSON.
    ended, _, as_json = await run(sandbox, *words, "--json", cwd=cwd, stdin=stdin)
    assert (ended, "error" in json.loads(as_json.splitlines()[0])) == (code, True)
    return errors.removeprefix("error: ").rstrip("\n")


@pytest.mark.parametrize(
    "words",
    [("balance",), ("create", "x"), ("poll", "ids.txt"), ("download", "x"), ("wait", "x")],
)
async def test_no_key(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Without a key, the error line names the environment variable to set."""
    (tmp_path / "ids.txt").write_text("an-id")
    line = await error_of(None, *words, cwd=tmp_path)
    assert line.startswith("no API key: set the environment variable SUNO_API_KEY")


async def test_wrong_key(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the server refuses the key, the error line names the environment variable to check."""
    monkeypatch.setattr(sandbox, "key", "ak_wrong")
    for words in (("balance",), ("status", "x"), ("create", "x", "--instrumental")):
        line = await error_of(sandbox, *words, cwd=tmp_path, code=3)
        assert line.endswith("; check SUNO_API_KEY or CRUN_API_KEY")
        assert "401" in line


@pytest.mark.parametrize(
    "words", [("poll", "FILE"), ("create", "--batch", "FILE"), ("estimate", "FILE")]
)
async def test_bad_files(sandbox: Sandbox, tmp_path: Path, words: tuple[str, ...]) -> None:
    """If an input file cannot be read, the error line says why, and no request is sent."""
    (tmp_path / "directory").mkdir()
    (tmp_path / "song.mp3").write_bytes(b"ID3\x03\x00\xff\xfb" * 100)
    (tmp_path / "zeros").write_bytes(bytes(1000))
    (tmp_path / "utf16").write_text("an-id", encoding="utf-16")
    for name, message in (
        ("directory", "directory is a directory: give a text, CSV or JSONL file"),
        ("song.mp3", "song.mp3: not a text file: save it as text, CSV or JSONL in UTF-8"),
        ("zeros", "zeros: not a text file: save it as text, CSV or JSONL in UTF-8"),
        ("utf16", "utf16: not a text file: save it as text, CSV or JSONL in UTF-8"),
        ("none", "cannot read none: No such file or directory"),
    ):
        given = [name if word == "FILE" else word for word in words]
        assert await error_of(sandbox, *given, cwd=tmp_path) == message
    assert sandbox.statistics.requests == 0


async def test_bad_upload(sandbox: Sandbox, tmp_path: Path) -> None:
    """An upload of a directory, a text file or an empty file fails before any request."""
    (tmp_path / "x.mp3").mkdir()
    (tmp_path / "x.txt").write_text("a song")
    (tmp_path / "y.mp3").touch()
    assert "not a regular file" in await error_of(sandbox, "upload", "x.mp3", cwd=tmp_path, code=5)
    assert "must be that of an audio file" in await error_of(
        sandbox, "upload", "x.txt", cwd=tmp_path
    )
    assert "the file is empty" in await error_of(sandbox, "upload", "y.mp3", cwd=tmp_path, code=5)
    assert sandbox.statistics.requests == 0


async def test_empty_files(sandbox: Sandbox, tmp_path: Path) -> None:
    """If a file contains no ids or no inputs, the error line says what to write into the file."""
    (tmp_path / "empty").write_text("\n# only a comment\n")
    for name in ("empty", "-"):
        line = await error_of(sandbox, "poll", name, cwd=tmp_path)
        assert line.endswith(": contains no task ids: write one per line")
    (tmp_path / "ids").touch()
    line = await error_of(sandbox, "poll", "ids", cwd=tmp_path)
    assert line == "ids: contains no task ids: write one per line"
    line = await error_of(sandbox, "create", "--batch", "empty", cwd=tmp_path)
    assert line == "empty: contains no inputs: write one JSON object per line"


async def test_many_problems(sandbox: Sandbox, tmp_path: Path) -> None:
    """For 1,000 wrong lines, the command prints ten errors and the number of further problems."""
    (tmp_path / "bad").write_text("no id\x01\n" * 1000)
    code, _, errors = await run(sandbox, "poll", "bad", cwd=tmp_path)
    assert (code, len(errors.splitlines())) == (2, 11)
    assert errors.endswith("error: bad: 990 more problems\n")


async def test_unknown_option(tmp_path: Path) -> None:
    """For an unknown option, the error line names a similar option and the --help command."""
    line = await error_of(None, "poll", "x", "--outptu", "y", cwd=tmp_path)
    assert "--output" in line
    assert line.endswith("(see suno-async poll --help)")


async def test_wrong_id(sandbox: Sandbox, tmp_path: Path) -> None:
    """For an id that the server does not know, the error line says what to check."""
    for command in ("status", "download"):
        line = await error_of(sandbox, command, UNKNOWN_ID, cwd=tmp_path, code=5)
        assert line.startswith(f"task {UNKNOWN_ID}: code 404: ")
        assert line.endswith("and that the key belongs to the same account)")
    for command in ("status", "download", "wait"):
        line = await error_of(sandbox, command, "x" * 200, cwd=tmp_path)
        assert line.startswith(f"task {'x' * 200}: ")


async def test_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the host cannot be reached, the error line says what to check."""
    monkeypatch.setattr("suno_async.cli.clients.RETRY_FOR", 0.0)
    nowhere = Sandbox()
    with socket.socket() as taken:
        # The port is bound, but nothing listens on it.
        taken.bind(("127.0.0.1", 0))
        nowhere.url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        for words in (("balance",), ("create", "x"), ("status", "x"), ("download", "x")):
            line = await error_of(nowhere, *words, cwd=tmp_path, code=5)
            assert line.startswith("could not connect to 127.0.0.1")
            assert line.endswith("; check the network, and --base-url or SUNO_BASE_URL")


async def test_port_in_use(tmp_path: Path) -> None:
    """If the port of the sandbox is in use, the error line names the option for another port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        line = await error_of(None, "sandbox", "--port", port, cwd=tmp_path)
    assert line == (
        f"cannot listen on 127.0.0.1, port {port}: {os.strerror(errno.EADDRINUSE)}; "
        "check --host, or choose another --port (0 takes any free one)"
    )


async def test_bad_host(tmp_path: Path) -> None:
    """If the sandbox cannot listen on a host, the error line names the option for another host."""
    line = await error_of(None, "sandbox", "--host", "x" * 70, cwd=tmp_path)
    assert line.startswith(f"cannot listen on {'x' * 70}, port 8815: ")
    assert "; check --host, or " in line


async def test_nested_json(sandbox: Sandbox, tmp_path: Path) -> None:
    """Deeply nested JSON in a file of ids is an error. In a results file, it is skipped."""
    nested = "[" * 100_000
    (tmp_path / "ids").write_text(nested)
    line = await error_of(sandbox, "poll", "ids", cwd=tmp_path)
    assert line.startswith("ids: line 1: ")
    (tmp_path / "results.jsonl").write_text(f'{{"task_id": "t", "status": "failed"}}\n{nested}')
    code, out, _ = await run(sandbox, "poll", "-", "--resume", "--json", cwd=tmp_path, stdin="t")
    assert (code, json.loads(out)["skipped"]) == (1, 1)


async def test_output_exists(sandbox: Sandbox, tmp_path: Path) -> None:
    """An existing output file is not overwritten, and the error line says how to continue."""
    (tmp_path / "in").write_text('{"prompt": "x"}\n')
    (tmp_path / "ids").write_text("an-id\n")
    (tmp_path / "directory").mkdir()
    line = await error_of(sandbox, "poll", "ids", "--output", "directory", cwd=tmp_path)
    assert line == "directory is a directory: give the name of a file"
    row = '{"task_id": "an-id", "status": "success"}\n'
    (tmp_path / "r.jsonl").write_text(row)
    for words in (("poll", "ids"), ("create", "--batch", "in")):
        line = await error_of(sandbox, *words, "--output", "r.jsonl", cwd=tmp_path)
        assert line == (
            "r.jsonl exists already: add --resume to continue it, or choose another --output"
        )
        assert (tmp_path / "r.jsonl").read_text() == row
    sandbox_words = ("sandbox", "--port", "0", "--tasks", "2", "--ids", "ids")
    code, _, errors = await run(None, *sandbox_words, cwd=tmp_path)
    assert (code, errors.splitlines()[0]) == (
        2,
        "error: ids exists already: choose another name, or remove it",
    )
    assert (tmp_path / "ids").read_text() == "an-id\n"
