"""Hints for the user: what to do about an error of the library. No I/O."""

from __future__ import annotations

from suno_async import (
    AuthenticationError,
    InsufficientCreditsError,
    NotSentError,
    SunoError,
    TaskNotFoundError,
)

_HINTS: tuple[tuple[type[SunoError], str], ...] = (
    (AuthenticationError, "check SUNO_API_KEY"),
    (InsufficientCreditsError, "top up the account"),
    (NotSentError, "check the network, and --base-url or SUNO_BASE_URL"),
    (TaskNotFoundError, "check the id, and whether the key belongs to the account of the task"),
)


def hint_for(error: SunoError, *, is_task: bool) -> str:
    """Return a hint for the user: what to do about an error. Empty if there is no hint.

    Args:
        error: The error.
        is_task: True if the error concerns a task; False if it concerns a model.
    """
    if "see allow_hosts" in str(error):
        return "if you trust the host, add --allow-host"
    if isinstance(error, NotSentError) and "the proxy" in str(error):
        return "check HTTPS_PROXY, HTTP_PROXY and NO_PROXY"
    if isinstance(error, TaskNotFoundError) and not is_task:
        return "suno-async models lists the models"
    return next((hint for kind, hint in _HINTS if isinstance(error, kind)), "")
