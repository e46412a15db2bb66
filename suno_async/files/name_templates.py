"""Templates for file names: their syntax and their rules. No I/O."""

from __future__ import annotations

import functools
import re
import string
import unicodedata
from typing import NamedTuple

from suno_async.errors import InvalidInputError

#: The fields that a template may contain.
FIELDS = ("title", "suno_id", "task_id", "index", "kind")

#: Maximum length in bytes of a file or directory name in a template, without its fields. The fields
#: need the other bytes of the name.
MOST_TEXT = 40

#: Maximum number of directories in a template.
MOST_DIRECTORIES = 4

#: Characters that Windows does not allow in names, control characters, and single surrogates.
_FORBIDDEN = re.compile(r'[<>:"\\|?*\x00-\x1f\x7f-\x9f\ud800-\udfff]')

#: Suffixes with which a template must not end, because the suffix is added.
_SUFFIX = re.compile(r"\.(mp3|m4a|wav|flac|ogg|mp4|jpe?g|png)$", re.IGNORECASE)


class Component(NamedTuple):
    """One file or directory name of a template.

    Attributes:
        text: The file or directory name, with fields in the syntax of `str.format`.
        fields: The names of the fields that `text` contains.
    """

    text: str
    fields: tuple[str, ...]


def check_template(template: str | None) -> str | None:
    """Return a template unchanged if it is valid. None is valid and means the default template.

    Raises:
        InvalidInputError: The template breaks a rule. The error lists the problems found.
    """
    if template is not None:
        read_template(template)
    return template


def read_template(template: str) -> tuple[Component, ...]:
    """Split a template at its slashes. Return the directory names, followed by the file name.

    Raises:
        InvalidInputError: The template breaks a rule. The error lists the problems found.
    """
    if not str(template).strip() or type(template) is not str:
        raise InvalidInputError((f"name: must be a template, not {template!r}",))
    return _read_template(template)


@functools.lru_cache(maxsize=64)
def _read_template(template: str) -> tuple[Component, ...]:
    # NFC makes some characters longer, and names are in NFC.
    parts = unicodedata.normalize("NFC", template).split("/")
    problems = [f"name: {problem}" for part in parts for problem in _problems(part)]
    if len(parts) > MOST_DIRECTORIES + 1:
        problems.append(f"name: has more than {MOST_DIRECTORIES} directories")
    if found := _SUFFIX.search(template):
        problems.append(f"name: leave out {found[0]!r}, the suffix is added")
    if problems:
        raise InvalidInputError(tuple(dict.fromkeys(f"{each}: {template!r}" for each in problems)))
    return tuple(Component(part, _fields(part)) for part in parts)


def _problems(part: str) -> list[str]:
    """Return a message for each problem found in a file or directory name of a template."""
    if not part.strip():
        return ["contains an empty file or directory name"]
    try:
        pieces = list(string.Formatter().parse(part))
    except ValueError as error:
        return [str(error)]
    found: list[str] = []
    for _, field, specification, conversion in pieces:
        if field is not None and field not in FIELDS:
            known = ", ".join(f"{{{each}}}" for each in FIELDS)
            found.append(f"unknown field {{{field}}}; the fields are {known}")
        if specification or conversion:
            found.append(f"field {{{field}}} must not contain '!' or ':'")
    names = [field for _, field, _, _ in pieces if field is not None]
    if len(set(names)) < len(names):
        found.append(f"{part!r} contains a field twice")
    text = "".join(literal for literal, _, _, _ in pieces)
    if bad := _FORBIDDEN.search(text):
        found.append(f"must not contain {bad[0]!r}")
    elif len(text.encode()) > MOST_TEXT:
        found.append(f"{part!r} contains more than {MOST_TEXT} bytes of text outside its fields")
    if part != part.strip(" ") or part.startswith((".", "-")) or part.endswith("."):
        found.append(f"{part!r} must not start with '.', '-' or a space, or end with '.' or ' '")
    return found


def _fields(part: str) -> tuple[str, ...]:
    return tuple(field for _, field, _, _ in string.Formatter().parse(part) if field is not None)
