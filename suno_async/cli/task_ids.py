"""Read task ids, and the results of an earlier run. No I/O."""

from __future__ import annotations

import contextlib
import csv
import itertools
import json
from typing import TYPE_CHECKING, Any, cast

import msgspec

from suno_async import InvalidInputError, TaskInfo, TaskParam, TaskStatus, Track, check_task_id
from suno_async.cli.outcome_rows import FINAL, WITHOUT_TASK

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator


def read_ids(lines: Iterable[str]) -> list[str]:
    """Return the task ids in lines of text, CSV or JSONL, in order and without duplicates.

    A JSONL line is a string, or an object with ``task_id`` or ``id``. In CSV, the ids are in the
    column ``task_id`` or ``id``. Without such a header, they are in the first column. Lines that
    start with ``#`` are comments. Rows of a results file without a task id are skipped if the
    status is one of `WITHOUT_TASK`.

    Raises:
        InvalidInputError: Some records have no valid id. The error lists all these records.
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
                value = json.loads(text)
                if not _is_without_task(value):
                    ids[check_task_id(_id_of(value))] = None
                continue
            cells = csv_record(text + "\n", (more for _, more in numbered))
            if column is None:
                column = _id_column(cells)
                if column is not None:
                    continue
                column = 0
            ids[check_task_id(_cell(cells, column))] = None
        except (InvalidInputError, ValueError, RecursionError, csv.Error) as error:
            problems.append(f"line {number}: {error}")
    if problems:
        raise InvalidInputError(tuple(problems))
    return list(ids)


def csv_record(first: str, rest: Iterator[str]) -> list[str]:
    """Return the cells of one CSV record. Read lines from `rest` only while a quoted cell is open.

    Args:
        first: The first line of the record.
        rest: The lines after the first line.

    Raises:
        csv.Error: The text is not a CSV record.
    """
    cells = next(csv.reader(itertools.chain([first], rest), strict=True))
    return [cell.strip() for cell in cells]


def final_statuses(lines: Iterable[str]) -> dict[str, str]:
    """Return the final statuses in a results file, by task id.

    Unfinished tasks and incomplete rows are skipped.
    """
    return {task_id: row["status"] for task_id, row in _final_rows(lines)}


def successful_infos(lines: Iterable[str], wanted: Container[str]) -> list[TaskInfo]:
    """For each wanted task that succeeded, return a `TaskInfo` with the URLs of its files.

    Args:
        lines: The lines of a results file. Incomplete rows are skipped.
        wanted: Ids of the wanted tasks.
    """
    infos: dict[str, TaskInfo] = {}
    for task_id, row in _final_rows(lines):
        if row["status"] == TaskStatus.SUCCESS and task_id in wanted:
            with contextlib.suppress(msgspec.ValidationError):
                found = msgspec.convert(row, _Files)
                infos[task_id] = TaskInfo(
                    task_id=task_id,
                    status=TaskStatus.SUCCESS,
                    tracks=found.tracks,
                    media_urls=found.media_urls,
                    media_info=found.stems,
                    param=TaskParam(model=found.model, input=found.input),
                )
    return list(infos.values())


def statuses_by_index(lines: Iterable[str]) -> dict[int, str]:
    """Return the status of each input in the results file of a batch, by the index of the input.

    If an input has several rows, return the first status that is final. If no status is final,
    return the last status. Incomplete rows are skipped.
    """
    statuses: dict[int, str] = {}
    for row in _rows(lines):
        index, status = row.get("index"), row.get("status")
        if isinstance(index, int) and isinstance(status, str) and statuses.get(index) not in FINAL:
            statuses[index] = status
    return statuses


class _Files(msgspec.Struct):
    """One row of a results file, reduced to what is needed to download files.

    Rows of earlier versions have no `input`, and those of ``poll`` have no `model`.
    """

    model: str = ""
    input: dict[str, Any] = {}
    tracks: tuple[Track, ...] = ()
    stems: dict[str, str] = {}
    media_urls: tuple[str, ...] = ()


def _final_rows(lines: Iterable[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the task id and the whole row for each row with a final status."""
    for row in _rows(lines):
        task_id, status = row.get("task_id"), row.get("status")
        if isinstance(task_id, str) and isinstance(status, str) and status in FINAL:
            yield task_id, row


def _rows(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            value: Any = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            yield cast("dict[str, Any]", value)


def _id_column(cells: list[str]) -> int | None:
    """Return the index of the id column if this record is a header; None if it is not."""
    return next((cells.index(name) for name in ("task_id", "id") if name in cells), None)


def _cell(cells: list[str], column: int) -> str:
    if column >= len(cells):
        raise ValueError(f"no column {column + 1}")
    return cells[column]


def _is_without_task(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    fields = cast("dict[str, object]", value)
    status = fields.get("status")
    return not fields.get("task_id") and isinstance(status, str) and status in WITHOUT_TASK


def _id_of(value: object) -> object:
    if isinstance(value, dict):
        fields = cast("dict[str, object]", value)
        return fields.get("task_id", fields.get("id"))
    return value
