"""Each error of the command line is one line on stderr that names the affected input or task."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import pytest

from suno_async import TaskFailedError, TaskNotFoundError
from suno_async.cli.error_lines import error_line, print_suno_error
from suno_async.sandbox import Sandbox
from tests.cli.test_cli import GENEROUS, UNKNOWN_ID, run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

BOTH = pytest.mark.parametrize("as_json", [False, True])


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """Yield a sandbox in which every job fails."""
    async with Sandbox(seed=1, time_scale=100, failure_share=1.0, rate_limit=GENEROUS) as server:
        yield server


def errors_in(stderr: str) -> list[dict[str, Any]]:
    """Return the JSON objects on stderr, one for each line."""
    return [json.loads(line) for line in stderr.splitlines()]


def test_text_lines() -> None:
    """A plain-text error line names its file, input or task once, and has no control characters."""
    about = error_line("no such song", as_json=False, file="in.csv", index=2)
    assert about == "error: in.csv: input 3: no such song"
    assert error_line("code 404", as_json=False, task_id="a") == "error: task a: code 404"
    assert error_line("task a failed", as_json=False, task_id="a") == "error: task a failed"
    assert error_line("input 12", as_json=False, index=0) == "error: input 1: input 12"
    for other in ("my-a.csv", "a.csv.bak", r"C:\x\a.csv"):
        line = error_line(f"{other}: x", as_json=False, file="a.csv")
        assert line == f"error: a.csv: {other}: x"
    assert error_line("a\r\n\x1b[31mb", as_json=False) == "error: a [31mb"


def test_json_lines() -> None:
    """A JSON error line contains the message and all details that are not empty."""
    line = error_line("no such song", as_json=True, file=None, index=0, task_id="")
    assert json.loads(line) == {"error": "no such song", "index": 0}


def test_the_task_of_an_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`print_suno_error` prints the argument `task_id` or, by default, the task id of the error."""
    monkeypatch.setattr("sys.argv", ["suno-async", "wait", "--json"])
    print_suno_error(TaskFailedError("a", "no lyrics"))
    print_suno_error(TaskNotFoundError(404), task_id="b")
    assert [each["task_id"] for each in errors_in(capsys.readouterr().err)] == ["a", "b"]


@BOTH
async def test_no_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, as_json: bool
) -> None:
    """If no connection can be made, the command prints one error, which names the host."""
    monkeypatch.setattr("suno_async.cli.clients.RETRY_FOR", 0.0)
    with socket.socket() as taken:
        # The port is bound, but nothing listens on it.
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        words = ("upload", "a.mp3") if as_json else ("models",)
        (tmp_path / "a.mp3").write_bytes(b"ID3")
        server = Sandbox()
        server.url = url
        code, out, errors = await run(server, *words, *["--json"] * as_json, cwd=tmp_path)
    assert (code, out, len(errors.splitlines())) == (5, "", 1)
    if as_json:
        (error,) = errors_in(errors)
        assert (error["file"], "could not connect to 127.0.0.1" in error["error"]) == (
            "a.mp3",
            True,
        )
    else:
        assert errors.startswith("error: could not connect to 127.0.0.1")


@pytest.mark.parametrize("words", [("status",), ("poll", "x", "--no-such-option"), ("nonsense",)])
async def test_usage_errors(tmp_path: Path, words: tuple[str, ...]) -> None:
    """A usage error is one line that starts with ``error:``. With --json, it is a JSON object."""
    code, out, errors = await run(None, *words, cwd=tmp_path)
    assert (code, out, len(errors.splitlines())) == (2, "", 1)
    assert errors.startswith("error: ")
    assert "--help" in errors
    code, out, errors = await run(None, *words, "--json", cwd=tmp_path)
    assert (code, out, [list(each) for each in errors_in(errors)]) == (2, "", [["error"]])


async def test_no_command(tmp_path: Path) -> None:
    """Without a command, the program prints its help and no error."""
    code, out, errors = await run(None, cwd=tmp_path)
    assert code in {0, 2}
    assert "Exit codes" in out + errors
    assert "error:" not in errors


@BOTH
async def test_wait(sandbox: Sandbox, tmp_path: Path, *, as_json: bool) -> None:
    """`wait` reports a failed task on stderr, with the task id."""
    (task_id,) = sandbox.add_tasks(1, created_ago=60, durations=[1.0])
    code, out, errors = await run(sandbox, "wait", task_id, *["--json"] * as_json, cwd=tmp_path)
    assert code == 1
    if as_json:
        assert json.loads(out)["status"] == "failed"
        assert [each["task_id"] for each in errors_in(errors)] == [task_id]
    else:
        assert out == ""
        assert errors.startswith(f"error: task {task_id} failed: ")


async def test_wait_checks_ids(sandbox: Sandbox, tmp_path: Path) -> None:
    """`wait` reports an invalid id before it sends any request."""
    code, _, errors = await run(sandbox, "wait", UNKNOWN_ID, "x" * 200, cwd=tmp_path)
    assert (code, errors.startswith(f"error: task {'x' * 200}: ")) == (2, True)
    assert sandbox.statistics.requests == 0


async def test_create_and_wait(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`create --wait` prints the task id; if the task fails, the error contains the same id."""
    monkeypatch.setenv("SUNO_TIME_SCALE", "100")
    code, out, errors = await run(sandbox, "create", "x", "--wait", "--json", cwd=tmp_path)
    (error,) = errors_in(errors)
    assert (code, error["task_id"]) == (1, json.loads(out)["task_id"])


async def test_estimate(sandbox: Sandbox, tmp_path: Path) -> None:
    """If the server refuses an input, the error of `estimate` contains the number of the input."""
    lines = ['{"prompt": "x"}', f'{{"kind": "video", "task_id": "{UNKNOWN_ID}", "suno_id": "s"}}']
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    code, _, errors = await run(sandbox, "estimate", "in.jsonl", cwd=tmp_path)
    assert (code, errors.startswith("error: in.jsonl: input 2: code 422: ")) == (5, True), errors
    _, out, errors = await run(sandbox, "estimate", "in.jsonl", "--json", cwd=tmp_path)
    (error,) = errors_in(errors)
    assert (error["file"], error["index"]) == ("in.jsonl", 1)
    assert [json.loads(line)["index"] for line in out.splitlines()] == [0]


async def test_models(sandbox: Sandbox, tmp_path: Path) -> None:
    """If a model does not exist, the error of `models` contains the name of the model."""
    code, _, errors = await run(sandbox, "models", "suno/none", cwd=tmp_path)
    assert (code, errors.startswith("error: model suno/none: code 404: ")) == (5, True), errors


async def test_persona(sandbox: Sandbox, tmp_path: Path) -> None:
    """If the task id of the song is unknown, the error of `persona` contains this task id."""
    words = ("persona", UNKNOWN_ID, "s", "Ann", "--json")
    code, _, errors = await run(sandbox, *words, cwd=tmp_path)
    assert (code, [each["task_id"] for each in errors_in(errors)]) == (5, [UNKNOWN_ID])


async def test_problems_of_a_file(sandbox: Sandbox, tmp_path: Path) -> None:
    """Each problem in an input file is printed as one error, which names the file."""
    (tmp_path / "bad.jsonl").write_text('{"promt": "x"}\n{\n')
    code, _, errors = await run(sandbox, "create", "--batch", "bad.jsonl", "--json", cwd=tmp_path)
    problems = errors_in(errors)
    assert (code, {each["file"] for each in problems}) == (2, {"bad.jsonl"})
    assert [each["error"].partition(":")[0] for each in problems] == ["line 1", "line 1", "line 2"]
