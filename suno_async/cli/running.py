"""Run the work of a command: report its errors, and stop it on a signal."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from suno_async.cli.output import errors_about, fail, print_interruption, system_message

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine, Generator
    from types import FrameType

T = TypeVar("T")


class Stopped(KeyboardInterrupt):
    """A signal ended the work of a command.

    Attributes:
        exit_code: The exit code of the command: 128 plus the number of the signal.
    """

    def __init__(self, exit_code: int) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


def run(work: Coroutine[Any, Any, T], *, raise_stopped: bool = False) -> T:
    """Run the work of a command, and return its result.

    If a `SunoError` occurs, print it and exit. Other exceptions are not caught.

    Ctrl-C, SIGTERM and Ctrl-Break cancel the work. A second signal ends the work at once. After a
    signal, the command prints "interrupted", and exits with 128 plus the number of the signal.

    Args:
        work: The coroutine that does the work.
        raise_stopped: Raise `Stopped` after a signal, instead of printing and exiting.

    Raises:
        Stopped: A signal ended the work, and `raise_stopped` is True.
    """
    try:
        with _signals(), errors_about():
            return asyncio.run(work)
    except Stopped as stopped:
        if raise_stopped:
            raise
        print_interruption()
        raise typer.Exit(stopped.exit_code) from None


@contextlib.contextmanager
def os_errors() -> Generator[None]:
    """If the ``with`` block raises an `OSError`, print the error and exit with 5.

    Print nothing if the program that reads the output has ended.
    """
    try:
        yield
    except BrokenPipeError:
        # Python flushes stdout at its end, and this would fail again.
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 (open until the end)
        raise typer.Exit(5) from None
    except OSError as error:
        file = None if error.filename is None else str(error.filename)
        fail(f"cannot read or write: {system_message(error)}", 5, file=file)


@contextlib.asynccontextmanager
async def task_group() -> AsyncGenerator[asyncio.TaskGroup]:
    """Open an `asyncio.TaskGroup` that raises the first error instead of an `ExceptionGroup`."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None


@contextlib.contextmanager
def _signals() -> Generator[None]:
    """Raise `Stopped` if Ctrl-C, SIGTERM or Ctrl-Break ended the ``with`` block.

    The first signal cancels the work in the block. A second signal ends the block at once. Outside
    the main thread, do nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []

    def terminate(number: int, frame: FrameType | None) -> None:
        received.append(number)
        # asyncio.run installs the handler that cancels the work and wakes the loop.
        on_ctrl_c = signal.getsignal(signal.SIGINT)
        if callable(on_ctrl_c):
            on_ctrl_c(signal.SIGINT, frame)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *_like_ctrl_c())}
    if before[signal.SIGINT] is signal.SIG_IGN:
        # A shell without job control starts background jobs that ignore SIGINT. asyncio.run would
        # then install no handler for SIGINT, and `terminate` could not cancel the work.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in _like_ctrl_c():
        signal.signal(number, terminate)
    try:
        yield
    except KeyboardInterrupt:
        raise Stopped(128 + (received or [signal.SIGINT])[0]) from None
    finally:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)


def _like_ctrl_c() -> list[int]:
    """Return the signals that are handled like Ctrl-C: SIGTERM, and on Windows also Ctrl-Break."""
    ctrl_break: int | None = getattr(signal, "SIGBREAK", None)
    return [signal.SIGTERM] if ctrl_break is None else [signal.SIGTERM, ctrl_break]
