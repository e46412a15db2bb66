"""Hints for the user: what to do about an error of the library. No I/O."""

from __future__ import annotations

from suno_async import (
    AuthenticationError,
    NotSentError,
    SunoError,
    TaskNotFoundError,
)

_HINTS: tuple[tuple[type[SunoError], str], ...] = (
    (AuthenticationError, "check SUNO_API_KEY or CRUN_API_KEY"),
    (NotSentError, "check the network, and --base-url or SUNO_BASE_URL"),
)


def hint_for(error: SunoError, *, is_task: bool) -> str:
    """Return a hint for the user: what to do about an error. Empty if there is no hint.

    Args:
        error: The error.
        is_task: False if the error concerns a model; otherwise True.
    """
    if "see allow_hosts" in str(error):
        return "if you trust the host, add --allow-host"
    if isinstance(error, NotSentError) and "the proxy" in str(error):
        return "check HTTPS_PROXY, HTTP_PROXY and NO_PROXY"
    if isinstance(error, TaskNotFoundError) and not is_task:
        return "suno-async models lists the models"
    return next((hint for kind, hint in _HINTS if isinstance(error, kind)), "")
