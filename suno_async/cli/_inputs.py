"""Reading inputs from a file. Pure."""

from __future__ import annotations

import csv
import difflib
from typing import TYPE_CHECKING, Any, cast

import msgspec

from suno_async import InvalidInputError
from suno_async.cli._ids import csv_record
from suno_async.inputs import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from suno_async import Input

#: Short names of the kinds.
SHORT = {
    "generate": "suno/music-generate",
    "extend": "suno/music-extend",
    "extend-upload": "suno/music-extend-upload",
    "cover": "suno/music-cover",
    "video": "suno/music-video",
    "separate": "suno/vocal-separatio",
    "sounds": "suno/sounds-generate",
}


def read_inputs(lines: Iterable[str]) -> list[Input]:
    """Inputs from lines of JSONL or CSV, checked.

    A JSONL line is an object of an input's fields, with ``kind`` (a name of `SHORT`, or the
    contract's; ``generate`` if absent), or what the API takes: ``{"model": …, "input": {…}}``. CSV
    has the fields' names in its first record; an empty cell is a field not given, and a quoted one
    may hold line breaks. ``#`` starts a comment.

    Raises:
        InvalidInputError: Records that make no input, or one that breaks rules, all told at once
            by their first line.
    """
    jobs: list[Input] = []
    problems: list[str] = []
    header: list[str] | None = None
    is_json: bool | None = None
    numbered = enumerate(lines, 1)
    for number, line in numbered:
        text = line.removeprefix("\ufeff").strip()
        if not text or text.startswith("#"):
            continue
        try:
            if is_json is None:
                is_json = text[0] == "{"
            if is_json:
                job = _from_json(text)
            else:
                cells = csv_record(text + "\n", (more for _, more in numbered))
                if header is None:
                    header = cells
                    _check_header(cells)
                    continue
                job = _from_cells(header, cells)
            problems += (f"line {number}: {problem}" for problem in job.problems())
            jobs.append(job)
        except (ValueError, RecursionError, csv.Error, msgspec.DecodeError) as error:
            problems.append(f"line {number}: {error}")
    if problems:
        raise InvalidInputError(tuple(problems))
    return jobs


def _from_json(text: str) -> Input:
    value: object = msgspec.json.decode(text)
    if not isinstance(value, dict):
        raise ValueError(f"must be a JSON object, not {text[:40]!r}")  # noqa: TRY004 (a bad line)
    fields = cast("dict[str, Any]", value)
    if isinstance(fields.get("input"), dict):
        if unknown := fields.keys() - {"model", "input"}:
            raise ValueError(f"beside model and input there is {', '.join(sorted(unknown))}")
        return _input(str(fields.get("model")), fields["input"], strict=True)
    return _input(str(fields.pop("kind", "generate")), fields, strict=True)


def _check_header(names: list[str]) -> None:
    known = {"kind"}.union(*(kind.__struct_fields__ for kind in KINDS.values()))
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"the first line must name fields, not {', '.join(map(repr, unknown))}")


def _from_cells(header: list[str], cells: list[str]) -> Input:
    if len(cells) > len(header):
        raise ValueError(f"{len(cells)} cells under {len(header)} names")
    fields: dict[str, Any] = {name: cell for name, cell in zip(header, cells, strict=False) if cell}
    if "extra" in fields:
        fields["extra"] = msgspec.json.decode(fields["extra"])
    return _input(fields.pop("kind", "generate"), fields, strict=False)


def _input(name: str, fields: dict[str, Any], *, strict: bool) -> Input:
    kind = KINDS.get(SHORT.get(name, name))
    if kind is None:
        raise ValueError(f"kind: must be one of {', '.join(SHORT)}, not {name!r}")
    for field in fields:
        if field not in kind.__struct_fields__:
            near = difflib.get_close_matches(field, kind.__struct_fields__, 1)
            hint = f"; is it {near[0]}?" if near else ""
            raise ValueError(f"{name} has no field {field!r}{hint} Newer ones go into extra.")
    return msgspec.convert(fields, kind, strict=strict)
