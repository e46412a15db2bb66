"""Reading task ids, and what an earlier run has written. Pure."""

from __future__ import annotations

import csv
import itertools
import json
from typing import TYPE_CHECKING, Any, cast

from suno_async import InvalidInputError, check_task_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: States in a results file that need no further polling.
DECIDED = frozenset({"success", "failed"})


def read_ids(lines: Iterable[str]) -> list[str]:
    """Task ids from lines of text, CSV or JSONL, each once, in order.

    JSONL lines are objects with ``task_id`` or ``id``, or strings. In CSV the column ``task_id``
    or ``id`` counts if the first record names one, else the first column; a quoted cell may hold
    line breaks. ``#`` starts a comment.

    Raises:
        InvalidInputError: Records that hold no id, all told at once by their first line.
    """
    ids: dict[str, None] = {}
    problems: list[str] = []
    column: int | None = None
    numbered = enumerate(lines, 1)
    for number, line in numbered:
        text = line.removeprefix("\ufeff").strip()
        if not text or text.startswith("#"):
            continue
        try:
            if text[0] in "{[":
                ids[check_task_id(_id_of(json.loads(text)))] = None
                continue
            cells = csv_record(text + "\n", (more for _, more in numbered))
            if column is None:
                column = _header(cells)
                if column is not None:
                    continue
                column = 0
            ids[check_task_id(_cell(cells, column))] = None
        except (InvalidInputError, ValueError, csv.Error) as error:
            problems.append(f"line {number}: {error}")
    if problems:
        raise InvalidInputError(tuple(problems))
    return list(ids)


def csv_record(first: str, rest: Iterator[str]) -> list[str]:
    """One CSV record; takes lines from `rest` only while a quoted cell is open.

    Raises:
        csv.Error: It is none.
    """
    cells = next(csv.reader(itertools.chain([first], rest), strict=True))
    return [cell.strip() for cell in cells]


def _header(cells: list[str]) -> int | None:
    return next((cells.index(name) for name in ("task_id", "id") if name in cells), None)


def _cell(cells: list[str], column: int) -> str:
    if column >= len(cells):
        raise ValueError(f"no column {column + 1}")
    return cells[column]


def _id_of(value: object) -> object:
    if isinstance(value, dict):
        fields = cast("dict[str, object]", value)
        return fields.get("task_id", fields.get("id"))
    return value


def decided_ids(lines: Iterable[str]) -> dict[str, str]:
    """Ids that a results file holds with a final state, and that state.

    A line cut short is passed over.
    """
    states: dict[str, str] = {}
    for line in lines:
        try:
            value: Any = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            fields = cast("dict[str, object]", value)
            task_id, state = fields.get("task_id"), fields.get("status")
            if isinstance(task_id, str) and isinstance(state, str) and state in DECIDED:
                states[task_id] = state
    return states
