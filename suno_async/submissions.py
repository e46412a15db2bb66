"""The state of one create. Pure.

    planned ──► sending ──► created     the server accepted it and returned a task id
       ▲           │   ├──► refused     the server answered that it did not accept it
       └───────────┤   └──► unknown     it may or may not have been accepted: never sent again
    (429, 455,     └──────► not sent    the server certainly saw nothing, and it is not tried again
     no connection)

A create costs credits and has no idempotency key, so the state says at each moment whether it may
be sent again: only a planned one may.
"""

from __future__ import annotations

import enum
from typing import Any

import msgspec

from suno_async.errors import (
    APIError,
    ClientClosedError,
    CreateOutcomeUnknownError,
    InsufficientCreditsError,
    MaintenanceError,
    NotSentError,
    RateLimitError,
    ServerError,
    SunoError,
)
from suno_async.inputs import GeneratePersona, Input

#: Errors that prove that the server did not accept the request, though it may do so later.
_NOT_ACCEPTED = (NotSentError, RateLimitError, MaintenanceError)


class SubmissionState(enum.StrEnum):
    """Where a create stands; the module's docstring draws the transitions."""

    PLANNED = "planned"
    SENDING = "sending"
    CREATED = "created"
    REFUSED = "refused"
    NOT_SENT = "not_sent"
    UNKNOWN = "unknown"

    @property
    def ended(self) -> bool:
        """No further transition follows."""
        return self not in {SubmissionState.PLANNED, SubmissionState.SENDING}


class Submission(msgspec.Struct, eq=False):
    """One create: what is to be made, and how far it got.

    Attributes:
        id: Identifies the submission before a task id exists; unique.
        job: What to make.
        index: The position of the input in its stream, from 0; 0 for a single create.
        callback_url: Where the server reports the end of the task.
        state: How far it got.
        sent: A request left, or may have left, at least once.
        abandoned: Its caller was cancelled, or its intent could not be noted down. It is not sent
            any more; if its request is in flight, the reply is still awaited.
        task_id: The id of the task (of a persona: of the persona) once created, else empty.
        error: Why it ended without being created.
    """

    id: str
    job: Input | GeneratePersona
    index: int = 0
    callback_url: str | None = None
    state: SubmissionState = SubmissionState.PLANNED
    sent: bool = False
    abandoned: bool = False
    task_id: str = ""
    error: SunoError | None = None

    @property
    def kind(self) -> str:
        """The kind of job by the contract's name."""
        kind: Any = getattr(self.job, "KIND", "persona")
        return str(kind)

    def sending(self) -> None:
        """Record that the request may leave from now on."""
        self.state = SubmissionState.SENDING

    def attempt_failed(self, error: SunoError) -> None:
        """Record the error of one attempt. A request that was not accepted is planned again."""
        self.sent = self.sent or not isinstance(error, NotSentError)
        if isinstance(error, (*_NOT_ACCEPTED, InsufficientCreditsError)):
            self.state = SubmissionState.PLANNED

    def may_retry(self, error: SunoError) -> bool:
        """Return whether the request may be sent again by itself.

        Only one that the server certainly did not accept: it found no connection, or it was
        refused for the rate (429) or for maintenance (455).
        """
        planned = self.state is SubmissionState.PLANNED
        return planned and not self.abandoned and isinstance(error, _NOT_ACCEPTED)

    def created(self, new_id: str) -> None:
        """Record that the server accepted it."""
        self.state, self.sent, self.task_id = SubmissionState.CREATED, True, new_id

    def failed(self, error: SunoError, body: bytes = b"") -> None:
        """Record the error that ends it.

        Args:
            error: What the last attempt raised.
            body: The JSON body of the request, needed to settle an unknown outcome.
        """
        if self.state is SubmissionState.PLANNED or _proves_nothing_was_accepted(error):
            self.error = error
            refused = self.sent and isinstance(error, APIError)
            self.state = SubmissionState.REFUSED if refused else SubmissionState.NOT_SENT
        else:
            self.sent = True
            self.error = CreateOutcomeUnknownError(str(error), self.kind, body)
            self.error.__cause__ = error
            self.state = SubmissionState.UNKNOWN


def _proves_nothing_was_accepted(error: SunoError) -> bool:
    if isinstance(error, (*_NOT_ACCEPTED, ClientClosedError)):
        return True
    # What stands in front of the API does not know what the API did, a 500 may come after the
    # charge, and a code that is not in the contract (the plain class) says nothing.
    if not isinstance(error, APIError) or isinstance(error, ServerError):
        return False
    return error.understood and type(error) is not APIError
