"""The files that commands read and write. What cannot work ends the command before a request."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeVar

from suno_async import InvalidInputError
from suno_async.cli._batch import Step, read_decided, read_steps
from suno_async.cli._ids import decided_ids, read_ids
from suno_async.cli._inputs import read_inputs
from suno_async.cli._tell import fail

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from suno_async import Input

T = TypeVar("T")


def reason(error: OSError) -> str:
    """The operating system's words alone, without what asyncio or open() wraps around them."""
    if isinstance(error, socket.gaierror) or error.errno is None:
        return error.strerror or str(error)
    return os.strerror(error.errno)


def ids_in(file: str) -> list[str]:
    """The task ids in a file, or on stdin for ``-``."""
    return _read(file, read_ids)


def _read(file: str, read: Callable[[Iterable[str]], T]) -> T:
    try:
        if file == "-":
            return read(sys.stdin)
        with Path(file).open(encoding="utf-8") as lines:
            return read(lines)
    except OSError as error:
        fail(f"cannot read {file}: {reason(error)}", 2)
    except (InvalidInputError, UnicodeDecodeError) as error:
        fail(f"{file}: {error}", 2)
    except KeyboardInterrupt:
        fail("interrupted", 130)


def inputs_in(file: str) -> list[Input]:
    """The inputs in a file, or on stdin for ``-``."""
    inputs = _read(file, read_inputs)
    if not inputs:
        fail(f"{file} holds no inputs", 2)
    return inputs


def earlier_states(output: str, *, resume: bool) -> dict[str, str]:
    """What an earlier run decided, by id; ends the half line it may have left.

    Without `resume`, a file that holds anything ends the command.
    """
    path = Path(output)
    if output == "-" or not path.exists():
        return {}
    try:
        if not path.stat().st_size:
            return {}
        if not resume:
            fail(f"{output} is not empty: add --resume to go on, or name another --output", 2)
        with path.open(encoding="utf-8", errors="replace") as lines:
            states = decided_ids(lines)
        _end_last_line(path)
    except OSError as error:
        fail(f"cannot go on with {output}: {reason(error)}", 2)
    return states


def earlier_steps(output: str, *, resume: bool) -> tuple[dict[int, Step], dict[int, str]]:
    """What an earlier run of a batch began, and how inputs ended; by index.

    Without `resume`, an earlier run ends the command.
    """
    steps, decided = dict[int, Step](), dict[int, str]()
    try:
        for name in (f"{output}.journal", output):
            path = Path(name)
            if not path.exists() or not path.stat().st_size:
                continue
            if not resume:
                fail(f"{name} is not empty: add --resume to go on, or name another --output", 2)
            with path.open(encoding="utf-8", errors="replace") as lines:
                if name == output:
                    decided = read_decided(lines)
                else:
                    steps = read_steps(lines)
            _end_last_line(path)
    except OSError as error:
        fail(f"cannot go on with {output}: {reason(error)}", 2)
    return steps, decided


@contextlib.contextmanager
def results(output: str) -> Generator[IO[str]]:
    """The file that results are added to, or stdout for ``-``."""
    if output == "-":
        yield sys.stdout
        return
    try:
        out = Path(output).open("a", encoding="utf-8")  # noqa: SIM115 (closed below; an error within the block is not one of opening)
    except OSError as error:
        fail(f"cannot write {output}: {reason(error)}", 2)
    with out:
        yield out


def make_directory(path: Path) -> None:
    """Make a directory that files can be written into, if it is not there."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        fail(f"cannot write into {path}: {reason(error)}", 2)
    if not os.access(path, os.W_OK | os.X_OK):
        fail(f"cannot write into {path}: not permitted", 2)


def _end_last_line(path: Path) -> None:
    """An interrupted run may have left half a line: what follows must not be glued to it."""
    with path.open("rb+") as file:
        file.seek(-1, 2)
        if file.read(1) != b"\n":
            file.write(b"\n")
