"""The name that the user called this program by. Pure."""

from __future__ import annotations

import sys
from pathlib import PurePath


def program_words() -> list[str]:
    """Return the words that start this program, for help texts and for commands to copy."""
    # Completion belongs to the installed command, because shells complete the first word.
    completion = {"--install-completion", "--show-completion"} & {*sys.argv[1:]}
    if PurePath(sys.argv[0]).name == "__main__.py" and not completion:
        return ["python", "-m", "suno_async"]
    return ["suno-async"]
