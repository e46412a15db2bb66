"""The command line: ``suno-async``, on the public API alone. Needs the extra ``[cli]``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run ``suno-async``."""
    try:
        from suno_async.cli.app import app  # noqa: PLC0415 (the extra may be missing)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"typer", "rich"}:
            raise
        print("suno-async needs its extra: pip install 'suno-async[cli]'", file=sys.stderr)  # noqa: T201 (a command prints)
        sys.exit(2)
    app(prog_name="suno-async")
