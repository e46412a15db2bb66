"""Observers receive the events of a client. Pass an observer as `SunoClient(observer=...)`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from suno_async.errors import SunoError
    from suno_async.models import TaskInfo, TaskRef

logger = logging.getLogger("suno_async")


class Observer(Protocol):
    """Receives the events of a client. Derive from `NullObserver` to implement only some methods.

    The methods are plain functions. They must not block, because the library calls them in the
    event loop. Exceptions that they raise are logged and ignored.
    """

    def request_sent(self, method: str, path: str) -> None:
        """Handle a request to the API that is about to be sent.

        Not called for the transfer of a file in a download or upload. Also not called for the
        request with which `SunoClient.rotate_key` checks a new key.
        """
        ...

    def request_finished(
        self, method: str, path: str, seconds: float, error: SunoError | None
    ) -> None:
        """Handle the end of a request. Not called if the request was cancelled.

        `seconds` is the time since the call of `request_sent`. `error` is None if the request
        succeeded.
        """
        ...

    def task_created(self, task: TaskRef) -> None:
        """Handle a task that the server created for this client."""
        ...

    def task_polled(self, info: TaskInfo) -> None:
        """Handle a task record that a poll returned."""
        ...

    def task_ended(self, task_id: str, error: SunoError | None) -> None:
        """Handle the outcome of a task that callers wait for.

        Called once for all these callers. Not called if no caller waits for the task any more,
        when the `timeout` of a caller passes, or if the outcome was read from the journal.
        `error` is None if the task succeeded, and a `TaskFailedError` if it failed. Any other error
        means that the outcome is unknown: the task may still be running.
        """
        ...

    def rate_limited(self, retry_after: float | None) -> None:
        """Handle a 429 (too many requests). `retry_after` is in seconds; None if it is unknown."""
        ...

    def paused(self, seconds: float, reason: str) -> None:
        """Handle a pause of the client.

        The client sends no requests to the API for the next `seconds` seconds. `reason` is the
        cause, such as ``"rate exceeded (429)"``. Called after this client receives a 429 (too many
        requests) or a 455 (maintenance).
        """
        ...

    def internal_error(self, error: BaseException) -> None:
        """Handle a bug in this library that did not stop the client. The log has the traceback."""
        ...


class NullObserver:
    """Ignores every event."""

    def request_sent(self, method: str, path: str) -> None:
        """Ignore the event."""

    def request_finished(
        self, method: str, path: str, seconds: float, error: SunoError | None
    ) -> None:
        """Ignore the event."""

    def task_created(self, task: TaskRef) -> None:
        """Ignore the event."""

    def task_polled(self, info: TaskInfo) -> None:
        """Ignore the event."""

    def task_ended(self, task_id: str, error: SunoError | None) -> None:
        """Ignore the event."""

    def rate_limited(self, retry_after: float | None) -> None:
        """Ignore the event."""

    def paused(self, seconds: float, reason: str) -> None:
        """Ignore the event."""

    def internal_error(self, error: BaseException) -> None:
        """Ignore the event."""


class SafeObserver:
    """Forwards events to an observer. Logs exceptions that the observer raises."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    def request_sent(self, method: str, path: str) -> None:
        """Forward the event."""
        self._call("request_sent", method, path)

    def request_finished(
        self, method: str, path: str, seconds: float, error: SunoError | None
    ) -> None:
        """Forward the event."""
        self._call("request_finished", method, path, seconds, error)

    def task_created(self, task: TaskRef) -> None:
        """Forward the event."""
        self._call("task_created", task)

    def task_polled(self, info: TaskInfo) -> None:
        """Forward the event."""
        self._call("task_polled", info)

    def task_ended(self, task_id: str, error: SunoError | None) -> None:
        """Forward the event."""
        self._call("task_ended", task_id, error)

    def rate_limited(self, retry_after: float | None) -> None:
        """Forward the event."""
        self._call("rate_limited", retry_after)

    def paused(self, seconds: float, reason: str) -> None:
        """Forward the event."""
        self._call("paused", seconds, reason)

    def internal_error(self, error: BaseException) -> None:
        """Forward the event."""
        self._call("internal_error", error)

    def _call(self, name: str, *arguments: object) -> None:
        try:
            getattr(self._observer, name)(*arguments)
        except Exception:
            logger.exception("the observer's %s raised", name)
