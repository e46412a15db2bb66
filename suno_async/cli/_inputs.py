"""Reading inputs of jobs, many at once. Pure."""

from __future__ import annotations

import contextlib
import csv
import difflib
import reprlib
from typing import TYPE_CHECKING, Any, cast, get_args, get_origin

import msgspec

from suno_async import InvalidInputError
from suno_async.cli._ids import csv_record
from suno_async.inputs import (
    KINDS,
    CoverMusic,
    ExtendMusic,
    ExtendUpload,
    GenerateMusic,
    GenerateSounds,
    Input,
    MusicVideo,
    SeparateVocals,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

#: What the command line calls each kind of job.
SHORT: dict[str, type[Input]] = {
    "generate": GenerateMusic,
    "extend": ExtendMusic,
    "extend-upload": ExtendUpload,
    "cover": CoverMusic,
    "video": MusicVideo,
    "separate": SeparateVocals,
    "sounds": GenerateSounds,
}

_NAMES = {kind: name for name, kind in SHORT.items()}
_FIELDS = {
    kind: {field.name: field for field in msgspec.structs.fields(kind)} for kind in SHORT.values()
}
_ALL_FIELDS = frozenset[str]().union(*_FIELDS.values())

#: Longest name that a likeness is sought for, as seeking takes the square of it.
_LONGEST_NAME = 60


def read_inputs(lines: Iterable[str]) -> list[Input]:
    """Inputs from lines of JSONL or CSV, in order. Blank lines and ``#`` comments are passed over.

    A JSONL line is an object of an input's fields, with ``kind`` if it is no `GenerateMusic`
    (``"cover"``, or ``"suno/music-cover"``); or it is what is sent,
    ``{"model": "suno/music-cover", "input": {…}}``. A sole object may span lines. It is JSONL if
    the first line starts with a brace; else it is CSV, whose first record names the fields. There
    an empty cell is an absent field, and ``extra`` is JSON.

    Raises:
        InvalidInputError: Every problem of every line, as ``line N: field: rule``.
    """
    jobs: list[Input] = []
    problems: list[str] = []
    read: Callable[[str, Iterator[str]], Input] | None = None
    numbered = enumerate(_unfolded(list(lines)), 1)
    for number, line in numbered:
        # What ends the line stays, as it may stand within a quoted cell.
        text = (line.removeprefix("\ufeff") if number == 1 else line).lstrip()
        if not text or text.startswith("#"):
            continue
        try:
            if read is None and text[0] not in "{[":
                read = _Table(text).row
                continue
            read = read or _from_json
            jobs.append(read(text, (more for _, more in numbered)))
        except InvalidInputError as error:
            problems += (f"line {number}: {problem}" for problem in error.problems)
            if read is None:
                # Without its header no other line of a table means anything.
                break
    if problems:
        raise InvalidInputError(tuple(problems))
    return jobs


def _unfolded(lines: list[str]) -> list[str]:
    """The lines, of which a sole object takes only one."""
    text = "\n".join(lines).removeprefix("\ufeff")
    try:
        if not isinstance(msgspec.json.decode(text), dict):
            return lines
    except (ValueError, RecursionError):
        return lines
    blank = next(number for number, line in enumerate(lines) if line.strip())
    return [*lines[:blank], " ".join(text.split("\n"))]


class _Table:
    """A CSV file's header, and how it reads the records below."""

    def __init__(self, header: str) -> None:
        self._names = _cells(header, iter(()))
        unknown = [
            f"{_shown(name)}: the header names no field of an input{_nearest(name, _ALL_FIELDS)}"
            for name in self._names
            if name and name not in _ALL_FIELDS and name != "kind"
        ]
        twice = sorted({name for name in self._names if name and self._names.count(name) > 1})
        if unknown or twice:
            raise InvalidInputError((*unknown, *(f"{name}: named twice" for name in twice)))

    def row(self, text: str, rest: Iterator[str]) -> Input:
        """The input in a record that starts with `text`."""
        cells = _cells(text, rest)
        names = self._names + [""] * (len(cells) - len(self._names))
        given: dict[str, Any] = {}
        for column, (name, cell) in enumerate(zip(names, cells, strict=False), 1):
            if cell and not name:
                raise InvalidInputError((f"column {column}: has no name in the header",))
            if cell:
                given[name] = cell
        kind = _kind("kind", given.pop("kind", "generate"))
        return _build(kind, {name: _parsed(kind, name, cell) for name, cell in given.items()})


def _cells(text: str, rest: Iterator[str]) -> list[str]:
    try:
        return csv_record(text if text.endswith(("\n", "\r")) else f"{text}\n", rest)
    except csv.Error as error:
        raise InvalidInputError((f"not CSV: {error}",)) from None


def _parsed(kind: type[Input], name: str, cell: str) -> Any:  # noqa: ANN401 (a field of any type)
    """A cell as its field's type; as text where it is none, which the field's rule tells."""
    field = _FIELDS[kind].get(name)
    if field is None:
        return cell
    with contextlib.suppress(ValueError, RecursionError):
        if field.type is Any or get_origin(field.type) is dict:
            return msgspec.json.decode(cell)
        if {bool, float} & {field.type, *get_args(field.type)}:
            return msgspec.convert(cell, field.type, strict=False)
    return cell


def _from_json(text: str, _rest: Iterator[str]) -> Input:
    try:
        value: object = msgspec.json.decode(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError((f"not JSON: {error}",)) from None
    if not isinstance(value, dict):
        raise InvalidInputError((f"must be a JSON object, not {reprlib.repr(value)}",))
    given = cast("dict[str, Any]", value)
    if "input" not in given:
        return _build(_kind("kind", given.pop("kind", "generate")), given)
    fields, name = given.pop("input"), given.pop("model", None)
    problems = [f'{_shown(name)}: unknown beside "model" and "input"' for name in given]
    if not isinstance(fields, dict):
        problems.append(f"input: must be a JSON object, not {reprlib.repr(fields)}")
    if problems:
        raise InvalidInputError(tuple(problems))
    return _build(_kind("model", name), cast("dict[str, Any]", fields))


def _kind(field: str, name: object) -> type[Input]:
    known = KINDS | SHORT
    if isinstance(name, str) and name in known:
        return known[name]
    rule = f"{field}: must be one of {', '.join(SHORT)}, not {reprlib.repr(name)}"
    raise InvalidInputError((rule + _nearest(str(name)[: _LONGEST_NAME + 1], known),))


def _build(kind: type[Input], given: Mapping[str, Any]) -> Input:
    fields = _FIELDS[kind]
    # An absent field that the constructor insists on is told as an empty one, with all the rest.
    values: dict[str, Any] = {name: None for name, field in fields.items() if field.required}
    job = kind(**values | {name: value for name, value in given.items() if name in fields})
    unknown = tuple(_unknown(kind, name) for name in given if name not in fields)
    if problems := unknown + job.problems():
        raise InvalidInputError(problems)
    return job


def _unknown(kind: type[Input], name: str) -> str:
    problem = f"{_shown(name)}: no field of {_NAMES[kind]}"
    if others := [_NAMES[other] for other, fields in _FIELDS.items() if name in fields]:
        return f"{problem}, but of {', '.join(others)}"
    likely = _nearest(name, _FIELDS[kind])
    return f'{problem}{likely}; fields newer than this program go into "extra": {{…}}'


def _nearest(name: str, known: Iterable[str]) -> str:
    likely = difflib.get_close_matches(name, known, 1) if len(name) <= _LONGEST_NAME else []
    return f" (did you mean {likely[0]}?)" if likely else ""


def _shown(name: str) -> str:
    return name if name.isidentifier() and len(name) <= _LONGEST_NAME else reprlib.repr(name)
