"""Print the results and the errors of commands."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import socket
from typing import TYPE_CHECKING, NoReturn, Unpack, cast

import msgspec
import typer

from suno_async import CreateOutcomeUnknownError, SunoError
from suno_async.cli.error_lines import json_requested, print_error, print_suno_error, printable
from suno_async.cli.exit_codes import exit_code
from suno_async.cli.outcome_rows import outcome_row
from suno_async.cli.program import program_words
from suno_async.cli.verbosity import is_quiet

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from suno_async import Outcome, TaskInfo
    from suno_async.cli.error_lines import About
    from suno_async.sandbox import Sandbox


def fail(message: str, code: int, **about: Unpack[About]) -> NoReturn:
    """Print an error on stderr, and exit.

    Args:
        message: The text of the error.
        code: The exit code.
        about: The file, input, task or model that the error is about.
    """
    print_error(message, **about)
    raise typer.Exit(code)


@contextlib.contextmanager
def errors_about(**about: Unpack[About]) -> Generator[None]:
    """If the ``with`` block raises a `SunoError`, print the error and exit with its exit code.

    Args:
        about: The file, input, task or model that the error is about.
    """
    try:
        yield
    except SunoError as error:
        print_suno_error(error, **about)
        raise typer.Exit(exit_code(error)) from None


def system_message(error: OSError) -> str:
    """Return the operating system's text for an error, without words that Python added."""
    if isinstance(error, socket.gaierror) or error.errno is None:
        return error.strerror or str(error)
    return os.strerror(error.errno)


def print_info(info: TaskInfo, *, as_json: bool) -> None:
    """Print a task: the whole reply of the server as JSON, or the status and results as text."""
    if as_json:
        text = info.raw.decode("utf-8", "replace")
        with contextlib.suppress(ValueError, RecursionError):
            # In ASCII, because stdout may have another encoding than UTF-8.
            text = json.dumps(json.loads(text))
        typer.echo(text)
        return
    echo_text(f"{info.task_id} {info.raw_status}")
    for track in info.tracks:
        echo_text(f"  {track.title}  {track.suno_audio_url}")
    for name, url in info.stems.items():
        echo_text(f"  {name}  {url}")
    for url in () if info.tracks or info.stems else info.media_urls:
        echo_text(f"  {url}")


def echo_text(line: str) -> None:
    """Print a line of text from the server, without control characters."""
    typer.echo(printable(line))


def print_outcome(outcome: Outcome, *, as_json: bool, journal: Path | None = None) -> None:
    """Print the outcome of a task: its results on stdout, or its error on stderr.

    With `as_json`, print the outcome as one JSON line on stdout. If the outcome has an error, also
    print the error on stderr.

    Args:
        outcome: The outcome.
        as_json: Print JSON.
        journal: The journal in which the user can settle a create with an unknown outcome.
    """
    if as_json:
        typer.echo(json.dumps(outcome_row(outcome)))
    if isinstance(outcome.error, CreateOutcomeUnknownError) and journal is not None:
        settle = settle_commands(outcome.error.submission_id, journal)
        print_error(f"{outcome.error} Then run: {settle}")
    elif outcome.error is not None:
        print_suno_error(outcome.error, task_id=outcome.task_id)
    elif not as_json:
        print_info(outcome.info, as_json=False)


def settle_commands(submission_id: str, journal: Path) -> str:
    """Return the two commands that settle a create request with an unknown outcome, as text."""
    settle = shlex.join(command_words("runs settle", submission_id, journal=journal))
    return f"{settle} TASK_ID, or {settle} --not-created"


def print_sandbox(server: Sandbox, *, as_json: bool) -> None:
    """Print the URL, key and time scale of a sandbox, as JSON or as an ``export`` command."""
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
    """Print the statistics of a sandbox: as JSON on stdout, or as one line of text on stderr.

    With ``-q``, the text is not printed.
    """
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
    """Print on stderr that a signal ended the command, and how to resume its work.

    Args:
        hint: Where the results are, or why the command cannot be resumed. Not printed with
            ``--json``.
        resume: The words of the command line that resumes the work. If None, nothing can be
            resumed.
    """
    if json_requested():
        about = {} if resume is None else {"resume": shlex.join(resume)}
        typer.echo(json.dumps({"error": "interrupted", **about}), err=True)
        return
    typer.echo("; ".join(filter(None, ("interrupted", hint))), err=True)
    if resume is not None:
        typer.echo(f"Resume with:\n{shlex.join(resume)}", err=True)


def command_words(name: str, /, *arguments: str, **options: object) -> list[str]:
    """Return a command line of this program as a list of words.

    Options that are None or False are omitted. An option that is True is added without a value. If
    the value of an option is a list, the option is repeated for each item.
    """
    words = [*program_words(), *name.split(), *arguments]
    for option, value in options.items():
        for each in cast("list[object]", value) if isinstance(value, list) else [value]:
            if each is not None and each is not False:
                words.append(f"--{option.replace('_', '-')}")
                words += [] if each is True else [str(each)]
    return words
