"""Every error this library raises, as one tree.

    SunoError
    ├── ConfigurationError          no key, a key that cannot stand in a header, a bad URL or option
    │   └── WrongEventLoopError     a client used in a second event loop
    ├── InvalidInputError           an input breaks a rule; nothing was sent (also a ValueError)
    ├── CreditLimitError            a job would cost more than the caller allowed; nothing was spent
    ├── ClientClosedError           the client was closed while, or before, it was asked
    ├── TransportError              no reply came
    │   ├── NotSentError            no connection: the server certainly saw nothing
    │   ├── RequestTimeoutError     no reply in time (also a TimeoutError)
    │   └── ConnectionLostError     the connection broke after the request left
    ├── ResponseError               a reply came that cannot be understood
    ├── APIError                    the server refused; see `CODES`
    │   ├── AuthenticationError     401, 403
    │   ├── InsufficientCreditsError 402
    │   ├── TaskNotFoundError       404
    │   ├── ValidationError         422
    │   ├── RateLimitError          429
    │   ├── MaintenanceError        455
    │   ├── ServerError             500, 408, 502, 503, 504
    │   ├── GenerationFailedError   501
    │   └── FeatureDisabledError    505
    ├── CreateOutcomeUnknownError   a create may or may not have been accepted, and paid
    ├── TaskFailedError             the job ended in failure
    ├── TaskTimeoutError            a wait ended before the job did (also a TimeoutError)
    ├── DownloadError               a file could not be fetched whole
    ├── UploadError                 a file could not be sent whole
    └── InternalError               a bug in this library; the original error is its cause

All arguments are positional, so that every error survives pickle and copy.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from suno_async.models import Estimate, TaskInfo

#: How much of an unreadable body an error keeps, in bytes.
BODY_START = 200


class SunoError(Exception):
    """Base of every error raised by suno_async."""


class ConfigurationError(SunoError):
    """The client cannot work as configured; the message says what to set."""


class WrongEventLoopError(ConfigurationError):
    """A client belongs to the event loop it was first used in: make one client per loop."""


class InvalidInputError(SunoError, ValueError):
    """An input breaks the contract. Nothing was sent and nothing was charged.

    Attributes:
        problems: Every broken rule, each naming its field, rule and value.
    """

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        return "; ".join(self.problems)


class CreditLimitError(SunoError):
    """A job would cost more than its ``max_credits``. It was not created, and nothing was spent.

    Attributes:
        limit: What the caller allowed, in credits.
        estimate: The server's price.
    """

    def __init__(self, limit: float, estimate: Estimate | None = None) -> None:
        super().__init__(limit, estimate)
        self.limit = limit
        self.estimate = estimate

    def __str__(self) -> str:
        price = "more" if self.estimate is None else f"{self.estimate.estimated_credits:g}"
        return f"at most {self.limit:g} credits were allowed, the job would cost {price}"


class ClientClosedError(SunoError):
    """The client is closed; the task, if there is one, goes on at the server."""


class TransportError(SunoError):
    """No reply came to a request."""


class NotSentError(TransportError):
    """No connection could be made: the server certainly did not see the request."""


class RequestTimeoutError(TransportError, TimeoutError):
    """No reply came in time; the server may have acted on the request."""


class ConnectionLostError(TransportError):
    """The connection broke after the request left; the server may have acted on it."""


class ResponseError(SunoError):
    """A reply came that is not what the contract says.

    Attributes:
        status: HTTP status.
        body_start: The first `BODY_START` bytes, as text.
    """

    def __init__(self, reason: str, status: int = 0, body_start: str = "") -> None:
        super().__init__(reason, status, body_start)
        self.reason = reason
        self.status = status
        self.body_start = body_start

    def __str__(self) -> str:
        return f"{self.reason} (HTTP {self.status}): {self.body_start!r}"


class APIError(SunoError):
    """The server answered with an error code.

    Attributes:
        code: The contract's code: the envelope's if it is an error, else the HTTP status.
        message: The server's words, or the start of an unreadable body.
        status: HTTP status.
        errors: The server's list of validation errors, if it gave one.
        retry_after: Seconds the server asked to wait; None if it did not say.
        understood: The code came in the API's own envelope, not from something in front of it.
    """

    def __init__(  # noqa: PLR0913, PLR0917 (one value for each thing a caller may act on)
        self,
        code: int,
        message: str = "",
        status: int = 0,
        errors: tuple[str, ...] = (),
        retry_after: float | None = None,
        understood: bool = True,  # noqa: FBT001, FBT002 (positional for pickle)
    ) -> None:
        super().__init__(code, message, status, errors, retry_after, understood)
        self.code = code
        self.message = message
        self.status = status
        self.errors = errors
        self.retry_after = retry_after
        self.understood = understood

    #: What to do about it.
    remedy = ""

    def __str__(self) -> str:
        parts = [f"code {self.code}: {self.message or 'no message'}", *self.errors]
        return "; ".join(parts) + (f" ({self.remedy})" if self.remedy else "")


class AuthenticationError(APIError):
    """The key is missing, invalid (401) or disabled (403)."""

    remedy = "check the API key"


class InsufficientCreditsError(APIError):
    """The account has not enough credits (402). Polling goes on; creating must stop."""

    remedy = "top up the account"


class TaskNotFoundError(APIError):
    """The task or the endpoint does not exist (404)."""

    remedy = "check the task id, the base URL and whose key it is"


class ValidationError(APIError):
    """The server refused the parameters (422); see `errors`."""

    remedy = "fix the input"


class RateLimitError(APIError):
    """The account's rate is exceeded (429); see `retry_after`."""

    remedy = "is another process using the same key?"


