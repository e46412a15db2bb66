"""The errors of this library.

The tree of classes::

    SunoError
    ├── ConfigurationError          no usable API key, or an invalid URL or option
    │   └── WrongEventLoopError     the client was used in a second event loop
    ├── InvalidInputError           an input is invalid; nothing was sent (also a ValueError)
    ├── CreditLimitError            the job would cost more than max_credits; nothing was spent
    ├── ClientClosedError           the client is closed, or was closed during the call
    ├── TransportError              no complete reply arrived
    │   ├── NotSentError            the request did not reach the server
    │   ├── RequestTimeoutError     no reply arrived in time (also a TimeoutError)
    │   └── ConnectionLostError     the connection broke after the request was sent
    ├── ResponseError               the reply could not be decoded
    ├── APIError                    the server returned an error code; see CODES
    │   ├── AuthenticationError     401, 403
    │   ├── InsufficientCreditsError 402
    │   ├── TaskNotFoundError       404
    │   ├── ValidationError         422
    │   ├── RateLimitError          429
    │   ├── MaintenanceError        455
    │   ├── ServerError             500, 408, 502, 503, 504, other 5xx
    │   ├── GenerationFailedError   501
    │   └── FeatureDisabledError    505
    ├── CreateOutcomeUnknownError   a task may or may not have been created and charged
    ├── TaskFailedError             the task failed
    ├── TaskTimeoutError            the wait ended before the task ended (also a TimeoutError)
    ├── DownloadError               a file could not be downloaded
    │   └── DownloadsFailedError    some of several files could not be downloaded
    ├── UploadError                 a file could not be uploaded
    ├── ExportError                 an export could not be written
    ├── JournalError                the journal could not be read or written
    │   ├── InputChangedError       the same key or position was used for another input
    │   └── RunInUseError           another process or stream uses the run
    └── InternalError               a bug in this library; its cause is the original error

Every error can be pickled and copied.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from suno_async.models import Estimate, TaskInfo

#: How many bytes of an undecodable body an error keeps.
BODY_START = 200


class SunoError(Exception):
    """Base class of all error classes of suno_async."""


class ConfigurationError(SunoError):
    """An argument or a setting is not valid, or a package is missing. The message names it."""


class WrongEventLoopError(ConfigurationError):
    """A client or journal was used in a second event loop. Create one for each event loop."""


class InvalidInputError(SunoError, ValueError):
    """An input is invalid. Nothing was sent and nothing was charged.

    Attributes:
        problems: One text for each problem found. It names the rule, and normally the field and the
            value.
    """

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        return "; ".join(self.problems)


class CreditLimitError(SunoError):
    """A job would cost more than ``max_credits``. No task was created and nothing was spent.

    Attributes:
        limit: The value of ``max_credits``.
        estimate: The server's estimate of the price. The library always sets it.
    """

    def __init__(self, limit: float, estimate: Estimate | None = None) -> None:
        super().__init__(limit, estimate)
        self.limit = limit
        self.estimate = estimate

    def __str__(self) -> str:
        price = "more" if self.estimate is None else f"{self.estimate.estimated_credits:.15g}"
        return f"the job would cost {price} credits, but max_credits is {self.limit:.15g}"


class ClientClosedError(SunoError):
    """The client, or the aiohttp session passed to it, is closed. Tasks continue at the server."""


class TransportError(SunoError):
    """No complete reply to a request arrived."""


class NotSentError(TransportError):
    """The request did not reach the server. There was no connection, or nothing was sent."""


class RequestTimeoutError(TransportError, TimeoutError):
    """No reply arrived in time. The server may have processed the request."""


class ConnectionLostError(TransportError):
    """The connection broke, or the client was closed, before the complete reply arrived.

    The request was sent, or may have been sent. So the server may have processed it.
    """


class ResponseError(SunoError):
    """A reply arrived, but it does not have the documented form.

    Attributes:
        reason: What is wrong with the reply.
        status: The HTTP status; 0 if the reply was not valid HTTP.
        body_start: The first 200 bytes of the reply's body, as text. Some errors leave it empty,
            even if the reply has a body.
    """

    def __init__(self, reason: str, status: int = 0, body_start: str = "") -> None:
        super().__init__(reason, status, body_start)
        self.reason = reason
        self.status = status
        self.body_start = body_start

    def __str__(self) -> str:
        status = f" (HTTP {self.status})" if self.status else ""
        body = f": {self.body_start!r}" if self.body_start else ""
        return f"{self.reason}{status}{body}"


class APIError(SunoError):
    """The server returned an error code. `CODES` maps each known code to a subclass.

    Other codes from 500 to 599 give a `ServerError`. All other codes give a plain `APIError`.

    After a 401, 402 or 403, the client may stop sending requests for a short time. After a 429 or a
    455 (maintenance), it pauses. In these times, calls may raise the same error again, but with the
    `status` 0.

    Attributes:
        code: The error code in the reply's JSON envelope. Without such a code, the HTTP status.
        message: The server's message. If there is none, the start of the reply's body. If `status`
            is 0, a text of this library.
        status: The HTTP status; 0 if no request was sent.
        errors: The validation errors that the server listed.
        retry_after: Seconds that the server asks to wait before the next request; None if the
            server gives no time. If `status` is 0, the seconds until a pause ends, or None.
        understood: True if the reply was a JSON envelope of the API. False if the reply had another
            form and may be from a proxy.
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

    #: What to do about the error; empty if there is no general advice.
    remedy = ""

    def __str__(self) -> str:
        parts = [f"code {self.code}: {self.message or 'no message'}", *self.errors]
        return "; ".join(parts) + (f" ({self.remedy})" if self.remedy else "")


