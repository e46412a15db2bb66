"""The state of one create: the request that creates a task or a persona. No I/O.

The states and their transitions::

    planned ──► sending ──► created     the server accepted it and returned a task id
       ▲           │   ├──► refused     the server replied with a refusal
       └───────────┤   └──► unknown     it may or may not have been accepted: never sent again
    (402, 429,     └──────► not_sent    the server did not accept it, and it is not sent again
     455, no connection)

A planned create that is not sent again ends as ``refused`` if a request for it was sent before and
its last error is an `APIError`. During a pause of the account, the client itself raises such an
error. Otherwise, the create ends as ``not_sent``.

A create costs credits, and the API has no idempotency key. So only a planned create may be sent.
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

#: Errors that prove that the server did not accept the request. A later attempt may succeed.
_NOT_ACCEPTED = (NotSentError, RateLimitError, MaintenanceError)


class SubmissionState(enum.StrEnum):
    """The state of a create.

    A create is ``planned``, then ``sending``. After a 402, 429 or 455, or if no connection could be
    made, it is ``planned`` again. The other states end the create:

    - ``created``: The task or persona exists. Nothing was sent if the journal already contained a
      task for the same key.
    - ``refused``: The request was sent, the final error is an `APIError`, and nothing was created.
    - ``not_sent``: Nothing was created, but not because of an `APIError`. Normally, no request was
      sent. But the state is also ``not_sent`` if, for example, the client was closed after a 429.
    - ``unknown``: The task or persona may exist. `SunoClient.settle` records the outcome.
    """

    PLANNED = "planned"
    SENDING = "sending"
    CREATED = "created"
    REFUSED = "refused"
    NOT_SENT = "not_sent"
    UNKNOWN = "unknown"

    @property
    def ended(self) -> bool:
        """Whether the create has ended: False only for ``planned`` and ``sending``."""
        return self not in {SubmissionState.PLANNED, SubmissionState.SENDING}


class Submission(msgspec.Struct, eq=False):
    """One create: the job, and the state of its request.

    Attributes:
        id: A unique id. It identifies the submission before a task id exists.
        job: The input of the job or of the persona.
        index: The position of the job among all jobs of the call, from 0; 0 for a single create.
        run: The name of the series of submissions (the *run*) in the journal; empty if there is no
            run.
        key: Identifies the submission within its run, or within the account if `run` is empty.
            Empty if there is no key.
        callback_url: The URL that receives a POST when the task ends; None for no callback.
        state: The state of the create.
        sent: Whether at least one request was sent, or may have been sent. It is set when a request
            ends, so it is False while the first request is in flight.
        abandoned: Whether the caller no longer waits, or the function `on_submission` failed. An
            abandoned submission is not sent again.
        recorded: Whether the submission is stored in the journal.
        task_id: The id of the task or persona; empty until it is known.
        created_at: When the task or persona was created, in Unix seconds; None until then, or if
            the time is unknown.
        error: The final error; None if there is none.
    """

    id: str
    job: Input | GeneratePersona
    index: int = 0
    run: str = ""
    key: str = ""
    callback_url: str | None = None
    state: SubmissionState = SubmissionState.PLANNED
    sent: bool = False
    abandoned: bool = False
    recorded: bool = False
    task_id: str = ""
    created_at: float | None = None
    error: SunoError | None = None

    @property
    def kind(self) -> str:
        """The kind of job, such as ``"suno/music-generate"``, or ``"persona"``."""
        kind: Any = getattr(self.job, "KIND", "persona")
        return str(kind)

    def sending(self) -> None:
        """Set the state ``sending``, because from now on the request may have been sent."""
        self.state = SubmissionState.SENDING

    def attempt_failed(self, error: SunoError) -> None:
        """Update `sent` and the state after a failed attempt.

        After 402, 429, 455 or a failed connection, the state is ``planned`` again, because the
        server did not accept the request.
        """
        # A `ClientClosedError` means that the aiohttp session of the caller is closed.
        self.sent = self.sent or not isinstance(error, (NotSentError, ClientClosedError))
        if isinstance(error, (*_NOT_ACCEPTED, InsufficientCreditsError)):
            self.state = SubmissionState.PLANNED

    def may_retry(self, error: SunoError) -> bool:
        """Return whether the request may be sent again after `error`.

        This is so after a failed connection, a 429 (too many requests) or a 455 (maintenance),
        unless the submission was abandoned. It is not so after a 402 (too few credits). With the
        option ``wait_for_credits``, a stream sends such a request again when the account has
        credits.
        """
        planned = self.state is SubmissionState.PLANNED
        return planned and not self.abandoned and isinstance(error, _NOT_ACCEPTED)

    def created(self, new_id: str, at: float) -> None:
        """Record that the server created the task or persona `new_id` at the Unix time `at`."""
        self.state, self.sent = SubmissionState.CREATED, True
        self.task_id, self.created_at = new_id, at

    def repeats(self, task_id: str, created_at: float | None) -> None:
        """Record that an earlier submission with the same key has created the task `task_id`."""
        self.state = SubmissionState.CREATED
        self.task_id, self.created_at = task_id, created_at

    def failed(self, error: SunoError, body: bytes = b"") -> None:
        """Record the error of the last attempt, and set the final state.

        If the server may have accepted the request, the recorded error is a
        `CreateOutcomeUnknownError`.

        Args:
            error: The error of the last attempt.
            body: The JSON body of the request. The `CreateOutcomeUnknownError` contains it.
        """
        if self.state is SubmissionState.PLANNED or _proves_nothing_was_accepted(error):
            self.error = error
            refused = self.sent and isinstance(error, APIError)
            self.state = SubmissionState.REFUSED if refused else SubmissionState.NOT_SENT
        else:
            self.sent = True
            self.error = CreateOutcomeUnknownError(str(error), self.kind, body, self.id)
            self.error.__cause__ = error
            self.state = SubmissionState.UNKNOWN


def _proves_nothing_was_accepted(error: SunoError) -> bool:
    if isinstance(error, (*_NOT_ACCEPTED, ClientClosedError)):
        return True
    # Three kinds of error replies do not prove it. A reply of a proxy says nothing about the API. A
    # 500 may come after the charge. A code outside the contract (a plain APIError) is unclear.
    if not isinstance(error, APIError) or isinstance(error, ServerError):
        return False
    return error.understood and type(error) is not APIError