class MaintenanceError(APIError):
    """The service is under maintenance (455)."""

    remedy = "try again in some minutes"


class ServerError(APIError):
    """The server, or what stands in front of it, failed (500, 408, 502, 503, 504)."""

    remedy = "try again in a few minutes"


class GenerationFailedError(APIError):
    """The generation failed (501): final for its task."""


class FeatureDisabledError(APIError):
    """The feature is disabled (505): permanent."""


#: The contract's codes, and HTTP's from what stands in front of the API.
CODES: dict[int, type[APIError]] = {
    401: AuthenticationError,
    403: AuthenticationError,
    402: InsufficientCreditsError,
    404: TaskNotFoundError,
    408: ServerError,
    422: ValidationError,
    429: RateLimitError,
    455: MaintenanceError,
    500: ServerError,
    501: GenerationFailedError,
    502: ServerError,
    503: ServerError,
    504: ServerError,
    505: FeatureDisabledError,
}


class CreateOutcomeUnknownError(SunoError):
    """A create left, and whether it was accepted, and paid, is not known. It was not sent again.

    Attributes:
        cause: What went wrong, in words.
        kind: The kind of job.
        body: The JSON body that was sent, for whoever settles it.
    """

    def __init__(self, cause: str, kind: str = "", body: bytes = b"") -> None:
        super().__init__(cause, kind, body)
        self.cause = cause
        self.kind = kind
        self.body = body

    def __str__(self) -> str:
        return (
            f"{self.kind} may or may not have been created and charged: {self.cause}. "
            "It was not sent again; compare the balance, or wait for its callback."
        )


class TaskFailedError(SunoError):
    """The job ended in failure.

    Attributes:
        task_id: Which task.
        info: The task's last record; None if the failure came without one.
        reason: The server's words.
    """

    def __init__(self, task_id: str, reason: str = "", info: TaskInfo | None = None) -> None:
        super().__init__(task_id, reason, info)
        self.task_id = task_id
        self.reason = reason
        self.info = info

    def __str__(self) -> str:
        return f"task {self.task_id} failed: {self.reason or 'no reason given'}"


class TaskTimeoutError(SunoError, TimeoutError):
    """A wait ended before the job did. The job continues at the server and can be awaited again.

    Attributes:
        task_id: The task; empty if the timeout passed before it was created.
        reason: What ended the wait: the caller's timeout or the polling deadline.
        last_status: The server's word for the last status seen; empty if none was seen.
        seen_at: When that status was seen, in Unix seconds; None if none was seen.
    """

    def __init__(
        self, task_id: str, reason: str = "", last_status: str = "", seen_at: float | None = None
    ) -> None:
        super().__init__(task_id, reason, last_status, seen_at)
        self.task_id = task_id
        self.reason = reason
        self.last_status = last_status
        self.seen_at = seen_at

    def __str__(self) -> str:
        if not self.task_id:
            return self.reason
        text = f"task {self.task_id}: {self.reason}"
        if self.seen_at is None:
            return f"{text}; no status was seen"
        seen = datetime.fromtimestamp(self.seen_at, UTC).isoformat(timespec="seconds")
        return f"{text}; last status {self.last_status!r}, seen at {seen}"


class DownloadError(SunoError):
    """A result file could not be fetched whole; no partial file is left under its final name."""


class UploadError(SunoError):
    """A local file could not be read, or could not be sent whole."""


class InternalError(SunoError):
    """A bug in this library. ``__cause__`` is the original exception.

    The traceback is in the log of ``suno_async``; please report it.

    Attributes:
        what: What the library was doing.
        task_id: The task whose wait ended; empty if it is not about one task.
    """

    def __init__(self, what: str, task_id: str = "") -> None:
        super().__init__(what, task_id)
        self.what = what
        self.task_id = task_id

    def __str__(self) -> str:
        about = f" (task {self.task_id})" if self.task_id else ""
        return f"bug in suno_async while {self.what}{about}; the log has the traceback"
