"""The words with which the user started this program. Pure."""

from __future__ import annotations

import sys
from pathlib import PurePath


def program_words() -> list[str]:
    """Return the words that start this program, for help texts and for commands to copy."""
    # Shells choose the completion by the first word, so it works only for the installed command.
    completion = {"--install-completion", "--show-completion"} & {*sys.argv[1:]}
    if PurePath(sys.argv[0]).name == "__main__.py" and not completion:
        return ["python", "-m", "suno_async"]
    return ["suno-async"]
