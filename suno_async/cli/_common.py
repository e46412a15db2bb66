"""What several commands share: options, and how they run and fail."""

import asyncio
import json
from collections.abc import Coroutine
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


def run(work: Coroutine[Any, Any, T], *, interrupted: str | None = "interrupted") -> T:
    """Run a command's work; what it raises becomes a line on stderr and an exit code.

    After Ctrl-C it says `interrupted`; None leaves that to the caller.
    """
    try:
        return asyncio.run(work)
    except SunoError as error:
        fail(str(error), exit_code(error))
    except KeyboardInterrupt:
        if interrupted is None:
            raise
        fail(interrupted, 130)
    except BrokenPipeError:
        raise  # typer's: whoever read the output has left, and wants to hear no more
    except OSError as error:
        fail(f"{error.filename or 'cannot write'}: {reason(error)}", 5)


def json_object(option: str, text: str | None) -> dict[str, Any]:
    """The JSON object that an option holds; empty if it was not given."""
    if text is None:
        return {}
    try:
        value: object = json.loads(text)
    except ValueError as error:
        fail(f"{option}: not JSON: {error}", 2)
    if not isinstance(value, dict):
        fail(f"{option}: must be a JSON object", 2)
    return cast("dict[str, Any]", value)
