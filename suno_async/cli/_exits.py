"""The exit codes of ``suno-async``. Pure."""

from __future__ import annotations

from suno_async import (
    AuthenticationError,
    ConfigurationError,
    CreateOutcomeUnknownError,
    CreditLimitError,
    InsufficientCreditsError,
    InvalidInputError,
    SunoError,
    TaskFailedError,
)

MEANINGS = {
    0: "success",
    1: "a task failed",
    2: "bad input or configuration",
    3: "the key was refused",
    4: "not enough credits, or more than --max-credits",
    5: "an outcome is not known (unknown task, timeout, server)",
    6: "a create may or may not have been charged",
    130: "Ctrl-C",
    143: "SIGTERM",
}

#: Every command can end so: 128 plus the number of the signal, as shells count.
SIGNALS = (130, 143)

#: For commands on several tasks.
HIGHEST = " Of several, the highest."

_CODES: tuple[tuple[type[SunoError], int], ...] = (
    (TaskFailedError, 1),
    (InvalidInputError, 2),
    (ConfigurationError, 2),
    (AuthenticationError, 3),
    (InsufficientCreditsError, 4),
    (CreditLimitError, 4),
    (CreateOutcomeUnknownError, 6),
)


def exit_code(error: SunoError | None) -> int:
    """The documented exit code of an outcome; 5 where it is not known."""
    if error is None:
        return 0
    return next((code for kind, code in _CODES if isinstance(error, kind)), 5)


def exits(*codes: int, success: str = MEANINGS[0]) -> str:
    """Return the paragraph about exit codes for a command's help.

    Args:
        codes: The codes of the command besides 0 and those of signals.
        success: What 0 means.
    """
    meanings = [f"0 {success}", *(f"{code} {MEANINGS[code]}" for code in (*codes, *SIGNALS))]
    return f"Exit codes: {'; '.join(meanings)}."
