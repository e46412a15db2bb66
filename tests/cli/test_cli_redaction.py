"""The command line never prints the API key, even if the server repeats it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from suno_async.sandbox import KEY, Sandbox
from tests.cli.test_cli import run
from tests.hostile import response, serving

if TYPE_CHECKING:
    import asyncio
    from pathlib import Path

#: The key as it is, and with an escape that JSON allows.
SPELLINGS = {"plain": KEY, "escaped": KEY.replace("_", "\\u005f")}

COMMANDS = [
    ("balance",),
    ("models",),
    ("create", "rain"),
    ("create", "--batch", "in.jsonl"),
    ("estimate", "in.jsonl"),
    ("status", "t"),
    ("wait", "t"),
    ("poll", "ids.txt"),
    ("upload", "a.mp3"),
]


def answer_with(key: str, request: bytes) -> bytes:
    """Return a reply that repeats the key in each field where the server may put text."""
    if b"TaskInfo" in request:
        result = {"message": "KEY", "media_urls": ["https://files.example/KEY"]}
        data = {"task_id": "t", "status": "failed", "message": "KEY", "result": result}
        found: dict[str, object] = {"code": 200, "message": "KEY", "data": data}
    elif b"/Models" in request:
        models = [{"model": "suno/KEY", "name": "KEY", "operations": ["KEY"], "KEY": "KEY"}]
        found = {"code": 200, "message": "KEY", "data": {"models": models}}
    elif b"balance" in request:
        return response(f"<html>{key}</html>".encode(), status="422 No")
    else:
        found = {"code": 422, "message": "x KEY", "errors": ["KEY", {"KEY": "KEY"}], "data": "KEY"}
    return response(json.dumps(found).replace("KEY", key).encode())


def written_to(folder: Path) -> str:
    """Return the contents of all files in a folder."""
    return "".join(path.read_bytes().decode(errors="replace") for path in folder.iterdir())


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
async def test_the_key_is_not_printed(tmp_path: Path, spelling: str, *, as_json: bool) -> None:
    """No command in `COMMANDS` prints the key or writes it to a file."""

    async def answer(request: bytes, writer: asyncio.StreamWriter) -> bool:
        writer.write(answer_with(spelling, request))
        return True

    server = Sandbox()
    async with serving(answer) as server.url:
        for number, words in enumerate(COMMANDS):
            folder = tmp_path / str(number)
            folder.mkdir()
            (folder / "a.mp3").write_bytes(b"ID3")
            (folder / "in.jsonl").write_text('{"prompt": "rain"}\n')
            (folder / "ids.txt").write_text("t\n")
            code, out, errors = await run(server, *words, *["--json"] * as_json, cwd=folder)
            printed = out + errors + written_to(folder)
            assert KEY not in printed, words
            assert spelling not in printed, words
            assert "redacted" in printed, (words, code, out, errors)
