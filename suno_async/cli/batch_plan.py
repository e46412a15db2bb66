"""The remaining work of a batch: the journal of an earlier run, and the plan of this run. Pure.

The journal gets a line before each create is sent, and another line when its outcome is known. If
the first line exists without the second, the task may have been created: it is not created again
unless the user asks for it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from typing import TYPE_CHECKING, Any

import msgspec

from suno_async.cli.outcome_rows import FINAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from suno_async import Input


class Step(msgspec.Struct, frozen=True):
    """One line of a journal: the state of creating one input.

    Attributes:
        index: The input, counted from 0.
        digest: Hash of the input. It shows whether the file has changed since.
        state: ``"sending"``: the request may be sent from now on. ``"created"``,
            ``"not_created"`` and ``"unknown"`` are outcomes.
        task_id: The task if it was created, else empty.
    """

    index: int
    digest: str
    state: str
    task_id: str = ""


class Plan(msgspec.Struct):
    """What is left to do.

    Attributes:
        create: Indices of the inputs to create.
        poll: Tasks of an earlier run that have not ended: task id → index.
        unknown: Indices of the inputs that an earlier run may have created. They are skipped.
        final: Inputs that ended in an earlier run: index → status.
    """

    create: list[int] = msgspec.field(default_factory=list[int])
    poll: dict[str, int] = msgspec.field(default_factory=dict[str, int])
    unknown: list[int] = msgspec.field(default_factory=list[int])
    final: dict[int, str] = msgspec.field(default_factory=dict[int, str])


class ChangedInputError(Exception):
    """An input has changed, or is missing, since the batch was started.

    Attributes:
        index: The input, counted from 0.
    """

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.index = index


def digest(job: Input) -> str:
    """Return a hash of an input. Inputs that send the same have the same hash."""
    body = msgspec.json.encode([job.KIND, job.payload()], order="deterministic")
    return hashlib.blake2b(body, digest_size=8).hexdigest()


def read_steps(lines: Iterable[str]) -> dict[int, Step]:
    """Return the last step of each input in a journal. Lines that are cut off are skipped."""
    steps: dict[int, Step] = {}
    for line in lines:
        with contextlib.suppress(msgspec.DecodeError):
            step = msgspec.json.decode(line, type=Step)
            steps[step.index] = step
    return steps


def read_final_rows(lines: Iterable[str]) -> dict[int, str]:
    """Return the inputs in a results file that have ended: index → status."""
    final: dict[int, str] = {}
    for line in lines:
        try:
            value: Any = json.loads(line)
            index, status = value["index"], value["status"]
        except (ValueError, TypeError, KeyError):
            continue
        if isinstance(index, int) and status in FINAL:
            final[index] = status
    return final


def plan_batch(
    digests: Sequence[str],
    steps: dict[int, Step],
    final: dict[int, str],
    *,
    resend_unknown: bool,
) -> Plan:
    """Return what is left to do of a batch.

    Args:
        digests: Hashes of all inputs.
        steps: The last step of each input in the journal of an earlier run.
        final: The inputs that ended in an earlier run: index → status.
        resend_unknown: Also create the inputs that an earlier run may have created.

    Raises:
        ChangedInputError: An input of the journal has changed, or is missing.
    """
    plan = Plan(final=final)
    for index, step in steps.items():
        if index >= len(digests) or step.digest != digests[index]:
            raise ChangedInputError(index)
    for index in range(len(digests)):
        last = steps.get(index)
        if index in final:
            continue
        if last is not None and last.state == "created":
            plan.poll[last.task_id] = index
        elif last is None or last.state == "not_created" or resend_unknown:
            plan.create.append(index)
        else:
            plan.unknown.append(index)
    return plan
