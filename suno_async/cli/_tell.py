"""What the commands print."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, NoReturn

import msgspec
import typer

from suno_async.cli._run import row

if TYPE_CHECKING:
    from suno_async import Outcome, SunoError, TaskInfo
    from suno_async.sandbox import Sandbox


def fail(message: str, code: int) -> NoReturn:
    """Say why in one line on stderr, and exit with `code`."""
    typer.echo(message, err=True)
    raise typer.Exit(code)


def tell(info: TaskInfo, *, as_json: bool) -> None:
    """Print a reading: the server's whole reply as JSON, or the status and the songs."""
    if as_json:
        typer.echo(info.raw.decode("utf-8", "replace"))
        return
    typer.echo(f"{info.task_id} {info.raw_status}")
    for track in info.tracks:
        typer.echo(f"  {track.title}  {track.suno_audio_url}")
    for name, url in info.stems.items():
        typer.echo(f"  {name}  {url}")
    for url in () if info.tracks or info.stems else info.media_urls:
        typer.echo(f"  {url}")


def tell_error(task_id: str, error: SunoError, *, as_json: bool) -> None:
    """Print what kept a task from being read: on stdout as JSON, else on stderr."""
    if as_json:
        typer.echo(json.dumps({"task_id": task_id, "error": str(error)}))
    else:
        typer.echo(f"{task_id} {error}", err=True)


def tell_outcome(outcome: Outcome, *, as_json: bool) -> None:
    """Print how a wait ended."""
    if as_json:
        typer.echo(msgspec.json.encode(row(outcome)).decode())
    elif outcome.error is not None:
        typer.echo(str(outcome.error))
    elif outcome.info is not None:
        tell(outcome.info, as_json=False)


def tell_place(server: Sandbox, *, as_json: bool) -> None:
    """Print where a sandbox listens, and its key."""
    if as_json:
        typer.echo(json.dumps({"url": server.url, "key": server.key}))
    else:
        typer.echo(f"export SUNO_BASE_URL={server.url} SUNO_API_KEY={server.key}")


def tell_counts(server: Sandbox, *, as_json: bool) -> None:
    """Print what a sandbox counted: on stdout as JSON, else on stderr."""
    counts = server.statistics
    if as_json:
        typer.echo(msgspec.json.encode(counts).decode())
        return
    line = (
        f"{counts.requests} requests, at most {counts.worst_window} in any second; "
        f"{counts.rate_limited} answers of 429; {counts.created} tasks created"
    )
    typer.echo(line, err=True)


def how_to_go_on(
    file: str, output: str, *, timeout: float | None, base_url: str | None, as_json: bool
) -> str:
    """What to do after an interrupted ``poll``: a command that can be pasted, if there is one."""
    if output == "-":
        return "what went to stdout is known, but cannot be resumed"
    if file == "-":
        return (
            f"what is known is in {output}; the ids came from stdin: to go on, keep them in a file"
        )
    words = command(
        "poll", output=output, resume=True, timeout=timeout, base_url=base_url, json=as_json
    )
    # A name that starts with a dash would be read as an option.
    words += ["--", file] if file.startswith("-") else [file]
    return f"what is known is written. Go on with:\n{shlex.join(words)}"


def command(name: str, **options: object) -> list[str]:
    """The words of a command of ours; options that are None or False are left out."""
    words = ["suno-async", name]
    for option, value in options.items():
        if value is None or value is False:
            continue
        words.append(f"--{option.replace('_', '-')}")
        if value is not True:
            words.append(str(value))
    return words
