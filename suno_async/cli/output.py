"""What the commands print."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import socket
from typing import TYPE_CHECKING, NoReturn, Unpack, cast

import msgspec
import typer

from suno_async import SunoError
from suno_async.cli.error_lines import json_requested, print_error, print_suno_error
from suno_async.cli.exit_codes import exit_code
from suno_async.cli.outcome_rows import outcome_row
from suno_async.cli.program import program_words
from suno_async.cli.verbosity import is_quiet

if TYPE_CHECKING:
    from collections.abc import Generator

    from suno_async import Outcome, TaskInfo
    from suno_async.cli.error_lines import About
    from suno_async.sandbox import Sandbox


def fail(message: str, code: int, **about: Unpack[About]) -> NoReturn:
    """Print an error on stderr, and exit.

    Args:
        message: What went wrong.
        code: The exit code.
        about: What the error concerns.
    """
    print_error(message, **about)
    raise typer.Exit(code)


@contextlib.contextmanager
def errors_about(**about: Unpack[About]) -> Generator[None]:
    """Print an error of the library that is raised in the block, and exit with its code.

    Args:
        about: What the error concerns.
    """
    try:
        yield
    except SunoError as error:
        print_suno_error(error, **about)
        raise typer.Exit(exit_code(error)) from None


def system_message(error: OSError) -> str:
    """Return the operating system's message, without the text that asyncio or open() adds."""
    if isinstance(error, socket.gaierror) or error.errno is None:
        return error.strerror or str(error)
    return os.strerror(error.errno)


def print_info(info: TaskInfo, *, as_json: bool) -> None:
    """Print a task's record: the server's whole reply as JSON, or its status and its results."""
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


def print_outcome(outcome: Outcome, *, as_json: bool) -> None:
    """Print how a wait ended: results on stdout, and an error on stderr.

    With `as_json`, every outcome is one JSON line on stdout. An error is also on stderr.
    """
    if as_json:
        typer.echo(msgspec.json.encode(outcome_row(outcome)).decode())
    if outcome.error is not None:
        print_suno_error(outcome.error, task_id=outcome.task_id)
    elif not as_json:
        print_info(outcome.info, as_json=False)


def print_sandbox(server: Sandbox, *, as_json: bool) -> None:
    """Print the URL, the key and the time scale of a sandbox, as a shell command or as JSON."""
    if as_json:
        place = {"url": server.url, "key": server.key, "time_scale": server.time_scale}
        typer.echo(json.dumps(place))
        return
    variables = {
        "SUNO_BASE_URL": server.url,
        "SUNO_API_KEY": server.key,
        "SUNO_TIME_SCALE": f"{server.time_scale:.12g}",
    }
    words = [f"{name}={shlex.quote(value)}" for name, value in variables.items()]
    typer.echo(f"export {' '.join(words)}")


def print_sandbox_counts(server: Sandbox, *, as_json: bool) -> None:
    """Print what a sandbox counted: as JSON on stdout, or as text on stderr."""
    counts = server.statistics
    if as_json:
        typer.echo(msgspec.json.encode(counts).decode())
    if as_json or is_quiet():
        return
    line = (
        f"{counts.requests} requests, at most {counts.worst_window} in any second; "
        f"{counts.rate_limited} answers of 429; {counts.created} tasks created"
    )
    typer.echo(line, err=True)


def print_interruption(hint: str = "", resume: list[str] | None = None) -> None:
    """Print on stderr that a signal ended the command, and how to resume it.

    Args:
        hint: Where the results are, or why the command cannot be resumed.
        resume: The words of the command that resumes the interrupted one; None if there is none.
    """
    if json_requested():
        about = {} if resume is None else {"resume": shlex.join(resume)}
        typer.echo(json.dumps({"error": "interrupted", **about}), err=True)
        return
    typer.echo("; ".join(filter(None, ("interrupted", hint))), err=True)
    if resume is not None:
        typer.echo(f"Resume with:\n{shlex.join(resume)}", err=True)


def command_words(name: str, /, *arguments: str, **options: object) -> list[str]:
    """Return the words of a command line. Options that are None or False are left out.

    An option whose value is a list is given once for each item.
    """
    words = [*program_words(), *name.split(), *arguments]
    for option, value in options.items():
        for each in cast("list[object]", value) if isinstance(value, list) else [value]:
            if each is not None and each is not False:
                words.append(f"--{option.replace('_', '-')}")
                words += [] if each is True else [str(each)]
    return words
