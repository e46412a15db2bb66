"""Test how `TaskCounts` counts the tasks in each state for the live display."""

from __future__ import annotations

from suno_async import NotSentError, TaskInfo, TaskRef, TaskStatus
from suno_async.cli.task_counts import STATES, TaskCounts


def counts(**numbers: int) -> dict[str, int]:
    """Return a number for every state in `STATES`: the one in `numbers`, or else 0."""
    return dict.fromkeys(STATES, 0) | numbers


def test_states() -> None:
    """`TaskCounts` counts each task once, in its latest state.

    A task that has ended stays in its final state.
    """
    tasks = TaskCounts(["a", "b"])
    assert tasks.numbers() == counts(created=2)
    tasks.task_created(TaskRef(task_id="c"))
    tasks.task_polled(TaskInfo(task_id="a", status=TaskStatus.PENDING))
    assert tasks.numbers() == counts(created=2, pending=1)
    tasks.task_polled(TaskInfo(task_id="a", status=TaskStatus.RUNNING))
    tasks.task_polled(TaskInfo(task_id="a", status=TaskStatus.RUNNING))
    assert tasks.numbers() == counts(created=2, running=1)
    tasks.task_polled(TaskInfo(task_id="a", status=TaskStatus.SUCCESS))
    tasks.ended("a", "success")
    tasks.ended("b", "failed")
    tasks.ended("c", "undecided")
    tasks.ended("", "unknown")
    assert tasks.numbers() == counts(done=1, failed=1, unknown=2)
    tasks.ended("", "not_created")
    assert tasks.numbers() == counts(done=1, failed=1, unknown=2) | {"not created": 1}
    tasks.task_polled(TaskInfo(task_id="a", status=TaskStatus.RUNNING))
    assert tasks.numbers()["running"] == 0


def test_trouble() -> None:
    """If a request gets no reply, its error is shown until the next reply."""
    tasks = TaskCounts()
    tasks.request_finished("GET", "/", 1.0, NotSentError("could not connect to x"))
    assert tasks.trouble == "could not connect to x"
    tasks.request_finished("GET", "/", 1.0, None)
    assert not tasks.trouble
