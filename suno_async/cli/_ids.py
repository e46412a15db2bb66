"""Reading task ids, and what an earlier run has written. Pure."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any, cast

from suno_async import InvalidInputError
from suno_async.inputs import check_task_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: States in a results file that need no further polling.
DECIDED = frozenset({"success", "failed"})


def read_ids(lines: Iterable[str]) -> list[str]:
    """Task ids from lines of text, CSV or JSONL, each once, in order.

    JSONL lines are objects with ``task_id`` or ``id``, or strings. In CSV the column ``task_id``
    or ``id`` counts if the first line names one, else the first column. ``#`` starts a comment.

    Raises:
        InvalidInputError: Lines that hold no id, all told at once by number.
    """
    ids: dict[str, None] = {}
    problems: list[str] = []
    column = 0
    first = True
    for number, line in enumerate(lines, 1):
        text = line.strip().removeprefix("\ufeff")
        if not text or text.startswith("#"):
            continue
        if first:
            first = False
            header = next(csv.reader([text]))
            named = [name for name in ("task_id", "id") if name in header]
            if named:
                column = header.index(named[0])
                continue
        try:
            ids[check_task_id(_one(text, column))] = None
        except (InvalidInputError, ValueError, IndexError) as error:
            problems.append(f"line {number}: {error}")
    if problems:
        raise InvalidInputError(tuple(problems))
    return list(ids)


def _one(text: str, column: int) -> object:
    if text[0] not in '{"[':
        return next(csv.reader([text]))[column].strip()
    if text[0] == '"' and "," in text:
        return next(csv.reader([text]))[column].strip()
    value: Any = json.loads(text)
    if isinstance(value, dict):
        fields = cast("dict[str, object]", value)
        return fields.get("task_id", fields.get("id"))
    return value


def decided_ids(lines: Iterable[str]) -> Iterator[str]:
    """Ids that a results file holds with a final state; a line cut short is passed over."""
    for line in lines:
        try:
            value: Any = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            fields = cast("dict[str, object]", value)
            if fields.get("status") in DECIDED and isinstance(fields.get("task_id"), str):
                yield str(fields["task_id"])
