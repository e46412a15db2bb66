"""The command line ``suno-async``. It uses only the public API of the library.

The packages that it needs are installed with the extra ``[cli]``.
"""

from __future__ import annotations

import sys
from typing import NoReturn

from suno_async import __version__

INSTALL = 'pip install "suno_async[cli]"'

_HELP = f"""\
Usage: suno-async [OPTIONS] COMMAND [ARGS]...

Create and poll Suno music jobs within one request budget.

The commands need packages that are not installed. Install them with:

    {INSTALL}
"""


def main() -> None:
    """Run the command ``suno-async``. Without the extra ``[cli]``, print how to install it."""
    try:
        from suno_async.cli.app import run_app  # noqa: PLC0415 (the extra may be missing)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"filelock", "rich", "typer"}:
            raise
        _run_without_extra(sys.argv[1:])
    except KeyboardInterrupt:  # No command has started, so there is nothing to save.
        sys.exit(130)
    run_app()


def _run_without_extra(words: list[str]) -> NoReturn:
    """Print how to install the extra ``[cli]``, because it is missing. Then exit.

    With ``--version``, print the version instead. With ``--help``, or if `words` is empty, print a
    help text instead.

    Args:
        words: The words of the command line after the name of the program.
    """
    from suno_async.cli.error_lines import print_error  # noqa: PLC0415 (only needed here)

    if words and words[0] == "--version":
        print(f"suno-async {__version__}")  # noqa: T201 (a command prints)
        sys.exit(0)
    if not words or "--help" in words:
        print(_HELP, end="")  # noqa: T201 (a command prints)
        sys.exit(0 if words else 2)
    print_error(f"suno-async needs more packages: {INSTALL}")
    sys.exit(2)
