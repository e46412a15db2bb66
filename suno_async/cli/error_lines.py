"""Error lines on stderr: ``error: …`` as text, or one JSON object per error with ``--json``.

This module imports neither typer nor rich, because these packages may be missing.
"""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from suno_async import InvalidInputError
from suno_async.cli.hints import hint_for

if TYPE_CHECKING:
    from suno_async import SunoError

#: Maximum number of problems printed for one error. A file of the wrong type has a problem in every
#: line.
MOST_PROBLEMS = 10

#: Characters that would break a line or control the terminal. Server texts may contain them.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


def json_requested() -> bool:
    """Return whether ``--json`` is on the command line."""
    # Search `sys.argv`, because an error can occur before typer parses the options.
    words = sys.argv[1:]
    options = words[: words.index("--")] if "--" in words else words
    return "--json" in options


class About(TypedDict, total=False):
    """The file, input, task or model that an error is about.

    Attributes:
        file: Path of the file.
        index: Index of the input, counted from 0.
        task_id: The id of the task.
        model: The name of the model.
    """

    file: str | None
    index: int
    task_id: str
    model: str


def error_line(message: str, *, as_json: bool, **about: Unpack[About]) -> str:
    """Return the line that reports an error.

    As text, the line names the file, input, task or model before the message. If `message` already
    contains this name as a whole word, the line does not repeat the name.

    Args:
        message: What went wrong.
        as_json: Return a JSON object instead of text.
        about: The file, input, task or model that the error is about.
    """
    known = {name: value for name, value in about.items() if value not in (None, "")}
    if as_json:
        return json.dumps({"error": message, **known})
    labels = [_label(name, value) for name, value in known.items()]
    prefix = "".join(f"{label}: " for label in labels if not _contains(message, label))
    return printable(f"error: {prefix}{message}")


def printable(text: str) -> str:
    """Return the text with a space for each series of control characters."""
    return _CONTROL.sub(" ", text)


def print_error(message: str, **about: Unpack[About]) -> None:
    """Print an error on stderr: as JSON if ``--json`` was given, else as text.

    Args:
        message: What went wrong.
        about: The file, input, task or model that the error is about.
    """
    line = error_line(message, as_json=json_requested(), **about)
    print(line, file=sys.stderr)  # noqa: T201 (a command prints)


def print_suno_error(error: SunoError, **about: Unpack[About]) -> None:
    """Print an error of the library on stderr, and what to do about it.

    For an invalid input, print one line for each of the first `MOST_PROBLEMS` problems. If there
    are more problems, also print how many more there are.

    Args:
        error: The error. Its attribute `task_id`, if there is one, is used if `about` contains no
            `task_id`.
        about: The file, input, task or model that the error is about.
    """
    named: object = getattr(error, "task_id", "")
    if "task_id" not in about and isinstance(named, str):
        about["task_id"] = named
    if not isinstance(error, InvalidInputError):
        hint = hint_for(error, is_task="model" not in about)
        print_error("; ".join(filter(None, (str(error), hint))), **about)
        return
    for problem in error.problems[:MOST_PROBLEMS]:
        print_error(problem, **about)
    if (more := len(error.problems) - MOST_PROBLEMS) > 0:
        print_error(f"{more} more problems", **about)


def _contains(message: str, label: str) -> bool:
    """Return whether a message contains a label that is not part of a longer word or path."""
    return re.search(rf"(?<![\w./\\-]){re.escape(label)}(?![\w/\\-]|\.\w)", message) is not None


def _label(name: str, value: Any) -> str:  # noqa: ANN401 (text or a number)
    if name == "index":
        return f"input {value + 1}"
    return str(value) if name == "file" else f"{name.removesuffix('_id')} {value}"
