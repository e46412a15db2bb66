"""Read and write the files of the commands.

If a file cannot be read or written, the command prints an error and exits. Files are checked
before the first request to the API.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeVar

import typer

from suno_async import InvalidInputError
from suno_async.cli.error_lines import print_suno_error
from suno_async.cli.job_inputs import read_inputs
from suno_async.cli.output import fail, print_interruption, system_message
from suno_async.cli.task_ids import (
    final_statuses,
    read_ids,
    statuses_by_index,
    successful_infos,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Generator, Iterable

    from suno_async import Input, TaskInfo

T = TypeVar("T")

#: How each row of a results file begins: first the rows of a batch, then those of ``poll``.
_ROW_STARTS = (b'{"index": ', b'{"task_id": ')


def ids_in(file: str) -> list[str]:
    """Return the task ids in a file. The name ``-`` means stdin."""
    ids = _read(file, read_ids)
    if not ids:
        name = _name_of(file)
        fail(f"{name}: contains no task ids: write one per line", 2, file=name)
    return ids


def inputs_in(file: str) -> list[Input]:
    """Return the inputs in a file. The name ``-`` means stdin."""
    inputs = _read(file, read_inputs)
    if not inputs:
        name = _name_of(file)
        fail(f"{name}: contains no inputs: write one JSON object per line", 2, file=name)
    return inputs


def earlier_statuses(output: str, *, resume: bool) -> dict[str, str]:
    """Return the final statuses in the results file of an earlier run, by task id.

    Without `resume`, exit if the results file is not empty.
    """
    if output == "-":
        return {}
    with _resumed(output, resume=resume) as lines:
        return final_statuses(lines)


def earlier_infos(output: str, wanted: Container[str]) -> list[TaskInfo]:
    """For each wanted task that succeeded, return a `TaskInfo` with the URLs of its files.

    Args:
        output: The name of the results file.
        wanted: Ids of the wanted tasks.
    """
    with _resumed(output, resume=True) as lines:
        return successful_infos(lines, wanted)


def earlier_rows(output: str, *, resume: bool) -> dict[int, str]:
    """Return the status of each input in the results file of a batch, by the index of the input.

    Without `resume`, exit if the results file is not empty.
    """
    with _resumed(output, resume=resume) as lines:
        return statuses_by_index(lines)


@contextlib.contextmanager
def results_file(output: str) -> Generator[IO[str]]:
    """Open the file to which results are appended. The name ``-`` means stdout."""
    if output == "-":
        yield sys.stdout
        return
    try:
        out = Path(output).open("a", encoding="utf-8")  # noqa: SIM115 (closed below; this `except` is only for errors of opening)
    except OSError as error:
        fail(f"cannot write {output}: {system_message(error)}", 2, file=output)
    with out:
        yield out


def check_different(paths: dict[str, str]) -> None:
    """Exit if two options name the same file.

    Args:
        paths: The path that each option gives.
    """
    found: dict[str, str] = {}
    for option, path in paths.items():
        real = os.path.realpath(path)
        if os.path.exists(real) and not os.path.isfile(real):  # noqa: PTH110, PTH113 (they ignore errors)
            continue  # For example, /dev/stdin and /dev/stdout may be one terminal.
        if (other := found.setdefault(real, option)) != option:
            fail(f"{other} and {option} must be different files", 2, file=path)


def make_directory(path: Path) -> None:
    """Make a directory if it does not exist, and check that files can be written into it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        fail(f"cannot write into {path}: {system_message(error)}", 2, file=str(path))
    if not os.access(path, os.W_OK | os.X_OK):
        fail(f"cannot write into {path}: not permitted", 2, file=str(path))


def _read(file: str, read: Callable[[Iterable[str]], T]) -> T:
    name = _name_of(file)
    try:
        if file == "-":
            return read(_text_lines(sys.stdin))
        if Path(file).is_dir():
            fail(f"{file} is a directory: give a text, CSV or JSONL file", 2, file=file)
        with Path(file).open(encoding="utf-8") as lines:
            return read(_text_lines(lines))
    except OSError as error:
        fail(f"cannot read {file}: {system_message(error)}", 2, file=file)
    except InvalidInputError as error:
        print_suno_error(error, file=name)
        raise typer.Exit(2) from None
    except UnicodeError:
        fail(f"{name}: not a text file: save it as text, CSV or JSONL in UTF-8", 2, file=name)
    except KeyboardInterrupt:
        print_interruption()
        raise typer.Exit(130) from None


def _text_lines(lines: Iterable[str]) -> Generator[str]:
    """Yield the lines of a file. Raise `UnicodeError` if a line contains a zero byte."""
    for line in lines:
        if "\0" in line:
            raise UnicodeError("a text must not contain zero bytes")
        yield line


def _name_of(file: str) -> str:
    return "stdin" if file == "-" else file


@contextlib.contextmanager
def _resumed(name: str, *, resume: bool) -> Generator[Iterable[str]]:
    """Open the results file of an earlier run, and yield its lines.

    After the ``with`` block, remove an incomplete last row, or add a missing line break at the end.
    Exit if the file cannot be read or changed. Without `resume`, also exit if it is not empty.
    """
    path = Path(name)
    try:
        if not path.exists() or not path.stat().st_size:
            yield ()
            return
        if path.is_dir():
            fail(f"{name} is a directory: give the name of a file", 2, file=name)
        if not resume:
            message = "exists already: add --resume to continue it, or choose another --output"
            fail(f"{name} {message}", 2, file=name)
        with path.open(encoding="utf-8", errors="replace") as lines:
            yield lines
        _end_last_line(path)
    except OSError as error:
        fail(f"cannot continue {name}: {system_message(error)}", 2, file=name)


def new_file(name: str, text: str) -> None:
    """Write a new file. Print an error and exit if the file already exists."""
    try:
        with Path(name).open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        fail(f"{name} exists already: choose another name, or remove it", 2, file=name)
    except OSError as error:
        fail(f"cannot write {name}: {system_message(error)}", 2, file=name)


def _end_last_line(path: Path) -> None:
    """Remove an incomplete last row of a results file, or add a missing line break at the end."""
    with path.open("rb+") as file:
        size = file.seek(0, os.SEEK_END)
        read, last, line_break = 1 << 16, b"", b""
        while not line_break and len(last) < size:
            file.seek(max(0, size - read))
            _, line_break, last = file.read().rpartition(b"\n")
            read *= 8
        if not last:
            return
        if _is_cut_row(last):
            file.truncate(size - len(last))
        else:
            file.seek(0, os.SEEK_END)
            file.write(b"\n")


def _is_cut_row(line: bytes) -> bool:
    """Return whether a line begins like a row of a results file, but is not complete JSON."""
    # The user may have given another file by mistake. Nothing must be removed from such a file.
    if not any(line.startswith(start) or start.startswith(line) for start in _ROW_STARTS):
        return False
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return True
    return False
