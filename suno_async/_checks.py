"""Check inputs before anything is sent. The checks send nothing and cost no credits. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from suno_async._input_rules import callback_url_problem, shown, task_id_problem
from suno_async.errors import InvalidInputError
from suno_async.inputs import GeneratePersona, Input

if TYPE_CHECKING:
    from suno_async.models import TaskRef

#: Greatest absolute value of a creation time, in seconds. It is far from every real time, and far
#: from the numbers with which calculations overflow.
MOST_SECONDS = 1e15


def check_task_id(task_id: object) -> str:
    """Return the value unchanged if it can be a task id. Whether the task exists is not checked.

    Raises:
        InvalidInputError: The value cannot be a task id.
    """
    if (problem := task_id_problem(task_id)) or not isinstance(task_id, str):
        raise InvalidInputError((problem or "",))
    return task_id


def check_ref(ref: TaskRef) -> TaskRef:
    """Return the reference unchanged if its id and its creation time are possible.

    Raises:
        InvalidInputError: The id cannot be a task id, or the creation time is not a finite number.
    """
    check_task_id(ref.task_id)
    at: Any = ref.created_at  # callers without a type checker
    if at is None or (isinstance(at, int | float) and -MOST_SECONDS <= at <= MOST_SECONDS):
        return ref
    raise InvalidInputError((f"created_at: must be a time in Unix seconds, not {shown(at)}",))


def check_job(job: object, callback_url: object = None) -> None:
    """Check the input of a job, and the callback URL if there is one.

    Raises:
        InvalidInputError: One or more rules are broken. The error lists every problem.
    """
    if not isinstance(job, Input):
        what = f"must be an input such as GenerateMusic, not {type(job).__name__}"
        if isinstance(job, GeneratePersona):
            what = "this is a GeneratePersona; pass it to create_persona"
        raise InvalidInputError((f"job: {what}",))
    problems = job.problems()
    if callback_url and (problem := callback_url_problem(callback_url)):
        problems += (problem,)
    if problems:
        raise InvalidInputError(problems)


def check_persona(persona: object) -> None:
    """Check the input of `SunoClient.create_persona`.

    Raises:
        InvalidInputError: One or more rules are broken. The error lists every problem.
    """
    if not isinstance(persona, GeneratePersona):
        what = f"must be a GeneratePersona, not {type(persona).__name__}"
        if isinstance(persona, Input):
            what = f"this is a {type(persona).__name__}; pass it to create"
        raise InvalidInputError((f"persona: {what}",))
    if problems := persona.problems():
        raise InvalidInputError(problems)


def check_max_credits(max_credits: float | None) -> float | None:
    """Return `max_credits` unchanged if it is a valid limit. None means no limit.

    Raises:
        InvalidInputError: The limit is not a number, or it is below 0.
    """
    if max_credits is None:
        return None
    try:
        valid = max_credits >= 0
    except TypeError:
        valid = False
    if not valid:
        raise InvalidInputError((f"max_credits: must be 0 or more, not {max_credits!r}",))
    return max_credits