class AuthenticationError(APIError):
    """The API key is missing or invalid (401), or disabled (403)."""

    remedy = "check the API key"


class InsufficientCreditsError(APIError):
    """The account does not have enough credits (402). Existing tasks are not affected."""

    remedy = "top up the account"


class TaskNotFoundError(APIError):
    """The server did not find the task, the model or the endpoint (404)."""

    remedy = "check the task id and the base URL, and that the key belongs to the same account"


class ValidationError(APIError):
    """The server rejected the parameters (422). `errors` or `message` says what is wrong."""

    remedy = "fix the input"


class RateLimitError(APIError):
    """The account sent too many requests (429). `retry_after` may say how long to wait."""

    remedy = "lower rate_limit if other processes use the same key"


class MaintenanceError(APIError):
    """The service is under maintenance (455)."""

    remedy = "try again in a few minutes"


class ServerError(APIError):
    """The server, or a proxy in front of it, failed (408, and all 5xx except 501 and 505)."""

    remedy = "try again in a few minutes"


class GenerationFailedError(APIError):
    """The server answered a request with the code 501 (the generation failed).

    Waiting for a task that failed raises `TaskFailedError` instead.
    """


class FeatureDisabledError(APIError):
    """The feature is disabled (505). Retrying does not help."""


#: The error class for each code of the API, and for the HTTP statuses of proxies in front of it.
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
    """It is unknown whether a create request created anything.

    The task or persona may exist, and may have been charged for. The request was not sent again,
    because that could charge twice.

    Attributes:
        cause: What went wrong, as text.
        kind: The kind of job, such as ``"suno/music-generate"``, or ``"persona"``.
        body: The JSON body of the request. If the create was read from a journal, only the job
            as JSON.
        submission_id: The id of the submission, for `SunoClient.settle`.
    """

    def __init__(
        self, cause: str, kind: str = "", body: bytes = b"", submission_id: str = ""
    ) -> None:
        super().__init__(cause, kind, body, submission_id)
        self.cause = cause
        self.kind = kind
        self.body = body
        self.submission_id = submission_id

    def __str__(self) -> str:
        return (
            f"{self.kind} may or may not have been created and charged: {self.cause}. "
            "It was not sent again. Compare the balance, or wait for the callback. If there is a "
            "journal, then call settle."
        )


