"""The words that start this program on the command line. No I/O."""

from __future__ import annotations

import sys
from pathlib import PurePath


def program_words() -> list[str]:
    """Return the words that start this program, such as ``["suno-async"]``.

    They are for help texts, and for commands that the user can copy.
    """
    # Shells choose the completion by the first word, so it works only for the installed command.
    completion = {"--install-completion", "--show-completion"} & {*sys.argv[1:]}
    if PurePath(sys.argv[0]).name == "__main__.py" and not completion:
        return ["python", "-m", "suno_async"]
    return ["suno-async"]
