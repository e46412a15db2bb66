"""Read the inputs of many jobs from JSONL or CSV. No I/O."""

from __future__ import annotations

import contextlib
import csv
import difflib
import reprlib
from typing import TYPE_CHECKING, Any, cast, get_args, get_origin

import msgspec

from suno_async import (
    CoverMusic,
    ExtendMusic,
    ExtendUpload,
    GenerateMusic,
    GenerateSounds,
    Input,
    InvalidInputError,
    MusicVideo,
    SeparateVocals,
)
from suno_async.cli.task_ids import csv_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

#: Short name of each kind of job on the command line.
KINDS_BY_NAME: dict[str, type[Input]] = {
    "generate": GenerateMusic,
    "extend": ExtendMusic,
    "extend-upload": ExtendUpload,
    "cover": CoverMusic,
    "video": MusicVideo,
    "separate": SeparateVocals,
    "sounds": GenerateSounds,
}

_NAMES = {kind: name for name, kind in KINDS_BY_NAME.items()}
#: The kinds of jobs by all their names: the short names and the names in the API.
_KINDS = KINDS_BY_NAME | {kind.KIND: kind for kind in KINDS_BY_NAME.values()}
_FIELDS = {
    kind: {field.name: field for field in msgspec.structs.fields(kind)}
    for kind in KINDS_BY_NAME.values()
}
_ALL_FIELDS = frozenset[str]().union(*_FIELDS.values())

#: Longest name in characters for which a similar name is suggested, because the search takes
#: quadratic time.
_LONGEST_NAME = 60


def read_inputs(lines: Iterable[str]) -> list[Input]:
    """Read the inputs of jobs from the lines of a JSONL or CSV file. Keep their order.

    Blank lines and lines that start with ``#`` are skipped.

    A JSONL line is an object with the fields of an input. The field ``kind`` names the kind of job,
    such as ``"cover"``; the default is ``"generate"``. A line may also be an API request, such as
    ``{"model": "suno/music-cover", "input": {…}}``. If the file has only one object, the
    object may have line breaks.

    The first CSV record contains the names of the fields, and may contain ``kind``. An empty cell
    means that the field is absent. The column ``extra`` contains JSON. The columns ``loop``,
    ``bpm`` and ``key`` contain JSON or other text.

    Raises:
        InvalidInputError: Some lines are not valid inputs. The error lists their problems.
    """
    jobs: list[Input] = []
    problems: list[str] = []
    read: Callable[[str, Iterator[str]], Input] | None = None
    numbered = enumerate(_with_one_line_per_object(list(lines)), 1)
    for number, line in numbered:
        # Keep the line break: it may be part of a quoted cell.
        text = (line.removeprefix("\ufeff") if number == 1 else line).lstrip()
        if not text or text.startswith("#"):
            continue
        try:
            if read is None and text[0] not in "{[":
                read = _Table(text).read_row
                continue
            read = read or _from_json
            jobs.append(read(text, (more for _, more in numbered)))
        except InvalidInputError as error:
            problems += (f"line {number}: {problem}" for problem in error.problems)
            if read is None:
                # Without a valid header, the other lines of a CSV file cannot be read.
                break
    if problems:
        raise InvalidInputError(tuple(problems))
    return jobs


def _with_one_line_per_object(lines: list[str]) -> list[str]:
    """Return the lines. If all lines together form one JSON object, join them into one line."""
    text = "\n".join(lines).removeprefix("\ufeff")
    try:
        if not isinstance(msgspec.json.decode(text), dict):
            return lines
    except (ValueError, RecursionError):
        return lines
    blank = next(number for number, line in enumerate(lines) if line.strip())
    return [*lines[:blank], " ".join(text.split("\n"))]


class _Table:
    """Reads the records of a CSV file. The header gives the field name of each column."""

    def __init__(self, header: str) -> None:
        self._names = _cells(header, iter(()))
        unknown = [
            f"{_shown(name)}: not a field of any input{_suggestion(name, _ALL_FIELDS)}"
            for name in self._names
            if name and name not in _ALL_FIELDS and name != "kind"
        ]
        twice = sorted({name for name in self._names if name and self._names.count(name) > 1})
        if unknown or twice:
            raise InvalidInputError(
                (*unknown, *(f"{name}: appears twice in the header" for name in twice))
            )

    def read_row(self, text: str, rest: Iterator[str]) -> Input:
        """Return the input in a CSV record. The record starts in `text` and may end in `rest`."""
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
    """Convert a cell to the type of the field `name`. Return `cell` if that is impossible."""
    field = _FIELDS[kind].get(name)
    if field is None:
        return cell
    with contextlib.suppress(ValueError, RecursionError):
        if field.type is Any or get_origin(field.type) is dict:
            return msgspec.json.decode(cell)
        if {bool, float} & {field.type, *get_args(field.type)}:
            return msgspec.convert(cell, field.type, strict=False)
    # The check of the input reports the error.
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
    problems = [f'{_shown(name)}: not allowed next to "model" and "input"' for name in given]
    if not isinstance(fields, dict):
        problems.append(f"input: must be a JSON object, not {reprlib.repr(fields)}")
    if problems:
        raise InvalidInputError(tuple(problems))
    return _build(_kind("model", name), cast("dict[str, Any]", fields))


def _kind(field: str, name: object) -> type[Input]:
    if isinstance(name, str) and name in _KINDS:
        return _KINDS[name]
    rule = f"{field}: must be one of {', '.join(KINDS_BY_NAME)}, not {reprlib.repr(name)}"
    raise InvalidInputError((rule + _suggestion(str(name)[: _LONGEST_NAME + 1], _KINDS),))


def _build(kind: type[Input], given: Mapping[str, Any]) -> Input:
    fields = _FIELDS[kind]
    # Without a required field, the constructor would raise at once. With None as its value, the
    # check of the input reports the absent field together with all other problems.
    values: dict[str, Any] = {name: None for name, field in fields.items() if field.required}
    job = kind(**values | {name: value for name, value in given.items() if name in fields})
    unknown = tuple(_unknown(kind, name) for name in given if name not in fields)
    if problems := unknown + job.problems():
        raise InvalidInputError(problems)
    return job


def _unknown(kind: type[Input], name: str) -> str:
    problem = f"{_shown(name)}: not a field of {_NAMES[kind]}"
    if others := [_NAMES[other] for other, fields in _FIELDS.items() if name in fields]:
        return f"{problem}, but of {', '.join(others)}"
    suggestion = _suggestion(name, _FIELDS[kind])
    return f'{problem}{suggestion}; put fields newer than this program into "extra": {{…}}'


def _suggestion(name: str, known: Iterable[str]) -> str:
    similar = difflib.get_close_matches(name, known, 1) if len(name) <= _LONGEST_NAME else []
    return f" (did you mean {similar[0]}?)" if similar else ""


def _shown(name: str) -> str:
    return name if name.isidentifier() and len(name) <= _LONGEST_NAME else reprlib.repr(name)