class TaskFailedError(SunoError):
    """The task failed at the server.

    Attributes:
        task_id: The id of the task.
        reason: The server's error message; empty if there is none.
        info: The final record of the task. The library always sets it.
    """

    def __init__(self, task_id: str, reason: str = "", info: TaskInfo | None = None) -> None:
        super().__init__(task_id, reason, info)
        self.task_id = task_id
        self.reason = reason
        self.info = info

    def __str__(self) -> str:
        return f"task {self.task_id} failed: {self.reason or 'no reason given'}"


class TaskTimeoutError(SunoError, TimeoutError):
    """The wait ended before the task ended.

    If the task exists, it continues and can be awaited again.

    Attributes:
        task_id: The id of the task; empty if the timeout passed before `create` returned.
        reason: What ended the wait: the caller's timeout or `PollPolicy.deadline`.
        last_status: The last status that was read, as the server spells it; empty if no status was
            read.
        seen_at: When the request that returned `last_status` was sent, in Unix seconds; None if no
            status was read.
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
    """A file could not be downloaded. The final file name is never used for an incomplete file."""


class DownloadsFailedError(DownloadError):
    """At least one of several files could not be downloaded. All other files are complete.

    Attributes:
        errors: One error for each file that could not be downloaded.
        paths: The files that were downloaded, or existed before.
    """

    def __init__(self, errors: tuple[DownloadError, ...], paths: tuple[Path, ...] = ()) -> None:
        super().__init__(errors, paths)
        self.errors = errors
        self.paths = paths

    def __str__(self) -> str:
        count = len(self.errors) + len(self.paths)
        return f"{len(self.errors)} of {count} files failed: {self.errors[0]}"


class UploadError(SunoError):
    """A local file could not be read or uploaded."""


class ExportError(SunoError):
    """An export could not be written. No incomplete file is left."""


class JournalError(SunoError):
    """The journal cannot be read or written, or refuses a change. The message says why."""


class InputChangedError(JournalError):
    """An input differs from the input that was stored under the same key or position.

    Nothing was sent for this input. Restore the input, or use another key or another run name.

    Attributes:
        run: The name of the run; empty for a create request with a ``dedupe_key``.
        key: The key of the input, or its position as text if it has no key.
        position: The position of the input in the run, from 0.
    """

    def __init__(self, run: str, key: str, position: int = 0) -> None:
        super().__init__(run, key, position)
        self.run = run
        self.key = key
        self.position = position

    def __str__(self) -> str:
        if not self.run:
            return f"dedupe_key {self.key!r} was used for another input; use another key"
        return (
            f"input {self.position} of run {self.run!r} differs from the one stored under key "
            f"{self.key!r}; restore the input, or use another name for the run"
        )


class RunInUseError(JournalError):
    """Another process, or another call of `pipeline` or `resume` in this process, uses the run.

    Attributes:
        run: The name of the run.
        holder: The process that uses the run, such as ``"process 4711 on host-a"``.
    """

    def __init__(self, run: str, holder: str) -> None:
        super().__init__(run, holder)
        self.run = run
        self.holder = holder

    def __str__(self) -> str:
        return (
            f"run {self.run!r} is in use by {self.holder}; wait until that process has finished "
            "the run, or stop it (in one process, only one pipeline or resume can use a run)"
        )


class InternalError(SunoError):
    """A bug in this library. ``__cause__`` is the original exception.

    The log of ``suno_async`` contains the traceback. Please report the bug.

    Attributes:
        what: What the library was doing when the exception occurred.
        task_id: The id of the task; empty if the exception occurred during a create.
    """

    def __init__(self, what: str, task_id: str = "") -> None:
        super().__init__(what, task_id)
        self.what = what
        self.task_id = task_id

    def __str__(self) -> str:
        about = f" (task {self.task_id})" if self.task_id else ""
        return f"bug in suno_async while {self.what}{about}; the log contains the traceback"
