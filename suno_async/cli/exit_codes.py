"""The exit codes of ``suno-async``. No I/O."""

from __future__ import annotations

import sys

from suno_async import (
    AuthenticationError,
    ConfigurationError,
    CreateOutcomeUnknownError,
    CreditLimitError,
    DownloadError,
    InsufficientCreditsError,
    InvalidInputError,
    JournalError,
    SunoError,
    TaskFailedError,
)

MISSING_FILES = 7

MEANINGS = {
    0: "success",
    1: "a task failed",
    2: "bad input, file or configuration, or the output file or the run is in use",
    3: "the key was refused",
    4: "not enough credits, or the price is above --max-credits",
    5: (
        "an outcome is unknown (no such task, timeout, server error), or reading or writing failed"
        " during the work"
    ),
    6: "a task may or may not have been created and charged",
    MISSING_FILES: "a file could not be downloaded",
    130: "Ctrl-C",
    143: "SIGTERM",
    149: "Ctrl-Break",
}

#: Exit codes of every command after a signal: 128 plus the number of the signal, as in shells.
SIGNALS = (130, 143) if sys.platform != "win32" else (130, 143, 149)

#: From the least to the most serious.
_ORDER = (0, MISSING_FILES, 1, 2, 3, 4, 5, 6, *SIGNALS)

#: Added to the help of commands that handle several tasks.
SEVERAL = " With several tasks, the code is the first of 6, 5, 4, 3, 2, 1, 7 that applies."

_CODES: tuple[tuple[type[SunoError], int], ...] = (
    (TaskFailedError, 1),
    (InvalidInputError, 2),
    (ConfigurationError, 2),
    (JournalError, 2),
    (AuthenticationError, 3),
    (InsufficientCreditsError, 4),
    (CreditLimitError, 4),
    (CreateOutcomeUnknownError, 6),
    (DownloadError, MISSING_FILES),
)


def exit_code(error: SunoError | None) -> int:
    """Return the exit code for an error: 0 for None, and 5 for any error without its own code."""
    if error is None:
        return 0
    return next((code for kind, code in _CODES if isinstance(error, kind)), 5)


def most_serious(*codes: int) -> int:
    """Return the most serious of the given exit codes; 0 without arguments."""
    return max(codes, key=_ORDER.index, default=0)


def exit_codes_help(*codes: int, success: str = MEANINGS[0]) -> str:
    """Return the paragraph about exit codes for the help of a command.

    Args:
        codes: The exit codes of the command, except 0 and those of signals.
        success: The meaning of exit code 0.
    """
    meanings = [f"0 {success}", *(f"{code} {MEANINGS[code]}" for code in (*codes, *SIGNALS))]
    return f"Exit codes: {'; '.join(meanings)}."
