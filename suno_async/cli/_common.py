"""What several commands share: options, and how they run, fail and are stopped."""

import asyncio
import contextlib
import json
import signal
import threading
from collections.abc import Coroutine, Generator
from types import FrameType
from typing import Annotated, Any, TypeVar, cast

import typer

from suno_async import SunoError
from suno_async.cli._exits import exit_code
from suno_async.cli._files import reason
from suno_async.cli._tell import fail

T = TypeVar("T")

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
BaseUrl = Annotated[str | None, typer.Option(help="API host; else SUNO_BASE_URL.")]
Timeout = Annotated[float | None, typer.Option(min=0.1, help="Seconds to wait at most.")]
TaskIds = Annotated[list[str], typer.Argument(help="Task ids.")]


class Stopped(KeyboardInterrupt):
    """A signal ended the work of a command.

    Attributes:
        exit_code: 128 plus the number of the signal.
    """

    def __init__(self, exit_code: int) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


def run(work: Coroutine[Any, Any, T], *, interrupted: str | None = "interrupted") -> T:
    """Run the work of a command; turn its errors into a line on stderr and an exit code.

    Ctrl-C and SIGTERM cancel the work, so that it can keep its results; a second one ends it at
    once. After either, print `interrupted` and exit with 130 or 143.

    Raises:
        Stopped: A signal ended the work, and `interrupted` is None.
    """
    try:
        with _signals():
            return asyncio.run(work)
    except SunoError as error:
        fail(str(error), exit_code(error))
    except Stopped as stopped:
        if interrupted is None:
            raise
        fail(interrupted, stopped.exit_code)
    except BrokenPipeError:
        raise  # Typer exits silently if nobody reads the output any more.
    except OSError as error:
        fail(f"{error.filename or 'cannot write'}: {reason(error)}", 5)


@contextlib.contextmanager
def _signals() -> Generator[None]:
    """Let SIGTERM act as Ctrl-C within the block, and raise `Stopped` for both.

    A shell without job control starts background jobs with SIGINT ignored. It is restored here, so
    that ``kill -INT`` ends such a job, too.
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

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    if before[signal.SIGINT] is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    except KeyboardInterrupt:
        raise Stopped(143 if received else 130) from None
    finally:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)


def json_object(option: str, text: str | None) -> dict[str, Any]:
    """Return the JSON object in an option; an empty one if the option was not given."""
    if text is None:
        return {}
    try:
        value: object = json.loads(text)
    except ValueError as error:
        fail(f"{option}: not JSON: {error}", 2)
    if not isinstance(value, dict):
        fail(f"{option}: must be a JSON object", 2)
    return cast("dict[str, Any]", value)
