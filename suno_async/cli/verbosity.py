"""How much the commands print: ``-q``, ``-v``, and the log of the library on stderr."""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import logging
import os
import re
import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING, Annotated, Any

import typer

from suno_async.cli.error_lines import json_requested

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

#: ``-q``. It may be before or after the name of a command.
Quiet = Annotated[
    bool, typer.Option("-q", "--quiet", help="Print only results and errors, no progress.")
]
#: ``-v``. It may be repeated.
Verbose = Annotated[
    int,
    typer.Option(
        "-v", "--verbose", count=True, help="Log retries and pauses on stderr; -vv: every request."
    ),
]

_quiet: ContextVar[bool] = ContextVar("quiet", default=False)
_verbose: ContextVar[int] = ContextVar("verbose", default=0)

#: Control characters, except line breaks and tabs. A server text in a log line may contain them.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]+")

#: The environment variables whose values are keys.
_KEYS = ("SUNO_API_KEY", "CRUN_API_KEY")

#: Length in characters of the shortest key that the log hides. A shorter value could be an ordinary
#: word.
_SHORTEST_KEY = 8


def is_quiet() -> bool:
    """Return whether ``-q`` was given."""
    return _quiet.get()


def set_verbosity(*, quiet: bool, verbose: int) -> None:
    """Apply the options ``-q`` and ``-v``, in addition to the options of earlier calls.

    There may be two calls, because a user may give the options both before and after the name of a
    command.
    """
    _quiet.set(_quiet.get() or quiet)
    _verbose.set(_verbose.get() + verbose)
    if _quiet.get():
        level = logging.ERROR
    else:
        level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(_verbose.get(), 2)]
    _logger.setLevel(level)


def with_verbosity(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return the command with the additional options ``-q`` and ``-v``."""

    @functools.wraps(command)
    def run(*, quiet: bool, verbose: int, **given: object) -> object:
        set_verbosity(quiet=quiet, verbose=verbose)
        return command(**given)

    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        *inspect.signature(command).parameters.values(),
        inspect.Parameter("quiet", keyword, default=False, annotation=Quiet),
        inspect.Parameter("verbose", keyword, default=0, annotation=Verbose),
    ]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # pyright: ignore[reportFunctionMemberAccess]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run


@contextlib.contextmanager
def log_on_stderr() -> Generator[None]:
    """Print the log of the library on stderr within the ``with`` block.

    The level is WARNING until `set_verbosity` changes it.
    """
    quiet, verbose = _quiet.set(False), _verbose.set(0)
    before = _logger.level
    handler = _Stderr()
    _logger.addHandler(handler)
    _logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        _logger.setLevel(before)
        _logger.removeHandler(handler)
        _quiet.reset(quiet)
        _verbose.reset(verbose)


class _Stderr(logging.Handler):
    """Prints log records on stderr, with ``[key]`` instead of the API key."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = _CONTROL.sub(" ", self.format(record))
            for name in _KEYS:
                if len(key := os.environ.get(name, "").strip()) >= _SHORTEST_KEY:
                    text = text.replace(key, "[key]")
            level = record.levelname.lower()
            line = json.dumps({"log": level, "message": text}) if json_requested() else None
            # Look up `sys.stderr` each time, because the live display replaces it.
            print(line or f"{level}: {text}", file=sys.stderr)  # noqa: T201 (a command prints)
        except Exception:  # noqa: BLE001 (logging's rule: a log must not stop the program)
            self.handleError(record)


_logger = logging.getLogger("suno_async")
