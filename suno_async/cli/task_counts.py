"""The number of tasks in each state, for the live display. No I/O."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from suno_async import NullObserver, TaskStatus, TransportError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from suno_async import SunoError, TaskInfo, TaskRef

#: The states that the display always shows. A task ends in one of the last three.
STATES = ("created", "pending", "running", "done", "failed", "unknown")

#: What the display calls some statuses of results files. The other statuses keep their names.
_ENDED = {"success": "done", "undecided": "unknown", "not_created": "not created"}


class TaskCounts(NullObserver):
    """Counts the tasks of a command by state. Pass an instance to the client as ``observer=``.

    Args:
        task_ids: Ids of tasks that already exist. New tasks are counted when they are created.

    Attributes:
        trouble: Why the last request got no reply; empty if it got a reply.
    """

    def __init__(self, task_ids: Iterable[str] = ()) -> None:
        self.trouble = ""
        self._open = dict.fromkeys(task_ids, "created")
        self._counts = Counter({"created": len(self._open)})

    def task_created(self, task: TaskRef) -> None:
        """Count a new task."""
        self.add(task.task_id)

    def add(self, task_id: str) -> None:
        """Count a task as ``created``.

        Do nothing if the task is counted already and has not ended.
        """
        if task_id not in self._open:
            self._move(task_id, "created")

    def task_polled(self, info: TaskInfo) -> None:
        """Count a task as pending or running. Tasks that have ended are counted by `ended`."""
        if info.task_id in self._open and info.status in {TaskStatus.PENDING, TaskStatus.RUNNING}:
            self._move(info.task_id, info.status.value)

    def request_finished(
        self, method: str, path: str, seconds: float, error: SunoError | None
    ) -> None:
        """Store in `trouble` why the request got no reply; an empty text if it got a reply."""
        del method, path, seconds
        self.trouble = str(error) if isinstance(error, TransportError) else ""

    def ended(self, task_id: str, status: str) -> None:
        """Count the outcome of a task, or the outcome of an input that has no task.

        Args:
            task_id: The id of the task; empty if there is no task.
            status: The status of the outcome, as in results files.
        """
        if (before := self._open.pop(task_id, None)) is not None:
            self._counts[before] -= 1
        self._counts[_ENDED.get(status, status)] += 1

    def numbers(self) -> dict[str, int]:
        """Return the number of tasks in each of `STATES`, and in any other state that occurs."""
        others = {name: count for name, count in self._counts.items() if count}
        return {name: self._counts[name] for name in STATES} | others

    def _move(self, task_id: str, state: str) -> None:
        if (before := self._open.get(task_id)) is not None:
            self._counts[before] -= 1
        self._open[task_id] = state
        self._counts[state] += 1
